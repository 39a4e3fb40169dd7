"""Layers by their type or by a rule, and others in their place."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from torch import nn


def find_layer_predicate_recursive(model: nn.Module, predicate: Callable[[nn.Module], bool]) -> list[nn.Module]:
    """The submodules that a rule holds for, in their order, each before those in it."""
    return [module for module in list(model.modules())[1:] if predicate(module)]


def find_layer_types_recursive(model: nn.Module, layer_types: Collection[type]) -> list[nn.Module]:
    """The submodules of exactly these types."""
    return find_layer_predicate_recursive(model, lambda module: type(module) in layer_types)


def replace_layer_recursive(model: nn.Module, old_layer: nn.Module, new_layer: Any) -> bool:
    """Puts a layer in another's place, in the model that is given; whether it was there."""
    for parent in model.modules():
        for name, child in parent._modules.items():
            if child is old_layer:
                parent._modules[name] = new_layer
                return True
    return False


def replace_all_layer_type_recursive(model: nn.Module, old_layer_type: type, new_layer: Any) -> None:
    """Puts one and the same layer in the place of all of a type, in the model that is given."""
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if isinstance(child, old_layer_type):
                parent._modules[name] = new_layer
