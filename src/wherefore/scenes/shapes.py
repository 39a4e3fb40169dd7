"""How a thing of each category is drawn: its parts as shapes, in a frame from -1 to 1 in which it faces right.

``body`` is the paint that has the thing's own colour and texture; ``shade`` and ``tint`` are its darker and lighter
kin. Everything else is listed in `PAINTS`. Each function throws dice for what differs between two of its kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from wherefore.scenes.strokes import Ring, Shape, box, curve, oval, shape, stroke
from wherefore.scenes.world import Dice

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
Maker = Callable[[Dice], list[Shape]]


def _wheel(x: float, y: float, radius: float) -> list[Shape]:
    return [
        shape("wheel", "tyre", oval(x, y, radius, radius)),
        shape("wheel", "hub", oval(x, y, radius * 0.48, radius * 0.48)),
    ]


def _eye(x: float, y: float, radius: float) -> list[Shape]:
    return [
        shape("eye", "ivory", oval(x, y, radius, radius)),
        shape("eye", "black", oval(x + radius * 0.2, y, radius * 0.62, radius * 0.62)),
    ]


# -------------------------------------------------------------------------------------------- vehicles


def car(dice: Dice) -> list[Shape]:
    """A car: body, windows, two wheels, lights."""
    roof, back = dice.between(-0.58, -0.46), dice.between(-0.74, -0.55)
    cabin = [(back, -0.08), (back + 0.2, roof), (0.28, roof), (0.62, -0.08)]
    return [
        shape("body", "body", cabin, [(-1, 0.3), (-1, -0.02), (-0.9, -0.12), (0.66, -0.12), (0.97, 0.02), (1, 0.3)]),
        shape("window", "glass", [(back + 0.14, -0.1), (back + 0.26, roof + 0.08), (-0.1, roof + 0.08), (-0.1, -0.1)]),
        shape("window", "glass", [(0.0, -0.1), (0.0, roof + 0.08), (0.24, roof + 0.08), (0.48, -0.1)]),
        shape("body", "shade", box(-1, 0.2, 1, 0.32)),
        shape("door", "shade", box(-0.07, -0.1, -0.03, 0.22)),
        shape("headlight", "lit", oval(0.9, 0.06, 0.08, 0.07)),
        shape("taillight", "red", box(-1, 0, -0.9, 0.1)),
        *_wheel(-0.56, 0.3, 0.25),
        *_wheel(0.54, 0.3, 0.25),
    ]


def bus(dice: Dice) -> list[Shape]:
    """A bus: a tall body, a row of windows, a door, two wheels."""
    count = dice.whole(3, 5)
    step = 1.42 / count
    panes = [box(-0.9 + i * step, -0.5, -0.9 + (i + 0.8) * step, -0.14) for i in range(count)]
    return [
        shape("body", "body", [(-1, 0.44), (-1, -0.6), (-0.92, -0.7), (0.9, -0.7), (1, -0.58), (1, 0.44)]),
        *[shape("window", "glass", pane) for pane in panes],
        shape("door", "glass", box(0.6, -0.5, 0.78, 0.36)),
        shape("window", "glass", [(0.84, -0.5), (0.99, -0.5), (1, -0.05), (0.84, -0.05)]),
        shape("body", "shade", box(-1, 0.32, 1, 0.46)),
        shape("headlight", "lit", oval(0.93, 0.22, 0.06, 0.07)),
        shape("taillight", "red", box(-1, 0.1, -0.93, 0.24)),
        *_wheel(-0.58, 0.46, 0.25),
        *_wheel(0.5, 0.46, 0.25),
    ]


def bicycle(dice: Dice) -> list[Shape]:
    """A bicycle: two wheels with spokes, a frame with a bag in it, saddle, handlebar, pedals."""
    r = dice.between(0.42, 0.46)
    rear, front, pedals, head, seat = (-0.54, 0.2), (0.54, 0.2), (-0.08, 0.22), (0.38, -0.32), (-0.22, -0.3)
    found = []
    for x, y in (rear, front):
        spokes = [(x + r * math.cos(a), y + r * math.sin(a)) for a in (0.3, 1.35, 2.4)]
        ends = [(2 * x - px, 2 * y - py) for px, py in spokes]
        found += [
            shape("wheel", "tyre", oval(x, y, r, r)),
            shape("wheel", "", oval(x, y, r - 0.1, r - 0.1)),
            Shape("wheel", "steel", tuple(stroke([a, b], 0.03)[0] for a, b in zip(spokes, ends, strict=True))),
        ]
    frame = [(rear, seat), (rear, pedals), (head, front)]
    return [
        *found,
        shape("frame", "body", [(seat[0] + 0.02, seat[1] + 0.02), head, pedals]),
        Shape("frame", "body", tuple(ring for line in frame for ring in stroke(line, 0.08))),
        Shape("frame", "shade", (*stroke([seat, head], 0.08), *stroke([head, pedals], 0.08))),
        Shape("frame", "shade", stroke([pedals, seat, (-0.26, -0.42)], 0.08)),
        shape("pedal", "black", oval(*pedals, 0.1, 0.1), box(-0.02, 0.3, 0.16, 0.37)),
        shape("saddle", "black", [(-0.46, -0.5), (-0.08, -0.48), (-0.08, -0.42), (-0.4, -0.38)]),
        Shape("handlebar", "black", stroke([head, (0.34, -0.5), (0.54, -0.54), (0.6, -0.42)], 0.08)),
    ]


def boat(dice: Dice) -> list[Shape]:
    """A boat with sails and a mast, or with a cabin and a funnel."""
    hull = shape("hull", "body", [(-0.9, 0.38), (0.92, 0.3), (0.64, 0.98), (-0.66, 0.98)])
    rim = shape("hull", "shade", [(-0.92, 0.34), (0.92, 0.28), (0.89, 0.42), (-0.88, 0.48)])
    if dice.chance(0.65):
        tip = dice.between(-1, -0.86)
        return [
            Shape("mast", "dark wood", stroke([(0.02, 0.4), (0.02, -1)], 0.08)),
            shape("sail", "tint", [(0.1, tip + 0.06), (0.8, 0.2), (0.1, 0.2)]),
            shape("sail", "ivory", [(-0.06, tip + 0.16), (-0.06, 0.2), (-0.64, 0.2)]),
            shape("flag", "red", [(0.02, -1), (-0.24, -0.92), (0.02, -0.84)]),
            hull,
            rim,
        ]
    return [
        shape("funnel", "red", box(0.0, -0.75, 0.3, -0.2)),
        shape("funnel", "black", box(-0.02, -0.85, 0.32, -0.66)),
        shape("cabin", "ivory", box(-0.5, -0.3, 0.55, 0.4)),
        *[shape("window", "glass", oval(x, 0.02, 0.11, 0.11)) for x in (-0.26, 0.04, 0.34)],
        hull,
        rim,
    ]


def airplane(dice: Dice) -> list[Shape]:
    """An airplane: fuselage, wings, tail, engine, windows."""
    sweep = dice.between(0.3, 0.46)
    return [
        shape("wing", "shade", [(0.2, -0.1), (0.1 - sweep, -0.46), (-0.08 - sweep, -0.46), (-0.16, -0.1)]),
        shape("tail", "shade", [(-0.96, -0.04), (-1, -0.48), (-0.82, -0.48), (-0.54, -0.08)]),
        shape("body", "body", [(-1, -0.04), (-0.7, -0.16), (0.6, -0.18), (0.86, -0.1), (1, 0.03), (0.84, 0.14),
                               (0.5, 0.18), (-0.5, 0.15)]),
        shape("window", "glass", [(0.66, -0.13), (0.84, -0.08), (0.88, -0.01), (0.68, -0.01)]),
        *[shape("window", "glass", oval(-0.5 + 0.18 * i, -0.04, 0.05, 0.05)) for i in range(6)],
        shape("tail", "shade", [(-0.74, 0), (-0.98, 0.16), (-0.86, 0.16), (-0.5, 0.02)]),
        shape("engine", "steel", oval(0.02, 0.26, 0.16, 0.08)),
        shape("wing", "tint", [(0.26, 0.06), (0.06 - sweep, 0.5), (-0.14 - sweep, 0.5), (-0.12, 0.08)]),
    ]  # fmt: skip


# -------------------------------------------------------------------------------------------- animals


def dog(dice: Dice) -> list[Shape]:
    """A dog from the side: hanging ears, a long snout, a collar, four legs, a tail."""
    wag = dice.between(-0.55, -0.2)
    step = dice.between(-0.08, 0.1)
    return [
        Shape("tail", "shade", stroke(curve((-0.6, 0.02), (-0.9, -0.1), (-0.96, wag)), 0.15, 0.09)),
        Shape("leg", "shade", (*stroke([(-0.36, 0.2), (-0.3 - step, 0.8)], 0.16), *stroke([(0.22, 0.2), (0.16 + step, 0.8)], 0.16))),
        shape("body", "body", oval(-0.08, 0.1, 0.58, 0.29)),
        Shape("leg", "body", (*stroke([(-0.48, 0.15), (-0.54 + step, 0.82)], 0.19), *stroke([(0.34, 0.2), (0.38 - step, 0.82)], 0.18))),
        shape("body", "body", [(0.1, -0.08), (0.42, -0.36), (0.68, -0.1), (0.48, 0.26)]),
        Shape("collar", "red", stroke([(0.3, -0.22), (0.62, 0.02)], 0.1)),
        shape("head", "body", oval(0.54, -0.42, 0.28, 0.26)),
        shape("snout", "tint", oval(0.82, -0.34, 0.18, 0.12, 8)),
        shape("nose", "black", oval(0.96, -0.4, 0.07, 0.06)),
        shape("ear", "shade", oval(0.36, -0.38, 0.11, 0.27, 12)),
        *_eye(0.62, -0.5, 0.07),
    ]  # fmt: skip


def cat(dice: Dice) -> list[Shape]:
    """A sitting cat: pointed ears, whiskers, a curled tail."""
    curl = dice.between(-0.2, 0.25)
    whiskers = [stroke([(0.12 * s, -0.32 + k), (0.56 * s, -0.38 + 2.6 * k)], 0.022)[0] for s in (-1, 1) for k in (0, 0.06)]
    return [
        Shape("tail", "shade", stroke(curve((0.3, 0.86), (0.95, 0.9), (0.68, curl), 8), 0.16, 0.11)),
        shape("body", "body", oval(0, 0.48, 0.42, 0.5)),
        shape("body", "tint", oval(0, 0.52, 0.2, 0.32)),
        shape("paw", "body", oval(-0.2, 0.92, 0.17, 0.09), oval(0.2, 0.92, 0.17, 0.09)),
        shape("ear", "body", [(-0.44, -0.46), (-0.42, -1), (-0.08, -0.68)], [(0.44, -0.46), (0.42, -1), (0.08, -0.68)]),
        shape("ear", "rose", [(-0.37, -0.6), (-0.37, -0.84), (-0.22, -0.68)], [(0.37, -0.6), (0.37, -0.84), (0.22, -0.68)]),
        shape("head", "body", oval(0, -0.38, 0.46, 0.37)),
        shape("eye", "gold", oval(-0.19, -0.44, 0.1, 0.1), oval(0.19, -0.44, 0.1, 0.1)),
        shape("eye", "black", oval(-0.19, -0.44, 0.035, 0.09), oval(0.19, -0.44, 0.035, 0.09)),
        shape("nose", "rose", [(-0.07, -0.3), (0.07, -0.3), (0, -0.2)]),
        Shape("whisker", "ivory", tuple(whiskers)),
    ]  # fmt: skip


def bird(dice: Dice) -> list[Shape]:
    """A bird: beak, wing, tail, two thin legs."""
    lift = dice.between(-0.3, 0.2)
    return [
        Shape("leg", "gold", (*stroke([(-0.06, 0.3), (-0.1, 0.76), (0.06, 0.76)], 0.06), *stroke([(0.14, 0.3), (0.14, 0.76), (0.3, 0.76)], 0.06))),
        shape("tail", "shade", [(-0.4, -0.02), (-1, lift), (-0.94, lift + 0.26), (-0.36, 0.26)]),
        shape("body", "body", oval(0, 0.06, 0.54, 0.33, -18)),
        shape("beak", "gold", [(0.72, -0.5), (1, -0.38), (0.7, -0.3)]),
        shape("head", "body", oval(0.5, -0.42, 0.27, 0.26)),
        shape("wing", "shade", [(0.26, -0.1), (0.1, 0.2), (-0.2, 0.26), (-0.66, 0.24), (-0.3, -0.1)]),
        *_eye(0.56, -0.48, 0.07),
    ]  # fmt: skip


def fish(dice: Dice) -> list[Shape]:
    """A fish: a spindle with fins, a forked tail and a big eye."""
    fin = dice.between(0.1, 0.3)
    return [
        shape("tail", "shade", [(-0.5, 0), (-1, -0.46), (-0.84, 0), (-1, 0.46)]),
        shape("fin", "shade", [(-0.3, -0.24), (-0.2, -0.4 - fin / 2), (0.2, -0.58), (0.4, -0.26)]),
        shape("fin", "shade", [(-0.1, 0.3), (-0.24, 0.58), (0.1, 0.52), (0.22, 0.3)]),
        shape("body", "body", [(-0.66, 0), (-0.4, -0.2), (0, -0.38), (0.4, -0.38), (0.76, -0.22), (0.98, 0.02), (0.76, 0.24),
                               (0.4, 0.38), (0, 0.38), (-0.4, 0.2)]),
        Shape("gill", "shade", stroke(curve((0.48, -0.26), (0.34, 0), (0.48, 0.26), 4), 0.05)),
        shape("fin", "tint", [(0.26, 0.04), (-0.04, 0.0), (-0.06, 0.22)]),
        Shape("mouth", "black", stroke([(0.95, 0.05), (0.8, 0.1)], 0.04)),
        *_eye(0.66, -0.1, 0.11),
    ]  # fmt: skip


def butterfly(dice: Dice) -> list[Shape]:
    """A butterfly from above: four wings with spots, a thin body, feelers."""
    spread = dice.between(0.44, 0.52)
    upper = [oval(s * 0.46, -0.3, spread, 0.36, s * -32) for s in (-1, 1)]
    lower = [oval(s * 0.38, 0.36, 0.4, 0.3, s * 38) for s in (-1, 1)]
    return [
        Shape("feeler", "black", (*stroke([(0, -0.4), (-0.22, -0.78)], 0.045), *stroke([(0, -0.4), (0.22, -0.78)], 0.045))),
        shape("wing", "shade", *lower),
        shape("wing", "body", *upper),
        shape("wing", "tint", oval(-0.42, 0.4, 0.16, 0.13), oval(0.42, 0.4, 0.16, 0.13)),
        shape("wing", "ivory", oval(-0.6, -0.42, 0.13, 0.11), oval(0.6, -0.42, 0.13, 0.11)),
        shape("body", "black", oval(0, 0.04, 0.09, 0.56)),
    ]  # fmt: skip


def elephant(dice: Dice) -> list[Shape]:
    """An elephant: trunk, tusk, a large ear, four thick legs."""
    swing = dice.between(0.66, 0.98)
    return [
        Shape("tail", "shade", stroke([(-0.82, -0.1), (-0.96, 0.3)], 0.06)),
        Shape("leg", "shade", (*stroke([(-0.4, 0.2), (-0.4, 0.74)], 0.24), *stroke([(0.14, 0.2), (0.14, 0.74)], 0.24))),
        shape("body", "body", oval(-0.24, -0.08, 0.62, 0.5)),
        Shape("leg", "body", (*stroke([(-0.64, 0.1), (-0.64, 0.8)], 0.27), *stroke([(-0.06, 0.2), (-0.06, 0.8)], 0.27))),
        Shape("trunk", "body", stroke(curve((0.66, -0.2), (0.94, 0.3), (swing, 0.62), 7), 0.28, 0.13)),
        shape("head", "body", oval(0.5, -0.3, 0.34, 0.36)),
        shape("tusk", "ivory", [(0.58, -0.02), (0.7, 0.0), (0.86, 0.3)]),
        shape("ear", "shade", oval(0.22, -0.28, 0.24, 0.38, 10)),
        *_eye(0.62, -0.36, 0.06),
    ]  # fmt: skip


# -------------------------------------------------------------------------------------------- furniture


def chair(dice: Dice) -> list[Shape]:
    """A chair: a back between two posts, a seat, four legs."""
    top = dice.between(-1, -0.86)
    return [
        Shape("leg", "shade", (*stroke([(-0.3, 0.2), (-0.28, 0.86)], 0.12), *stroke([(0.46, 0.2), (0.48, 0.86)], 0.12))),
        Shape("back", "shade", (*stroke([(-0.5, 0.2), (-0.54, top)], 0.13), *stroke([(0.38, 0.2), (0.34, top)], 0.13))),
        shape("back", "body", [(-0.52, top + 0.08), (0.34, top + 0.08), (0.37, -0.2), (-0.5, -0.2)]),
        shape("seat", "body", [(-0.56, 0.08), (0.4, 0.08), (0.6, 0.3), (-0.46, 0.3)]),
        shape("seat", "shade", box(-0.46, 0.3, 0.6, 0.4)),
        Shape("leg", "shade", (*stroke([(-0.4, 0.36), (-0.42, 1)], 0.13), *stroke([(0.54, 0.36), (0.56, 1)], 0.13))),
    ]  # fmt: skip


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


# -------------------------------------------------------------------------------------------- plants


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
        oval(x, y, 0.03, 0.03) for x, y in ((-0.1, -0.6), (0.1, -0.35), (-0.1, -0.05), (0.1, 0.2), (-0.1, 0.45), (0.1, 0.7))
    ]  # fmt: skip
    return [
        Shape("arm", "body", (*stroke([(0, left + 0.34), (-0.52, left + 0.3), (-0.54, left - 0.3)], 0.25), oval(-0.54, left - 0.3, 0.125, 0.125))),
        Shape("arm", "body", (*stroke([(0, right + 0.34), (0.52, right + 0.3), (0.54, right - 0.26)], 0.25), oval(0.54, right - 0.26, 0.125, 0.125))),
        shape("stem", "body", oval(0, -0.66, 0.24, 0.28), box(-0.24, -0.66, 0.24, 1)),
        Shape("stem", "shade", (*stroke([(-0.08, -0.8), (-0.08, 1)], 0.03), *stroke([(0.09, -0.8), (0.09, 1)], 0.03))),
        Shape("spine", "ivory", tuple(spines)),
        shape("blossom", "rose", oval(0, -0.94, 0.12, 0.07), oval(0, -0.97, 0.06, 0.04)),
    ]  # fmt: skip


# -------------------------------------------------------------------------------------------- buildings, people


def house(dice: Dice) -> list[Shape]:
    """A house: walls, a roof with a chimney, a door, two windows."""
    roof = dice.pick(("slate", "tiles", "straw"))
    ridge = dice.between(0, 0.45)
    side = dice.pick((-1, 1))
    panes = [shape("window", "glass", box(x - 0.15, 0.18, x + 0.15, 0.48)) for x in (-0.48, 0.48)]
    bars = [ring for x in (-0.48, 0.48) for ring in (box(x - 0.02, 0.18, x + 0.02, 0.48), box(x - 0.15, 0.31, x + 0.15, 0.35))]
    return [
        shape("chimney", "tiles", box(side * 0.5 - 0.12, -0.88, side * 0.5 + 0.12, -0.3)),
        shape("wall", "body", box(-0.84, -0.2, 0.84, 0.95)),
        shape("roof", roof, [(-1, -0.1), (-ridge, -0.8), (ridge, -0.8), (1, -0.1)] if ridge > 0.1 else [(-1, -0.1), (0, -0.86), (1, -0.1)]),
        *panes,
        Shape("window", "ivory", tuple(bars)),
        shape("door", "wood", box(-0.17, 0.34, 0.17, 0.95)),
        shape("door", "gold", oval(0.1, 0.66, 0.035, 0.035)),
    ]  # fmt: skip


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


def person(dice: Dice) -> list[Shape]:
    """A person: head with hair, a shirt, trousers, arms, shoes."""
    skin, hair = f"skin {dice.whole(1, 4)}", f"hair {dice.whole(1, 4)}"
    trousers = dice.pick(("jeans", "cloth", "khaki"))
    wave, stride = dice.between(-0.5, 0.28), dice.between(0.06, 0.16)
    long = dice.chance(0.5)
    return [
        *([shape("hair", hair, oval(0, -0.66, 0.25, 0.32))] if long else []),
        Shape("arm", "body", (*stroke([(0.16, -0.42), (0.38, wave / 2 - 0.12)], 0.15), *stroke([(-0.16, -0.42), (-0.36, -0.04)], 0.15))),
        Shape("arm", skin, (*stroke([(0.38, wave / 2 - 0.12), (0.44, wave)], 0.11), *stroke([(-0.36, -0.04), (-0.4, 0.2)], 0.11))),
        Shape("leg", trousers, (*stroke([(-0.1, 0.2), (-stride, 0.9)], 0.19), *stroke([(0.1, 0.2), (stride, 0.9)], 0.19))),
        shape("shoe", "black", oval(-stride + 0.04, 0.95, 0.14, 0.06), oval(stride + 0.04, 0.95, 0.14, 0.06)),
        shape("shirt", "body", [(-0.26, -0.46), (0.26, -0.46), (0.23, 0.3), (-0.23, 0.3)]),
        shape("face", skin, box(-0.06, -0.54, 0.06, -0.42), oval(0, -0.7, 0.19, 0.23)),
        shape("hair", hair, [(-0.2, -0.68), (-0.2, -0.86), (-0.1, -0.98), (0.1, -0.98), (0.2, -0.86), (0.2, -0.72), (0.08, -0.82)]),
        shape("eye", "black", oval(-0.06, -0.7, 0.028, 0.036), oval(0.09, -0.7, 0.028, 0.036)),
        Shape("mouth", "red", stroke([(-0.04, -0.57), (0.07, -0.57)], 0.03)),
    ]  # fmt: skip


SHAPES: dict[str, Maker] = {
    maker.__name__: maker
    for maker in (car, bus, bicycle, boat, airplane, dog, cat, bird, fish, butterfly, elephant, chair, table, lamp,
                  tree, flower, cactus, house, lighthouse, person)
}  # fmt: skip
