"""What is asked of a shipped network directly: its classes, its scores, the names that it puts first."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from wherefore.scenes import Scene
from wherefore.types import Model


def classes(model: Model) -> list[str]:
    """The names of a network's classes."""
    assert model.classes is not None, f"{model.name} has no names for its classes"
    return list(model.classes)


def indices(model: Model, scenes: Sequence[Scene]) -> list[list[int]]:
    """The class indices of the things in each scene, in the order of its labels."""
    return [[classes(model).index(label) for label in each.labels] for each in scenes]


def scores(model: Model, pictures: Sequence[Image.Image]) -> Tensor:
    """The scores ``(B, C)`` of pictures."""
    assert model.preprocess is not None
    with torch.inference_mode():
        found: Tensor = model.net(torch.stack([model.preprocess(picture) for picture in pictures]))
    return found


def names_first(model: Model, picture: Image.Image, count: int) -> list[tuple[str, float]]:
    """The names with the highest scores, the highest first, each with its probability by itself."""
    values, order = scores(model, [picture])[0].sigmoid().topk(count)
    return [(classes(model)[i], p) for i, p in zip(order.tolist(), values.tolist(), strict=True)]
