"""Networks of a study on its data: which category they say first, and the signed maps of categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from torch import Tensor

from wherefore.batch.maps import NOWHERE, Asked, scored
from wherefore.datasets import Dataset, Sample, matched
from wherefore.errors import Error
from wherefore.explainer import Explainer
from wherefore.models.zoo import load, moved
from wherefore.study.rendering import Array
from wherefore.subjects import Picture
from wherefore.types import Model


class Network:
    """A network, and which of its outputs stand for the categories of a data set. It sees whole pictures, squashed."""

    def __init__(self, model: Model, outputs: Mapping[str, Sequence[int]]) -> None:
        self.model, self.asked = model, Asked("labels", outputs)
        self.layers: dict[str, str] = {}  # by method
        self._methods: dict[str, Explainer] = {}
        self._scores: dict[str, Tensor] = {}

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    @cached_property
    def known(self) -> frozenset[str]:
        """The categories that it has an output for."""
        return frozenset(self.asked.outputs)

    def said(self, sample: Sample) -> str:
        """The category among a picture's labels that its first output stands for; '' where it is none of them."""
        first = int(self._scored(sample).argmax())
        return next((label for label in sample.labels if first in self.asked.outputs.get(label, ())), "")

    def map(self, method: str, sample: Sample, category: str) -> Array:
        """The signed map ``(3, H, W)`` of a category of a picture, red first. Raises `Error` for methods without."""
        number = dict(self.asked.of(sample, self._scored(sample)))[category]
        e = self._explainer(method)(sample.image, number)
        if e.pixels is None or e.pixels[0].shape[1] != 3:
            raise Error(
                f"{method} draws no picture of its own, with colours and signs: take methods that do, such as "
                "guided-backprop or guided-grad-cam."
            )
        self.layers[method] = e.layer
        pixels: Array = e.pixels[0][0].detach().cpu().numpy()
        return pixels[::-1] if getattr(self.model.preprocess, "bgr", False) else pixels

    def _scored(self, sample: Sample) -> Tensor:
        """The scores ``(C,)`` of all outputs."""
        if sample.name not in self._scores:
            why = self._explainer("grad-cam")
            self._scores[sample.name] = scored(why, [why.prepare(Picture(sample.name, sample.image, NOWHERE))])[0]
        return self._scores[sample.name]

    def _explainer(self, method: str) -> Explainer:
        if method not in self._methods:
            self._methods[method] = Explainer(self.model, method, fit="squash")
        return self._methods[method]


def network(name: str, weights: str | None, dataset: Dataset, device: str | None = None) -> Network:
    """The network of that name for a data set. Raises `Error` where it has no outputs for its categories."""
    model = moved(load(name, weights or "default"), device)
    if model.classes is None or model.question is not None:
        raise Error(f"{name} does not say which categories it sees: take a network that classifies pictures.")
    return Network(model, matched(dataset.classes, model.classes))
