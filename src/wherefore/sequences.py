"""Maps on what has an order: the frames of a video or a volume, a signal's samples, the words of a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from wherefore.drawing import FAINT, INK, PAPER, font, overlay, palette
from wherefore.imaging import Region

WIDE, TALL = 900, 220  # of a drawn signal
TEXT_WIDTH, LETTERS = 760, 22
MOST_SHOWN = 8  # frames of a video in one picture


def frames(
    pictures: Sequence[Image.Image], heat: Tensor, region: Region, top: float | None, colours: str
) -> list[Image.Image]:
    """Each frame under its part of a map ``(t, H, W)``, all on one scale: up to ``top``, or the map's own maximum."""
    top = float(heat.max()) if top is None else top
    if top <= 0:
        return [picture.copy() for picture in pictures]
    return [overlay(p, h, region, top, colours) for p, h in zip(pictures, heat, strict=True)]


def strip(pictures: Sequence[Image.Image], most: int = MOST_SHOWN, gap: int = 4) -> Image.Image:
    """Some of the frames side by side, evenly chosen, in two rows where they are many."""
    count = min(most, len(pictures))
    shown = [pictures[round(i * (len(pictures) - 1) / max(1, count - 1))] for i in range(count)]
    columns = count if count <= 4 else -(-count // 2)
    width, height = shown[0].size
    rows = -(-count // columns)
    canvas = Image.new("RGB", (columns * (width + gap) - gap, rows * (height + gap) - gap), PAPER)
    for i, picture in enumerate(shown):
        canvas.paste(picture, (i % columns * (width + gap), i // columns * (height + gap)))
    return canvas


def signal(values: Tensor, heat: Tensor | None, top: float | None, colours: str) -> Image.Image:
    """The curves of a signal ``(C, L)``; behind them the map ``(L,)`` in colours, where there is one."""
    canvas = Image.new("RGB", (WIDE, TALL), PAPER)
    if heat is not None:
        canvas.paste(Image.fromarray(_colours(heat, top, colours)[None]).resize((WIDE, TALL), Image.Resampling.NEAREST))
    draw, series = ImageDraw.Draw(canvas), values.detach().float().cpu().numpy()
    low, high = float(series.min()), float(series.max())
    across = (np.arange(series.shape[1]) + 0.5) * WIDE / series.shape[1]
    for curve in series:
        down = TALL - 12 - (curve - low) / max(high - low, 1e-12) * (TALL - 24)
        points = list(zip(across.tolist(), down.tolist(), strict=True))
        draw.line(points, fill=(250, 250, 250), width=5, joint="curve")  # a light rim keeps it readable on any colour
        draw.line(points, fill=INK, width=2, joint="curve")
    return canvas


def text(pieces: Sequence[str], heat: Tensor | None, top: float | None, colours: str) -> Image.Image:
    """A text whose pieces stand on the colours of a map with a value for each; their line breaks are kept.

    A piece that begins with a space begins a word.
    """
    shades = None if heat is None else _colours(heat, top, colours)
    letters, line = font(LETTERS), round(LETTERS * 1.7)
    places, x, y = [], 12.0, 10
    for piece in pieces:
        shown = piece.strip("\n")
        wide = letters.getlength(shown.strip() or " ") + 4
        x += letters.getlength(" ") if piece.startswith(" ") else 0
        if x + wide > TEXT_WIDTH - 12 or "\n" in piece:
            x, y = 12.0, y + line
        places.append((x, y, wide, shown.strip()))
        x += wide
    canvas = Image.new("RGB", (TEXT_WIDTH, y + line + 6), PAPER)
    draw = ImageDraw.Draw(canvas)
    for i, (left, upper, wide, shown) in enumerate(places):
        shade = tuple(map(int, shades[i])) if shades is not None else PAPER
        draw.rectangle((left, upper, left + wide - 1, upper + line - 6), fill=shade)
        dark = 0.299 * shade[0] + 0.587 * shade[1] + 0.114 * shade[2] < 140
        special = shown.startswith(("[", "<"))
        ink = PAPER if dark else (FAINT if special else INK)
        draw.text((left + 2, upper + 2), shown, fill=ink, font=letters)
    return canvas


def _colours(heat: Tensor, top: float | None, colours: str) -> Any:
    """A colour ``(L, 3)`` for each value of a map: paper at 0, darker with more evidence."""
    values = heat.detach().float().cpu().numpy()
    top = float(values.max(initial=0)) if top is None else top
    share = (values / top).clip(0, 1) if top > 0 else np.zeros_like(values)
    return palette(on_paper(colours))[np.rint(share * 255).astype(int)]


def on_paper(colours: str) -> str:
    """The colour map that stands for another one on paper."""
    return "paper" if colours == "heat" else colours
