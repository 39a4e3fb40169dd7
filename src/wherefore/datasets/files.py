"""What the readers share: files that are there and whole, or an error that names them; boxes held against pictures."""

from __future__ import annotations

import csv
import json
import math
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from wherefore import imaging
from wherefore.datasets.sample import Array, Instance, clipped
from wherefore.errors import Error

Row = dict[str, Any]
TURNED = range(5, 9)  # orientations in EXIF by which width and height change places


class Unreadable(Error):
    """A file of a data set cannot be used; ``kind`` is why, without the file and what is particular to it."""

    def __init__(self, file: Path, what: str) -> None:
        super().__init__(file, what)  # both, so that it can be pickled
        self.kind = what.partition(" (")[0]

    def __str__(self) -> str:
        return "{} {}.".format(*self.args)


# -------------------------------------------------------------------------------------------- folders and names


def folder_of(name: str, where: str) -> Path:
    """The folder that a spec names; an `Error` where there is none."""
    if not where:
        raise Error(f"the data set {name} lies in a folder: give {name}:DIR.")
    folder = Path(where).expanduser()
    if not folder.is_dir():
        raise Error(f"{folder} {'is no folder' if folder.exists() else 'does not exist'}: {name}:DIR is wanted.")
    return folder


def first(paths: Iterable[Path]) -> Path | None:
    """The first of some paths that is there."""
    return next((path for path in paths if path.exists()), None)


def stored(plain: Path, endings: Iterable[str]) -> Path:
    """The file of a picture whose name is given without ending; that of the first ending where there is none."""
    tried = [plain.with_name(plain.name + ending) for ending in endings]
    return first(tried) or tried[0]


def pictures_in(roots: Iterable[Path], part: str, names: Sequence[str]) -> Path:
    """The folder of the pictures of a part of COCO: val2014, or images, with or without val2014 in it.

    It is the first that has one of those names; some may be absent.
    """
    folders = [root / name for root in roots for name in (part, f"images/{part}", "images", ".")]
    return next((f for f in folders if any((f / name).is_file() for name in names)), first(folders) or folders[0])


def below(folder: Path, name: str, list_: Path) -> Path:
    """The file of that name in a folder; an `Error` where the list that names it would lead out of the folder."""
    plain = PurePosixPath(name.replace("\\", "/"))
    if plain.is_absolute() or ".." in plain.parts or PureWindowsPath(name).drive or not plain.parts or "\0" in name:
        raise Unreadable(list_, f"names a file outside of its folder ({name!r})")
    return folder / plain


def files_in(folder: Path, endings: Collection[str] = imaging.SUFFIXES) -> list[Path]:
    """The files with one of these endings (pictures) in a folder, sorted; hidden ones and folders within are not."""
    with os.scandir(folder) as entries:
        names = sorted(e.name for e in entries if os.path.splitext(e.name)[1].lower() in endings)
    return [folder / name for name in names if not name.startswith(".")]


# -------------------------------------------------------------------------------------------- what is in files


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise Unreadable(path, "does not exist") from None
    except OSError as error:
        raise Unreadable(path, f"cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        raise Unreadable(path, f"is no text ({error.reason})") from None


def lines(path: Path) -> list[str]:
    """The lines of a text file that are not empty."""
    with _reading(path):
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]


def table(path: Path, *columns: str) -> list[dict[str, str]]:
    """The rows of a CSV file; an `Error` where a column is missing, or a row is cut off."""
    try:
        with _reading(path), path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True, restval="")
            missing = [column for column in columns if column not in (rows.fieldnames or ())]
            if missing:
                raise Unreadable(path, f"has no column {' and no column '.join(missing)}: its first line names them")
            return list(rows)
    except csv.Error as error:
        raise Unreadable(path, f"is a damaged CSV file ({error})") from None


def json_of(path: Path) -> Any:
    """What a JSON file holds."""
    with _reading(path):
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise Unreadable(path, f"is a damaged JSON file ({error})") from None
        except RecursionError:
            raise Unreadable(path, "is a damaged JSON file (nested without end)") from None


