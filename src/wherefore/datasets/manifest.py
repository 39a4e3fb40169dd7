"""Pictures of one's own with groups and regions: a CSV file that says of each its label, its group and its parts."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from wherefore.datasets.files import Unreadable, below, four, picture, size_of, table
from wherefore.datasets.sample import Array, Dataset, Sample, clipped
from wherefore.errors import Error
from wherefore.registry import DATASETS

SPLITS = {"test": ("test",), "dev": ("dev", "val"), "train": ("train",)}  # what the column may hold for each
KNOWN = ("train", "dev", "val", "test")
COLUMNS = ("path", "label", "group", "split")
FILES = "expected is manifest:FILE with a CSV file of path,label,group,split[,regions]"
Row = dict[str, str]


class Manifest(Dataset):
    """The pictures of a split that a CSV file lists, in its order."""

    name = "manifest"

    def __init__(self, list_: Path, spec: str, split: str) -> None:
        self.list, self.root, self.spec, self.split = list_, list_.parent, spec, split
        rows = [{key: (value or "").strip() for key, value in row.items() if key} for row in table(list_, *COLUMNS)]
        for row in rows:
            if not row["path"] or not row["label"]:
                raise Unreadable(list_, "has a row without a path or without a label")
            if row["split"] not in KNOWN:
                raise Unreadable(list_, f"gives {row['path']} the split {row['split']!r}, and not {', '.join(KNOWN)}")
        self.rows = [row for row in rows if row["split"] in SPLITS.get(split, (split,))]
        if not self.rows:
            there = ", ".join(sorted({row["split"] or "''" for row in rows})) or "nothing"
            raise Error(f"{list_} has no pictures of the split {split!r}: there is {there}.")
        twice = {row["path"] for row in self.rows}
        if len(twice) < len(self.rows):
            raise Unreadable(list_, "names a picture twice in one split: each has one row")
        self.classes = tuple(sorted({row["label"] for row in rows}))

    @cached_property
    def fingerprint(self) -> str:
        """What differs when the list, or the size or time of a file that it names, does."""
        digest = hashlib.sha256(self.list.read_bytes())
        for row in self.rows:
            with suppress(Unreadable):  # the list is in it as a whole; whoever reads the sample says what is wrong
                for path in self._files(row):
                    state = path.stat() if os.path.isfile(path) else None
                    digest.update(f"{path.name} {state and state.st_size} {state and state.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.rows)

    def sample(self, number: int) -> Sample:
        row = self.rows[number]
        path = below(self.root, row["path"], self.list)
        size = size_of(path, upright=True)
        return Sample(
            row["path"],
            partial(picture, path, upright=True),
            (row["label"],),
            boxed=False,
            known_size=size,
            group=row["group"],
            parted=partial(self._parts, row, size),
        )

    def _files(self, row: Row) -> Iterator[Path]:
        """The picture of a row and its masks."""
        masks = [said for said in self._regions(row).values() if isinstance(said, str)]
        return (below(self.root, name, self.list) for name in (row["path"], *masks))

    def _parts(self, row: Row, size: tuple[int, int]) -> dict[str, Array]:
        """The regions of a row as masks."""
        return {name: self._mask(said, size) for name, said in self._regions(row).items()}

    def _regions(self, row: Row) -> Mapping[str, Any]:
        """What the column of regions says: nothing, or names with boxes or masks."""
        written = row.get("regions", "")
        try:
            found = json.loads(written) if written else {}
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise Unreadable(self.list, f"has regions of {row['path']} that are no JSON object of names")
        return found

    def _mask(self, said: Any, size: tuple[int, int]) -> Array:
        """A region as a mask ``(H, W)`` of bool: that of a file, or of one or several boxes."""
        if isinstance(said, str):
            path = below(self.root, said, self.list)
            mask: Array = np.asarray(picture(path)).max(2) > 0
            if mask.shape != size[::-1]:
                raise Unreadable(path, f"is no mask of its picture, which has {size[0]}x{size[1]} pixels")
            return mask
        inside = np.zeros(size[::-1], bool)
        boxes = said if isinstance(said, list) and all(isinstance(each, list) for each in said) else [said]
        for each in boxes:
            box, _ = clipped(four(each if isinstance(each, list) else [each], self.list), size)
            if box is not None:
                inside[box[1] : box[3] + 1, box[0] : box[2] + 1] = True
        return inside


@DATASETS("manifest", names="manifest:FILE")
def manifest(where: str, split: str = "test") -> Manifest:
    """Pictures with labels, groups and named regions, listed in a CSV file.

    Its columns are path (below the folder of the file), label, group (what goes along with the label, or should not),
    split (train, dev or val, test) and, where there are some, regions: a JSON object that gives each region's name its
    box ``[x0, y0, x1, y1]`` in pixels from 0, corners inclusive, of the picture as it is seen (upright), a list of such
    boxes, or the path of a mask, a picture of the same size that is not black where the region is. One row for each
    picture. Raises `Error` for a file that is missing or damaged, and a split that it does not have.

        path,label,group,split,regions
        1.jpg,nurse,short hair,test,"{""hair"": [20, 4, 60, 30], ""clothing"": ""masks/1.png""}"
    """
    list_ = Path(where).expanduser()
    if not where or not list_.is_file():
        raise Error(f"{where or 'manifest'} {'is no file' if where and list_.exists() else 'does not exist'}: {FILES}.")
    return Manifest(list_, f"manifest:{where}", split)
