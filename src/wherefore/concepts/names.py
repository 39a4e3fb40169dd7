"""The names of units, and the CSV file that holds them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from wherefore.errors import Error
from wherefore.saving import write_whole

NAMED = 0.05  # the least IoU of a name in the paper; 0.04 in Network Dissection
TEXT = "text"  # the category of a name that a network of pictures and texts gave, not labels
COLUMNS = ("unit", "name", "category", "iou", "threshold")


class Named(NamedTuple):
    """A unit and the concept that its mask overlaps most with: its name, its kind, the IoU, the unit's threshold.

    A name that was given by text has the category ``text`` and the IoU NaN.
    """

    unit: int
    name: str
    category: str
    iou: float
    threshold: float

    @property
    def has_name(self) -> bool:
        """Whether it is one that can be told: by an overlap of 0.05 at least, or given by text."""
        return (self.category == TEXT and bool(self.name)) or self.iou >= NAMED

    @property
    def plain(self) -> str:
        """Its name without the ending that tells a colour or a scene from other things of that name."""
        return self.name.removesuffix("-c").removesuffix("-s")


def write(units: Sequence[Named], path: Path) -> Path:
    """A CSV file: unit, name, category, iou, threshold; an IoU that is none is empty. Its path."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for each in units:
        iou = "" if math.isnan(each.iou) else f"{each.iou:.6g}"
        writer.writerow([each.unit, each.name, each.category, iou, f"{each.threshold:.9g}"])
    return write_whole(path, text.getvalue().encode())


def read(path: Path) -> list[Named]:
    """The names in a file that `wherefore dissect` wrote, by unit. Raises `Error` for a file of another kind."""
    if not path.is_file():
        raise Error(f"{path} does not exist: `wherefore dissect --model M --data SPEC --out {path}` writes it.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [_named(row) for row in csv.DictReader(file)]
    except (KeyError, TypeError, ValueError, csv.Error):  # UnicodeDecodeError is a ValueError
        raise Error(
            f"{path} does not hold the columns {', '.join(COLUMNS)}, as `wherefore dissect` writes them."
        ) from None
    if [each.unit for each in rows] != list(range(len(rows))) or not rows:
        raise Error(f"{path} must list every unit of the layer, from 0, in their order.")
    return rows


def _named(row: dict[str, str]) -> Named:
    iou = float(row["iou"]) if row["iou"] or row["category"] != TEXT else math.nan
    return Named(int(row["unit"]), row["name"], row["category"], iou, float(row["threshold"]))
