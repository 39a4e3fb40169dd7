"""Whether every pixel has its class: intersection over union from one confusion matrix over a whole set.

Classes are numbers ``(H, W)``, 0 background; 255 in the truth is void and not counted. Reference:

    Everingham et al., The PASCAL Visual Object Classes Challenge, IJCV 2010
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from wherefore.datasets.sample import VOID, Array
from wherefore.errors import Error
from wherefore.metrics.resampling import interval


class MeanIou(NamedTuple):
    """The mean over classes, 0 to 1, and the value of each; NaN for a class that is neither there nor predicted."""

    mean: float
    by_class: tuple[float, ...]


def confusion(predicted: Any, truth: Any, classes: int) -> Array:
    """How many pixels of each class (row) were given each class (column): ``(classes, classes)`` of int64.

    ``classes`` counts background. Raises `Error` where the two differ in size or hold another number.
    """
    predicted, truth = np.asarray(predicted), np.asarray(truth)
    if predicted.shape != truth.shape:
        raise Error(f"the prediction is {predicted.shape}, the truth {truth.shape}: predict at the picture's own size.")
    counted = truth != VOID
    rows, columns = truth[counted].astype(np.int64), predicted[counted].astype(np.int64)
    if rows.size and not 0 <= min(rows.min(), columns.min()) <= max(rows.max(), columns.max()) < classes:
        raise Error(f"classes are numbered from 0 to {classes - 1} (255 in the truth is void), and others are there.")
    return np.bincount(rows * classes + columns, minlength=classes**2).reshape(classes, classes)


def mean_iou(matrix: Any) -> MeanIou:
    """Intersection over union of each class, TP / (TP + FP + FN), from the matrix of a whole set, and their mean.

    Matrices of several pictures are added first: values of single pictures are never averaged. Classes that are neither
    there nor predicted are left out of the mean.
    """
    matrix = np.asarray(matrix, np.float64)
    right = matrix.diagonal()
    union = matrix.sum(0) + matrix.sum(1) - right
    values = np.divide(right, union, out=np.full(len(right), np.nan), where=union > 0)
    return MeanIou(float(np.nanmean(values)) if union.any() else float("nan"), tuple(values.tolist()))


def mean_iou_interval(matrices: Sequence[Any], resamples: int = 1000, seed: int = 0) -> tuple[float, float]:
    """The bootstrap 95 % interval of `mean_iou` over pictures, one matrix ``(C, C)`` each.

    With ``(runs, C, C)`` for each picture it is that of the mean over runs.
    """
    return interval([np.asarray(m) for m in matrices], resamples, seed, lambda drawn: mean_over_runs(sum(drawn)))


def mean_over_runs(matrices: Any) -> float:
    """The mean of `mean_iou` over runs ``(..., C, C)``, each of which has its own matrix."""
    matrices = np.asarray(matrices)
    return float(np.mean([mean_iou(m).mean for m in matrices.reshape(-1, *matrices.shape[-2:])]))
