"""The shipped networks, trained on scenes: ``scenes:vgg``. Nothing is downloaded; each has a card that says it all.

They stand in for networks of real photographs: what is measured on them is not what the papers measured.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from wherefore.errors import Error
from wherefore.imaging import Preprocess
from wherefore.models import scaled
from wherefore.models.answering import read
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
from wherefore.vocabulary import Vocabulary

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
    layer: str = "cnn.features.20"  # its last rectified convolutions, which the papers explain
    channels: int = 128  # of that layer
    size: int = 96


WORDED = {
    "captioner": Worded(scaled.captioner),
    "show-and-tell": Worded(scaled.show_and_tell, layer="cnn.inception4c", channels=384),
    "vqa": Worded(scaled.answerer(scaled.Vgg, 192), asks=True),
    "vqa-alexnet": Worded(scaled.answerer(scaled.AlexNet, 192), asks=True, layer="cnn.features.11", channels=64),
    "coattention": Worded(scaled.coattention, asks=True, layer="cnn.layer3", channels=64),
}


@MODELS("scenes", names="scenes:vgg, scenes:captioner, scenes:vqa ... small networks trained on scenes, shipped")
def scenes_model(name: str, weights: Weights, classes: Names) -> Model:
    """The small networks that the package carries, trained on scenes; nothing is downloaded."""
    if name not in scenes_names():
        raise Error(unknown("model", f"scenes:{name}", [f"scenes:{each}" for each in scenes_names()]))
    if weights == "default" and classes is not None:
        raise Error(OWN_CLASSES)
    path = _file(name, weights)
    facts = _facts(name, path)
    if name in WORDED:
        if classes is not None and [*classes] != facts.get("classes"):
            raise Error(f"the answers of scenes:{name} are in its weights: leave classes= out.")
        return _worded(name, path, facts, weights)
    network = NETWORKS[name]
    names = classes or facts.get("classes")
    net = scaled.initialised(network.build(len(names) if names else network.outputs))
    sha256 = _filled(net, name, path, facts, weights)
    multilabel = facts.get("task", network.task) == MULTI
    return Model(
        net.eval(), names, preprocess(name, facts), name=f"scenes:{name}", sha256=sha256, multilabel=multilabel
    )


def _worded(name: str, path: Path | None, facts: dict[str, Any], weights: Weights) -> Model:
    """A network with words; which words it knows its file says, or its card."""
    if "vocabulary" not in facts:
        raise Error(f"{path or f'scenes:{name}'} does not say which words its network knows: `wherefore train {name}`.")
    vocabulary, answers = Vocabulary(tuple(facts["vocabulary"]), facts["longest"], f"scenes:{name}"), facts["classes"]
    network = WORDED[name]
    if network.asks and not answers:
        raise Error(f"the weights in {path} say captions and answer nothing: they do not fit scenes:{name}.")
    net = network.build(vocabulary, len(answers)) if network.asks else network.build(vocabulary)
    sha256 = _filled(net, name, path, facts, weights)
    return Model(
        net.eval(),
        answers or None,
        preprocess(name, facts),
        layer=network.layer,
        name=f"scenes:{name}",
        sha256=sha256,
        question=partial(read, vocabulary) if network.asks else None,
    )


def _filled(net: nn.Module, name: str, path: Path | None, facts: dict[str, Any], weights: Weights) -> str | None:
    """The sha256 of the file whose weights the network now has; None where it keeps its random ones."""
    if path is None:
        return None
    sha256 = file_sha256(path) if path.is_file() else None
    if weights == "default" and sha256 != facts["sha256"]:
        raise Error(f"{path} is not the file that its card describes: install wherefore anew.")
    load_strictly(net, {k: v.float() for k, v in read_state(path).items()}, path, f"scenes:{name}")
    return sha256


def scenes_names() -> list[str]:
    """The names of the networks that can be had, or trained."""
    return [*NETWORKS, *WORDED]


def known(name: str) -> Network | Worded:
    """The network of that name; an `Error` that lists the names where there is none."""
    if name not in scenes_names():
        raise Error(unknown("network", name, scenes_names()))
    return WORDED[name] if name in WORDED else NETWORKS[name]


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
    seen = (facts or {}).get("input") or {"size": known(name).size, "mean": MEAN, "std": STD}
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
