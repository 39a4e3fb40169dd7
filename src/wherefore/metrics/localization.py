"""Boxes out of maps, and whether a box is right: weakly supervised localization as ILSVRC counts it.

A box is ``(x0, y0, x1, y1)`` with inclusive corners in a picture's own pixels, as `imaging.box` and
`Explanation.boxes` give it. References:

    Selvaraju et al., Grad-CAM, IJCV 2020, section 4.1; Russakovsky et al., ILSVRC, IJCV 2015, section 4.2
    Simonyan et al., Deep Inside Convolutional Networks, 2013, section 3.2; Rother et al., GrabCut, SIGGRAPH 2004
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

from wherefore.datasets import Sample
from wherefore.errors import Error
from wherefore.explanation import Explanation
from wherefore.imaging import box
from wherefore.metrics.measuring import NAN, Case, cases, per_target
from wherefore.registry import METRICS

Box = Sequence[float]
Rule = Callable[[Image.Image, Tensor], tuple[int, ...]]  # a picture and its map (H, W) -> a box
SHARE = 0.02  # of the longer side: the deviation of `smoothed` (TorchRay's)
FOREGROUND, BACKGROUND = 0.95, 0.30  # quantiles (Simonyan et al. 2013, section 3.2)


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0 to 1; corners are inclusive, so (0, 0, 0, 0) is one pixel."""
    width, height = (min(a[i + 2], b[i + 2]) - max(a[i], b[i]) + 1 for i in (0, 1))
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(r[2] - r[0] + 1) * (r[3] - r[1] + 1) for r in (a, b)]
    return width * height / (sum(areas) - width * height)


def localized(box: Box, truths: Iterable[Box], least: float = 0.5) -> bool:
    """Whether a box overlaps any of the true ones with an IoU of at least ``least`` (ILSVRC: 0.5)."""
    return max((iou(box, truth) for truth in truths), default=0.0) >= least


@METRICS("localization", better="higher", bounds=(0, 1), paper="Russakovsky et al. 2015, section 4.2")
def box_right(e: Explanation, samples: Sequence[Sample], *, rule: Rule | None = None, least: float = 0.5) -> Tensor:
    """Whether a map's box is right, its IoU with one of the category's at least ``least``: 1 or 0, (B, T).

    The class is taken as known (GT-known). ``rule`` makes a box of a picture and its map: `share_box` by default,
    which is the paper's. NaN where no thing of the category is boxed by itself, or boxes are not to be counted.
    """
    overlaps = box_iou(e, samples, rule=rule)
    return (overlaps >= least).double().where(~overlaps.isnan(), NAN)


@METRICS("box-iou", better="higher", bounds=(0, 1), paper="Everingham et al. 2010, section 4.2")
def box_iou(e: Explanation, samples: Sequence[Sample], *, rule: Rule | None = None) -> Tensor:
    """The IoU of a map's box with that one of its category's that fits it best: (B, T).

    ``rule`` and NaN as in `box_right`; a box around a crowd is none of a thing's.
    """

    def measure(case: Case) -> float:
        return best_iou(boxed(case, rule or share_box), true_boxes(case.sample, case.category))

    return per_target(e, samples, measure)


def boxed(case: Case, rule: Rule) -> tuple[int, ...]:
    """The box that a rule makes of a map, in the picture's own pixels."""
    rows, columns = case.seen
    part = case.sample.image.crop((columns.start, rows.start, columns.stop, rows.stop))
    return case.found(lambda heat: rule(part, heat))


def true_boxes(sample: Sample, category: str) -> list[tuple[int, int, int, int]]:
    """The boxes of a category's things, crowds left out."""
    return [each.box for each in sample.of(category) if not each.crowd]


def best_iou(box: Box, truths: Iterable[Box]) -> float:
    """The highest IoU of a box with any of the true ones; NaN where there are none."""
    return max((iou(box, truth) for truth in truths), default=NAN)


def share_box(picture: Image.Image, heat: Tensor, threshold: float = 0.15) -> tuple[int, ...]:
    """The box of the largest part of a map above a share of its maximum (Selvaraju et al. 2020, section 4.1)."""
    return box(heat, threshold)


def mean_box(picture: Image.Image, heat: Tensor, times: float) -> tuple[int, ...]:
    """The box of the largest part of a map above so many times its mean, as c-MWP has it (Zhang et al. 2016, 4.2)."""
    top = float(heat.max())
    return box(heat, min(max(times * float(heat.double().mean()) / top, 0.0), 1.0) if top > 0 else 1.0)


def smoothed_box(picture: Image.Image, heat: Tensor, threshold: float = 0.15) -> tuple[int, ...]:
    """The `share_box` of the map made smooth: for pixel methods."""
    return box(smoothed(heat), threshold)


def smoothed(heat: Tensor) -> Tensor:
    """A map ``(H, W)`` under a Gaussian of 2 % of its longer side, float32; its sum is kept.

    For the maps of pixel methods, whose highest pixel or largest part is otherwise one speck among many.
    """
    values = heat.detach().float().cpu().numpy()
    return torch.from_numpy(ndimage.gaussian_filter(values, SHARE * max(values.shape), mode="reflect"))


