"""Where people look: are an answer's maps high there too? Section 8.2 of the paper (protocols: section L).

People were shown a blurred picture, and sharpened what they needed to answer the question (Das et al. 2016, VQA-HAT).
Both maps are brought to 14x14 cells and their ranks correlated; of a question the mean over the people. On scenes the
maps are drawn, around what the answer is about: nobody looked. Questions about the place are left out, for there all
but the things would be looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wherefore.batch.maps import Seen
from wherefore.batch.store import Row as Kept
from wherefore.datasets import Array
from wherefore.datasets.sample import Asked
from wherefore.experiments.charts import dots
from wherefore.experiments.lab import Lab
from wherefore.experiments.questions import Maps, Measuring, about, draw, questions, seen_by
from wherefore.experiments.result import Result
from wherefore.experiments.showing import drawn, gallery
from wherefore.experiments.tables import Row, claim, need, paper_of, refused, row, table, where
from wherefore.metrics.agreement import spearman
from wherefore.metrics.summary import Summary, pooled
from wherefore.pages import Figure, Figures, Section, Verdict
from wherefore.registry import EXPERIMENTS
from wherefore.types import Model

NETWORKS = ("vqa", "coattention")
METHODS = ("grad-cam", "guided-grad-cam")
RANDOM, CENTRE, PEOPLE = "random", "center", "people"
PAPER = {("vqa", "grad-cam"): 0.136}
CELLS, SEEDS = 14, 3
PREDICTED, TRUE = "predicted", "true"  # which answer's map
EACH, TOGETHER = "each person", "their mean map"  # what a map is held against
ALL, AWAY = "all", "not looked at in the middle"
WAYS = ((PREDICTED, EACH, ALL), (PREDICTED, EACH, AWAY), (PREDICTED, TOGETHER, ALL), (TRUE, EACH, ALL))
PLACE = "place"  # the kind of question of scenes whose answer is no thing's
WORDS = (
    f"Spearman's correlation over {CELLS}x{CELLS} cells with where each person looked, the mean over these, then over "
    "questions. `random` is noise, `center` a Gaussian in the middle, `people` each person held against the others."
)
DRAWN = (
    " On scenes nobody looked: the maps are drawn, around what the answer is about, at three widths, so that `people` "
    "says nothing of people."
)
Key = tuple[str, str, str, str]  # what is held, which answer, against what, over which questions


@EXPERIMENTS("vqa-human", title="Where people look", section="8.2, people", minutes=1)
def vqa_human(lab: Lab) -> Result:
    """Whether the map of an answer is high where people looked to answer, beside maps that know nothing."""
    dataset = lab.dataset()
    numbers = lab.numbers(dataset, 100, 10, lambda sample: any(map(_looked, sample.questions)))
    need(numbers, f"nobody drew where people look on {dataset.spec}: give scenes, or vqa:DIR with vqahat_val in it.")
    rows: list[Row] = []
    verdicts: list[Verdict] = []
    shown: dict[str, dict[str, list[Seen]]] = {}
    for model in lab.networks(*NETWORKS):
        asks = questions(model, lab.settings.seed, 2 if lab.on_scenes else None, _looked, true=True)
        seen = seen_by(lab, model, METHODS, numbers, asks)
        kept = lab.measured(f"people {model.name}", about(model, seen, asks), dataset, numbers, Measuring(seen, held))
        figures = _figures(kept)
        rows += [_row(model, key, figure) for key, figure in figures.items()]
        verdicts += _verdicts(model, {key[0]: f for key, f in figures.items() if key[1:] == (PREDICTED, EACH, ALL)})
        shown[model.name] = {method: some[:12] for method, some in seen.items()}
    settings = {"cells": f"{CELLS}x{CELLS}", "left out on scenes": "questions about the place"}
    return Result(rows, verdicts, _sections(rows, verdicts, shown, lab), settings)


def _looked(asked: Asked) -> bool:
    return asked.looked is not None and asked.kind != PLACE


def cells(heat: Any) -> Array:
    """The mean of a map ``(H, W)`` in each of 14x14 cells; of one that has as many, itself."""
    found: Array = F.adaptive_avg_pool2d(torch.as_tensor(heat)[None].double(), CELLS)[0].numpy()
    return found


def heat_of(each: Seen, target: int) -> Tensor:
    """The map of an answer: as it is where it has 14x14 cells, else at the network's input resolution."""
    heat = each.explanation.maps[0][target]
    return heat if heat.shape == (CELLS, CELLS) else each.explanation.heats(0)[target]


def centre() -> Array:
    """A Gaussian in the middle of the cells; how wide it is makes no difference to ranks."""
    across = (2 * np.arange(CELLS) - CELLS + 1) ** 2  # whole numbers: cells that are as far are exactly as high
    found: Array = np.exp(-(across[:, None] + across) / CELLS**2)
    return found


