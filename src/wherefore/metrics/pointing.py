"""The pointing game: does the highest point of a map lie on the thing (Zhang et al. 2016, section 4.1)?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from wherefore.datasets import Array, Sample
from wherefore.explanation import Explanation
from wherefore.imaging import peak
from wherefore.metrics.energy import in_boxes
from wherefore.metrics.localization import smoothed
from wherefore.metrics.measuring import NAN, Case, per_target
from wherefore.registry import METRICS


class Accuracy(NamedTuple):
    """Shares of hits, 0 to 1: the mean over classes (the usual headline), and that of all together."""

    by_class: float
    pooled: float


@METRICS("pointing", better="higher", bounds=(0, 1), paper="Zhang et al. 2016, section 4.1")
def pointing_game(
    e: Explanation,
    samples: Sequence[Sample],
    *,
    tolerance: float = 15,
    boxes: bool = False,
    only_difficult: bool = False,
    smooth: bool = False,
    centroid: bool = False,
) -> Tensor:
    """Whether a map's highest point lies on, or close to, its category: 1 or 0, (B, T).

    Closer than ``tolerance``, in the picture's own pixels; 0 asks for the thing itself. A category lies where its masks
    are, with ``boxes`` (VOC's game) its boxes, those of difficult things and crowds among them; but where all its
    things are difficult it is not asked for (NaN) without ``only_difficult``. ``smooth`` is for pixel methods. Of
    several highest points it is the first in reading order, with ``centroid`` the middle of them all.
    """

    def measure(case: Case) -> float:
        if case.sample.only_difficult(case.category) and not only_difficult:
            return NAN
        find = middle if centroid else peak
        point = case.found(lambda heat: find(smoothed(heat) if smooth else heat))
        return float(hits(point, region(case.sample, case.category, boxes), tolerance))

    return per_target(e, samples, measure)


def region(sample: Sample, category: str, boxes: bool = False) -> Array:
    """Where a category lies, ``(H, W)`` of bool: where its masks are, with ``boxes`` (VOC's game) in its boxes."""
    return in_boxes(sample, category) if boxes else sample.mask(category)


def middle(heat: Tensor) -> tuple[int, int]:
    """The centroid ``(x, y)`` of the pixels where a map ``(H, W)`` is highest, to the nearest pixel."""
    rows, columns = (heat == heat.max()).nonzero().double().mean(0).round().int().tolist()
    return columns, rows


def difficult(sample: Sample, category: str) -> bool:
    """Whether a category belongs to the difficult part of the game: small, and not alone in the picture.

    Its boxes cover less than a quarter of the picture, and another category is there (Zhang et al. 2016, section 4.1).
    """
    covered = in_boxes(sample, category)
    others = {each.category for each in sample.instances} - {category}
    return bool(covered.any() and covered.mean() < 0.25 and others)


def hits(point: Sequence[int], mask: Any, tolerance: float = 15) -> bool:
    """Whether some pixel of a mask ``(H, W)`` is nearer than ``tolerance`` pixels to a point ``(x, y)``, or is it.

    Point and mask lie in the picture's own pixels; 15 is the usual tolerance, 0 asks for the pixel itself.
    """
    away = distance(point, mask)
    return away < tolerance or away == 0


def distance(point: Sequence[int], mask: Any) -> float:
    """How many pixels a point ``(x, y)`` is from the nearest one of a mask ``(H, W)``; infinity for an empty mask."""
    rows, columns = np.nonzero(np.asarray(mask))
    squared = (columns - point[0]) ** 2 + (rows - point[1]) ** 2
    return float(np.sqrt(squared.min())) if len(squared) else float("inf")


def accuracy(outcomes: Iterable[tuple[str, bool]]) -> Accuracy:
    """The shares of hits among pairs of a class and whether it was hit; NaN for none."""
    found: dict[str, list[bool]] = defaultdict(list)
    for name, hit in outcomes:
        found[name].append(hit)
    if not found:
        return Accuracy(float("nan"), float("nan"))
    every = [hit for one in found.values() for hit in one]
    return Accuracy(fmean(fmean(one) for one in found.values()), fmean(every))
