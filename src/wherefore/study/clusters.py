"""Clusters: how far a mean over ratings would move with other workers and other pictures, both drawn at once.

Workers and pictures are drawn with repetition, and a rating counts as often as its worker times its picture (the
pigeonhole bootstrap, Owen 2007). `ASSUMES` says what it takes for granted.

By its spread alone that bootstrap is too wide: it counts the variance of what neither worker nor picture accounts for
three times (Owen 2007, theorem 4). So its draws give the shape of an interval and the two-way variance gives its width:

    V = V_workers + V_pictures - V_both, each the sum over clusters of squared sums of influence, times G / (G - 1)

(Cameron, Gelbach & Miller 2011, eq. 2.11), with Student's t of the smaller number of clusters less one. V is an
estimate and can come out too small, even negative; it is taken for at least the smallest of its three parts.
``benchmarks/study_coverage.py`` counts how often such intervals hold the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from scipy.stats import norm, t

Array = np.ndarray[Any, Any]
DRAWS = 10_000
ENDS = (0.025, 0.975)
ANY = float("-inf"), float("inf")
ASSUMES = (
    "Ratings of one worker are alike, and so are those of one picture: intervals that take all for independent are "
    "too narrow. Here workers and pictures are drawn with repetition, both at once (pigeonhole bootstrap, Owen 2007); "
    "the width is that of the two-way variance (Cameron, Gelbach & Miller 2011) with Student's t of the smaller number "
    "of clusters, as the bootstrap alone is too wide.",
    "That takes the workers, and the pictures, each for a random sample of those that are spoken about, and nothing of "
    "how they differ. All items of one picture are one cluster. With few workers or pictures intervals are rough; of "
    "fewer than two there is none, nor where all answers are the same.",
)


@dataclass(frozen=True)
class Estimate:
    """A figure over ratings with its interval: NaN where nothing was rated, its ends where nothing can be said of them.

    That is so of fewer than two workers or pictures, and where all ratings are the same. ``low`` and ``high`` are the
    ends of 95 %; ``p`` is the two-sided p of that it is 0; ``error`` is its standard error; ``n`` ratings.
    """

    value: float
    n: int
    error: float
    freedom: int  # degrees of freedom of Student's t
    drawn: Array = field(repr=False, compare=False)
    influence: Array = field(repr=False, compare=False)  # of each rating on the value
    scale: tuple[float, float] = ANY  # what it can be; its interval ends there

    @cached_property
    def spread(self) -> Array:
        """The draws as wide as the two-way variance says, about the value; empty where nothing can be said."""
        drawn = self.drawn[~np.isnan(self.drawn)]
        if not self.error > 0 or len(drawn) < 2 or not drawn.std() > 0:
            return np.empty(0)
        wider = t.ppf(ENDS[1], self.freedom) / norm.ppf(ENDS[1])
        return self.value + (drawn - drawn.mean()) * (self.error * wider / drawn.std())

    @cached_property
    def ends(self) -> tuple[float, float]:
        """The ends of the 95 % interval."""
        if not len(self.spread):
            return float("nan"), float("nan")
        low, high = np.clip(np.quantile(self.spread, ENDS), *self.scale).tolist()
        return low, high

    @property
    def low(self) -> float:
        """The lower end of the interval."""
        return self.ends[0]

    @property
    def high(self) -> float:
        """The upper end of the interval."""
        return self.ends[1]

    @property
    def p(self) -> float:
        """How often as extreme a figure is drawn where the truth is 0, two-sided; NaN where nothing can be said."""
        if not len(self.spread):
            return float("nan")
        beyond = min((self.spread <= 0).sum(), (self.spread >= 0).sum())
        return min(1.0, 2 * float(1 + beyond) / (1 + len(self.spread)))


class Crossed:
    """Ratings that workers gave of pictures, in one order: estimates over all of them or some, from the same draws.

    ``workers`` and ``pictures``: of each rating; all items that are made of one picture count as that picture.
    """

    def __init__(self, workers: Sequence[str], pictures: Sequence[str], draws: int = DRAWS, seed: int = 0) -> None:
        self.worker, self.workers = _codes(workers)
        self.picture, self.pictures = _codes(pictures)
        self.draws, self.seed = draws, seed

    @cached_property
    def times(self) -> tuple[Array, Array]:
        """How often each worker ``(draws, workers)`` and each picture ``(draws, pictures)`` is drawn."""
        return weights(self.workers, self.pictures, self.draws, self.seed)

    def mean(self, values: Array, among: Array | None = None, scale: tuple[float, float] = ANY) -> Estimate:
        """The mean of the values of those ratings that are ``among`` the wanted ones, of all by default.

        ``scale``: the least and the most that a value can be.
        """
        chosen = np.ones(len(self.worker), bool) if among is None else np.asarray(among, bool)
        values, n = np.where(chosen, values, 0.0), int(chosen.sum())
        if not n:
            return Estimate(float("nan"), 0, float("nan"), 0, np.empty(0), np.zeros(len(chosen)))
        value = float(values.sum() / n)
        influence = np.where(chosen, values - value, 0.0) / n
        with np.errstate(invalid="ignore"):  # a draw without any of them
            drawn = self.total(values) / self.total(chosen.astype(np.float64))
        return self._estimate(value, n, influence, chosen, drawn, scale)

    def difference(self, one: Estimate, other: Estimate) -> Estimate:
        """How much higher one figure is than another, paired: every draw is that of both."""
        if not one.n or not other.n:
            return self.mean(np.zeros(len(self.worker)), np.zeros(len(self.worker), bool))
        influence = one.influence - other.influence
        rated = (one.influence != 0) | (other.influence != 0)
        scale = one.scale[0] - other.scale[1], one.scale[1] - other.scale[0]
        n, drawn = min(one.n, other.n), one.drawn - other.drawn
        return self._estimate(one.value - other.value, n, influence, rated, drawn, scale)

    def linear(self, value: float, influence: Array) -> Estimate:
        """Any figure, by what each rating adds to it: the estimating-function bootstrap (Hu & Kalbfleisch 2000)."""
        everyone = np.ones(len(self.worker), bool)
        return self._estimate(value, len(self.worker), influence, everyone, value + self.total(influence))

    def total(self, values: Array) -> Array:
        """The sum of the values in each draw ``(draws,)``: each counts as often as its worker times its picture."""
        cells = np.bincount(self.worker * self.pictures + self.picture, values, self.workers * self.pictures)
        workers, pictures = self.times
        found: Array = np.einsum("dp,dp->d", workers @ cells.reshape(self.workers, self.pictures), pictures)
        return found

    def _estimate(
        self, value: float, n: int, influence: Array, rated: Array, drawn: Array, scale: tuple[float, float] = ANY
    ) -> Estimate:
        freedom = min(len(np.unique(self.worker[rated])), len(np.unique(self.picture[rated]))) - 1
        error = variance(influence, self.worker, self.picture) ** 0.5
        return Estimate(value, n, error, freedom, drawn, influence, scale)


def variance(influence: Array, worker: Array, picture: Array) -> float:
    """The two-way variance of a figure by each rating's influence on it; NaN of less than two workers or pictures.

    ``worker`` and ``picture`` are numbers from 0. Ratings without influence count as no cluster.
    """
    of = influence != 0
    if not of.any():
        return 0.0 if len(np.unique(worker)) > 1 < len(np.unique(picture)) else float("nan")
    influence, worker, picture = influence[of], worker[of], picture[of]
    both = worker * (picture.max() + 1) + picture
    parts = [_one_way(influence, by) for by in (worker, picture, both)]
    return float(max(parts[0] + parts[1] - parts[2], min(parts)))


def weights(workers: int, pictures: int, draws: int, seed: int) -> tuple[Array, Array]:
    """How often each is drawn, of as many draws with repetition as there are: two arrays of counts."""
    dice = np.random.default_rng(seed)
    return tuple(dice.multinomial(n, np.full(n, 1 / n), draws).astype(np.float64) for n in (workers, pictures))  # type: ignore[return-value]


def _one_way(influence: Array, by: Array) -> float:
    _, number = np.unique(by, return_inverse=True)
    sums = np.bincount(number, influence)
    return float((sums**2).sum() * len(sums) / (len(sums) - 1)) if len(sums) > 1 else float("nan")


def _codes(names: Sequence[str]) -> tuple[Array, int]:
    known, codes = np.unique(np.asarray(names), return_inverse=True)
    return codes, len(known)
