"""Do maps depend on what the network learned: the sanity checks of Adebayo et al. 2018 (protocols: section H).

Layers are drawn anew from the scores downward (cascading), or one at a time (independent). Above the explained layer
that changes the weights of its channels alone, at and below it the channels too: two regimes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from PIL import Image

from wherefore.batch.store import Row as Kept
from wherefore.checking import ALIKE
from wherefore.datasets import Sample
from wherefore.experiments.charts import curves
from wherefore.experiments.lab import Lab
from wherefore.experiments.result import Result
from wherefore.experiments.showing import pictured
from wherefore.experiments.tables import Row, cell, claim, need, refused, row, where
from wherefore.explainer import Explainer
from wherefore.metrics.likeness import LIKENESSES
from wherefore.metrics.summary import Summary, summary
from wherefore.options import takes
from wherefore.pages import Figure, Figures, Section, Table, Verdict
from wherefore.randomising import Stage, randomised, stages
from wherefore.registry import EXPERIMENTS
from wherefore.sanity import again, decay
from wherefore.types import Model

METHODS = ("grad-cam", "guided-backprop", "guided-grad-cam", "gradient")
WAYS = {"cascading": True, "independent": False}
SIZES = "spearman of sizes"
MOST = 12  # steps from the scores to the picture; layers of deeper networks are drawn together
WORDS = {
    "spearman": "rank correlation of signed values",
    SIZES: "rank correlation of the size of values",
    "ssim": "structural similarity",
    "hog": "correlation of the histograms of oriented gradients",
}


class Randomising:
    """What compares maps with those of randomised networks, for `wherefore.batch.rows.rows`: a row for each step."""

    def __init__(self, model: Model, methods: Sequence[str], steps: Sequence[Stage]) -> None:
        self.ways = [Explainer(model, method, fit="squash") for method in methods]
        self.steps = steps

    def __call__(self, samples: Sequence[Sample]) -> list[list[Kept]]:
        found: list[list[Kept]] = [[] for _ in samples]
        for why in self.ways:
            e = why.on(why.reader.read([each.image for each in samples]))
            for name, cascade in WAYS.items():
                for number, step in enumerate(decay(e, self.steps, cascade=cascade)):
                    about = {"method": why.method, "way": name, "step": number, "above": step.above}
                    for rows, [likeness] in zip(found, step.likenesses, strict=True):
                        rows.append({**about, **likeness})
        return found


@EXPERIMENTS("sanity", title="Sanity checks", section="Adebayo et al. 2018", minutes=2)
def sanity(lab: Lab) -> Result:
    """How alike maps stay to themselves when the network's weights are drawn anew, layer by layer."""
    dataset = lab.dataset("single")
    numbers = lab.numbers(dataset, 50, 6)
    [model] = lab.networks("vgg")
    methods, steps = lab.fitting(model, METHODS, dataset), steps_of(model)
    about = {"model": model.name, "weights_sha256": model.weights_sha256, "methods": methods, "steps": steps}
    kept = lab.measured(f"sanity {model.name}", about, dataset, numbers, Randomising(model, methods, steps))
    need(kept, f"no picture of {dataset.spec} can be read.")
    rows = list(_rows(model, steps, kept))
    half = -(-len(steps) // 2)
    figures = {name: _figure(kept, name, "cascading", half - 1, SIZES) for name in methods}
    verdicts = _verdicts(figures)
    pictures = _pictures(model, methods[:3], dataset[kept[0]["number"]], steps, half)
    settings = {"alike from": ALIKE, "layers drawn anew": f"the upper {half} of {len(steps)}"}
    return Result(rows, verdicts, _sections(lab, rows, verdicts, steps, half, pictures), settings)


def steps_of(model: Model) -> list[Stage]:
    """What is drawn anew step by step, the scores first; several layers at once where there are many.

    A step bears the name of the lowest of its layers.
    """
    layers = stages(model.net)
    count = -(-len(layers) // MOST)
    groups = [layers[start : start + count] for start in range(0, len(layers), count)]
    return [tuple(name for stage in reversed(group) for name in stage) for group in groups]


def _rows(model: Model, steps: Sequence[Stage], kept: Sequence[Kept]) -> Iterator[Row]:
    for method in dict.fromkeys(each["method"] for each in kept):
        for way in WAYS:
            for number, step in enumerate(steps):
                above = where(kept, method=method, way=way, step=number)[0]["above"]
                changes = ("weights of the channels" if above else "channels") if "layer" in takes(method) else "pixels"
                about = {"network": model.name, "randomised": way, "layer": step[0], "changes": changes}
                for measure in LIKENESSES:
                    yield row(method, _figure(kept, method, way, number, measure), None, **about, measure=measure)


def _figure(kept: Sequence[Kept], method: str, way: str, step: int, measure: str) -> Summary:
    return summary([each[measure] for each in where(kept, method=method, way=way, step=step)])


# -------------------------------------------------------------------------------------------- what is said of it


def _verdicts(figures: dict[str, Summary]) -> list[Verdict]:
    expected = {
        "grad-cam": (True, "Grad-CAM passes: its maps change with the weights of the upper half of the layers"),
        "guided-backprop": (False, "Guided backprop fails: its pictures hardly change with these weights"),
        "guided-grad-cam": (False, "Guided Grad-CAM fails with it, having its detail from it"),
    }
    found = []
    for name, (passes, words) in expected.items():
        if name in figures:
            numbers = f"{SIZES} {figures[name]}; alike from {ALIKE:g}."
            found.append(Verdict(words, (figures[name].value < ALIKE) == passes, numbers))
    if {"grad-cam", "guided-backprop"} <= set(figures):
        words = "Guided backprop's pictures stay more alike than Grad-CAM's maps"
        found.append(claim(words, figures, ["guided-backprop", "grad-cam"]))
    return found


def _sections(
    lab: Lab, rows: Sequence[Row], verdicts: Sequence[Verdict], steps: Sequence[Stage], half: int, pictures: Figures
) -> list[Section]:
    criterion = (
        f"Fixed beforehand, and the same as in `e.check()`: a method passes where, with the upper half of the layers "
        f"drawn anew ({half} of {len(steps)}), the mean rank correlation with its own maps is below {ALIKE:g}, from "
        "which on half of the variance of the ranks is the same."
    )
    charts = [
        Figure(_chart(rows, way, measure, steps), f"{way.capitalize()}: {WORDS[measure]}")
        for way, measures in (("cascading", WORDS), ("independent", [SIZES]))
        for measure in measures
    ]
    order = ", ".join(f"{i + 1} `{step[0]}`" for i, step in enumerate(steps))
    words = (
        f"Layers are counted from the scores: {order}. Left of the dotted line only the weights of the explained "
        "layer's channels change, right of it the channels too. Methods of pixels have no such layer."
    )
    parts = [
        Section("What the paper claims, here", *verdicts, criterion),
        Section("Pictures", pictures),
        Section("Layer by layer", words, Figures(charts, 1)),
        *(Section(f"{way.capitalize()}, in numbers", _table(rows, way)) for way in WAYS),
    ]
    return [*parts, *([Section("What does not go together", *refused(lab.refused))] if lab.refused else [])]


def _chart(rows: Sequence[Row], way: str, measure: str, steps: Sequence[Stage]) -> Image.Image:
    some = where(rows, randomised=way, measure=measure)
    first = 0 if way == "cascading" else 1  # before any is drawn anew a map is like itself
    lines, bands = {}, {}
    for name in dict.fromkeys(each["name"] for each in some):
        own, start = where(some, name=name), [1.0] * (1 - first)
        lines[name] = list(range(first, len(steps) + 1)), [*start, *(each["value"] for each in own)]
        bands[name] = [*start, *(each["low"] for each in own)], [*start, *(each["high"] for each in own)]
    above = len([each for each in where(some, name="grad-cam") if each["changes"] != "channels"])
    x = "layers drawn anew, from the scores" if first == 0 else "the layer that is drawn anew, counted from the scores"
    return curves(lines, x, measure, [(above + 0.5, "channels change")] if above else [], bands)


def _table(rows: Sequence[Row], way: str) -> Table:
    """A line for each layer, a column for each method: the rank correlation of sizes."""
    some = where(rows, randomised=way, measure=SIZES)
    names = list(dict.fromkeys(each["name"] for each in some))
    cells = []
    for layer in dict.fromkeys(each["layer"] for each in some):
        own = [where(some, layer=layer, name=name)[0] for name in names]
        cells.append([layer, own[0]["changes"], *(cell(each, False) for each in own)])
    caption = f"{WORDS[SIZES].capitalize()}, n = {some[0]['n']}. Brackets: bootstrap 95 % intervals over pictures."
    return Table(["drawn anew", "what changes", *names], cells, caption)


def _pictures(model: Model, methods: Sequence[str], sample: Sample, steps: Sequence[Stage], half: int) -> Figures:
    """One picture by each method, on the network as it is and with more and more of it drawn anew."""
    shown = {1: "scores drawn anew", half: "upper half drawn anew", len(steps): "all drawn anew"}
    figures = []
    for method in methods:
        e = Explainer(model, method, fit="squash")(sample.image)
        figures.append(pictured(e, f"{method}: {e.targets[0][0]}", "as it was trained"))
        for number, (_, net) in enumerate(randomised(model.net, steps), 1):
            if number in shown:
                figures.append(pictured(again(e, net), method, shown[number]))
    return Figures(figures, 1 + len(shown))
