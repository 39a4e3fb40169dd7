"""Drawing: a world becomes a picture, and a raster that says of every pixel what it shows.

A thing is drawn once, as numbers: its shapes, larger than life, in a tile of its own. Colours, textures, outlines,
coverage, masks and parts are all looked up from these numbers, so that the truth cannot differ from the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from wherefore.scenes.backdrops import ACROSS, BACKDROPS, BLOTCH, DOWN, FINE, RGB, Layer
from wherefore.scenes.shapes import PAINTS, SHAPES
from wherefore.scenes.strokes import Ring, Shape
from wherefore.scenes.world import COLOURS, Dice, Light, Thing, World

Array = np.ndarray[Any, Any]
FINER = 3  # how many times larger things are drawn before they are reduced
BEHIND = 2  # the same of the backdrop
OWN = {"body": 0.0, "shade": 0.26, "tint": -0.4}  # paints of a thing's own colour: how much darker they are
SECOND, RIM = 64, 128  # added to the number of a shape: the texture's other colour, its outline


@dataclass(frozen=True)
class Patch:
    """One drawn shape in words; empty where there is nothing to say."""

    owner: int  # the number of the thing that it belongs to, -1 for the backdrop
    object: str  # car, dog; sky, grass, water
    part: str  # wheel, tail, roof
    material: str
    colour: str
    texture: str


@dataclass(frozen=True)
class Drawing:
    """A picture, and what every pixel of it shows."""

    pixels: Array  # (H, W, 3) uint8
    raster: Array  # (H, W) uint16: numbers of patches
    patches: tuple[Patch, ...]
    whole: tuple[int, ...]  # how many pixels of each thing were drawn, before others were drawn over it


def draw(world: World, size: int) -> Drawing:
    """The picture of a world at ``size`` x ``size`` pixels."""
    dice = Dice(world.seed + " backdrop")
    noise = np.random.RandomState(dice.whole(0, 2**31 - 1))  # its streams are promised not to change
    pixels, raster, patches = backdrop(BACKDROPS[world.place](dice), size, noise)
    whole = []
    for i, thing in enumerate(world.things):
        shapes = SHAPES[thing.category](Dice(f"{world.seed} thing {i}"))
        floating = world.place in ("underwater", "sea") or thing.kind.stands != "ground"
        if not floating:
            _shadow(pixels, thing, size)
        whole.append(paste(pixels, raster, len(patches), shapes, thing, world.light))
        patches += [_patch(i, thing, shape, second) for second in (False, True) for shape in shapes]
    return Drawing(lit(pixels, world.light, noise), raster, tuple(patches), tuple(whole))


# -------------------------------------------------------------------------------------------- backdrop


def backdrop(layers: Sequence[Layer], size: int, noise: np.random.RandomState) -> tuple[Array, Array, list[Patch]]:
    """The place without things: pixels ``(H, W, 3)`` float32, and which layer each of them shows."""
    numbers = Image.new("L", (size * BEHIND, size * BEHIND))
    pen = ImageDraw.Draw(numbers)
    for i, layer in enumerate(layers[1:], 1):
        for ring in layer.rings:
            pen.polygon([round(v * size * BEHIND) for point in ring for v in point], fill=i)
    fine = np.asarray(numbers)
    pixels = _reduced(_palette([layer.rgb for layer in layers])[fine], BEHIND)[:, :, :3]
    raster = fine[1::BEHIND, 1::BEHIND].astype(np.uint16)
    down = np.linspace(-0.5, 0.5, size, dtype=np.float32)[:, None]
    slope = np.array([layer.slope for layer in layers], np.float32)[raster]
    pixels = pixels * (1 - slope * down)[:, :, None] + _grain(layers, raster, size, noise)[:, :, None]
    return pixels, raster, [Patch(-1, layer.object, "", layer.material, nearest(layer.rgb), "") for layer in layers]


def _grain(layers: Sequence[Layer], raster: Array, size: int, noise: np.random.RandomState) -> Array:
    """Unevenness of the layers in grey levels, ``(H, W)``: noise on a coarse grid, made smooth."""
    grids = {FINE: (44, 44), BLOTCH: (9, 9), ACROSS: (7, 40), DOWN: (40, 7)}
    found = np.zeros((size, size), np.float32)
    for kind in sorted({layer.grain for layer in layers if layer.rough}):
        rough = np.array([layer.rough * (layer.grain == kind) for layer in layers], np.float32)
        wide, high = grids[kind]
        field = Image.fromarray(noise.random_sample((high, wide)).astype(np.float32))
        smooth = np.asarray(field.resize((size, size), Image.Resampling.BICUBIC))
        found += rough[raster] * (2 * smooth - 1)
    return found


# -------------------------------------------------------------------------------------------- things


@dataclass(frozen=True)
class Dress:
    """Colours of a thing's own, by number as `_palette_of` has them, and groups of shapes with one outline around."""

    palette: Array  # (256,) uint32
    groups: Array  # (256,)


