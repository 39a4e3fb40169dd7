"""Pages of small pictures: tiles with a name and a note beneath them, in blocks one below the other."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageDraw

from wherefore.drawing import FAINT, INK, PAPER, fitted, font, palette


def tile(picture: Image.Image, name: str, note: str = "", size: int = 15) -> Image.Image:
    """A small picture with a name beneath it in letters of that size, and a note in grey."""
    small = round(size * 0.85)
    canvas = Image.new("RGB", (picture.width, picture.height + round(size * 2.75)), PAPER)
    canvas.paste(picture, (0, 0))
    draw, y = ImageDraw.Draw(canvas), picture.height + size // 4
    draw.text((1, y), fitted(name, picture.width, size), fill=INK, font=font(size))
    draw.text((1, y + round(size * 1.25)), fitted(note, picture.width, small), fill=FAINT, font=font(small))
    return canvas


def excused(room: tuple[int, int], name: str, why: str, size: int = 15) -> Image.Image:
    """A tile that says why there is no picture."""
    empty, small, y = Image.new("RGB", room, (240, 240, 238)), round(size * 0.85), 10
    for line in wrapped(why, room[0] - 20, small):
        if y > room[1] - small * 1.7:
            break
        ImageDraw.Draw(empty).text((10, y), line, fill=FAINT, font=font(small))
        y += round(small * 1.35)
    return tile(empty, name, size=size)


def wrapped(text: str, width: int, size: int) -> list[str]:
    """The text in lines of that width, in letters of that size; a longer word is a line by itself."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font(size).getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


@dataclass(frozen=True)
class Block:
    """A part of a page: a heading, a line of detail in grey, and tiles of one size.

    ``scale``: the colour map that all of its tiles share, and in words what its strongest colour stands for.
    """

    heading: str
    detail: str
    tiles: list[Image.Image]
    scale: tuple[str, str] | None = None


def page(blocks: list[Block], columns: int, foot: str = "", size: int = 15, gap: int = 12) -> Image.Image:
    """Blocks one below the other, their tiles in rows; below them words on the whole page, in letters of that size.

    ``columns`` of the first block's tiles make its width; as many stand in a row of smaller ones as there is room for.
    """
    width = blocks[0].tiles[0].width
    columns = min(columns, max(len(block.tiles) for block in blocks if block.tiles[0].width == width))
    line, across = round(size * 1.3), columns * (width + gap) - gap
    drawn = [_drawn(block, across, size, gap) for block in blocks]
    words = wrapped(foot, across, size) if foot else []
    tall = sum(each.height for each in drawn) + len(words) * line + gap
    canvas, top = Image.new("RGB", (across + 2 * gap, tall), PAPER), gap
    for each in drawn:
        canvas.paste(each, (gap, top))
        top += each.height
    draw = ImageDraw.Draw(canvas)
    for i, text in enumerate(words):
        draw.text((gap, top - gap // 2 + i * line), fitted(text, across, size), fill=FAINT, font=font(size))
    return canvas


def _drawn(block: Block, across: int, size: int, gap: int) -> Image.Image:
    """A block, so many pixels wide, with a gap below; a long heading goes on in further lines."""
    large, (width, height) = round(size * 1.35), block.tiles[0].size
    lines, step = wrapped(block.heading, across, large), round(large * 1.3)
    columns = (across + gap) // (width + gap)
    below = round(size * (1.8 if block.detail or block.scale else 0.6))
    head = len(lines) * step + below
    canvas = Image.new("RGB", (across, head + -(-len(block.tiles) // columns) * (height + gap)), PAPER)
    draw = ImageDraw.Draw(canvas)
    for i, text in enumerate(lines):
        draw.text((0, i * step), fitted(text, across, large), fill=INK, font=font(large))
    room = across - (_scaled(canvas, block.scale, head - below, size) if block.scale else 0)
    draw.text((0, head - below), fitted(block.detail, room, size), fill=FAINT, font=font(size))
    for i, each in enumerate(block.tiles):
        canvas.paste(each, (i % columns * (width + gap), head + i // columns * (height + gap)))
    return canvas


def _scaled(canvas: Image.Image, scale: tuple[str, str], top: int, size: int) -> int:
    """Draws the scale of a colour map at the right, from 0 to its end; how much room it takes there."""
    (colours, end), draw, pad = scale, ImageDraw.Draw(canvas), round(size * 0.5)
    bar = Image.fromarray(palette(colours)[None]).resize((size * 6, round(size * 0.7)))
    left = canvas.width - round(font(size).getlength(end)) - pad - bar.width
    draw.text((canvas.width, top), end, fill=FAINT, font=font(size), anchor="ra")
    canvas.paste(bar, (left, top + round(size * 0.35)))
    draw.text((left - pad, top), "0", fill=FAINT, font=font(size), anchor="ra")
    return canvas.width - left + 4 * pad
