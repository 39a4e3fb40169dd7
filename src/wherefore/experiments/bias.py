"""Bias: what an audit says of a network, and of two of which one was shown a biased choice of pictures.

Section 6.3 of the paper (protocols: section I). Its photographs are not public: drawn people stand in for them, and
nothing here is held against its figures. How regions are ranked, by how many times their area's share of the evidence
they have, was chosen on pictures of the development split: in points, large regions always come first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from wherefore.datasets import Dataset, Sample
from wherefore.diagnosis.audit import ALPHA, LEAST, Audit, Evidence, Look, look, percent
from wherefore.experiments.lab import Lab
from wherefore.experiments.result import Result
from wherefore.experiments.retraining import KINDS, retrained, told
from wherefore.experiments.showing import drawn
from wherefore.experiments.tables import Row, claim, need, row, table, where
from wherefore.metrics.resampling import wilson
from wherefore.metrics.summary import Summary, difference
from wherefore.pages import Figures, Section, Table, Verdict
from wherefore.progress import track
from wherefore.registry import EXPERIMENTS
from wherefore.types import Model

METHOD = "grad-cam"
BIASED, BALANCED = "scenes:people-biased", "scenes:people-balanced"
CHANCE, TRUE = ("hair", "face"), "clothing"  # regions of drawn people: what goes along with the label, what tells it
PART = 100  # pictures of the small audits that false alarms are counted over
TOLD, SHOWN = 3, 4  # of a network's regions on the page, and pictures of each
ACCURACY, SHARE, TIMES, ALARMS = "accuracy", "share of the evidence", "times its area", "audits that claim a bias"
STANDS_IN = (
    "The paper's photographs of doctors and nurses are not public. Drawn people stand in for them, whose long and "
    "short hair says nothing of anybody's gender: these numbers cannot be held against the paper's, and are not."
)
RULE = (
    f"A bias is claimed where the map of an answer has more on a region than its area accounts for (one-sided t test), "
    f"and pictures of that label are recognised less often in one group than in another (permutation test), both at "
    f"{100 * ALPHA:.0f} % after Holm's correction. The method is {METHOD}, on the answer that was given. "
    "Regions are ranked by how many times what an even map has there; by points, large ones would come first. A "
    "finding says what an answer goes along with; whether it should is for those to say who know the task."
)
LABELS = {"label": "label", "group": "group", "measure": "measured"}
UNGROUPED = (
    f"No label with {LEAST} pictures comes in several groups: without these no bias is claimed, and where the evidence "
    "lies is all there is."
)
REGIONS = {"label": "answer", "region": "region", "name": "map"}
NOTHING = (
    "No bias is claimed: nowhere does more evidence lie than the area accounts for while groups of that label differ "
    "beyond chance."
)


class Audited(NamedTuple):
    """A network, the audit of it, and the pictures that show its densest evidence."""

    model: Model
    audit: Audit
    figures: list[Figures]


@EXPERIMENTS("bias", title="Bias audit", section="6.3", minutes=2)
def bias(lab: Lab, retrain: bool = False) -> Result:
    """Which regions a network's evidence lies on, which groups it does worse on; whether a planted bias is found."""
    dataset = lab.dataset("people")
    numbers = lab.numbers(dataset, 1000, 200, _fits)
    need(numbers, f"no picture of {dataset.spec} has one label, and a group or regions: give manifest:FILE.")
    need(not (retrain and lab.settings.model), "--retrain trains its own networks: leave --model out.")
    found = [_audited(lab, model, dataset, numbers) for model in lab.networks(*KINDS)]
    again = {model.name: _audited(lab, model, dataset, numbers) for model in (retrained(lab) if retrain else ())}
    rows = [each for one in (*found, *again.values()) for each in _rows(one)]
    seeds = [told({name: one.audit for name, one in again.items()}, CHANCE, TRUE)] if again else []
    verdicts = _verdicts({one.model.name: one.audit for one in found})
    opening = [Section("What is claimed, and when", *([STANDS_IN] if lab.on_scenes else []), RULE, *verdicts)]
    sections = [part for one in found for part in _sections(one, where(rows, network=one.model.name))]
    said = {one.model.name: [f"{sentence}." for sentence in findings(one.audit)] for one in (*found, *again.values())}
    more = [part for section in seeds for part in section.parts if isinstance(part, Verdict)]
    return Result(
        rows,
        [*verdicts, *more],
        [*opening, *seeds, *sections],
        {"findings": said, "rule chosen on": "scenes:people dev"},
    )


