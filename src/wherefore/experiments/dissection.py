"""Textual explanations: what a network's units look for, and whether explanations name what is there. Section 7.

Units are named by Network Dissection (protocols: section J) on pictures of the dev split. An explanation in words of
another picture names the five units with the highest weights alpha for what the network says; a name is right where
the picture shows that concept anywhere. Chance are the same names on all other pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wherefore.batch.maps import NOWHERE
from wherefore.batch.store import Row as Kept
from wherefore.concepts import Dissection, words
from wherefore.concepts.dissect import dissect, labelled
from wherefore.concepts.sheets import SHEETS, contact, kinds, sheets
from wherefore.concepts.wording import Spoken, Wording
from wherefore.datasets import Sample
from wherefore.experiments.lab import Lab
from wherefore.experiments.result import Result
from wherefore.experiments.tables import Row, claim, need, row, table, where
from wherefore.explainer import Explainer
from wherefore.metrics.summary import Summary, summary
from wherefore.pages import Figure, Figures, Section, Table, Verdict
from wherefore.registry import EXPERIMENTS
from wherefore.subjects import Picture
from wherefore.types import Model

CONCEPTS = 10  # distinct ones that the units of a network of places are to look for
METHOD, CHANCE = "grad-cam", "chance"
HIGHEST, FIRING, LOWEST = "highest alpha", "highest alpha, firing", "lowest alpha"
DRAWN, SHEET = 4, 24
ALL = "all kinds"
OWN, OTHERS = "its own", "another picture's"  # labels
WORDS = (
    "Which share of the named units' concepts the picture shows: of the five units with the highest weights, of those "
    "among them that fire in the picture, and of the five with the lowest. `chance`: the same names on all others."
)


@EXPERIMENTS("dissection", title="What units look for", section="7, textual explanations", minutes=3)
def dissection(lab: Lab) -> Result:
    """Which concepts the units of a network look for, and whether explanations in their names are true."""
    data = lab.dataset(split="dev")
    numbers = lab.numbers(data, 1000, 100)
    rows: list[Row] = []
    verdicts: list[Verdict] = []
    sections: list[Section] = []
    for model in lab.networks("places"):
        found = dissect(model, data, numbers, lab.folder / "maps")
        chance = labelled(found.recorded, numbers, exchanged=True)
        need(found.named(), f"no unit of {model.name} has a name on {data.spec}: take more pictures or another layer.")
        kept, shown = _told(lab, model, found)
        figures = {key: _figures(kept, key) for key in (HIGHEST, FIRING, LOWEST)}
        own = [*_counts(model, found, OWN), *_counts(model, chance, OTHERS)]
        told = [row(n, f, network=model.name, units=k) for k, some in figures.items() for n, f in some.items()]
        rows += own + told
        judged = [_many(model, found, chance), _true(model, figures[HIGHEST])]
        verdicts += judged
        sections += _sections(model, found, judged, own, told, shown)
        lab.layers[f"{model.name} {METHOD}"] = found.recorded.layer
    return Result(rows, verdicts, sections, {"least IoU": 0.05, "quantile": 0.005, "units told": 5})


# -------------------------------------------------------------------------------------------- what units look for


def _counts(model: Model, found: Dissection, labels: str) -> list[Row]:
    """How many units have names, and how many names, of all kinds together and of each."""
    counted = [(ALL, len(found.named()), found.concepts)]
    counted += [(kind, len(units), len({u.name for u in units})) for kind, units in found.kinds.items()]
    about = {"low": None, "high": None, "n": len(found.recorded.places), "degenerate": 0, "paper": None}
    return [
        {"name": name, "network": model.name, "kind": kind, "labels": labels, "value": float(value), **about}
        for kind, units, names in counted
        for name, value in (("named units", units), ("concepts", names))
    ]


def _many(model: Model, found: Dissection, chance: Dissection) -> Verdict:
    said = f"{found.concepts} concepts by {len(found.named())} of {len(found.units)} units"
    by_chance = f"with the labels of other pictures {chance.concepts} by {len(chance.named())}"
    words = f"Units of {model.name} look for at least {CONCEPTS} concepts"
    return Verdict(words, found.concepts >= CONCEPTS, f"{said}; {by_chance}.", chance.concepts < CONCEPTS)


# -------------------------------------------------------------------------------------------- what is told by them


def _told(lab: Lab, model: Model, found: Dissection) -> tuple[list[Kept], list[Wording]]:
    """The explanations in words of pictures that units were not named with; some to be shown."""
    dataset, telling = lab.dataset(), Telling(model, found)
    numbers = lab.numbers(dataset, 200, 20, lambda sample: sample.name not in found.recorded.places)
    about = {**found.recorded.about, "pictures": [*found.recorded.places], "names": [u.name for u in found.units]}
    kept = lab.measured(f"words {model.name}", about, dataset, numbers, telling)
    need(kept, f"no picture of {dataset.spec} is left to be explained: take a lower limit.")
    return kept, [telling.wording(dataset[number]) for number in numbers[:DRAWN]]


class Telling:
    """What turns samples into the names that explain them, and what they show, for `wherefore.batch.rows.rows`."""

    def __init__(self, model: Model, found: Dissection) -> None:
        self.why, self.names = Explainer(model, METHOD, found.recorded.layer, fit="squash"), found.units

    def __call__(self, samples: Sequence[Sample]) -> list[list[Kept]]:
        return [[self._of(each)] for each in samples]

    def wording(self, sample: Sample) -> Wording:
        """Why the network says what it says of a sample."""
        one = self.why.prepare(Picture(sample.name, sample.image, NOWHERE))
        return words(self.why.on([one]), self.names)[0][0]

    def _of(self, sample: Sample) -> Kept:
        told = self.wording(sample)
        firing = [each for each in told.reasons if each.active]
        named = {HIGHEST: _names(told.reasons), FIRING: _names(firing), LOWEST: _names(told.doubts)}
        there = {
            name for each in sample.concepts for name in np.array(["", *each.names], object)[np.unique(each.where)]
        }
        return {"target": told.target, "text": str(told), "there": sorted(there - {""}), **named}


def _names(units: Sequence[Spoken]) -> list[str]:
    return [each.unit.name for each in units]


def _figures(kept: Sequence[Kept], key: str) -> dict[str, Summary]:
    """The share of names that are there, and by chance: on all other pictures."""
    right: list[Any] = []
    chance: list[Any] = []
    count = {name: sum(name in one["there"] for one in kept) for each in kept for name in each[key]}
    for each in kept:
        here = [name in each["there"] for name in each[key]]
        right.append([float(one) for one in here])
        others = max(1, len(kept) - 1)
        chance.append([(count[name] - one) / others for name, one in zip(each[key], here, strict=True)])
    return {METHOD: summary(right), CHANCE: summary(chance)}


def _true(model: Model, figures: dict[str, Summary]) -> Verdict:
    words = f"Explanations of {model.name} in words name what is in the picture more often than chance"
    return claim(words, figures, [METHOD, CHANCE])


# -------------------------------------------------------------------------------------------- the page


def _sections(
    model: Model, found: Dissection, verdicts: Sequence[Verdict], own: Sequence[Row], told: Sequence[Row],
    shown: Sequence[Wording],
) -> list[Section]:  # fmt: skip
    best = found.named()[:SHEET]
    columns = {"name": "", "labels": "labels", "network": "network"}
    counts = table(where(own, kind=ALL), columns, "how many", share=False)
    shares = table(told, {"name": "method", "units": "units", "network": "network"}, "names that are there")
    figures = Figures([Figure(each.figure(), each.picture, str(each)) for each in shown], 1)
    return [
        Section("Concepts", *verdicts, counts, Table(["kind", "units", "names", "best"], kinds(found))),
        Section(f"Units of {model.name}", SHEETS, contact(sheets(found.recorded, best), best)),
        Section("Explanations in words", WORDS, shares, figures),
    ]
