"""Grad-CAM from the first layer to the last: section G, Fig. 13, 14 and 22 of the paper (protocols: section M).

A stage is all layers of one grid. Localization and energy are measured on pictures with boxes, the separation of
classes on those that show several, the similarity of neighbouring layers at the network's input resolution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wherefore import tiling
from wherefore.batch.maps import Seen
from wherefore.datasets import Array, Dataset
from wherefore.experiments.charts import curves
from wherefore.experiments.lab import Lab
from wherefore.experiments.result import Result
from wherefore.experiments.showing import drawn
from wherefore.experiments.tables import Row, cell, claim, need, row, where
from wherefore.explainer import Explainer
from wherefore.layers import sweep
from wherefore.metrics.agreement import adjacent_similarity, class_separation, within_and_across
from wherefore.metrics.energy import area_box, energy_box
from wherefore.metrics.localization import box_right
from wherefore.metrics.summary import Summary, summary
from wherefore.models.preact import PreactResNet, rectified
from wherefore.pages import Figure, Figures, Section, Table, Verdict
from wherefore.registry import EXPERIMENTS
from wherefore.types import Model

METHOD = "grad-cam"
NETWORKS = ("vgg", "alexnet", "resnet")
ACCURACY, ENERGY, SEPARATION, SIMILARITY = "localization", "energy in the box", "class separation", "similarity"
WORDS = {
    ACCURACY: "How often the box of the map is right, the class known (15 % of the maximum, an IoU of at least 0.5).",
    ENERGY: "The share of a map's evidence inside of the object's box.",
    SEPARATION: "How unlike the maps of the classes of a picture are: 1 less their rank correlation.",
    SIMILARITY: "The rank correlation of the maps of one layer and the next.",
}
TILE, ACROSS = 150, 6  # pixels of the maps that are shown, and how many stand in a row


@dataclass(frozen=True)
class Depth:
    """What was found of a network: its layers, the stage of each, and values ``(layers, pictures)`` of every measure.

    Those of similarity are of neighbours, ``(layers - 1, pictures)``. ``empty``: how many maps of a layer are without
    evidence. ``even`` ``(pictures,)``: the energy in the box of a map that is the same everywhere. ``shown``: one
    picture at every layer.
    """

    model: Model
    layers: Sequence[str]
    stages: Sequence[str]
    values: dict[str, Array]
    empty: Sequence[int]
    even: Array
    shown: Sequence[Seen]

    def figure(self, measure: str, layer: int) -> Summary:
        """The figure of one layer, or of it and the next."""
        return summary(self.values[measure][layer], np.zeros(self.empty[layer]))

    def by_stage(self, measure: str) -> dict[str, Summary]:
        """The figures of the stages, each the mean over its layers in every picture; the deepest first."""
        stages = np.array(self.stages)
        return {
            stage: summary(self.values[measure][stages == stage].T) for stage in dict.fromkeys(reversed(self.stages))
        }

    def neighbours(self) -> dict[str, Summary]:
        """How alike neighbouring layers are within stages, and where one ends."""
        parts = within_and_across(torch.from_numpy(self.values[SIMILARITY]), self.stages)
        return {name: summary(list(part)) for name, part in zip(("within stages", "across stages"), parts, strict=True)}


@EXPERIMENTS("layers", title="Grad-CAM at every layer", section="G, Fig. 13, 14 and 22", minutes=2)
def layers(lab: Lab) -> Result:
    """How localization and the separation of classes change from layer to layer, and where maps change abruptly."""
    some = [(dataset, lab.numbers(dataset, 120, 16)) for dataset in (lab.dataset("single"), lab.dataset("pair"))]
    found = [depth_of(lab, model, *some) for model in lab.networks(*NETWORKS)]
    rows = [each for depth in found for each in _rows(depth)]
    verdicts = [each for depth in found for each in _verdicts(depth)]
    return Result(rows, verdicts, _sections(found, rows, verdicts), {"share of the maximum": 0.15, "least IoU": 0.5})


def depth_of(
    lab: Lab, model: Model, single: tuple[Dataset, Sequence[int]], pair: tuple[Dataset, Sequence[int]]
) -> Depth:
    """What is found of a network's layers on pictures of one thing, and on those of several."""
    names, stages = layers_of(model)
    here, apart = (
        _pictures([list(lab.seen(model, METHOD, *part, layer=name)) for name in names]) for part in (single, pair)
    )
    alike = [adjacent_similarity([each.explanation for each in column]).flatten(1).mean(1) for column in here]
    values = {
        ACCURACY: _values(here, lambda each: box_right(each.explanation, [each.sample])),
        ENERGY: _values(here, lambda each: energy_box(each.explanation, [each.sample])),
        SEPARATION: _values(apart, lambda each: class_separation(each.explanation, [each.sample])),
        SIMILARITY: torch.stack(alike, 1).numpy(),
    }
    empty = [sum(int((each.explanation.evidence <= 0).sum()) for each in layer) for layer in zip(*here, strict=True)]
    even = _values([column[:1] for column in here], lambda each: area_box(each.explanation, [each.sample]))[0]
    shown = next((column for column in apart if len(column[0].rows) > 1), apart[0])
    return Depth(model, names, stages, values, empty, even, shown)


