"""Pictures in, geometry out: read, put maps back where they belong, threshold to a box; `preparing` is between.

A network sees a part of a picture (its preprocessing crops) or the whole of it squashed. That part is the *region*
``(x0, y0, x1, y1)`` in the picture's own pixels, edges, not pixel centres: a whole picture of 640x480 is
``(0, 0, 640, 480)``. Every map is placed back by it.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import interpolate

from wherefore.errors import Error
from wherefore.preparing import Array, to_picture
from wherefore.preparing import Frames as Frames
from wherefore.preparing import Preprocess as Preprocess
from wherefore.preparing import Region as Region

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
MOST_FRAMES = 256  # of a video that are kept in memory
MOST_PIXELS = 178_956_970  # Pillow's own limit; a header may promise any size: refused before anything is decoded

# -------------------------------------------------------------------------------------------- reading


def read(path: str | Path, upright: bool = True) -> Image.Image:
    """The picture in a file as RGB, upright (EXIF), 16-bit scaled to 8, transparency on white.

    ``upright=False`` leaves its pixels in the order in which they are stored, as data sets annotate them.
    Raises `Error` for a file that is missing, empty, no picture, truncated, or of more pixels than `MOST_PIXELS`.
    """
    path = Path(path)
    if not path.exists():
        raise Error(f"{path} does not exist.")
    if path.is_dir():
        raise Error(f"{path} is a folder: give a picture, or the pictures in it.")
    if path.stat().st_size == 0:
        raise Error(f"{path} is empty.")
    return decoded(path, str(path), upright)


def decoded(source: Path | IO[bytes], name: str, upright: bool = True) -> Image.Image:
    """The picture in a file that is open, or at a path, as `read` gives it; errors call it ``name``."""
    try:
        with Image.open(source) as image:
            if image.width * image.height > MOST_PIXELS:  # where Pillow's own limit was lifted
                raise Image.DecompressionBombError
            return as_rgb(image, upright)
    except UnidentifiedImageError:
        raise Error(f"{name} is not a picture, or of a kind that cannot be read.") from None
    except Image.DecompressionBombError:
        raise Error(f"{name} has more than {MOST_PIXELS:,} pixels: shrink it first.") from None
    except PermissionError as error:
        raise Error(f"{name} may not be read ({error.strerror}).") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise Error(f"{name} cannot be read, it seems damaged or cut off ({error}).") from None


def read_frames(path: str | Path) -> list[Image.Image]:
    """The frames of a video file, or of an animated picture (GIF, WebP, PNG), as RGB, at most `MOST_FRAMES` of them.

    Of longer ones every n-th is kept. Videos are decoded by PyAV: pip install 'wherefore[models]'. Raises `Error` for a
    file that is missing or none of these.
    """
    path = Path(path)
    if not path.is_file():
        raise Error(f"{path} does not exist." if not path.exists() else f"{path} is a folder: give a video.")
    if path.suffix.lower() not in SUFFIXES:
        return _video(path)
    try:
        with Image.open(path) as image:
            count = getattr(image, "n_frames", 1)
            if image.width * image.height > MOST_PIXELS:
                raise Error(f"{path} has more than {MOST_PIXELS:,} pixels: shrink it first.")
            frames = []
            for number in range(0, count, -(-count // MOST_FRAMES)):
                image.seek(number)
                frames.append(as_rgb(image.copy()))
            return frames
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as error:
        raise Error(f"{path} cannot be read as a video or an animated picture ({error}).") from None


def _video(path: Path) -> list[Image.Image]:
    try:
        import av
    except ImportError:
        raise Error(f"reading {path} needs PyAV: pip install 'wherefore[models]'; GIFs need nothing.") from None
    try:
        with av.open(str(path)) as video:
            frames, step = [], 1
            for number, frame in enumerate(video.decode(video=0)):
                if frame.width * frame.height > MOST_PIXELS:
                    raise Error(f"{path} has more than {MOST_PIXELS:,} pixels: shrink it first.")
                if number % step == 0:
                    frames.append(frame.to_image())
                if len(frames) == 2 * MOST_FRAMES:  # of a long video every second one of those read so far
                    frames, step = frames[::2], 2 * step
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise Error(f"{path} cannot be read as a video ({error}).") from None
    if not frames:
        raise Error(f"{path} holds no frames.")
    return frames


def as_rgb(image: Image.Image, upright: bool = True) -> Image.Image:
    """A PIL picture of any mode as an 8-bit RGB picture, turned as its EXIF says unless it is wanted as stored."""
    image = ImageOps.exif_transpose(image) if upright else image
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        image = _eight_bit(image)
    if "A" in image.getbands() or "transparency" in image.info:
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image.convert("RGBA"))
    return image.convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    """A picture of 16 or 32 bits or of floats, scaled from the smallest usual range that holds it."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float32), posinf=0, neginf=0)
    highest = float(values.max(initial=0))
    ranges = {"I": (255.0, 65535.0), "F": (1.0, 255.0, 65535.0)}.get(image.mode, (65535.0,))
    top = next((top for top in ranges if highest <= top), highest)
    return Image.fromarray((values.clip(0, top) * (255.0 / top)).round().astype(np.uint8))


