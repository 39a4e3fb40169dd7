"""Regions that nobody annotated: what a network itself tells apart in all pictures, for audits of these.

The activations of the explained layer at each place, as vectors of length 1, so that how strongly a place is lit does
not decide, in eight groups: spherical k-means (Dhillon & Modha, Concept Decompositions for Large Sparse Text Data,
Machine Learning 2001), begun as Arthur & Vassilvitskii do (k-means++, SODA 2007), the best of five by the mean cosine.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch.nn import functional as F

from wherefore.batch.store import Row
from wherefore.concepts.recording import Recording
from wherefore.datasets import Sample
from wherefore.diagnosis.stories import unit
from wherefore.errors import Error

Array = np.ndarray[Any, Any]
COUNT = 8  # regions: few enough to be looked at, and named, by a person
DRAWN, MOST = 16, 20_000  # places that are clustered: of a picture, and of all, so that they fit into memory
BEGUN, STEPS = 5, 100
NONE = 255  # the region of a place where the layer is 0: it has no direction
ROWS, COLUMNS = ("upper", "central", "lower", "upper and lower"), ("left", "middle", "right", "sides")


class Drawing:
    """What draws places of samples by a seed, as directions ``(n, K)``, for `wherefore.batch.rows.rows`."""

    def __init__(self, recording: Recording, seed: int) -> None:
        self.recording, self.seed = recording, seed

    def __call__(self, samples: Sequence[Sample]) -> list[list[Row]]:
        return [
            [{"directions": self._drawn(each, found).tobytes(), "shape": [-1, found.shape[-1]]}]
            for each, found in zip(samples, directions(self.recording, samples), strict=True)
        ]

    def _drawn(self, sample: Sample, found: Array) -> Array:
        lit = found[found.any(-1)]  # by name, so that a picture's places do not depend on those beside it
        chosen = random.Random(f"{self.seed} {sample.name}").sample(range(len(lit)), min(DRAWN, len(lit)))
        return lit[sorted(chosen)].astype(np.float16)


class Assigning:
    """What says of each place of samples which region it belongs to, for `wherefore.batch.rows.rows`."""

    def __init__(self, recording: Recording, centres: Array) -> None:
        self.recording, self.centres = recording, centres

    def __call__(self, samples: Sequence[Sample]) -> list[list[Row]]:
        found = (assigned(each, self.centres) for each in directions(self.recording, samples))
        return [[{"regions": each.tobytes(), "grid": list(each.shape)}] for each in found]


def directions(recording: Recording, samples: Sequence[Sample]) -> Array:
    """The activations at each place of samples, scaled to length 1: ``(B, h, w, K)`` of float32, 0 where all are 0."""
    maps = recording.maps(samples).detach().float()
    found: Array = F.normalize(maps.movedim(1, -1), dim=-1).cpu().numpy()
    return found


def assigned(found: Array, centres: Array) -> Array:
    """The centre ``(k, K)`` of the highest cosine for vectors ``(..., K)``: ``(...)`` of uint8, 255 for those of 0."""
    nearest: Array = (found @ centres.T).argmax(-1).astype(np.uint8)
    return np.where(found.any(-1), nearest, np.uint8(NONE))


def drawn(rows: Sequence[Row]) -> Array:
    """The directions ``(N, K)`` that rows of `Drawing` hold."""
    each = [np.frombuffer(row["directions"], np.float16).reshape(row["shape"]) for row in rows]
    return np.concatenate(each).astype(np.float32)


def clustered(points: Array, seed: int = 0, count: int = COUNT) -> Array:
    """The centres ``(k, K)`` of directions ``(N, K)`` by spherical k-means, each of length 1, the same for a seed.

    ``k`` is ``count``, or as many directions as there are. Raises `Error` where there is none.
    """
    if not len(points):
        raise Error("the explained layer is 0 in all of these pictures: it tells no regions apart.")
    dice = np.random.default_rng(seed)
    found = [_settled(points, _begun(points, count, dice)) for _ in range(BEGUN)]
    return max(found, key=lambda centres: float((points @ centres.T).max(1).mean(dtype=np.float64)))


def _begun(points: Array, count: int, dice: np.random.Generator) -> Array:
    """Points as first centres, each drawn by how far it is from those before it (k-means++)."""
    centres = [points[dice.integers(len(points))]]
    apart = 1.0 - points.astype(np.float64) @ centres[0]
    while len(centres) < count:
        weights = np.where(apart > 1e-5, apart, 0.0)  # rounding sets equal directions apart by less
        if not weights.any():
            break
        centres.append(points[dice.choice(len(points), p=weights / weights.sum())])
        apart = np.minimum(apart, 1.0 - points @ centres[-1])
    return np.stack(centres)


def _settled(points: Array, centres: Array) -> Array:
    """The centres that no step moves any more: each the direction of the sum of its points."""
    before = np.full(len(points), -1)
    for _ in range(STEPS):
        of = (points @ centres.T).argmax(1)
        if (of == before).all():
            break
        before, sums = of, np.eye(len(centres), dtype=points.dtype)[:, of] @ points
        centres = np.where(sums.any(1, keepdims=True), unit(sums), centres).astype(points.dtype)
    return centres


# -------------------------------------------------------------------------------------------- what is found


@dataclass(frozen=True)
class Regions:
    """Which region each place of each picture belongs to, ``(h, w)`` by the number of its sample, the largest 0."""

    of: Mapping[int, Array]

    @cached_property
    def names(self) -> list[str]:
        """A plain name of each by where it lies mostly: region 1: upper middle."""
        return [f"region {i + 1}: {place(thirds)}" for i, thirds in enumerate(self._thirds)]

    @cached_property
    def areas(self) -> Array:
        """Which share of each picture each region takes, ``(N, k)`` in the order of ``of``."""
        return np.array([[(each == i).mean() for i in range(self._count)] for each in self.of.values()])

    def masks(self, number: int, size: Sequence[int] = ()) -> dict[str, Array]:
        """Where each region is in a picture, by its name: ``(h, w)`` of bool, or ``size`` by the nearest place."""
        each = self.of[number]
        large = (
            each if not size else each[np.ix_(*(np.arange(n) * m // n for n, m in zip(size, each.shape, strict=True)))]
        )
        return {name: large == i for i, name in enumerate(self.names)}

    @cached_property
    def _count(self) -> int:
        return 1 + max(int(each[each != NONE].max(initial=0)) for each in self.of.values())

    @property
    def _thirds(self) -> list[Array]:
        """How much of each region lies in each ninth of the pictures, ``(3, 3)``."""
        found = np.zeros((self._count, 3, 3))
        for each in self.of.values():
            down, across = (_third(n) for n in each.shape)
            found += [down.T @ (each == i) @ across for i in range(self._count)]
        return list(found)


def regions(rows: Sequence[Row]) -> Regions:
    """The regions that rows of `Assigning` hold, numbered by how many places they have."""
    read = {row["number"]: np.frombuffer(row["regions"], np.uint8).reshape(row["grid"]) for row in rows}
    counts = sum((np.bincount(each.ravel(), minlength=NONE + 1) for each in read.values()), np.zeros(NONE + 1, int))[
        :NONE
    ]
    order = [int(i) for i in np.argsort(-counts, kind="stable") if counts[i]]
    anew = np.full(NONE + 1, NONE, np.uint8)
    anew[order] = np.arange(len(order))
    return Regions({number: anew[each] for number, each in read.items()})


def place(thirds: Array) -> str:
    """Where most of what is counted in ninths ``(3, 3)`` of a picture lies, in words."""
    shares = thirds / max(thirds.sum(), 1e-300)
    words = _side(shares.sum(1), ROWS), _side(shares.sum(0), COLUMNS)
    return " ".join(filter(None, words)) or "all over"


def _side(shares: Array, words: Sequence[str]) -> str:
    """Both outer thirds where each has a quarter and the middle not half of an even share; else the one with half."""
    if shares[1] < 1 / 6 and min(shares[0], shares[2]) >= 1 / 4:
        return words[3]
    return words[int(shares.argmax())] if shares.max() >= 0.5 else ""


def _third(n: int) -> Array:
    """How much of each of n cells lies in each third of a side, ``(n, 3)``."""
    starts, thirds = np.arange(n)[:, None] / n, np.arange(3) / 3
    return np.clip(np.minimum(starts + 1 / n, thirds + 1 / 3) - np.maximum(starts, thirds), 0, None) * n
