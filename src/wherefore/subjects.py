"""What is explained, as it was given: a picture, the frames of a clip, a signal, a text.

Each knows its size, puts a map where it belongs in it, and draws it there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from wherefore import drawing, sequences
from wherefore.errors import Error
from wherefore.imaging import Region, resample, seen_pixels, stretched
from wherefore.preparing import Array
from wherefore.scenes import PREFIX


class Subject:
    """What all of them have: a name, a size, a place for maps, a drawing."""

    name: str

    @property
    def title(self) -> str:
        """Its name without the folder; a scene's whole name."""
        return self.name if self.name.startswith(PREFIX) else Path(self.name).name

    @property
    def size(self) -> tuple[int, ...]:
        """How many places there are along each axis, ``x`` first."""
        raise NotImplementedError

    @property
    def image(self) -> Image.Image:
        """What it looks like, without a map."""
        raise NotImplementedError

    def known(self) -> Image.Image:
        """What it looks like with what is known to be in it outlined and named; an `Error` where nothing is."""
        raise Error(f"{self.name} comes without annotations: a scene has them (scenes:17).")

    def within(self, largest: int) -> Subject:
        """The same, drawn with its longer side at most ``largest``."""
        return self

    def placed(self, maps: Tensor, filled: tuple[float, float] = (1.0, 1.0)) -> Tensor:
        """A map at every place of the subject, axes in reverse: ``(H, W)`` for a size of ``(W, H)``.

        ``filled``: which share of a map's height and width a picture fills, the rest being padding.
        """
        return stretched(maps, self.size[::-1])

    def seen(self) -> tuple[slice, ...]:
        """The part that the network saw, for each axis of a placed map."""
        return tuple(slice(0, n) for n in self.size[::-1])

    def overlay(self, heat: Tensor, top: float | None, colours: str) -> Image.Image:
        """The subject under a placed map, up to ``top`` or the map's own maximum."""
        raise NotImplementedError

    def scale(self, colours: str) -> str:
        """The colours that a map is really drawn in."""
        return colours


@dataclass(frozen=True)
class Picture(Subject):
    """A picture as it was read (or what draws it when it is looked at), and the part of it that the network saw."""

    name: str
    source: Image.Image | Callable[[], Image.Image] = field(repr=False)
    region: Region
    # Names and masks (H, W) of what is known to be in it; drawn beside its maps where that is asked for.
    truth: Callable[[], Sequence[tuple[str, Array]]] | None = field(default=None, repr=False, compare=False)
    enlarged: int = 1  # how many times larger it may be drawn: a scene is too small for words beneath it
    fed: Tensor | None = field(default=None, repr=False, compare=False)  # what the network is fed, if that was given

    @cached_property
    def image(self) -> Image.Image:
        """The picture itself."""
        return self.source if isinstance(self.source, Image.Image) else self.source()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.size

    def within(self, largest: int) -> Picture:
        """The same, drawn with its longer side at most ``largest``; a scene is enlarged, as far as it may be."""
        share = min(largest / max(self.size), self.enlarged)
        if share >= 1 and self.enlarged == 1:
            return self
        width, height = (max(1, round(side * share)) for side in self.size)
        across, down = width / self.size[0], height / self.size[1]
        x0, y0, x1, y1 = self.region
        region = x0 * across, y0 * down, x1 * across, y1 * down
        return replace(self, source=self.image.resize((width, height)), region=region, enlarged=1)

    def known(self) -> Image.Image:
        return drawing.known(self.image, self.truth()) if self.truth else super().known()

    def placed(self, maps: Tensor, filled: tuple[float, float] = (1.0, 1.0)) -> Tensor:
        heat = resample(maps, self.size, extent(self.region, filled))
        if filled == (1.0, 1.0):
            return heat
        inside = torch.zeros_like(heat)  # of what lies beyond the part that it saw the network saw nothing
        inside[self.seen()] = 1
        return heat * inside

    def seen(self) -> tuple[slice, ...]:
        return _seen(self.size, self.region)

    def overlay(self, heat: Tensor, top: float | None, colours: str) -> Image.Image:
        return drawing.overlay(self.image, heat, self.region, top, colours)


