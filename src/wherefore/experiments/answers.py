"""Another answer, another map: Fig. 12 of the paper, with its maps of several answers to one question.

Of scenes that show two things of clearly unlike colours one question is asked: what colour one of them is (by chance
which), or what object there is. Explained are two answers, the colours of both, or their names. A map is right where it
is highest on the thing that the answer is true of.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from wherefore.batch.asking import Ask, Asks
from wherefore.batch.maps import Seen
from wherefore.datasets import Sample
from wherefore.experiments.charts import dots
from wherefore.experiments.lab import Lab
from wherefore.experiments.questions import reads, seen_by
from wherefore.experiments.result import Result
from wherefore.experiments.showing import drawn
from wherefore.experiments.tables import Row, claim, need, row, table, where
from wherefore.imaging import peak
from wherefore.metrics.measuring import cases
from wherefore.metrics.pointing import hits
from wherefore.metrics.summary import Summary, summary
from wherefore.pages import Figure, Figures, Section, Verdict
from wherefore.registry import EXPERIMENTS
from wherefore.scenes.language import ALIKE
from wherefore.types import Model
from wherefore.vocabulary import tokens
from wherefore.worded import Answer

NETWORKS = ("vqa", "coattention")
METHOD = "grad-cam"
OWN, OTHER, EITHER, BOTH = "the thing asked about", "the other thing", "either map", "both maps"
SWAPPED, CHANCE = "on the wrong thing", "chance"
COLOUR, KIND = "what colour is ...?", "what object is there?"
WORDS = (
    f"How often a map is highest on the thing that its answer is true of. `{SWAPPED}`: on the other one; `{CHANCE}`: "
    "the share of the picture that the things take, what a random point hits. Nobody asked about the other thing: its "
    "colour is the answer that is wrong."
)
UNKNOWN = "a question or an answer that the network does not know"
DRAWN = 4


class Pair(NamedTuple):
    """What the maps of two answers hit, and which share of the picture their things take."""

    own: bool
    other: bool
    swapped: float  # which share of the two maps is highest on the other's thing
    area: float


@EXPERIMENTS("vqa-answers", title="Another answer, another map", section="8.2, Fig. 12", minutes=1)
def vqa_answers(lab: Lab) -> Result:
    """Whether the map of an answer moves to the thing that the answer is true of, for two answers to one question."""
    dataset = lab.dataset("pair")
    numbers = lab.numbers(dataset, 150, 12, lambda sample: bool(unlike(sample)))
    need(numbers, f"{dataset.spec} does not say which things have which colours: this is measured on scenes.")
    rows: list[Row] = []
    verdicts: list[Verdict] = []
    shown: list[Figures] = []
    for model in lab.networks(*NETWORKS):
        for question, asks in ((COLOUR, colours(model, lab.settings.seed)), (KIND, objects(model))):
            kept = seen_by(lab, model, [METHOD], numbers, asks, "pair")[METHOD]
            figures = _figures(kept, question == COLOUR)
            about = {"network": model.name, "question": question}
            rows += [row(METHOD, figure, None, **about, measure=name) for name, figure in figures.items()]
            verdicts += _verdicts(model, question, figures)
            shown.append(_gallery(model.name, question, kept))
    return Result(rows, verdicts, _sections(rows, verdicts, shown), {"tolerance": "on the thing"})


def unlike(sample: Sample) -> list[tuple[str, str]]:
    """The two things of a scene with their colours, where nobody would take one colour for the other; else nothing."""
    found = [
        (category, asked.answer)
        for asked in sample.questions
        if asked.kind == "colour"
        for category in sample.labels
        if category in tokens(asked.text)
    ]
    if len(sample.instances) != 2 or len(found) != 2:
        return []
    both = {colour for _, colour in found}
    return found if len(both) == 2 and not any(both <= alike for alike in ALIKE) else []


def colours(model: Model, seed: int) -> Asks:
    """What colour one of two things is, and as answers its colour and that of the other."""

    def of(sample: Sample) -> list[Ask]:
        one, other = random.Random(f"{seed} {sample.name}").sample(unlike(sample), 2)
        asked = [(i, q.text) for i, q in enumerate(sample.questions) if q.kind == "colour" and one[0] in tokens(q.text)]
        return _asks(model, *asked[0], ((colour, category) for category, colour in (one, other)))

    return Asks(f"two colours, seed {seed}", of)


def objects(model: Model) -> Asks:
    """What object there is, and as answers the names of both."""
    return Asks("two objects", lambda sample: _asks(model, 0, KIND, [(name, name) for name, _ in unlike(sample)]))


def _asks(model: Model, about: int, question: str, answers: Iterable[tuple[str, str]]) -> list[Ask]:
    """A question with several answers, and the category that each is true of."""
    pairs = list(answers)
    listed = {answer for answer, _ in pairs} <= set(model.classes) if model.classes else True  # or it says any
    known = reads(model, question) and listed
    return [Ask(Answer(answer), about, category, question, "" if known else UNKNOWN) for answer, category in pairs]


def pairs(kept: Sequence[Seen]) -> list[Pair]:
    """What the maps of each picture hit."""
    found = []
    for each in kept:
        both = [case for _, _, case in cases(each.explanation, [each.sample])]
        masks = [each.sample.mask(case.category) for case in both]
        points = [case.found(peak) for case in both]
        own, other = (hits(point, mask, 0) for point, mask in zip(points, masks, strict=True))
        swapped = fmean(hits(point, mask, 0) for point, mask in zip(points, masks[::-1], strict=True))
        found.append(Pair(own, other, swapped, fmean(float(mask.mean()) for mask in masks)))
    return found


def _figures(kept: Sequence[Seen], colour: bool) -> dict[str, Summary]:
    found = pairs(kept)
    evidence = [float(value) for each in kept for value in each.explanation.evidence[0]]
    values = {
        EITHER: [(each.own + each.other) / 2 for each in found],
        BOTH: [float(each.own and each.other) for each in found],
        SWAPPED: [each.swapped for each in found],
        CHANCE: [each.area for each in found],
    }
    asked = {OWN: [float(each.own) for each in found], OTHER: [float(each.other) for each in found]}
    every = {**(asked if colour else {}), **values}
    return {name: summary(some, evidence if name == EITHER else ()) for name, some in every.items()}


def _verdicts(model: Model, question: str, figures: Mapping[str, Summary]) -> list[Verdict]:
    words = f'On {model.name}, asked "{question}", the map of an answer is highest on what it is true of'
    return [
        claim(f"{words}, more often than {than}", figures, [EITHER, other])
        for other, than in ((CHANCE, "by chance"), (SWAPPED, "on the other answer's thing"))
    ]


def _sections(rows: Sequence[Row], verdicts: Sequence[Verdict], shown: Sequence[Figures]) -> list[Section]:
    names = [f"{r['network'].removeprefix('scenes:')}, {r['measure']}" for r in rows]
    parts = []
    for question in (COLOUR, KIND):
        some = where(rows, question=question)
        chart = dots(some, "maps that are highest there", [n for n, r in zip(names, rows, strict=True) if r in some])
        found = table(some, {"network": "network", "measure": "maps"}, "share")
        parts.append(Section(f"Asked: {question}", WORDS, Figures([Figure(chart, question)], 1), found))
    return [Section("What the paper shows, here", *verdicts), Section("Pictures", *shown), *parts]


def _gallery(network: str, question: str, kept: Sequence[Seen]) -> Figures:
    figures = []
    for each in kept[:DRAWN]:
        for t, (found, name) in enumerate(zip(cases(each.explanation, [each.sample]), ("own", "other"), strict=True)):
            hit = getattr(pairs([each])[0], name)
            true, asked = each.sample.boxes(found[2].category), each.rows[t]["question"]
            figures.append(drawn(each, t, None, true, "hit" if hit else "miss", f"{asked} {each.rows[t]['name']}"))
    words = "The ring is the highest point of the answer's map, the box the thing that the answer is true of."
    return Figures(figures, 4, f"{network}: {question}", words)
