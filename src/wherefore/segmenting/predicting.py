"""What segmentation networks predict, at a picture's own size, and how often they are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from wherefore.datasets import Array, Sample
from wherefore.errors import Error
from wherefore.metrics.segmentation import confusion
from wherefore.progress import track
from wherefore.segmenting.crf import refined
from wherefore.segmenting.pictures import fed, squashed
from wherefore.segmenting.recipes import Recipe


class Predicted(NamedTuple):
    """The classes ``(R, H, W)`` that R networks predict, without and with the CRF, and which CRF it was."""

    plain: Array
    crf: Array
    by: str


def predicted(nets: Sequence[nn.Module], image: Image.Image, recipe: Recipe) -> Predicted:
    """What each of some networks sees in a picture: 0 background, 1 + class, at the picture's own size.

    Probabilities are stretched bilinearly before the largest is taken.
    """
    device = next(nets[0].parameters()).device
    pixels = torch.tensor(squashed(image, recipe.shape.side), device=device).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        x = fed(pixels, recipe, recipe.shape.side)
        p = torch.cat([net(x) for net in nets]).softmax(1)
        large = F.interpolate(p, (image.height, image.width), mode="bilinear", align_corners=False)
        q, by = refined(p, image, recipe.native)
    return Predicted(_classes(large), _classes(q), by)


def _classes(p: Tensor) -> Array:
    found: Array = p.argmax(1).to(torch.uint8).cpu().numpy()
    return found


class Counted(NamedTuple):
    """Confusion matrices ``(N, R, C, C)`` of N pictures and R networks, without and with the CRF, and which CRFs."""

    plain: Array
    crf: Array
    by: Sequence[str]


def counted(nets: Sequence[nn.Module], samples: Sequence[Sample], classes: int, recipe: Recipe) -> Counted:
    """How often each of some networks predicts each of ``classes`` (background among them) for each, by picture.

    Raises `Error` for a picture that was not annotated.
    """
    plain, crf, by = [], [], set()
    for sample in track(samples, len(samples), "predicting"):
        truth = sample.segmentation
        if truth is None:
            raise Error(f"{sample.name} has no segmentation: give a data set that says what each pixel shows.")
        found = predicted(nets, sample.image, recipe)
        plain.append([confusion(each, truth, classes) for each in found.plain])
        crf.append([confusion(each, truth, classes) for each in found.crf])
        by.add(found.by)
    return Counted(np.array(plain), np.array(crf), sorted(by))
