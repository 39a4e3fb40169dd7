"""Grad-CAM at every layer, and with one of its choices made otherwise: figures 13, 14, 15, 16 and 22."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from PIL import Image

from wherefore import tiling
from wherefore.drawing import PAPER
from wherefore.experiments.layers import layers_of
from wherefore.explainer import Explainer
from wherefore.figures.choice import Choice, Taken, fit
from wherefore.figures.classes import TARGETS, labelled, several
from wherefore.figures.sheets import SMALL, Drawing, Sheet, laid, mapped, of_panel, photo
from wherefore.panels import panel
from wherefore.registry import FIGURES
from wherefore.ways import by_layer

TAKES = ("images", "models", "weights", "targets", "data")
TILE, MOST = 200, 9  # pixels of a layer's map in a sheet of stages, and how many tiles stand in a row
LAYERS = "From the first layer to the last, each through which all that is computed passes; all explain one score."
POOLINGS = {"Global average pooling": "mean", "Global max pooling": "max"}
RULES = {"Gradients as they are": "plain", "Guided ReLUs": "guided", "Deconvolution ReLUs": "deconv"}


@FIGURES(
    "13", title="Grad-CAM from the first layer to the last", section="B.1", networks=("scenes:vgg",), data="pair",
    count=1, seconds=1, takes=TAKES,
)  # fmt: skip
def figure_13(choice: Choice) -> Drawing:
    """One class at each rectified convolutional layer: how detail of early layers becomes evidence for a class."""
    return Drawing([_swept(choice, taken) for taken in labelled(choice)], [TARGETS, LAYERS])


@FIGURES(
    "14", title="Grad-CAM from the first layer to the last, on a second network", section="B.1",
    networks=("scenes:alexnet",), data="pair", count=1, seconds=1, takes=TAKES,
)  # fmt: skip
def figure_14(choice: Choice) -> Drawing:
    """One class at each rectified convolutional layer, on a network that is less deep."""
    return Drawing([_swept(choice, taken) for taken in labelled(choice)], [TARGETS, LAYERS])


def _swept(choice: Choice, taken: Taken) -> Sheet:
    """A tile for each layer."""
    model = choice.network
    ways = by_layer(model, taken.picture, "sweep", fit=fit(model))
    return of_panel(panel(ways, taken.picture, choice.targets(model, taken, 1)), taken.sample)


@FIGURES(
    "15", title="average and max pooling of gradients", section="B.2", networks=("scenes:vgg",), data="pair", count=2,
    seconds=1, takes=TAKES,
)  # fmt: skip
def figure_15(choice: Choice) -> Drawing:
    """Grad-CAM whose weights are the mean of a channel's gradients, beside one whose weights are the largest."""
    return _changed(choice, lambda name: {"pooling": POOLINGS[name]}, list(POOLINGS))


@FIGURES(
    "16", title="other rules at the ReLUs above the layer", section="B.3", networks=("scenes:vgg",), data="pair",
    count=2, seconds=1, takes=TAKES,
)  # fmt: skip
def figure_16(choice: Choice) -> Drawing:
    """Grad-CAM with the gradient itself, and with what guided backprop and deconvolution make of it."""
    with warnings.catch_warnings(record=True) as said:
        warnings.filterwarnings("always", message=r"the \w+ rule meets no ReLU")
        drawing = _changed(choice, lambda name: {"backward": RULES[name]}, list(RULES))
    met = [str(each.message) for each in said if "meets no ReLU" in str(each.message)]
    words = [*drawing.words, *([f"Here they change nothing: {met[0]}"] if met else [])]
    return Drawing(drawing.sheets, words)


def _changed(choice: Choice, options: Callable[[str], dict[str, Any]], names: list[str]) -> Drawing:
    """A tile for each choice, a block for each class."""
    model = choice.network
    ways = {name: choice.why(model, "grad-cam", **options(name)) for name in names}
    sheets = [
        of_panel(panel(ways, taken.picture, choice.targets(model, taken, 2)), taken.sample) for taken in several(choice)
    ]
    return Drawing(sheets, [TARGETS])


@FIGURES(
    "22", title="Grad-CAM block by block", section="G", networks=("scenes:resnet",), data="pair", count=1,
    seconds=2, takes=TAKES,
)  # fmt: skip
def figure_22(choice: Choice) -> Drawing:
    """Two classes at every residual block, stage by stage: maps change most where a stage begins."""
    model = choice.network
    names, stages = layers_of(model)
    ways = {name: Explainer(model, "grad-cam", name, fit=fit(model)) for name in names}
    sheets = [_by_stage(choice, taken, ways, stages) for taken in several(choice)]
    words = (
        "A block for each stage, which is all layers of one grid; in it all blocks for one class, then for the next. "
        "The paper's network is ResNet-200: `--model preact:resnet200 --weights FILE`."
    )
    return Drawing(sheets, [TARGETS, words])


def _by_stage(choice: Choice, taken: Taken, ways: dict[str, Explainer], stages: list[str]) -> Sheet:
    """The maps at each layer, in a block for each stage; in it a row, or several, for each class."""
    found = panel(ways, taken.picture, choice.targets(choice.network, taken, 2))
    columns = min(MOST, 1 + max(stages.count(stage) for stage in stages))
    blocks = []
    for stage in dict.fromkeys(stages):
        here = [name for name, own in zip(ways, stages, strict=True) if own == stage and name in found.explanations]
        tiles: list[Image.Image] = []
        for t, target in enumerate(found.first.targets[0]):
            tiles += _filled(tiles, columns)
            tiles.append(photo(taken.picture, target, found.first.score_text(0, t), TILE, SMALL))
            for name in here:
                e = found.explanations[name]
                tiles.append(tiling.tile(mapped(e, t, TILE), name, e.evidence_text(0, t), SMALL))
        blocks.append(tiling.Block(f"Stage {stage}", f"{taken.picture.title}, {found.first.model.name}", tiles))
    return Sheet(taken.picture.title, laid(blocks, columns, SMALL), found.ways, taken.sample)


def _filled(tiles: list[Image.Image], columns: int) -> list[Image.Image]:
    """Empty tiles, so that the next one begins a row."""
    return [Image.new("RGB", tiles[0].size, PAPER)] * (-len(tiles) % columns) if tiles else []
