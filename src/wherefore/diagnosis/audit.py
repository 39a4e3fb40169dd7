"""Audit: which regions a network's evidence for each class lies on, and which groups of pictures it does worse on.

Section 6.3 of Selvaraju et al. (2020; protocols: section I). A bias is claimed where both are seen at once, each by a
test at 5 % that is corrected for how many are made (Holm 1979): the map of a class has more of its energy on a region
than the region has of the picture, and pictures of that class are recognised less often in one group than in another.
Neither alone is one: a network has to look somewhere, and groups may differ in how hard they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from wherefore.batch.maps import Seen
from wherefore.diagnosis.regions import Regions
from wherefore.metrics.energy import shares
from wherefore.metrics.summary import Summary, bootstrapped, difference, pooled, summary

Array = np.ndarray[Any, Any]
ALPHA = 0.05
LEAST = 10  # pictures, below which nothing is tested
PART = 100  # pictures of the small audits that power and false alarms are counted over
SHUFFLES = 2000
THING = "the thing itself"


@dataclass(frozen=True)
class Look:
    """A picture: its label and group, what a network said of it, and where the map of that answer lies.

    ``energy`` is the share of the map's positive evidence on each of its regions, NaN for an empty map; ``area`` is the
    share of the picture that the region takes.
    """

    number: int
    sample: str
    label: str
    group: str
    said: str
    energy: dict[str, float]
    area: dict[str, float]

    @property
    def right(self) -> bool:
        """Whether the answer is the label."""
        return self.said == self.label


def look(seen: Seen, regions: Regions | None = None) -> Look:
    """What the first map that was kept of a picture with one label says; it is that of the network's answer.

    Where no parts are named but things are annotated, the region is the thing of its label. With ``regions``, which
    were found, it is each of these, and map and regions are taken at the layer's own places: a place is in one region
    or another, and nothing is interpolated between two.
    """
    sample, row = seen.sample, seen.rows[0]
    [label], heat = sample.labels, seen.explanation.maps[0][0]
    if regions is None:
        heat = next(seen.explanation.placed(0))
        parts = sample.parts or ({THING: sample.mask(label)} if sample.of(label) else {})
    else:
        parts = regions.masks(row["number"], tuple(heat.shape))
    areas = {name: float(mask.mean()) for name, mask in parts.items()}
    said = row["category"] or row["name"]
    return Look(row["number"], sample.name, label, sample.group, said, shares(heat, parts), areas)


@dataclass(frozen=True)
class Evidence:
    """How much of the evidence for an answer lies on a region, over the pictures that are given this answer.

    ``times`` is how many times its share of the area that is, 1 for even maps; ``p`` that of the excess, corrected.
    """

    said: str
    region: str
    energy: Summary
    area: Summary
    times: Summary
    p: float

    @property
    def clear(self) -> bool:
        """Whether there is more of it than the area accounts for, beyond chance."""
        return self.p < ALPHA

    def __str__(self) -> str:
        return (
            f"for `{self.said}`, {percent(self.energy)} of the evidence lies on `{self.region}`, "
            f"{100 * self.area.value:.1f} % of the picture: {self.times.value:.2f} times "
            f"({self.times.low:.2f} to {self.times.high:.2f}) what an even map would have there"
        )


@dataclass(frozen=True)
class Gap:
    """The swap gap: how much more often pictures of a label are recognised in its ``best`` group than in its ``worst``.

    The label is the same, the group another. ``p`` is that of any difference between its groups, corrected. Pictures
    without a group are left out.
    """

    label: str
    best: str
    worst: str
    figure: Summary
    p: float

    @property
    def clear(self) -> bool:
        """Whether its groups differ beyond chance, and so does the interval of the difference from 0."""
        return self.p < ALPHA and self.figure.low > 0

    def __str__(self) -> str:
        points = f"{100 * self.figure.value:.1f} points ({100 * self.figure.low:.1f} to {100 * self.figure.high:.1f})"
        return f"`{self.label}` is recognised {points} less often with {self.worst} than with {self.best}"


@dataclass(frozen=True)
class Audit:
    """What is known of the answers of a network to some pictures."""

    looks: Sequence[Look]

    @cached_property
    def right(self) -> Summary:
        """How many of all are right."""
        return summary([float(each.right) for each in self.looks])

    @cached_property
    def groups(self) -> dict[tuple[str, str], Summary]:
        """The accuracy of each label in each group; all over the same pictures, so that they can be paired."""
        return {(label, group): self._accuracy(label, group) for label, group in sorted(self._cells)}

    @cached_property
    def worst(self) -> tuple[tuple[str, str], Summary]:
        """The label and group with the lowest accuracy, and that of the worst in every draw of pictures; of those with
        `LEAST` pictures, where there are some."""
        return min(self._told, key=lambda cell: self.groups[cell].value), self._over_cells(min)

    @cached_property
    def evidence(self) -> list[Evidence]:
        """Where the evidence for each answer lies, the densest first; last what has fewer than `LEAST` pictures."""
        pairs = sorted({(each.said, region) for each in self.looks for region in each.energy})
        ps = holm([self._excess(*pair) for pair in pairs])
        found = [self._evidence(*pair, p) for pair, p in zip(pairs, ps, strict=True)]
        return sorted(found, key=lambda each: (each.energy.n < LEAST, -np.nan_to_num(each.times.value)))

    @cached_property
    def gaps(self) -> list[Gap]:
        """The swap gap of each label that has several groups, and `LEAST` pictures in these, the largest first."""
        counts = Counter(each.label for each in self.looks if each.group)
        several = [name for name in sorted(counts) if counts[name] >= LEAST and len(self._groups_of(name)) > 1]
        ps = holm([self._shuffled(label) for label in several])
        return sorted((self._gap(*each) for each in zip(several, ps, strict=True)), key=lambda gap: -gap.figure.value)

    @property
    def findings(self) -> list[tuple[Evidence, Gap]]:
        """The biases that are claimed, the densest evidence first, each with the gap of its label."""
        clear = {gap.label: gap for gap in self.gaps if gap.clear}
        return [(each, clear[each.said]) for each in self.evidence if each.clear and each.said in clear]

    @cached_property
    def parts(self) -> list[Audit]:
        """Audits of a hundred of the pictures each, in their order; none where there are fewer."""
        return [Audit(self.looks[i : i + PART]) for i in range(0, len(self.looks) - PART + 1, PART)]

    # ---------------------------------------------------------------------------------------- accuracy

    @cached_property
    def _cells(self) -> set[tuple[str, str]]:
        return {(each.label, each.group) for each in self.looks}

    @cached_property
    def _told(self) -> list[tuple[str, str]]:
        """The labels and groups that have pictures enough; all where none has."""
        counts = Counter((each.label, each.group) for each in self.looks)
        return sorted(cell for cell in counts if counts[cell] >= LEAST) or sorted(counts)

    def _groups_of(self, label: str) -> list[str]:
        return sorted(group for other, group in self._cells if other == label and group)

    def _accuracy(self, label: str, group: str) -> Summary:
        own = [float((each.label, each.group) == (label, group)) for each in self.looks]
        return pooled([float(each.right) * mine for each, mine in zip(self.looks, own, strict=True)], own)

    def _over_cells(self, choose: Callable[[Any], float]) -> Summary:
        right = np.array([float(each.right) for each in self.looks])
        member = np.array([[(each.label, each.group) == cell for cell in self._told] for each in self.looks])

        def figure(times: Array) -> float:
            counts = times @ member
            return choose(((times * right) @ member / np.maximum(counts, 1))[counts > 0].tolist())

        return bootstrapped(figure, len(self.looks))

    def _gap(self, label: str, p: float) -> Gap:
        names = sorted(self._groups_of(label), key=lambda group: self.groups[label, group].value)
        worst, best = names[0], names[-1]
        return Gap(label, best, worst, difference(self.groups[label, best], self.groups[label, worst]), p)

    def _shuffled(self, label: str) -> float:
        """How often groups differ as much when they are dealt out anew (a permutation test, which allows for that the
        best and the worst were chosen by the same pictures)."""
        own = [each for each in self.looks if each.label == label and each.group]
        names = np.array([self._groups_of(label).index(each.group) for each in own])
        right, dice = np.array([float(each.right) for each in own]), np.random.default_rng(0)
        counts = np.bincount(names)

        def spread(of: Array) -> float:
            return float(np.ptp(np.bincount(of, right) / counts))

        seen = spread(names) - 1e-12
        return (1 + sum(spread(dice.permutation(names)) >= seen for _ in range(SHUFFLES))) / (1 + SHUFFLES)

    # ---------------------------------------------------------------------------------------- evidence

    def _on(self, said: str, region: str) -> tuple[Array, Array]:
        """Energy and area on a region for each picture; NaN where another answer was given, or the map is empty."""
        nothing = float("nan"), float("nan")
        known = [
            (each.energy[region], each.area[region]) if each.said == said and region in each.energy else nothing
            for each in self.looks
        ]
        energy, area = np.array(known).T
        return energy, np.where(np.isnan(energy), np.nan, area)

    def _excess(self, said: str, region: str) -> float:
        """The one-sided p of the mean of energy less area (Student's t); NaN of too few pictures."""
        from scipy.stats import t

        energy, area = self._on(said, region)
        excess = (energy - area)[~np.isnan(energy)]
        n = len(excess)
        if n < LEAST:
            return float("nan")
        spread = excess.std(ddof=1)
        if not spread:
            return 1.0
        return float(t.sf(excess.mean() / (spread / np.sqrt(n)), n - 1))

    def _evidence(self, said: str, region: str, p: float) -> Evidence:
        energy, area = self._on(said, region)
        times = pooled(np.nan_to_num(energy).tolist(), np.nan_to_num(area).tolist())
        return Evidence(said, region, summary(energy.tolist()), summary(area.tolist()), times, p)


def holm(ps: Sequence[float]) -> list[float]:
    """The p values corrected for how many they are, in their order (Holm 1979); NaN, what was not tested, becomes 1."""
    values, found = np.array(ps, float), np.ones(len(ps))
    order = np.argsort(values, kind="stable")[: int((~np.isnan(values)).sum())]  # NaN is sorted last
    stepped = np.maximum.accumulate([(len(order) - i) * values[k] for i, k in enumerate(order)])
    found[order] = np.minimum(stepped, 1.0)
    return [float(p) for p in found]


def percent(figure: Summary) -> str:
    """A share with its interval, in words."""
    return f"{100 * figure.value:.1f} % ({100 * figure.low:.1f} to {100 * figure.high:.1f})"
