"""What is asked of each picture for itself: its captions, their words, its questions and answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import torch

from wherefore.batch.maps import NOWHERE, of_map
from wherefore.batch.store import Row
from wherefore.datasets import Sample
from wherefore.errors import Error
from wherefore.explainer import Explainer
from wherefore.explanation import Explanation
from wherefore.feeding import like
from wherefore.guard import prepared
from wherefore.inputs import Reader
from wherefore.outputs import select
from wherefore.speech import Language, Speech
from wherefore.subjects import Picture
from wherefore.types import Model


@dataclass(frozen=True)
class Ask:
    """One thing that is asked of a picture: what is explained, and the question that the network is asked, if any.

    ``about`` is the number of what it is about among the sample's regions, captions or questions, ``category`` the
    category that it names, "" for none. ``left`` says why it is left out, where it is.
    """

    target: Any = None
    about: int = 0
    category: str = ""
    question: str | None = None
    left: str = ""


@dataclass(frozen=True)
class Asks:
    """What is asked of each sample: ``what`` says it in words, with all that it depends on but the sample.

    ``summed``: the maps of pixel methods are the sums of absolute values over channels, not the largest of them.
    """

    what: str
    of: Callable[[Sample], Sequence[Ask]]
    summed: bool = False

    @property
    def about(self) -> dict[str, Any]:
        """All that it depends on."""
        return {"asked": self.what, "summed": self.summed}


class Asking:
    """What turns samples into rows of maps of all that is asked of them, for `wherefore.batch.rows.rows`.

    What is left out has a row without a map that says why.
    """

    def __init__(self, why: Explainer, asks: Asks) -> None:
        self.why, self.asks = why, asks

    def __call__(self, samples: Sequence[Sample]) -> list[list[Row]]:
        return [list(self._rows(each)) for each in samples]

    def _rows(self, sample: Sample) -> Iterator[Row]:
        fed = self.why.prepare(Picture(sample.name, sample.image, NOWHERE))
        for _, some in groupby(self.asks.of(sample), key=lambda ask: ask.question and ask.about):
            every = list(some)
            question = every[0].question
            yield from ({"about": ask.about, "question": question, "left": ask.left} for ask in every if ask.left)
            if wanted := [ask for ask in every if not ask.left]:
                e = self._kept(self.why.on([fed], [ask.target for ask in wanted], question))
                for t, ask in enumerate(wanted):
                    yield {**of_map(e, 0, t, ask.category), "about": ask.about, "question": question}

    def _kept(self, e: Explanation) -> Explanation:
        if not self.asks.summed or e.pixels is None:
            return e
        return replace(e, maps=torch.stack([pixels.abs().sum(1) for pixels in e.pixels]))


def language(model: Model) -> Language:
    """How a network that says words writes them. Raises `Error` for one that says none."""
    reader = Reader(model, "squash")
    net, images = reader.example().fed_to(reader.net, *like(reader.net))
    with prepared(net), torch.no_grad():
        output = select(net(images), model.output)
    if not isinstance(output, Speech):
        raise Error(f"{model.name} says no words: give a network that does, such as scenes:captioner.")
    return output.language
