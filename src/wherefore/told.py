"""What a network says of pictures, and where it looked: a caption word by word, an answer beside other answers.

Section 8 of Selvaraju et al. 2020.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from PIL import Image
from torch import Tensor

from wherefore import drawing, strips
from wherefore.errors import Error
from wherefore.explainer import Explainer
from wherefore.explanation import Explanation
from wherefore.inputs import Input
from wherefore.saving import can_be_made, jpeg, made, unique_names, write_tensors, write_whole
from wherefore.saying import Said, answers, captions
from wherefore.types import Target
from wherefore.worded import Answer, Caption, Word

Report = dict[str, Any]
Reporter = Callable[[Explanation], Report]
FINE = "guided-grad-cam"  # what is shown beside a coarse map
OF_PICTURE = ("target", "question")  # settings that a run has for each picture


class Told(Protocol):
    """What was said of a picture, with its maps."""

    def page(self, *, colours: str, scale: str) -> Image.Image:
        """All of it on one page."""

    def report(self, report: Reporter) -> Report:
        """All of it as plain values, given what makes them of the maps."""

    def maps(self) -> dict[str, Tensor]:
        """The raw maps by name."""

    def origin(self) -> Report:
        """Where the maps come from."""


# -------------------------------------------------------------------------------------------- captions


@dataclass(frozen=True)
class Captioned:
    """A caption of a picture: the map of the whole, a map for each word, and Guided Grad-CAM of the whole.

    ``fine`` is a sentence where there is none, and None where the maps are of that method already. ``says`` is the
    network's own caption, whichever is explained; ``given``: whether that is another's.
    """

    whole: Explanation
    words: Explanation
    fine: strips.Fine
    says: str
    given: bool = False

    def page(self, *, colours: str = "heat", scale: str = "common") -> Image.Image:
        """See `wherefore.strips.caption_page`."""
        return strips.caption_page(self.whole, self.words, self.fine, colours=colours, scale=scale)

    def report(self, report: Reporter) -> Report:
        """The ``caption``, whether it was ``given``, what the network ``says``; measures: ``whole``, words' ``targets``."""
        words, whole = report(self.words), self.whole.report(0)["targets"][0]
        told = {"caption": whole["name"], "given": self.given, "says": self.says, "whole": whole}
        return {"size": words["size"], **told, "targets": words["targets"]}

    def maps(self) -> dict[str, Tensor]:
        """The words' under ``maps`` ``(T, h, w)``, the caption's under ``whole`` ``(1, h, w)``."""
        return {"maps": self.words.maps[0], "whole": self.whole.maps[0]}

    def origin(self) -> Report:
        """Where the maps come from."""
        return self.words.origin()


def captioned(
    why: Explainer, path: str | Path, text: str | None = None, words: Sequence[str] = (), beam: int = 1
) -> Captioned:
    """A caption and its maps: ``text``, or what the network says itself, by a search with ``beam``.

    ``words``: only these of it, else all in their order. Raises `Error` for words that the network does not know or the
    caption does not have, for a caption that is too long, and for a model that says none.
    """
    one = why.prepare(why.open(path))
    whole = why.on([one], Caption(text, beam=beam))
    caption = whole.targets[0][0]
    asked = [Word(word, caption) for word in words] or Caption(caption).words()
    says = caption if text is None else captions(why.model, one.tensor[None], beam=beam)[0]
    return Captioned(whole, why.on([one], asked), _fine(why, one, Caption(caption)), says, text is not None)


# -------------------------------------------------------------------------------------------- answers


@dataclass(frozen=True)
class Answered:
    """What a network answers, the best first, the maps of answers, and Guided Grad-CAM of the first of these."""

    question: str
    said: Sequence[Said]
    answers: Explanation
    fine: strips.Fine

    def page(self, *, colours: str = "heat", scale: str = "common") -> Image.Image:
        """See `wherefore.strips.answer_page`."""
        says = f"it says {self.said[0].text}, p {self.said[0].probability:.3f}"
        return strips.answer_page(self.question, says, self.answers, self.fine, colours=colours, scale=scale)

    def report(self, report: Reporter) -> Report:
        """The ``question``, the network's own ``answer`` and how likely it is, the answers' measures as ``targets``."""
        found, own = report(self.answers), self.said[0]
        told = {"question": self.question, "answer": own.text, "probability": own.probability}
        return {"size": found["size"], **told, "targets": found["targets"]}

    def maps(self) -> dict[str, Tensor]:
        """The answers' under ``maps`` ``(T, h, w)``."""
        return {"maps": self.answers.maps[0]}

    def origin(self) -> Report:
        """Where the maps come from."""
        return self.answers.origin()


def answered(
    why: Explainer, path: str | Path, question: str, wanted: Sequence[str] = (), most: int = 5, fine: bool = True
) -> Answered:
    """The answer to a question about a picture, and maps: of the answers ``wanted``, else of the ``most`` likeliest.

    Without ``fine`` there is no Guided Grad-CAM. Raises `Error` for a question without words or with unknown ones, for
    an answer that the network does not know, and for a model that answers no questions.
    """
    one = why.prepare(why.open(path))
    said = answers(why.model, one.tensor[None], question, most=most)[0]
    asked = [Answer(answer) for answer in wanted or [each.text for each in said]]
    found = why.on([one], asked, question)
    return Answered(question, said, found, _fine(why, one, asked[0], question) if fine else None)


