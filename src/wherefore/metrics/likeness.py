"""How alike two maps of one picture are, as the sanity checks compare them (Adebayo et al. 2018, section 4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from wherefore.explanation import Explanation
from wherefore.metrics.agreement import hog_correlation, spearman, ssim

Array = np.ndarray[Any, Any]


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


LIKENESSES: dict[str, Callable[[Array, Array], float]] = {
    "spearman": spearman,
    "spearman of sizes": spearman,
    "ssim": ssim,
    "hog": hog_correlation,
}