def grabcut_box(picture: Image.Image, saliency: Tensor) -> tuple[int, int, int, int]:
    """The box of the object that GrabCut cuts out of a picture, told by a map ``(H, W)`` of it where to begin.

    Pixels above the map's 95 % quantile are foreground, those below its 30 % quantile background, the rest probably
    background; 5 iterations; the box of the largest part (Simonyan et al. 2013, section 3.2). No pixel is surely
    background where more than 30 % share the lowest value, as in rectified maps. Without foreground to begin with, or
    in the end, it is the box of the largest part above the 95 % quantile; the whole picture for a flat map. Needs
    OpenCV; equal inputs give equal boxes.
    """
    values = saliency.detach().float().cpu().numpy()
    if values.shape != (picture.height, picture.width):
        raise Error(f"the map is {values.shape[1]}x{values.shape[0]}, the picture {picture.width}x{picture.height}.")
    low, high = np.quantile(values, (BACKGROUND, FOREGROUND)).tolist()
    sure, away = values > high, values < low
    if sure.any():
        cut = _cut(picture, sure, away)
        sure = cut if cut.any() else sure
    x0, y0, x1, y1 = box(torch.from_numpy(sure.astype(np.float32)), 1.0)
    return x0, y0, x1, y1


def _cut(picture: Image.Image, sure: np.ndarray[Any, Any], away: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The foreground ``(H, W)`` that OpenCV's GrabCut finds."""
    try:
        import cv2
    except ImportError:
        raise Error("grabcut_box needs OpenCV: pip install 'wherefore[eval]'") from None
    mask = np.full(sure.shape, cv2.GC_PR_BGD, np.uint8)
    mask[away], mask[sure] = cv2.GC_BGD, cv2.GC_FGD
    pixels = np.ascontiguousarray(np.asarray(picture.convert("RGB"))[..., ::-1])
    cv2.setRNGSeed(0)  # its colour models start from random clusters
    cv2.grabCut(pixels, mask, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_MASK)
    return (mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD)


# -------------------------------------------------------------------------------------------- over a data set


class Wrong(NamedTuple):
    """The errors of ILSVRC on one picture: 1 wrong, 0 right, NaN not counted; their means are the error rates.

    ``class_1`` and ``class_5``: the class is not the first, or not among the first five. ``box_1`` and ``box_5``: nor
    has it a right box there. ``known``: the box of the true class's map is wrong, whatever was predicted (GT-known).
    """

    class_1: float
    class_5: float
    box_1: float
    box_5: float
    known: float


def errors(
    guesses: Sequence[tuple[str, Box]], known: Box, label: str, truths: Sequence[Box], boxed: bool = True
) -> Wrong:
    """How wrong the guesses of a picture are, the likeliest class first, each with its box (Russakovsky et al., 4.2).

    A guess is right where its class is the label and its box has an IoU of at least 0.5 with one of the true boxes of
    that class; a picture is wrong where none of the first k guesses is right. ``boxed`` False (the blacklist), or a
    picture without boxes, counts for the classes alone.
    """
    named = [category == label for category, _ in guesses]
    right = [name and localized(box, truths) for name, (_, box) in zip(named, guesses, strict=True)]
    classes = float(not any(named[:1])), float(not any(named[:5]))
    if not boxed or not truths:
        return Wrong(*classes, NAN, NAN, NAN)
    return Wrong(*classes, float(not any(right[:1])), float(not any(right[:5])), float(not localized(known, truths)))


def sweep(e: Explanation, samples: Sequence[Sample], thresholds: Sequence[float]) -> Tensor:
    """The `box_iou` of each map at each of S thresholds, ``(B, T, S)``; for `max_box_accuracy`."""
    found = torch.full((*e.scores.shape, len(thresholds)), NAN, dtype=torch.float64)
    for b, t, case in cases(e, samples):
        truths = true_boxes(case.sample, case.category)
        boxes = [case.found(partial(box, threshold=threshold)) for threshold in thresholds]
        found[b, t] = torch.tensor([best_iou(each, truths) for each in boxes], dtype=torch.float64)
    return found


def max_box_accuracy(overlaps: Any, least: Sequence[float] = (0.5,), times: Any = None) -> float:
    """The share of right boxes at the best of S thresholds, from IoUs ``(N, S)``: MaxBoxAcc (Choe et al. 2020, 3.2).

    The mean over the IoUs that are asked for; with ``least=(0.3, 0.5, 0.7)`` it is MaxBoxAccV2, of the largest part
    alone where theirs takes the best of all parts. ``times`` ``(N,)``: how often each map counts, for `bootstrapped`.
    """
    overlaps = np.asarray(overlaps, np.float64)
    counted = ~np.isnan(overlaps).any(1)
    weights = np.where(counted, np.ones(len(overlaps)) if times is None else times, 0)
    if not weights.sum():
        return NAN
    return float(np.mean([(weights @ (overlaps >= one)).max() / weights.sum() for one in least]))
