"""Maps on pictures, for the pages of experiments: with the box that a rule makes and the true ones, or the peak."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from PIL import Image, ImageDraw

from wherefore.batch.maps import Seen
from wherefore.explanation import Explanation
from wherefore.pages import Figure, Figures
from wherefore.subjects import Picture

SIDE = 320  # the longer side of a drawn picture
OURS, TRUE = (255, 255, 255), (86, 196, 255)
Boxes = Sequence[tuple[int, int, int, int]]


def large(e: Explanation) -> tuple[Explanation, float]:
    """The explanation of one picture at a size to be looked at, and how many times larger that is."""
    [picture] = e.pictures
    assert isinstance(picture, Picture)
    times = SIDE / max(picture.size)
    return replace(e, pictures=[replace(picture, enlarged=max(1, round(times + 0.5)))]).within(SIDE), times


def pictured(e: Explanation, caption: str, note: str = "") -> Figure:
    """A figure of the first map of the explanation of one picture."""
    return Figure(next(large(e)[0].overlays(0, legend=False)), caption, note)


def drawn(
    seen: Seen,
    target: int = 0,
    box: Sequence[float] | None = None,
    true: Boxes = (),
    note: str = "",
    caption: str = "",
    point: Sequence[int] | None = None,
) -> Figure:
    """A figure of one map; the box that was made of it in white, the true ones in blue, a point as a ring.

    Without a box and a point, the ring is around the peak.
    """
    e, times = large(seen.explanation)
    picture = list(e.overlays(0, legend=False))[target]
    for each in true:
        _framed(picture, each, times, TRUE)
    if box is not None:
        _framed(picture, box, times, OURS)
    else:
        x, y = seen.explanation.peaks()[0, target].tolist() if point is None else point
        _ringed(picture, (x + 0.5) * times, (y + 0.5) * times)
    name = seen.explanation.targets[0][target]
    words = caption or f"{seen.explanation.method}: {name}"
    return Figure(picture, words, note, f"{words} on {seen.sample.name}, which shows {', '.join(seen.sample.labels)}")


def gallery(
    columns: Mapping[str, Sequence[Seen]],
    draw: Callable[[str, Seen], Figure],
    count: int = 3,
    heading: str = "",
    words: str = "",
) -> Figures:
    """The first ``count`` samples, a row for each, under what is seen by each of several names."""
    common = list(dict.fromkeys(each.sample.name for each in next(iter(columns.values()))))[: 4 * count]
    by_name = {name: {each.sample.name: each for each in some} for name, some in columns.items()}
    shown = [name for name in common if all(name in each for each in by_name.values())][:count]
    figures = [draw(name, by_name[name][sample]) for sample in shown for name in columns]
    return Figures(figures, len(columns), heading, words)


def plain(seen: Seen) -> Figure:
    """The picture itself."""
    e, _ = large(seen.explanation)
    return Figure(e.pictures[0].image, seen.sample.name, ", ".join(seen.sample.labels))


def _framed(picture: Image.Image, box: Sequence[float], times: float, colour: Any) -> None:
    x0, y0, x1, y1 = (round(v * times) for v in (box[0], box[1], box[2] + 1, box[3] + 1))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((x0, y0, x1 - 1, y1 - 1), outline=(28, 28, 32), width=4)
    pen.rectangle((x0 + 1, y0 + 1, x1 - 2, y1 - 2), outline=colour, width=2)


def _ringed(picture: Image.Image, x: float, y: float) -> None:
    pen, radius = ImageDraw.Draw(picture), picture.width / 32
    for reach, width, colour in ((radius + 1, 5, (28, 28, 32)), (radius, 2, OURS)):
        pen.ellipse((x - reach, y - reach, x + reach, y + reach), outline=colour, width=width)
