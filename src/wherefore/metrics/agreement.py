"""How alike two maps are: by ranks, by structure, by the directions of their edges.

None of these depends on a positive factor of either map. References:

    Spearman, The Proof and Measurement of Association between Two Things, 1904
    Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity, TIP 2004
    Dalal & Triggs, Histograms of Oriented Gradients for Human Detection, CVPR 2005
    Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, section 4: which of them to take
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import rankdata

from wherefore.datasets import Array


def spearman(a: Any, b: Any, *, absolute: bool = False) -> float:
    """The rank correlation of two maps of one shape, -1 to 1; equal values share the mean of their ranks.

    ``absolute`` leaves signs aside. 0 where one of the two is constant, which correlates with nothing.
    """
    values = [np.asarray(x, np.float64).ravel() for x in (a, b)]
    return pearson(*(rankdata(np.abs(x) if absolute else x) for x in values))


def pearson(a: Array, b: Array) -> float:
    """The correlation of two arrays of one shape, -1 to 1; 0 where one of the two is constant."""
    a, b = (np.asarray(x, np.float64).ravel() for x in (a, b))
    a, b = a - a.mean(), b - b.mean()
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.clip(a @ b / length, -1, 1)) if length else 0.0
