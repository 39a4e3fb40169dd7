"""Stories: many failures told as few groups, by the units that spoke for the wrong answer.

Ward's clustering (1963) of the units' contributions, each picture's scaled to length 1, so that what a network looked
at counts and not how sure it was; as many groups as have the highest mean silhouette (Rousseeuw 1987).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
MOST, LEAST = 10, 3  # groups, and failures in each on average
CLUSTERED = 2000  # failures at most; the distances of more would not fit into memory
WEAK = 0.25  # a mean silhouette below which there is no substantial structure (Kaufman & Rousseeuw 1990)


@dataclass(frozen=True)
class Groups:
    """The group of each of N failures, numbered by size, the largest 0; and how well they are apart, -1 to 1.

    ``silhouette`` is NaN where there is one group alone.
    """

    of: Array
    silhouette: float

    @property
    def count(self) -> int:
        """How many groups there are."""
        return len(np.unique(self.of))


def groups(contributions: Array, most: int = MOST, seed: int = 0) -> Groups:
    """The groups that vectors ``(N, K)`` form by their directions; of fewer than six vectors it is one.

    Of more than 2,000 vectors so many, drawn by the seed, are clustered, and each of the others joins the group whose
    mean is closest.
    """
    points = unit(contributions)
    n = len(points)
    if n < 2 * LEAST:
        return Groups(np.zeros(n, int), float("nan"))
    some = np.sort(np.random.default_rng(seed).permutation(n)[:CLUSTERED])
    of, silhouette = _clustered(points[some], most)
    if n > len(some):
        centres = np.stack([points[some][of == group].mean(0) for group in range(of.max() + 1)])
        of = _nearest(points, centres)
    return Groups(_by_size(of), silhouette)


def unit(vectors: Array) -> Array:
    """Vectors ``(N, K)`` scaled to length 1 in float64; those of 0 are left."""
    values = np.asarray(vectors, np.float64)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-300)


def _clustered(points: Array, most: int) -> tuple[Array, float]:
    """The grouping of the highest mean silhouette, and that."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import pdist, squareform

    apart = pdist(points)
    if not apart.any():
        return np.zeros(len(points), int), float("nan")
    tree, table = linkage(points, "ward"), squareform(apart)
    cuts = [fcluster(tree, count, "maxclust") - 1 for count in range(2, min(most, len(points) // LEAST) + 1)]
    scores = [float(silhouettes(table, of).mean()) for of in cuts]
    best = int(np.argmax(scores))
    return cuts[best], scores[best]


def silhouettes(apart: Array, of: Array) -> Array:
    """The silhouette of each of N points ``(N,)`` by their distances ``(N, N)`` and groups (Rousseeuw 1987, eq. 1).

    (b - a) / max(a, b): a is the mean distance to the others of its own group, b that to the closest other group. 0 for
    a point that is a group by itself, and for all where there is one group.
    """
    names, own = np.unique(of, return_inverse=True)
    member = np.eye(len(names))[own]
    counts, rows = member.sum(0), np.arange(len(own))
    if len(names) < 2:
        return np.zeros(len(own))
    sums = apart @ member
    within = sums[rows, own] / np.maximum(counts[own] - 1, 1)
    means = sums / counts
    means[rows, own] = np.inf
    beyond = means.min(1)
    found: Array = np.where(counts[own] > 1, (beyond - within) / np.maximum(np.maximum(within, beyond), 1e-300), 0.0)
    return found


def _nearest(points: Array, centres: Array) -> Array:
    found: Array = ((centres**2).sum(1) - 2 * points @ centres.T).argmin(1)
    return found


def _by_size(of: Array) -> Array:
    """Groups numbered anew, the largest 0; of equal ones the one that comes first."""
    names, first, counts = np.unique(of, return_index=True, return_counts=True)
    order = np.lexsort((first, -counts))
    number = {int(names[old]): new for new, old in enumerate(order)}
    return np.array([number[int(group)] for group in of])
