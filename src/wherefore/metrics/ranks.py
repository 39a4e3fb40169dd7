"""Rank correlation."""

from __future__ import annotations

from typing import Any

import numpy as np


def spearman(one: Any, other: Any) -> float:
    """Spearman's rank correlation of two arrays of one shape, -1 to 1; equal values share the mean of their ranks.

    0 where one of them is constant: it says nothing of the other.
    """
    from scipy.stats import rankdata

    ranks = [rankdata(np.asarray(each, np.float64).ravel()) for each in (one, other)]
    a, b = (each - each.mean() for each in ranks)
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale else 0.0