def rows_of(found: Any, kind: str, path: Path, *keys: str) -> list[Row]:
    """A list by its name in what a JSON file holds, every row of which says those keys."""
    return rows(found.get(kind) if isinstance(found, dict) else None, kind, path, *keys)


def rows(listed: Any, kind: str, path: Path, *keys: str) -> list[Row]:
    """A list in a JSON file, every row of which says those keys."""
    if not isinstance(listed, list):
        raise Unreadable(path, f"has no list of {kind}, which is expected there")
    for i, row in enumerate(listed):
        if not isinstance(row, dict) or any(isinstance(row.get(key), (type(None), list, dict)) for key in keys):
            raise Unreadable(path, f"has {kind} without {' or '.join(keys)} (number {i})")
    return listed


def by_image(listed: list[Row]) -> dict[Any, list[Row]]:
    """Rows by the picture that they are about."""
    found = defaultdict(list)
    for row in listed:
        found[row["image_id"]].append(row)
    return dict(found)


def picture(path: Path, upright: bool = False) -> Image.Image:
    """The picture in a file, by default with its pixels as they are stored: that is what is annotated."""
    try:
        return imaging.read(path, upright)
    except Error as error:
        raise Unreadable(path, str(error).removeprefix(f"{path} ").rstrip(".")) from None


def size_of(path: Path, upright: bool = False) -> tuple[int, int]:
    """Width and height of a picture, from the header of its file."""
    with _reading(path):
        try:
            with Image.open(path) as image:
                turned = upright and image.getexif().get(0x0112) in TURNED
                return image.size[::-1] if turned else image.size
        except (UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError, EOFError):
            raise Unreadable(path, "is not a picture, or of a kind that cannot be read") from None


# -------------------------------------------------------------------------------------------- boxes and masks


@dataclass(frozen=True)
class Said:
    """What an annotation says of one thing: its box with inclusive corners from 0, which may be wrong."""

    category: str
    box: tuple[float, ...]
    difficult: bool = False
    crowd: bool = False
    outline: Callable[[], Array | None] | None = None


def held(
    things: Iterable[Said], size: tuple[int, int], classes: Mapping[str, int]
) -> tuple[tuple[Instance, ...], list[str]]:
    """The things as they are in a picture of that size, and what had to be mended; left out what cannot be."""
    instances, notes = [], []
    for each in things:
        if each.category not in classes:
            notes.append(f"unknown class {each.category!r} left out")
            continue
        x0, y0, x1, y1 = each.box
        if x0 > x1 or y0 > y1:
            notes.append("corners of a box exchanged")
        box, cut = clipped((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), size)
        if box is None:
            notes.append("box outside of the picture left out")
            continue
        if cut:
            notes.append("box clipped to the picture")
        instances.append(Instance(each.category, box, each.outline, each.difficult, each.crowd))
    return tuple(instances), list(dict.fromkeys(notes))


def four(values: Iterable[Any], file: Path) -> tuple[float, ...]:
    """The four numbers of a box; an `Error` where they are not."""
    written = list(values)
    try:
        numbers = tuple(float(value) for value in written)
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        raise Unreadable(file, f"has a box that is not four numbers ({', '.join(map(str, written))[:60]})")
    return numbers


def touched(box: Sequence[float]) -> tuple[int, int, int, int]:
    """The first and the last pixels that x, y, width and height touch."""
    x, y, width, height = box
    # Rounded first: 0.1 + 0.2 touches no further pixel than 0.3 does.
    return math.floor(x), math.floor(y), math.ceil(round(x + width, 3)) - 1, math.ceil(round(y + height, 3)) - 1


def fitted(mask: Array, size: tuple[int, int]) -> Array:
    """A mask ``(H, W)`` of bool in a picture of that size, cut off or continued by nothing where it has another."""
    width, height = size
    found = np.zeros((height, width), bool)
    part = mask[:height, :width]
    found[: part.shape[0], : part.shape[1]] = part
    return found


def in_order(names: Iterable[str], classes: Mapping[str, int]) -> tuple[str, ...]:
    """Categories, each once, in the order of the classes."""
    return tuple(sorted(set(names), key=lambda name: classes[name]))
