"""Explanations of given maps, and samples with given things, for the tests of metrics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

import wherefore as wf
from fixtures_doors import Brightness, photo
from wherefore.datasets import Instance, Sample
from wherefore.explanation import Explanation
from wherefore.subjects import Picture


def rectangle(size: tuple[int, int], box: Sequence[int]) -> np.ndarray:
    """A mask ``(H, W)`` of bool that is true in a box with inclusive corners."""
    mask = np.zeros(size[::-1], bool)
    mask[box[1] : box[3] + 1, box[0] : box[2] + 1] = True
    return mask


def thing(category: str, box: Sequence[int], mask: np.ndarray | None = None, **flags: bool) -> Instance:
    return Instance(category, tuple(box), None if mask is None else (lambda: mask), **flags)


def sampled(size: tuple[int, int], *things: Instance, image: Image.Image | None = None, boxed: bool = True) -> Sample:
    picture = image or photo(*size)
    labels = tuple(dict.fromkeys(each.category for each in things))
    return Sample("photo", lambda: picture, labels, things, boxed=boxed)


def explained(
    maps: torch.Tensor,
    samples: Sequence[Sample],
    targets: Sequence[Sequence[str]],
    region: tuple[float, float, float, float] | None = None,
    model: wf.Model | None = None,
    scores: torch.Tensor | None = None,
) -> Explanation:
    """The explanation of samples that has these maps ``(B, T, h, w)``; they lie on the whole picture, or a region."""
    shape = maps.shape[:2]
    whole = [(0.0, 0.0, float(sample.size[0]), float(sample.size[1])) for sample in samples]
    pictures = [Picture(s.name, s.image, region or all_of_it) for s, all_of_it in zip(samples, whole, strict=True)]
    return Explanation(
        maps=maps,
        scores=torch.zeros(shape) if scores is None else scores,
        targets=[list(names) for names in targets],
        classes=torch.arange(shape[1]).expand(shape),
        probabilities=torch.full(shape, 0.5),
        pictures=pictures,
        input_sizes=[sample.size[::-1] for sample in samples],
        model=model or wf.Model(Brightness(), name="toy"),
        settings={"version": "0", "method": "grad-cam", "layer": "cells", "fit": "squash", "options": {}},
    )


def at_pixels(mask: np.ndarray) -> torch.Tensor:
    """A map with a cell for each pixel, ``(1, 1, H, W)``: 1 where the mask is true."""
    return torch.from_numpy(mask.astype(np.float32))[None, None]
