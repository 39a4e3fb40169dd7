"""How animals and people are drawn."""

from __future__ import annotations

from wherefore.scenes.strokes import Shape, box, curve, oval, shape, stroke
from wherefore.scenes.world import Dice


def _eye(x: float, y: float, radius: float) -> list[Shape]:
    return [
        shape("eye", "ivory", oval(x, y, radius, radius)),
        shape("eye", "black", oval(x + radius * 0.2, y, radius * 0.62, radius * 0.62)),
    ]


def dog(dice: Dice) -> list[Shape]:
    """A dog from the side: hanging ears, a long snout, a collar, four legs, a tail."""
    wag = dice.between(-0.55, -0.2)
    step = dice.between(-0.08, 0.1)
    return [
        Shape("tail", "shade", stroke(curve((-0.6, 0.02), (-0.9, -0.1), (-0.96, wag)), 0.15, 0.09)),
        Shape(
            "leg",
            "shade",
            (*stroke([(-0.36, 0.2), (-0.3 - step, 0.8)], 0.16), *stroke([(0.22, 0.2), (0.16 + step, 0.8)], 0.16)),
        ),
        shape("body", "body", oval(-0.08, 0.1, 0.58, 0.29)),
        Shape(
            "leg",
            "body",
            (*stroke([(-0.48, 0.15), (-0.54 + step, 0.82)], 0.19), *stroke([(0.34, 0.2), (0.38 - step, 0.82)], 0.18)),
        ),
        shape("body", "body", [(0.1, -0.08), (0.42, -0.36), (0.68, -0.1), (0.48, 0.26)]),
        Shape("collar", "red", stroke([(0.3, -0.22), (0.62, 0.02)], 0.1)),
        shape("head", "body", oval(0.54, -0.42, 0.28, 0.26)),
        shape("snout", "tint", oval(0.82, -0.34, 0.18, 0.12, 8)),
        shape("nose", "black", oval(0.96, -0.4, 0.07, 0.06)),
        shape("ear", "shade", oval(0.36, -0.38, 0.11, 0.27, 12)),
        *_eye(0.62, -0.5, 0.07),
    ]


def cat(dice: Dice) -> list[Shape]:
    """A sitting cat: pointed ears, whiskers, a curled tail."""
    curl = dice.between(-0.2, 0.25)
    whiskers = [
        stroke([(0.12 * s, -0.32 + k), (0.56 * s, -0.38 + 2.6 * k)], 0.022)[0] for s in (-1, 1) for k in (0, 0.06)
    ]
    return [
        Shape("tail", "shade", stroke(curve((0.3, 0.86), (0.95, 0.9), (0.68, curl), 8), 0.16, 0.11)),
        shape("body", "body", oval(0, 0.48, 0.42, 0.5)),
        shape("body", "tint", oval(0, 0.52, 0.2, 0.32)),
        shape("paw", "body", oval(-0.2, 0.92, 0.17, 0.09), oval(0.2, 0.92, 0.17, 0.09)),
        shape("ear", "body", [(-0.44, -0.46), (-0.42, -1), (-0.08, -0.68)], [(0.44, -0.46), (0.42, -1), (0.08, -0.68)]),
        shape(
            "ear", "rose", [(-0.37, -0.6), (-0.37, -0.84), (-0.22, -0.68)], [(0.37, -0.6), (0.37, -0.84), (0.22, -0.68)]
        ),
        shape("head", "body", oval(0, -0.38, 0.46, 0.37)),
        shape("eye", "gold", oval(-0.19, -0.44, 0.1, 0.1), oval(0.19, -0.44, 0.1, 0.1)),
        shape("eye", "black", oval(-0.19, -0.44, 0.035, 0.09), oval(0.19, -0.44, 0.035, 0.09)),
        shape("nose", "rose", [(-0.07, -0.3), (0.07, -0.3), (0, -0.2)]),
        Shape("whisker", "ivory", tuple(whiskers)),
    ]


def bird(dice: Dice) -> list[Shape]:
    """A bird: beak, wing, tail, two thin legs."""
    lift = dice.between(-0.3, 0.2)
    return [
        Shape(
            "leg",
            "gold",
            (
                *stroke([(-0.06, 0.3), (-0.1, 0.76), (0.06, 0.76)], 0.06),
                *stroke([(0.14, 0.3), (0.14, 0.76), (0.3, 0.76)], 0.06),
            ),
        ),
        shape("tail", "shade", [(-0.4, -0.02), (-1, lift), (-0.94, lift + 0.26), (-0.36, 0.26)]),
        shape("body", "body", oval(0, 0.06, 0.54, 0.33, -18)),
        shape("beak", "gold", [(0.72, -0.5), (1, -0.38), (0.7, -0.3)]),
        shape("head", "body", oval(0.5, -0.42, 0.27, 0.26)),
        shape("wing", "shade", [(0.26, -0.1), (0.1, 0.2), (-0.2, 0.26), (-0.66, 0.24), (-0.3, -0.1)]),
        *_eye(0.56, -0.48, 0.07),
    ]


