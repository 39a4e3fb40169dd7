"""The paper's own pointing game, with recall: maps of the top-5 classes, each of which may be rejected.

A map whose maximum is below a threshold says that its class is not there. It is right where the class is there, the map
is kept and its highest point lies on the class; and where the class is absent and the map rejected (Selvaraju et al.
2020, section 4.1 and appendix D). Maxima are those of raw maps at the layer's resolution, `Explanation.evidence`. A
threshold is chosen on other pictures than those it is measured on: ``best(claims of dev)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wherefore.metrics.resampling import Array

KEEP_ALL, REJECT_ALL = float("-inf"), float("inf")  # the trivial thresholds


class Claim(NamedTuple):
    """One predicted class of one picture: whether it is there, whether its map points at it, and the map's maximum."""

    picture: str
    category: str
    present: bool
    hit: bool
    maximum: float


class Rejection(NamedTuple):
    """Shares of claims, 0 to 1; NaN where there are none to take a share of.

    ``accuracy``: that are right. ``presence``: that are kept just where the class is there, wherever they point.
    ``precision``: of the maps kept, those that point at their class. ``recall``: the same of the classes there.
    """

    accuracy: float
    presence: float
    precision: float
    recall: float


def with_rejection(claims: Sequence[Claim], threshold: float) -> Rejection:
    """How good maps are at pointing where there is something to point at; those below the threshold are rejected."""
    present, hit, maxima = _columns(claims)
    kept = maxima >= threshold
    found = present & hit & kept
    return Rejection(
        _share(right(claims, threshold)), _share(kept == present), _share(found[kept]), _share(found[present])
    )


def right(claims: Sequence[Claim], threshold: float) -> Array:
    """Which of N claims are right ``(N,)``: present, kept and pointed at, or absent and rejected."""
    present, hit, maxima = _columns(claims)
    kept = maxima >= threshold
    return (present & hit & kept) | (~present & ~kept)


def curve(claims: Sequence[Claim]) -> tuple[Array, Array]:
    """Every threshold that tells claims apart, ascending, and the accuracy at each, both ``(S,)``.

    From the lowest maximum, which keeps all, to infinity, which rejects all.
    """
    present, hit, maxima = _columns(claims)
    order = np.argsort(maxima, kind="stable")
    thresholds, first = np.unique(maxima[order], return_index=True)
    gained = (present & hit)[order].astype(np.int64)
    spared = (~present)[order].astype(np.int64)
    kept = gained.sum() - np.concatenate(([0], np.cumsum(gained)))  # after so many of the lowest were rejected
    rejected = np.concatenate(([0], np.cumsum(spared)))
    cut = np.append(first, len(claims))
    return np.append(thresholds, REJECT_ALL), (kept + rejected)[cut] / max(len(claims), 1)


def best(claims: Sequence[Claim]) -> float:
    """The threshold of the highest accuracy, the lowest of several; on the claims that are measured, the oracle's."""
    thresholds, accuracies = curve(claims)
    return float(thresholds[int(accuracies.argmax())])


def _columns(claims: Sequence[Claim]) -> tuple[Array, Array, Array]:
    present, hit = (np.array([claim[i] for claim in claims], bool) for i in (2, 3))
    return present, hit, np.array([claim.maximum for claim in claims], np.float64)


def _share(flags: Array) -> float:
    return float(flags.mean()) if len(flags) else float("nan")
