"""What goes in: pictures of every kind as prepared tensors, each with the picture that it came from, in batches."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wherefore import imaging
from wherefore.errors import Error
from wherefore.explanation import Picture
from wherefore.imaging import Preprocess
from wherefore.regions import region_seen
from wherefore.types import Model


@dataclass(frozen=True)
class Input:
    """One prepared image and the picture that it came from."""

    tensor: Tensor  # (C, H, W)
    picture: Picture


@dataclass(frozen=True)
class Batch:
    """Images that go through the network at once, and their pictures."""

    images: Tensor  # (B, C, H, W)
    pictures: list[Picture]


class Reader:
    """Prepares pictures for a model: by its own crop, or with ``fit="squash"`` the whole picture squashed."""

    def __init__(self, model: Model, fit: str = "model") -> None:
        if fit not in ("model", "squash"):
            raise Error(f"fit is 'model' (the network's own crop) or 'squash' (the whole picture), not {fit!r}.")
        self.model, self.fit = model, fit
        self._regions: dict[tuple[int, int], imaging.Region] = {}

    def prepare(self, picture: Picture) -> Input:
        """What the network is fed for one picture; for those who decode while others compute."""
        preprocess = self._preprocess
        tensor = preprocess(picture.image)
        if not isinstance(tensor, Tensor) or tensor.ndim != 3 or not tensor.is_floating_point():
            got = f"{tensor.dtype} {tuple(tensor.shape)}" if isinstance(tensor, Tensor) else type(tensor).__name__
            raise Error(f"preprocess must turn a picture into a tensor (C, H, W) of floating-point numbers, not {got}.")
        if picture.size not in self._regions:
            self._regions[picture.size] = region_seen(preprocess, picture.size)
        return Input(tensor, replace(picture, region=self._regions[picture.size]))

    def read(self, images: Any) -> list[Input]:
        """The prepared images of a path, picture, array or a list of these and of tensors."""
        if isinstance(images, np.ndarray) and images.ndim == 4:
            images = list(images)
        if not isinstance(images, (list, tuple)):
            images = [images]
        if not images:
            raise Error("there is no picture to explain.")
        return [self._one(image, i) for i, image in enumerate(images)]

    def _one(self, image: Any, number: int) -> Input:
        name = f"image {number}"
        if isinstance(image, Input):
            return image
        if isinstance(image, Tensor):
            checked = self._checked(image)
            if len(checked) != 1:
                raise Error(f"{name} is a tensor of {len(checked)} images: in a list give one (C, H, W) for each.")
            return Input(checked[0], self._shown(checked[0], number))
        if isinstance(image, (str, Path)):
            name, image = str(image), imaging.read(image)
        elif isinstance(image, np.ndarray):
            image = imaging.from_array(image)
        elif isinstance(image, Image.Image):
            name = str(getattr(image, "filename", "") or name)
            try:
                image = imaging.as_rgb(image)
            except (OSError, SyntaxError, ValueError) as error:  # a file is decoded only now
                raise Error(f"{name} cannot be read as a picture ({error}).") from None
        else:
            raise Error(f"{type(image).__name__} is no picture: give a path, a PIL picture, an array or a tensor.")
        return self.prepare(Picture(name, image, (0, 0, 0, 0)))

    def _checked(self, images: Tensor) -> Tensor:
        images = images[None] if images.ndim == 3 else images
        if images.ndim != 4 or 0 in images.shape:
            raise Error(f"a tensor of images is (B, C, H, W), not {tuple(images.shape)}.")
        if not images.is_floating_point():
            raise Error(
                f"a tensor is fed to the network as it is and must hold floating-point numbers, not {images.dtype}; "
                "for preprocessing pass a PIL picture or an array."
            )
        return images

    def _shown(self, tensor: Tensor, number: int) -> Picture:
        """The picture that a tensor ``(C, H, W)`` shows; drawn only when it is looked at."""

        shown = tensor.detach().clone()  # the caller may use the tensor again

        def draw() -> Image.Image:
            preprocess = self.model.preprocess
            if isinstance(preprocess, Preprocess) and len(shown) == 3 and float(shown.min()) < 0:
                return preprocess.picture(shown)
            return imaging.tensor_picture(shown)

        return Picture(f"image {number}", draw, (0.0, 0.0, float(tensor.shape[-1]), float(tensor.shape[-2])))

    @property
    def _preprocess(self) -> Any:
        preprocess = self.model.preprocess
        if preprocess is None:
            warnings.warn(
                f"{self.model.name} has no preprocess: pictures are prepared as ImageNet's are (short side 256, "
                "crop 224, ImageNet mean and deviation). Pass wf.Model(net, preprocess=...) to say otherwise.",
                stacklevel=4,
            )
            preprocess = Preprocess()
        if self.fit == "squash":
            if not isinstance(preprocess, Preprocess):
                raise Error(
                    "fit='squash' needs a preprocess that can squash: wf.Model(net, preprocess=wf.Preprocess())."
                )
            preprocess = replace(preprocess, squash=True)
        return preprocess

    def pieces(self, images: Tensor, size: int) -> list[Batch]:
        """A tensor in pieces; each image goes through the network once."""
        images = self._checked(images)
        shown = [self._shown(image, i) for i, image in enumerate(images)]
        return [Batch(part, shown[i * size : i * size + len(part)]) for i, part in enumerate(images.split(size))]

    def batches(self, inputs: Sequence[Input], size: int) -> list[Batch]:
        """Consecutive inputs of one shape together."""
        batches: list[list[Input]] = []
        for one in inputs:
            last = batches[-1] if batches else []
            if not last or len(last) == size or last[0].tensor.shape != one.tensor.shape:
                batches.append([])
            batches[-1].append(one)
        return [Batch(torch.stack([i.tensor for i in b]), [i.picture for i in b]) for b in batches]
