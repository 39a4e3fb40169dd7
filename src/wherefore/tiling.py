"""Pages of small pictures: tiles with a name and a note beneath them, in blocks one below the other."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageDraw

from wherefore.drawing import FAINT, INK, PAPER, fitted, font, palette


def tile(
    picture: Image.Image, name: str, note: str = "", size: int = 15, lines: int = 1, notes: int = 1
) -> Image.Image:
    """A small picture with a name beneath it, in so many lines of letters of that size, and a note in grey.

    ``notes``: how many lines of smaller letters the note has room for.
    """
    small, line = round(size * 0.85), round(size * 1.25)
    height = picture.height + round(size * 1.5) + (lines + notes - 1) * line
    canvas = Image.new("RGB", (picture.width, height), PAPER)
    canvas.paste(picture, (0, 0))
    draw, y = ImageDraw.Draw(canvas), picture.height + size // 4
    parts = wrapped(name, picture.width, size) if lines > 1 else [name]
    for i, part in enumerate(parts[:lines]):
        draw.text((1, y + i * line), fitted(part, picture.width, size), fill=INK, font=font(size))
    told = wrapped(note, picture.width, small)[:notes] if notes > 1 else [note]
    for i, part in enumerate(told, len(parts)):
        draw.text((1, y + i * line), fitted(part, picture.width, small), fill=FAINT, font=font(small))
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
    """A block, so many pixels wide, with a gap below; what is too long for a line goes on in further ones."""
    bar = _scale(*block.scale, size) if block.scale else Image.new("RGB", (0, 1))
    large, (width, height) = round(size * 1.35), block.tiles[0].size
    room, columns = across - bar.width, (across + gap) // (width + gap)
    words = [(line, large, INK) for line in wrapped(block.heading, across, large)]
    middle = sum(round(letters * 1.3) for _, letters, _ in words)
    words += [(line, size, FAINT) for line in (wrapped(block.detail, room, size) if block.detail else [])]
    rows = max(middle + size * bool(block.scale), sum(round(letters * 1.3) for _, letters, _ in words))
    head, top = rows + round(size * 0.5), 0
    canvas = Image.new("RGB", (across, head + -(-len(block.tiles) // columns) * (height + gap)), PAPER)
    for text, letters, ink in words:
        ImageDraw.Draw(canvas).text((0, top), fitted(text, across, letters), fill=ink, font=font(letters))
        top += round(letters * 1.3)
    canvas.paste(bar, (room, middle))
    for i, each in enumerate(block.tiles):
        canvas.paste(each, (i % columns * (width + gap), head + i // columns * (height + gap)))
    return canvas


def _scale(colours: str, end: str, size: int) -> Image.Image:
    """The scale of a colour map, from 0 to its end, with room before it."""
    zero, last = (round(font(size).getlength(text)) for text in ("0", end))
    bar, pad = Image.fromarray(palette(colours)[None]).resize((size * 6, round(size * 0.7))), round(size * 0.5)
    canvas = Image.new("RGB", (4 * pad + zero + bar.width + last, round(size * 1.3)), PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((2 * pad, 0), "0", fill=FAINT, font=font(size))
    canvas.paste(bar, (3 * pad + zero, round(size * 0.35)))
    draw.text((canvas.width, 0), end, fill=FAINT, font=font(size), anchor="ra")
    return canvas
