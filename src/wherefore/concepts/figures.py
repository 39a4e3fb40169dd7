"""Pictures of units: their maps on a picture that is explained, as Figures 9 and 21 of Selvaraju et al. (2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from PIL import Image
from torch import Tensor

from wherefore.errors import Error
from wherefore.explanation import Explanation, Maps
from wherefore.subjects import Picture
from wherefore.tiling import Block, page, tile

LARGE, SIZE, GAP = 446, 15, 12  # pixels of a picture's longer side, of the letters, between tiles
HEADINGS = "The units that speak most for it", "The units that speak most against it"
FOOT = (
    "Every map is scaled to its own maximum. The signed number is the unit's weight alpha: how much the score grows "
    "with its activation. A unit that does not fire adds nothing to the map."
)


class Unit(NamedTuple):
    """The map ``(h, w)`` of a unit in a picture, its name, and a note."""

    map: Tensor
    name: str
    note: str


def figure(
    e: Explanation, image: int, target: int, says: str, rows: Sequence[Sequence[Unit]], colours: str = "heat"
) -> Image.Image:
    """The picture and the map of a target, and below the maps of units that speak for it, and of those against it."""
    e = _enlarged(e, image)
    large = e.within(LARGE, image)
    overlays = [*large.overlays(image, colours=colours, legend=False)]
    score = f"{e.score_text(image, target)}, {e.evidence_text(image, target)}"
    first = [
        tile(large.pictures[image].image, e.pictures[image].title, e.model.name, SIZE),
        tile(overlays[target], f"{e.method}: {e.targets[image][target]}", score, SIZE),
    ]
    width, longer = first[0].width, max(large.pictures[image].size)
    small = e.within(longer * ((2 * width - 3 * GAP) // 5) // width, image)  # five are as wide as two large ones
    blocks = [Block(says, e.layer, first)]
    for heading, units in zip(HEADINGS, rows, strict=True):
        if units:
            blocks.append(Block(heading, "", _tiles(small, image, units, colours)))
    return page(blocks, 2, FOOT, SIZE, GAP)


def _enlarged(e: Explanation, image: int) -> Explanation:
    """The same with one picture allowed to grow until words fit beneath it and its fifths."""
    picture = e.pictures[image]
    if not isinstance(picture, Picture):
        raise Error(f"{picture.name} is no picture: units are drawn on pictures alone.")
    larger = replace(picture, enlarged=max(picture.enlarged, -(-LARGE // max(picture.size))))
    return replace(e, pictures=[*e.pictures[:image], larger, *e.pictures[image + 1 :]])


def _tiles(e: Explanation, image: int, units: Sequence[Unit], colours: str) -> list[Image.Image]:
    maps: Maps = [e.maps[0].new_tensor([])] * len(e)
    drawn = []
    for unit in units:
        maps[image] = unit.map[None]
        [heat] = e.placed(image, maps)
        drawn.append(tile(e.pictures[image].overlay(heat, None, colours), unit.name, unit.note, SIZE))
    return drawn
