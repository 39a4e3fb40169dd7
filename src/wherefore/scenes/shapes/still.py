"""How what stands still is drawn: furniture, plants, buildings."""

from __future__ import annotations

import math

from wherefore.scenes.strokes import Ring, Shape, box, curve, oval, shape, stroke
from wherefore.scenes.world import Dice


def chair(dice: Dice) -> list[Shape]:
    """A chair: a back between two posts, a seat, four legs."""
    top = dice.between(-1, -0.86)
    return [
        Shape(
            "leg", "shade", (*stroke([(-0.3, 0.2), (-0.28, 0.86)], 0.12), *stroke([(0.46, 0.2), (0.48, 0.86)], 0.12))
        ),
        Shape("back", "shade", (*stroke([(-0.5, 0.2), (-0.54, top)], 0.13), *stroke([(0.38, 0.2), (0.34, top)], 0.13))),
        shape("back", "body", [(-0.52, top + 0.08), (0.34, top + 0.08), (0.37, -0.2), (-0.5, -0.2)]),
        shape("seat", "body", [(-0.56, 0.08), (0.4, 0.08), (0.6, 0.3), (-0.46, 0.3)]),
        shape("seat", "shade", box(-0.46, 0.3, 0.6, 0.4)),
        Shape("leg", "shade", (*stroke([(-0.4, 0.36), (-0.42, 1)], 0.13), *stroke([(0.54, 0.36), (0.56, 1)], 0.13))),
    ]


def table(dice: Dice) -> list[Shape]:
    """A table: a broad top and four legs."""
    lean = dice.between(0, 0.1)
    back = [stroke([(x, -0.1), (x, 0.42)], 0.1)[0] for x in (-0.62, 0.62)]
    front = [stroke([(x, -0.1), (x * (1 + lean), 0.62)], 0.14)[0] for x in (-0.86, 0.86)]
    return [
        Shape("leg", "shade", tuple(back)),
        Shape("leg", "shade", tuple(front)),
        shape("top", "shade", box(-0.98, -0.24, 0.98, -0.04)),
        shape("top", "body", [(-0.74, -0.62), (0.74, -0.62), (1, -0.2), (-1, -0.2)]),
    ]


def lamp(dice: Dice) -> list[Shape]:
    """A standing lamp: a shade with light below it, a pole, a foot."""
    top = dice.between(0.2, 0.34)
    return [
        shape("foot", "steel", oval(0, 0.9, 0.34, 0.1)),
        Shape("pole", "steel", stroke([(0, -0.3), (0, 0.9)], 0.1)),
        shape("bulb", "lit", oval(0, -0.2, 0.17, 0.14)),
        shape("shade", "body", [(-top, -1), (top, -1), (0.52, -0.22), (-0.52, -0.22)]),
        shape("shade", "tint", [(-0.49, -0.3), (0.49, -0.3), (0.52, -0.2), (-0.52, -0.2)]),
    ]


def tree(dice: Dice) -> list[Shape]:
    """A tree: a trunk under a round crown, or a fir in three tiers."""
    trunk = shape("trunk", "wood", [(-0.09, 0.1), (0.1, 0.1), (0.18, 1), (-0.17, 1)])
    if dice.chance(0.4):
        tiers = [[(0, t), (w, b), (-w, b)] for t, b, w in ((-0.2, 0.72, 0.7), (-0.62, 0.28, 0.56), (-1, -0.2, 0.4))]
        return [trunk, *[shape("crown", "body", tier) for tier in tiers]]
    tops = [oval(dice.between(-0.1, 0.1), -0.6, 0.42, 0.38)]
    sides = [oval(s * 0.36, dice.between(-0.32, -0.16), 0.36, 0.33) for s in (-1, 1)]
    return [
        trunk,
        Shape("branch", "wood", stroke([(0.02, 0.3), (0.34, -0.02)], 0.08)),
        shape("crown", "body", *sides, *tops, oval(0, -0.3, 0.4, 0.36)),
    ]


