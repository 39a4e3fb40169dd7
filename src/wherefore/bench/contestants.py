"""Who is measured: the plain forward, ours, and for each method its peers, each as its own documentation says.

A contestant is a context manager that prepares itself for a network and a layer and gives a call from images
``(B, C, H, W)`` and class indices (None: all) to maps ``(B, T, h, w)``, or to pixels ``(B, T, C, H, W)`` where a peer
makes these. What it hangs on the network is gone after the block, so that nobody pays for another's hooks. Peers are
imported inside: they belong to the ``bench`` extra.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import deepcopy
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wherefore.below import PLAIN
from wherefore.bench.rows import Row
from wherefore.explainer import Explainer
from wherefore.methods.perturbation import forget
from wherefore.options import WITHOUT_LAYER
from wherefore.places import submodule
from wherefore.registry import METHODS
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
def ours(net: nn.Module, layer: str, method: str = "grad-cam", **options: Any) -> Iterator[Call]:
    """Raw maps ``(B, T, h, w)`` through the public door, `Explainer`, with its guards, names and pictures."""
    why = explainer(net, layer, method, **options)

    def call(images: Tensor, classes: Sequence[int] | None) -> Tensor:
        forget()  # the same images come again, and occlusion knows them
        return torch.as_tensor(why(images, "all" if classes is None else list(classes)).maps)

    yield call


@lru_cache(maxsize=1)  # prepared once and called often; compiling is part of preparing
def explainer(net: nn.Module, layer: str, method: str, **options: Any) -> Explainer:
    """The `Explainer` of a network that ours is called through."""
    somewhere = METHODS[method].about.get("at") not in WITHOUT_LAYER
    return Explainer(Model(net), method, layer if somewhere else None, **options)


@contextmanager
def pytorch_grad_cam(net: nn.Module, layer: str, kind: str = "GradCAM") -> Iterator[Call]:
    """Maps at the input's size, each scaled to 0..1.

    Grad-CAM: one forward and one whole backward pass for each class. Score-CAM and Ablation-CAM: a forward pass for
    each channel and class, in batches of its own size (16 and 32).
    """
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    prepare = getattr(pytorch_grad_cam, kind)
    with prepare(model=net, target_layers=[submodule(net, layer)], reshape_transform=_tokens_of(net)) as cam:

        def call(images: Tensor, classes: Sequence[int] | None) -> Tensor:
            targets = [[ClassifierOutputTarget(c)] * len(images) for c in _each(classes)]
            return torch.stack([torch.from_numpy(cam(input_tensor=images, targets=t)) for t in targets], 1)

        yield call
    net.zero_grad()  # its backward pass fills the gradient of every weight


@contextmanager
def pytorch_grad_cam_guided(net: nn.Module, layer: str) -> Iterator[Call]:
    """Pixels of guided backprop; it takes one image at a time, and fills the gradient of every weight."""
    from pytorch_grad_cam import GuidedBackpropReLUModel

    guided = GuidedBackpropReLUModel(model=deepcopy(net))  # it leaves other ReLUs in the network

    def call(images: Tensor, classes: Sequence[int] | None) -> Tensor:
        pixels = [[guided(image[None].clone(), c) for c in _each(classes)] for image in images]
        return torch.from_numpy(np.array(pixels)).movedim(-1, 2)

    yield call


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
def captum_pixels(net: nn.Module, layer: str, kind: str) -> Iterator[Call]:
    """Pixels ``(B, T, C, H, W)``, those of Occlusion the same within a patch; all of it anew for each class."""
    from captum import attr

    options: dict[str, Any] = {}
    if kind == "GuidedGradCam":
        method, options = attr.GuidedGradCam(net, submodule(net, layer)), {"interpolate_mode": "bilinear"}
    else:
        method = getattr(attr, kind)(net)

    def call(images: Tensor, classes: Sequence[int] | None) -> Tensor:
        if kind == "Occlusion":  # our patches, and as many of them at once
            side = round(min(images.shape[2:]) / 7)
            options["sliding_window_shapes"] = (images.shape[1], side, side)
            options["strides"] = (images.shape[1], side // 2, side // 2)
            options["perturbations_per_eval"] = max(1, 8 // len(images))
        pixels = [method.attribute(images, target=c, **options).detach() for c in _each(classes)]
        return torch.stack(pixels, 1)

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


PEERS_OF: dict[str, dict[str, Contestant]] = {
    "grad-cam": {"pytorch-grad-cam": pytorch_grad_cam, "Captum": captum, "torch-cam": torch_cam},
    "score-cam": {"pytorch-grad-cam": partial(pytorch_grad_cam, kind="ScoreCAM")},
    "ablation-cam": {"pytorch-grad-cam": partial(pytorch_grad_cam, kind="AblationCAM")},
    "guided-grad-cam": {"Captum": partial(captum_pixels, kind="GuidedGradCam")},
    "guided-backprop": {
        "pytorch-grad-cam": pytorch_grad_cam_guided,
        "Captum": partial(captum_pixels, kind="GuidedBackprop"),
    },
    "gradient": {"Captum": partial(captum_pixels, kind="Saliency")},
    "occlusion": {"Captum": partial(captum_pixels, kind="Occlusion")},
}


def field(row: Row) -> tuple[dict[str, Contestant], list[str]]:
    """The forward, ours, and those of a row's peers that are installed; a note for each that is not.

    A peer that is not called for the row's method is left out.
    """
    peers = {name: peer for name, peer in PEERS_OF.get(row.method, {}).items() if name in row.peers}
    missing = [name for name in peers if not importlib.util.find_spec(MODULES[name])]
    notes = [f"{name} is not installed: pip install 'wherefore[bench]'" for name in missing]
    faster = {"compile": True} if row.compile else {"below": row.below} if row.below != PLAIN else {}
    own = partial(ours, method=row.method, **faster, **row.options)
    return {FORWARD: forward, OURS: own, **{name: peers[name] for name in peers if name not in missing}}, notes


def _each(classes: Sequence[int] | None) -> Sequence[int]:
    assert classes is not None, "a peer that needs a forward pass for each class is not asked for all of them"
    return classes


def _tokens_of(net: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """The reshape that these peers want written for a vision transformer: drop the class token, fold the rest."""
    if not hasattr(net, "patch_embed"):
        return None
    size: Any = net.patch_embed.grid_size  # type: ignore[union-attr]
    return lambda tokens: tokens[:, 1:].transpose(1, 2).reshape(len(tokens), -1, *size)