def held(maps: Maps) -> Iterator[Kept]:
    """How the maps of one question, and those that know nothing, agree with where each person looked."""
    first = next(iter(maps.values()))
    asked = first.sample.questions[first.rows[0]["about"]]
    assert asked.looked is not None
    people = [cells(each) for each in asked.looked()]
    away = _agreed(centre(), people) <= 0
    of_people = [spearman(a, b) for a, b in combinations(people, 2)]
    dice = np.random.default_rng([*asked.text.encode(), *first.sample.name.encode()])
    noise = [_held(dice.random((CELLS, CELLS)), people) for _ in range(SEEDS)]
    own = [
        (method, (PREDICTED, TRUE)[t], _held(cells(heat_of(each, t)), people))
        for method, each in maps.items()
        for t in range(len(each.rows))
    ]
    nothing = [
        (RANDOM, PREDICTED, {name: float(np.mean([each[name] for each in noise])) for name in noise[0]}),
        (CENTRE, PREDICTED, _held(centre(), people)),
        *([(PEOPLE, PREDICTED, {EACH: float(np.mean(of_people)), "varies": 1.0})] if of_people else []),
    ]
    yield from (
        {"method": name, "answer": answer, "away": bool(away), **found} for name, answer, found in own + nothing
    )


def _held(heat: Array, people: Sequence[Array]) -> dict[str, float]:
    """The agreement of a map with people, and whether it is more than one value."""
    together = spearman(heat, np.mean(people, 0))
    return {EACH: _agreed(heat, people), TOGETHER: together, "varies": float(np.ptp(heat) > 0)}


def _agreed(heat: Array, people: Sequence[Array]) -> float:
    return float(np.mean([spearman(heat, each) for each in people]))


def _figures(kept: Sequence[Kept]) -> dict[Key, Summary]:
    """The means over questions, drawn by picture."""
    numbers = sorted({each["number"] for each in kept})
    found = {}
    for name in dict.fromkeys(each["method"] for each in kept):
        for answer, against, subset in WAYS:
            some = [r for r in kept if (r["method"], r["answer"]) == (name, answer) and (r["away"] or subset == ALL)]
            some = [each for each in some if each.get(against) is not None]
            if some:
                found[name, answer, against, subset] = _mean(some, against, numbers)
    return found


def _mean(some: Sequence[Kept], against: str, numbers: Sequence[int]) -> Summary:
    by = {number: [r[against] for r in some if r["number"] == number] for number in numbers}
    return pooled([sum(each) for each in by.values()], [len(each) for each in by.values()], [r["varies"] for r in some])


def _row(model: Model, key: Key, figure: Summary) -> Row:
    name, answer, against, subset = key
    of_paper = paper_of(PAPER, model.name, name) if (answer, against, subset) == WAYS[0] else None
    return row(name, figure, of_paper, network=model.name, answer=answer, against=against, questions=subset)


def _verdicts(model: Model, figures: Mapping[str, Summary]) -> list[Verdict]:
    """That maps agree with people at all, though less than a map that is high in the middle whatever is asked."""
    own = figures.get("grad-cam")
    if own is None:
        return []
    words = f"On {model.name} Grad-CAM's map of the answer agrees with where people look"
    above = Verdict(words, own.value > 0, f"grad-cam {own}.", own.low > 0 or own.high < 0)
    return [above, claim(f"{words} less than the middle of the picture does", figures, [CENTRE, "grad-cam"])]


def _sections(
    rows: Sequence[Row], verdicts: Sequence[Verdict], shown: Mapping[str, Mapping[str, Sequence[Seen]]], lab: Lab
) -> list[Section]:
    columns = {"name": "map", "network": "network"}
    main, *others = (where(rows, answer=a, against=b, questions=c) for a, b, c in WAYS)
    names = [f"{each['network'].removeprefix('scenes:')}: {each['name']}" for each in main]
    chart = Figures([Figure(dots(main, "rank correlation with where people look", names), "People")], 1)
    captions = [
        "Questions of which people did not look at the middle.",
        "With the mean map of all.",
        "The true answer.",
    ]
    tables = [table(some, columns, "correlation", c, False) for c, some in zip(captions, others, strict=True) if some]
    parts = [
        Section("What the paper claims, here", *verdicts),
        Section("Pictures", *(_gallery(name, seen, lab.on_scenes) for name, seen in shown.items())),
        Section(
            "Rank correlation with where people look",
            WORDS + (DRAWN if lab.on_scenes else ""),
            chart,
            table(main, columns, "correlation", share=False),
        ),
        Section("Other choices", *tables),
    ]
    return [*parts, *([Section("What does not go together", *refused(lab.refused))] if lab.refused else [])]


def _gallery(network: str, seen: Mapping[str, Sequence[Seen]], on_scenes: bool) -> Figures:
    columns = {PEOPLE: next(iter(seen.values())), **seen}
    looked = "what is drawn for where people look" if on_scenes else "where people looked, the mean over them"
    words = f"Left {looked}; the ring is the highest point."
    return gallery(columns, lambda name, each: _people(each) if name == PEOPLE else draw(name, each), 3, network, words)


def _people(each: Seen) -> Figure:
    """Where people look."""
    asked = each.sample.questions[each.rows[0]["about"]]
    assert asked.looked is not None
    mean = torch.from_numpy(np.mean(asked.looked(), 0))
    e = replace(each.explanation, maps=mean[None, None], patches=None, filled=[])
    return drawn(replace(each, explanation=e), 0, None, (), "", f"{PEOPLE}: {asked.text} {asked.answer}")
