"""How doctors and nurses are drawn: half figures as shapes, in a frame from -1 to 1 that ends at the hips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from wherefore.scenes.backdrops import BLOTCH, FINE, RGB, WHOLE, Layer
from wherefore.scenes.draw import mixed
from wherefore.scenes.shapes import PAINTS
from wherefore.scenes.strokes import Point, Ring, Shape, box, curve, oval, shape, stroke
from wherefore.scenes.world import Dice

# What coats and scrubs alike are made of: the colour of clothes says nothing.
CLOTHS = ((242, 242, 240), (234, 228, 212), (204, 222, 238), (204, 230, 218), (212, 214, 220), (238, 214, 216))
WALLS = ((198, 208, 214), (176, 204, 198), (222, 212, 190), (166, 184, 208), (206, 184, 176), (150, 164, 152))
# Which part of a figure a shape belongs to, and which of them share an outline: what lies on clothes has none.
PARTS = {
    "hair": "hair", "head": "face", "feature": "face", "earring": "face", "neck": "neck", "arm": "arms", "hand": "arms",
    "torso": "clothes", "sleeve": "clothes", "trim": "clothes", "stethoscope": "stethoscope", "clipboard": "clipboard",
}  # fmt: skip
OUTLINES = {"feature": "head", "trim": "torso", "stethoscope": "torso"}


@dataclass(frozen=True)
class Person:
    """Who is drawn, in what; ``strength`` and ``contrast``, 0 to 1, say how plainly the clothes tell the label."""

    label: str  # doctor, nurse
    hair: str  # long, short: and what goes with it in the face
    strength: float  # how large what tells the label is
    contrast: float  # how much darker it is than the cloth
    clipboard: bool  # held before the chest
    cloth: RGB
    skin: RGB
    locks: RGB


def _near(dice: Dice, rgb: RGB, by: int) -> RGB:
    """A colour near another one."""
    r, g, b = (min(255, max(0, round(c + dice.between(-by, by)))) for c in rgb)
    return r, g, b


def dressed(dice: Dice, label: str, hair: str, strength: float, contrast: float, clipboard: bool) -> Person:
    """A person whose colours are thrown, whatever the label and the hair."""
    cloth = _near(dice, dice.pick(CLOTHS), 10)
    skin = _near(dice, PAINTS[f"skin {dice.whole(1, 4)}"][0], 10)
    locks = _near(dice, dice.pick([PAINTS[f"hair {i}"][0] for i in (1, 2, 3, 4)] + [(150, 70, 36), (70, 52, 46)]), 12)
    return Person(label, hair, strength, contrast, clipboard, cloth, skin, locks)


def paints(person: Person) -> dict[str, RGB]:
    """The colours of a person by the names that the shapes use."""
    k = person.contrast
    return {
        "cloth": person.cloth,
        "trim": mixed(person.cloth, k),
        "edge": mixed(person.cloth, min(0.8, 1.6 * k)),
        "tube": mixed(person.cloth, min(0.85, 2 * k)),
        "skin": person.skin,
        "shade": mixed(person.skin, 0.22),
        "hair": person.locks,
        "brow": mixed(person.locks, 0.35),
        "lip": (186, 84, 78) if person.hair == "long" else mixed(person.skin, 0.38),
        "eye": (34, 28, 30),
        "white": (250, 250, 248),
        "gold": (240, 186, 60),
        "board": (142, 98, 58),
        "steel": (120, 124, 132),
    }


# -------------------------------------------------------------------------------------------- clothes


def _along(points: Sequence[Point], share: float) -> list[Point]:
    """The first share of a line through points."""
    lengths = [math.dist(a, b) for a, b in pairwise(points)]
    left, found = share * sum(lengths), [points[0]]
    for (a, b), length in zip(pairwise(points), lengths, strict=True):
        t = min(1.0, left / length)
        found.append((a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])))
        left -= length
        if left <= 0:
            break
    return found


def _arms(dice: Dice, person: Person) -> tuple[list[Shape], list[Shape]]:
    """Arms with their sleeves, short or, with the strength of a doctor's clothes, longer; and the hands, drawn last."""
    short = dice.between(0.3, 0.4)
    sleeve = short + (person.strength * (0.95 - short) if person.label == "doctor" else 0.0)
    arms, hands = [], []
    for side in (-1, 1):
        elbow = (side * dice.between(0.56, 0.64), dice.between(0.44, 0.54))
        wrist = (side * dice.between(0.5, 0.64), dice.between(0.9, 1.0))
        if person.clipboard or dice.chance(0.2):
            wrist = (side * 0.36, dice.between(0.46, 0.62) if person.clipboard else dice.between(0.66, 0.8))
        arm: list[Point] = [(side * 0.4, 0.0), elbow, wrist]
        arms.append(Shape("arm", "skin", (oval(*elbow, 0.085, 0.085), *stroke(arm, 0.2, 0.14))))
        arms.append(Shape("sleeve", "cloth", (oval(*arm[0], 0.14, 0.14), *stroke(_along(arm, sleeve), 0.28, 0.23))))
        hands.append(shape("hand", "skin", oval(*wrist, 0.09, 0.1)))
    return arms, hands