def from_array(array: Array) -> Image.Image:
    """A picture from an array ``(H, W)``, ``(H, W, 1)``, ``(H, W, 3)`` or ``(H, W, 4)``: uint8, or floats in 0..1."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or 0 in array.shape:
        raise Error(f"an array of shape {array.shape} is not a picture: give (H, W) or (H, W, 3).")
    if array.dtype.kind not in "buif":
        raise Error(f"an array of {array.dtype} is not a picture: give uint8, or floats in 0..1.")
    array = array * np.uint8(255) if array.dtype == bool else array
    if np.issubdtype(array.dtype, np.floating):
        if array.min() < 0 or array.max() > 1 or not np.isfinite(array).all():
            raise Error("an array of floats must lie in 0..1: give that, or uint8.")
        array = (array * 255).round()
    elif array.dtype != np.uint8 and (array.min() < 0 or array.max() > 255):
        raise Error(f"an array of {array.dtype} must lie in 0..255.")
    array = array.astype(np.uint8)
    return as_rgb(Image.fromarray(array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array))


# -------------------------------------------------------------------------------------------- tensors as pictures


def tensor_picture(tensor: Tensor) -> Image.Image:
    """A picture of a tensor ``(C, H, W)`` of unknown scale: as it is in 0..1, else stretched to that."""
    low, high = float(tensor.min()), float(tensor.max())
    if low < 0 or high > 1:
        tensor = (tensor - low) / max(high - low, 1e-12)
    return to_picture(tensor)


# -------------------------------------------------------------------------------------------- maps in the picture


def resample(maps: Tensor, size: tuple[int, int], region: Region | None = None) -> Tensor:
    """Maps ``(..., h, w)`` bilinearly at every pixel of a picture of ``size`` (width, height): ``(..., H, W)``.

    The maps cover ``region`` of the picture (all of it by default), half-pixel centres (align_corners=False); pixels
    outside of the region, which the network did not see, are 0.
    """
    x0, y0, x1, y1 = region or (0.0, 0.0, float(size[0]), float(size[1]))
    on_cpu = maps.device.type == "cpu"  # in numpy, as above; and no matrix products, whose threads spin on afterwards
    values: Any = maps.detach().numpy() if on_cpu else maps.detach()

    def weight(share: Array) -> Any:
        return share.astype(values.dtype) if on_cpu else torch.from_numpy(share).to(values)

    left, right, near, far = _neighbours(size[0], maps.shape[-1], x0, x1)
    values = values[..., left] * weight(near) + values[..., right] * weight(far)  # (..., h, W)
    left, right, near, far = _neighbours(size[1], maps.shape[-2], y0, y1)
    values = values[..., left, :] * weight(near[:, None]) + values[..., right, :] * weight(far[:, None])
    return torch.from_numpy(values) if on_cpu else values


def stretched(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Maps ``(..., *grid)`` linearly at ``(..., *size)``, of any number of axes, half-pixel centres."""
    axes = len(size)
    if axes == 2:
        return resample(maps, (size[1], size[0]))
    if maps.shape[-axes:] == size:
        return maps
    flat = maps.reshape(-1, 1, *maps.shape[-axes:])
    large = interpolate(flat, size, mode="linear" if axes == 1 else "trilinear", align_corners=False)
    return large.reshape(*maps.shape[:-axes], *size)


