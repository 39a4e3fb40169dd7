"""How alike two maps are: by ranks, by structure, by the directions of their edges.

None of these depends on a positive factor of either map. References:

    Spearman, The Proof and Measurement of Association between Two Things, 1904
    Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity, TIP 2004
    Dalal & Triggs, Histograms of Oriented Gradients for Human Detection, CVPR 2005
    Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, section 4: which of them to take
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from wherefore.datasets import Array, Sample
from wherefore.errors import Error
from wherefore.explanation import Explanation
from wherefore.metrics.measuring import NAN
from wherefore.registry import METRICS

SIGMA, REACH = 1.5, 5  # of the windows of `ssim`, in pixels: 11x11, a Gaussian (Wang et al. 2004, section III B)
CELLS, BLOCK, DIRECTIONS = 14, 3, 9  # of `hog_correlation`: cells along the shorter side, cells of a block, angles


def spearman(a: Any, b: Any, *, absolute: bool = False) -> float:
    """The rank correlation of two maps of one shape, -1 to 1; equal values share the mean of their ranks.

    ``absolute`` leaves signs aside. 0 where one of the two is constant, which correlates with nothing. Raises `Error`
    for two shapes.
    """
    x, y = _alike(a, b)
    return pearson(*(_ranks(np.abs(values) if absolute else values) for values in (x, y)))


def _alike(a: Any, b: Any) -> tuple[Array, Array]:
    """Two arrays of one shape in float64."""
    x, y = (np.asarray(each, np.float64) for each in (a, b))
    if x.shape != y.shape:
        raise Error(f"maps of {x.shape} and {y.shape} cannot be compared: give two of one shape.")
    return x, y


def _ranks(values: Array) -> Array:
    """The rank of each value ``(N,)`` from 1; equal ones have the mean of theirs."""
    # scipy.stats has it too, but takes seconds to import.
    _, places, counts = np.unique(values.ravel(), return_inverse=True, return_counts=True)
    ranks: Array = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return ranks


def pearson(a: Array, b: Array) -> float:
    """The correlation of two arrays of one shape, -1 to 1; 0 where one of the two is constant."""
    a, b = _alike(a, b)
    if not (np.ptp(a) and np.ptp(b)):
        return 0.0
    x, y = (((each - each.mean()) / np.ptp(each)).ravel() for each in (a, b))
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1, 1))


def ssim(a: Any, b: Any) -> float:
    """The structural similarity of two maps ``(H, W)``, -1 to 1, signs left aside, each with 1 as its maximum.

    The mean over all Gaussian windows of 11x11 pixels, with the constants of Wang et al. 2004 (eq. 13) for a range of
    1. Raises `Error` for maps smaller than a window.
    """
    x, y = (_scaled(each, 2 * REACH + 1) for each in _alike(a, b))

    def mean(values: Array) -> Array:
        inside: Array = gaussian_filter(values, SIGMA, radius=REACH)[REACH:-REACH, REACH:-REACH]
        return inside

    mx, my = mean(x), mean(y)
    covariance, spread = mean(x * y) - mx * my, mean(x * x) - mx * mx + mean(y * y) - my * my
    luminance = (2 * mx * my + 0.01**2) / (mx * mx + my * my + 0.01**2)
    structure = (2 * covariance + 0.03**2) / (spread + 0.03**2)
    return float((luminance * structure).mean())


def hog_correlation(a: Any, b: Any) -> float:
    """The correlation of the histograms of oriented gradients of two maps ``(H, W)``, -1 to 1, signs left aside.

    9 directions, cells of a fourteenth of the shorter side (16 of 224 pixels), blocks of 3x3 cells; 0 where one of the
    two has no edges. Needs scikit-image. Raises `Error` for maps of less than 14 pixels on a side.
    """
    try:
        from skimage.feature import hog
    except ImportError:
        raise Error("hog_correlation needs scikit-image: pip install 'wherefore[eval]'") from None
    x, y = (_scaled(each, CELLS) for each in _alike(a, b))
    cell = round(min(x.shape) / CELLS)
    return pearson(*(hog(each, DIRECTIONS, (cell, cell), (BLOCK, BLOCK)) for each in (x, y)))


def _scaled(values: Array, least: int) -> Array:
    """The sizes of a map's values, 1 the largest, so that constants weigh the same in every map."""
    if values.ndim != 2 or min(values.shape) < least:
        raise Error(f"this similarity needs maps of at least {least}x{least} pixels, not {values.shape}: enlarge them.")
    sizes: Array = np.abs(values)  # of opposite maps SSIM would multiply two negative factors: alike
    return sizes / (sizes.max() or 1.0)


# -------------------------------------------------------------------------------------------- within explanations


@METRICS("class-separation", better="higher", bounds=(0, 2), paper="Selvaraju et al. 2020, section 5.1")
def class_separation(e: Explanation, samples: Sequence[Sample] = ()) -> Tensor:
    """How unlike a target's map is to those of the picture's other targets: 1 - rank correlation, (B, T).

    The mean over the other targets; with two objects asked for in a picture both have the same value. 0: the method
    does not tell classes apart. NaN for one target alone, and for a constant map, which is no answer to any question.
    The samples are not looked at.
    """
    return torch.tensor([_separations(maps.flatten(1).cpu().numpy()) for maps in e.maps], dtype=torch.float64)


def _separations(maps: Array) -> list[float]:
    """1 - the mean rank correlation of each of T maps ``(T, N)`` with the others that vary."""
    found: list[list[float]] = [[] for _ in maps]
    for i, j in combinations(np.flatnonzero(np.ptp(maps, 1)), 2):
        correlation = spearman(maps[i], maps[j])
        found[i].append(1 - correlation)
        found[j].append(1 - correlation)
    return [float(np.mean(one)) if one else NAN for one in found]


def adjacent_similarity(layers: Sequence[Explanation]) -> Tensor:
    """The rank correlation of each layer's maps with the next one's, ``(L - 1, B, T)``, -1 to 1; 0 for constant maps.

    ``layers``: L explanations of the same pictures and targets, compared at the network's input resolution.
    `within_and_across` splits them by stage. Raises `Error` for fewer than two layers.
    """
    if len(layers) < 2:
        raise Error("neighbouring layers are compared: explain at least two.")
    found = []
    for one, other in pairwise(layers):
        pairs = zip(one.heatmaps(), other.heatmaps(), strict=True)
        found.append([[spearman(x.cpu(), y.cpu()) for x, y in zip(*two, strict=True)] for two in pairs])
    return torch.tensor(found, dtype=torch.float64)


def within_and_across(similarities: Tensor, stages: Sequence[str]) -> tuple[Tensor, Tensor]:
    """The mean of ``(L - 1, B, T)`` over pairs of layers of one stage, and over those where a stage ends: two (B, T).

    ``stages``: the stage of each of the L layers (``layer3`` for ``layer3.5``). NaN where there is no such pair.
    """
    border = torch.tensor([one != other for one, other in pairwise(stages)])
    if len(border) != len(similarities):
        raise Error(f"{len(similarities) + 1} layers were compared and {len(stages)} stages named: name one for each.")
    return similarities[~border].mean(0), similarities[border].mean(0)
