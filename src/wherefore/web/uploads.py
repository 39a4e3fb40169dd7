"""A picture that was sent, checked by its header before anything of it is decoded."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator

from PIL import Image, UnidentifiedImageError

from wherefore.imaging import as_rgb
from wherefore.inputs import NOT_YET
from wherefore.subjects import Picture
from wherefore.web.problems import Refused

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")  # and no other decoder is ever called
KINDS = "PNG, JPEG, WebP or GIF"
MOST_SCANS = 100  # of a JPEG; each decodes all of its pixels anew, and cameras write ten
MOST_READS = 20_000  # of a file: Pillow takes chunks of a PNG, blocks of a GIF and markers of a JPEG one by one
PIECE = 2**20
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a PNG by its colour type
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def picture(content: bytes, name: str | None, most_pixels: int) -> Picture:
    """The picture in a file that was sent, of which the first frame counts, upright and in RGB.

    ``name`` is what the sender calls it: it is repeated in answers and opened nowhere. Raises `Refused`, 413 for more
    than ``most_pixels``, 415 for what is no picture of the `FORMATS`, 400 for one that is empty, damaged or a bomb.
    """
    if not content:
        raise Refused(400, "The picture is empty.")
    try:
        with Image.open(_Counted(content), formats=FORMATS) as image:  # reads the header, and no more
            _check(image, content, most_pixels)
            return Picture(_plain(name), as_rgb(image), NOT_YET)
    except Refused:
        raise
    except UnidentifiedImageError:
        raise Refused(415, f"The file is no picture that is read here: send {KINDS}.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):  # Pillow's own limits
        raise _too_large(most_pixels) from None
    except (OSError, SyntaxError, ValueError, EOFError, OverflowError, MemoryError, zlib.error) as error:
        said = str(error).rstrip(".") or type(error).__name__
        raise Refused(400, f"The picture is damaged or cut off ({said[:120]}).") from None


class _Counted(io.BytesIO):
    """A file that refuses to be read piece by piece for ever."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > MOST_READS:
            raise Refused(400, "The picture is a bomb: it is cut into too many pieces.")
        return super().read(size)


def _check(image: Image.Image, content: bytes, most_pixels: int) -> None:
    """Raises `Refused` for a picture that would take too much to decode."""
    if image.width * image.height > most_pixels:
        raise _too_large(most_pixels)
    if image.format == "PNG" and _inflates_beyond(content, image):
        raise Refused(400, "The picture is a bomb: it inflates to more than its size says.")
    if image.format in ("JPEG", "MPO") and content.count(b"\xff\xda") > MOST_SCANS:
        raise Refused(400, f"The picture is a bomb: it has more than {MOST_SCANS} scans.")


def _too_large(most_pixels: int) -> Refused:
    return Refused(413, f"The picture has more than {most_pixels:,} pixels: shrink it first.")


def _plain(name: str | None) -> str:
    """A name without folders and control characters, at most 100 letters."""
    last = (name or "").replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(c for c in last if c.isprintable())[:100] or "picture"


# -------------------------------------------------------------------------------------------- PNG


def _inflates_beyond(content: bytes, image: Image.Image) -> bool:
    """Whether the data of a PNG inflate to more than its header promises; never more than that is kept or made."""
    promised = _promised(content, image.size)
    stream, made = zlib.decompressobj(), 0
    for chunk in _data(content):
        left = chunk
        while left and not stream.eof:
            made += len(stream.decompress(left, min(PIECE, promised - made + 1)))
            if made > promised:
                return True
            left = stream.unconsumed_tail
    return False


def _promised(content: bytes, size: tuple[int, int]) -> int:
    """How many bytes the rows of a PNG take, with the one before each that names its filter."""
    depth, colour, interlaced = content[24], content[25], content[28]
    bits = depth * CHANNELS.get(colour, 4)
    width, height = size
    total = 0
    for x, y, across, down in ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - x) // across), -(-(height - y) // down)
        total += rows * (1 + -(-columns * bits // 8)) if columns > 0 and rows > 0 else 0
    return total


def _data(content: bytes) -> Iterator[bytes]:
    """The contents of the IDAT chunks of a PNG, as far as they are there."""
    file, start = _Counted(content), 8
    file.seek(start)
    while len(head := file.read(8)) == 8:
        length = int.from_bytes(head[:4], "big")
        if head[4:] == b"IDAT":
            yield file.read(length)
        start += 12 + length
        file.seek(start)
