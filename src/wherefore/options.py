"""What a method takes: a layer or none, flips, compile and below, and the options of its own."""

from __future__ import annotations

import inspect
from typing import Any

from wherefore.errors import Error
from wherefore.registry import METHODS

# Where methods look that explain no single layer: the pixels, all layers. It stands in the place of the layer's name.
WITHOUT_LAYER = ("input", "layers")


WHERE = {"input": "the pixels", "layers": "all layers"}
WHY_NOT = {
    "layer": "it looks at the pixels, or at all layers",
    "flips": "they smooth maps of a layer",
    "compile": "that serves methods that run the part above a layer once",
    "below": "that serves methods that run the part above a layer once",
}


def takes(method: str) -> set[str]:
    """Which of ``layer``, ``flips``, ``compile`` and ``below`` a method takes."""
    about = METHODS[method].about
    if about.get("at", "layer") in WITHOUT_LAYER:
        return set()
    every = {"layer", "flips", "compile", "below"}
    return {"whole": {"layer"}, "again": {"layer", "flips"}}.get(about.get("graph", ""), every)


def method_options(method: str) -> dict[str, Any]:
    """The options of a method and their defaults."""
    parameters = inspect.signature(METHODS[method].run).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def check_options(method: str, options: dict[str, Any]) -> None:
    """Refuses options that the method does not have."""
    known = list(method_options(method))
    for name in options:
        if name not in known:
            has = f"has the options {', '.join(known)}" if known else "has no options"
            raise Error(f"{name!r} is no option of {method}, which {has}; targets are given with target=.")
