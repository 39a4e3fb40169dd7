"""Are maps true to the network: section 5.3 of the paper (protocols: section H).

The paper's measure is the rank correlation with occlusion, over patches. It names neither patch nor fill: ours are 32
of 224 pixels every 16, filled with the mean colour, of every class that is in a picture; other choices are tried on
fewer pictures. Then what others measure it by, of the class that the network predicts first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wherefore.batch.maps import Seen
from wherefore.batch.store import Row as Kept
from wherefore.datasets import Dataset, Sample
from wherefore.experiments.charts import dots
from wherefore.experiments.lab import Lab
from wherefore.experiments.result import Result
from wherefore.experiments.showing import drawn, gallery
from wherefore.experiments.tables import Row, cell, claim, paper_of, refused, row, table, where
from wherefore.explanation import Explanation
from wherefore.metrics.faithfulness import at_random, at_the_centre, average_drop, deletion, increase, insertion
from wherefore.metrics.imputation import road
from wherefore.metrics.occluding import CELLS, FILLS, occlusion_correlation
from wherefore.metrics.summary import Summary, summary
from wherefore.pages import Figure, Figures, Section, Table, Verdict
from wherefore.registry import EXPERIMENTS
from wherefore.types import Model

NETWORKS = ("vgg", "vgg-cam")  # CAM needs a network of its own
METHODS = ("guided-grad-cam", "grad-cam", "c-mwp", "cam", "guided-backprop")
CORRELATION = "rank correlation with occlusion"
PAPER = {
    ("vgg", "guided-backprop"): 0.168,
    ("vgg", "c-mwp"): 0.220,
    ("vgg-cam", "cam"): 0.208,
    ("vgg", "grad-cam"): 0.254,
    ("vgg", "guided-grad-cam"): 0.261,
}
PATCHES = (16, 32, 48, 64)  # of 224 pixels
MAP_LEVEL, FIRST = f"{CELLS} x {CELLS} cells", "the class predicted first"
OTHERS = {
    "deletion": (deletion, "lower"),
    "insertion": (insertion, "higher"),
    "average drop": (average_drop, "lower"),
    "increase": (increase, "higher"),
    "ROAD": (road, "higher"),
}
KNOW_NOTHING = {"random": at_random, "centre": at_the_centre}
VARIED = (
    "Patches move by half of their side, so that the stride changes with the patch. Ours is 32 of 224 pixels, mean "
    f"colour. From it in one thing each differ: {FIRST}, in place of all that are in the picture; and {MAP_LEVEL}, in "
    "place of patches, where a pixel of the occlusion map is the mean over the patches that cover it. Of pixel methods "
    "the map is the largest absolute value over channels; the sum of absolute values, and that of positive ones, are "
    "left out, for only maps are kept."
)
ABOUT = ("number", "sample", "notes", "method")  # what a kept row is of
Measure = Callable[[Explanation], dict[str, float]]


class Measuring:
    """What measures maps that were seen, for `wherefore.batch.rows.rows`: of each sample a row for each method."""

    def __init__(self, seen: Mapping[str, Sequence[Seen]], measure: Measure) -> None:
        self.maps = {method: {each.sample.name: each.explanation for each in kept} for method, kept in seen.items()}
        self.measure = measure

    def __call__(self, samples: Sequence[Sample]) -> list[list[Kept]]:
        return [list(self._rows(each.name)) for each in samples]

    def _rows(self, name: str) -> Iterator[Kept]:
        for method, maps in self.maps.items():
            if name in maps:
                yield {"method": method, **self.measure(maps[name])}


@dataclass(frozen=True)
class Maps:
    """The maps of one network by method, of the classes that were asked for, and what measures them."""

    lab: Lab
    model: Model
    dataset: Dataset
    seen: dict[str, list[Seen]]
    asked: str = "labels"

    def measured(self, what: str, measure: Measure, numbers: Sequence[int]) -> dict[tuple[str, str], Summary]:
        """The figures over these samples, by method and what was measured; every value of a picture counts once."""
        about: dict[str, Any] = {
            "model": self.model.name,
            "weights_sha256": self.model.weights_sha256,
            "methods": list(self.seen),
            "asked": self.asked,
        }
        about |= {"preprocess": repr(self.model.preprocess), "patches": PATCHES, "fills": FILLS, "others": list(OTHERS)}
        work = Measuring(self.seen, measure)
        kept = self.lab.measured(f"{what} {self.model.name}", about, self.dataset, numbers, work)
        found: dict[tuple[str, str], dict[int, float]] = {}
        for each in kept:
            for name in [name for name in each if name not in ABOUT]:
                found.setdefault((each["method"], name), {})[each["number"]] = each[name]
        return {
            (method, name): summary([values.get(each, np.nan) for each in numbers], self._evidence(method, numbers))
            for (method, name), values in found.items()
        }

    def _evidence(self, method: str, numbers: Sequence[int]) -> list[float]:
        some = [each.explanation for each in self.seen[method] if each.rows[0]["number"] in numbers]
        return [float(v) for e in some for v in e.evidence[0]]


@EXPERIMENTS("faithfulness", title="Faithfulness to the network", section="5.3", minutes=5)
def faithfulness(lab: Lab) -> Result:
    """Whether maps are high where covering the picture costs most, and other measures of whether the score needs it."""
    dataset = lab.dataset()
    few, costly = lab.numbers(dataset, 8, 2), lab.numbers(dataset, 24, 3)
    numbers = lab.numbers(dataset, 80, 10)
    rows: list[Row] = []
    figures: dict[tuple[str, str], Summary] = {}
    networks = lab.networks(*NETWORKS)
    every = [maps_of(lab, model, dataset, numbers) for model in networks]
    for maps in every:
        found = maps.measured("correlation", correlated, numbers)
        figures |= {(maps.model.name, method): figure for (method, _), figure in found.items()}
        rows += [_row(maps.model, method, CORRELATION, figure) for (method, _), figure in found.items()]
    first = maps_of(lab, networks[0], dataset, costly, "first")
    varied = every[0].measured("sweep", swept, few) | first.measured("first", of_first, few)
    rows += [_row(networks[0], method, CORRELATION, figure, way) for (method, way), figure in varied.items()]
    beside = replace(first, seen=with_baselines(first.seen)).measured("others", otherwise, costly)
    rows += [_row(networks[0], method, measure, figure) for (method, measure), figure in beside.items()]
    verdicts = _verdicts(figures, [model.name for model in networks])
    settings = {"patch": "32 of 224 pixels, every 16", "fill": "mean colour"}
    return Result(rows, verdicts, _sections(rows, verdicts, every[0], numbers), settings)


def maps_of(lab: Lab, model: Model, dataset: Dataset, numbers: Sequence[int], ask: str = "labels") -> Maps:
    """The maps of every class that is in a picture, or that is predicted ``first``, by all the methods that apply."""
    seen = {
        method: list(lab.seen(model, method, dataset, numbers, ask)) for method in lab.fitting(model, METHODS, dataset)
    }
    return Maps(lab, model, dataset, seen, ask)


def correlated(e: Explanation) -> dict[str, float]:
    """The correlation with occlusion, the mean over the classes of a picture."""
    return {CORRELATION: float(occlusion_correlation(e).mean())}


def swept(e: Explanation) -> dict[str, float]:
    """The same with patches of other sizes, with our patch under other fills, and cell by cell."""
    side, found = min(e.input_sizes[0]), {}
    for size, fill in [*((size, "mean") for size in PATCHES), *((32, fill) for fill in FILLS if fill != "mean")]:
        patch = max(2, round(side * size / 224))
        values = occlusion_correlation(e, patch=patch, stride=max(1, patch // 2), fill=fill)
        found[f"{size} of 224 pixels, {fill}"] = float(values.mean())
    return {**found, MAP_LEVEL: float(occlusion_correlation(e, cells=CELLS).mean())}


def of_first(e: Explanation) -> dict[str, float]:
    """The same of the class that is predicted first."""
    return {FIRST: float(occlusion_correlation(e).mean())}


def otherwise(e: Explanation) -> dict[str, float]:
    """Deletion, insertion, average drop, increase and ROAD."""
    return {name: float(metric(e).mean()) for name, (metric, _) in OTHERS.items()}


def with_baselines(seen: Mapping[str, Sequence[Seen]]) -> dict[str, list[Seen]]:
    """The maps by method, and for the same pictures and classes such as know nothing."""
    some = next(iter(seen.values()))
    nothing = {
        name: [replace(each, explanation=instead(each.explanation)) for each in some]
        for name, instead in KNOW_NOTHING.items()
    }
    return {**{method: list(kept) for method, kept in seen.items()}, **nothing}


# -------------------------------------------------------------------------------------------- what is said of it


def _row(model: Model, method: str, measure: str, figure: Summary, patch: str = "") -> Row:
    paper = paper_of(PAPER, model.name, method) if measure == CORRELATION and not patch else None
    return row(method, figure, paper, network=model.name, measure=measure, patch=patch)


def _verdicts(figures: Mapping[tuple[str, str], Summary], networks: Sequence[str]) -> list[Verdict]:
    own = {method: figure for (network, method), figure in figures.items() if network == networks[0]}
    with_cam = [network for network in networks if (network, "cam") in figures]
    own |= {"cam": figures[with_cam[0], "cam"]} if with_cam else {}
    claims = {
        "Guided Grad-CAM agrees with occlusion at least as well as Grad-CAM": ["guided-grad-cam", "grad-cam"],
        "Grad-CAM agrees better than c-MWP, and that better than guided backprop": [
            "grad-cam",
            "c-mwp",
            "guided-backprop",
        ],
        "Grad-CAM agrees better than CAM, and that better than guided backprop": ["grad-cam", "cam", "guided-backprop"],
    }
    return [claim(words, own, order) for words, order in claims.items() if set(order) <= set(own)]


def _sections(rows: Sequence[Row], verdicts: Sequence[Verdict], maps: Maps, numbers: Sequence[int]) -> list[Section]:
    columns = {"name": "method", "network": "network"}
    main = [each for each in where(rows, measure=CORRELATION, patch="")]
    names = [f"{each['network'].removeprefix('scenes:')}: {each['name']}" for each in main]
    words = (
        "Spearman's correlation, over patches of 32 of 224 pixels every 16, of a map's mean in each with how much the "
        "score falls when it shows the mean colour; every class that is in a picture, the mean of these."
    )
    chart = Figures([Figure(dots(main, CORRELATION, names), CORRELATION.capitalize())], 1)
    swept_rows = [each for each in where(rows, measure=CORRELATION) if each["patch"]]
    parts = [
        Section("What the paper claims, here", *verdicts),
        Section("Pictures", _gallery(maps, numbers)),
        Section("Rank correlation with occlusion", words, chart, table(main, columns, "correlation", share=False)),
        Section("Other choices", VARIED, _by(swept_rows, "patch", f"On {maps.model.name}, on fewer pictures.")),
        Section(
            "Other measures", _others_words(), _by([each for each in rows if each["measure"] in OTHERS], "measure", "")
        ),
    ]
    return [*parts, *([Section("What does not go together", *refused(maps.lab.refused))] if maps.lab.refused else [])]


def _others_words() -> str:
    better = ", ".join(f"{name} ({which} is better)" for name, (_, which) in OTHERS.items())
    return (
        f"{better}, of the class that the network predicts first, whatever is in the picture. `random` and `centre` "
        "know nothing of the network: what they get is what a measure gives for nothing."
    )


def _by(rows: Sequence[Row], key: str, caption: str) -> Table:
    """A line for each method, and a column for each value of ``key``."""
    heads = list(dict.fromkeys(each[key] for each in rows))
    cells: list[Any] = []
    for name in dict.fromkeys(each["name"] for each in rows):
        cells.append([name, *(cell(own, False) for head in heads for own in where(rows, **{"name": name, key: head}))])
    n = max((each["n"] for each in rows), default=0)
    return Table(["method", *heads], cells, f"{caption} n = {n}. Brackets: bootstrap 95 % intervals.".strip())


def _gallery(maps: Maps, numbers: Sequence[int]) -> Figures:
    def draw(name: str, each: Seen) -> Figure:
        label = each.explanation.targets[0][0]
        note = "" if name == "occlusion" else f"correlation {float(occlusion_correlation(each.explanation)[0, 0]):.2f}"
        return drawn(each, 0, None, (), note, f"{name}: {label}")

    measured = list(maps.lab.seen(maps.model, "occlusion", maps.dataset, numbers[:2]))
    words = "Left how much the score falls when a patch is covered; then the maps, and their correlation with it."
    return gallery({"occlusion": measured, **maps.seen}, draw, 2, "", words)
