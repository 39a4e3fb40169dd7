"""The one loop of the metrics that look at maps and at what people annotated: over pictures, and their targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wherefore.datasets import Sample
from wherefore.errors import Error
from wherefore.explanation import Explanation
from wherefore.subjects import Picture

NAN = float("nan")


@dataclass(frozen=True)
class Case:
    """One target of one picture: what is known of the picture, what was asked for, and the map of it.

    ``heat`` ``(H, W)`` is the map at the picture's own pixels, raw, and 0 beyond ``seen``, the rows and columns that
    the network saw.
    """

    sample: Sample
    category: str
    heat: Tensor
    seen: tuple[slice, slice]

    def found(self, find: Callable[[Tensor], Sequence[int]]) -> tuple[int, ...]:
        """What ``find`` finds in the part of the map that the network saw, ``x, y`` (and ``x, y``), in the picture."""
        starts = [part.start for part in self.seen[::-1]]
        return tuple(int(v) + starts[i % 2] for i, v in enumerate(find(self.heat[self.seen])))


def per_target(e: Explanation, samples: Sequence[Sample], measure: Callable[[Case], float]) -> Tensor:
    """What ``measure`` says of each of the `cases`, ``(B, T)`` of float64; NaN for targets that are none."""
    values = torch.full(e.scores.shape, NAN, dtype=torch.float64)
    for b, t, case in cases(e, samples):
        values[b, t] = measure(case)
    return values


def cases(e: Explanation, samples: Sequence[Sample]) -> Iterator[tuple[int, int, Case]]:
    """The targets that can be measured, each with the numbers of its picture and of itself, one by one.

    The category of a target is its name; it is annotated in the picture, whose boxes are to be counted. Raises `Error`
    where samples and pictures are not the same ones.
    """
    _check(e, samples)
    for b, sample in enumerate(samples):
        seen: Any = e.pictures[b].seen()
        for t, (category, heat) in enumerate(zip(e.targets[b], e.placed(b), strict=True)):
            if sample.boxed and sample.of(category):
                yield b, t, Case(sample, category, heat, seen)


def _check(e: Explanation, samples: Sequence[Sample]) -> None:
    if len(samples) != len(e):
        raise Error(f"{len(e)} pictures were explained and {len(samples)} samples given: give one for each.")
    for picture, sample in zip(e.pictures, samples, strict=True):
        if not isinstance(picture, Picture):
            raise Error(f"{picture.name} is no picture: metrics with boxes and masks measure maps of pictures.")
        if picture.size != sample.size:
            sizes = " and ".join("x".join(map(str, size)) for size in (picture.size, sample.size))
            raise Error(f"{picture.name} and the sample {sample.name} are not the same picture: {sizes}.")
