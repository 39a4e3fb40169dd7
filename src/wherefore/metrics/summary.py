"""What is said of a metric over many pictures: a figure, its interval, how many; whether figures are in an order."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from wherefore.errors import Error
from wherefore.metrics.resampling import Array, draws


@dataclass(frozen=True)
class Summary:
    """A figure over ``n`` pictures, its bootstrap 95 % interval, and how many of the maps were without evidence.

    ``drawn`` ``(1000,)``: the figure over each of the draws. Of the same pictures all figures have the same draws, so
    that `difference` can pair them.
    """

    value: float
    low: float
    high: float
    n: int
    degenerate: int = 0
    pictures: int = field(default=0, repr=False)
    drawn: Array = field(default_factory=lambda: np.empty(0), repr=False, compare=False)

    def row(self) -> dict[str, float | int | None]:
        """The figure as JSON can hold it: value, low, high, n, degenerate; None where it is undefined."""
        ends = {"value": self.value, "low": self.low, "high": self.high}
        numbers = {name: None if math.isnan(value) else value for name, value in ends.items()}
        return {**numbers, "n": self.n, "degenerate": self.degenerate}

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def summary(values: Sequence[Any], evidence: Any = ()) -> Summary:
    """The mean over pictures of a metric's values: one of each, or several (``(B, T)``, or ragged), then their mean.

    NaN counts neither way; ``n`` is how many pictures have a value. ``evidence`` is that of all maps, in one row.
    """
    defined = [row[~np.isnan(row)] for row in (np.asarray(value, np.float64).ravel() for value in values)]
    means = np.array([row.mean() if len(row) else 0.0 for row in defined])
    some = np.array([len(row) > 0 for row in defined], np.float64)
    return bootstrapped(lambda times: _ratio(times @ means, times @ some), len(means), int(some.sum()), evidence)


def summary_by_class(values: Sequence[Any], targets: Sequence[Sequence[str]], evidence: Any = ()) -> Summary:
    """The mean over classes of the mean of each over all its pictures: the pointing game's headline.

    ``values``: those of each picture, one for each of its ``targets``, the names of classes. A picture's values are
    drawn together. NaN counts neither way; ``evidence`` and ``n`` as in `summary`.
    """
    names = {name: i for i, name in enumerate(sorted({name for row in targets for name in row}))}
    sums, counts = np.zeros((2, len(values), len(names)))
    for b, row in enumerate(targets):
        for name, value in zip(row, np.asarray(values[b], np.float64).ravel().tolist(), strict=True):
            if not math.isnan(value):
                sums[b, names[name]] += value
                counts[b, names[name]] += 1

    def mean(times: Array) -> float:
        total = times @ counts
        return _ratio(((times @ sums) / np.maximum(total, 1)).sum(), (total > 0).sum())

    return bootstrapped(mean, len(values), int(counts.any(1).sum()), evidence)


def pooled(parts: Sequence[float], wholes: Sequence[float], evidence: Any = ()) -> Summary:
    """The share that the ``parts`` of all pictures together are of their ``wholes``, drawn by picture.

    A picture with more in it counts more. ``n`` is how many pictures have a whole; ``evidence`` as in `summary`.
    """
    above, below = (np.asarray(each, np.float64) for each in (parts, wholes))
    n = int((below > 0).sum())
    return bootstrapped(lambda times: _ratio(times @ above, times @ below), len(below), n, evidence)


def bootstrapped(
    statistic: Callable[[Array], float], pictures: int, n: int | None = None, evidence: Any = ()
) -> Summary:
    """Any figure over pictures, with its interval: ``statistic`` of how many times each picture counts ``(pictures,)``.

    Percentiles 2.5 and 97.5 over the figures of 1,000 draws with repetition, seed 0 (Efron 1979). Draws for which the
    figure is undefined are left out. ``n`` is all pictures where it is not said. Raises `Error` for no pictures.
    """
    if not pictures:
        raise Error("there are no pictures to sum up.")
    drawn = np.array([statistic(np.bincount(draw, minlength=pictures).astype(np.float64)) for draw in draws(pictures)])
    degenerate = int((np.asarray(evidence, np.float64) <= 0).sum())
    value = float(statistic(np.ones(pictures)))
    return Summary(value, *_ends(drawn), pictures if n is None else n, degenerate, pictures, drawn)


def difference(one: Summary, other: Summary) -> Summary:
    """How much higher one figure is than another over the same pictures, paired: every draw is that of both.

    ``n`` is the smaller one. Raises `Error` where the two were not drawn from as many pictures.
    """
    if one.pictures != other.pictures:
        raise Error(f"figures over {one.pictures} and {other.pictures} pictures cannot be paired: take the same ones.")
    drawn = one.drawn - other.drawn
    n, degenerate = min(one.n, other.n), one.degenerate + other.degenerate
    return Summary(one.value - other.value, *_ends(drawn), n, degenerate, one.pictures, drawn)


def _ends(drawn: Array) -> tuple[float, float]:
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return float("nan"), float("nan")
    low, high = np.percentile(drawn, (2.5, 97.5)).tolist()
    return low, high


def _ratio(above: Any, below: Any) -> float:
    return float(above / below) if below else float("nan")


# -------------------------------------------------------------------------------------------- orders


class Step(NamedTuple):
    """Two neighbours of an expected order, and by how much the first is better, paired."""

    better: str
    worse: str
    gap: Summary

    @property
    def holds(self) -> bool:
        """Whether the first is better at all."""
        return self.gap.value > 0

    @property
    def clear(self) -> bool:
        """Whether the interval of the difference excludes 0, whichever way it goes."""
        return self.gap.low > 0 or self.gap.high < 0


@dataclass(frozen=True)
class Verdict:
    """Whether figures are in an expected order, pair by pair."""

    figures: dict[str, Summary]
    steps: tuple[Step, ...]

    @property
    def holds(self) -> bool:
        """Whether every figure is better than the one that should come after it."""
        return all(step.holds for step in self.steps)

    def __str__(self) -> str:
        return f"{'holds' if self.holds else 'does not hold'}: {'; '.join(map(self._said, self.steps))}"

    def _said(self, step: Step) -> str:
        one, other = (f"{name} {self.figures[name].value:.3f}" for name in (step.better, step.worse))
        doubt = "" if step.clear else ", which may be chance"
        return f"{one} {'before' if step.holds else 'not before'} {other} (by {step.gap}{doubt})"


def ordering(figures: Mapping[str, Summary], expected: Sequence[str], better: str = "higher") -> Verdict:
    """Whether figures over the same pictures are in the order that is expected of them, the best one first.

    ``better``: ``higher`` or ``lower``. Raises `Error` for a name without a figure.
    """
    missing = [name for name in expected if name not in figures]
    if missing:
        raise Error(f"there is no figure of {', '.join(missing)}: the order is over {', '.join(figures)}.")
    if better not in ("higher", "lower"):
        raise Error(f"better is 'higher' or 'lower', not {better!r}.")
    steps = []
    for first, second in pairwise(expected):
        above, below = (first, second) if better == "higher" else (second, first)
        steps.append(Step(first, second, difference(figures[above], figures[below])))
    return Verdict({name: figures[name] for name in expected}, tuple(steps))