def paste(
    pixels: Array,
    raster: Array,
    first: int,
    shapes: Sequence[Shape],
    thing: Thing,
    light: Light,
    dress: Dress | None = None,
) -> int:
    """Draws a thing over ``pixels`` and, as numbers from ``first``, over ``raster``; returns how many pixels it has.

    The numbers are those of its shapes, and, where its texture's other colour shows, as many more as it has shapes.
    """
    size = len(pixels)
    rings = _placed(shapes, thing, size)
    x0, y0, x1, y1 = _tile(rings, size)
    numbers = np.asarray(_numbered(shapes, rings, (x0, y0, x1, y1)))
    second = np.zeros(numbers.shape, bool)
    if thing.texture != "plain":
        textured = np.array([False, *(shape.paint == "body" for shape in shapes)])
        second = textured[numbers] & _texture(thing, size, (x0, y0, x1, y1))
    looks = numbers + SECOND * second
    looks = np.where(_rims(numbers if dress is None else dress.groups[numbers]), looks | RIM, looks)
    tile = _reduced((_palette_of(shapes, thing) if dress is None else dress.palette)[looks], FINER)
    here = np.s_[y0:y1, x0:x1]
    pixels[here] *= 1 - tile[:, :, 3:] / 255
    pixels[here] += tile[:, :, :3] * _roundness(thing, light, size, (x0, y0, x1, y1))[:, :, None]
    middle = np.s_[1::FINER, 1::FINER]
    shown = numbers[middle] + np.uint16(first - 1) + np.uint16(len(shapes)) * second[middle]
    raster[here] = np.where(numbers[middle] > 0, shown, raster[here])
    return int((numbers[middle] > 0).sum())


def _placed(shapes: Sequence[Shape], thing: Thing, size: int) -> list[list[list[int]]]:
    """The rings of each shape in the picture, in pixels of the finer raster, x and y by turns."""
    angle = math.radians(thing.angle)
    cos, sin = math.cos(angle), math.sin(angle)
    across, down = thing.size * size * FINER * thing.stretch, thing.size * size * FINER
    x, y, side = thing.x * size * FINER, thing.y * size * FINER, -1 if thing.flip else 1

    def place(ring: Ring) -> list[int]:
        flat = []
        for u, v in ring:
            u, v = across * side * (u + thing.shear * v), down * v
            flat += [round(x + u * cos - v * sin), round(y + u * sin + v * cos)]
        return flat

    return [[place(ring) for ring in shape.rings] for shape in shapes]