def layers_of(model: Model) -> tuple[list[str], list[str]]:
    """The layers of a network that are compared, in their order, and the stage of each.

    A block of a pre-activation network is explained behind the norm and the ReLU that follow.
    """
    why = Explainer(model, METHOD, fit="squash")
    if isinstance(why.net, PreactResNet):
        behind = rectified(why.net)
        return list(behind.values()), [block.split(".")[0] for block in behind]
    net, images = why.fed(why.reader.example())
    found = sweep(net, images, lambda output: why.choose(0, output))
    return [each.name for each in found], ["x".join(map(str, each.grid.size)) for each in found]


def _pictures(kept: Sequence[Sequence[Seen]]) -> list[list[Seen]]:
    """What was seen of each picture at every layer, without the pictures that failed at one; each decoded once."""
    by_name = [{each.sample.name: each for each in layer} for layer in kept]
    columns = [[layer[name] for layer in by_name] for name in by_name[0] if all(name in layer for layer in by_name)]
    need(columns, "no picture of the data shows a class of the network at every layer: take other data, or more of it.")
    return [[_with(each, column[0]) for each in column] for column in columns]


def _with(each: Seen, first: Seen) -> Seen:
    return replace(
        each, sample=first.sample, explanation=replace(each.explanation, pictures=first.explanation.pictures)
    )


def _values(columns: Sequence[Sequence[Seen]], metric: Callable[[Seen], Tensor]) -> Array:
    """The values of a metric, ``(layers, pictures)``: the mean over the classes of each picture."""
    return np.array([[float(metric(each).nanmean()) for each in column] for column in columns]).T


# -------------------------------------------------------------------------------------------- what is said of it


def _rows(depth: Depth) -> list[Row]:
    def of(figure: Summary, measure: str, layer: str, stage: str, name: str = METHOD) -> Row:
        return row(name, figure, None, network=depth.model.name, measure=measure, layer=layer, stage=stage)

    found = [
        of(depth.figure(measure, i), measure, layer, stage)
        for measure in (ACCURACY, ENERGY, SEPARATION)
        for i, (layer, stage) in enumerate(zip(depth.layers, depth.stages, strict=True))
    ]
    pairs = zip(pairwise(depth.layers), pairwise(depth.stages), strict=True)
    found += [
        of(depth.figure(SIMILARITY, i), SIMILARITY, " to ".join(two), " to ".join(dict.fromkeys(stages)))
        for i, (two, stages) in enumerate(pairs)
    ]
    found += [of(figure, SIMILARITY, "", where) for where, figure in depth.neighbours().items()]
    return [*found, of(summary(list(depth.even)), ENERGY, "", "", "even map")]


