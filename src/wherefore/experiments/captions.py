"""Captions of parts of a picture: is the map of a caption high in the box that it is about? Section 8.1 of the paper.

A captioner is asked for the captions that others gave parts of pictures; the paper's are those of DenseCap. Ours are
those of scenes, or of people (Visual Genome), up to five of a picture by chance: a substitute (protocols: section K).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from statistics import stdev
from typing import Any

import numpy as np

from wherefore.batch.asking import Ask, Asks, language
from wherefore.batch.maps import Seen
from wherefore.datasets import Sample
from wherefore.errors import Error
from wherefore.experiments.charts import dots
from wherefore.experiments.lab import Lab
from wherefore.experiments.result import Result
from wherefore.experiments.showing import drawn, gallery
from wherefore.experiments.tables import Row, claim, need, paper_of, refused, row, table, where
from wherefore.metrics.energy import ratio
from wherefore.metrics.summary import Summary, bootstrapped, pooled, summary
from wherefore.pages import Figure, Figures, Section, Verdict
from wherefore.registry import EXPERIMENTS
from wherefore.scenes.annotated import Box
from wherefore.speech import Language
from wherefore.types import Model
from wherefore.worded import Caption

NETWORKS = ("captioner", "show-and-tell")
METHODS = ("guided-grad-cam", "grad-cam", "guided-backprop")
UNIFORM = "uniform"  # a map that is the same everywhere
EACH, LARGEST = 5, 0.95  # captions of a picture, and which share of it a box may cover
PAPER = {
    ("captioner", "grad-cam"): 3.27,
    ("captioner", "guided-backprop"): 2.32,
    ("captioner", "guided-grad-cam"): 6.38,
}
MEAN, MEDIAN, NOTHING = "mean ratio", "median ratio", "boxes without anything outside"
TOO_LARGE = f"a box of more than {100 * LARGEST:.0f} % of the picture"
UNKNOWN = "a caption with words that the network does not know, or too many"
WORDS = (
    "How many times higher a map is inside of a caption's box than outside; of each picture the mean over its "
    "captions, then the mean over pictures. Of pixel methods the map is the sum of absolute values over channels. "
    "Where a map is 0 outside of the box the ratio is without bounds: the median does not heed how large it is."
)


@EXPERIMENTS("caption-boxes", title="Captions of parts of a picture", section="8.1, dense captions", minutes=1)
def caption_boxes(lab: Lab) -> Result:
    """How much higher the map of a caption is inside of the box that it is about than outside, for three methods."""
    dataset = lab.dataset()
    numbers = lab.numbers(dataset, 80, 8, lambda sample: bool(sample.regions))
    need(numbers, f"{dataset.spec} has no captions of parts of pictures: give scenes or genome:DIR.")
    rows: list[Row] = []
    verdicts: list[Verdict] = []
    shown: dict[str, dict[str, list[Seen]]] = {}
    for model in lab.networks(*NETWORKS):
        asks = described(model, lab.settings.seed)
        seen = {
            method: list(lab.seen(model, method, dataset, numbers, asks))
            for method in lab.fitting(model, METHODS, dataset, None)
        }
        need(all(seen.values()), f"{model.name} knows the words of no caption of {dataset.spec}: give another network.")
        found = {method: ratios(kept) for method, kept in seen.items()}
        figures = {method: _figures(each, _evidence(seen[method])) for method, each in found.items()}
        figures[UNIFORM] = {MEAN: summary([1.0] * len(next(iter(found.values()))))}
        rows += [_row(model, *each, found) for each in ((n, m, f) for n, of in figures.items() for m, f in of.items())]
        verdicts += _verdicts(model, {method: of[MEAN] for method, of in figures.items()})
        shown[model.name] = {method: kept[:12] for method, kept in seen.items()}
    settings = {"captions": f"up to {EACH} of a picture, by chance", "stand in for": "captions and boxes of DenseCap"}
    return Result(rows, verdicts, _sections(rows, verdicts, shown, lab), settings)


def described(model: Model, seed: int) -> Asks:
    """The captions of up to five parts of each picture, by chance, as a network is asked for them."""
    words = language(model)

    def of(sample: Sample) -> list[Ask]:
        regions = list(enumerate(sample.regions))
        some = random.Random(f"{seed} {sample.name}").sample(regions, min(EACH, len(regions)))
        return [
            Ask(Caption(region.caption), i, left=_left(region.box, region.caption, sample.size, words))
            for i, region in sorted(some, key=lambda each: each[0])
        ]

    return Asks(f"up to {EACH} regions, seed {seed}", of, summed=True)


def _left(box: Box, caption: str, size: tuple[int, int], words: Language) -> str:
    """Why a caption is left out; "" where it is not."""
    if (box[2] - box[0] + 1) * (box[3] - box[1] + 1) > LARGEST * size[0] * size[1]:
        return TOO_LARGE
    return "" if says(words, caption) else UNKNOWN


def says(words: Language, caption: str) -> bool:
    """Whether a network can say a caption."""
    try:
        return bool(words.numbers(caption))
    except Error:
        return False


def box_of(each: Seen, target: int) -> Box:
    """The box of what a caption is about."""
    return each.sample.regions[each.rows[target]["about"]].box


def ratios(kept: Sequence[Seen]) -> list[list[float]]:
    """The ratios of the captions of each picture; NaN for maps without evidence."""
    return [[ratio(heat, box_of(each, t)) for t, heat in enumerate(each.explanation.placed(0))] for each in kept]


def _evidence(kept: Sequence[Seen]) -> list[float]:
    return [float(value) for each in kept for value in each.explanation.evidence[0]]


def _figures(found: Sequence[Sequence[float]], evidence: Sequence[float]) -> dict[str, Summary]:
    """The mean ratio, its median over pictures, and the share of boxes outside of which a map is 0."""
    means = np.array([np.nanmean(each) if not np.isnan(each).all() else np.nan for each in found])
    known = ~np.isnan(means)

    def median(times: Any) -> float:
        drawn = np.repeat(means[known], times[known].astype(int))
        return float(np.median(drawn)) if len(drawn) else float("nan")

    return {
        MEAN: summary(found, evidence),
        MEDIAN: bootstrapped(median, len(means), int(known.sum()), evidence),
        # Of maps that are 0 outside of the box the ratio is a share of 1e8.
        NOTHING: pooled([sum(v > 1e6 for v in each) for each in found], [sum(v == v for v in each) for each in found]),
    }


def _row(
    model: Model, method: str, measure: str, figure: Summary, found: Mapping[str, Sequence[Sequence[float]]]
) -> Row:
    of_paper = paper_of(PAPER, model.name, method) if measure == MEAN else None
    about: dict[str, Any] = {"network": model.name, "measure": measure}
    if measure == MEAN and method in found:
        means = [float(np.nanmean(each)) for each in found[method] if not np.isnan(each).all()]
        about["standard error"] = stdev(means) / len(means) ** 0.5 if len(means) > 1 else None
        about["captions"] = sum(v == v for each in found[method] for v in each)
    return row(method, figure, of_paper, **about)


def _verdicts(model: Model, figures: Mapping[str, Summary]) -> list[Verdict]:
    order = [method for method in (*METHODS, UNIFORM) if method in figures]
    words = "the ratio is higher for guided Grad-CAM than for Grad-CAM, than for guided backprop, than for an even map"
    return [claim(f"On {model.name} {words}", figures, order)] if len(order) == len(METHODS) + 1 else []


def _sections(
    rows: Sequence[Row], verdicts: Sequence[Verdict], shown: Mapping[str, Mapping[str, Sequence[Seen]]], lab: Lab
) -> list[Section]:
    columns = {"name": "method", "network": "network"}
    main = where(rows, measure=MEAN)
    names = [f"{each['network'].removeprefix('scenes:')}: {each['name']}" for each in main]
    chart = Figures([Figure(dots(main, "inside / outside", names, log=True), MEAN.capitalize())], 1)
    tables = [table(where(rows, measure=m), columns, m, share=m == NOTHING) for m in (MEAN, MEDIAN, NOTHING)]
    galleries = [_gallery(name, seen) for name, seen in shown.items()]
    return [
        Section("What the paper claims, here", *verdicts),
        Section("Pictures", *galleries),
        Section("Inside of the box and outside", WORDS, chart, *tables),
        *([Section("What does not go together", *refused(lab.refused))] if lab.refused else []),
    ]


def _gallery(network: str, seen: Mapping[str, Sequence[Seen]]) -> Figures:
    def draw(method: str, each: Seen) -> Figure:
        heat = next(each.explanation.placed(0))
        caption = each.explanation.targets[0][0]
        return drawn(each, 0, box_of(each, 0), (), f"ratio {ratio(heat, box_of(each, 0)):.2f}", f"{method}: {caption}")

    return gallery(seen, draw, 3, network, "The box is that of the caption.")
