"""Who is measured: the plain forward, ours, and three peers, each as its own documentation says to call it.

A contestant is a context manager that prepares itself for a network and a layer and gives a call from images
``(B, C, H, W)`` and class indices (None: all) to maps ``(B, T, ...)``. What it hangs on the network is gone after the
block, so that nobody pays for another's hooks. Peers are imported inside: they belong to the ``bench`` extra.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wherefore.explainer import Explainer
from wherefore.places import submodule
from wherefore.types import Model

Call = Callable[[Tensor, Sequence[int] | None], Tensor]
Contestant = Callable[[nn.Module, str], AbstractContextManager[Call]]

FORWARD, OURS = "forward", "ours"
MODULES = {"pytorch-grad-cam": "pytorch_grad_cam", "Captum": "captum", "torch-cam": "torchcam"}


@contextmanager
def forward(net: nn.Module, layer: str) -> Iterator[Call]:
    """The scores: what running the network alone costs."""

    def call(images: Tensor, classes: Sequence[int] | None) -> Tensor:
        with torch.inference_mode():
            return net(images)

    yield call


@contextmanager
def ours(net: nn.Module, layer: str, compile: bool = False) -> Iterator[Call]:
    """Raw maps ``(B, T, h, w)`` through the public door, `Explainer`, with its guards, names and pictures."""
    why = explainer(net, layer, compile)
    yield lambda images, classes: torch.as_tensor(why(images, "all" if classes is None else list(classes)).maps)


@cache  # prepared once and called often; compiling is part of preparing
def explainer(net: nn.Module, layer: str, compile: bool) -> Explainer:
    """The `Explainer` of a network that ours is called through."""
    return Explainer(Model(net), layer=layer, compile=compile)


@contextmanager
def pytorch_grad_cam(net: nn.Module, layer: str) -> Iterator[Call]:
    """Maps at the input's size, each scaled to 0..1; one forward and one whole backward pass for each class."""
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    with GradCAM(model=net, target_layers=[submodule(net, layer)], reshape_transform=_tokens_of(net)) as cam:

        def call(images: Tensor, classes: Sequence[int] | None) -> Tensor:
            targets = [[ClassifierOutputTarget(c)] * len(images) for c in _each(classes)]
            return torch.stack([torch.from_numpy(cam(input_tensor=images, targets=t)) for t in targets], 1)

        yield call
    net.zero_grad()  # its backward pass fills the gradient of every weight


@contextmanager
def captum(net: nn.Module, layer: str) -> Iterator[Call]:
    """Raw maps ``(B, T, h, w)``; one forward pass for each class. On tokens it averages over the wrong dimension."""
    from captum.attr import LayerGradCam

    cam = LayerGradCam(net, submodule(net, layer))

    def call(images: Tensor, classes: Sequence[int] | None) -> Tensor:
        maps = [cam.attribute(images, target=c, relu_attributions=True).detach() for c in _each(classes)]
        return torch.cat(maps, 1)

    yield call


@contextmanager
def torch_cam(net: nn.Module, layer: str) -> Iterator[Call]:
    """Raw maps ``(B, T, h, w)``; one forward pass, and one backward pass to the layer for each class."""
    from torchcam.methods import GradCAM

    with GradCAM(net, layer, reshape_transform=_tokens_of(net)) as cam:

        def call(images: Tensor, classes: Sequence[int] | None) -> Tensor:
            scores = net(images)
            wanted = range(scores.shape[1]) if classes is None else classes
            maps = [cam(c, scores, normalized=False, retain_graph=c != wanted[-1])[0] for c in wanted]
            return torch.stack(maps, 1)

        yield call


def pytorch_grad_cam_loop(net: nn.Module, layer: str, paths: Sequence[Path], out: Path) -> None:
    """The loop of its example script over a folder of pictures: read, resize, explain, overlay, write."""
    import cv2
    import numpy as np
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.image import preprocess_image, show_cam_on_image

    read: Any = cv2.imread  # its types allow for None
    with GradCAM(model=net, target_layers=[submodule(net, layer)], reshape_transform=_tokens_of(net)) as cam:
        for path in paths:
            picture = np.float32(cv2.resize(read(str(path), 1)[:, :, ::-1], (224, 224))) / 255
            images = preprocess_image(picture, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
            overlay = show_cam_on_image(picture, cam(input_tensor=images, targets=None)[0], use_rgb=True)
            cv2.imwrite(str(out / f"{path.stem}.peer.jpg"), cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR))
    net.zero_grad()


def field(names: Sequence[str], compile: bool = False) -> tuple[dict[str, Contestant], list[str]]:
    """The forward, ours, and those of the named peers that are installed; a note for each that is not."""
    peers: dict[str, Contestant] = {
        "pytorch-grad-cam": pytorch_grad_cam,
        "Captum": captum,
        "torch-cam": torch_cam,
    }
    here = [name for name in names if importlib.util.find_spec(MODULES[name])]
    notes = [f"{name} is not installed: pip install 'wherefore[bench]'" for name in names if name not in here]
    return {FORWARD: forward, OURS: partial(ours, compile=compile), **{name: peers[name] for name in here}}, notes


def _each(classes: Sequence[int] | None) -> Sequence[int]:
    assert classes is not None, "a peer that needs a forward pass for each class is not asked for all of them"
    return classes


def _tokens_of(net: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """The reshape that these peers want written for a vision transformer: drop the class token, fold the rest."""
    if not hasattr(net, "patch_embed"):
        return None
    size: Any = net.patch_embed.grid_size  # type: ignore[union-attr]
    return lambda tokens: tokens[:, 1:].transpose(1, 2).reshape(len(tokens), -1, *size)
