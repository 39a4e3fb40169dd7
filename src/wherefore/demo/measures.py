"""What is measured on scenes with two objects, each named in turn: where peaks lie, and what covering does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor

from wherefore.demo.networks import indices, scores
from wherefore.explainer import Explainer
from wherefore.explanation import Explanation, Maps
from wherefore.imaging import peak
from wherefore.metrics.covering import covered, elsewhere
from wherefore.metrics.resampling import interval, wilson
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
    """The mean of a value per scene, and its bootstrap interval; Wilson's where all are 0 or all are 1."""
    if not values:
        return Share(float("nan"), float("nan"), float("nan"))
    alike = set(values) in ({0.0}, {1.0})  # redrawing these would tell nothing
    return Share(fmean(values), *(wilson(round(sum(values)), len(values)) if alike else interval(values)))


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
    """What covering a map does to the score of its name: a value per scene, the mean over those names that have one."""

    lowers: list[float]  # how often the score falls
    raises: list[float]  # how often it rises
    named: list[float]  # how often the peak of the map lies on the named object
    other: list[float]  # how often on the other one


def covering(model: Model, scenes: Sequence[Scene]) -> tuple[Covering, Covering, Covering]:
    """What covering the evidence for a name does, the evidence against it, and as much elsewhere as the latter."""
    e = Explainer(model, counter=True)(list(scenes), indices(model, scenes))
    assert e.against is not None
    return (
        _covering(model, e, e.maps, scenes),
        _covering(model, e, e.against, scenes),
        _covering(model, e, e.against, scenes, elsewhere),
    )


def _covering(
    model: Model,
    e: Explanation,
    maps: Maps,
    scenes: Sequence[Scene],
    moved: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Covering:
    found: list[tuple[list[bool], ...]] = []
    for b, each in enumerate(scenes):
        heats = list(e.placed(b, maps))
        if moved:
            heats = [moved(heat, torch.from_numpy(each.masks.any(0))) for heat in heats]
        lit = [t for t, heat in enumerate(heats) if float(heat.max()) > 0]
        change, things = _changes(model, e, b, heats), [peaked_on(heat, each) for heat in heats]
        found.append(
            (
                [change[t] < 0 for t in lit],
                [change[t] > 0 for t in lit],
                [things[t] == each.labels[t] for t in lit],
                [things[t] not in (None, each.labels[t]) for t in lit],
            )
        )
    return Covering(*[[fmean(two) for two in values if two] for values in zip(*found, strict=True)])


def _changes(model: Model, e: Explanation, image: int, heats: Sequence[Tensor]) -> list[float]:
    """By how much the score of each name rises when its map is covered."""
    picture = e.pictures[image].image
    after = scores(model, [covered(picture, heat) for heat in heats])
    return [float(after[t, e.classes[image, t]] - e.scores[image, t]) for t in range(len(heats))]
