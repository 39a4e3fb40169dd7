"""Where a map lies: how much of its positive evidence falls on each part of a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from wherefore.datasets import Array, Sample
from wherefore.explanation import Explanation
from wherefore.metrics.measuring import NAN, per_target
from wherefore.registry import METRICS

EPS = 1e-8
PAPER = "Wang et al. 2020 (Score-CAM), section 4.3"


@METRICS("energy-box", better="higher", bounds=(0, 1), paper=PAPER)
def energy_box(e: Explanation, samples: Sequence[Sample]) -> Tensor:
    """The share of a map's positive evidence inside of its category's boxes: (B, T).

    NaN for maps without any, and where the category has no box. `area_box` is what an even map would have.
    """
    return per_target(e, samples, lambda case: _share(case.heat, in_boxes(case.sample, case.category)))


@METRICS("energy-mask", better="higher", bounds=(0, 1), paper=PAPER)
def energy_mask(e: Explanation, samples: Sequence[Sample]) -> Tensor:
    """The share of a map's positive evidence on the pixels of its category: (B, T).

    NaN for maps without any, and where a thing of the category has no mask. `area_mask` is what an even map would have.
    """
    return per_target(e, samples, lambda case: _share(case.heat, in_masks(case.sample, case.category)))


def ratio(heat: Tensor, box: Sequence[int]) -> float:
    """How many times higher a map ``(H, W)`` is inside of a box than outside, on average: 1 for an even map.

    mean inside / (mean outside + 1e-8 of the map's maximum) (Selvaraju et al. 2020, section 8.1; the last term, for
    maps that are 0 outside, is ours). The box has inclusive corners. NaN for a map without evidence, and for a box that
    is all of the map.
    """
    values = np.asarray(heat.double())
    inside = np.zeros(values.shape, bool)
    inside[box[1] : box[3] + 1, box[0] : box[2] + 1] = True
    top = float(values.max())
    if top <= 0 or inside.all():
        return NAN
    return float(values[inside].mean() / (values[~inside].mean() + EPS * top))


def area_box(e: Explanation, samples: Sequence[Sample]) -> Tensor:
    """The share of what the network saw that lies inside of the category's boxes: (B, T)."""
    return per_target(e, samples, lambda case: float(in_boxes(case.sample, case.category)[case.seen].mean()))


def area_mask(e: Explanation, samples: Sequence[Sample]) -> Tensor:
    """The share of what the network saw that shows the category: (B, T); NaN without masks."""

    def measure(sample_mask: Array | None, seen: tuple[slice, slice]) -> float:
        return NAN if sample_mask is None else float(sample_mask[seen].mean())

    return per_target(e, samples, lambda case: measure(in_masks(case.sample, case.category), case.seen))


def in_boxes(sample: Sample, category: str) -> Array:
    """Which pixels lie in a box of a category, ``(H, W)`` of bool."""
    inside = np.zeros(sample.size[::-1], bool)
    for x0, y0, x1, y1 in sample.boxes(category):
        inside[y0 : y1 + 1, x0 : x1 + 1] = True
    return inside


def in_masks(sample: Sample, category: str) -> Array | None:
    """Which pixels show a category, ``(H, W)`` of bool; None where one of its things has no mask."""
    return None if any(each.mask is None for each in sample.of(category)) else sample.mask(category)


def _share(heat: Tensor, mask: Array | None) -> float:
    return NAN if mask is None else shares(heat, {"inside": mask})["inside"]


def shares(heat: Any, masks: Mapping[str, Any]) -> dict[str, float]:
    """The share of a map's positive evidence on each mask, by name; NaN for a map ``(H, W)`` without any.

    A mask's share of the picture's area is what a map that knows nothing would have.
    """
    positive = np.clip(np.asarray(heat, np.float64), 0, None)
    whole = positive.sum()
    return {
        name: float(positive[np.asarray(mask, bool)].sum() / whole) if whole else float("nan")
        for name, mask in masks.items()
    }
