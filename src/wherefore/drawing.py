"""Maps as pictures: two colour maps, the overlay that keeps the photograph readable, legends, sheets.

``heat`` (the default) climbs evenly in lightness, from the photograph itself through violet and orange to pale yellow:
equal steps of evidence look like equal steps, also in print and to colour-blind readers. ``jet`` is the paper's choice.
The photograph is paled beneath it, so that its own colours are not taken for heat, and bare where there is no
evidence; what the network did not see is grey and framed off.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from torch import Tensor

from wherefore.errors import Error
from wherefore.imaging import Region, resample, seen_pixels
from wherefore.registry import unknown

Array = np.ndarray[Any, Any]
INK, FAINT, PAPER = (28, 28, 32), (110, 110, 118), (252, 252, 250)
STRENGTH = 0.78  # how far the hottest pixel is covered
KNOWN = ((255, 214, 10), (86, 196, 255), (255, 128, 176), (120, 222, 120))  # outlines of things
PALED = 0.65  # how far the photograph's own colours are taken out beneath a map


# -------------------------------------------------------------------------------------------- colour maps


@cache
def palette(name: str = "heat") -> Array:
    """The 256 colours ``(256, 3)`` uint8 of a colour map: ``heat`` or ``jet``; ``paper`` for what stands on paper."""
    ramps = {"heat": _heat, "jet": _jet, "paper": _on_paper}
    if name not in ramps:
        raise Error(unknown("colour map", name, ["heat", "jet"]))
    return np.asarray((ramps[name](np.linspace(0, 1, 256)) * 255).round().clip(0, 255).astype(np.uint8))


def check_look(colours: str, scale: str) -> None:
    """Raises `Error` for a colour map or a scale that does not exist."""
    palette(colours)
    if scale not in ("each", "common"):
        raise Error(f"scale is 'each' or 'common', not {scale!r}.")


def _heat(t: Array) -> Array:
    """A straight ramp of OKLab lightness with a turning hue (Ottosson 2020)."""
    lightness = 0.30 + 0.64 * t
    hue = np.deg2rad(290 + 175 * t)  # violet, magenta, orange, yellow
    chroma = 0.17 * np.sin(np.pi * (0.12 + 0.76 * t)) ** 0.6
    a, b = chroma * np.cos(hue), chroma * np.sin(hue)
    cone = np.stack(
        [
            lightness + 0.3963377774 * a + 0.2158037573 * b,
            lightness - 0.1055613458 * a - 0.0638541728 * b,
            lightness - 0.0894841775 * a - 1.2914855480 * b,
        ]
    ) ** 3  # fmt: skip
    to_rgb = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = (to_rgb @ cone).T.clip(0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _on_paper(t: Array) -> Array:
    """From paper through yellow and orange to violet: there the strongest must be the darkest."""
    cover = (0.92 * t**0.7)[:, None]
    return np.array(PAPER) / 255 * (1 - cover) + _heat(1 - t).clip(0, 1) * cover


def _jet(t: Array) -> Array:
    """Blue, cyan, yellow, red in straight pieces."""
    return np.stack([1.5 - np.abs(4 * t - centre) for centre in (3, 2, 1)], axis=-1).clip(0, 1)


# -------------------------------------------------------------------------------------------- overlay


def overlay(
    picture: Image.Image, heat: Tensor, region: Region, top: float | None = None, colours: str = "heat"
) -> Image.Image:
    """The picture under a map ``(H, W)`` of its own size; ``top`` is the value of the strongest colour.

    By default the map's own maximum. The colour covers the more the hotter it is. A map without positive values leaves
    the picture bare.
    """
    seen = seen_pixels(picture.size, region)
    whole = seen == (0, 0, *picture.size) or seen[2] <= seen[0] or seen[3] <= seen[1]
    x0, y0, x1, y1 = (0, 0, *picture.size) if whole else seen
    values = heat[y0:y1, x0:x1].detach().float().cpu().numpy()
    part = picture if whole else picture.crop(seen)
    highest = float(values.max())
    if highest > 0:
        part = _coloured(part, values / (highest if top is None else top), colours)
    return part.copy() if whole else _framed(part, picture, seen)


# Coverage by heat: nothing at 0, soon visible, never opaque.
_COVER = [round(255 * STRENGTH * (i / 255) ** 0.7) for i in range(256)]


def _coloured(picture: Image.Image, share: Array, colours: str) -> Image.Image:
    """The picture under the colours of shares ``(H, W)`` of the strongest one, 0..1."""
    index = Image.fromarray(np.rint(share.clip(0, 1) * 255).astype(np.uint8))
    coloured = index.copy()
    coloured.putpalette(palette(colours).tobytes())
    if colours == "jet":  # the paper's: an even blend over the whole picture
        return Image.blend(picture, coloured.convert("RGB"), 0.5)
    grey = picture.convert("L")
    paled = Image.blend(picture, Image.merge("RGB", (grey, grey, grey)), PALED)  # or a warm picture looks hot itself
    return Image.composite(coloured.convert("RGB"), paled, index.point(_COVER))


def _framed(part: Image.Image, picture: Image.Image, seen: tuple[int, int, int, int]) -> Image.Image:
    """The part that the network saw, in a fine frame, on the dimmed and grey picture."""
    x0, y0, x1, y1 = seen
    canvas = picture.convert("L").point(_DIM).convert("RGB")
    canvas.paste(part, (x0, y0))
    ImageDraw.Draw(canvas).rectangle((x0 - 1, y0 - 1, x1, y1), outline=(245, 245, 245))
    return canvas


_DIM = [round(0.45 * v + 0.55 * 128) for v in range(256)]


# -------------------------------------------------------------------------------------------- signed pixels


def strength(pixels: Tensor) -> float:
    """The value that one pixel in 100 of signed pixels ``(C, H, W)`` exceeds in some colour, of either sign."""
    return float(np.quantile(pixels.detach().float().abs().amax(0).numpy(), 0.99))


def relief(picture: Image.Image, pixels: Tensor, region: Region, top: float | None = None) -> Image.Image:
    """Signed pixels ``(C, H, W)``, C 1 or 3, where they belong in the picture: grey is 0, in each colour by itself.

    Full brightness and black are plus and minus ``top``, by default the pixels' own `strength`.
    """
    values, strong = pixels.detach().float(), strength(pixels) if top is None else top
    seen = seen_pixels(picture.size, region)
    size, x0, y0 = (seen[2] - seen[0], seen[3] - seen[1]), seen[0], seen[1]
    if size[0] <= 0 or size[1] <= 0:
        return picture.copy()
    inside = (region[0] - x0, region[1] - y0, region[2] - x0, region[3] - y0)
    large = resample(values, size, inside).numpy() / (strong if strong > 0 else 1.0)
    grey = np.rint((0.5 + 0.5 * large.clip(-1, 1)) * 255).astype(np.uint8)
    drawn = Image.fromarray(np.broadcast_to(grey, (3, *grey.shape[1:])).transpose(1, 2, 0).copy())
    return drawn if seen == (0, 0, *picture.size) else _framed(drawn, picture, seen)


# -------------------------------------------------------------------------------------------- outlines


def box_in(mark: Tensor, region: Region) -> tuple[float, float, float, float]:
    """A box in shares of a region ``(4,)`` in pixels of the picture."""
    (x0, y0, x1, y1), (left, top, right, bottom) = region, mark.tolist()
    return x0 + left * (x1 - x0), y0 + top * (y1 - y0), x0 + right * (x1 - x0), y0 + bottom * (y1 - y0)


def outlined(picture: Image.Image, mark: Tensor, region: Region) -> Image.Image:
    """The picture with the outline of a box ``(4,)``, in shares of the region, or of a part of it ``(h, w)``, weights.

    White between dark lines, so that it shows on any colour.
    """
    inside = np.zeros(picture.size[::-1], dtype=bool)
    if mark.ndim == 1:
        left, top, right, bottom = map(round, box_in(mark, region))
        inside[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = True
    else:
        inside = resample(mark.float(), picture.size, region).numpy() > 0.5 * float(mark.max())
    width = max(1, round(max(picture.size) / 300))
    pixels = np.array(picture)
    rim = inside & ~ndimage.binary_erosion(inside, iterations=3 * width, border_value=0)
    middle = ndimage.binary_erosion(inside, iterations=width) & ~ndimage.binary_erosion(inside, iterations=2 * width)
    pixels[rim] = INK
    pixels[middle] = 255
    return Image.fromarray(pixels)


def known(picture: Image.Image, things: Sequence[tuple[str, Array]]) -> Image.Image:
    """The picture with things outlined and named, by masks ``(h, w)`` of bool, which may be of another size."""
    pixels = np.array(picture)
    width = max(1, round(max(picture.size) / 200))
    inside = [np.asarray(Image.fromarray(mask).resize(picture.size)) for _, mask in things]
    for i, mask in enumerate(inside):
        pixels[ndimage.binary_dilation(mask, iterations=width) & ~mask] = KNOWN[i % len(KNOWN)]
    result = Image.fromarray(pixels)
    pen, size = ImageDraw.Draw(result), max(11, min(22, round(picture.width / 24)))
    for i, ((name, _), mask) in enumerate(zip(things, inside, strict=True)):
        ys, xs = np.nonzero(mask)
        wide = font(size).getlength(name) + size * 0.6
        left = min(max(0, int(xs.min(initial=picture.width))), max(0, picture.width - int(wide)))
        top = max(0, int(ys.min(initial=picture.height)) - round(size * 1.35) - width)
        pen.rectangle((left, top, left + wide, top + round(size * 1.35)), fill=KNOWN[i % len(KNOWN)])
        pen.text((left + size * 0.3, top + size * 0.05), name, fill=INK, font=font(size))
    return result


# -------------------------------------------------------------------------------------------- words


@cache
def font(size: int) -> Any:
    """The font for legends, which comes with Pillow."""
    return ImageFont.load_default(size)


def captioned(
    picture: Image.Image, title: str, detail: str = "", colours: str | None = None, ends: tuple[str, str] = ("0", "")
) -> Image.Image:
    """The picture with a title and a line of detail beneath it and, with ``colours``, the scale of that colour map."""
    size = max(12, min(28, round(picture.width / 26)))
    pad, line = round(size * 0.6), round(size * 1.35)
    height = pad * 2 + line * 2
    canvas = Image.new("RGB", (picture.width, picture.height + height), PAPER)
    canvas.paste(picture, (0, 0))
    draw = ImageDraw.Draw(canvas)
    room = picture.width - 2 * pad
    scale = round(room * 0.34) if colours and picture.width >= 160 else 0
    y = picture.height + pad
    draw.text((pad, y), fitted(title, room - scale - (pad if scale else 0), size), fill=INK, font=font(size))
    small = round(size * 0.82)
    draw.text(
        (pad, y + line), fitted(detail, room - scale - (pad if scale else 0), small), fill=FAINT, font=font(small)
    )
    if scale and colours:
        bar = Image.fromarray(palette(colours)[None]).resize((scale, max(6, size // 2)))
        left = picture.width - pad - scale
        canvas.paste(bar, (left, y + size // 4))
        draw.text((left, y + line), ends[0], fill=FAINT, font=font(small))
        draw.text((left + scale, y + line), ends[1], fill=FAINT, font=font(small), anchor="ra")
    return canvas


def fitted(text: str, width: int, size: int) -> str:
    """The text on one line, cut with dots where it is wider than there is room."""
    text = " ".join(text.splitlines())
    if font(size).getlength(text) <= width:
        return text
    while text and font(size).getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def sheet(pictures: list[Image.Image], columns: int = 4, gap: int = 12) -> Image.Image:
    """Pictures of one size side by side, at most ``columns`` in a row."""
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    width, height = pictures[0].size
    canvas = Image.new("RGB", (columns * (width + gap) + gap, rows * (height + gap) + gap), PAPER)
    for i, picture in enumerate(pictures):
        canvas.paste(picture, (gap + i % columns * (width + gap), gap + i // columns * (height + gap)))
    return canvas
