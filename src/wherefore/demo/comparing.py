"""The second half of the story: other heads, other layers, a mistake, all methods at once, and how to go on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from wherefore.demo.cast import Cast
from wherefore.demo.measures import pointing, share
from wherefore.demo.networks import classes, indices, names_first
from wherefore.demo.pictures import in_words, map_figure, scene_figure
from wherefore.explainer import Explainer, explain
from wherefore.pages import Command, Commands, Figure, Figures, Section, Table, Verdict
from wherefore.panels import panel
from wherefore.registry import METHODS
from wherefore.scenes import Scene
from wherefore.types import Model
from wherefore.ways import by_method

STAGES = {"stem": 48, "layer1": 48, "layer2": 24, "layer3": 12}  # of scenes:resnet
NOT_SHOWN = ("cam",)  # vgg's head rules it out


def generalises(cast: Cast) -> Section:
    """CAM and Grad-CAM on a network whose head allows both: how far they differ."""
    model, scene = cast.network("googlenet"), cast.shown[0]
    apart = [_difference(model, each) for each in cast.pairs]
    rows = []
    for t, name in enumerate(scene.labels):
        maps = [explain(model, scene.image, indices(model, [scene]), method=m) for m in ("cam", "grad-cam")]
        figures = [map_figure(e, 0, t, scene, f"{way}: {name}") for e, way in zip(maps, ("CAM", "Grad-CAM"), strict=True)]
        rows.append(Figures(figures, 2))
    return Section(
        "CAM is a special case",
        "CAM needs a head of average pooling and one linear layer, and reads its weights. Grad-CAM takes the gradient, "
        "and so explains any head. Where both exist, as on `scenes:googlenet`, they are the same map, but for CAM's "
        "negative part and a constant factor: the number of places that the pooling averages over.",
        *rows,
        Verdict(
            "Where CAM exists, Grad-CAM is CAM.",
            max(apart) < 1e-3,
            f"On {cast.count} scenes, both names asked, no place of the maps differs by more than "
            f"{max(apart):.0e} of its map's maximum.",
        ),
    )  # fmt: skip
