"""Power: how often a study of this size would show a difference that is there, by simulating it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.stats import t

from wherefore.study.clusters import variance
from wherefore.study.plan import Kind, Plan
from wherefore.study.synthetic import NODES, SHARES, Design, Effects, expected, place

Array = np.ndarray[Any, Any]
GAPS: dict[Kind, tuple[float, float]] = {"class-discrimination": (0.50, 0.60), "trust": (1.00, 1.27)}
DESIGN_EFFECT = 2.0  # how many times the variance of a difference is what it would be of independent ratings


@dataclass(frozen=True)
class Power:
    """How often a gap between two methods is found at 5 %, two-sided, and what was assumed for that."""

    kind: Kind
    means: tuple[float, float]
    items: int
    ratings: int
    workers: int
    effects: Effects
    share: float
    studies: int

    def __str__(self) -> str:
        one, other = (f"{100 * m:.0f} %" if self.kind == "class-discrimination" else f"{m:+.2f}" for m in self.means)
        return (
            f"With {self.items} items x {self.ratings} ratings by {self.workers} workers, {one} and {other} are told "
            f"apart in {100 * self.share:.0f} % of {self.studies} simulated studies (5 %, two-sided, one pair of "
            f"methods, design effect {DESIGN_EFFECT:g})."
        )


def of_plan(plan: Plan, studies: int = 400) -> Power:
    """The power of a plan for the gap that it should not miss: 50 or 60 % accuracy, or the paper's, +1.00 or +1.27."""
    items = max(sum(item.method == method for item in plan.items) for method in plan.methods)
    return power(plan.kind, items, plan.ratings, plan.workers, studies=studies)


@cache
def power(
    kind: Kind, items: int, ratings: int, workers: int, means: tuple[float, float] | None = None, studies: int = 400
) -> Power:
    """How often ``items`` of each of two methods, ``ratings`` of each item, by ``workers`` people tell means apart.

    Items differ so much that the design effect is 2; those of two methods are taken for independent, which is cautious:
    a picture that is hard is so in both. The power is that of one pair, before any correction for several.
    """
    means = means or GAPS[kind]
    effects = effects_of(kind, sum(means) / 2, ratings)
    design = Design(2, items, ratings, workers)
    found = sum(_found(design, design.values(kind, means, effects, seed)) for seed in range(studies))
    return Power(kind, means, items, ratings, workers, effects, found / studies, studies)


def effects_of(kind: Kind, mean: float, ratings: int, effect: float = DESIGN_EFFECT) -> Effects:
    """How far items differ for a design effect ``1 + (m - 1) r`` of a difference between methods (Kish 1965).

    Each item has m ``ratings``, and r is the share of the variance of ratings that lies between items. How able a
    worker is in all methods alike drops out of a difference, as everybody rates all methods.
    """
    share = min((effect - 1) / (ratings - 1), 0.9) if ratings > 1 else 0.0
    return Effects(item=_spread(kind, mean, share))


def _spread(kind: Kind, mean: float, share: float) -> float:
    """The standard deviation in log-odds of effects that make this share of the variance of ratings."""
    if not share:
        return 0.0
    return float(brentq(lambda spread: between(kind, mean, spread) - share, 1e-6, 50))


def between(kind: Kind, mean: float, spread: float) -> float:
    """The share of the variance of ratings that lies between those who differ by ``spread`` in log-odds."""
    at = place(kind, mean, spread) + spread * NODES
    weights = SHARES / SHARES.sum()
    return float(weights @ (expected(kind, at) - mean) ** 2 / (weights @ expected(kind, at, 2) - mean**2))


def _found(design: Design, values: Array) -> bool:
    """Whether Student's t of the two-way variance, by which `clusters` sets its intervals, tells the methods apart."""
    worker, _, item, method = design.columns
    means = [values[method == m].mean() for m in (0, 1)]
    influence = np.where(method == 1, values - means[1], means[0] - values) / np.bincount(method)[method]
    error = variance(influence, worker, item) ** 0.5
    freedom = min(len(np.unique(worker)), len(np.unique(item))) - 1
    return bool(error > 0 and abs(means[1] - means[0]) > t.ppf(0.975, freedom) * error)
