"""How far a figure would move with other pictures of the same kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import fmean
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
RESAMPLES = 1000


def draws(pictures: int, resamples: int = RESAMPLES, seed: int = 0) -> Iterator[Array]:
    """So many times as many pictures as there are, by number, drawn with repetition (Efron 1979)."""
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, 100):  # all of them at once would be gigabytes for a whole data set
        yield from generator.integers(pictures, size=(min(100, resamples - start), pictures))


def interval(
    values: Sequence[Any],
    resamples: int = RESAMPLES,
    seed: int = 0,
    statistic: Callable[[Sequence[Any]], float] = fmean,
) -> tuple[float, float]:
    """The bootstrap 95 % interval of a statistic of one value per picture, the mean by default; NaN for none.

    Percentiles 2.5 and 97.5 over ``resamples`` `draws`. A value may be anything that ``statistic`` takes a list of: a
    picture's several outcomes are drawn together.
    """
    if not len(values):
        return float("nan"), float("nan")
    found = [statistic([values[i] for i in draw.tolist()]) for draw in draws(len(values), resamples, seed)]
    low, high = np.percentile(found, (2.5, 97.5)).tolist()
    return low, high


def wilson(right: float, n: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    share, extra = right / n, z * z / n
    middle, half = share + extra / 2, z * math.sqrt(share * (1 - share) / n + extra / (4 * n))
    return max(0.0, (middle - half) / (1 + extra)), min(1.0, (middle + half) / (1 + extra))