def _fits(sample: Sample) -> bool:
    return len(sample.labels) == 1 and bool(sample.group or sample.parted or sample.instances)


def _audited(lab: Lab, model: Model, dataset: Dataset, numbers: Sequence[int]) -> Audited:
    lab.fitting(model, [METHOD], dataset)
    maps = lab.seen(model, METHOD, dataset, numbers, "first")
    looks = [look(seen) for seen in track(maps, len(numbers), "measuring maps")]
    need(looks, f"no picture of {dataset.spec} could be asked about: `wherefore datasets {dataset.spec}` says why.")
    audit = Audit(looks)
    figures = [_shown(lab, model, dataset, each, looks) for each in audit.evidence[:TOLD]]
    return Audited(model, audit, figures)


def _shown(lab: Lab, model: Model, dataset: Dataset, evidence: Evidence, looks: Sequence[Look]) -> Figures:
    """The pictures with most of the evidence for an answer on a region."""
    own = {each.number: each for each in looks if each.said == evidence.said and evidence.region in each.energy}
    lit = [number for number, each in own.items() if each.energy[evidence.region] > 0]
    chosen = sorted(lit, key=lambda number: -own[number].energy[evidence.region])[:SHOWN]
    pictures = []
    for seen in lab.seen(model, METHOD, dataset, chosen, "first") if chosen else ():
        its = own[seen.rows[0]["number"]]
        note = f"{100 * its.energy[evidence.region]:.0f} % on {evidence.region}; {its.label}, {its.group}".rstrip(", ")
        pictures.append(drawn(seen, note=note, caption=f"Why {its.said}?"))
    return Figures(pictures, SHOWN, f"{evidence.said}: {evidence.region}", f"{_capital(str(evidence))}.")


def findings(audit: Audit) -> list[str]:
    """The biases that are claimed in plain words, the densest evidence first, each with the gap of its label."""
    return [f"{_capital(str(evidence))}; and {gap}" for evidence, gap in audit.findings]


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


# -------------------------------------------------------------------------------------------- numbers


def _rows(found: Audited) -> Iterator[Row]:
    name, audit = found.model.name, found.audit

    def of(method: str, figure: Summary, measure: str, label: str = "", group: str = "", region: str = "") -> Row:
        return row(method, figure, network=name, measure=measure, label=label, group=group, region=region)

    yield of("classification", audit.right, ACCURACY, "all")
    for (label, group), figure in audit.groups.items():
        yield of("classification", figure, ACCURACY, label, group)
    (label, group), figure = audit.worst
    yield of("classification", figure, "worst group", label, group)
    for gap in audit.gaps:
        yield of("classification", gap.figure, "gap", gap.label, f"{gap.best} less {gap.worst}")
    for each in audit.evidence:
        yield of(METHOD, each.energy, SHARE, each.said, "", each.region)
        yield of("even map", each.area, SHARE, each.said, "", each.region)
        yield of(METHOD, each.times, TIMES, each.said, "", each.region)
    for group in sorted({each.group for each in audit.looks}) if audit.gaps else ():
        own = Audit([each for each in audit.looks if each.group == group])
        yield from (of(METHOD, e.energy, SHARE, e.said, group, e.region) for e in own.evidence)
    if len(audit.looks) >= 2 * PART:
        yield of("audit", alarms(audit), ALARMS)


