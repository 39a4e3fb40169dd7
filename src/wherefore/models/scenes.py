"""The shipped networks, trained on scenes: ``scenes:vgg``. Nothing is downloaded; each has a card that says it all.

They stand in for networks of real photographs: what is measured on them is not what the papers measured.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from wherefore.errors import Error
from wherefore.imaging import Preprocess
from wherefore.models import scaled
from wherefore.models.zoo import (
    MULTI,
    OWN_CLASSES,
    SINGLE,
    Names,
    Weights,
    file_sha256,
    load_strictly,
    read_state,
    told,
)
from wherefore.registry import MODELS, unknown
from wherefore.types import Model

SHIPPED = Path(__file__).parent / "weights"
CARD = (
    "name", "architecture", "parameters", "task", "classes", "input", "recipe", "seed", "data", "accuracy", "training",
    "sha256", "licence", "limits",
)  # fmt: skip
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


class Network(NamedTuple):
    """What can be trained under a name: how it is built for so many outputs, and what it is for."""

    build: Callable[[int], nn.Module]
    outputs: int = 20
    size: int = 96
    task: str = MULTI


NETWORKS = {
    "vgg": Network(scaled.Vgg),
    "vgg-cam": Network(scaled.VggCam),
    "alexnet": Network(scaled.AlexNet),
    "googlenet": Network(scaled.GoogLeNet),
    "resnet": Network(scaled.ResNet),
    "places": Network(scaled.Vgg, outputs=10, task=SINGLE),
    "people-biased": Network(scaled.people, outputs=2, size=64, task=SINGLE),
    "people-balanced": Network(scaled.people, outputs=2, size=64, task=SINGLE),
}


class Worded(NamedTuple):
    """What can be trained under a name to put pictures into words, or, where it ``asks``, to answer questions."""

    build: Callable[..., nn.Module]
    asks: bool = False
    size: int = 96


WORDED = {
    "captioner": Worded(scaled.captioner),
    "show-and-tell": Worded(scaled.show_and_tell),
    "vqa": Worded(scaled.answerer(scaled.Vgg(2), 192), asks=True),
    "vqa-alexnet": Worded(scaled.answerer(scaled.AlexNet(2), 192), asks=True),
    "vqa-resnet": Worded(scaled.answerer(scaled.ResNet(2), 64), asks=True),
    "coattention": Worded(scaled.coattention, asks=True),
}


@MODELS("scenes", names="scenes:vgg, ... small networks trained on scenes, shipped with the package")
def scenes_model(name: str, weights: Weights, classes: Names) -> Model:
    """The small networks that the package carries, trained on scenes; nothing is downloaded."""
    if name not in NETWORKS:
        raise Error(unknown("model", f"scenes:{name}", [f"scenes:{each}" for each in NETWORKS]))
    if weights == "default" and classes is not None:
        raise Error(OWN_CLASSES)
    network, path = NETWORKS[name], _file(name, weights)
    facts = _facts(name, path)
    names = classes or facts.get("classes")
    net, sha256 = scaled.initialised(network.build(len(names) if names else network.outputs)), None
    if path is not None and path.is_file():
        sha256 = file_sha256(path)
        if weights == "default" and sha256 != facts["sha256"]:
            raise Error(f"{path} is not the file that its card describes: install wherefore anew.")
    if path is not None:
        load_strictly(net, {k: v.float() for k, v in read_state(path).items()}, path, f"scenes:{name}")
    multilabel = facts.get("task", network.task) == MULTI
    return Model(
        net.eval(), names, preprocess(name, facts), name=f"scenes:{name}", sha256=sha256, multilabel=multilabel
    )


def scenes_names() -> list[str]:
    """The names of the networks that can be had, or trained."""
    return list(NETWORKS)


def known(name: str) -> Network:
    """The network of that name; an `Error` that lists the names where there is none."""
    if name not in NETWORKS:
        raise Error(unknown("network", name, NETWORKS))
    return NETWORKS[name]


def card(name: str) -> dict[str, Any]:
    """What is to be said of a shipped network: how it was trained, on what, how good it is, and its limits."""
    known(name)
    path = SHIPPED / f"{name}.json"
    if not path.is_file():
        raise Error(f"scenes:{name} has not been trained: `wherefore train {name}` trains it.")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def shipped(name: str) -> dict[str, Any]:
    """The card of a shipped network; empty where it has not been trained yet."""
    known(name)
    return card(name) if (SHIPPED / f"{name}.json").is_file() else {}


def preprocess(name: str, facts: dict[str, Any] | None = None) -> Preprocess:
    """What the network sees of a picture: its middle, at its size, normalised."""
    seen = (facts or {}).get("input") or {"size": {**NETWORKS, **WORDED}[name].size, "mean": MEAN, "std": STD}
    return Preprocess(resize=seen["size"], crop=seen["size"], mean=tuple(seen["mean"]), std=tuple(seen["std"]))


def _file(name: str, weights: Weights) -> Path | None:
    """The file that the weights are in, None for random ones."""
    if weights != "default":
        return None if weights is None else Path(weights)
    card(name)
    return SHIPPED / f"{name}.safetensors"


def _facts(name: str, path: Path | None) -> dict[str, Any]:
    """What a file says of itself in its metadata, else what the card of the network says, where there is one."""
    if path is None or path == SHIPPED / f"{name}.safetensors":
        return shipped(name)
    return told(path) or shipped(name)
