"""Bias: what an audit says of a network, and of two of which one was shown a biased choice of pictures.

Section 6.3 of the paper (protocols: section I). Its photographs are not public: drawn people stand in for them, and
nothing here is held against its figures. How regions are ranked, by how many times their area's share of the evidence
they have, was chosen on pictures of the development split: in points, large regions always come first.
"""

from __future__ import annotations

from collections.abc import Sequence

from wherefore.batch.maps import of_network
from wherefore.datasets import Dataset, Sample
from wherefore.datasets.scenes import People
from wherefore.diagnosis.audit import ALPHA, PART, Audit, percent
from wherefore.diagnosis.failures import Answering
from wherefore.experiments.auditing import (
    METHOD,
    Audited,
    alarms,
    audited,
    capital,
    findings,
    in_short,
    rows_of,
    sections_of,
)
from wherefore.experiments.lab import Lab
from wherefore.experiments.result import Result
from wherefore.experiments.retraining import retrained, told
from wherefore.experiments.tables import Row, claim, need, row, where
from wherefore.experiments.withheld import without_parts
from wherefore.explainer import Explainer
from wherefore.metrics.summary import Summary, difference, summary
from wherefore.pages import Section, Verdict
from wherefore.registry import EXPERIMENTS
from wherefore.types import Model

BIASED, BALANCED = "scenes:people-biased", "scenes:people-balanced"
CHANCE, TRUE = ("hair", "face"), "clothing"  # regions of drawn people: what goes along with the label, what tells it
LABELLED = (
    "put pictures into a folder for each class (folder:DIR), or list them with labels and groups (manifest:FILE)."
)
TURNED = "answers turned by other hair"
NOT_COMPARABLE = (
    "Not comparable with the paper: its photographs of doctors and nurses are not public, so that no figure here can "
    "be held against one of its own, and none is."
)
STANDS_IN = (
    "Drawn people stand in for them, whose long and short hair says nothing of anybody's gender; how visible their "
    "clothes are was chosen so that the two networks differ about as much as the paper's."
)
RULE = (
    f"A bias is claimed where pictures of a label are recognised less often in one group than in another (permutation "
    f"test), the map of that answer has more on a region than its area accounts for (t test), and more in the group "
    f"that is recognised than in the other (Welch's t test): each at {100 * ALPHA:.0f} % after Holm's correction. The "
    f"method is {METHOD}, on the answer that was given. Regions are ranked by how many times what an even map has "
    "there; by points, large ones would come first. A finding says what an answer goes along with; whether it should, "
    "those have to say who know the task."
)


@EXPERIMENTS("bias", title="Bias audit", section="6.3", minutes=3)
def bias(lab: Lab, retrain: bool = False) -> Result:
    """Which regions a network's evidence lies on, and which groups of pictures it does worse on."""
    dataset, planted = lab.dataset("people"), _is_planted(lab)
    lab.comparable = False  # on photographs neither: the paper's own are not public
    numbers = lab.numbers(dataset, 1000, 200, _fits)
    need(numbers, f"{dataset.spec} has no picture with one label, as an audit needs: {LABELLED}")
    need(planted or not retrain, "--retrain trains its own networks of people: leave --model and --data out.")
    found = [audited(lab, model, dataset, numbers) for model in lab.networks("people-biased", "people-balanced")]
    again = [audited(lab, model, dataset, numbers) for model in (retrained(lab) if retrain else ())]
    rows = [each for one in (*found, *again) for each in rows_of(one)]
    more, verdicts, sections = _of_planted(lab, found, dataset, numbers) if planted else ([], [], [])
    sections += [told({one.name: one.audit for one in again}, CHANCE, TRUE)] if again else []
    return Result(
        [*rows, *more],
        [*verdicts, *(verdict for section in sections for verdict in section.verdicts)],
        [
            *([_opening(lab, verdicts)] if planted else []),
            *_pages(found, rows),
            *sections,
            *([] if planted else [_end()]),
        ],
        {
            "findings": _said([*found, *again]),
            "told": {one.name: in_short(one.audit) for one in found},
            "rule chosen on": "scenes:people dev",
        },
    )


def _of_planted(
    lab: Lab, found: Sequence[Audited], dataset: Dataset, numbers: Sequence[int]
) -> tuple[list[Row], list[Verdict], list[Section]]:
    """What can be asked of drawn people alone: the claims, other hair, and the same without what was annotated."""
    turned = {one.name: _turned(lab, lab.network(one.name), numbers, one.audit) for one in found}
    hidden = [audited(lab, lab.network(one.name), dataset, numbers, withheld=True) for one in found]
    rows = [
        row("classification", figure, network=name, measure=TURNED, label="all", group="", region="")
        for name, figure in turned.items()
    ]
    rows += [each for one in hidden for each in rows_of(one)]
    verdicts = _verdicts({one.name: one.audit for one in found}, turned)
    return rows, verdicts, without_parts(hidden, dataset, CHANCE, TRUE)


def _fits(sample: Sample) -> bool:
    return len(sample.labels) == 1


def _is_planted(lab: Lab) -> bool:
    """Whether it is known which of the networks has which bias, and what the pictures show."""
    return lab.settings.data in ("scenes", "scenes:people") and not lab.settings.model


def _turned(lab: Lab, model: Model, numbers: Sequence[int], audit: Audit) -> Summary:
    """How many get another answer when they have the other hair, all else unchanged: the swap gap as cause."""
    other: Dataset = People(swapped=True)
    work = Answering(Explainer(model, METHOD, fit="squash"), lab.asked("first", other, model).outputs)
    said = {each["number"]: each["said"] for each in lab.measured("answers", of_network(model), other, numbers, work)}
    return summary([float(said[each.number] != each.said) for each in audit.looks])


def _said(found: Sequence[Audited]) -> dict[str, list[str]]:
    return {one.name: [f"{sentence}." for sentence in findings(one.audit)] for one in found}


def _opening(lab: Lab, verdicts: Sequence[Verdict]) -> Section:
    return Section(
        "What is claimed, and when", NOT_COMPARABLE, *([STANDS_IN] if lab.on_scenes else []), RULE, *verdicts
    )


def _end() -> Section:
    return Section("When a bias is claimed", RULE, NOT_COMPARABLE)


def _pages(found: Sequence[Audited], rows: Sequence[Row]) -> list[Section]:
    return [part for one in found for part in sections_of(one, where(rows, network=one.name))]


# -------------------------------------------------------------------------------------------- claims


def _verdicts(audits: dict[str, Audit], turned: dict[str, Summary]) -> list[Verdict]:
    """What the paper's story says of the two networks."""
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
        claim("Other hair, and nothing else changed, turns the biased network more often", turned, [BIASED, BALANCED]),
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
    return Verdict(words, first.region in regions, f"{capital(str(first))}. {versus}".strip(), not gap or gap.low > 0)
