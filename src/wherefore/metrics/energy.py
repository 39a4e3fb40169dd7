"""Where a map lies: how much of its positive evidence falls on each part of a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def shares(heat: Any, masks: Mapping[str, Any]) -> dict[str, float]:
    """The share of a map's positive evidence on each mask, by name; NaN for a map ``(H, W)`` without any.

    A mask's share of the picture's area is what a map that knows nothing would have.
    """
    positive = np.clip(np.asarray(heat, np.float64), 0, None)
    whole = positive.sum()
    return {
        name: float(positive[np.asarray(mask, bool)].sum() / whole) if whole else float("nan")
        for name, mask in masks.items()
    }
