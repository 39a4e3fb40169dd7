"""PASCAL VOC 2012: boxes with flags as XML, segmentation as palette pictures, lists of pictures for every class.

Classes are numbered in alphabetical order from 1, as the real ones are.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from wherefore.scenes.annotated import Array, Scene
from wherefore.scenes.formats.files import (
    FORMATS,
    Tree,
    Writer,
    box_tree,
    jpeg,
    lines,
    png,
    seen,
    size_tree,
    xml,
)
from wherefore.scenes.world import CATEGORIES

ROOT = "VOCdevkit/VOC2012/"
NUMBERS = {category: i for i, category in enumerate(sorted(CATEGORIES), 1)}
YEARS = {"train": 2011, "val": 2012}  # names of pictures begin with one, and those of both parts lie in one folder
VOID = 255


@FORMATS("voc")
class Voc(Writer):
    """PASCAL VOC 2012: boxes (1-based, inclusive) with flags, classes and instances as palette PNG with a void rim."""

    name = "voc"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.shown: dict[str, dict[str, dict[str, bool]]] = defaultdict(dict)  # split, name, category: all difficult

    def index(self, split: str) -> str:
        return f"{ROOT}ImageSets/Main/{split}.txt"

    def picture(self, scene: Scene, split: str, number: int) -> str:
        name, things = f"{YEARS[split]}_{number:06d}", seen(scene)
        self.put(f"{ROOT}JPEGImages/{name}.jpg", jpeg(scene))
        self.put(f"{ROOT}Annotations/{name}.xml", xml("annotation", _annotation(scene, name)))
        owners = np.zeros((scene.size, scene.size), np.uint8)
        for instance, i in enumerate(things, 1):
            owners[scene.masks[i]] = instance
        classes = np.array([0, *(NUMBERS[scene.things[i].category] for i in things)], np.uint8)[owners]
        for kind, numbers in (("Class", classes), ("Object", owners)):
            self.put(f"{ROOT}Segmentation{kind}/{name}.png", png(np.where(rim(owners), VOID, numbers), palette()))
        difficult = self.shown[split][name] = {}
        for i in things:
            category = scene.things[i].category
            difficult[category] = difficult.get(category, True) and scene.flags[i].difficult
        return f"{ROOT}JPEGImages/{name}.jpg"

    def lists(self, split: str) -> None:
        shown = self.shown[split]
        self._list("Segmentation/", split, list(shown))
        for category in CATEGORIES:
            marks = {name: {None: -1, True: 0, False: 1}[here.get(category)] for name, here in shown.items()}
            self._list(f"Main/{category}_", split, [f"{name} {mark:2d}" for name, mark in marks.items()])
        self._list("Main/", split, list(shown))

    def _list(self, start: str, split: str, rows: list[str]) -> None:
        """Writes the list of one part, and before it that of both parts as far as they are there."""
        other = self.folder / f"{ROOT}ImageSets/{start}{'val' if split == 'train' else 'train'}.txt"
        both = rows + (other.read_text().splitlines() if other.exists() else [])
        self.put(f"{ROOT}ImageSets/{start}trainval.txt", lines(sorted(both)))
        self.put(f"{ROOT}ImageSets/{start}{split}.txt", lines(rows))


def rim(owners: Array) -> Array:
    """The pixels ``(H, W)`` around each thing that show what is behind it: nobody could say whose they are."""
    padded = np.pad(owners, 1)
    around = [padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]
    return np.max(around, 0) > owners


def palette() -> bytes:
    """The colours of VOC: the bits of a number, three by three, are the highest bits of red, green and blue."""
    numbers = np.arange(256)[:, None] >> np.array([0, 1, 2])
    colours = sum(((numbers >> 3 * bit) & 1) << 7 - bit for bit in range(8))
    return np.asarray(colours, np.uint8).tobytes()


def _annotation(scene: Scene, name: str) -> Tree:
    """What the XML of a picture says."""
    return [
        ("folder", "VOC2012"),
        ("filename", f"{name}.jpg"),
        ("source", [("database", "scenes of wherefore"), ("annotation", "drawn"), ("image", scene.world.seed)]),
        ("size", size_tree(scene)),
        ("segmented", 1),
        *(("object", _object(scene, i)) for i in seen(scene)),
    ]


def _object(scene: Scene, i: int) -> Tree:
    flags = scene.flags[i]
    return [
        ("name", scene.things[i].category),
        ("pose", "Unspecified"),
        ("truncated", int(flags.truncated)),
        ("occluded", int(flags.occluded)),
        ("bndbox", box_tree(scene.boxes[i], 1)),
        ("difficult", int(flags.difficult)),
    ]