def alarms(audit: Audit) -> Summary:
    """How many audits of a hundred pictures each claim a bias, with Wilson's interval; of none planted, false ones."""
    parts = [audit.looks[i : i + PART] for i in range(0, len(audit.looks) - PART + 1, PART)]
    found = sum(bool(Audit(part).findings) for part in parts)
    return Summary(found / len(parts), *wilson(found, len(parts)), len(parts))


def _verdicts(audits: dict[str, Audit]) -> list[Verdict]:
    """What the paper's story says of the two networks; of others nothing is claimed."""
    if not {BIASED, BALANCED} <= set(audits):
        return []
    biased, balanced = audits[BIASED], audits[BALANCED]
    right = {BALANCED: balanced.right, BIASED: biased.right}
    worst = {BALANCED: balanced.worst[1], BIASED: biased.worst[1]}
    return [
        _top("The audit's top finding on the biased network is the hair or the face", biased, CHANCE, True),
        _top("On the balanced network the evidence is densest on the clothing", balanced, (TRUE,), False),
        Verdict(
            "On the balanced network the audit claims no bias",
            not balanced.findings,
            f"{len(balanced.findings)} findings; of audits of {PART} of its pictures {_alarms(balanced)} claim one, of "
            f"the biased network's {_alarms(biased)}.",
        ),
        claim("The balanced network is right more often", right, [BALANCED, BIASED]),
        claim("Its worst group is recognised more often", worst, [BALANCED, BIASED]),
    ]


def _alarms(audit: Audit) -> str:
    return percent(alarms(audit)) if len(audit.looks) >= PART else "too few to tell"


def _top(words: str, audit: Audit, regions: Sequence[str], claimed: bool) -> Verdict:
    """Whether the first of an audit's findings, or of all its evidence, is on one of some regions; clear where it is
    ahead of whatever is the best outside of them, or within, beyond chance."""
    listed = [each for each, _ in audit.findings] if claimed else audit.evidence
    if not listed:
        return Verdict(words, False, "It claims nothing.", len(audit.looks) >= PART)
    first = listed[0]
    others = [each for each in listed if (each.region in regions) != (first.region in regions)]
    gap = difference(first.times, others[0].times) if others else None
    versus = f"Next of the others is {others[0].region} ({others[0].said}), behind by {gap}." if others else ""
    return Verdict(words, first.region in regions, f"{_capital(str(first))}. {versus}".strip(), not gap or gap.low > 0)


# -------------------------------------------------------------------------------------------- the page


def _sections(found: Audited, rows: Sequence[Row]) -> list[Section]:
    name, audit = found.model.name, found.audit
    listed = [f"{i}. {sentence}." for i, sentence in enumerate(findings(audit), 1)]
    gaps = [f"{_capital(str(gap))}{'' if gap.clear else ', which may be chance'}." for gap in audit.gaps]
    groups = _table([*where(rows, measure=ACCURACY), *where(rows, measure="gap")], LABELS, "right")
    regions = [each for each in where(rows, measure=SHARE) if not each["group"]]
    within = [each for each in where(rows, measure=SHARE) if each["group"]]
    parts = [_table(regions, REGIONS, "evidence", "An even map has what the area is.")] if regions else []
    parts += [_table(where(rows, measure=TIMES), REGIONS, "times its area", share=False)] if regions else []
    parts += [_table(within, {"label": "answer", "group": "group", "region": "region"}, "evidence")] if within else []
    return [
        Section(f"{name}: findings", *(listed or [NOTHING if audit.gaps else UNGROUPED])),
        Section(f"{name}: groups", *gaps, groups),
        *([Section(f"{name}: where the evidence lies", *found.figures, *parts)] if parts else []),
    ]


def _table(rows: Sequence[Row], columns: dict[str, str], value: str, caption: str = "", share: bool = True) -> Table:
    """A table of the rows that have pictures enough; of all where none has."""
    told = [each for each in rows if each["n"] >= LEAST or each["measure"] == "gap"] or rows
    left = len(rows) - len(told)
    words = f"{left} rows of fewer than {LEAST} pictures are left out here; the JSON has them." if left else ""
    return table(told, columns, value, f"{caption} {words}".strip(), share)