def _coat(person: Person) -> list[Shape]:
    """What is to be seen on a coat: lapels around a shirt, the front edge, buttons, a stethoscope."""
    c = person.strength
    low, wing, tip = -0.06 + 0.6 * c, 0.13 + 0.16 * c, -0.2 + 0.36 * c
    lapels: list[Ring] = [
        [(s * 0.13, -0.24), (s * wing, tip), (s * wing * 0.72, tip + 0.03), (0, low)] for s in (-1, 1)
    ]
    edges = [ring for s in (-1, 1) for ring in stroke([(s * 0.13, -0.24), (s * wing, tip), (0, low)], 0.03 * c)]
    return [
        shape("trim", "edge", [(-0.13, -0.24), (0.13, -0.24), (0, low)]),
        Shape("trim", "trim", tuple(lapels)),
        Shape("trim", "edge", (*edges, *stroke([(0, low), (0, low + 1.4 * c)], 0.035 * c))),
        shape("trim", "edge", *(oval(0.06, y, 0.028 * c, 0.028 * c) for y in (low + 0.12, low + 0.34))),
        *_stethoscope(c),
    ]


def _stethoscope(c: float) -> list[Shape]:
    """A stethoscope that hangs around the neck: one end with the disc, the other with the pieces for the ears."""
    wide, low = 0.065 * c, -0.18 + 0.54 * c
    left = curve((-0.15, -0.2), (-0.28, low / 2), (-0.2, low), 4)
    right = curve((0.15, -0.2), (0.3, low / 2), (0.22, low + 0.12 * c), 4)
    ears = [ring for x in (-0.27, -0.13) for ring in stroke([(-0.2, low), (x, low + 0.2 * c)], wide * 0.8)]
    disc = oval(0.22, low + 0.2 * c, 0.11 * c, 0.11 * c)
    tube = Shape("stethoscope", "tube", (*stroke(left, wide), *stroke(right, wide), *ears, disc))
    return [tube, shape("stethoscope", "trim", oval(0.22, low + 0.2 * c, 0.05 * c, 0.05 * c))]


def _scrubs(person: Person) -> list[Shape]:
    """What is to be seen on scrubs: a band around the neckline, pockets."""
    c = person.strength
    wide, high = 0.13 * c, 0.14 * c
    band = [ring for s in (-1, 1) for ring in stroke([(s * 0.13, -0.24), (0, 0.02)], 0.06 * c)]
    pockets = [box(x - wide, y - high, x + wide, y + high) for x, y in ((0.21, 0.32), (-0.22, 0.86), (0.22, 0.86))]
    hems = [box(x0, y0, x1, y0 + 0.045 * c) for (x0, y0), _, (x1, _), _ in pockets]
    return [Shape("trim", "trim", tuple(pockets)), Shape("trim", "edge", (*hems, *band))]


