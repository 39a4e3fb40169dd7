"""People: drawn doctors and nurses, whose clothes tell which they are, and whose hair may be tied to it by chance.

For the experiment on a biased data set of Selvaraju et al. (IJCV 2020, section 6.3), whose photographs cannot be had.
There 78 % of the doctors were men and 93 % of the nurses women, as pictures that a search engine finds are. Here the
same rates tie *long and short hair* (and lips, earrings, brows, beards) to the label. These are drawn appearances:
they stand for what the paper's annotators perceived, and say nothing of the gender of anybody.

What a figure shows besides its hair depends on its number alone: the biased and the balanced set show the same people
in the same clothes before the same walls, with other hair.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from wherefore.errors import Error
from wherefore.registry import unknown
from wherefore.scenes.annotated import Box, box_of
from wherefore.scenes.draw import RIM, Drawing, Dress, Patch, backdrop, lit, mixed, nearest, paste
from wherefore.scenes.portraits import OUTLINES, PARTS, Person, dressed, half_figure, paints, ward
from wherefore.scenes.strokes import Shape
from wherefore.scenes.world import SPLITS, Dice, Light, Thing, whole

Array = np.ndarray[Any, Any]
VERSION = 1  # of the drawn people: another number means other pictures, and networks trained anew
LABELS = ("doctor", "nurse")
HAIR = ("short", "long")
PART_NAMES = ("hair", "face", "neck", "arms", "clothes", "stethoscope", "clipboard", "background")
# Of a hundred of each label, so many have long hair: as perceived men and women in the paper, and half and half.
BIASED = {"doctor": 22, "nurse": 93}
BALANCED = {"doctor": 50, "nurse": 50}


@dataclass(frozen=True)
class Cue:
    """How plainly clothes tell the label: what is thrown for each picture.

    ``size`` of sleeves, lapels, stethoscope and pockets, and ``contrast`` to the cloth, from 0 to the largest; in a
    share ``hidden`` of pictures a clipboard covers the chest.
    """

    size: tuple[float, float]
    contrast: tuple[float, float]
    hidden: float = 0.25


def visible(v: float) -> Cue:
    """The cue at a visibility of 0 to 1: each picture has a size of 0 to ``v`` and a contrast of .05 to ``v / 2``."""
    return Cue((0.0, v), (0.05, max(0.05, v / 2)))


CUE = visible(0.8)  # chosen on development pictures: docs/people.md


@dataclass(frozen=True)
class Figure:
    """A picture of a doctor or a nurse, of which everything is known.

    ``label`` is doctor or nurse, ``hair`` long or short. ``masks`` say of every part which pixels show it.
    """

    number: int
    split: str
    label: str
    hair: str
    size: int
    cue: Cue

    @cached_property
    def drawing(self) -> Drawing:
        """The picture as it was drawn: pixels, and which patch each of them shows."""
        return _draw(self)

    @cached_property
    def image(self) -> Image.Image:
        """The picture, RGB."""
        return Image.fromarray(self.drawing.pixels)

    @cached_property
    def masks(self) -> dict[str, Array]:
        """Which pixels show each part, ``(H, W)`` of bool: hair, face, neck, arms, clothes ... background."""
        parts = np.array([PART_NAMES.index(patch.part or "background") for patch in self.drawing.patches])
        shown = parts[self.drawing.raster]
        return {name: shown == i for i, name in enumerate(PART_NAMES)}

    @property
    def head(self) -> Array:
        """Which pixels show the hair or the face, ``(H, W)`` of bool: what is tied to the label by chance alone."""
        found: Array = self.masks["hair"] | self.masks["face"]
        return found

    @property
    def face_box(self) -> Box:
        """The box around what can be seen of the face: x0, y0, x1, y1, inclusive."""
        return box_of(self.masks["face"])

    @property
    def swapped(self) -> Figure:
        """The same person in the same clothes, with long hair for short and short for long."""
        return replace(self, hair=HAIR[self.hair == "short"])


def figure(number: int, split: str = "test", balanced: bool = True, size: int = 64, cue: Cue = CUE) -> Figure:
    """Figure ``number`` of a split (test, dev, train), drawn when its picture is first asked for.

        people.figure(3).image
        people.figure(3).label, people.figure(3).hair
        people.figure(3, "train", balanced=False)      # hair goes with the label as in the paper's biased set

    Even numbers are doctors, odd ones nurses. Of 200 figures in a row the rates are exactly those asked for.
    Raises `Error` for a number below 0, an unknown split, or a size below 16 or above 2,048.
    """
    if split not in SPLITS:
        raise Error(unknown("split of people", split, SPLITS))
    number = whole(number, 0, 10**15, "people are numbered from {} to {}")
    size = whole(size, 16, 2048, "people are drawn at {} to {} pixels on a side")
    label = LABELS[number % 2]
    turn = number // 2 * 37 + SPLITS.index(split) * 11  # 37 and 100 have no common factor: each hundredth comes once
    long = turn % 100 < (BALANCED if balanced else BIASED)[label]
    return Figure(number, split, label, HAIR[long], size, cue)


# -------------------------------------------------------------------------------------------- drawing


def _draw(figure: Figure) -> Drawing:
    """The picture of a figure: a wall, a person before it, light."""
    seed = f"people {VERSION} {figure.split} {figure.number}"
    dice, size = Dice(seed), figure.size
    noise = np.random.RandomState(dice.whole(0, 2**31 - 1))
    light, thing = _light(dice), _pose(dice)
    pixels, raster, patches = backdrop(ward(Dice(seed + " wall")), size, noise)
    person = _person(Dice(seed + " person"), figure)
    shapes = half_figure(Dice(seed + " pose"), person)
    colours = paints(person)
    whole = paste(pixels, raster, len(patches), shapes, thing, light, _dress(shapes, person))
    patches += [Patch(0, "person", PARTS[s.part], "", nearest(colours[s.paint]), "plain") for s in shapes]
    return Drawing(lit(pixels, light, noise), raster, tuple(patches), (whole,))


def _light(dice: Dice) -> Light:
    """Indoor light of some kind."""
    gain, warmth, angle = dice.between(0.8, 1.1), dice.between(-0.05, 0.05), dice.between(0, 360)
    return Light(gain, warmth, angle, dice.between(0, 0.2), dice.between(2, 10))


def _pose(dice: Dice) -> Thing:
    """Where a figure stands and how it leans; either side may be its right."""
    x, y, size, angle = (
        dice.between(0.44, 0.56),
        dice.between(0.53, 0.58),
        dice.between(0.44, 0.52),
        dice.between(-4, 4),
    )
    flip, stretch, shear = dice.chance(0.5), dice.between(0.92, 1.08), dice.between(-0.04, 0.04)
    return Thing("person", "white", "plain", x, y, size, angle, flip, stretch, shear)


def _person(dice: Dice, figure: Figure) -> Person:
    """Who is drawn: the same throws whatever the label, the hair and the cue."""
    size, contrast, hidden = dice.random(), dice.random(), dice.random()
    (s0, s1), (k0, k1) = figure.cue.size, figure.cue.contrast
    strength = s0 + (s1 - s0) * size
    return dressed(dice, figure.label, figure.hair, strength, k0 + (k1 - k0) * contrast, hidden < figure.cue.hidden)


def _dress(shapes: list[Shape], person: Person) -> Dress:
    """The colours of the shapes by number, and their outlines: dark ones, and none between cloth and what is on it."""
    colours, palette = paints(person), np.zeros((256, 4), np.uint8)
    names = [OUTLINES.get(shape.part, shape.part) for shape in shapes]
    groups = np.zeros(256, np.uint8)
    for number, shape in enumerate(shapes, 1):
        groups[number] = 1 + names.index(names[number - 1])
        palette[number] = (*colours[shape.paint], 255)
        palette[number | RIM] = (*mixed(colours[shape.paint], 0.5), 255)
    return Dress(palette.view(np.uint32)[:, 0], groups)
