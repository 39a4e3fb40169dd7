"""Rendering: what people are shown. Every signed map is drawn by one rule, and the photograph is not in it.

Grey is 0. All three channels of a map are scaled together, by the absolute value that 99.5 % of its values stay below,
and clipped there (protocols: section G, Rendering; the paper does not say how it drew its maps).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from wherefore.pages.building import encoded

Array = np.ndarray[Any, Any]
SIDE = 448  # twice the 224 pixels that the paper's networks see
PERCENTILE = 99.5


def grey(pixels: Array) -> Array:
    """A signed map ``(3, H, W)`` as colours ``(H, W, 3)`` of uint8 around 128, which is 0.

    Joint over the channels: the largest of the absolute values, but for the 0.5 % above it, becomes 0 or 255. A map of
    zeros is grey all over. Raises nothing: values are finite, as `Explainer` has seen to it.
    """
    values = np.asarray(pixels, np.float64)
    strength = np.percentile(np.abs(values), PERCENTILE) or np.abs(values).max()  # few values may be all there are
    shares = np.clip(values / (strength or 1.0), -1, 1)
    return np.rint(255 * (0.5 + 0.5 * shares)).astype(np.uint8).transpose(1, 2, 0)


def drawn(pixels: Array) -> bytes:
    """A signed map ``(3, H, W)`` as a PNG file of 448x448 pixels, the nearest of the map each: of 224, two by two."""
    return encoded(Image.fromarray(grey(pixels)).resize((SIDE, SIDE), Image.Resampling.NEAREST), "PNG")


def photograph(picture: Image.Image) -> bytes:
    """A photograph as a PNG file of the same size and without what came along in its own file: for catch trials."""
    small = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return encoded(Image.fromarray(np.asarray(small)), "PNG")


def noise(pixels: Array, seed: int) -> Array:
    """A map whose pixels have been shuffled: as strong and as colourful as it was, and about nothing."""
    count = pixels.shape[1] * pixels.shape[2]
    order = np.random.default_rng(seed).permutation(count)
    return np.asarray(pixels).reshape(len(pixels), count)[:, order].reshape(pixels.shape)
