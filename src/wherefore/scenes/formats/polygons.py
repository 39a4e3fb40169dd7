"""Masks as polygons along the edges of their pixels, which every reader of COCO fills to the same mask again."""

from __future__ import annotations

import numpy as np

from wherefore.scenes.annotated import Array

Ring = list[tuple[int, int]]
Edge = tuple[int, int, int, int]  # from x, y in the direction dx, dy; its pixel lies to the right
# For each side of a pixel: where its neighbour lies (dy, dx), where the edge begins (y, x), and its direction (dx, dy).
SIDES = (
    ((-1, 0), (0, 0), (1, 0)),
    ((0, 1), (0, 1), (0, 1)),
    ((1, 0), (1, 1), (-1, 0)),
    ((0, -1), (1, 0), (0, -1)),
)


def polygons(mask: Array) -> list[list[float]]:
    """Polygons ``[x, y, x, y ...]`` whose union is the mask: COCO has no holes, so what has one is cut in two there."""
    found = rings(mask)
    holes = [ring for ring in found if area(ring) < 0]
    if not holes:
        return [[float(number) for point in ring for number in point] for ring in found]
    cut = min(x for x, _ in holes[0])
    left, right = np.array(mask), np.array(mask)
    left[:, cut:] = right[:, :cut] = False
    return polygons(left) + polygons(right)


def rings(mask: Array) -> list[Ring]:
    """The corners of the outlines, clockwise around what is in and counterclockwise around holes.

    Pixels that touch by a corner only have outlines of their own.
    """
    edges = _edges(mask)
    left, found = dict.fromkeys(edges), []
    while left:
        first, ring = next(iter(left)), []
        edge: Edge | None = None
        while edge != first:
            x, y, dx, dy = edge or first
            here = x + dx, y + dy
            turns = ((-dy, dx), (dx, dy), (dy, -dx))  # right, which stays at the same pixel; straight on; left
            edge = next((*here, *turn) for turn in turns if (*here, *turn) in edges)
            del left[edge]
            if edge[2:] != (dx, dy):
                ring.append(here)
        found.append(ring)
    return found


def area(ring: Ring) -> int:
    """Twice the area inside, below 0 around a hole."""
    return sum(x * v - u * y for (x, y), (u, v) in zip(ring, ring[1:] + ring[:1], strict=True))


def _edges(mask: Array) -> dict[Edge, None]:
    """All edges between pixels that are in and those that are not, from the top."""
    padded, (high, wide) = np.pad(mask, 1), mask.shape
    found: dict[Edge, None] = {}
    for (down, along), (y0, x0), way in SIDES:
        neighbour = padded[1 + down : 1 + down + high, 1 + along : 1 + along + wide]
        rows, columns = np.nonzero(mask & ~neighbour)
        found.update(((x + x0, y + y0, *way), None) for y, x in zip(rows.tolist(), columns.tolist(), strict=True))
    return found