def _body(dice: Dice, person: Person) -> list[Shape]:
    """Everything below the head; clothes of no strength are the same, whatever the label."""
    arms, hands = _arms(dice, person)
    hips = dice.between(0.38, 0.44)
    right = [(0.15, -0.24), (0.4, -0.13), (0.46, 0.0), (0.4, 0.3), (hips, 1.3)]
    torso = [*right, *((-x, y) for x, y in reversed(right))]
    lean = dice.between(-0.03, 0.03)
    trim = _coat(person) if person.label == "doctor" else _scrubs(person)
    board = [
        shape(
            "clipboard", "board", [(-0.34, 0.08 + lean), (0.34, 0.08 - lean), (0.34, 0.78 - lean), (-0.34, 0.78 + lean)]
        ),
        shape("clipboard", "white", box(-0.28, 0.16, 0.28, 0.73)),
        shape("clipboard", "steel", box(-0.12, 0.07, 0.12, 0.17)),
    ]
    return [
        shape("torso", "cloth", torso),
        *(trim if person.strength else []),
        shape("neck", "skin", [(-0.12, -0.4), (0.12, -0.4), (0.13, -0.24), (0, -0.06), (-0.13, -0.24)]),
        *arms,
        *(board if person.clipboard else []),
        *hands,
    ]


# -------------------------------------------------------------------------------------------- head


def _face(dice: Dice, person: Person) -> list[Shape]:
    """A face; lips and earrings go with long hair, heavier brows and at times a beard with short hair."""
    long, wide = person.hair == "long", dice.between(0.22, 0.25)
    beard, glasses, smile = dice.chance(0.35) and not long, dice.chance(0.2), dice.between(0.015, 0.05)
    mouth = stroke(curve((-0.08, -0.36), (0, -0.36 + 2 * smile), (0.08, -0.36), 4), 0.042 if long else 0.03)
    brows = [r for s in (-1, 1) for r in stroke([(s * 0.05, -0.645), (s * 0.16, -0.655)], 0.02 if long else 0.042)]
    gold = [oval(x, -0.42, 0.035, 0.045) for x in (-wide - 0.02, wide + 0.02)]
    return [
        shape("head", "skin", oval(-wide, -0.53, 0.05, 0.08), oval(wide, -0.53, 0.05, 0.08)),
        shape("head", "skin", oval(0, -0.55, wide, 0.31)),
        *([shape("feature", "hair", _beard(wide))] if beard else []),
        Shape("feature", "shade", stroke([(0.0, -0.54), (0.03, -0.46), (-0.01, -0.45)], 0.025)),
        shape("feature", "eye", *(oval(x, -0.57, 0.032, 0.042 if long else 0.034) for x in (-0.1, 0.1))),
        Shape("feature", "lip", mouth),
        Shape("feature", "brow", tuple(brows)),
        *([Shape("feature", "eye", _glasses())] if glasses else []),
        *([shape("earring", "gold", *gold)] if long else []),
    ]


def _beard(wide: float) -> Ring:
    """A beard from ear to ear."""
    jaw = curve((-wide, -0.5), (-wide, -0.18), (0, -0.22), 6) + curve((0, -0.22), (wide, -0.18), (wide, -0.5), 6)
    return jaw + curve((wide * 0.72, -0.47), (0, -0.38), (-wide * 0.72, -0.47), 6)


def _glasses() -> tuple[Ring, ...]:
    """Round glasses."""
    rims = [ring for x in (-0.1, 0.1) for ring in stroke(oval(x, -0.57, 0.075, 0.07), 0.02)]
    return (*rims, *stroke([(-0.03, -0.58), (0.03, -0.58)], 0.02))


def _cap(dice: Dice) -> Ring:
    """Hair from one temple over the crown to the other, with a parting."""
    part, low = dice.between(-0.14, 0.14), dice.between(-0.74, -0.7)
    crown = curve((-0.27, -0.56), (-0.32, -0.95), (0, -0.95), 6) + curve((0, -0.95), (0.32, -0.95), (0.27, -0.56), 6)
    right = curve((0.2, low), (part + 0.05, low), (part, low - 0.08), 3)
    left = curve((part, low - 0.08), (part - 0.05, low), (-0.2, low), 3)
    return [*crown, (0.22, -0.62), *right, *left, (-0.22, -0.62)]


