"""What an audit finds where the parts of drawn people are withheld from it, held against these parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wherefore.datasets import Dataset
from wherefore.diagnosis.audit import Evidence
from wherefore.diagnosis.regions import Regions
from wherefore.experiments.auditing import CIRCULAR, FOUND, Audited, capital
from wherefore.metrics.summary import difference
from wherefore.pages import Section, Table, Verdict

DENSEST = "Of each region the answer with the densest evidence there, the densest first."
WORDS = (
    "The same pictures and networks once more, as if nobody had annotated the parts. Afterwards each region is held "
    "against these: the intersection over union of its pixels with theirs, over all pictures together."
)


def without_parts(hidden: Sequence[Audited], dataset: Dataset, chance: Sequence[str], true: str) -> list[Section]:
    """Whether the region most like what goes along with the label by chance is the top finding on the biased network,
    the first of ``hidden``, and no bias is claimed on the balanced one."""
    biased, balanced = hidden
    head = [overlaps(one, dataset, chance) for one in hidden]
    names = " or ".join(chance)
    verdicts = [
        _top(f"With parts withheld, the biased network's top finding is the region most like {names}", biased, head[0]),
        Verdict(
            "With parts withheld, no bias is claimed on the balanced network",
            not balanced.audit.findings,
            f"{len(balanced.audit.findings)} findings.",
        ),
    ]
    header = ("region", f"IoU with {names}", f"IoU with {true}", "times its area", "for", "claimed")
    tables = [
        Table(header, _lines(one, its, overlaps(one, dataset, [true])), DENSEST)
        for one, its in zip(hidden, head, strict=True)
    ]
    each = [Section(one.name, table, *one.shown) for one, table in zip(hidden, tables, strict=True)]
    return [Section("With parts withheld", WORDS, FOUND, CIRCULAR, *verdicts), *each]


def overlaps(one: Audited, dataset: Dataset, parts: Sequence[str]) -> dict[str, float]:
    """The IoU of each found region with parts of samples that are known, taken together over all pictures."""
    found = one.regions
    assert isinstance(found, Regions)
    inside, either = np.zeros((2, len(found.names)))
    for number in found.of:
        known = dataset[number].parts
        true = np.logical_or.reduce([known[name] for name in parts])
        masks = np.stack(list(found.masks(number, true.shape).values()))
        inside, either = inside + (masks & true).sum((1, 2)), either + (masks | true).sum((1, 2))
    return dict(zip(found.names, (inside / either).tolist(), strict=True))


def _top(words: str, one: Audited, like: dict[str, float]) -> Verdict:
    """Whether the first finding is on the region of the highest IoU; clear where it is ahead of that beyond chance."""
    most = max(like, key=lambda name: like[name])
    said = f"That is {most}, IoU {like[most]:.2f}."
    if not one.audit.findings:
        return Verdict(words, False, f"{said} It claims nothing.")
    first, best = one.audit.findings[0][0], _densest(one)[most]
    said += f" {capital(str(first))}; its IoU is {like[first.region]:.2f}."
    if first.region == most:
        return Verdict(words, True, said)
    gap = difference(first.times, best.times)
    return Verdict(words, False, f"{said} It is ahead of {most} ({best.said}) by {gap}.", gap.low > 0)


def _densest(one: Audited) -> dict[str, Evidence]:
    """By region the answer with the densest evidence there."""
    return {each.region: each for each in reversed(one.audit.evidence)}


def _lines(one: Audited, head: dict[str, float], cloth: dict[str, float]) -> list[list[str]]:
    """A line for each region, by its densest evidence."""
    claimed = {(each.said, each.region) for each, _ in one.audit.findings}
    return [
        [
            name,
            f"{head[name]:.2f}",
            f"{cloth[name]:.2f}",
            str(each.times),
            each.said,
            "yes" if (each.said, name) in claimed else "no",
        ]
        for name, each in sorted(_densest(one).items(), key=lambda item: -np.nan_to_num(item[1].times.value))
    ]
