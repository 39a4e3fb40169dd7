"""Synthetic ratings: what made-up workers of set ability would answer. They are not people, and say nothing about them.

A worker's answer to an item is the step that a hidden strength falls into: ``method + worker + picture + item + noise``
with logistic noise and normal effects, so that with two steps it is the binomial mixed model, and with five the ordinal
one, that `wherefore.study.regression` fits. What is set for a method is its marginal mean: over all workers and items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from wherefore.study.plan import Kind

Array = np.ndarray[Any, Any]
# Where the hidden strength passes from one score to the next, and the scores.
STEPS: dict[Kind, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "class-discrimination": ((0.0,), (0.0, 1.0)),
    "trust": ((-3.0, -1.0, 1.0, 3.0), (-2.0, -1.0, 0.0, 1.0, 2.0)),
}
NODES, SHARES = np.polynomial.hermite_e.hermegauss(61)


@dataclass(frozen=True)
class Effects:
    """How far workers, pictures (in all methods alike) and items (in one) differ: standard deviations in log-odds."""

    worker: float = 0.0
    picture: float = 0.0
    item: float = 0.0

    @property
    def whole(self) -> float:
        """The standard deviation of all of them together."""
        return float(np.sqrt(self.worker**2 + self.picture**2 + self.item**2))


@dataclass(frozen=True)
class Design:
    """Who rates what: ``items`` of each of ``methods``, ``ratings`` of each item, dealt round to ``workers``.

    ``each``: how many items one picture has within a method (photographs with two categories: 2).
    """

    methods: int = 4
    items: int = 90
    ratings: int = 9
    workers: int = 43
    each: int = 1
    seed: int = 0

    @cached_property
    def columns(self) -> tuple[Array, Array, Array, Array]:
        """The worker, picture, item and method of each rating, as numbers; nobody gets a picture twice in a method."""
        dice = np.random.default_rng(self.seed)
        worker, picture, item, method = [], [], [], []
        for m in range(self.methods):
            pictures = dice.permutation(-(-self.items // self.each))
            order = np.repeat((pictures[:, None] * self.each + np.arange(self.each)).ravel(), self.ratings)
            order = order[order < self.items]
            worker.append(dice.permutation(self.workers)[np.arange(len(order)) % self.workers])
            picture.append(order // self.each)
            item.append(order + m * self.items)
            method.append(np.full(len(order), m))
        return tuple(np.concatenate(each) for each in (worker, picture, item, method))  # type: ignore[return-value]

    def values(self, kind: Kind, means: Sequence[float], effects: Effects, seed: int) -> Array:
        """What is answered ``(ratings,)``: 1 and 0 for right and wrong, or -2 to 2."""
        worker, picture, item, method = self.columns
        dice = np.random.default_rng(seed)
        places = np.array([place(kind, mean, effects.whole) for mean in means])
        strength = places[method] + dice.logistic(size=len(method))
        for of, spread in ((worker, effects.worker), (picture, effects.picture), (item, effects.item)):
            strength += dice.normal(0, spread, of.max() + 1)[of]
        steps, scores = STEPS[kind]
        return np.array(scores)[np.searchsorted(steps, strength)]


def place(kind: Kind, mean: float, spread: float) -> float:
    """The place of a method in log-odds whose marginal mean this is, where effects have this standard deviation."""
    return float(brentq(lambda at: marginal(kind, at, spread) - mean, -60, 60))


def marginal(kind: Kind, at: float, spread: float) -> float:
    """The mean score over workers and items of a method whose place is this (Gauss-Hermite, 61 nodes)."""
    return float(SHARES @ expected(kind, at + spread * NODES) / SHARES.sum())


def expected(kind: Kind, at: Array, power: int = 1) -> Array:
    """The mean score where the strength without noise is this, or that of its square."""
    steps, scores = STEPS[kind]
    above = expit(np.asarray(at)[..., None] - np.array(steps))
    levels = np.array(scores) ** power
    found: Array = levels[0] + above @ np.diff(levels)
    return found
