"""Explanations in words: the named units that speak most for a decision, and most against it.

Section 7 of Selvaraju et al. (2020): units are sorted by their neuron importance weight alpha; those of the highest
weights explain the decision, those of the lowest what would have changed it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from wherefore.concepts.figures import Unit, figure
from wherefore.concepts.names import TEXT, Named, check, read
from wherefore.concepts.units import Rival, Weighed, weighed
from wherefore.explanation import Explanation

MOST = 5
Values = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Spoken:
    """A named unit in an explanation: ``alpha`` its weight, ``rank`` its place among all units, from 0, the highest.

    ``active``: whether it fires anywhere in the picture; one that does not adds nothing to the map.
    """

    unit: Named
    alpha: float
    rank: int
    active: bool

    def report(self) -> dict[str, Any]:
        """All of it as plain values."""
        iou = None if math.isnan(self.unit.iou) else self.unit.iou
        named = {"unit": self.unit.unit, "name": self.unit.plain, "category": self.unit.category, "iou": iou}
        return {**named, "alpha": self.alpha, "rank": self.rank, "active": self.active}


@dataclass(frozen=True)
class Turn:
    """What would have led to another answer: of which units there is too little, and of which too much.

    By the weights for the difference of the scores of the two answers; ``less`` are units that fire.
    """

    more: tuple[Spoken, ...]
    less: tuple[Spoken, ...]
    rival: Rival


@dataclass(frozen=True)
class Wording:
    """Why a network said what it said of a picture, in the names of its units; printed, it is plain sentences.

    ``reasons`` are the named units with the highest weights, ``doubts`` those with the lowest (negative) ones, the
    strongest first. ``turn``: what would have turned it, where the target is a class of several.
    """

    target: str
    picture: str
    reasons: tuple[Spoken, ...]
    doubts: tuple[Spoken, ...]
    turn: Turn | None
    units: Weighed = field(repr=False)
    explanation: Explanation = field(repr=False)
    image: int = 0
    number: int = 0  # of the target

    def __str__(self) -> str:
        """The explanation as sentences. Of units only those are reasons that fire in the picture."""
        reasons = [each for each in self.reasons if each.active]
        said = self.turn is None or not self.turn.rival.ahead
        if not reasons:
            return f"No unit with a name that fires here speaks strongly for {self.target!r}."
        names = _listed(reasons)
        first = (
            f"It says {self.target!r} because of units for {names}."
            if said
            else f"For {self.target!r} speak units for {names}."
        )
        by_text = "(Units named by text.)" if reasons[0].unit.category == TEXT else ""
        return " ".join(filter(None, [first, self._turned(said), by_text]))

    def _turned(self, said: bool) -> str:
        if self.turn is None:
            firing = tuple(each for each in self.reasons if each.active)
            more, less, other = self.doubts[:2], firing[:1], "something else"
        else:
            more, less, name = self.turn.more, self.turn.less, self.turn.rival.name
            other = repr(name) if said else f"{self.target!r} than {name!r}"
        amounts = [f"{word} {_listed(units)}" for word, units in (("more", more), ("less", less)) if units]
        return f"With {' and '.join(amounts)} it would rather have said {other}." if amounts else ""

    def report(self) -> dict[str, Any]:
        """All of it as plain values."""
        found: dict[str, Any] = {"text": str(self)}
        found |= {name: [each.report() for each in getattr(self, name)] for name in ("reasons", "doubts")}
        if self.turn:
            found["other"] = self.turn.rival.name
            found |= {name: [each.report() for each in getattr(self.turn, name)] for name in ("more", "less")}
        return found

    def figure(self, colours: str = "heat") -> Image.Image:
        """The picture and its map, and the units that speak most for the target and against it, each with its map.

        As Figures 9 and 21 of the paper.
        """
        maps = self.units.maps
        rows = [
            [Unit(maps[u.unit.unit], f"{u.unit.plain} (unit {u.unit.unit})", _note(u)) for u in some]
            for some in (self.reasons, self.doubts)
        ]
        return figure(self.explanation, self.image, self.number, str(self), rows, colours)


def words(e: Explanation, names: Sequence[Named] | str | Path, most: int = MOST) -> list[list[Wording]]:
    """An explanation in words for each picture and target.

        print(wf.words(wf.explain(wf.load("scenes:places"), "scenes:17"), "units.csv")[0][0])

    ``names`` are the units' names, or the CSV file that `wherefore dissect` wrote; units with an IoU below 0.05 have
    none. They are filtered, then ranked by alpha (eq. 1); ``rank`` is the place among all. Raises `Error` for names of
    another layer or network, as far as that is known, and for a method that explains no layer.
    """
    known = read(Path(names)) if isinstance(names, str | Path) else names
    found = []
    for image, units in enumerate(weighed(e)):
        check(known, e.model, e.layer, len(units.maps))
        found.append([_wording(e, image, target, units, known, most) for target in range(len(e.targets[image]))])
    return found


def _wording(e: Explanation, image: int, target: int, units: Weighed, known: Sequence[Named], most: int) -> Wording:
    alphas, rival = units.alphas[target], units.rivals[target]
    active = (units.maps.flatten(1).amax(1) > 0).numpy()
    spoken = _ranked(alphas, known, active)
    reasons = tuple(each for each in spoken if each.alpha > 0)[:most]
    doubts = tuple(each for each in spoken[::-1] if each.alpha < 0)[:most]
    turn = None
    if rival is not None:
        gains = _ranked((alphas - rival.alphas) * (1 if rival.ahead else -1), known, active)
        less = tuple(each for each in gains[::-1] if each.alpha < 0 and each.active)[:1]
        named = {each.unit.plain for each in (*reasons, *less) if each.active}  # of which there is enough
        more = {each.unit.plain: each for each in gains[::-1] if each.alpha > 0 and each.unit.plain not in named}
        turn = Turn(tuple([*more.values()][:-3:-1]), less, rival)
    return Wording(e.targets[image][target], e.pictures[image].name, reasons, doubts, turn, units, e, image, target)


def _ranked(alphas: Tensor, known: Sequence[Named], active: Values) -> list[Spoken]:
    """The named units, the highest weight first."""
    values = alphas.double().numpy()
    order = np.argsort(-values, kind="stable").tolist()
    return [
        Spoken(known[unit], float(values[unit]), rank, bool(active[unit]))
        for rank, unit in enumerate(order)
        if known[unit].has_name
    ]


def _listed(units: Sequence[Spoken]) -> str:
    """The names, each once: ``a, b and c``."""
    names = [*dict.fromkeys(each.unit.plain for each in units)]
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def _note(spoken: Spoken) -> str:
    named = "by text" if math.isnan(spoken.unit.iou) else f"IoU {spoken.unit.iou:.2f}"
    return f"{spoken.alpha:+.2g}, {named}" if spoken.active else f"{spoken.alpha:+.2g}, does not fire"
