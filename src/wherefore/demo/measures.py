"""What is measured on scenes with two objects, each named in turn: where peaks lie, and what covering does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from PIL import Image, ImageFilter
from torch import Tensor

from wherefore.demo.networks import indices, scores
from wherefore.explainer import Explainer
from wherefore.explanation import Explanation
from wherefore.imaging import peak
from wherefore.metrics import interval
from wherefore.pages import Share
from wherefore.scenes import Scene
from wherefore.types import Model


@dataclass(frozen=True)
class Pointing:
    """Where the peaks of a method lie: a value per scene, each the mean over its two names."""

    named: list[float]  # on the object that was asked for
    other: list[float]  # on the other one
    both: list[float]  # 1 where each of the two peaks lies on the object that was asked for
    alike: list[float]  # the correlation of the two maps, -1 to 1; scenes with an empty map are left out

    @property
    def shares(self) -> tuple[Share, Share, Share]:
        """How often on the named object, on the other one, and right for both names of a scene."""
        return share(self.named), share(self.other), share(self.both)


def share(values: Sequence[float]) -> Share:
    """The mean of a value per scene, and its bootstrap interval."""
    return Share(fmean(values), *interval(values)) if values else Share(float("nan"), float("nan"), float("nan"))


def gap(ones: Sequence[float], others: Sequence[float]) -> Share:
    """The mean difference of two values per scene, and its bootstrap interval."""
    return share([one - other for one, other in zip(ones, others, strict=True)])


def pointing(model: Model, scenes: Sequence[Scene], method: str = "grad-cam", layer: str | None = None) -> Pointing:
    """Where the peaks of a method lie when each of the two objects of a scene is asked for."""
    e = Explainer(model, method, layer)(list(scenes), indices(model, scenes))
    named, other = [], []
    for b, each in enumerate(scenes):
        things = [peaked_on(heat, each) for heat in e.placed(b)]
        named.append([thing == name for thing, name in zip(things, each.labels, strict=True)])
        other.append([thing not in (None, name) for thing, name in zip(things, each.labels, strict=True)])
    return Pointing(
        [fmean(two) for two in named],
        [fmean(two) for two in other],
        [float(all(two)) for two in named],
        [float(r) for r in (torch.corrcoef(m.flatten(1))[0, 1] for m in e.maps) if not r.isnan()],
    )


def peaked_on(heat: Tensor, scene: Scene) -> str | None:
    """The category of the thing on which a map ``(H, W)`` is highest; None beside all of them, or without evidence."""
    if float(heat.max()) <= 0:
        return None
    x, y = peak(heat)
    return next((t.category for t, mask in zip(scene.things, scene.masks, strict=True) if mask[y, x]), None)


@dataclass(frozen=True)
class Covering:
    """What happens to the score of a name when a map is covered, and where what speaks against it lies: per scene.

    Each value is the mean over those of the two names that have such a map.
    """

    falls: list[float]  # how often the score falls when what speaks for the name is covered
    rises: list[float]  # how often it rises when what speaks against it is covered
    named: list[float]  # how often the peak of what speaks against it lies on the named object all the same
    other: list[float]  # how often it lies on the other one


def covering(model: Model, scenes: Sequence[Scene]) -> Covering:
    """What covering the evidence for a name does, and covering that against it."""
    e = Explainer(model, counter=True)(list(scenes), indices(model, scenes))
    assert e.against is not None
    found: list[list[list[bool]]] = [[], [], [], []]
    for b, each in enumerate(scenes):
        speaks, counters = list(e.placed(b)), list(e.placed(b, e.against))
        lower, higher = _changes(model, e, b, speaks), _changes(model, e, b, counters)
        lit = [t for t, heat in enumerate(counters) if float(heat.max()) > 0]
        things = {t: peaked_on(counters[t], each) for t in lit}
        found[0].append([lower[t] < 0 for t, heat in enumerate(speaks) if float(heat.max()) > 0])
        found[1].append([higher[t] > 0 for t in lit])
        found[2].append([things[t] == each.labels[t] for t in lit])
        found[3].append([things[t] not in (None, each.labels[t]) for t in lit])
    return Covering(*[[fmean(two) for two in values if two] for values in found])


def _changes(model: Model, e: Explanation, image: int, heats: Sequence[Tensor]) -> list[float]:
    """By how much the score of each name rises when its map is covered."""
    picture = e.pictures[image].image
    after = scores(model, [covered(picture, heat) for heat in heats])
    return [float(after[t, e.classes[image, t]] - e.scores[image, t]) for t in range(len(heats))]


def covered(picture: Image.Image, heat: Tensor, least: float = 0.5) -> Image.Image:
    """The picture, blurred beyond recognition where a map ``(H, W)`` is above a share of its maximum."""
    blurred = picture.filter(ImageFilter.GaussianBlur(picture.width / 8))
    above = (heat >= least * heat.max()).byte() * 255
    return Image.composite(blurred, picture, Image.fromarray(above.numpy()))
