"""Ten crops: four corners and the middle of a squashed picture, and the same mirrored; and their maps merged into one.

The picture is squashed to a canvas of 256/224 of the network's input. The map is the sum of the unmirrored maps divided
by how many crops cover each pixel (Zhou et al. 2016 leave out the division; protocols: section D).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from wherefore.imaging import resample

CROPS = 10


def canvas(side: int) -> int:
    """The side of what crops of a side are taken from: 256 for 224."""
    return round(side * 256 / 224)


@lru_cache(16)
def corners(side: int) -> list[tuple[int, int]]:
    """The upper left corners ``(x, y)`` of the five crops: four corners and the middle."""
    end = canvas(side) - side
    return [(0, 0), (end, 0), (0, end), (end, end), (end // 2, end // 2)]


def crops(picture: Tensor, side: int) -> list[Tensor]:
    """The ten crops ``(C, side, side)`` of a canvas ``(C, S, S)``: five, and the same mirrored."""
    five = [picture[:, y : y + side, x : x + side] for x, y in corners(side)]
    return five + [each.flip(-1) for each in five]


def merged(maps: Tensor, side: int) -> Tensor:
    """The map ``(S, S)`` of the canvas that those of its ten crops ``(10, h, w)`` make."""
    whole, covered = torch.zeros(2, canvas(side), canvas(side)).unbind()
    for heat, (x, y) in zip(torch.cat([maps[:5], maps[5:].flip(-1)]), corners(side) * 2, strict=True):
        whole[y : y + side, x : x + side] += resample(heat, (side, side))
        covered[y : y + side, x : x + side] += 1
    return whole / covered
