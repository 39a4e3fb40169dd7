"""How vehicles are drawn: car, bus, bicycle, boat, airplane."""

from __future__ import annotations

import math

from wherefore.scenes.strokes import Shape, box, oval, shape, stroke
from wherefore.scenes.world import Dice


def _wheel(x: float, y: float, radius: float) -> list[Shape]:
    return [
        shape("wheel", "tyre", oval(x, y, radius, radius)),
        shape("wheel", "hub", oval(x, y, radius * 0.48, radius * 0.48)),
    ]


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
        shape(
            "body",
            "body",
            [
                (-1, -0.04),
                (-0.7, -0.16),
                (0.6, -0.18),
                (0.86, -0.1),
                (1, 0.03),
                (0.84, 0.14),
                (0.5, 0.18),
                (-0.5, 0.15),
            ],
        ),
        shape("window", "glass", [(0.66, -0.13), (0.84, -0.08), (0.88, -0.01), (0.68, -0.01)]),
        *[shape("window", "glass", oval(-0.5 + 0.18 * i, -0.04, 0.05, 0.05)) for i in range(6)],
        shape("tail", "shade", [(-0.74, 0), (-0.98, 0.16), (-0.86, 0.16), (-0.5, 0.02)]),
        shape("engine", "steel", oval(0.02, 0.26, 0.16, 0.08)),
        shape("wing", "tint", [(0.26, 0.06), (0.06 - sweep, 0.5), (-0.14 - sweep, 0.5), (-0.12, 0.08)]),
    ]
