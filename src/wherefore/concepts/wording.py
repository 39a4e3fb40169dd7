"""Explanations in words: the named units that speak most for a decision, and most against it.

Section 7 of Selvaraju et al. (2020): units are sorted by their neuron importance weight alpha; those of the highest
weights explain the decision, those of the lowest what would have changed it.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wherefore.concepts.dissect import COLUMNS, NAMED, Named
from wherefore.concepts.units import Weighed, weighed
from wherefore.errors import Error
from wherefore.explanation import Explanation

MOST = 5


@dataclass(frozen=True)
class Spoken:
    """A named unit in an explanation: ``alpha`` its weight, ``rank`` its place among all units, the highest first.

    ``active``: whether it fires anywhere in the picture; one that does not adds nothing to the map.
    """

    unit: Named
    alpha: float
    rank: int
    active: bool


@dataclass(frozen=True)
class Wording:
    """Why a network said what it said of a picture, in the names of its units.

    ``reasons`` are the units with the highest weights, ``doubts`` those with the lowest (negative) ones, the strongest
    first; names that the network's own units do not bear at IoU 0.05 do not appear.
    """

    target: str
    picture: str
    reasons: tuple[Spoken, ...]
    doubts: tuple[Spoken, ...]
    units: Weighed

    def __str__(self) -> str:
        """The explanation as sentences."""
        if not self.reasons:
            return f"No unit with a name speaks for {self.target!r}."
        first = f"It says {self.target!r} because of {_listed(self.reasons)}."
        if not self.doubts:
            return first
        more = _listed(self.doubts[:2])
        return (
            f"{first} With more {more} and less {_listed(self.reasons[:1])} it would rather have said something else."
        )


def words(e: Explanation, names: Sequence[Named] | str | Path, most: int = MOST) -> list[list[Wording]]:
    """An explanation in words for each picture and target.

        wf.words(wf.explain("scenes:places", "scenes:17"), "units.csv")[0][0].reasons

    ``names`` are the units' names, or the CSV file that `wherefore dissect` wrote; units with an IoU below 0.05 have
    none. They are filtered, then ranked by alpha; ``rank`` is the place among all. Raises `Error` for names of another
    number of units than the layer has.
    """
    known = read(Path(names)) if isinstance(names, str | Path) else list(names)
    found = []
    for image, units in enumerate(weighed(e)):
        if len(units.maps) != len(known):
            raise Error(
                f"the names are of {len(known)} units, and {e.layer} has {len(units.maps)}: dissect that layer of "
                f"{e.model.name}."
            )
        found.append([_wording(e, image, target, units, known, most) for target in range(len(e.targets[image]))])
    return found


def _wording(e: Explanation, image: int, target: int, units: Weighed, known: Sequence[Named], most: int) -> Wording:
    alphas = units.alphas[target].double().numpy()
    order = np.argsort(-alphas, kind="stable")
    ranks = {int(unit): rank for rank, unit in enumerate(order)}
    active = units.maps.flatten(1).amax(1) > 0
    spoken = [
        Spoken(known[unit], float(alphas[unit]), ranks[unit], bool(active[unit]))
        for unit in order.tolist()
        if known[unit].iou >= NAMED
    ]
    reasons = tuple(each for each in spoken if each.alpha > 0)[:most]
    doubts = tuple(each for each in spoken[::-1] if each.alpha < 0)[:most]
    return Wording(e.targets[image][target], e.pictures[image].name, reasons, doubts, units)


def _listed(units: Sequence[Spoken]) -> str:
    """The names, each once: ``a, b and c``."""
    names = [*dict.fromkeys(each.unit.name.removesuffix("-c").removesuffix("-s") for each in units)]
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def read(path: Path) -> list[Named]:
    """The names in a file that `wherefore dissect` wrote, by unit. Raises `Error` for a file of another kind."""
    if not path.is_file():
        raise Error(f"{path} does not exist: `wherefore dissect --model M --data SPEC --out {path}` writes it.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [Named(int(r["unit"]), r["name"], r["category"], float(r["iou"]), float(r["threshold"]))
                    for r in csv.DictReader(file)]  # fmt: skip
    except (KeyError, TypeError, ValueError, UnicodeDecodeError, csv.Error):
        raise Error(
            f"{path} does not hold the columns {', '.join(COLUMNS)}, as `wherefore dissect` writes them."
        ) from None
    if [each.unit for each in rows] != list(range(len(rows))) or not rows:
        raise Error(f"{path} must list every unit of the layer, from 0, in their order.")
    return rows
