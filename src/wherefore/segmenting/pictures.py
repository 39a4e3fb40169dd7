"""Pictures of a data set as the networks see them: squashed to squares once, kept on disk, with what is in them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from wherefore.datasets import Array, Dataset, Sample
from wherefore.errors import Error
from wherefore.progress import track
from wherefore.saving import made
from wherefore.segmenting.recipes import Recipe
from wherefore.training.data import Pictures


def present(samples: Sequence[Sample], data: Dataset) -> Array:
    """Which classes are said to be in each picture, ``(N, C)`` of bool."""
    found = np.zeros((len(samples), len(data.classes)), bool)
    for row, sample in zip(found, samples, strict=True):
        row[[data.number(label) for label in sample.labels]] = True
    return found


def gathered(data: Dataset, samples: Sequence[Sample], side: int, folder: Path) -> Pictures:
    """The pictures ``(N, side, side, 3)`` of uint8 and their classes; read from ``folder``, or kept there.

    Only pictures and labels are looked at. The folder is whole or not there. Raises `Error` for a picture that cannot
    be read, or a folder that cannot be written.
    """
    if not folder.is_dir():
        part = made(folder.with_name(folder.name + ".part"))
        try:
            pixels = open_memmap(part / "pictures.npy", "w+", np.uint8, (len(samples), side, side, 3))
            for i, sample in enumerate(track(samples, len(samples), "reading pictures")):
                pixels[i] = squashed(sample.image, side)
            pixels.flush()
            np.save(part / "present.npy", present(samples, data))
            part.rename(folder)
        except OSError as error:
            raise Error(f"{folder} cannot be written ({error.strerror}): give another folder.") from None
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return Pictures([np.load(folder / "pictures.npy", mmap_mode="r")], np.load(folder / "present.npy"))


def squashed(image: Image.Image, side: int) -> Array:
    """A picture as ``(side, side, 3)`` of uint8."""
    return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR))


def true_cells(sample: Sample, grid: int) -> Array:
    """The true class at the middle of each cell ``(grid, grid)``. Raises `Error` where it was not annotated."""
    if sample.segmentation is None:
        raise Error(f"{sample.name} has no segmentation: give a data set that says what each pixel shows.")
    return np.asarray(Image.fromarray(sample.segmentation).resize((grid, grid), Image.Resampling.NEAREST))


def fed(pixels: Tensor, recipe: Recipe, side: int) -> Tensor:
    """Pictures ``(B, 3, S, S)`` in 0..255 as a network of that side takes them, normalised."""
    mean, std = (torch.tensor(v, device=pixels.device).view(3, 1, 1) for v in (recipe.mean, recipe.std))
    return (resized(pixels, side, antialias=True) / 255 - mean) / std


def resized(pixels: Tensor, side: int, antialias: bool = False) -> Tensor:
    """Pictures ``(B, 3, S, S)`` bilinearly at another side."""
    if pixels.shape[-1] == side:
        return pixels
    return F.interpolate(pixels, (side, side), mode="bilinear", align_corners=False, antialias=antialias)


def taken(pictures: Pictures, rows: Array, device: torch.device) -> Tensor:
    """The pictures of these numbers, ``(B, 3, S, S)`` of floats in 0..255."""
    return torch.from_numpy(pictures.take(rows)).to(device).permute(0, 3, 1, 2).float()
