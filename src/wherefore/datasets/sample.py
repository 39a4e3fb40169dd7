"""Sample: one picture of a data set and what people said of it; Dataset: a list of these that is read as it is used.

Boxes are ``(x0, y0, x1, y1)`` with inclusive corners in the decoded picture's own pixels, whatever a data set writes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wherefore.errors import Error
from wherefore.registry import unknown
from wherefore.scenes.annotated import Region

Array = np.ndarray[Any, Any]
Box = tuple[int, int, int, int]
VOID = 255  # in a segmentation: nobody could say what is there


@dataclass(frozen=True)
class Instance:
    """One thing in a picture: its category, its box, its mask where there is one, and how hard it is to find.

    ``difficult`` as VOC flags it; ``crowd``: many of the kind in one region, as COCO has them.
    """

    category: str
    box: Box
    outline: Callable[[], Array | None] | None = field(default=None, repr=False, compare=False)  # gives the mask
    difficult: bool = False
    crowd: bool = False

    @cached_property
    def mask(self) -> Array | None:
        """Which pixels show it, ``(H, W)`` of bool; None where nobody drew them, but a box alone."""
        return None if self.outline is None else self.outline()


@dataclass(frozen=True)
class Asked:
    """A question about a picture, and what people answered.

    ``answer`` is the one that most gave, ``answers`` those of all people (of a scene the answer alone), ``kind`` what
    sort of question it is, in the data set's own words. ``looked`` gives where each person looked who was asked for it,
    maps ``(H, W)`` of float32 from 0 to 1 in the picture's pixels; it is None where nobody was.
    """

    text: str
    answer: str
    kind: str
    answers: tuple[str, ...]
    id: str = ""
    looked: Callable[[], tuple[Array, ...]] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Concepts:
    """What the pixels of a picture show of one kind of concept: color, object, material, part, scene or texture.

    ``where`` ``(h, w)`` holds numbers of ``names`` from 1, 0 for none of them; it may be coarser than the picture. What
    can be two things of one kind, a wheel and a part of it, has one such map for each.
    """

    kind: str
    names: tuple[str, ...]
    where: Array


@dataclass(frozen=True)
class Sample:
    """A picture and what is known of it. It is decoded when ``image`` is first asked for.

    ``labels`` are the categories that are said to be in it, each once: of a picture of ILSVRC one. ``segmentation``
    gives the class of each pixel ``(H, W)``: 0 background, else 1 + the place in the data set's classes, 255 unknown.
    ``regions`` are parts of it with captions of their own, ``questions`` what was asked about it, ``labelled`` gives
    the concepts that its pixels show. ``group`` is what goes along with its labels, or should not, and ``parted`` gives
    the masks of its named ``parts``: for audits.
    ``boxed`` is False where its boxes are not to be counted (ILSVRC's blacklist) or nobody drew any. ``notes`` say what
    was mended in reading: "box clipped to the picture". ``known_size`` is its size as its file's header has it, where
    that was read. Samples are equal where all that is said of them is.
    """

    name: str
    source: Callable[[], Image.Image] = field(repr=False, compare=False)
    labels: tuple[str, ...] = ()
    instances: tuple[Instance, ...] = ()
    segmented: Callable[[], Array] | None = field(default=None, repr=False, compare=False)
    captions: tuple[str, ...] = ()
    boxed: bool = True
    notes: tuple[str, ...] = ()
    known_size: tuple[int, int] | None = None
    regions: tuple[Region, ...] = ()
    questions: tuple[Asked, ...] = ()
    labelled: Callable[[], tuple[Concepts, ...]] | None = field(default=None, repr=False, compare=False)
    group: str = ""
    parted: Callable[[], Mapping[str, Array]] | None = field(default=None, repr=False, compare=False)

    @cached_property
    def image(self) -> Image.Image:
        """The picture, RGB, each pixel where the annotations mean it. Raises `Error` for a damaged file."""
        return self.source()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels; the picture is decoded only where its header was not read."""
        return self.known_size or self.image.size

    @cached_property
    def segmentation(self) -> Array | None:
        """The class of each pixel ``(H, W)``, None where it was not annotated."""
        return None if self.segmented is None else self.segmented()

    @cached_property
    def concepts(self) -> tuple[Concepts, ...]:
        """The concepts that its pixels show, by kind; none where nobody labelled them."""
        return () if self.labelled is None else self.labelled()

    @cached_property
    def parts(self) -> Mapping[str, Array]:
        """Which pixels show each of its named parts, ``(H, W)`` of bool; none where nobody named any."""
        return {} if self.parted is None else self.parted()

    def of(self, category: str) -> list[Instance]:
        """Its things of a category, difficult ones and crowds among them."""
        return [each for each in self.instances if each.category == category]

    def boxes(self, category: str) -> list[Box]:
        """The boxes of a category's things."""
        return [each.box for each in self.of(category)]

    def mask(self, category: str) -> Array:
        """Where a category is, ``(H, W)`` of bool: the masks of its things, their boxes where there are no masks."""
        found = np.zeros(self.size[::-1], bool)
        for each in self.of(category):
            if each.mask is not None:
                found |= each.mask
            else:
                x0, y0, x1, y1 = each.box
                found[y0 : y1 + 1, x0 : x1 + 1] = True
        return found

    def only_difficult(self, category: str) -> bool:
        """Whether all things of a category are flagged as difficult; False where none is annotated."""
        return bool(self.of(category)) and all(each.difficult for each in self.of(category))


class Dataset(Sequence[Sample]):
    """Samples by number, read when they are asked for, and the names of the classes that they can have.

    ``name`` is its registry name, ``spec`` what it was opened by (``voc:DIR``), ``split`` which part of it this is.
    ``comparable``: whether its classes (of VQA its questions) are the real data set's, so that numbers on it can stand
    beside the paper's. ``drawn``: its pictures are drawn from numbers, so that none can be missing or damaged.
    Asking for a sample that is listed but cannot be read raises `Error` with the sentence that says why.
    """

    name: str
    spec: str
    split: str
    classes: tuple[str, ...]
    comparable: bool = False
    drawn: bool = False

    @cached_property
    def fingerprint(self) -> str:
        """What differs when a file below its folder does: the sha256 of the names, sizes and times of all of them."""
        digest, where = hashlib.sha256(), self.spec.partition(":")[2]
        root = Path(where).expanduser()
        for folder, inner, files in os.walk(root) if where else ():
            inner.sort()
            for name in sorted(files):
                state = os.lstat(os.path.join(folder, name))
                digest.update(f"{os.path.relpath(folder, root)}/{name} {state.st_size} {state.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def number(self, category: str) -> int:
        """The place of a category among the classes; an `Error` that suggests others where there is none."""
        if category not in self._numbers:
            raise Error(unknown(f"class of {self.spec}", category, self.classes))
        return self._numbers[category]

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {category: i for i, category in enumerate(self.classes)}

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self.sample(i) for i in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(number)
        return self.sample(number % len(self))

    def sample(self, number: int) -> Sample:
        """The sample of that number, from 0."""
        raise NotImplementedError


def clipped(box: Sequence[float], size: tuple[int, int]) -> tuple[Box | None, bool]:
    """A box with inclusive corners within a picture of that size, None where nothing is left of it; and whether it
    had to be clipped."""
    x0, y0, x1, y1 = (round(v) for v in box)
    width, height = size
    inside = max(x0, 0), max(y0, 0), min(x1, width - 1), min(y1, height - 1)
    if inside[0] > inside[2] or inside[1] > inside[3]:
        return None, True
    return inside, inside != (x0, y0, x1, y1)
