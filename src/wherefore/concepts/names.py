"""The names of units, and the CSV file that holds them."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wherefore.errors import Error
from wherefore.saving import write_json, write_whole
from wherefore.types import Model

NAMED = 0.05  # the least IoU of a name in the paper; 0.04 in Network Dissection
TEXT = "text"  # the category of a name that a network of pictures and texts gave, not labels
OF = ("model", "weights_sha256", "layer")
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


class Names(list[Named]):
    """The names of all units of a layer, in their order. ``of``: what they are of, as far as that is known.

    That is the ``model``, its ``weights_sha256`` and the ``layer``.
    """

    def __init__(self, units: Iterable[Named], of: Mapping[str, Any]) -> None:
        super().__init__(units)
        self.of = of


def check(names: Sequence[Named], model: Model, layer: str, count: int) -> None:
    """Raises `Error` for names of another network, layer or number of units than this one's."""
    if len(names) != count:
        raise Error(
            f"the names are of {len(names)} units, and {layer} has {count}: dissect that layer of {model.name}."
        )
    of = names.of if isinstance(names, Names) else {}
    if of and (of["weights_sha256"], of["layer"]) != (model.weights_sha256, layer):
        other = "" if of["weights_sha256"] == model.weights_sha256 else " with other weights"
        raise Error(f"the names are of {of['layer']} of {of['model']}{other}: dissect {layer} of {model.name}.")


def write(units: Sequence[Named], path: Path, of: Mapping[str, Any] | None = None) -> Path:
    """A CSV file: unit, name, category, iou, threshold; an IoU that is none is empty. Its path.

    ``of``: what the units are of (see `Names`), which is written beside it, into a JSON file of the same name.
    """
    if of:
        write_json(path.with_suffix(".json"), {key: of[key] for key in OF})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for each in units:
        iou = "" if math.isnan(each.iou) else f"{each.iou:.6g}"
        writer.writerow([each.unit, each.name, each.category, iou, f"{each.threshold:.9g}"])
    return write_whole(path, text.getvalue().encode())


def read(path: Path) -> Names:
    """The names in a file that `wherefore dissect` wrote, by unit. Raises `Error` for a file of another kind.

    A file without the JSON beside it is taken as it is: nobody knows which network its names are of.
    """
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
    return Names(rows, _of(path.with_suffix(".json")))


def _of(path: Path) -> dict[str, Any]:
    """What the file beside one of names says that they are of; nothing where there is none."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {key: str(found[key]) for key in OF}
    except (KeyError, TypeError, ValueError):
        raise Error(
            f"{path} does not say {', '.join(OF)} of the names beside it: `wherefore dissect` writes both."
        ) from None


def _named(row: dict[str, str]) -> Named:
    iou = float(row["iou"]) if row["iou"] or row["category"] != TEXT else math.nan
    return Named(int(row["unit"]), row["name"], row["category"], iou, float(row["threshold"]))
