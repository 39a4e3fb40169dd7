"""The ways of explaining that are asked for: a method, several methods, or one method at several layers."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from wherefore.errors import Error
from wherefore.explainer import Explainer
from wherefore.guard import unwrap
from wherefore.layers import find_layers, sweep
from wherefore.options import WHY_NOT, method_options, takes
from wherefore.places import Place, submodule
from wherefore.registry import METHODS
from wherefore.subjects import Subject
from wherefore.types import Chosen, Model

GENERAL = ("fit", "batch_size", "output")  # options that every method takes


def by_method(
    model: Model | nn.Module, methods: Sequence[str], layer: str | None = None, **options: Any
) -> dict[str, Explainer]:
    """An explainer for each method (``all``: every one); layer and options go to those that take them."""
    names = every(methods)
    own = {name: set(method_options(name)) for name in names}
    general = {key: value for key, value in options.items() if key in GENERAL}
    where: dict[str, Any] = {"layer": layer, **{k: v for k, v in options.items() if k in ("flips", "compile", "below")}}
    for key in options.keys() - general.keys() - where.keys():
        if not any(key in known for known in own.values()):
            raise Error(f"{key!r} is an option of none of {', '.join(names)}.")
    for key, value in where.items():
        if value and not any(key in takes(name) for name in names):
            raise Error(f"none of {', '.join(names)} takes {key}: {WHY_NOT[key]}; leave it out.")
    if layer:
        submodule(unwrap(model.net if isinstance(model, Model) else model), Place.parse(layer).module)
    explainers = {}
    for name in names:
        wanted = {key: value for key, value in options.items() if key in own[name]}
        wanted |= {key: value for key, value in where.items() if key in takes(name)}
        explainers[name] = Explainer(model, name, **general, **wanted)
    return explainers


def by_layer(
    model: Model,
    picture: Subject,
    pattern: str = "all",
    method: str = "grad-cam",
    question: str | None = None,
    **options: Any,
) -> dict[str, Explainer]:
    """An explainer for each layer that a pattern such as ``features.*`` fits, in their order.

    ``all``: every layer; ``sweep``: those of `wherefore.layers.sweep`, up to the model's own. ``question`` is asked of
    a model that answers questions.
    """
    first = Explainer(model, method, **options)
    net, images = first.fed(first.reader.asked([first.batch_of([first.prepare(picture)])], question)[0])

    def read(output: Any) -> Chosen:
        return first.choose(None, output)

    own = model.layer
    found = sweep(net, images, read, own) if pattern == "sweep" else find_layers(net, images, read, own).every
    names = [e.name for e in found if pattern in ("all", "sweep") or fnmatch.fnmatchcase(e.name, pattern)]
    if not names:
        raise Error(f"no layer's name fits {pattern!r}: `wherefore layers` lists them.")
    return {name: Explainer(model, method, name, **options) for name in names}


def every(methods: Sequence[str]) -> list[str]:
    """The methods asked for, each once; those of the registry where ``all`` is among them."""
    return list(METHODS) if "all" in methods else list(dict.fromkeys(methods))


def asked(
    model: Model, paths: Sequence[str | Path], methods: Sequence[str], layer: str | None = None, **options: Any
) -> Explainer | dict[str, Explainer]:
    """What is asked for on a command line: one explainer, or those of a page of several methods or layers."""
    names, many = every(methods), layer is not None and is_pattern(unwrap(model.net), layer)
    if len(names) > 1 and many:
        raise Error("a page shows several methods or several layers, not both: give one --method or one --layer.")
    if layer is not None and many:
        first = first_readable(Explainer(model, names[0], **options), paths)
        return by_layer(model, first, layer, names[0], **options)
    if len(names) > 1:
        return by_method(model, names, layer, **options)
    return Explainer(model, names[0], layer, **options)


def is_pattern(net: nn.Module, layer: str) -> bool:
    """Whether several layers are meant; ``backbone[out]`` is one, where no ``backboneo`` is to be found."""
    if layer in ("all", "sweep") or "*" in layer or "?" in layer:
        return True
    part = layer.split("+")[0]
    return "[" in layer and any(fnmatch.fnmatchcase(name, part) for name, _ in net.named_modules())


def first_readable(first: Explainer, paths: Sequence[str | Path]) -> Subject:
    """The first picture that can be read; raises `Error` with every reason where none can."""
    reasons = []
    for path in paths:
        try:
            return first.open(path)
        except Error as error:
            reasons.append(str(error))
    raise Error(none_read(reasons))


def none_read(reasons: Sequence[str]) -> str:
    """The sentence where every picture has a reason why it cannot be explained."""
    return reasons[0] if len(reasons) == 1 else "no picture could be read: " + " ".join(reasons)
