"""How a place is drawn: layers from the back to the front, in a frame from 0 to 1, the first over all of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wherefore.scenes.strokes import Ring, box, curve, oval, stroke
from wherefore.scenes.world import Dice

RGB = tuple[int, int, int]
WHOLE = box(0, 0, 1, 1)
FINE, BLOTCH, ACROSS, DOWN = range(4)  # what the grain of a layer looks like


@dataclass(frozen=True)
class Layer:
    """Stuff that fills some rings: its colour, its grain in grey levels, how much darker it grows downwards."""

    object: str
    material: str
    rgb: RGB
    rings: tuple[Ring, ...]
    grain: int = FINE
    rough: float = 0.0
    slope: float = 0.0


def _like(dice: Dice, rgb: RGB, by: int = 16) -> RGB:
    """A colour near another one."""
    shift = dice.between(-by, by)
    r, g, b = (min(255, max(0, round(c + shift + dice.between(-by / 2, by / 2)))) for c in rgb)
    return r, g, b


def _sky(dice: Dice, *kinds: RGB) -> list[Layer]:
    """A sky, in two of three pictures with clouds."""
    rgb = _like(dice, dice.pick(kinds or ((126, 182, 236), (164, 200, 230), (186, 196, 206), (236, 184, 150))), 10)
    layers = [Layer("sky", "", rgb, (WHOLE,), BLOTCH, 5, -0.25)]
    for _ in range(dice.pick((0, 1, 2))):
        x, y, w = dice.random(), dice.between(0.04, 0.26), dice.between(0.06, 0.13)
        puffs = (
            oval(x, y, w, w * 0.34),
            oval(x + w * 0.6, y + 0.01, w * 0.8, w * 0.3),
            oval(x, y - w * 0.2, w * 0.5, w * 0.36),
        )
        r, g, b = (min(255, c + 46) for c in rgb)
        layers.append(Layer("cloud", "", (r, g, b), puffs))
    return layers


def _hill(dice: Dice, level: float, height: float) -> Ring:
    """Ground up to a wavy line around ``level``."""
    a, b, c = (level + dice.between(-height, height) for _ in range(3))
    return [
        *curve((-0.05, a), (0.25, 2 * b - (a + c) / 2), (0.55, c)),
        *curve((0.55, c), (0.8, a), (1.05, b)),
        (1.05, 1.05),
        (-0.05, 1.05),
    ]


def _bits(dice: Dice, count: int, top: float, size: float, flat: float = 0.6) -> tuple[Ring, ...]:
    """Small ovals strewn over the ground below ``top``."""
    return tuple(
        oval(dice.random(), dice.between(top, 1), (s := dice.between(size / 2, size)), s * flat) for _ in range(count)
    )


def street(dice: Dice) -> list[Layer]:
    """A road with a pavement, before a row of buildings."""
    kerb = dice.between(0.5, 0.6)
    layers = _sky(dice)
    x = -0.05
    while x < 1:
        wide, top = dice.between(0.16, 0.3), dice.between(0.08, 0.32)
        rgb = _like(dice, dice.pick(((172, 128, 108), (150, 150, 156), (188, 172, 144), (120, 126, 144))))
        layers.append(Layer("building", "brick", rgb, (box(x, top, x + wide - 0.01, kerb),), ACROSS, 8))
        panes = [
            box(x + wide * i / 3 + 0.02, y, x + wide * i / 3 + 0.06, y + 0.06)
            for i in range(3)
            for y in (top + 0.04, top + 0.15)
        ]
        layers.append(Layer("building", "glass", _like(dice, (88, 100, 120)), tuple(panes)))
        x += wide
    dash = dice.between(0, 0.3)
    marks = tuple(box(dash + 0.36 * i - 0.2, 0.84, dash + 0.36 * i, 0.865) for i in range(4))
    return [
        *layers,
        Layer("pavement", "concrete", _like(dice, (168, 164, 158)), (box(0, kerb, 1, 1),), FINE, 8),
        Layer("road", "asphalt", _like(dice, (84, 86, 92)), (box(0, kerb + 0.1, 1, 1),), FINE, 14),
        Layer("road", "asphalt", (226, 222, 206), marks),
    ]


def sea(dice: Dice) -> list[Layer]:
    """Open water under a sky."""
    level = dice.between(0.3, 0.5)
    crests: list[Ring] = []
    for _ in range(dice.whole(7, 12)):
        x, y = dice.random(), dice.between(level + 0.04, 1)
        wide = 0.03 + 0.1 * (y - level)
        crests += stroke(curve((x - wide, y), (x, y - wide / 2), (x + wide, y), 3), 0.008)
    rgb = _like(dice, dice.pick(((44, 104, 158), (36, 122, 140), (70, 110, 136))))
    return [
        *_sky(dice),
        Layer("water", "water", rgb, (box(0, level, 1, 1),), ACROSS, 26, 0.3),
        Layer("water", "water", (206, 226, 232), tuple(crests)),
    ]


def underwater(dice: Dice) -> list[Layer]:
    """Below the water: rays of light, weeds and bubbles over a sandy bed."""
    rgb = _like(dice, dice.pick(((30, 128, 160), (24, 104, 150), (38, 140, 138))))
    bed = dice.between(0.8, 0.9)
    r, g, b = (min(255, c + 24) for c in rgb)
    rays = tuple(
        [(x, -0.05), (x + 0.08, -0.05), (x - 0.2, 1), (x - 0.36, 1)]
        for x in (dice.between(0, 0.5), dice.between(0.6, 1.3))
    )
    weeds: list[Ring] = []
    for _ in range(dice.whole(2, 5)):
        x, top = dice.random(), dice.between(0.56, 0.8)
        weeds += stroke(
            curve((x, 1), (x + dice.between(-0.14, 0.14), 0.85), (x + dice.between(-0.06, 0.06), top), 5), 0.03, 0.01
        )
    bubbles = tuple(oval(dice.random(), dice.random(), s, s) for s in (0.008, 0.011, 0.015, 0.009))
    return [
        Layer("water", "water", rgb, (WHOLE,), BLOTCH, 16, 0.5),
        Layer("water", "water", (r, g, b), rays, BLOTCH, 10, 0.6),
        Layer("sand", "sand", _like(dice, (190, 170, 124)), (_hill(dice, bed, 0.03),), FINE, 14),
        Layer("seaweed", "leaves", _like(dice, (36, 112, 70)), tuple(weeds)),
        Layer("bubble", "", (196, 232, 240), bubbles),
    ]


def beach(dice: Dice) -> list[Layer]:
    """Sand before a strip of sea."""
    level = dice.between(0.26, 0.36)
    shore = level + dice.between(0.12, 0.2)
    return [
        *_sky(dice, (120, 190, 240), (150, 206, 240), (240, 196, 160)),
        Layer("water", "water", _like(dice, (52, 148, 178)), (box(0, level, 1, 1),), ACROSS, 22),
        Layer("foam", "water", (238, 242, 240), (_hill(dice, shore, 0.015),)),
        Layer("sand", "sand", _like(dice, (226, 202, 150)), (_hill(dice, shore + 0.025, 0.015),), FINE, 16, 0.12),
        Layer("pebble", "rock", _like(dice, (168, 150, 126)), _bits(dice, dice.whole(3, 9), shore + 0.1, 0.014)),
    ]


def forest(dice: Dice) -> list[Layer]:
    """Between trunks, over moss and ferns."""
    level = dice.between(0.52, 0.64)
    rgb = _like(dice, dice.pick(((58, 92, 58), (74, 104, 62), (86, 98, 58))))
    far: list[Ring] = []
    near: list[Ring] = []
    for i in range(dice.whole(6, 9)):
        x, w = dice.random(), dice.between(0.018, 0.032) if i < 4 else dice.between(0.035, 0.055)
        (far if i < 4 else near).append(
            [(x - w, -0.02), (x + w, -0.02), (x + w * 1.3, level + 0.06), (x - w * 1.3, level + 0.06)]
        )
    ferns = tuple(
        [(x, y), (x + dice.between(-0.03, 0.03), y - 0.06), (x + 0.02, y)]
        for x, y in ((dice.random(), dice.between(level + 0.04, 1)) for _ in range(14))
    )
    return [
        Layer("foliage", "leaves", rgb, (WHOLE,), BLOTCH, 34),
        Layer("trunk", "wood", _like(dice, (78, 68, 54)), tuple(far), DOWN, 12),
        Layer("trunk", "wood", _like(dice, (98, 74, 54)), tuple(near), DOWN, 22),
        Layer("moss", "earth", _like(dice, (96, 92, 56)), (_hill(dice, level, 0.03),), FINE, 24),
        Layer("fern", "leaves", _like(dice, (84, 130, 66)), ferns),
    ]


def meadow(dice: Dice) -> list[Layer]:
    """Grass over rolling hills."""
    level = dice.between(0.36, 0.5)
    tufts = tuple(
        [(x - 0.014, y), (x - 0.01, y - 0.03), (x, y - 0.01), (x + 0.01, y - 0.034), (x + 0.014, y)]
        for x, y in ((dice.random(), dice.between(level + 0.16, 1)) for _ in range(16))
    )
    return [
        *_sky(dice, (126, 188, 240), (164, 204, 236), (190, 200, 208)),
        Layer("hill", "grass", _like(dice, (124, 168, 98)), (_hill(dice, level, 0.05),), BLOTCH, 10),
        Layer(
            "grass",
            "grass",
            _like(dice, dice.pick(((106, 166, 70), (132, 172, 74)))),
            (_hill(dice, level + 0.12, 0.03),),
            FINE,
            24,
            0.25,
        ),
        Layer("grass", "grass", _like(dice, (78, 132, 56)), tufts),
    ]


def mountain(dice: Dice) -> list[Layer]:
    """Peaks with snow on them, over stony ground."""
    layers = _sky(dice, (130, 176, 226), (176, 192, 214), (224, 190, 176))
    for x in sorted((dice.between(0, 1) for _ in range(3)), key=lambda v: abs(v - 0.5)):
        top, wide = dice.between(0.08, 0.26), dice.between(0.36, 0.5)
        rgb = _like(dice, (112, 112, 128))
        layers.append(Layer("mountain", "rock", rgb, ([(x - wide, 0.66), (x, top), (x + wide, 0.66)],), DOWN, 22))
        k = 0.28
        zag = [(x - wide * k, top + (0.66 - top) * k), (x - wide * k / 3, top + (0.66 - top) * k * 0.8)]
        zag += [(x + wide * k / 4, top + (0.66 - top) * k * 1.1), (x + wide * k, top + (0.66 - top) * k), (x, top)]
        layers.append(Layer("snow", "snow", (240, 242, 246), (zag,)))
    ground = dice.between(0.56, 0.64)
    return [
        *layers,
        Layer("rock", "rock", _like(dice, (134, 126, 112)), (_hill(dice, ground, 0.03),), FINE, 26),
        Layer("stone", "rock", _like(dice, (100, 98, 98)), _bits(dice, dice.whole(6, 12), ground + 0.08, 0.03)),
    ]


def desert(dice: Dice) -> list[Layer]:
    """Dunes in the sun."""
    level = dice.between(0.38, 0.5)
    x, y = dice.between(0.1, 0.9), dice.between(0.08, 0.24)
    return [
        *_sky(dice, (238, 190, 132), (232, 206, 166), (140, 188, 226)),
        Layer("sun", "", (255, 244, 204), (oval(x, y, 0.06, 0.06),)),
        Layer("dune", "sand", _like(dice, (214, 158, 96)), (_hill(dice, level, 0.07),), BLOTCH, 8),
        Layer("dune", "sand", _like(dice, (226, 176, 108)), (_hill(dice, level + 0.12, 0.06),), ACROSS, 12),
        Layer("dune", "sand", _like(dice, (202, 148, 88)), (_hill(dice, level + 0.32, 0.05),), ACROSS, 14),
        Layer("stone", "rock", _like(dice, (150, 112, 80)), _bits(dice, dice.whole(2, 6), level + 0.2, 0.025)),
    ]


def snow(dice: Dice) -> list[Layer]:
    """A white land, in most pictures with flakes in the air."""
    level = dice.between(0.4, 0.54)
    flakes = tuple(oval(dice.random(), dice.random(), 0.009, 0.009) for _ in range(dice.pick((0, 14, 22, 30))))
    return [
        *_sky(dice, (176, 196, 216), (150, 172, 200), (196, 200, 210)),
        Layer("snow", "snow", _like(dice, (206, 216, 230), 8), (_hill(dice, level, 0.06),), BLOTCH, 8),
        Layer("snow", "snow", _like(dice, (232, 238, 246), 6), (_hill(dice, level + 0.16, 0.05),), BLOTCH, 9, 0.08),
        *([Layer("snowflake", "snow", (252, 253, 255), flakes)] if flakes else []),
    ]


def room(dice: Dice) -> list[Layer]:
    """A room: wallpaper, a skirting board, floor boards, a window or a picture on the wall."""
    level = dice.between(0.6, 0.7)
    wall = _like(dice, dice.pick(((206, 190, 160), (172, 190, 180), (196, 176, 186), (160, 176, 200), (216, 206, 190))))
    r, g, b = (max(0, c - 14) for c in wall)
    step = dice.between(0.09, 0.14)
    bands = tuple(box(step * i, 0, step * (i + 0.5), level) for i in range(12)) if dice.chance(0.6) else ()
    planks = tuple(box(0, y, 1, y + 0.006) for y in (level + 0.08, level + 0.16, level + 0.25, level + 0.34))
    x, y = dice.between(0.06, 0.66), dice.between(0.06, 0.16)
    inside = _like(dice, (170, 208, 238) if (window := dice.chance(0.5)) else (186, 150, 110), 24)
    return [
        Layer("wall", "plaster", wall, (WHOLE,), BLOTCH, 5),
        *([Layer("wall", "plaster", (r, g, b), bands, BLOTCH, 5)] if bands else []),
        Layer("frame", "wood", (240, 236, 226) if window else (96, 66, 42), (box(x, y, x + 0.28, y + 0.28),)),
        Layer(
            "pane" if window else "painting",
            "glass" if window else "",
            inside,
            (box(x + 0.03, y + 0.03, x + 0.25, y + 0.25),),
            BLOTCH,
            12,
        ),
        *(
            [
                Layer(
                    "frame",
                    "wood",
                    (240, 236, 226),
                    (box(x + 0.13, y, x + 0.15, y + 0.28), box(x, y + 0.13, x + 0.28, y + 0.15)),
                )
            ]
            if window
            else []
        ),
        Layer(
            "floor",
            "wood",
            _like(dice, dice.pick(((166, 118, 76), (138, 100, 70), (182, 142, 100)))),
            (box(0, level, 1, 1),),
            ACROSS,
            22,
        ),
        Layer("floor", "wood", (96, 68, 46), planks),
        Layer("skirting", "wood", (236, 230, 218), (box(0, level - 0.025, 1, level + 0.01),)),
    ]


BACKDROPS: dict[str, Callable[[Dice], list[Layer]]] = {
    maker.__name__: maker for maker in (street, sea, underwater, beach, forest, meadow, mountain, desert, snow, room)
}
