"""What all formats share: numbers of pictures, files that are whole or not there, pictures, XML, tables."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from PIL import Image

from wherefore.errors import Error
from wherefore.registry import Registry
from wherefore.saving import made, write_whole
from wherefore.scenes.annotated import Array, Scene
from wherefore.scenes.world import VERSION

FORMATS = Registry("format of scenes")
SPLITS = {"train": "train", "dev": "val", "test": "val"}  # of scenes, and what the real data sets call them
NOTICE = (
    "Scenes drawn by wherefore, in the form of {}: a stand-in (world {}), not the data set of that name.\n"
    "Numbers on scenes are not those of any paper. scenes_*.csv say which picture shows which scene.\n"
)
Tree = str | int | list[tuple[str, "Tree"]]  # what is inside an XML element


class Writer:
    """Writes scenes into a folder in one format: pictures by `add`, lists by `finish`.

    A format says how one scene is written, and which files it writes when all scenes of a split have come.
    """

    name = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.origins: dict[str, list[tuple[str, str, int, str]]] = {}  # split -> picture, scene's split, number, seed
        self._folders: set[Path] = set()

    def index(self, split: str) -> str:
        """The list that readers open first, written last: where it is, all is."""
        raise NotImplementedError

    def picture(self, scene: Scene, split: str, number: int) -> str:
        """Writes the files of a scene, the ``number``-th of its split from 1; the path of its picture."""
        raise NotImplementedError

    def lists(self, split: str) -> None:
        """Writes what is said of all scenes of a split, its index last."""
        raise NotImplementedError

    def add(self, scene: Scene) -> None:
        """Writes the files of a scene."""
        split = SPLITS[scene.world.split]
        if split not in self.origins:
            if (self.folder / self.index(split)).exists():
                raise Error(f"{self.folder / self.index(split)} is there already: give another folder.")
            self.origins[split] = []
        world = scene.world
        path = self.picture(scene, split, len(self.origins[split]) + 1)
        self.origins[split].append((path, world.split, world.number, world.seed))

    def finish(self) -> None:
        """Writes the lists."""
        if not self.origins:
            raise Error("there is no scene to write: give at least one.")
        for split, rows in self.origins.items():
            self.put(f"scenes_{self.name}_{split}.csv", table(("picture", "split", "number", "seed"), rows))
            self.lists(split)
        self.put("README_scenes.txt", NOTICE.format(self.name, VERSION))

    def put(self, path: str, content: bytes | str) -> None:
        """Writes a file below the folder, whole or not at all."""
        file = self.folder / path
        if file.parent not in self._folders:
            self._folders.add(made(file.parent))
        write_whole(file, content.encode() if isinstance(content, str) else content)


def seen(scene: Scene) -> list[int]:
    """The numbers of the things of which anything can be seen."""
    return [i for i, mask in enumerate(scene.masks) if mask.any()]


def jpeg(scene: Scene) -> bytes:
    """The picture as a JPEG file of high quality; without our mark, which only what is drawn over pictures bears."""
    buffer = io.BytesIO()
    scene.image.save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def png(pixels: Array, palette: bytes | None = None) -> bytes:
    """Pixels of uint8, grey, RGB or numbers of a palette's colours, as a PNG file."""
    buffer, image = io.BytesIO(), Image.fromarray(pixels)
    if palette is not None:
        image.putpalette(palette)
    image.save(buffer, "PNG")
    return buffer.getvalue()


def xml(tag: str, content: Tree) -> bytes:
    """A tree of names and contents as an XML file, indented by tabs as the real ones are."""
    root = _element(tag, content)
    ElementTree.indent(root, "\t")
    return ElementTree.tostring(root) + b"\n"


def box_tree(box: Iterable[int], first: int) -> Tree:
    """A box, inclusive, where the first pixel has that number."""
    return [(tag, int(edge) + first) for tag, edge in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)]


def size_tree(scene: Scene) -> Tree:
    """How large the picture is."""
    return [("width", scene.size), ("height", scene.size), ("depth", 3)]


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows as a CSV file."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([header, *rows])
    return buffer.getvalue()


def lines(rows: Iterable[object]) -> str:
    """Rows as a text file."""
    return "".join(f"{row}\n" for row in rows)


def dense(value: Any) -> str:
    """JSON on one line, as the real ones are: polygons have thousands of numbers."""
    return json.dumps(value, allow_nan=False) + "\n"


def _element(tag: str, content: Tree) -> ElementTree.Element:
    element = ElementTree.Element(tag)
    if isinstance(content, list):
        element.extend(_element(*child) for child in content)
    else:
        element.text = str(content)
    return element
