"""Pictures of one's own: a folder for each class, as torchvision has them, or a CSV file of labels and boxes."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from pathlib import Path

from wherefore.datasets.files import (
    Said,
    below,
    files_in,
    folder_of,
    four,
    held,
    in_order,
    picture,
    size_of,
    table,
)
from wherefore.datasets.sample import Dataset, Sample
from wherefore.errors import Error
from wherefore.registry import DATASETS

PARTS = {"test": ("test", "val"), "dev": ("dev", "train"), "train": ("train",)}  # splits, and folders that serve them
LABELS = "labels.csv"
CORNERS = ("x0", "y0", "x1", "y1")
Row = dict[str, str]


class Folder(Dataset):
    """Pictures with the labels of their folders, or with labels and boxes of a CSV file."""

    name = "folder"

    def __init__(self, root: Path, spec: str, split: str) -> None:
        self.root, self.spec, self.split = root, spec, split
        self.list, self.rows = root / LABELS, _rows(root)
        labels = {row["label"].strip() for rows in self.rows.values() for row in rows}
        self.names, self.classes = list(self.rows), tuple(sorted(labels - {""}))

    def __len__(self) -> int:
        return len(self.names)

    def sample(self, number: int) -> Sample:
        name = self.names[number]
        path = below(self.root, name, self.list)
        size = size_of(path, upright=True)
        labels = [row["label"].strip() for row in self.rows[name]]
        things = [Said(label, four(box, self.list)) for label, box in self._boxes(name) if label]
        instances, notes = held(things, size, self._numbers)
        return Sample(
            name,
            partial(picture, path, upright=True),
            in_order({*labels} - {""}, self._numbers),
            instances,
            boxed=bool(instances),
            notes=tuple(notes),
            known_size=size,
        )

    def _boxes(self, name: str) -> list[tuple[str, list[str]]]:
        """The labels that have boxes, and these; a label may have none."""
        found = [(row["label"].strip(), [(row.get(c) or "").strip() for c in CORNERS]) for row in self.rows[name]]
        return [(label, box) for label, box in found if any(box)]


def _rows(root: Path) -> dict[str, list[Row]]:
    """What is said of each picture, by its path below the folder, ordered by path."""
    found: dict[str, list[Row]] = defaultdict(list)
    if (root / LABELS).exists():
        for row in table(root / LABELS, "path", "label"):
            found[row["path"].strip()].append(row)
        return dict(sorted(found.items()))
    labelled = [(f, f.name) for f in sorted(root.iterdir()) if f.is_dir() and not f.name.startswith(".")]
    for folder, label in [(root, ""), *labelled]:
        for path in files_in(folder):
            found[path.relative_to(root).as_posix()].append({"label": label})
    return dict(found)


@DATASETS("folder", names="folder:DIR")
def folder(where: str, split: str = "test") -> Folder:
    """Pictures, in a folder for each class; or with labels.csv.

    labels.csv has the columns path (below the folder) and label, and may have x0, y0, x1, y1: a box in pixels from 0,
    its corners inclusive, of the picture as it is seen (upright). Several rows of one picture are several labels or
    boxes. ``split``: ``test`` is the folder test or val in it, where it has such parts, else all of it; ``dev`` and
    ``train`` are train; or a part by its name. Raises `Error` for a folder without pictures and a damaged CSV file.
    """
    root, spec = folder_of("folder", where), f"folder:{where}"
    parts = [name for name in ("train", "dev", "val", "test") if (root / name).is_dir()]
    if "train" in parts or len(parts) > 1:
        chosen = next((name for name in PARTS.get(split, (split,)) if name in parts), None)
        if chosen is None:
            raise Error(f"{spec} has no part for {split!r}: there is {', '.join(parts)}.")
        root = root / chosen
    elif split != "test":
        raise Error(f"{spec} has no parts, so there is no {split!r}: make folders train and val in it.")
    found = Folder(root, spec, split)
    if not found.names:
        raise Error(f"{root} holds no pictures, and no folders of pictures for each class.")
    return found
