"""What Captum's methods share: inputs in tuples or not, further arguments, targets, and a model or any function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wherefore.errors import Error


class Refused(Error, AssertionError):
    """An `Error` that is also what programs written for Captum catch."""


class Attribution:
    """A method that explains ``forward_func``, a model or any function of tensors."""

    def __init__(self, forward_func: Callable[..., Any]) -> None:
        self.forward_func = forward_func

    def has_convergence_delta(self) -> bool:
        """Whether the attributions sum to a difference of scores that could be checked: here never."""
        return False

    def compute_convergence_delta(self, *_: Any, **__: Any) -> Tensor:
        """Raises `Error`: there is none."""
        raise Refused(f"{type(self).__name__} has no convergence delta: leave it out.")

    @classmethod
    def get_name(cls) -> str:
        """The method's name in words: Layer Grad Cam."""
        return "".join(f" {c}" if c.isupper() and i else c for i, c in enumerate(cls.__name__))


class Called(nn.Module):
    """A function as a module, with the layers in it that are looked at."""

    def __init__(self, function: Callable[..., Any], layer: nn.Module | None) -> None:
        super().__init__()
        self.function = function
        if layer is not None:
            self.layer = layer

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs)


def as_module(function: Callable[..., Any], layer: nn.Module | None = None) -> nn.Module:
    """The model itself, or the module that a function belongs to or is made into."""
    return function if isinstance(function, nn.Module) else Called(function, layer)


def as_tuple(inputs: Any) -> tuple[Any, ...]:
    """Inputs as a tuple."""
    return tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)


def arguments(additional: Any) -> tuple[Any, ...]:
    """Further arguments as a tuple."""
    if additional is None:
        return ()
    return additional if isinstance(additional, tuple) else (additional,)


def like_inputs(inputs: Any, found: Sequence[Tensor]) -> Any:
    """One tensor for one, a tuple for a tuple."""
    return tuple(found) if isinstance(inputs, (tuple, list)) else found[0]


def selected(output: Any, target: Any) -> Tensor:
    """The scores that a target picks from an output ``(B, ...)``, of one class or of another for each image.

    ``target``: None where each image has one score, a class, a tuple of places in what follows ``B``, or a list or
    tensor of these, one for each image. Raises `Error` for targets that do not fit.
    """
    if not isinstance(output, Tensor):
        if isinstance(output, (int, float)):
            return torch.tensor(output)
        raise Refused(f"the model returns a {type(output).__name__}: wrap it in a function that returns one tensor.")
    if target is None:
        return output
    if isinstance(target, Tensor):
        if target.numel() == 1 and target.ndim < 2:
            target = int(target)
        elif target.ndim == 1:
            target = target.tolist()
        else:
            raise Refused(f"a tensor of targets is (images,), not {tuple(target.shape)}.")
    if isinstance(target, list):
        if len(target) != len(output):
            raise Refused(f"{len(target)} targets do not fit {len(output)} images: give one for each.")
        return torch.stack([_picked(part, each) for part, each in zip(output, target, strict=True)])
    return _picked(output, target, 1)


def _picked(output: Tensor, target: Any, skip: int = 0) -> Tensor:
    place = tuple(target) if isinstance(target, tuple) else (target,)
    if not all(isinstance(each, int) for each in place) or len(place) > output.ndim - skip:
        raise Refused(f"the target {target!r} does not fit an output {tuple(output.shape)}.")
    try:
        return output[(slice(None),) * skip + place]
    except IndexError:
        raise Refused(f"the target {target!r} is not among the outputs {tuple(output.shape[skip:])}.") from None


def one_for_each(scores: Tensor) -> Tensor:
    """Scores of which each image has one; raises `Error` otherwise."""
    if scores.ndim and scores[0].numel() != 1:
        raise Refused("the output has several scores for each image: say with target= which is explained.")
    return scores
