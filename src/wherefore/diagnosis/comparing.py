"""Two networks on the same pictures: do they answer alike, do they look at the same places, and which at the object?

Section 5.2 of Selvaraju et al. (2020) asks people which of two networks is to be trusted, by their maps; measured here
is how much of each map lies on what it is the map of.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from wherefore.batch.maps import Seen
from wherefore.batch.store import Row
from wherefore.datasets import Array
from wherefore.diagnosis.failures import overlap
from wherefore.imaging import peak, resample
from wherefore.metrics.agreement import spearman
from wherefore.metrics.energy import in_boxes, in_masks, shares
from wherefore.metrics.measuring import NAN, cases

SIDE = 64  # both maps of a picture are compared at so many places along each side


class Looked(NamedTuple):
    """What a map of an annotated class does: the share of it on the class's pixels, and whether its peak is there.

    ``area`` is the share of the picture that these are: what an even map would have.
    """

    energy: float
    hit: float
    area: float
    evidence: float


class Pair(NamedTuple):
    """Two networks on one picture: their rows, whether they answer alike, and how alike the maps of their answers are.

    ``ranks`` is the rank correlation, ``shared`` the IoU at 15 %; NaN where a map is empty. ``same`` is None where the
    networks have no classes in common. ``looked``: for each network, its maps of the classes that are annotated and
    that both have an output for, by their names; ``right``: whether the answer is one of the labels, None where the
    network has an output for none of them. ``parts``: for each network, its map of the picture's label on every named
    region, where both have an output for it.
    """

    number: int
    rows: tuple[list[Row], list[Row]]
    same: bool | None
    ranks: float
    shared: float
    right: tuple[bool | None, bool | None]
    looked: tuple[dict[str, Looked], dict[str, Looked]]
    parts: tuple[dict[str, Looked], dict[str, Looked]]

    @property
    def alike(self) -> tuple[bool, float]:
        """What pictures are sorted by: those with two answers first, then those with the least alike maps."""
        return self.same is not False, -2.0 if math.isnan(self.ranks) else self.ranks

    def energy(self, which: int) -> float:
        """The mean share of a network's maps on what they are of; NaN where nothing is annotated."""
        return _mean(each.energy for each in self.looked[which].values())

    def hit(self, which: int) -> float:
        """The share of a network's maps whose highest point is on what they are of."""
        return _mean(each.hit for each in self.looked[which].values())

    @property
    def area(self) -> float:
        """The mean share of the picture that the annotated classes are."""
        return _mean(each.area for each in self.looked[0].values())


def pair(one: Seen, other: Seen, common: Mapping[int, Sequence[int]] | None) -> Pair:
    """Two networks on one picture, of each the map of its answer first.

    ``common``: for an output of the first network those of the second that mean the same, None where none do.
    """
    first, second = (resample(each.explanation.heats(0)[:1], (SIDE, SIDE))[0] for each in (one, other))
    said = [int(each.rows[0]["target"]) for each in (one, other)]
    return Pair(
        one.rows[0]["number"],
        (one.rows, other.rows),
        None if common is None else said[1] in common.get(said[0], ()),
        ranks(first, second),
        overlap(first, second),
        (_right(one), _right(other)),
        _both(looked(one), looked(other)),
        _both(on_parts(one), on_parts(other)),
    )


def _both(one: dict[str, Looked], other: dict[str, Looked]) -> tuple[dict[str, Looked], dict[str, Looked]]:
    """What both have, by name."""
    return {name: one[name] for name in one if name in other}, {name: other[name] for name in one if name in other}


def ranks(one: Tensor, other: Tensor) -> float:
    """The rank correlation of two maps of one shape; NaN where one is empty."""
    return NAN if min(float(one.max()), float(other.max())) <= 0 else spearman(one, other)


def _right(seen: Seen) -> bool | None:
    # A label has a map of its own, or is the answer, wherever the network has an output for it (`Asked` "answer").
    answer, *others = (row["category"] in seen.sample.labels for row in seen.rows)
    return answer if answer or any(others) else None


def looked(seen: Seen) -> dict[str, Looked]:
    """Where the maps of the annotated classes of a picture lie: on their masks, on boxes where there are no masks.

    A map without evidence lies nowhere: its energy is 0, and its peak no hit.
    """
    found = {}
    for _, _, case in cases(seen.explanation, [seen.sample]):
        masks = in_masks(case.sample, case.category)
        inside = in_boxes(case.sample, case.category) if masks is None else masks
        found[case.category] = _looked(case.heat, inside, case.found(peak))
    return found


def on_parts(seen: Seen) -> dict[str, Looked]:
    """Where the map of a picture's label lies among its named parts; nothing where the network has no output for it."""
    e, parts = seen.explanation, seen.sample.parts
    own = next((t for t, name in enumerate(e.targets[0]) if name in seen.sample.labels), None)
    if own is None or not parts:
        return {}
    heat = list(e.placed(0))[own]
    return {name: _looked(heat, mask, peak(heat)) for name, mask in parts.items()}


def _looked(heat: Tensor, inside: Array, highest: Sequence[int]) -> Looked:
    """What a map ``(H, W)`` does, whose highest point is ``x, y``, by where its thing is."""
    x, y = highest
    top = float(heat.max())
    energy = shares(heat, {"inside": inside})["inside"] if top > 0 else 0.0
    return Looked(energy, float(top > 0 and bool(inside[y, x])), float(inside.mean()), top)


def together(one: Iterable[Seen], other: Iterable[Seen]) -> Iterator[tuple[Seen, Seen]]:
    """What two networks say of the pictures that both could be asked about; each in the order of their numbers."""
    waiting = iter(other)
    second = next(waiting, None)
    for first in one:
        number = first.rows[0]["number"]
        while second is not None and second.rows[0]["number"] < number:
            second = next(waiting, None)
        if second is not None and second.rows[0]["number"] == number:
            yield first, second


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return float(np.mean(found)) if found else NAN
