"""Covering what a map marks, and as much elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from wherefore.metrics.covering import above, covered, elsewhere
from wherefore.scenes import scene


def test_covering_blurs_only_what_exceeds_half_of_the_maximum() -> None:
    picture = scene(0).image
    heat = torch.linspace(0, 1, picture.width).expand(picture.height, -1)
    before, after = np.asarray(picture), np.asarray(covered(picture, heat))
    half = int((heat[0] >= 0.5).byte().argmax())
    assert (before[:, :half] == after[:, :half]).all() and half == picture.width // 2
    assert roughness(after[:, half:]) < 0.2 * roughness(before[:, half:])


def roughness(pixels: Any) -> float:
    return float(np.abs(np.diff(pixels.astype(float), axis=1)).mean())


def test_a_map_is_moved_to_where_it_hides_least() -> None:
    heat, things = torch.zeros(16, 16), torch.zeros(16, 16, dtype=torch.bool)
    heat[2:6, 2:6], heat[3, 3] = 0.6, 1.0
    things[:, :12] = True
    moved = elsewhere(heat, things)
    assert sorted(moved.flatten().tolist()) == sorted(heat.flatten().tolist()), "as much, elsewhere"
    assert not (above(moved) & things).any() and above(heat).sum() == 16


def test_a_map_of_a_wide_picture_is_moved_by_eighths_of_its_own_sides() -> None:
    heat, things = torch.zeros(8, 32), torch.ones(8, 32, dtype=torch.bool)
    heat[0, 0] = 1.0
    things[5, 12] = False
    assert elsewhere(heat, things).argmax() == 5 * 32 + 12
