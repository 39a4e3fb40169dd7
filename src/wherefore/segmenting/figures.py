"""Segmentations as pictures: what was seeded, predicted and true, side by side."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping

import numpy as np
from PIL import Image

from wherefore.datasets import VOID, Array
from wherefore.tiling import tile

COVERED = 0.72  # how far a colour covers the picture
BACKGROUND, UNSAID = (70, 74, 84), (255, 255, 255)


def colour(number: int) -> tuple[int, int, int]:
    """The colour of a class, 1 and up: hues a golden angle apart; the 13th from one comes close to it and is darker."""
    red, green, blue = colorsys.hsv_to_rgb(number * 0.381966 % 1, 0.75, 0.95 if number % 26 < 13 else 0.6)
    return round(255 * red), round(255 * green), round(255 * blue)


def painted(picture: Image.Image, classes: Array) -> Image.Image:
    """A picture under the colours of its classes ``(h, w)``, of any resolution: background dark, void white."""
    colours = np.full((256, 3), UNSAID, np.float64)
    colours[0] = BACKGROUND
    colours[1:VOID] = [colour(number) for number in range(1, VOID)]
    marks = Image.fromarray(classes.astype(np.uint8)).resize(picture.size, Image.Resampling.NEAREST)
    covered = COVERED * colours[np.asarray(marks)] + (1 - COVERED) * np.asarray(picture.convert("RGB"), np.float64)
    return Image.fromarray(covered.round().astype(np.uint8))


def compared(picture: Image.Image, panels: Mapping[str, Array], name: str, side: int = 190) -> list[Image.Image]:
    """A picture and what each panel says of its classes, as tiles of one size with their names beneath."""
    pictures = {name: picture, **{title: painted(picture, classes) for title, classes in panels.items()}}
    return [
        tile(each.resize((side, side), Image.Resampling.LANCZOS if i == 0 else Image.Resampling.NEAREST), title)
        for i, (title, each) in enumerate(pictures.items())
    ]
