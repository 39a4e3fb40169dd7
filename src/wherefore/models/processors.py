"""What an image processor of transformers does, as a `Preprocess` where it is one, else as the callable that it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wherefore.errors import Error
from wherefore.imaging import Preprocess
from wherefore.models.quiet import quiet
from wherefore.models.zoo import extra, reason

# Where a preprocessing is described, by which class of transformers it is read, and what such a file has in it.
FILES = {
    "preprocessor_config.json": ("AutoImageProcessor", ""),
    "processor_config.json": ("AutoImageProcessor", '"image_processor"'),
    "video_preprocessor_config.json": ("AutoVideoProcessor", ""),
    "config.json": ("AutoImageProcessor", '"pretrained_cfg"'),  # timm's
}
LEVELS = 3  # of 255: by so much their two ways of resizing differ


@dataclass(frozen=True)
class Processed:
    """An image processor as it is: ``processed(picture)`` is the ``(3, H, W)`` that it makes of one picture."""

    processor: Any

    def __call__(self, image: Image.Image) -> Tensor:
        made = self.processor([image], return_tensors="pt")
        values = next((v for k, v in made.items() if k.startswith("pixel_values")), None)
        if not isinstance(values, Tensor) or values.ndim < 3 or values.shape[:-3].numel() != 1:
            raise Error(f"{type(self.processor).__name__} makes no tensor (3, H, W) of a picture: give a preprocess.")
        return values.reshape(values.shape[-3:]).float()


def preprocess_in(folder: Path) -> Callable[[Image.Image], Tensor] | None:
    """The preprocessing that the files in a folder describe; None where there is no such file."""
    transformers = extra("transformers")
    for name, (auto, content) in FILES.items():
        file = folder / name
        if not file.is_file() or content not in file.read_text():
            continue
        try:
            with quiet():
                source = getattr(transformers, auto)
                processor = source.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # of its settings, of files that are not there, of libraries that are not
            raise Error(f"the preprocessing in {file} cannot be made ({reason(error)}).") from None
        return translated(processor)
    return None


def translated(processor: Any) -> Callable[[Image.Image], Tensor]:
    """A processor as the `Preprocess` that does the same, checked on a small and a large picture; else as it is."""
    as_it_is = Processed(processor)
    for candidate in _candidates(processor):
        with quiet():
            if _same(candidate, as_it_is, (46, 61)) and _same(candidate, as_it_is, _larger(candidate)):
                return candidate
    return as_it_is


def _candidates(processor: Any) -> Iterator[Preprocess]:
    """What the processor's settings may mean."""
    size, crop = _sides(processor, "size", "do_resize"), _sides(processor, "crop_size", "do_center_crop")
    plain = not getattr(processor, "do_normalize", False)
    try:
        resample = getattr(processor, "resample", None)
        interpolation = Image.Resampling(2 if resample is None else int(resample)).name.lower()
        common: dict[str, Any] = {
            "mean": (0.0,) * 3 if plain else tuple(map(float, processor.image_mean)),
            "std": (1.0,) * 3 if plain else tuple(map(float, processor.image_std)),
            "interpolation": interpolation,
            "rounds_down": True,
        }
        short = size.get("shortest_edge")
        resize = (size["height"], size["width"]) if "height" in size else short
        part = (crop["height"], crop["width"]) if crop else None
        yield Preprocess(
            resize=resize,
            crop=part[0] if part and part[0] == part[1] else part,
            longest=size.get("longest_edge"),
            **common,
        )
        if short and getattr(processor, "crop_pct", None):  # ConvNeXt: cropped below 384, else squashed
            yield Preprocess(resize=int(short / processor.crop_pct), crop=short, **common)
            yield Preprocess(resize=(short, short), crop=None, **common)
    except (Error, KeyError, TypeError, ValueError, AttributeError):
        return


def _sides(processor: Any, name: str, wanted: str) -> dict[str, int]:
    """A size among a processor's settings; empty where it is not used."""
    size = getattr(processor, name, None)
    return dict(size) if size and getattr(processor, wanted, None) is not False else {}


def _larger(preprocess: Preprocess) -> tuple[int, int]:
    """The size of a picture that is shrunk, by odd factors."""
    sides = (preprocess.resize,) if isinstance(preprocess.resize, int) else preprocess.resize or (60,)
    return 2 * max(sides) + 7, max(sides) + max(sides) // 3 + 5


def _same(ours: Preprocess, theirs: Processed, shape: tuple[int, int]) -> bool:
    """Whether both make the same of noise, up to the rounding of grey levels."""
    noise = np.random.default_rng(0).integers(0, 256, (*shape[::-1], 3), np.uint8)
    image = Image.fromarray(noise).resize(shape)
    try:
        one, other = ours(image), theirs(image)
    except Exception:  # the processor's own, about settings that we need not know
        return False
    if one.shape != other.shape:
        return False
    off = (one - other).abs() * torch.tensor(ours.std).view(3, 1, 1) * 255
    return float(off.max()) <= LEVELS