def fish(dice: Dice) -> list[Shape]:
    """A fish: a spindle with fins, a forked tail and a big eye."""
    fin = dice.between(0.1, 0.3)
    return [
        shape("tail", "shade", [(-0.5, 0), (-1, -0.46), (-0.84, 0), (-1, 0.46)]),
        shape("fin", "shade", [(-0.3, -0.24), (-0.2, -0.4 - fin / 2), (0.2, -0.58), (0.4, -0.26)]),
        shape("fin", "shade", [(-0.1, 0.3), (-0.24, 0.58), (0.1, 0.52), (0.22, 0.3)]),
        shape(
            "body",
            "body",
            [
                (-0.66, 0),
                (-0.4, -0.2),
                (0, -0.38),
                (0.4, -0.38),
                (0.76, -0.22),
                (0.98, 0.02),
                (0.76, 0.24),
                (0.4, 0.38),
                (0, 0.38),
                (-0.4, 0.2),
            ],
        ),
        Shape("gill", "shade", stroke(curve((0.48, -0.26), (0.34, 0), (0.48, 0.26), 4), 0.05)),
        shape("fin", "tint", [(0.26, 0.04), (-0.04, 0.0), (-0.06, 0.22)]),
        Shape("mouth", "black", stroke([(0.95, 0.05), (0.8, 0.1)], 0.04)),
        *_eye(0.66, -0.1, 0.11),
    ]


def butterfly(dice: Dice) -> list[Shape]:
    """A butterfly from above: four wings with spots, a thin body, feelers."""
    spread = dice.between(0.44, 0.52)
    upper = [oval(s * 0.46, -0.3, spread, 0.36, s * -32) for s in (-1, 1)]
    lower = [oval(s * 0.38, 0.36, 0.4, 0.3, s * 38) for s in (-1, 1)]
    return [
        Shape(
            "feeler", "black", (*stroke([(0, -0.4), (-0.22, -0.78)], 0.045), *stroke([(0, -0.4), (0.22, -0.78)], 0.045))
        ),
        shape("wing", "shade", *lower),
        shape("wing", "body", *upper),
        shape("wing", "tint", oval(-0.42, 0.4, 0.16, 0.13), oval(0.42, 0.4, 0.16, 0.13)),
        shape("wing", "ivory", oval(-0.6, -0.42, 0.13, 0.11), oval(0.6, -0.42, 0.13, 0.11)),
        shape("body", "black", oval(0, 0.04, 0.09, 0.56)),
    ]


def elephant(dice: Dice) -> list[Shape]:
    """An elephant: trunk, tusk, a large ear, four thick legs."""
    swing = dice.between(0.66, 0.98)
    return [
        Shape("tail", "shade", stroke([(-0.82, -0.1), (-0.96, 0.3)], 0.06)),
        Shape("leg", "shade", (*stroke([(-0.4, 0.2), (-0.4, 0.74)], 0.24), *stroke([(0.14, 0.2), (0.14, 0.74)], 0.24))),
        shape("body", "body", oval(-0.24, -0.08, 0.62, 0.5)),
        Shape(
            "leg", "body", (*stroke([(-0.64, 0.1), (-0.64, 0.8)], 0.27), *stroke([(-0.06, 0.2), (-0.06, 0.8)], 0.27))
        ),
        Shape("trunk", "body", stroke(curve((0.66, -0.2), (0.94, 0.3), (swing, 0.62), 7), 0.28, 0.13)),
        shape("head", "body", oval(0.5, -0.3, 0.34, 0.36)),
        shape("tusk", "ivory", [(0.58, -0.02), (0.7, 0.0), (0.86, 0.3)]),
        shape("ear", "shade", oval(0.22, -0.28, 0.24, 0.38, 10)),
        *_eye(0.62, -0.36, 0.06),
    ]


def person(dice: Dice) -> list[Shape]:
    """A person: head with hair, a shirt, trousers, arms, shoes."""
    skin, hair = f"skin {dice.whole(1, 4)}", f"hair {dice.whole(1, 4)}"
    trousers = dice.pick(("jeans", "cloth", "khaki"))
    wave, stride = dice.between(-0.5, 0.28), dice.between(0.06, 0.16)
    long = dice.chance(0.5)
    return [
        *([shape("hair", hair, oval(0, -0.66, 0.25, 0.32))] if long else []),
        Shape(
            "arm",
            "body",
            (*stroke([(0.16, -0.42), (0.38, wave / 2 - 0.12)], 0.15), *stroke([(-0.16, -0.42), (-0.36, -0.04)], 0.15)),
        ),
        Shape(
            "arm",
            skin,
            (*stroke([(0.38, wave / 2 - 0.12), (0.44, wave)], 0.11), *stroke([(-0.36, -0.04), (-0.4, 0.2)], 0.11)),
        ),
        Shape(
            "leg", trousers, (*stroke([(-0.1, 0.2), (-stride, 0.9)], 0.19), *stroke([(0.1, 0.2), (stride, 0.9)], 0.19))
        ),
        shape("shoe", "black", oval(-stride + 0.04, 0.95, 0.14, 0.06), oval(stride + 0.04, 0.95, 0.14, 0.06)),
        shape("shirt", "body", [(-0.26, -0.46), (0.26, -0.46), (0.23, 0.3), (-0.23, 0.3)]),
        shape("face", skin, box(-0.06, -0.54, 0.06, -0.42), oval(0, -0.7, 0.19, 0.23)),
        shape(
            "hair",
            hair,
            [(-0.2, -0.68), (-0.2, -0.86), (-0.1, -0.98), (0.1, -0.98), (0.2, -0.86), (0.2, -0.72), (0.08, -0.82)],
        ),
        shape("eye", "black", oval(-0.06, -0.7, 0.028, 0.036), oval(0.09, -0.7, 0.028, 0.036)),
        Shape("mouth", "red", stroke([(-0.04, -0.57), (0.07, -0.57)], 0.03)),
    ]
