"""Failures: what a network looks at where it is wrong. Section 6.1 of the paper (protocols: section I).

The paper shows pictures; measured here are how far the maps of the wrong answer and of the true class overlap, and
whether the map of the true class still finds it. Failures are grouped by the units that spoke for the wrong answer.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from wherefore.batch.maps import NOWHERE, Seen, of_network
from wherefore.batch.store import Row as Kept
from wherefore.concepts.names import Named, check
from wherefore.concepts.units import weigh
from wherefore.datasets import Dataset
from wherefore.diagnosis.failures import (
    Answering,
    Contributing,
    Failure,
    Story,
    both_classes,
    measured,
    stories,
)
from wherefore.diagnosis.stories import WEAK, groups
from wherefore.experiments.lab import Lab
from wherefore.experiments.result import Result, number, plain
from wherefore.experiments.showing import drawn, large
from wherefore.experiments.tables import Row, claim, need, refused, row, table, where
from wherefore.explainer import Explainer
from wherefore.metrics.measuring import NAN
from wherefore.metrics.summary import Summary, summary
from wherefore.pages import Card, Cards, Figure, Figures, Section, Verdict
from wherefore.progress import track
from wherefore.registry import EXPERIMENTS
from wherefore.subjects import Picture
from wherefore.types import Model

NETWORKS = ("alexnet",)  # the one of the shipped networks that is wrong often enough
GRAD_CAM, GUIDED = "grad-cam", "guided-grad-cam"
ALL, CLOSE, FAR = "all failures", "true class in the top 5", "true class not in the top 5"
LEAST = 0.5  # the IoU of a right box
SHOWN = 100  # failures of each list on the page (protocols: section I)
TOLD = 4  # pictures of a story
SIDE = 200  # pixels of a picture on a card: 200 cards make a page of 8 MB
OVERLAP, FOUND, MISLED = "overlap of the two maps", "box of the true class's map right", "box of the answer's map right"
BOXES = "The white box is that of the map, the blue ones are those of the true class."


class Mistakes(NamedTuple):
    """The failures of a network among n pictures, their stories, and the explanations of those that are shown."""

    model: Model
    n: int
    failures: list[Failure]
    stories: list[Story]
    silhouette: float
    shown: dict[int, Seen]  # by number
    guided: bool  # whether Guided Grad-CAM applies to it


@EXPERIMENTS("failures", title="Failures, and what was looked at", section="6.1", minutes=2)
def failures(lab: Lab, names: Sequence[Named] = ()) -> Result:
    """What a network looked at where it is wrong, whether it saw the true class too, and failures told as stories."""
    dataset = lab.dataset("single")
    numbers = lab.numbers(dataset, 600, 60)
    rows: list[Row] = []
    verdicts: list[Verdict] = []
    sections: list[Section] = []
    told: dict[str, list[str]] = {}
    every: list[dict[str, Any]] = []
    for model in lab.networks(*NETWORKS):
        if names:
            _check(names, model)
        found, answers = _mistakes(lab, model, dataset, numbers)
        own = [*_errors(model, answers), *_rows(found)]
        judged = _verdicts(found)
        rows, verdicts = rows + own, verdicts + judged
        sections += _sections(found, own, judged, names)
        told[model.name] = [*_weak(found), *(story.told(names) for story in found.stories)]
        every += _listed(found)
    left = [Section("What does not go together", *refused(lab.refused))] if lab.refused else []
    return Result(rows, verdicts, [*sections, *left], {"least IoU": LEAST, "stories": told}, {"failures": every})


def _check(names: Sequence[Named], model: Model) -> None:
    """Raises `Error` for names of other units than stories are told by, before anything is worked out."""
    why = Explainer(model, GRAD_CAM, fit="squash")
    example = why.reader.example()
    check(names, model, why.layer_of(example).name, len(weigh(why, example, 0).maps))


def _mistakes(lab: Lab, model: Model, dataset: Dataset, numbers: Sequence[int]) -> tuple[Mistakes, list[Kept]]:
    """The failures among samples, and the answers to all of them."""
    methods, why = lab.fitting(model, [GRAD_CAM, GUIDED], dataset), Explainer(model, GRAD_CAM, fit="squash")
    asked = lab.asked("first", dataset, model)
    about = {**of_network(model), **asked.about}
    answers = lab.measured(f"answers {model.name}", about, dataset, numbers, Answering(why, asked.outputs))
    need(answers, f"no picture of {dataset.spec} shows a class of {model.name}: give pictures with labels.")
    wrong = [each for each in answers if each["wrong"]]
    by_name, order = {each["sample"]: each for each in wrong}, [each["number"] for each in wrong]
    chosen = _chosen(wrong, lab.settings.seed)
    found, shown = [], dict[int, Seen]()
    maps = lab.seen(model, GRAD_CAM, dataset, order, both_classes(by_name)) if wrong else iter(())
    for each in track(maps, len(order), "measuring failures"):
        found.append(measured(each, by_name[each.sample.name]))
        if found[-1].number in chosen:
            shown[found[-1].number] = each
    units = lab.measured(f"units {model.name}", about, dataset, order, Contributing(why, by_name)) if wrong else []
    told, silhouette = _stories(found, units, lab.settings.seed)
    return Mistakes(model, len(answers), found, told, silhouette, shown, GUIDED in methods), answers


def _chosen(wrong: Sequence[Kept], seed: int) -> list[int]:
    """The numbers of the failures on the page: of each list so many, drawn by the seed, in their order."""
    lists = [[each["number"] for each in wrong if (each["place"] < 5) == close] for close in (True, False)]
    return [n for some in lists for n in sorted(random.Random(seed).sample(some, min(SHOWN, len(some))))]


def _stories(found: Sequence[Failure], units: Sequence[Kept], seed: int) -> tuple[list[Story], float]:
    vectors = {each["number"]: np.frombuffer(each["units"], np.float32) for each in units}
    if not found:
        return [], NAN
    contributions = np.stack([vectors[each.number] for each in found])
    grouped = groups(contributions, seed=seed)
    return stories(found, contributions, grouped.of), grouped.silhouette


# -------------------------------------------------------------------------------------------- numbers


def _errors(model: Model, answers: Sequence[Kept]) -> Iterator[Row]:
    for first, measure in ((1, "error of the first answer"), (5, "error of the first five")):
        figure = summary([float(each["wrong"] if first == 1 else each["place"] >= first) for each in answers])
        yield row("classification", figure, network=model.name, measure=measure, failures="")


def _rows(found: Mistakes) -> Iterator[Row]:
    for which, some in lists(found.failures).items():
        for measure, figure in figures(some).items():
            yield row(GRAD_CAM, figure, network=found.model.name, measure=measure, failures=which)
    for place, story in enumerate(found.stories, 1):
        share = summary([float(each in story.failures) for each in found.failures])
        yield row(f"story {place}", share, network=found.model.name, measure="share of the failures", failures=ALL)


def lists(found: Sequence[Failure]) -> dict[str, list[Failure]]:
    """All failures, and the two lists of the paper, as far as there are some."""
    every = {ALL: list(found), CLOSE: [f for f in found if f.close], FAR: [f for f in found if not f.close]}
    return {name: some for name, some in every.items() if some}


def figures(some: Sequence[Failure]) -> dict[str, Summary]:
    """What is measured of failures; without boxes the overlap alone."""
    overlaps = [each.overlap for each in some]
    empty = [0.0 if value != value else 1.0 for value in overlaps]
    found = {OVERLAP: summary(overlaps, empty)}
    for name, ious in ((FOUND, [each.found for each in some]), (MISLED, [each.misled for each in some])):
        figure = summary([NAN if value != value else float(value >= LEAST) for value in ious])
        found |= {name: figure} if figure.n else {}
    return found


def _verdicts(found: Mistakes) -> list[Verdict]:
    own = figures(found.failures) if found.failures else {}
    if FOUND not in own:
        return []
    words = f"Where {found.model.name} is wrong, the map of the true class finds it more often than that of its answer"
    return [claim(words, own, [FOUND, MISLED])]


def _listed(found: Mistakes) -> list[dict[str, Any]]:
    """All failures as JSON can hold them, each with the number of its story, from 1 as on the page."""
    story_of = _story_of(found)
    return [
        {"network": found.model.name, "story": story_of[each.number], **plain(vars(each))} for each in found.failures
    ]


def _story_of(found: Mistakes) -> dict[int, int]:
    return {each.number: i for i, story in enumerate(found.stories, 1) for each in story.failures}


# -------------------------------------------------------------------------------------------- the page


def _sections(
    found: Mistakes, rows: Sequence[Row], verdicts: Sequence[Verdict], names: Sequence[Named]
) -> list[Section]:
    name, count = found.model.name, len(found.failures)
    columns = {"measure": "measured", "failures": "of"}
    errors = table(where(rows, name="classification"), {"measure": "measured"}, "share")
    words = f"The first answer of {name} is wrong for {count} of {found.n} pictures."
    if not found.failures:
        return [Section(f"What {name} gets wrong", words, errors)]
    maps = table(
        where(rows, name=GRAD_CAM), columns, "value", "Overlap is an IoU, of what is above 15 % of each maximum."
    )
    return [
        Section(f"What {name} gets wrong", words, *verdicts, errors, maps),
        _told(found, names),
        Section(f"Failures of {name}", _page_words(found), Cards(list(_cards(found, names)))),
    ]


def _weak(found: Mistakes) -> list[str]:
    """What stands before stories that may as well be told otherwise."""
    if not found.silhouette < WEAK:
        return []
    return [
        f"The groups are weak (silhouette {found.silhouette:.2f}): take them as an order to look in, not as causes."
    ]


def _told(found: Mistakes, names: Sequence[Named]) -> Section:
    apart = (
        "All failures are one group: there are too few to be grouped."
        if len(found.stories) == 1
        else f"Grouped by the units that spoke for the wrong answer, into as many groups as are best apart: mean "
        f"silhouette {found.silhouette:.2f}" + (f". {_weak(found)[0]}" if _weak(found) else ".")
    )
    parts: list[Any] = [apart]
    for place, story in enumerate(found.stories, 1):
        some = [each for each in story.failures if each.number in found.shown][:TOLD]
        pictures = [_figure(found.shown[each.number], each, 0) for each in some]
        parts.append(Figures(pictures, TOLD, f"Story {place}: {story.told(names)}"))
    return Section(f"The failures of {found.model.name} in {len(found.stories)} stories", *parts)


def _page_words(found: Mistakes) -> str:
    count = len(found.shown)
    drawn_by_lot = "" if count == len(found.failures) else f"{count} of {len(found.failures)}, at random. "
    return (
        f"{drawn_by_lot}Of each the maps of the answer and of the true class, by Grad-CAM and Guided Grad-CAM. {BOXES}"
    )


def _cards(found: Mistakes, names: Sequence[Named]) -> Iterator[Card]:
    story_of = _story_of(found)
    for each in track(found.failures, len(found.failures), "drawing failures"):
        seen = found.shown.get(each.number)
        if seen is None:
            continue
        maps = [_figure(seen, each, target, GRAD_CAM) for target in (0, 1)]
        fine = list(_guided(found.model, seen, each)) if found.guided else []
        pictures = [figure for two in zip(*filter(None, (maps, fine)), strict=True) for figure in two]
        facts: dict[str, str | float | None] = {
            "probability of the answer": each.probability,
            "probability of the true class": each.true_probability,
            "overlap": number(each.overlap),
            "IoU of the true class's box": number(each.found),
            "list": CLOSE if each.close else FAR,
            "story": f"story {story_of[each.number]}",
            "true class": each.label,
            "answer": each.said,
        }
        yield Card(f"{each.label}, taken for {each.said}", pictures, facts, _told_of(each, story_of[each.number]))


def _told_of(each: Failure, story: int) -> str:
    said = [
        f"{each.sample}: {each.said} p {each.probability:.3f}",
        f"{each.label} p {each.true_probability:.3f}, number {each.place + 1}",
    ]
    said += [] if each.overlap != each.overlap else [f"the maps overlap by {each.overlap:.2f}"]
    said += [] if each.found != each.found else [f"box of the true class {'right' if each.found >= LEAST else 'wrong'}"]
    return f"{'; '.join([*said, f'story {story}'])}."


def _guided(model: Model, seen: Seen, each: Failure) -> Iterator[Figure]:
    """Guided Grad-CAM of both classes in grey, as the paper has it; signed pixels are too large to be kept."""
    why, sample = Explainer(model, GUIDED, fit="squash"), seen.sample
    e = why.on([why.prepare(Picture(sample.name, sample.image, NOWHERE))], seen.explanation.classes.tolist())
    for target, picture in enumerate(large(e)[0].overlays(0, legend=False)):
        picture.thumbnail((SIDE, SIDE))
        words = _asked(each, target)
        yield Figure(picture, words, GUIDED, f"{words} {GUIDED} on {sample.name}")


def _asked(each: Failure, target: int) -> str:
    return f"Why {each.said}?" if target == 0 else f"And {each.label}?"


def _figure(seen: Seen, each: Failure, target: int, method: str = "") -> Figure:
    box, words = seen.explanation.boxes()[0, target].tolist(), _asked(each, target)
    own = drawn(seen, target, box, seen.sample.boxes(each.label), method or f"p {each.probability:.3f}", words)
    own.picture.thumbnail((SIDE, SIDE))
    return replace(own, alt=f"{words} {own.alt}")