@dataclass(frozen=True)
class Clip(Subject):
    """The frames of a video, or the slices of a volume, that the network was fed, and the part of each that it saw."""

    name: str
    source: Callable[[], Sequence[Image.Image]] = field(repr=False)
    region: Region
    count: int

    @cached_property
    def frames(self) -> Sequence[Image.Image]:
        """The frames themselves."""
        return self.source()

    @property
    def size(self) -> tuple[int, int, int]:
        """Width, height, and number of frames."""
        return *self.frames[0].size, self.count

    @property
    def image(self) -> Image.Image:
        """Some of the frames side by side."""
        return sequences.strip(self.frames)

    def within(self, largest: int) -> Clip:
        side = largest // min(4, self.count)  # for as many stand beside each other
        if side >= max(self.size[:2]):
            return self
        small = [Picture(self.name, frame, self.region).within(side) for frame in self.frames]
        return replace(self, source=lambda: [each.image for each in small], region=small[0].region)

    def placed(self, maps: Tensor, filled: tuple[float, float] = (1.0, 1.0)) -> Tensor:
        along = stretched(maps, (self.count, *maps.shape[-2:]))
        return resample(along, self.size[:2], self.region)

    def seen(self) -> tuple[slice, ...]:
        return slice(0, self.count), *_seen(self.size[:2], self.region)

    def overlays(self, heat: Tensor, top: float | None, colours: str) -> list[Image.Image]:
        """Every frame under its part of the map, all on one scale."""
        return sequences.frames(self.frames, heat, self.region, top, colours)

    def overlay(self, heat: Tensor, top: float | None, colours: str) -> Image.Image:
        return sequences.strip(self.overlays(heat, top, colours))


@dataclass(frozen=True)
class Signal(Subject):
    """A signal ``(C, L)``."""

    name: str
    values: Tensor = field(repr=False)

    @property
    def size(self) -> tuple[int]:
        """How many samples."""
        return (self.values.shape[-1],)

    @property
    def image(self) -> Image.Image:
        """Its curves."""
        return sequences.signal(self.values, None, None, "heat")

    def overlay(self, heat: Tensor, top: float | None, colours: str) -> Image.Image:
        return sequences.signal(self.values, heat, top, colours)

    def scale(self, colours: str) -> str:
        return sequences.on_paper(colours)


@dataclass(frozen=True)
class Text(Subject):
    """A text in the pieces that the network reads; one that begins with a space begins a word."""

    name: str
    pieces: tuple[str, ...]
    text: str = field(default="", repr=False)

    @property
    def size(self) -> tuple[int]:
        """How many pieces."""
        return (len(self.pieces),)

    @property
    def image(self) -> Image.Image:
        """The words."""
        return sequences.text(self.pieces, None, None, "heat")

    def overlay(self, heat: Tensor, top: float | None, colours: str) -> Image.Image:
        return sequences.text(self.pieces, heat, top, colours)

    def scale(self, colours: str) -> str:
        return sequences.on_paper(colours)


def extent(region: Region, filled: tuple[float, float]) -> Region:
    """What a map covers, of which the region fills these shares of height and width, from its upper left corner."""
    x0, y0, x1, y1 = region
    return x0, y0, x0 + (x1 - x0) / filled[1], y0 + (y1 - y0) / filled[0]


def _seen(size: tuple[int, int], region: Region) -> tuple[slice, slice]:
    """Rows and columns that the network saw; all of them where it saw less than a pixel."""
    x0, y0, x1, y1 = seen_pixels(size, region)
    if x1 <= x0 or y1 <= y0:
        return slice(0, size[1]), slice(0, size[0])
    return slice(y0, y1), slice(x0, x1)
