"""The pointing game: does the highest point of a map lie on the thing (Zhang et al. 2016, section 4.1)?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np


class Accuracy(NamedTuple):
    """Shares of hits, 0 to 1: the mean over classes (the usual headline), and that of all together."""

    by_class: float
    pooled: float


def hits(point: Sequence[int], mask: Any, tolerance: float = 15) -> bool:
    """Whether some pixel of a mask ``(H, W)`` is nearer than ``tolerance`` pixels to a point ``(x, y)``, or is it.

    Point and mask lie in the picture's own pixels; 15 is the usual tolerance, 0 asks for the pixel itself.
    """
    rows, columns = np.nonzero(np.asarray(mask))
    squared = (columns - point[0]) ** 2 + (rows - point[1]) ** 2
    return bool(((squared < tolerance**2) | (squared == 0)).any())


def accuracy(outcomes: Iterable[tuple[str, bool]]) -> Accuracy:
    """The shares of hits among pairs of a class and whether it was hit; NaN for none."""
    found: dict[str, list[bool]] = defaultdict(list)
    for name, hit in outcomes:
        found[name].append(hit)
    if not found:
        return Accuracy(float("nan"), float("nan"))
    every = [hit for one in found.values() for hit in one]
    return Accuracy(fmean(fmean(one) for one in found.values()), fmean(every))
