"""timm's classifiers: ``timm:vit_small_patch16_224``, also with the tag of its weights, ``timm:resnet18.a1_in1k``."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

from torch import nn

from wherefore.errors import Error
from wherefore.imaging import Preprocess
from wherefore.models.quiet import quiet
from wherefore.models.zoo import (
    OWN_CLASSES,
    Names,
    State,
    Weights,
    extra,
    file_sha256,
    load_strictly,
    read_state,
    reason,
    unfitting,
)
from wherefore.registry import MODELS, unknown
from wherefore.types import Model


@MODELS("timm", names="timm:vit_small_patch16_224, ... every classifier of timm")
def timm_model(name: str, weights: Weights, classes: Names) -> Model:
    """Every classifier of timm, under its own name behind ``timm:``."""
    timm = extra("timm")
    config = _config(timm, name)
    if weights == "default" and classes is not None:
        raise Error(OWN_CLASSES)
    if classes is None and not config.num_classes:
        raise Error(f"timm:{name} gives features, not classes: give weights of your own with the names of its classes.")
    net, sha256 = (_downloaded if weights == "default" else _built)(timm, name, weights, classes)
    names = list(classes) if classes is not None else _imagenet(timm, config.num_classes)
    return Model(net.eval(), names, preprocess_of(timm, net), name=f"timm:{name}", sha256=sha256)


def timm_names() -> list[str]:
    """The names of timm's networks, without those of their weights."""
    return [str(name) for name in extra("timm").list_models()]


def _config(timm: Any, name: str) -> Any:
    """What timm knows of the network and its weights."""
    try:
        if timm.is_model(name):
            return timm.models.get_pretrained_cfg(name)
    except RuntimeError:  # no weights have that tag
        pass
    known = timm.list_models(pretrained=True) if "." in name else timm.list_models()
    raise Error(unknown("model", f"timm:{name}", [f"timm:{each}" for each in known]))


def preprocess_of(timm: Any, net: nn.Module) -> Any:
    """The network's own preprocessing: a `Preprocess` equal to timm's transform, else (borders) that transform."""
    data = timm.data.resolve_data_config({}, model=net)
    _, height, width = data["input_size"]
    scaled = tuple(math.floor(side / data["crop_pct"]) for side in (height, width))
    if data["crop_mode"] == "border" or (data["crop_mode"] != "squash" and scaled[0] != scaled[1]):
        return timm.data.create_transform(**data)
    return Preprocess(
        resize=(scaled[0], scaled[1]) if data["crop_mode"] == "squash" else scaled[0],
        crop=height if height == width else (height, width),
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
        interpolation=data["interpolation"],
    )


def _built(timm: Any, name: str, weights: Weights, classes: Names) -> tuple[nn.Module, str | None]:
    """The network with the weights of a local file, or random ones."""
    with quiet():
        net = timm.create_model(name, pretrained=False, num_classes=len(classes) if classes is not None else None)
    if weights is None:
        return net, None
    state = _fitted(net, read_state(weights))
    load_strictly(net, state, weights, f"timm:{name}")
    return net, file_sha256(Path(weights))


def _fitted(net: nn.Module, state: State) -> State:
    """A state dict as it is or, where that does not fit, as timm renames those of the networks' authors."""
    rename = getattr(sys.modules[type(net).__module__], "checkpoint_filter_fn", None)
    if rename is None or not unfitting(net, state):
        return state
    try:
        renamed: State = rename(dict(state), net)
    except Exception:  # written for certain files: it may stumble over any other
        return state
    return state if unfitting(net, renamed) else renamed


def _downloaded(timm: Any, name: str, weights: Weights, classes: Names) -> tuple[nn.Module, str | None]:
    """The network with timm's own weights, and the sha256 of the file that they came in, where that can be told."""
    config = _config(timm, name)
    if not config.has_weights:
        raise Error(f"timm has no weights for {name}: give a file of your own with weights= (--weights FILE).")
    try:
        with quiet():
            net = timm.create_model(name, pretrained=True)
    except Exception as error:  # of the hub's client, of its client's client, of the file ...
        where = f"model.safetensors of huggingface.co/{config.hf_hub_id}" if config.hf_hub_id else config.url
        raise Error(
            f"the weights of timm:{name} could not be downloaded ({reason(error)}): fetch {where} where there is a "
            "network and give the file with weights= (--weights FILE)."
        ) from None
    return net, _cached_sha256(net)


def _cached_sha256(net: nn.Module) -> str | None:
    """The sha256 of the file in the hub's cache that timm takes first."""
    repository = getattr(net, "pretrained_cfg", {}).get("hf_hub_id")
    if not repository:
        return None
    found = extra("huggingface_hub").try_to_load_from_cache(repository, "model.safetensors")
    return file_sha256(Path(found)) if isinstance(found, str) else None


def _imagenet(timm: Any, count: int) -> list[str] | None:
    """The names of ImageNet's classes, told by how many there are; None for any other number."""
    subset = timm.data.infer_imagenet_subset({"num_classes": count})
    if subset is None:
        return None
    names = [str(name) for name in timm.data.ImageNetInfo(subset).label_descriptions()]
    return names if len(names) == count else None