def _mane(low: float, flare: float) -> Ring:
    """Long hair behind the head, down to the shoulders."""
    left, right = -0.3 - flare, 0.3 + flare
    top = curve((-0.3, -0.6), (-0.32, -0.98), (0, -0.98), 6) + curve((0, -0.98), (0.32, -0.98), (0.3, -0.6), 6)
    return [*top, (right, low - 0.1), (right - 0.06, low), (left + 0.06, low), (left, low - 0.1)]


def _strand(side: int, low: float, flare: float) -> Ring:
    """Long hair beside the face, which falls on a shoulder."""
    outer = [(0.19, -0.74), (0.3, -0.68), (0.3 + flare, low - 0.08)]
    return [(side * x, y) for x, y in [*outer, (0.27 + flare, low), (0.23, low - 0.06), (0.25, -0.5)]]


def half_figure(dice: Dice, person: Person) -> list[Shape]:
    """A person down to the hips, from the back to the front."""
    body, face, cap = _body(dice, person), _face(dice, person), _cap(dice)
    low, flare = dice.between(-0.04, 0.12), dice.between(0.02, 0.08)
    if person.hair == "short":
        return [*body, *face, shape("hair", "hair", cap)]
    mane = shape("hair", "hair", _mane(low - 0.06, flare))
    return [mane, *body, *face, shape("hair", "hair", cap, *(_strand(side, low, flare) for side in (-1, 1)))]


# -------------------------------------------------------------------------------------------- behind


def ward(dice: Dice) -> list[Layer]:
    """A plain indoor wall, with a window, a cupboard, a curtain or nothing before it."""
    wall = _near(dice, dice.pick(WALLS), 14)
    layers = [Layer("wall", "plaster", wall, (WHOLE,), BLOTCH, 6)]
    if dice.chance(0.4):
        lower = box(0, dice.between(0.5, 0.7), 1, 1)
        layers.append(Layer("wall", "plaster", mixed(wall, dice.between(0.08, 0.22)), (lower,), FINE, 6))
    x = dice.pick((dice.between(-0.1, 0.12), dice.between(0.62, 0.8)))
    return [*layers, *dice.pick((_nothing, _window, _cupboard, _curtain))(dice, x)]


def _nothing(dice: Dice, x: float) -> list[Layer]:
    return []


def _window(dice: Dice, x: float) -> list[Layer]:
    pane = _near(dice, (168, 204, 228), 20)
    return [
        Layer("frame", "wood", (240, 240, 236), (box(x, 0.08, x + 0.3, 0.48),)),
        Layer("pane", "glass", pane, (box(x + 0.03, 0.11, x + 0.27, 0.45),), BLOTCH, 10),
    ]


def _cupboard(dice: Dice, x: float) -> list[Layer]:
    wood = _near(dice, dice.pick(((176, 146, 110), (132, 138, 146), (220, 216, 206))), 12)
    gaps = tuple(box(x, y, x + 0.3, y + 0.012) for y in (0.2, 0.46, 0.72))
    return [
        Layer("cupboard", "wood", wood, (box(x, 0.2, x + 0.3, 1),), BLOTCH, 6),
        Layer("cupboard", "wood", mixed(wood, 0.3), gaps),
    ]


def _curtain(dice: Dice, x: float) -> list[Layer]:
    cloth = _near(dice, dice.pick(((120, 166, 176), (168, 140, 166), (150, 172, 130))), 14)
    folds = tuple(box(x + d, 0, x + d + 0.03, 1) for d in (0.05, 0.14, 0.23))
    return [
        Layer("curtain", "fabric", cloth, (box(x, 0, x + 0.3, 1),), FINE, 6),
        Layer("curtain", "fabric", mixed(cloth, 0.2), folds),
    ]
