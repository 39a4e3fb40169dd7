"""Which part of a picture a preprocessing of unknown make shows to the network, found by sending ramps through it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wherefore.imaging import Frames, Preprocess, Region

TILT = 0.125  # how much of the other ramp each of the two holds


def region_seen(preprocess: Callable[[Any], Tensor], size: tuple[int, int]) -> Region:
    """The part of a picture of ``size`` that a preprocessing of unknown make shows to the network.

    Found by sending ramps through it: a picture that grows brighter along x, one that does along y, and black and
    white to undo the normalisation. Exact to about a tenth of a pixel, at worst half of one, for any crop, resize
    and padding; the whole picture for a preprocessing that is none of these.
    """
    if isinstance(preprocess, Frames):  # each is shown alike
        return region_seen(preprocess.preprocess, size)
    if isinstance(preprocess, Preprocess):
        return preprocess.region(size)
    width, height = size
    black, white = (preprocess(Image.new("RGB", size, colour)).double() for colour in ("black", "white"))
    contrast = torch.where(white == black, torch.nan, white - black)  # the same in both: padding
    tilted = [(preprocess(ramp).double() - black) / contrast for ramp in _ramps(width, height)]
    along_x, along_y = (((1 - TILT) * a - TILT * b) / (1 - 2 * TILT) for a, b in (tilted, tilted[::-1]))
    x0, x1 = _extent(along_x.nanmean((0, 1)), width)
    y0, y1 = _extent(along_y.nanmean((0, 2)), height)
    return x0, y0, x1, y1


def _ramps(width: int, height: int) -> list[Image.Image]:
    """A picture that grows brighter along x and one that does along y.

    Each is dithered, tilted by a part of the other, and a third of a grey level apart in the three colours, so that the
    rounding to 8 bits, here and after resizing, differs from place to place and averages out.
    """
    column, row = np.arange(width, dtype=np.float32)[None, :], np.arange(height, dtype=np.float32)[:, None]
    dither = ((0.7549 * column + 0.5698 * row) % 1)[..., None] + np.array([-1, 0, 1], np.float32) / 3
    x, y = (column + 0.5) / width, (row + 0.5) / height
    tilted = ((1 - TILT) * x + TILT * y, (1 - TILT) * y + TILT * x)
    arrays = (np.floor(ramp[..., None] * 255 + dither).clip(0, 255).astype(np.uint8) for ramp in tilted)
    return [Image.fromarray(array) for array in arrays]


def _extent(profile: Tensor, length: int) -> tuple[float, float]:
    """Where the first and last edge of the network's input lie along a side of that length.

    ``profile`` is the ramp's brightness, 0..1, at each column (or row) of the input.
    """
    margin = max(0.02, 1.5 / length, 1.5 / len(profile))  # where resampling bends the ramp
    inside = torch.nonzero((profile > margin) & (profile < 1 - margin))[:, 0]
    if len(inside) < 4:
        return 0.0, float(length)
    places, brightness = inside.double() + 0.5, profile[inside]
    from_middle = places - places.mean()
    slope = float((from_middle * (brightness - brightness.mean())).sum() / from_middle.square().sum())
    start = float(brightness.mean() - slope * places.mean())
    if slope * len(profile) < 0.002 or float((start + slope * places - brightness).abs().max()) > 0.02:
        return 0.0, float(length)  # not one crop and resize: taken to show the whole
    return start * length, (start + slope * len(profile)) * length
