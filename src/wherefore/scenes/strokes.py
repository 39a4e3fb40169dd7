"""What pictures are drawn from: shapes of closed rings of points, in any frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]
Ring = list[Point]

# Sixteen corners look round at this size; more cost time.
_CIRCLE = [(math.cos(i * math.pi / 8), math.sin(i * math.pi / 8)) for i in range(16)]


@dataclass(frozen=True)
class Shape:
    """Rings filled with one paint, as one part of a thing; without paint they are a hole."""

    part: str
    paint: str
    rings: tuple[Ring, ...]


def oval(x: float, y: float, wide: float, high: float, turn: float = 0.0) -> Ring:
    """An ellipse around a point, by its half axes, turned clockwise by so many degrees."""
    if not turn:
        return [(x + wide * c, y + high * s) for c, s in _CIRCLE]
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    return [(x + wide * c * cos - high * s * sin, y + wide * c * sin + high * s * cos) for c, s in _CIRCLE]


def box(x0: float, y0: float, x1: float, y1: float) -> Ring:
    """A rectangle by two corners."""
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def stroke(points: Sequence[Point], width: float, end: float | None = None) -> tuple[Ring, ...]:
    """A line through the points with round joints, of one width, or growing thinner or wider towards its end."""
    widths = [width + ((width if end is None else end) - width) * i / (len(points) - 1) for i in range(len(points))]
    rings: list[Ring] = []
    for (ax, ay), (bx, by), wa, wb in zip(points, points[1:], widths, widths[1:], strict=False):
        length = math.hypot(bx - ax, by - ay) or 1.0
        nx, ny = (ay - by) / length / 2, (bx - ax) / length / 2
        rings.append([(ax + nx * wa, ay + ny * wa), (bx + nx * wb, by + ny * wb)])
        rings[-1] += [(bx - nx * wb, by - ny * wb), (ax - nx * wa, ay - ny * wa)]
    joints = zip(points[1:-1], widths[1:-1], strict=True)
    return (*rings, *(oval(x, y, w / 2, w / 2) for (x, y), w in joints))


def curve(start: Point, pull: Point, end: Point, steps: int = 7) -> list[Point]:
    """Points on the arc from start to end that leaves towards ``pull`` (a quadratic Bezier curve)."""
    found = []
    for i in range(steps + 1):
        t = i / steps
        a, b, c = (1 - t) ** 2, 2 * t * (1 - t), t * t
        found.append((a * start[0] + b * pull[0] + c * end[0], a * start[1] + b * pull[1] + c * end[1]))
    return found


def shape(part: str, paint: str, *rings: Ring) -> Shape:
    """A shape of some rings."""
    return Shape(part, paint, rings)
