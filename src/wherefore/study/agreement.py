"""Agreement: how far workers say the same of the same item, beyond chance: Krippendorff's alpha.

Krippendorff, "Computing Krippendorff's alpha-reliability" (2011). 1 is full agreement, 0 what chance gives, and less is
disagreement that is systematic. An item that one worker alone rated says nothing. Its interval draws pictures with
repetition (Zapf et al. 2016); which workers rated is held as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, Any]
Level = Literal["nominal", "ordinal"]


def alpha(items: Sequence[Any], values: Sequence[float], level: Level) -> float:
    """Krippendorff's alpha of ratings, each of an item; NaN where no item has two, or all ratings are the same."""
    return float(_alpha(coincidences(items, values)[1].sum(0), level))


def interval(
    items: Sequence[Any], values: Sequence[float], pictures: Sequence[Any], level: Level, draws: int = 10_000
) -> tuple[float, float]:
    """The bootstrap 95 % interval of `alpha`: pictures are drawn, each with all its items; NaN of fewer than two."""
    units, counts = coincidences(items, values)
    first = dict(zip(items, pictures, strict=True))
    names, of = np.unique([str(first[unit]) for unit in units.tolist()], return_inverse=True)
    if len(names) < 2:
        return float("nan"), float("nan")
    sums = np.zeros((len(names), counts[0].size))
    np.add.at(sums, of, counts.reshape(len(counts), -1))
    times = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), draws)
    drawn = _alpha((times @ sums).reshape(draws, *counts.shape[1:]), level)
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, (0.025, 0.975)).tolist()
    return low, high


def coincidences(items: Sequence[Any], values: Sequence[float]) -> tuple[Array, Array]:
    """The items that have two ratings or more, and of each how often two values go together ``(items, V, V)``.

    Every pair of its m ratings counts 1 / (m - 1), in both orders, so that each rating counts once.
    """
    units, unit = np.unique(np.asarray(items), return_inverse=True)
    scale, value = np.unique(np.asarray(values), return_inverse=True)
    counts = np.zeros((len(units), len(scale)))
    np.add.at(counts, (unit, value), 1.0)
    paired = counts.sum(1) > 1
    counts = counts[paired]
    pairs = counts[:, :, None] * counts[:, None, :]
    pairs[:, range(len(scale)), range(len(scale))] -= counts
    return units[paired], pairs / (counts.sum(1)[:, None, None] - 1)


def _alpha(pairs: Array, level: Level) -> Array:
    """Of coincidences ``(..., V, V)``: 1 - (n - 1) times observed over expected disagreement, summed over pairs."""
    often = pairs.sum(-1)
    n = often.sum(-1)
    apart = _apart(often, level)
    observed = (pairs * apart).sum((-2, -1))
    expected = (often[..., :, None] * often[..., None, :] * apart).sum((-2, -1))
    with np.errstate(invalid="ignore"):
        found: Array = 1 - (n - 1) * observed / np.where(expected > 0, expected, np.nan)
    return found


def _apart(often: Array, level: Level) -> Array:
    """How far two values are apart, squared ``(..., V, V)``: 1 of any two, or by how many ratings lie between them."""
    if level == "nominal":
        return np.broadcast_to(1.0 - np.eye(often.shape[-1]), (*often.shape, often.shape[-1]))
    middle = often.cumsum(-1) - often / 2  # of each value's ratings, on the line of all
    found: Array = (middle[..., :, None] - middle[..., None, :]) ** 2
    return found