def flower(dice: Dice) -> list[Shape]:
    """A flower: petals around a middle, on a stem with leaves."""
    count, turn, y = dice.whole(5, 8), dice.between(0, 60), -0.42
    angles = [math.radians(turn + 360 * i / count) for i in range(count)]
    petals = [
        oval(0.34 * math.cos(a), y + 0.34 * math.sin(a), 0.27, 0.62 / count + 0.06, math.degrees(a)) for a in angles
    ]
    return [
        Shape("stem", "leaf", stroke(curve((0, y), (dice.between(-0.12, 0.12), 0.4), (0, 1), 5), 0.09)),
        shape("leaf", "leaf", oval(-0.26, 0.56, 0.28, 0.1, 28), oval(0.26, 0.68, 0.28, 0.1, -28)),
        *[shape("petal", "body", petal) for petal in petals],
        shape("middle", dice.pick(("gold", "dark wood")), oval(0, y, 0.18, 0.18)),
    ]


def cactus(dice: Dice) -> list[Shape]:
    """A cactus: a column with two raised arms, spines, a small blossom."""
    left, right = dice.between(-0.1, 0.3), dice.between(-0.2, 0.2)
    spines: list[Ring] = [
        oval(x, y, 0.03, 0.03)
        for x, y in ((-0.1, -0.6), (0.1, -0.35), (-0.1, -0.05), (0.1, 0.2), (-0.1, 0.45), (0.1, 0.7))
    ]
    return [
        Shape(
            "arm",
            "body",
            (
                *stroke([(0, left + 0.34), (-0.52, left + 0.3), (-0.54, left - 0.3)], 0.25),
                oval(-0.54, left - 0.3, 0.125, 0.125),
            ),
        ),
        Shape(
            "arm",
            "body",
            (
                *stroke([(0, right + 0.34), (0.52, right + 0.3), (0.54, right - 0.26)], 0.25),
                oval(0.54, right - 0.26, 0.125, 0.125),
            ),
        ),
        shape("stem", "body", oval(0, -0.66, 0.24, 0.28), box(-0.24, -0.66, 0.24, 1)),
        Shape("stem", "shade", (*stroke([(-0.08, -0.8), (-0.08, 1)], 0.03), *stroke([(0.09, -0.8), (0.09, 1)], 0.03))),
        Shape("spine", "ivory", tuple(spines)),
        shape("blossom", "rose", oval(0, -0.94, 0.12, 0.07), oval(0, -0.97, 0.06, 0.04)),
    ]


def house(dice: Dice) -> list[Shape]:
    """A house: walls, a roof with a chimney, a door, two windows."""
    roof = dice.pick(("slate", "tiles", "straw"))
    ridge = dice.between(0, 0.45)
    side = dice.pick((-1, 1))
    panes = [shape("window", "glass", box(x - 0.15, 0.18, x + 0.15, 0.48)) for x in (-0.48, 0.48)]
    bars = [
        ring
        for x in (-0.48, 0.48)
        for ring in (box(x - 0.02, 0.18, x + 0.02, 0.48), box(x - 0.15, 0.31, x + 0.15, 0.35))
    ]
    return [
        shape("chimney", "tiles", box(side * 0.5 - 0.12, -0.88, side * 0.5 + 0.12, -0.3)),
        shape("wall", "body", box(-0.84, -0.2, 0.84, 0.95)),
        shape(
            "roof",
            roof,
            [(-1, -0.1), (-ridge, -0.8), (ridge, -0.8), (1, -0.1)]
            if ridge > 0.1
            else [(-1, -0.1), (0, -0.86), (1, -0.1)],
        ),
        *panes,
        Shape("window", "ivory", tuple(bars)),
        shape("door", "wood", box(-0.17, 0.34, 0.17, 0.95)),
        shape("door", "gold", oval(0.1, 0.66, 0.035, 0.035)),
    ]


def lighthouse(dice: Dice) -> list[Shape]:
    """A lighthouse: a tall tower, a gallery, a lit lantern under a cap."""
    foot = dice.between(0.32, 0.42)
    return [
        shape("lantern", "lit", box(-0.13, -0.82, 0.13, -0.56)),
        shape("roof", "red", [(-0.22, -0.78), (0, -1), (0.22, -0.78)]),
        shape("tower", "body", [(-0.2, -0.52), (0.2, -0.52), (foot, 1), (-foot, 1)]),
        shape("gallery", "black", box(-0.28, -0.6, 0.28, -0.5)),
        shape("window", "glass", box(-0.06, -0.34, 0.06, -0.18), box(-0.06, 0.1, 0.06, 0.26)),
        shape("door", "dark wood", box(-0.1, 0.64, 0.1, 1)),
    ]
