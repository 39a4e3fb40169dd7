"""torchvision's networks, by their own names: classifiers, semantic segmentation, detection, video."""

from __future__ import annotations

import io
import re
import sys
from contextlib import redirect_stdout
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wherefore.errors import Error
from wherefore.imaging import Frames, Preprocess
from wherefore.models.zoo import OWN_CLASSES, Names, State, Weights, file_sha256, load_strictly, read_state, reason
from wherefore.registry import MODELS, unknown
from wherefore.types import Model

DETECTION, SEGMENTATION = "torchvision.models.detection", "torchvision.models.segmentation"
KINDS = ("torchvision.models", SEGMENTATION, DETECTION, "torchvision.models.video")
OLDEST = [f"{kind}_resnet50_fpn" for kind in ("fasterrcnn", "maskrcnn", "keypointrcnn", "retinanet")]
CLIP = re.compile(r"clip_len=(\d+)")  # with how many frames the weights' documentation says they were measured


@MODELS("torchvision", names="resnet50, fcn_resnet50, fasterrcnn_resnet50_fpn, r3d_18, ...")
def torchvision_model(name: str, weights: Weights, classes: Names) -> Model:
    """Every network of torchvision that classifies, segments, detects, or knows videos, under its own name.

    The first class of those that segment or detect is the background, also in ``classes``.
    """
    from torchvision.models import get_model, get_model_weights

    kind = torchvision_names().get(name)
    if kind is None:
        raise Error(unknown("model", name, torchvision_names()))
    chosen = _chosen(get_model_weights(name), weights)
    names = classes or list(chosen.meta["categories"])
    if weights == "default":
        if classes is not None:
            raise Error(OWN_CLASSES)
        net, sha256 = _downloaded(name, chosen)
    else:
        state = read_state(weights) if weights is not None else None
        net, sha256 = get_model(name, weights=None, **_options(name, kind, state, classes, chosen)), None
        if state is not None and weights is not None:
            load_strictly(net, state, weights, name)
            sha256 = file_sha256(Path(weights))
            if kind == DETECTION and Path(weights).name == Path(chosen.url).name:
                _as_downloaded(net, name, chosen)
    _drop_auxiliary(net)
    return Model(net.eval(), tuple(names), preprocess_of(chosen), name=name, sha256=sha256)


def torchvision_names() -> dict[str, str]:
    """The names of torchvision's networks, each with the module that it is from: what kind it is of."""
    from torchvision import models

    return {str(name): kind for kind in KINDS for name in models.list_models(module=sys.modules[kind])}


def preprocess_of(weights: Any) -> Preprocess | Frames:
    """The preprocessing of torchvision's weights in a form that also tells its geometry."""
    transforms = weights.transforms()
    if type(transforms).__name__ == "ObjectDetection":  # resizing and normalising are the network's own
        return Preprocess(resize=None, crop=None, mean=(0.0,) * 3, std=(1.0,) * 3)
    crop = getattr(transforms, "crop_size", None)
    preprocess = Preprocess(
        resize=_side(transforms.resize_size),
        crop=_side(crop),
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        interpolation=transforms.interpolation.value,
        antialias=type(transforms).__name__ != "VideoClassification",
    )
    if preprocess.antialias:
        return preprocess
    clip = CLIP.search(weights.meta["_docs"])
    return Frames(preprocess, int(clip[1]) if clip else 16)


def _side(size: list[int] | None) -> int | tuple[int, int] | None:
    """torchvision's sizes: ``[short side]`` or ``[height, width]``."""
    if size is None:
        return None
    return size[0] if len(size) == 1 else (size[0], size[1])


def _chosen(known: Any, weights: Weights) -> Any:
    """Which of torchvision's weights to load or, for a file, whose preprocessing and class names go with it.

    A file under torchvision's own name is what that name says; any other is taken to be made the first one's way.
    """
    if weights == "default":
        return known.DEFAULT
    classifiers = [w for w in known if w.meta["categories"]]  # not those of the features alone
    of_that_name = [w for w in classifiers if weights is not None and Path(w.url).name == Path(weights).name]
    return (of_that_name or classifiers)[0]


def _options(name: str, kind: str, state: State | None, classes: Names, chosen: Any) -> dict[str, Any]:
    """How to build a network for a state dict, or for none: with as many classes, and the same extra heads."""
    options: dict[str, Any] = {} if classes is None else {"num_classes": len(classes)}
    if kind in (SEGMENTATION, DETECTION):
        options["weights_backbone"] = None  # else ImageNet's would be downloaded
        if classes is None:
            options["num_classes"] = len(chosen.meta["categories"])
    if kind == SEGMENTATION and not name.startswith("lraspp"):
        options["aux_loss"] = _holds(state, "aux_classifier.")
    if name in ("googlenet", "inception_v3"):
        # They came from TensorFlow: their weights want its scale of the input, and may lack the extra heads.
        extra = _holds(state, "aux1.", "AuxLogits.")
        options |= {"transform_input": state is not None, "aux_logits": extra, "init_weights": False}
    if name.startswith("vit_"):  # the one family that is built for one size of input
        options["image_size"] = chosen.meta["min_size"][0]
    return options


def _holds(state: State | None, *heads: str) -> bool:
    """Whether a state dict has weights for one of the heads."""
    return state is not None and any(key.startswith(heads) for key in state)


def _drop_auxiliary(net: nn.Module) -> None:
    """The extra heads of GoogLeNet, Inception-v3 and segmentation networks serve training alone."""
    for name in ("aux1", "aux2", "AuxLogits", "aux_classifier"):
        if getattr(net, name, None) is not None:
            setattr(net, name, None)
            net.aux_logits = False  # type: ignore[assignment]


def _as_downloaded(net: nn.Module, name: str, weights: Any) -> None:
    """The oldest detectors were trained without the epsilon of batch norm, which torchvision takes out again."""
    if name in OLDEST and weights.name == "COCO_V1":
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = 0.0


def _downloaded(name: str, weights: Any) -> tuple[nn.Module, str | None]:
    """The network with torchvision's own weights, and the sha256 of the file that they came in."""
    from torchvision.models import get_model

    terminal = sys.stderr.isatty()
    try:
        # torch announces a download on stdout, where the results go.
        with redirect_stdout(sys.stderr if terminal else io.StringIO()):
            net = get_model(name, weights=weights, progress=terminal)
    except (OSError, HTTPException, RuntimeError) as error:
        raise Error(
            f"the weights of {name} could not be downloaded ({reason(error)}): fetch {weights.url} where there is a "
            "network and give the file with weights= (--weights FILE)."
        ) from None
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    return net, file_sha256(file) if file.is_file() else None
