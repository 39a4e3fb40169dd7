"""The one door: `explain` and `Explainer`. Guards, defaults, batching; the methods behind it see clean input only."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from wherefore import __version__, imaging
from wherefore.errors import Error
from wherefore.explanation import Explanation, Picture
from wherefore.guard import unwrap
from wherefore.imaging import Preprocess
from wherefore.layers import find_layers, grid_of
from wherefore.methods import cams as _cams  # noqa: F401  fills METHODS
from wherefore.regions import region_seen
from wherefore.registry import METHODS
from wherefore.split import Split
from wherefore.targets import choose, for_images, warn_if_flat
from wherefore.types import Layer, Model, Query, Raw

_LAYERS: WeakKeyDictionary[nn.Module, dict[Any, Layer]] = WeakKeyDictionary()


def explain(
    model: Model | nn.Module,
    images: Any,
    target: Any = None,
    *,
    method: str = "grad-cam",
    layer: str | None = None,
    **options: Any,
) -> Explanation:
    """Where the network looked: raw maps ``(B, T, h, w)`` for T targets of B images, with scores, drawings, boxes.

        wf.explain(model, "cat_dog.jpg", target=["tiger cat", "boxer"]).overlay()

    ``images``: a path, PIL picture, array ``(H, W, 3)``, a list of these, or a tensor ``(B, 3, H, W)`` that is fed to
    the network as it is. ``target``: see `wherefore.targets`; by default the class with the highest score. Raises
    `Error` with one sentence that says what to do. Further ``options`` as in `Explainer`.
    """
    return Explainer(model, method, layer, **options)(images, target)


@dataclass(frozen=True)
class Input:
    """One prepared image and the picture that it came from."""

    tensor: Tensor  # (C, H, W)
    picture: Picture


class Explainer:
    """A model and a method, prepared once and called often.

        why = wf.Explainer(model, method="grad-cam", layer="layer4")
        e = why(images, target=[281, 242])

    ``layer`` by default the model's own, else found from one traced forward pass, once per network and input size.
    ``fit="squash"`` shows the network the whole picture squashed instead of its own crop. ``compile=True`` sends the
    part below the layer through torch.compile (the first call then takes up to a minute). ``batch_size`` pictures go
    through the network at once; a tensor goes through as it is. ``options`` belong to the method.
    """

    def __init__(
        self,
        model: Model | nn.Module,
        method: str = "grad-cam",
        layer: str | None = None,
        *,
        fit: str = "model",
        compile: bool = False,
        batch_size: int = 32,
        **options: Any,
    ) -> None:
        self.model = model if isinstance(model, Model) else Model(model)
        self.net = unwrap(self.model.net)
        if fit not in ("model", "squash"):
            raise Error(f"fit is 'model' (the network's own crop) or 'squash' (the whole picture), not {fit!r}.")
        if batch_size < 1:
            raise Error(f"batch_size must be at least 1, not {batch_size}.")
        self.method, self.run = method, METHODS[method].run
        self.layer = layer or self.model.layer
        self.fit, self.compile, self.batch_size, self.options = fit, compile, batch_size, options
        self._regions: dict[tuple[int, int], imaging.Region] = {}
        self._split: dict[str, Split] = {}
        self._lock = threading.Lock()

    def __call__(self, images: Any, target: Any = None) -> Explanation:
        """The explanation of ``target`` on ``images``, as `explain` takes them."""
        inputs, size = self._inputs(images)
        warn_if_flat(target, len(inputs))
        return self.on(inputs, target, size)

    def on(self, inputs: Sequence[Input], target: Any = None, size: int | None = None) -> Explanation:
        """The explanation of inputs that `prepare` made, ``size`` of them at once."""
        size = size or self.batch_size
        with torch.inference_mode(False):
            raws = [self._batch(batch, target, start, len(inputs)) for start, batch in self._batches(inputs, size)]
        return self._explanation(inputs, raws)

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

    def layer_for(self, image: Tensor, target: Any = None) -> Layer:
        """The layer that is explained, with its grid, for an input ``(1, C, H, W)``."""
        known = _LAYERS.setdefault(self.net, {})
        key = (self.layer, tuple(image.shape[1:]))
        if key not in known:
            known[key] = self._find(image, target)
        return known[key]

    # ---------------------------------------------------------------------------------------- what goes in

    def _inputs(self, images: Any) -> tuple[list[Input], int]:
        """The prepared images, and how many go through the network at once."""
        if isinstance(images, Tensor):
            tensors = self._checked(images)
            return [self._from_tensor(t, i) for i, t in enumerate(tensors)], len(tensors)
        if isinstance(images, np.ndarray) and images.ndim == 4:
            images = list(images)
        if not isinstance(images, (list, tuple)):
            images = [images]
        if not images:
            raise Error("there is no picture to explain.")
        return [self._one(image, i) for i, image in enumerate(images)], self.batch_size

    def _one(self, image: Any, number: int) -> Input:
        name = f"image {number}"
        if isinstance(image, Input):
            return image
        if isinstance(image, Tensor):
            checked = self._checked(image)
            if len(checked) != 1:
                raise Error(f"{name} is a tensor of {len(checked)} images: in a list give one (C, H, W) for each.")
            return self._from_tensor(checked[0], number)
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

    def _from_tensor(self, tensor: Tensor, number: int) -> Input:
        preprocess, shown = self.model.preprocess, tensor.detach()
        normalised = isinstance(preprocess, Preprocess) and len(tensor) == 3 and float(shown.min()) < 0
        image = preprocess.picture(shown) if normalised else imaging.tensor_picture(shown)  # type: ignore[union-attr]
        return Input(tensor, Picture(f"image {number}", image, (0.0, 0.0, float(image.width), float(image.height))))

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

    def _batches(self, inputs: Sequence[Input], size: int) -> Iterator[tuple[int, list[Input]]]:
        """Consecutive inputs of one shape, at most ``size`` of them, with the number of the first."""
        start = 0
        while start < len(inputs):
            stop = start + 1
            shape = inputs[start].tensor.shape
            while stop < len(inputs) and stop - start < size and inputs[stop].tensor.shape == shape:
                stop += 1
            yield start, list(inputs[start:stop])
            start = stop

    # ---------------------------------------------------------------------------------------- what is done

    def _batch(self, batch: list[Input], target: Any, start: int, total: int) -> Raw:
        images = self._on_device(torch.stack([i.tensor for i in batch]))
        wanted = for_images(target, start, start + len(batch), total)
        layer = self.layer_for(images[:1], for_images(target, start, start + 1, total))
        query = Query(
            self.net,
            images,
            layer,
            lambda output: choose(wanted, output, self.model.classes),
            self._trunk(layer, images),
        )
        raw: Raw = self.run(query, **self.options)
        return raw._replace(maps=raw.maps.detach().float())

    def _on_device(self, images: Tensor) -> Tensor:
        """The images where the network is, in its precision."""
        like = next((p for p in self.net.parameters() if p.is_floating_point()), None)
        if like is None:
            return images
        return images.to(like.device, None if torch.is_autocast_enabled(like.device.type) else like.dtype)

    def _find(self, image: Tensor, target: Any) -> Layer:
        def score(output: Any) -> Tensor:
            return choose(target, output, self.model.classes).scores

        if self.layer is not None:
            return grid_of(self.net, self.layer, image, score)
        found = find_layers(self.net, image, score).default
        if found is None:
            raise Error(
                f"no layer of {self.model.name} has a grid of positions that feeds the target: "
                "name one with layer=, `wherefore layers` says what was tried."
            )
        return found

    def _trunk(self, layer: Layer, images: Tensor) -> Split | None:
        if not self.compile:
            return None
        with self._lock:
            if layer.name not in self._split:
                self._split[layer.name] = Split(self.net, layer.name)
            return self._split[layer.name]

    # ---------------------------------------------------------------------------------------- what comes out

    def _explanation(self, inputs: Sequence[Input], raws: list[Raw]) -> Explanation:
        if len({raw.chosen.scores.shape[1] for raw in raws}) != 1:
            raise Error("the images have different numbers of targets: give each as many.")
        same_grid = len({raw.maps.shape[2:] for raw in raws}) == 1
        maps = torch.cat([r.maps for r in raws]) if same_grid else [m for raw in raws for m in raw.maps]
        layer = self.layer_for(inputs[0].tensor[None])
        return Explanation(
            maps=maps,
            scores=torch.cat([r.chosen.scores for r in raws]).float(),
            targets=[names for r in raws for names in r.chosen.names],
            classes=torch.cat([r.chosen.classes for r in raws]),
            probabilities=torch.cat([r.chosen.probabilities for r in raws]),
            pictures=[i.picture for i in inputs],
            input_size=(inputs[0].tensor.shape[-2], inputs[0].tensor.shape[-1]),
            model=self.model,
            settings={
                "method": self.method,
                "layer": layer.name,
                "grid": list(layer.grid.size),
                "fit": self.fit,
                "options": self.options,
                "version": __version__,
                "torch": torch.__version__,
            },
            pixels=torch.cat([r.pixels for r in raws if r.pixels is not None]) if raws[0].pixels is not None else None,
        )
