"""How alike two maps of one picture are, as the sanity checks compare them (Adebayo et al. 2018, section 4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from wherefore.errors import Error
from wherefore.explanation import Explanation
from wherefore.metrics.ranks import spearman

Array = np.ndarray[Any, Any]
WINDOW = 1.5  # of SSIM: a Gaussian of that deviation in pixels (Wang et al. 2004)
CELLS = 14  # of HOG along a side: 16 of 224 pixels


def likenesses(e: Explanation, other: Explanation, image: int) -> list[dict[str, float]]:
    """For each of T targets how alike the maps of two explanations of one picture are, by the names of `LIKENESSES`.

    ``spearman`` compares the signed pixels of methods that have them, every other the size of values. All at the
    network's input resolution; 0 where one of two maps is constant and the other is not.
    """
    sizes = zip(e.heats(image).abs().cpu().numpy(), other.heats(image).abs().cpu().numpy(), strict=True)
    signed = zip(_signed(e, image), _signed(other, image), strict=True)
    return [
        {name: like(*(two if name == "spearman" else both)) for name, like in LIKENESSES.items()}
        for two, both in zip(signed, sizes, strict=True)
    ]


def _signed(e: Explanation, image: int) -> Array:
    values: Tensor = e.heats(image) if e.pixels is None else e.pixels[image]
    return values.detach().float().cpu().numpy()


def ssim(one: Array, other: Array) -> float:
    """The structural similarity of two maps ``(H, W)``, each scaled to 0..1; -1 to 1 (Wang et al. 2004)."""
    try:
        from skimage import metrics
    except ImportError:
        raise Error("SSIM needs scikit-image: pip install 'wherefore[eval]'") from None
    a, b = _unit(one), _unit(other)
    similarity: Any = metrics.structural_similarity
    return float(similarity(a, b, data_range=1.0, gaussian_weights=True, sigma=WINDOW))


def hog(one: Array, other: Array) -> float:
    """Pearson's correlation of the histograms of oriented gradients of two maps ``(H, W)``, -1 to 1.

    9 orientations in cells of a fourteenth of the shorter side (16 of 224 pixels), blocks of 3 x 3 cells.
    """
    try:
        from skimage.feature import hog as histograms
    except ImportError:
        raise Error("HOG needs scikit-image: pip install 'wherefore[eval]'") from None
    cell = max(1, round(min(one.shape) / CELLS))
    a, b = (histograms(_unit(each), pixels_per_cell=(cell, cell)) for each in (one, other))
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale else 0.0


def _unit(values: Array) -> Array:
    low, high = float(values.min()), float(values.max())
    return (values.astype(np.float64) - low) / (high - low) if high > low else np.zeros(values.shape)


LIKENESSES: dict[str, Callable[[Array, Array], float]] = {
    "spearman": spearman,
    "spearman of sizes": spearman,
    "ssim": ssim,
    "hog": hog,
}
