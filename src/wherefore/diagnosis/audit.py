"""Audit: which regions a network's evidence for each class lies on, and which groups of pictures it does worse on.

Section 6.3 of Selvaraju et al. (2020; protocols: section I). A bias is claimed where three things are seen at once,
each by a test at 5 % that is corrected for how many are made (Holm 1979): pictures of a class are recognised less often
in one group than in another; the map of that class has more of its energy on a region than the region has of the
picture; and more of it lies there in the group that is recognised than in the other. None alone is one: groups may
differ in how hard they are, a network has to look somewhere, and what both groups are recognised by favours neither.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
THING, ANY = "the thing itself", "any answer"


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
        said = self.said if self.said == ANY else f"`{self.said}`"
        return (
            f"for {said}, {percent(self.energy)} of the evidence lies on `{self.region}`, "
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
        return f"`{self.label}` is recognised {points} less often in the group `{self.worst}` than in `{self.best}`"


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
        """The label and group with the lowest accuracy, of those with `LEAST` pictures, where there are some.

        The interval is that of the lowest in every draw of pictures, whichever group that is; ``n`` is of this one.
        """
        cell = min(self._told, key=lambda cell: self.groups[cell].value)
        return cell, replace(self._over_cells(min), n=self.groups[cell].n)

    @cached_property
    def evidence(self) -> list[Evidence]:
        """Where the evidence lies for each answer that is given to `LEAST` pictures with a map, the densest first."""
        lit = Counter((look.said, region) for look in self.looks for region, e in look.energy.items() if e == e)
        return self._tested([pair for pair in sorted(lit) if lit[pair] >= LEAST])

    @cached_property
    def overall(self) -> list[Evidence]:
        """Where the evidence lies whatever the answer, the densest first."""
        regions = sorted({region for each in self.looks for region, e in each.energy.items() if e == e})
        return self._tested([(ANY, region) for region in regions])

    def _tested(self, pairs: Sequence[tuple[str, str]]) -> list[Evidence]:
        ps = holm([self._excess(*pair) for pair in pairs])
        found = [self._evidence(*pair, p) for pair, p in zip(pairs, ps, strict=True)]
        return sorted(found, key=lambda each: -np.nan_to_num(each.times.value))

    @cached_property
    def gaps(self) -> list[Gap]:
        """The swap gap of each label that has several groups of `LEAST` pictures, the largest first."""
        several = [label for label in sorted({label for label, _ in self._cells}) if len(self._groups_of(label)) > 1]
        tested = [self._apart(label) for label in several]
        ps = holm([p for _, _, p in tested])
        found = [self._gap(name, best, worst, p) for name, (best, worst, _), p in zip(several, tested, ps, strict=True)]
        return sorted(found, key=lambda gap: -gap.figure.value)

    @cached_property
    def findings(self) -> list[tuple[Evidence, Gap]]:
        """The biases that are claimed, the densest evidence first, each with the gap of its label."""
        clear = {gap.label: gap for gap in self.gaps if gap.clear}
        both = [(each, clear[each.said]) for each in self.evidence if each.clear and each.said in clear]
        ps = holm([self._linked(*each) for each in both])
        return [each for each, p in zip(both, ps, strict=True) if p < ALPHA]

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
        counts = Counter(each.group for each in self.looks if each.label == label and each.group)
        return sorted(group for group in counts if counts[group] >= LEAST)

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

    def _gap(self, label: str, best: str, worst: str, p: float) -> Gap:
        return Gap(label, best, worst, difference(self.groups[label, best], self.groups[label, worst]), p)

    def _apart(self, label: str) -> tuple[str, str, float]:
        """The two groups that are furthest apart for how many pictures they have, the better first; and the p of that.

        How often groups that are dealt out anew have any two as far apart (a permutation test): it allows for that the
        two were chosen by the same pictures.
        """
        names = self._groups_of(label)
        own = [each for each in self.looks if each.label == label and each.group in names]
        of, dice = np.array([names.index(each.group) for each in own]), np.random.default_rng(0)
        right, counts = np.array([float(each.right) for each in own]), np.bincount(of)
        spread = np.sqrt(1 / counts[:, None] + 1 / counts)

        def apart(of: Array) -> Array:
            means = np.bincount(of, right) / counts
            found: Array = (means[:, None] - means) / spread
            np.fill_diagonal(found, -np.inf)  # where all are alike, still two groups and not one
            return found

        seen = apart(of)
        best, worst = np.unravel_index(seen.argmax(), seen.shape)
        as_far = sum(apart(dice.permutation(of)).max() >= seen.max() - 1e-12 for _ in range(SHUFFLES))
        return names[best], names[worst], (1 + as_far) / (1 + SHUFFLES)

    # ---------------------------------------------------------------------------------------- evidence

    def _on(self, said: str, region: str) -> tuple[Array, Array]:
        """Energy and area on a region for each picture; NaN where another answer was given, or the map is empty."""
        nothing = float("nan"), float("nan")
        known = [
            (each.energy[region], each.area[region]) if said in (ANY, each.said) and region in each.energy else nothing
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

    def _linked(self, evidence: Evidence, gap: Gap) -> float:
        """The one-sided p of that more of the evidence beyond the area lies there in the better group (Welch's t).

        It cannot be asked where too few pictures of a group are given the answer: 1, or 0 where the worse group has
        pictures of the label enough, so that hardly any being given it speaks for itself.
        """
        from scipy.stats import ttest_ind

        energy, area = self._on(evidence.said, evidence.region)
        excess, group = energy - area, np.array([each.group for each in self.looks])
        better, worse = (excess[(group == name) & ~np.isnan(excess)] for name in (gap.best, gap.worst))
        if min(len(better), len(worse)) < LEAST:
            return float(len(better) < LEAST or self.groups[gap.label, gap.worst].n < 3 * LEAST)
        if not better.std() and not worse.std():
            return float(better.mean() <= worse.mean())
        return float(ttest_ind(better, worse, equal_var=False, alternative="greater").pvalue)

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
