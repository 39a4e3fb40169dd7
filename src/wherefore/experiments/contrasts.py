"""What maps say of pictures that show several categories, each of which is asked for in turn: for `claims`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from wherefore.batch.maps import NOWHERE, Seen, scored
from wherefore.batch.rows import Work
from wherefore.batch.store import Row
from wherefore.datasets import Array, Sample
from wherefore.explainer import Explainer
from wherefore.imaging import peak
from wherefore.metrics import energy
from wherefore.metrics.agreement import class_separation
from wherefore.metrics.covering import covered, elsewhere
from wherefore.metrics.measuring import NAN, Case, per_target
from wherefore.subjects import Picture

OTHERS, NAMED, BACKGROUND = "the other objects", "the named object", "the background"
PARTS = (OTHERS, NAMED, BACKGROUND)
MARKED, ELSEWHERE = "what it marks", "as much elsewhere"


def parts(case: Case) -> dict[str, Array]:
    """Which pixels ``(H, W)`` show what was asked for, which the picture's other categories, and which none of them.

    Where boxes stand for masks and overlap, a pixel is that of what was asked for.
    """
    named = case.sample.mask(case.category)
    others = things(case.sample) & ~named
    return {OTHERS: others, NAMED: named, BACKGROUND: ~named & ~others}


def things(sample: Sample) -> Array:
    """Which pixels ``(H, W)`` show any of a picture's things."""
    found: Array = np.logical_or.reduce([sample.mask(category) for category in sample.labels])
    return found


def area(case: Case, part: str) -> float:
    """The share of a picture that a part of it takes, what an even map would have; NaN for maps without evidence."""
    return float(parts(case)[part].mean()) if float(case.heat.max()) > 0 else NAN


def energy_on(case: Case, part: str) -> float:
    """The share of a map's positive evidence on a part of a picture; NaN for maps without any."""
    return energy.shares(case.heat, parts(case))[part]


def peak_on(case: Case, part: str, smooth: Callable[[Tensor], Tensor] | None = None) -> float:
    """1 where a map is highest on a part of a picture, else 0; NaN for maps without evidence."""
    if float(case.heat.max()) <= 0:
        return NAN
    x, y = case.found(lambda heat: peak(smooth(heat) if smooth else heat))
    return float(parts(case)[part][y, x])


def values(kept: Sequence[Seen], measure: Callable[[Case], float]) -> list[Tensor]:
    """What ``measure`` says of each map of each picture, ``(T,)``; NaN where it is undefined."""
    return [per_target(each.explanation, [each.sample], measure)[0] for each in kept]


def separations(kept: Sequence[Seen]) -> list[Tensor]:
    """How unlike the maps of each picture are, ``(T,)``: 1 - their rank correlation, see `class_separation`."""
    return [class_separation(each.explanation, [each.sample])[0] for each in kept]


def covering(why: Explainer, kept: Sequence[Seen]) -> Work:
    """What turns samples into rows, one for each map: by how much the class's score rises when that is covered.

    `MARKED`: where the map is above half of its maximum; `ELSEWHERE`: as much, moved to where it hides least of the
    things. Maps without evidence mark nothing, and have no row.
    """
    known = {each.sample.name: each for each in kept}

    def work(samples: Sequence[Sample]) -> list[list[Row]]:
        return [_rises(why, known[each.name]) if each.name in known else [] for each in samples]

    return work


def _rises(why: Explainer, each: Seen) -> list[Row]:
    e, picture, obstacles = each.explanation, each.sample.image, torch.from_numpy(things(each.sample))
    asked = [(c, heat) for c, heat in zip(e.classes[0].tolist(), e.placed(0), strict=True) if float(heat.max()) > 0]
    covers = {MARKED: [heat for _, heat in asked], ELSEWHERE: [elsewhere(heat, obstacles) for _, heat in asked]}
    shown = [picture, *(covered(picture, heat) for heats in covers.values() for heat in heats)]
    before, *after = scored(why, [why.prepare(Picture(each.sample.name, one, NOWHERE)) for one in shown])
    rises = iter(after)
    found: list[Row] = [{"target": c} for c, _ in asked]
    for what in covers:
        for row, scores in zip(found, rises, strict=False):
            row[what] = float(scores[row["target"]] - before[row["target"]])
    return found