@dataclass(frozen=True)
class Compared:
    """A question answered by several networks, or explained at several layers: by name, or why that cannot be."""

    question: str
    ways: Mapping[str, Answered | str]

    def page(self, *, colours: str = "heat", scale: str = "common") -> Image.Image:
        """See `wherefore.strips.column_page`."""
        shown = {n: each if isinstance(each, str) else each.answers for n, each in self.ways.items()}
        fines = {n: None if isinstance(each, str) else each.fine for n, each in self.ways.items()}
        return strips.column_page(self.question, shown, fines, colours=colours, scale=scale)

    @property
    def found(self) -> dict[str, Answered]:
        """What could be answered."""
        return {name: each for name, each in self.ways.items() if isinstance(each, Answered)}

    def report(self, report: Reporter) -> Report:
        """The ``question``, and as ``runs`` the ``answer`` and ``targets`` of each, or its ``error``."""
        runs = []
        for name, each in self.ways.items():
            if isinstance(each, str):
                runs.append({"name": name, "error": each})
                continue
            own = each.report(lambda e: e.report(0))
            told = {key: own[key] for key in ("answer", "probability", "targets")}
            runs.append({"name": name, **self._own(each), **told})
        size = next(iter(self.found.values())).answers.pictures[0].size
        return {"size": list(size), "question": self.question, "runs": runs}

    def _own(self, each: Answered) -> Report:
        return {key: value for key, value in each.origin().items() if key not in {*self.origin(), *OF_PICTURE}}

    def maps(self) -> dict[str, Tensor]:
        """The answers' ``(T, h, w)`` under the name of each."""
        return {name: each.answers.maps[0] for name, each in self.found.items()}

    def origin(self) -> Report:
        """What all have in common of where their maps come from."""
        first, *others = [each.origin() for each in self.found.values()]
        return {k: v for k, v in first.items() if all(other.get(k) == v for other in others)}


def compared(
    ways: Mapping[str, Explainer],
    path: str | Path,
    question: str,
    wanted: Sequence[str] = (),
    most: int = 1,
    fine: bool = True,
) -> Compared:
    """What `answered` says by each of several explainers; an `Error` where none of them can."""
    found: dict[str, Answered | str] = {}
    for name, why in ways.items():
        try:
            found[name] = answered(why, path, question, wanted, most, fine)
        except Error as error:
            found[name] = str(error)
    if all(isinstance(each, str) for each in found.values()):
        raise Error(" ".join(dict.fromkeys(map(str, found.values()))))
    return Compared(question, found)


def _fine(why: Explainer, one: Input, target: Target, question: str | None = None) -> strips.Fine:
    """Guided Grad-CAM of a target, or why there is none; None where the maps are that already."""
    if why.method == FINE:
        return None
    try:
        layer = why.layer if why.at == "layer" else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that tanh and sigmoid keep their gradient: so they do in the paper
            return Explainer(why.model, FINE, layer, fit=why.fit).on([one], target, question)
    except Error as error:
        return str(error)


# -------------------------------------------------------------------------------------------- many pictures


@dataclass
class ToldRun:
    """A report per file, in order: what ``tell`` tells of it as plain values, or its ``error``.

    With ``out`` the page ``NAME.what.page.jpg``, overlays, and the raw maps ``NAME.safetensors`` are written there.
    ``origin`` says where the results come from, once the first is there.
    """

    tell: Callable[[str | Path], Told]
    paths: Sequence[str | Path]
    what: str
    out: Path | None = None
    colours: str = "heat"
    scale: str = "common"
    origin: Report = field(default_factory=dict)

    def __post_init__(self) -> None:
        drawing.check_look(self.colours, self.scale)
        if self.out:
            can_be_made(self.out)

    def __iter__(self) -> Iterator[Report]:
        for path, name in zip(self.paths, unique_names([str(p) for p in self.paths]), strict=True):
            try:
                told = self.tell(path)
            except Error as error:
                yield {"image": str(path), "error": str(error)}
                continue
            if not self.origin:
                self.origin |= {k: v for k, v in told.origin().items() if k not in OF_PICTURE}
            yield {"image": str(path), **(self._written(told, made(self.out), name) if self.out else _plain(told))}

    def _written(self, told: Told, out: Path, name: str) -> Report:
        save = partial(_saved, out=out, name=name, colours=self.colours, scale=self.scale)
        report, drawn = told.report(save), told.page(colours=self.colours, scale=self.scale)
        page = write_whole(out / f"{name}.{self.what}.page.jpg", jpeg(drawn))
        tensors = {key: value.cpu().contiguous() for key, value in told.maps().items()}
        maps = str(write_tensors(out / f"{name}.safetensors", tensors, told.origin()))
        for target in report.get("targets", ()):
            target["files"]["maps"] = maps
        return {**report, "files": {"page": str(page), "maps": maps}}


def _plain(told: Told) -> Report:
    return told.report(lambda e: e.report(0))


def _saved(e: Explanation, out: Path, name: str, colours: str, scale: str) -> Report:
    return e.save_pictures(0, out, name, colours=colours, scale=scale)
