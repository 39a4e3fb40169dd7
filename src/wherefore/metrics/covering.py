"""Covering what a map marks, and as much elsewhere: does the score move as the map says?"""

from __future__ import annotations

from PIL import Image, ImageFilter
from torch import Tensor

STEPS = 8  # along each side, by which a map is moved
BLUR = 8  # the deviation is the width over this: things are beyond recognition


def above(heat: Tensor, least: float = 0.5) -> Tensor:
    """Where a map ``(H, W)`` is above a share of its maximum, of bool."""
    return heat >= least * heat.max()


def covered(picture: Image.Image, heat: Tensor, least: float = 0.5) -> Image.Image:
    """The picture, blurred beyond recognition where a map ``(H, W)`` of it is above a share of its maximum."""
    blurred = picture.filter(ImageFilter.GaussianBlur(picture.width / BLUR))
    return Image.composite(blurred, picture, Image.fromarray(above(heat, least).byte().mul(255).numpy()))


def elsewhere(heat: Tensor, things: Tensor) -> Tensor:
    """A map ``(H, W)`` moved, over the border and round, to where what is above half of it covers least of things.

    ``things`` ``(H, W)`` of bool. Of several such places it is the first, by eighths of the sides.
    """
    height, width = heat.shape
    steps = [(i * height // STEPS, j * width // STEPS) for i in range(STEPS) for j in range(STEPS) if i or j]
    moved = [heat.roll(step, (0, 1)) for step in steps]
    return min(moved, key=lambda each: int((above(each) & things).sum()))
