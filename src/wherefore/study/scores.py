"""Scores: what a study says of each method, and of each two, with intervals over workers and pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from statistics import fmean, stdev
from typing import Any

import numpy as np

from wherefore.diagnosis.audit import holm
from wherefore.metrics.resampling import wilson
from wherefore.study.agreement import Level, alpha, interval
from wherefore.study.clusters import DRAWS, Crossed, Estimate
from wherefore.study.plan import PAPER, SCALE, Kind, Rating

Array = np.ndarray[Any, Any]
ALPHA = 0.05
MEASURES: dict[Kind, str] = {"class-discrimination": "accuracy", "trust": "reliability"}
LEVELS: dict[Kind, Level] = {"class-discrimination": "nominal", "trust": "ordinal"}


@dataclass(frozen=True)
class Contrast:
    """How much higher ``one`` method scores than the ``other``, paired; ``p`` is corrected for how many there are."""

    one: str
    other: str
    gap: Estimate
    p: float
    paper: float | None

    @property
    def clear(self) -> bool:
        """Whether the two differ beyond chance."""
        return self.p < ALPHA


@dataclass(frozen=True)
class Sides:
    """How people leaned to one side of the screen, whatever was shown there, and the p of that they do not.

    Two options: the share of answers that were the left one, and the exact binomial test of one half, which takes
    answers for independent. Trust: how much the left picture was favoured, -2 to 2, and the sign-flip test by worker.
    """

    figure: Estimate
    p: float
    by_method: dict[str, Estimate]


class Scores:
    """The figures of a study over the ratings that count; ``methods`` are those of the plan, rated or not."""

    def __init__(self, kind: Kind, methods: Sequence[str], ratings: Sequence[Rating], draws: int = DRAWS) -> None:
        self.kind, self.names, self.ratings = kind, tuple(methods), list(ratings)
        self.measure, self.paper = MEASURES[kind], PAPER[kind]
        self.crossed = Crossed([each.worker for each in ratings], [each.picture for each in ratings], draws)
        self.values = np.array([each.value for each in ratings], np.float64)
        self.method = np.array([each.method for each in ratings])

    @cached_property
    def methods(self) -> dict[str, Estimate]:
        """The mean of each method's ratings: its accuracy, 0 to 1, or how much the better network was preferred."""
        return self._means(self.values)

    def _means(self, values: Array) -> dict[str, Estimate]:
        return {name: self.crossed.mean(values, self.method == name, SCALE[self.kind]) for name in self.names}

    def naive(self, name: str) -> tuple[float, float]:
        """The interval that takes all ratings for independent: Wilson's for accuracy, 1.96 standard errors else."""
        own = self.values[self.method == name].tolist()
        if self.kind == "class-discrimination":
            return wilson(sum(own), len(own)) if own else (float("nan"), float("nan"))
        if len(own) < 2:
            return float("nan"), float("nan")
        half = 1.959964 * stdev(own) / math.sqrt(len(own))
        return fmean(own) - half, fmean(own) + half

    def design_effect(self, name: str) -> float:
        """How many times its variance is what it would be of independent ratings; NaN where that is 0."""
        own = self.values[self.method == name]
        alone = own.var() / len(own) if len(own) else 0.0
        return float(self.methods[name].error ** 2 / alone) if alone else float("nan")

    @cached_property
    def contrasts(self) -> list[Contrast]:
        """Every two methods, the one that is higher in the paper first, with Holm's correction over all of them."""
        pairs = [self._in_order(*pair) for pair in combinations(self.names, 2)]
        gaps = [self.crossed.difference(self.methods[one], self.methods[other]) for one, other in pairs]
        ps = holm([gap.p for gap in gaps])
        ps = [p if gap.p == gap.p else float("nan") for p, gap in zip(ps, gaps, strict=True)]
        papers = [self.paper[a] - self.paper[b] if {a, b} <= {*self.paper} else None for a, b in pairs]
        return [
            Contrast(*pair, gap, p, paper and round(paper, 4))
            for pair, gap, p, paper in zip(pairs, gaps, ps, papers, strict=True)
        ]

    def _in_order(self, one: str, other: str) -> tuple[str, str]:
        return (one, other) if self.paper.get(one, math.inf) >= self.paper.get(other, -math.inf) else (other, one)

    @cached_property
    def agreement(self) -> dict[str, tuple[float, float, float]]:
        """Krippendorff's alpha of each method's ratings, with its interval: nominal of right and wrong, or ordinal.

        Right and wrong, and not the categories: two that every item offers anew would agree by what is offered alone.
        """
        return {name: self._agreement(name) for name in self.names}

    def _agreement(self, name: str) -> tuple[float, float, float]:
        own = [each for each in self.ratings if each.method == name]
        items, values = [each.item for each in own], [each.value for each in own]
        if not own:
            return float("nan"), float("nan"), float("nan")
        level = LEVELS[self.kind]
        ends = interval(items, values, [each.picture for each in own], level)
        return (alpha(items, values, level), *ends)

    @cached_property
    def sides(self) -> Sides:
        """Whether the side of the screen was preferred as such."""
        side = np.array([each.side for each in self.ratings], np.float64)
        leaning = (side == 0).astype(np.float64) if self.kind == "class-discrimination" else 2 - side
        everything = self.crossed.mean(leaning, scale=SCALE[self.kind])
        return Sides(everything, self._side_p(leaning), self._means(leaning))

    def _side_p(self, leaning: Array) -> float:
        if self.kind == "class-discrimination":
            from scipy.stats import binomtest

            return float(binomtest(int(leaning.sum()), len(leaning)).pvalue)
        return sign_flip(np.bincount(self.crossed.worker, leaning))


def sign_flip(sums: Array, flips: int = 10_000) -> float:
    """The two-sided p of that sums are symmetric about 0, by flipping the sign of each at random."""
    signs = np.random.default_rng(0).choice((-1.0, 1.0), (flips, len(sums)))
    as_far = int((np.abs(signs @ sums) >= abs(sums.sum()) - 1e-9).sum())
    return (1 + as_far) / (1 + flips)