def _verdicts(depth: Depth) -> list[Verdict]:
    name, found = depth.model.name, []
    accuracy, separation = depth.by_stage(ACCURACY), depth.by_stage(SEPARATION)
    last, *others = accuracy
    if others and not np.isnan(depth.values[ACCURACY]).all():
        best = max(others, key=lambda stage: accuracy[stage].value)
        found.append(claim(f"On {name}, the last stage localizes best", accuracy, [last, best]))
    if all(figure.n for figure in depth.neighbours().values()):
        words = f"On {name}, maps change more from layer to layer where a stage ends than within one"
        found.append(claim(words, depth.neighbours(), list(depth.neighbours())))
    if others and not np.isnan(depth.values[SEPARATION]).all():
        found.append(
            claim(
                f"On {name}, every stage tells classes apart better than the one before", separation, list(separation)
            )
        )
    return found


def _sections(found: Sequence[Depth], rows: Sequence[Row], verdicts: Sequence[Verdict]) -> list[Section]:
    parts = [Section("What the paper claims, here", *verdicts)]
    for depth in found:
        sheet = Figures([Figure(_sheet(depth), _words(depth))], 1)
        chart = Figures([Figure(_chart(depth), "Over depth: dotted lines are where a stage begins.")], 1)
        parts.append(Section(depth.model.name, chart, sheet, _table(depth, where(rows, network=depth.model.name))))
    return parts


def _chart(depth: Depth) -> Image.Image:
    places = [float(i + 1) for i in range(len(depth.layers))]
    lines, bands = {}, {}
    for measure, values in depth.values.items():
        figures = [depth.figure(measure, i) for i in range(len(values))]
        name, xs = measure, places
        if measure == SIMILARITY:
            name, xs = f"{measure} of neighbours", [place + 0.5 for place in places[:-1]]
        lines[name] = xs, [figure.value for figure in figures]
        bands[name] = [figure.low for figure in figures], [figure.high for figure in figures]
    begins = [(i + 0.5, stage) for i, stage in enumerate(depth.stages) if stage not in depth.stages[:i]]
    return curves(lines, "layer", "", begins, bands)


def _sheet(depth: Depth) -> Image.Image:
    """The maps of one picture, a block for each stage: of one class all layers, then of the next."""
    blocks = []
    for stage in dict.fromkeys(depth.stages):
        here = [i for i, own in enumerate(depth.stages) if own == stage]
        tiles = [_tile(depth.shown[i], target, depth.layers[i]) for target in _targets(depth) for i in here]
        blocks.append(tiling.Block(f"Stage {stage}", "", tiles))
    return tiling.page(blocks, ACROSS)


def _targets(depth: Depth) -> range:
    return range(min(2, len(depth.shown[0].rows)))


def _tile(seen: Seen, target: int, layer: str) -> Image.Image:
    picture = drawn(seen, target).picture
    picture.thumbnail((TILE, TILE))
    return tiling.tile(picture, layer, seen.explanation.targets[0][target])


def _words(depth: Depth) -> str:
    names = [depth.shown[0].explanation.targets[0][target] for target in _targets(depth)]
    return f"{depth.shown[0].sample.name}: Grad-CAM for {' and '.join(names)} at every layer; the ring is the peak."


def _table(depth: Depth, rows: Sequence[Row]) -> Table:
    """A line for each layer, with the figures of all measures; similarity is that with the next layer."""
    header = ["layer", "grid or stage", ACCURACY, ENERGY, SEPARATION, "similarity with the next"]
    cells = []
    for i, (layer, stage) in enumerate(zip(depth.layers, depth.stages, strict=True)):
        own = [each for measure in (ACCURACY, ENERGY, SEPARATION) for each in where(rows, measure=measure, layer=layer)]
        alike = where(rows, measure=SIMILARITY)[i] if i + 1 < len(depth.layers) else None
        cells.append([layer, stage, *(cell(r, False) for r in own), cell(alike, False) if alike else ""])
    words = " ".join(f"{measure.capitalize()}: {WORDS[measure]}" for measure in WORDS)
    even = f" The energy of a map that is even: {summary(list(depth.even)).value:.3f}."
    empty = f" Maps without evidence: {sum(depth.empty)} of {len(depth.layers) * depth.values[ACCURACY].shape[1]}."
    return Table(header, cells, f"{words}{even}{empty} Brackets: bootstrap 95 % intervals over pictures (1,000 draws).")
