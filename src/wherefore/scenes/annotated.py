"""A scene: the drawn picture of a world, and all that is true of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from wherefore.errors import Error
from wherefore.registry import unknown
from wherefore.scenes import language
from wherefore.scenes.draw import Drawing, draw
from wherefore.scenes.language import Question
from wherefore.scenes.world import COUNTS, PREFIX, SPLITS, World, imagine, whole

Array = np.ndarray[Any, Any]
CONCEPTS = ("color", "object", "material", "part", "scene", "texture")  # the six kinds of Broden, in its spelling
ENDINGS = {"color": "-c", "scene": "-s"}  # of their names, so that sea the scene is not sea the object
Box = tuple[int, int, int, int]  # x0, y0, x1, y1, inclusive
# How generously each of three people sharpens around what they look at, in shares of the side.
PEOPLE = (0.04, 0.02, 0.08)


@dataclass(frozen=True)
class Region:
    """A part of a picture with a sentence of its own, as dense captions have."""

    caption: str
    box: Box


@dataclass(frozen=True)
class Flags:
    """What makes a thing hard to find: each flag as the data sets know it, or as it is drawn."""

    truncated: bool  # its box touches the border
    occluded: bool  # another thing covers more than a tenth of it
    small: bool  # it fills less than 3 % of the picture
    astray: bool  # it does not belong to this place

    @property
    def difficult(self) -> bool:
        """What VOC would call difficult: small or occluded."""
        return self.small or self.occluded


@dataclass(frozen=True)
class Scene:
    """A picture of our own world, of which everything is known.

    ``image`` is the picture, ``size`` its side in pixels, ``world`` what is in it (`wherefore.scenes.world.World`).
    Masks show what can be seen of a thing, and boxes enclose them: ``masks`` ``(N, H, W)`` of bool and ``boxes``
    ``(N, 4)`` as x0, y0, x1, y1 in pixels, inclusive, in the order of ``things``, the farthest first.
    """

    world: World
    size: int

    @cached_property
    def drawing(self) -> Drawing:
        """The picture as it was drawn: pixels, and which patch each of them shows."""
        return draw(self.world, self.size)

    @cached_property
    def image(self) -> Image.Image:
        """The picture, RGB."""
        return Image.fromarray(self.drawing.pixels)

    @property
    def name(self) -> str:
        """What it is called wherever a picture is wanted: ``scenes:17``, ``scenes:pair/17``, ``scenes:dev/17``."""
        return self.world.name

    @property
    def place(self) -> str:
        """Where it plays: one of `world.PLACES`."""
        return self.world.place

    @property
    def things(self) -> tuple[Any, ...]:
        """What is to be seen, the farthest first: `world.Thing` with category, colour, texture and place."""
        return self.world.things

    @property
    def labels(self) -> tuple[str, ...]:
        """The categories of its things, each once, in the order of `world.CATEGORIES`; not that of ``things``."""
        return self.world.categories

    # ---------------------------------------------------------------------------------------- where

    @cached_property
    def masks(self) -> Array:
        """Which pixels show each thing, ``(N, H, W)`` of bool."""
        owners = self._of_patches([patch.owner for patch in self.drawing.patches])
        found: Array = owners == np.arange(len(self.things))[:, None, None]
        return found

    @cached_property
    def boxes(self) -> Array:
        """The boxes around what can be seen of each thing, ``(N, 4)`` as x0, y0, x1, y1, inclusive."""
        return np.array([box_of(mask) for mask in self.masks], dtype=np.int64).reshape(-1, 4)

    def truth(self) -> list[tuple[str, Array]]:
        """The category and the mask ``(H, W)`` of each thing, for drawing them."""
        return [(thing.category, mask) for thing, mask in zip(self.things, self.masks, strict=True)]

    def mask(self, category: str) -> Array:
        """Which pixels show things of a category, ``(H, W)`` of bool."""
        if category not in self.labels:
            raise Error(unknown(f"thing in {self.name}", category, self.labels))
        return self._any([i for i, thing in enumerate(self.things) if thing.category == category])

    @cached_property
    def parts(self) -> dict[tuple[int, str], Array]:
        """The masks ``(H, W)`` of the parts that can be seen, by the number of the thing and the name of the part."""
        found: dict[tuple[int, str], Array] = {}
        for index in np.unique(self.drawing.raster):
            patch = self.drawing.patches[index]
            if patch.owner >= 0 and patch.part:
                key, here = (patch.owner, patch.part), self.drawing.raster == index
                found[key] = found[key] | here if key in found else here
        return dict(sorted(found.items()))

    def concepts(self, kind: str) -> tuple[list[str], Array]:
        """The names of the concepts of a kind, and a map ``(H, W)`` of their numbers from 1; 0 is none of them.

        ``kind`` is one of color, object, material, part, scene, texture. What a name's number is depends on the scene.
        """
        if kind not in CONCEPTS:
            raise Error(unknown("kind of concept", kind, CONCEPTS))
        if kind == "scene":
            return [self.place], np.ones((self.size, self.size), np.int64)
        attribute = "colour" if kind == "color" else kind
        of_patches = [getattr(patch, attribute) for patch in self.drawing.patches]
        shown = self.drawing.raster
        names = sorted({of_patches[i] for i in np.unique(shown)} - {""})
        return names, self._of_patches([names.index(n) + 1 if n in names else 0 for n in of_patches])

    @cached_property
    def flags(self) -> tuple[Flags, ...]:
        """What makes each thing hard to find."""
        edge = self.size - 1
        found = []
        for i, thing in enumerate(self.things):
            x0, y0, x1, y1 = self.boxes[i]
            truncated = bool(x0 == 0 or y0 == 0 or x1 == edge or y1 == edge)
            seen = int(self.masks[i].sum())
            occluded = seen < 0.9 * self.drawing.whole[i]
            found.append(Flags(truncated, occluded, seen < 0.03 * self.size**2, not self.world.at_home(thing)))
        return tuple(found)

    def _of_patches(self, values: list[int]) -> Array:
        """What is true of each patch, at every pixel that shows it: ``(H, W)``."""
        return np.array(values, dtype=np.int64)[self.drawing.raster]

    # ---------------------------------------------------------------------------------------- in words

    @cached_property
    def captions(self) -> tuple[str, ...]:
        """Five captions, all true of it."""
        return language.captions(self.world)

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """Captions of its things, each with the box of what it is about."""
        return tuple(
            Region(caption, box_of(self._any(list(things)))) for caption, things in language.phrases(self.world)
        )

    @cached_property
    def questions(self) -> tuple[Question, ...]:
        """Questions with their answers, and the things that a person would have to look at."""
        return language.questions(self.world)

    def looked_at(self, question: Question) -> Array:
        """Which pixels a person would have to look at to answer, ``(H, W)`` of bool."""
        if question.about is None:  # the place: whatever is no thing
            return ~self._any(list(range(len(self.things))))
        return self._any(list(question.about))

    def sharpened(self, question: Question) -> tuple[Array, ...]:
        """Where each of three people looks to answer, as VQA-HAT has it; none where there is nothing to look at.

        Maps ``(H, W)`` of uint8: 255 at the most, fading around what `looked_at` gives.
        """
        looked = self.looked_at(question)
        return tuple(_faded(looked, width) for width in PEOPLE) if looked.any() else ()

    def _any(self, things: list[int]) -> Array:
        """Which pixels show one of these things."""
        found: Array = np.logical_or.reduce(self.masks[things])
        return found


def scene(number: int, split: str = "test", objects: int | None = None, size: int = 128) -> Scene:
    """Scene ``number`` of a split (test, dev, train), drawn when its picture is first asked for.

        wf.scenes.scene(17).image
        wf.scenes.scene(17).captions
        wf.scenes.scene(3, objects=2).boxes       # two objects of different categories

    ``objects``: 1 to 4 of them, by default any number. ``size``: the side in pixels.
    Raises `Error` for a number below 0, an unknown split, or a size below 16 or above 2,048.
    """
    size = whole(size, 16, 2048, "a scene has {} to {} pixels on a side")
    return Scene(imagine(number, split, objects), size)


def named(name: str, size: int = 128) -> Scene:
    """The scene that is called ``scenes:17``, or ``scenes:pair/17``: with one, two, three or four objects ``single``,
    ``pair``, ``three``, ``four``; ``scenes:dev/pair/17`` is one of another split than ``test``.

    Raises `Error` for any other name.
    """
    *parts, number = name.removeprefix(PREFIX).split("/")
    splits, counts = [p for p in parts if p in SPLITS], [p for p in parts if p in COUNTS]
    if (
        not (number.isascii() and number.isdigit() and len(number) < 16)
        or parts != splits + counts
        or len(splits) > 1
        or len(counts) > 1
    ):
        raise Error(f"no scene is called {name[:60]!r}: give scenes:17, scenes:pair/17 (two objects) or scenes:dev/17.")
    return scene(int(number), splits[0] if splits else "test", COUNTS[counts[0]] if counts else None, size)


def _faded(looked: Array, width: float) -> Array:
    """A mask ``(H, W)`` as a map of uint8, 255 at the most, that fades over a share of the side."""
    grey = Image.fromarray(looked.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(width * len(looked)))
    values = np.asarray(grey, np.float32)
    return np.rint(values * (255 / max(values.max(), 1))).astype(np.uint8)


def box_of(mask: Array) -> Box:
    """The box around the true pixels, inclusive; (0, 0, 0, 0) where there are none."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])
