"""Average precision of classifiers, as PASCAL VOC computes it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
RECALLS = np.linspace(0, 1, 11)


class AveragePrecision(NamedTuple):
    """The area below precision over recall, at all points or at eleven."""

    every: float
    eleven: float


def average_precision(scores: Array, present: Array) -> AveragePrecision:
    """How well ``scores`` ``(N,)`` rank the pictures that show a class, ``present`` ``(N,)`` of bool, in 0..1.

    Both take the highest precision at this recall or a greater one: `every` over all recalls (VOC2010 and later),
    `eleven` at 0, 0.1, ... 1 (VOC2007, Everingham et al. 2010, Eq. 1-2). Equal scores keep their order. NaN where no
    picture shows the class.
    """
    if not present.any():
        return AveragePrecision(float("nan"), float("nan"))
    right = present[np.argsort(-scores, kind="stable")].astype(bool)
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    highest = np.maximum.accumulate(precision[::-1])[::-1][right]  # at each picture that is found
    found = np.arange(1, len(highest) + 1) / len(highest)
    # The first picture that reaches a recall; 0.3 of ten is 3, which floating point has as 3.0000000000000004.
    at = np.searchsorted(found, RECALLS - 1e-12)
    return AveragePrecision(float(highest.mean()), float(highest[at].mean()))


def mean_average_precision(scores: Array, labels: Array, counted: Array) -> AveragePrecision:
    """The means over the classes that any picture shows, of scores, labels and what is counted, ``(N, C)`` each.

    A picture is left out of the ranking of a class where it is not counted: all that it shows of it is difficult.
    """
    each = [
        average_precision(scores[counted[:, c], c], labels[counted[:, c], c])
        for c in range(labels.shape[1])
        if (labels & counted)[:, c].any()
    ]
    if not each:
        return AveragePrecision(float("nan"), float("nan"))
    return AveragePrecision(*np.mean(each, 0).tolist())
