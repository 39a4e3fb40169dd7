"""Broden: pictures whose every pixel is labelled with concepts of six kinds, for Network Dissection.

Bau et al. (2017), as NetDissect writes it: ``index.csv`` with a cell for each kind, and ``label.csv`` with the names.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from wherefore.datasets.files import Unreadable, below, folder_of, picture, table
from wherefore.datasets.sample import Array, Concepts, Dataset, Sample
from wherefore.errors import Error
from wherefore.registry import DATASETS
from wherefore.scenes.annotated import CONCEPTS

SPLITS = {"test": "", "dev": "val", "train": "train"}  # as the index calls them; "" for all
Row = dict[str, str]


class Broden(Dataset):
    """The pictures of a folder of Broden in the order of its index."""

    name = "broden"
    classes = ()

    def __init__(self, folder: Path, split: str) -> None:
        self.folder, self.split, self.spec = folder, split, f"broden:{folder}"
        self.listed = folder / "index.csv"
        if not self.listed.is_file():
            raise Error(f"{folder} holds no Broden: index.csv is expected, as in broden1_224.")
        if split not in SPLITS:
            raise Error(f"{self.spec} has the splits {', '.join(SPLITS)}, not {split!r}.")
        rows = table(self.listed, "image", "split", "sh", "sw")
        self.rows = [row for row in rows if SPLITS[split] in ("", row["split"])]
        if not self.rows:
            raise Error(f"{self.listed} lists no pictures of the split {split!r}.")
        self.names = {int(row["number"]): row["name"] for row in table(folder / "label.csv", "number", "name")}

    def __len__(self) -> int:
        return len(self.rows)

    def sample(self, number: int) -> Sample:
        row = self.rows[number]
        path = below(self.folder / "images", row["image"], self.listed)
        return Sample(row["image"], partial(picture, path), labelled=partial(self._labelled, row))

    def _labelled(self, row: Row) -> tuple[Concepts, ...]:
        """The concepts of a picture: of each cell the maps that it names, and its labels of the whole picture."""
        found = []
        for kind in CONCEPTS:
            for entry in filter(None, row.get(kind, "").split(";")):
                if entry.isdigit():
                    numbers = np.full((int(row["sh"]), int(row["sw"])), int(entry))
                else:
                    numbers = self._map(entry)
                found.append(self._named(kind, numbers))
        return tuple(found)

    def _map(self, name: str) -> Array:
        """The numbers of labels in a map: red + 256 green."""
        path = below(self.folder / "images", name, self.listed)
        pixels = np.asarray(picture(path), np.int64)
        return pixels[..., 0] + 256 * pixels[..., 1]

    def _named(self, kind: str, numbers: Array) -> Concepts:
        shown, where = np.unique(numbers, return_inverse=True)
        unknown = [n for n in shown.tolist() if n and n not in self.names]
        if unknown:
            raise Unreadable(self.folder / "label.csv", f"has no label number {unknown[0]}, which the index uses")
        where = where.reshape(numbers.shape)
        names = tuple(self.names[n] for n in shown.tolist() if n)
        return Concepts(kind, names, where if shown[0] == 0 else where + 1)


@DATASETS("broden", names="broden:DIR")
def broden(where: str, split: str = "test") -> Broden:
    """Broden: concepts of six kinds, labelled at every pixel.

    DIR is that of the broadly and densely labelled pictures of Network Dissection, with index.csv and images/.

    ``test`` is all of it, for units are named by all of its pictures; ``train`` and ``dev`` (its val) are its parts.
    """
    return Broden(folder_of("broden", where), split)