@lru_cache(64)  # pictures of one camera have one size
def _neighbours(length: int, cells: int, start: float, stop: float) -> tuple[Array, Array, Array, Array]:
    """For each pixel the two cells that it lies between, cells being spread over a span, and the weight of each.

    Both weights are 0 for a pixel whose centre lies outside of the span.
    """
    pixels = np.arange(length) + 0.5
    places = ((pixels - start) / (stop - start) * cells - 0.5).clip(0, cells - 1)
    left = np.floor(places).astype(int)
    inside = (pixels >= start) & (pixels < stop)
    return left, (left + 1).clip(max=cells - 1), (1 - (places - left)) * inside, (places - left) * inside


def box(heat: Tensor, threshold: float = 0.15) -> tuple[int, ...]:
    """The box ``(x0, y0, x1, y1)``, inclusive, of the largest part of a map ``(H, W)`` above a share of its maximum.

    Parts are 8-connected; of two equally large ones the one with the higher peak; the whole picture for a map without
    positive values (Selvaraju et al. 2020, section 4.1). Of a map with other axes ``(t, H, W)`` it is
    ``(x0, y0, t0, x1, y1, t1)``, of one ``(L,)`` first and last place; neighbours touch at a corner at least.
    """
    if not 0 <= threshold <= 1:
        raise Error(f"the threshold of a box is a share of the map's maximum, 0 to 1, not {threshold}.")
    values = heat.detach().float().cpu().numpy()
    top, axes = float(values.max()), values.ndim
    if not top > 0:
        return *[0] * axes, *[n - 1 for n in values.shape[::-1]]
    # A map that is no weighted sum can reach the threshold by rounding alone; the comparison is in its own precision.
    above = values >= np.float32(threshold * top)
    others = [tuple(a for a in range(axes) if a != axis) for axis in range(axes)]
    around = [_first_and_last(np.asarray(above.any(other))) for other in others]
    inner = tuple(slice(first, last + 1) for first, last in around)
    labels, count = ndimage.label(above[inner], structure=np.ones([3] * axes, dtype=int))
    if count > 1:
        sizes = np.bincount(labels.ravel())[1:]
        peaks = np.asarray(ndimage.maximum(values[inner], labels, range(1, count + 1)))
        part = ndimage.find_objects(labels)[int(np.lexsort((peaks, sizes))[-1])]
        around = [(o[0] + p.start, o[0] + p.stop - 1) for o, p in zip(around, part, strict=True)]
    return *[first for first, _ in around[::-1]], *[last for _, last in around[::-1]]


def _first_and_last(flags: Array) -> tuple[int, int]:
    """The places of the first and the last flag that is set."""
    return int(flags.argmax()), len(flags) - 1 - int(flags[::-1].argmax())


def peak(heat: Tensor) -> tuple[int, ...]:
    """The pixel ``(x, y)`` where a map ``(H, W)`` is highest, the first in reading order; of any number of axes."""
    index = int(heat.detach().float().cpu().numpy().argmax())
    return tuple(int(i) for i in np.unravel_index(index, heat.shape)[::-1])


def seen_pixels(size: tuple[int, int], region: Region) -> tuple[int, int, int, int]:
    """The pixels ``(x0, y0, x1, y1)``, end exclusive, of a picture whose centres lie in the region; may be none."""
    x0, y0 = (max(0, math.ceil(v - 0.5)) for v in region[:2])
    x1, y1 = (min(n, math.ceil(v - 0.5)) for v, n in zip(region[2:], size, strict=True))
    return x0, y0, x1, y1
