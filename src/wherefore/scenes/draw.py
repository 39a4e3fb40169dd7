"""Drawing: a world becomes a picture, and a raster that says of every pixel what it shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from wherefore.scenes.world import World

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Patch:
    """One drawn shape in words; empty where there is nothing to say."""

    owner: int  # the number of the thing that it belongs to, -1 for the backdrop
    object: str  # car, dog; sky, grass, water
    part: str  # wheel, tail, roof
    material: str
    colour: str
    texture: str


@dataclass(frozen=True)
class Drawing:
    """A picture, and what every pixel of it shows."""

    pixels: Array  # (H, W, 3) uint8
    raster: Array  # (H, W) uint16: numbers of patches
    patches: tuple[Patch, ...]
    whole: tuple[int, ...]  # how many pixels of each thing were drawn, before others were drawn over it


def draw(world: World, size: int) -> Drawing:
    """The picture of a world at ``size`` x ``size`` pixels."""
    raise NotImplementedError
