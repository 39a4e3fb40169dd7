"""The networks that seeds come from, and the seeds that they give: by Grad-CAM and by CAM, on one recipe.

Grad-CAM   of a standard VGG classifier (Selvaraju et al. 2020, section 4.2)
CAM        of a network with a fine grid and an average over it (Kolesnikov & Lampert 2016)
background of a VGG classifier's gradients, the same for both
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from wherefore.datasets import Array
from wherefore.explainer import Explainer
from wherefore.progress import track
from wherefore.segmenting.networks import BackgroundNet, CamNet, begun, conv_names, stage_start
from wherefore.segmenting.pictures import fed, taken
from wherefore.segmenting.recipes import Recipe
from wherefore.segmenting.seeds import background, class_maps, foreground, saliency, together
from wherefore.segmenting.training import classifying, fit
from wherefore.training.data import Pictures
from wherefore.types import Model

Say = Callable[[str], None]
METHODS = ("grad-cam", "cam")
BATCH = 50  # pictures whose seeds are found at once


class Cues(NamedTuple):
    """The three networks of seeds, in eval mode."""

    classifier: nn.Module
    cam: nn.Module
    background: nn.Module


def cue_networks(
    recipe: Recipe,
    pictures: Pictures,
    classes: Sequence[str],
    start: Model,
    folder: Path,
    say: Say = print,
) -> Cues:
    """The networks of seeds, trained on pictures and their labels; checkpoints lie in ``folder``.

    They begin with the network ``start``. One that knows the classes already is classifier and background network as it
    stands.
    """
    first, device = start.net, next(start.net.parameters()).device

    def trained(net: nn.Module, name: str, side: int) -> nn.Module:
        objective, path = classifying(pictures, recipe, side), folder / f"{name}.checkpoint.pt"
        return fit(net.to(device), objective, len(pictures), recipe.cues, path, say=say)

    torch.manual_seed(0)
    cam = trained(begun(CamNet(recipe.shape, len(classes)), first), "cam", recipe.shape.side)
    if list(start.classes or []) == list(classes):
        return Cues(first, cam, first)
    behind = trained(begun(BackgroundNet(recipe.shape, len(classes)), first), "background", recipe.shape.side)
    return Cues(trained(_with_outputs(first, len(classes)), "classifier", recipe.seen), cam, behind)


def _with_outputs(net: nn.Module, classes: int) -> nn.Module:
    """A copy of a VGG with a new last layer for other classes."""
    copy = deepcopy(net)
    last = [m for m in copy.modules() if isinstance(m, nn.Linear)][-1]
    fresh = nn.Linear(last.in_features, classes)
    nn.init.normal_(fresh.weight, std=0.01)
    nn.init.zeros_(fresh.bias)
    copy.get_submodule("classifier")[-1] = fresh.to(last.weight.device)  # type: ignore[operator]
    return copy


def seeded(cues: Cues, pictures: Pictures, recipe: Recipe) -> dict[str, Array]:
    """The seeds ``(N, grid, grid)`` of all pictures by each method, from pictures and labels alone."""
    shape, device = recipe.shape, next(cues.cam.parameters()).device
    grad_cam, cam = Explainer(Model(cues.classifier), "grad-cam"), Explainer(Model(cues.cam), "cam", "extra")
    layer = conv_names(cues.background)[stage_start(shape)]
    found: dict[str, list[Array]] = {name: [] for name in METHODS}
    starts = range(0, len(pictures), BATCH)
    for start in track(starts, len(starts), "finding seeds"):
        rows = np.arange(start, min(start + BATCH, len(pictures)))
        pixels, here = taken(pictures, rows, device), pictures.labels[rows]
        behind = [background(each) for each in saliency(cues.background, layer, fed(pixels, recipe, shape.side))]
        for name, why, side in (("grad-cam", grad_cam, recipe.seen), ("cam", cam, shape.side)):
            maps = class_maps(why, fed(pixels, recipe, side), here, shape.grid)
            things = ({c: foreground(heat) for c, heat in each.items()} for each in maps)
            found[name] += [together(each, lowest) for each, lowest in zip(things, behind, strict=True)]
    return {name: np.stack(each) for name, each in found.items()}
