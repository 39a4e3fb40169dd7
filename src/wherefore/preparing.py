"""What a network sees of a picture or a video: resize, crop, scale to 0..1, normalise; and where that part lies.

The part is the *region* ``(x0, y0, x1, y1)`` in the picture's own pixels, edges, not pixel centres: a whole picture of
640x480 is ``(0, 0, 640, 480)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wherefore.errors import Error, ImageError
from wherefore.registry import unknown

Region = tuple[float, float, float, float]
Array = np.ndarray[Any, Any]

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_INTERPOLATION = {"nearest": Image.Resampling.NEAREST, "bilinear": Image.Resampling.BILINEAR}
_INTERPOLATION |= {"bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}
LONGEST = 16  # times as long as wide: resizing all of a longer picture by its short side could take any memory


@dataclass(frozen=True)
class Preprocess:
    """What a network sees: short side to ``resize``, centre ``crop``, scale to 0..1, subtract mean, divide by std.

    ``preprocess(picture)`` is ``(3, H, W)``, equal to torchvision's own transform; ``preprocess.region(size)`` is the
    part of a picture of that size which the network sees. With ``squash`` it sees the whole picture, squashed.

    ``resize`` may be a pair (height, width), to which the picture is squashed before the crop, or None: its own size,
    of which the middle is cropped. ``crop`` may be such a pair, or None: all that was resized is seen; its long side
    is then at most ``longest``. ``antialias=False`` resizes as torch does tensors, ``rounds_down`` halves odd margins
    of the crop downwards, as transformers does; torchvision rounds them to even. ``bgr``: blue comes first, also in
    ``mean`` and ``std``, as in networks of Caffe's; those see 0..255, which a ``std`` of 1/255 gives.
    """

    resize: int | tuple[int, int] | None = 256
    crop: int | tuple[int, int] | None = 224
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bilinear"
    squash: bool = False
    longest: int | None = None
    antialias: bool = True
    rounds_down: bool = False
    bgr: bool = False

    def __post_init__(self) -> None:
        if self.interpolation not in _INTERPOLATION:
            raise Error(unknown("interpolation", self.interpolation, _INTERPOLATION))
        if not self.antialias and self.interpolation == "lanczos":
            raise Error("lanczos always smooths what it shrinks: leave antialias=True.")

    @classmethod
    def told(cls, fields: dict[str, Any]) -> Preprocess:
        """The preprocessing whose fields were written as JSON, which has lists for tuples."""
        given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        return cls(**given)

    def __call__(self, image: Image.Image) -> Tensor:
        strip = self._strip(image.size)
        image = image if strip == (0, 0, *image.size) else image.crop(strip)
        image = self._to(image, self._resized(image.size))
        if self.crop is not None and not self.squash:
            left, top = self._offset(image.size)
            height, width = _pair(self.crop)
            image = image.crop((left, top, left + width, top + height))
        # In numpy: several threads prepare pictures, and each would start a team of torch's own.
        channels = np.asarray(image).transpose(2, 0, 1)[:: -1 if self.bgr else 1]
        pixels = np.divide(channels, np.float32(255), dtype=np.float32, order="C")
        pixels -= np.array(self.mean, np.float32)[:, None, None]
        pixels /= np.array(self.std, np.float32)[:, None, None]
        return torch.from_numpy(pixels)

    def region(self, size: tuple[int, int]) -> Region:
        """The part of a picture of ``size`` (width, height) that is seen, in its pixels; beyond it where padded."""
        if self.squash or self.crop is None:
            return 0.0, 0.0, float(size[0]), float(size[1])
        x0, y0, x1, y1 = self._strip(size)
        resized = self._resized((x1 - x0, y1 - y0))
        left, top = self._offset(resized)
        height, width = _pair(self.crop)
        across, down = (x1 - x0) / resized[0], (y1 - y0) / resized[1]
        return x0 + left * across, y0 + top * down, x0 + (left + width) * across, y0 + (top + height) * down

    def picture(self, tensor: Tensor) -> Image.Image:
        """The picture that a preprocessed tensor ``(3, H, W)`` shows."""
        std, mean = (torch.tensor(v, device=tensor.device).view(-1, 1, 1) for v in (self.std, self.mean))
        shown = tensor * std + mean
        return to_picture(shown.flip(0) if self.bgr else shown)

    def _resized(self, size: tuple[int, int]) -> tuple[int, int]:
        """The width and height that a picture of ``size`` is resized to."""
        if self.squash and self.crop is not None:
            return _pair(self.crop)[::-1]
        if self.resize is None:
            return size
        if not isinstance(self.resize, int):
            return self.resize[1], self.resize[0]
        short, exact = self.resize, float(self.resize)
        if self.longest is not None and max(size) / min(size) * short > self.longest:
            exact = self.longest * min(size) / max(size)
            short = round(exact)
        width, height = size
        if width <= height:
            return max(1, short), max(1, int(exact * height / width))
        return max(1, int(exact * width / height)), max(1, short)

    def _to(self, image: Image.Image, size: tuple[int, int]) -> Image.Image:
        if self.resize is None and not self.squash:
            return image
        if self.antialias:
            return image.resize(size, _INTERPOLATION[self.interpolation])
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
        corners = None if self.interpolation == "nearest" else False
        pixels = torch.nn.functional.interpolate(pixels, size[::-1], mode=self.interpolation, align_corners=corners)
        return Image.fromarray(pixels[0].clamp(0, 255).round().byte().permute(1, 2, 0).numpy())

    def _offset(self, size: tuple[int, int]) -> tuple[int, int]:
        """How far the crop's left and top lie from those of a resized picture of ``size``; negative where padded."""
        assert self.crop is not None
        margins = [side - seen for side, seen in zip(size, _pair(self.crop)[::-1], strict=True)]
        left, top = (
            # As torchvision rounds: a picture smaller than the crop is padded, by less on the left.
            (margin // 2 if self.rounds_down else round(margin / 2)) if margin >= 0 else -(-margin // 2)
            for margin in margins
        )
        return left, top

    def _strip(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """The middle of a picture many times as long as wide: resizing all of it could take any memory."""
        (width, height), most = size, LONGEST * min(size)
        squashed = self.squash and self.crop is not None
        if squashed or not isinstance(self.resize, int) or self.longest is not None or max(size) <= most:
            return 0, 0, width, height
        if self.crop is None:
            raise ImageError(f"a picture of {width}x{height} is too long for its width: cut it into parts.")
        x, y = max(0, (width - most) // 2), max(0, (height - most) // 2)
        return x, y, width - x, height - y


@dataclass(frozen=True)
class Frames:
    """What a network of videos sees: ``count`` frames, spread evenly over those given, each preprocessed.

    ``frames(pictures)`` is ``(3, T, H, W)``, or ``(T, 3, H, W)`` with ``time_first``, ``T`` being ``count``. The video
    is cut into ``count`` equal stretches of time, of which the network sees the middle frames; one that has fewer
    frames is seen slowed down, frames being repeated. Raises `Error` for no frames, or frames of several sizes.
    """

    preprocess: Callable[[Image.Image], Tensor]
    count: int
    time_first: bool = False

    def __post_init__(self) -> None:
        if self.count < 1:
            raise Error(f"a network of videos sees one frame or more, not {self.count}.")

    def __call__(self, frames: Sequence[Image.Image]) -> Tensor:
        if isinstance(frames, Image.Image) or not isinstance(frames, Sequence) or not frames:
            raise Error("a video is a list of pictures, its frames in order: give at least one.")
        if len({frame.size for frame in frames}) != 1:
            raise Error("the frames of a video are of one size: these are not.")
        prepared = {pick: self.preprocess(frames[pick]) for pick in set(self.picks(len(frames)))}
        return torch.stack([prepared[pick] for pick in self.picks(len(frames))], 0 if self.time_first else 1)

    def picks(self, n: int) -> list[int]:
        """Which of ``n`` frames are seen: the middles of `count` equal stretches of time."""
        return [(2 * i + 1) * n // (2 * self.count) for i in range(self.count)]

    def region(self, size: tuple[int, int]) -> Region:
        """The part of frames of ``size`` (width, height) that is seen, in their pixels."""
        if not isinstance(self.preprocess, Preprocess):
            raise Error("where an unknown preprocessing looks is found by wherefore.regions.region_seen.")
        return self.preprocess.region(size)


def to_picture(tensor: Tensor) -> Image.Image:
    """An 8-bit picture of a tensor ``(C, H, W)`` with values in 0..1; its first one or three channels."""
    channels = tensor[:3] if len(tensor) >= 3 else tensor[:1].expand(3, -1, -1)
    array = (channels.detach().float().cpu().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    return Image.fromarray(array)


def _pair(sides: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width."""
    return (sides, sides) if isinstance(sides, int) else sides
