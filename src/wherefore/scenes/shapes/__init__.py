"""How a thing of each category is drawn: its parts as shapes, in a frame from -1 to 1 in which it faces right.

``body`` is the paint that has the thing's own colour and texture; ``shade`` and ``tint`` are its darker and lighter
kin. Everything else is listed in `PAINTS`. Each function throws dice for what differs between two of its kind.
"""

from __future__ import annotations

from collections.abc import Callable

from wherefore.scenes.shapes import living, still, vehicles
from wherefore.scenes.strokes import Shape
from wherefore.scenes.world import CATEGORIES, Dice

Maker = Callable[[Dice], list[Shape]]
_HOMES = (vehicles, living, still)

# Paints other than the thing's own: colour, material.
PAINTS: dict[str, tuple[tuple[int, int, int], str]] = {
    "tyre": ((36, 36, 42), "rubber"),
    "black": ((28, 26, 30), ""),
    "hub": ((186, 190, 196), "metal"),
    "steel": ((150, 156, 166), "metal"),
    "glass": ((176, 216, 236), "glass"),
    "lit": ((255, 236, 150), "glass"),
    "red": ((198, 52, 48), ""),
    "gold": ((246, 178, 44), ""),
    "rose": ((232, 130, 140), ""),
    "ivory": ((246, 242, 226), ""),
    "wood": ((124, 82, 50), "wood"),
    "dark wood": ((84, 54, 36), "wood"),
    "leaf": ((64, 142, 62), "leaves"),
    "slate": ((78, 84, 98), "tiles"),
    "tiles": ((158, 70, 54), "tiles"),
    "straw": ((176, 140, 84), "tiles"),
    "jeans": ((52, 70, 116), "fabric"),
    "cloth": ((66, 62, 66), "fabric"),
    "khaki": ((150, 132, 96), "fabric"),
    "skin 1": ((246, 208, 176), "skin"),
    "skin 2": ((222, 170, 128), "skin"),
    "skin 3": ((166, 110, 74), "skin"),
    "skin 4": ((110, 70, 48), "skin"),
    "hair 1": ((44, 34, 32), "hair"),
    "hair 2": ((104, 66, 38), "hair"),
    "hair 3": ((214, 170, 90), "hair"),
    "hair 4": ((150, 146, 142), "hair"),
}

SHAPES: dict[str, Maker] = {
    category: next(getattr(home, category) for home in _HOMES if hasattr(home, category)) for category in CATEGORIES
}
