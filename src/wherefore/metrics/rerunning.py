"""One picture of an explanation shown to its network again, changed: what faithfulness is measured by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import torch
from torch import Tensor
from torch.nn import functional as F

from wherefore.errors import Error
from wherefore.explanation import Explanation
from wherefore.feeding import like
from wherefore.guard import prepared
from wherefore.inputs import Reader
from wherefore.speech import Speech
from wherefore.subjects import Picture
from wherefore.targets import choose, for_images
from wherefore.types import Chosen, Grid, Layer, Query

TOGETHER = 8 * 3 * 224 * 224  # numbers in the inputs that go through the network at once, on a CPU
SEED = 0  # in which order equal values of a map are taken


class Rerun:
    """A picture as its network is fed it, ``x`` ``(1, C, H, W)``, and the scores of its T targets on other inputs.

    The picture is prepared again from what the explanation keeps. Raises `Error` for what is no picture, and where the
    network does not give it the scores of the explanation any more.
    """

    def __init__(self, e: Explanation, image: int) -> None:
        picture, model = e.pictures[image], e.model
        if not isinstance(picture, Picture):
            raise Error(f"{picture.name} is no picture: parts of pictures are removed, not of clips, signals or texts.")
        reader = Reader(model, str(e.settings.get("fit", "model")))
        question = e.settings.get("question")
        question = question[image] if isinstance(question, (list, tuple)) else question
        batch = reader.asked(reader.together([reader.prepare(picture)], 1), question)[0]
        self.net, self.x = batch.fed_to(reader.net, *like(reader.net))
        classes = e.classes[image : image + 1]
        self.are_classes = bool((classes >= 0).all())
        self.target = classes if self.are_classes else for_images(e.target, image, image + 1, len(e))
        self.model = model
        with prepared(self.net), torch.no_grad():
            output = self.net(self.x.clone())
            if not self.are_classes and e.target is None and not isinstance(output, Speech):
                raise Error("an explanation of something else than classes must say what: its target= is missing.")
            self.chosen = self._choose(output).detached()
        self._check(e.scores[image], picture.name)

    def _check(self, before: Tensor, name: str) -> None:
        now = self.chosen.scores[0].float()
        if not torch.allclose(now, before.to(now), rtol=1e-2, atol=1e-2 * max(1.0, float(before.abs().max()))):
            raise Error(
                f"the network gives {name} other scores now than when it was explained ({float(now[0]):.4g}, not "
                f"{float(before[0]):.4g}): its weights have changed, or it was fed more than pictures; explain anew."
            )

    def _choose(self, output: object) -> Chosen:
        model = self.model
        return choose(self.target, output, model.classes, which=model.output, multilabel=model.multilabel)

    @property
    def query(self) -> Query:
        """The same as a method is asked it."""
        whole = Layer("input", Grid("channels-first", tuple(self.x.shape[2:])), self.x.shape[1])
        return Query(self.net, self.x, whole, self._choose)

    def scores(self, inputs: Iterable[Tensor]) -> Tensor:
        """The scores ``(n, T)`` of the targets for n inputs ``(C, H, W)``."""
        return torch.cat([self.chosen.follow(output) for output in self._outputs(inputs)]).float()

    def probabilities(self, inputs: Iterable[Tensor]) -> Tensor:
        """The probabilities ``(n, T)`` of the targets for n inputs ``(C, H, W)``; NaN where a target is no class.

        Softmax over the classes; the sigmoid for a single score, and for classes that do not exclude each other.
        """
        return torch.cat([self._likely(output) for output in self._outputs(inputs)])

    def _likely(self, output: object) -> Tensor:
        if not self.are_classes:
            return torch.full_like(self.chosen.follow(output).float(), torch.nan)
        scores = self.chosen.every(output).float()
        alone = self.model.multilabel or scores.shape[1] == 1
        likely = scores.sigmoid() if alone else scores.softmax(1)
        return likely.gather(1, self.chosen.classes.expand(len(likely), -1))

    def _outputs(self, inputs: Iterable[Tensor]) -> Iterator[object]:
        """What the network returns, batch by batch."""
        on_cpu = self.x.device.type == "cpu"
        size = max(1, TOGETHER // self.x.numel()) if on_cpu else 64
        rest = iter(inputs)
        with prepared(self.net), torch.no_grad():
            while some := list(islice(rest, size if self.chosen.on_copies else 1)):
                yield self.net(torch.stack(some).to(self.x))


def ranked(heat: Tensor) -> Tensor:
    """The rank ``(H, W)`` of each pixel of a map, 0 for the highest; equal values are in a random, fixed order."""
    dice = torch.randperm(heat.numel(), generator=torch.Generator().manual_seed(SEED)).to(heat.device)
    order = dice[heat.flatten()[dice].argsort(descending=True, stable=True)]
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(len(order), device=heat.device)
    return ranks.view(heat.shape)


def blurred(x: Tensor, deviation: float, radius: int) -> Tensor:
    """A picture ``(C, H, W)`` under a Gaussian that is cut off at ``radius`` pixels; mirrored at the border."""
    places = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-places.square() / (2 * deviation**2)).to(x)
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    padded = F.pad(x[:, None], (radius,) * 4, mode="reflect")
    return F.conv2d(F.conv2d(padded, kernel), kernel.mT)[:, 0]