def _tile(rings: list[list[list[int]]], size: int) -> tuple[int, int, int, int]:
    """The pixels x0, y0, x1, y1 of the picture (the last ones not included) around the rings."""
    xs = [v for shape in rings for ring in shape for v in ring[::2]]
    ys = [v for shape in rings for ring in shape for v in ring[1::2]]
    low = (max(0, min(values) // FINER - 1) for values in (xs, ys))
    high = (min(size, max(values) // FINER + 2) for values in (xs, ys))
    (x0, y0), (x1, y1) = low, high
    return x0, y0, x1, y1


def _numbered(shapes: Sequence[Shape], rings: list[list[list[int]]], tile: tuple[int, int, int, int]) -> Image.Image:
    """The tile, larger: at every pixel the number of the shape that it shows, from 1; 0 beside them and in holes."""
    x0, y0, x1, y1 = tile
    image = Image.new("L", ((x1 - x0) * FINER, (y1 - y0) * FINER))
    pen = ImageDraw.Draw(image)
    left, top = x0 * FINER, y0 * FINER
    for number, (shape, placed) in enumerate(zip(shapes, rings, strict=True), 1):
        for ring in placed:
            flat = [v - (top if i & 1 else left) for i, v in enumerate(ring)]
            pen.polygon(flat, fill=number if shape.paint else 0)
    return image


def _rims(numbers: Array) -> Array:
    """Where one shape ends and another, or nothing, begins."""
    found = np.zeros(numbers.shape, bool)
    for a, b in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = numbers[a] != numbers[b]
        found[a] |= differ
        found[b] |= differ
    return found


def _texture(thing: Thing, size: int, tile: tuple[int, int, int, int]) -> Array:
    """Where the tile shows the second colour of a thing's texture, which is turned as the thing is."""
    x0, y0, x1, y1 = tile
    period = max(0.055 * size, 0.34 * thing.size * size)
    turn = math.radians(thing.angle + (25 if thing.texture == "striped" else 0))
    x = (np.arange(x0 * FINER, x1 * FINER, dtype=np.float32) / FINER - thing.x * size) / period
    y = (np.arange(y0 * FINER, y1 * FINER, dtype=np.float32)[:, None] / FINER - thing.y * size) / period
    u, v = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    u -= np.floor(u)
    if thing.texture == "striped":
        return u < 0.5
    if thing.texture == "zigzag":
        v = (v + 0.6 * np.abs(u - 0.5)) / 0.7
        return v - np.floor(v) < 0.5
    v -= np.floor(v)
    if thing.texture == "checkered":
        return (u < 0.5) ^ (v < 0.5)
    return (u - 0.5) ** 2 + (v - 0.5) ** 2 < 0.085  # dotted


def _palette_of(shapes: Sequence[Shape], thing: Thing) -> Array:
    """The colours by number: of each shape, of its texture's other colour, of the outlines of both."""
    found = np.zeros((256, 4), np.uint8)
    for number, shape in enumerate(shapes, 1):
        if shape.paint:
            found[number::SECOND] = [(*rgb, 255) for rgb in _looks(shape.paint, thing.colour)]
    return found.view(np.uint32)[:, 0]


@cache
def _looks(name: str, colour: str) -> tuple[RGB, RGB, RGB, RGB]:
    """A paint, the other colour of a texture on it, and the outlines of both."""
    rgb = paint(name, colour)[0]
    other = mixed(rgb, 0.42 if sum(rgb) > 315 else -0.55)
    return rgb, other, mixed(rgb, 0.5), mixed(other, 0.5)


def paint(name: str, colour: str) -> tuple[RGB, str]:
    """The colour of a paint on a thing of that colour, and its material; the thing's own where that is empty."""
    return (mixed(COLOURS[colour], OWN[name]), "") if name in OWN else PAINTS[name]


def mixed(rgb: RGB, dark: float) -> RGB:
    """A colour with that share of black, or of white where it is below 0."""
    r, g, b = (round(c * (1 - dark) if dark >= 0 else c + (255 - c) * -dark) for c in rgb)
    return r, g, b


@lru_cache(maxsize=4096)
def nearest(rgb: RGB) -> str:
    """The name of the colour nearest to another, black among them."""
    named = {**COLOURS, "black": (24, 24, 28)}
    return min(named, key=lambda name: sum((a - b) ** 2 for a, b in zip(named[name], rgb, strict=True)))


def _patch(owner: int, thing: Thing, shape: Shape, second: bool) -> Patch:
    """What a shape of a thing is, in words, where it has its own colour or the second one of the thing's texture."""
    if not shape.paint:  # a hole, which no pixel shows
        return Patch(-1, "", "", "", "", "")
    rgb, material = paint(shape.paint, thing.colour)
    if shape.paint not in OWN:
        return Patch(owner, thing.category, shape.part, material, nearest(rgb), "")
    texture = thing.texture if shape.paint == "body" else ""
    return Patch(
        owner, thing.category, shape.part, thing.kind.material, _named(thing.colour, shape.paint, second), texture
    )


def _named(colour: str, name: str, second: bool) -> str:
    """What the colour of a thing's own paint is called: a darker kind has its name, a lighter one none."""
    look = _looks(name, colour)[second]
    if sum(look) > sum(COLOURS[colour]):
        return ""
    return "grey" if colour == "white" and sum(look) < sum(COLOURS[colour]) else colour


# -------------------------------------------------------------------------------------------- light


def _roundness(thing: Thing, light: Light, size: int, tile: tuple[int, int, int, int]) -> Array:
    """How bright the pixels of a tile are: more towards the light, less on the other side of the thing."""
    x0, y0, x1, y1 = tile
    turn, reach = math.radians(light.angle), thing.size * size
    x = (np.arange(x0, x1, dtype=np.float32) - thing.x * size) / reach
    y = (np.arange(y0, y1, dtype=np.float32)[:, None] - thing.y * size) / reach
    bright: Array = 1 + 0.07 * np.clip(x * math.cos(turn) - y * abs(math.sin(turn)) - 0.6 * y, -1.5, 1.5)
    return bright


def _shadow(pixels: Array, thing: Thing, size: int) -> None:
    """Darkens the ground below a thing."""
    _, _, _, bottom = thing.reach
    wide, high = thing.kind.extent[0] * thing.size * size, 0.16 * thing.size * size
    x, y = thing.x * size, bottom * size - 0.3 * high
    x0, x1 = max(0, int(x - wide)), min(size, int(x + wide) + 2)
    y0, y1 = max(0, int(y - high)), min(size, int(y + high) + 2)
    if x0 >= x1 or y0 >= y1:
        return
    u = (np.arange(x0, x1, dtype=np.float32) - x) / wide
    v = (np.arange(y0, y1, dtype=np.float32)[:, None] - y) / high
    pixels[y0:y1, x0:x1] *= (1 - 0.42 * np.clip(1 - u * u - v * v, 0, 1))[:, :, None]


def lit(pixels: Array, light: Light, noise: np.random.RandomState) -> Array:
    """The picture in its light, with grain, ``(H, W, 3)`` uint8."""
    size = len(pixels)
    along = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    turn = math.radians(light.angle)
    bright = light.gain * (1 + light.slope * (along * math.cos(turn) + along[:, None] * math.sin(turn)))
    warm = np.array([1 + light.warmth, 1, 1 - light.warmth], np.float32)
    pixels = pixels * (bright[:, :, None] * warm)
    grain = np.frombuffer(noise.bytes(size * size * 3), np.int8).reshape(size, size, 3)
    pixels += grain * np.float32(light.grain / 128)
    return np.rint(np.clip(pixels, 0, 255)).astype(np.uint8)


# -------------------------------------------------------------------------------------------- rasters


def _palette(colours: Sequence[RGB]) -> Array:
    """Opaque colours by number, four bytes each."""
    return np.array([(*rgb, 255) for rgb in colours], np.uint8).view(np.uint32)[:, 0]


def _reduced(looks: Array, times: int) -> Array:
    """Pixels of four bytes averaged over squares: ``(h, w, 4)`` float32, colours times coverage, coverage up to 255."""
    high, wide = looks.shape
    # Not as RGBA, whose colours would be divided by the coverage again.
    image = Image.frombuffer("RGBX", (wide, high), np.ascontiguousarray(looks), "raw", "RGBX", 0, 1)
    return np.asarray(image.reduce(times)).astype(np.float32)
