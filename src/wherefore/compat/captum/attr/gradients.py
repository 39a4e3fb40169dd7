"""Gradients by the input: plain, times the input, guided, deconvolved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from wherefore.backward import Visible, rectified
from wherefore.compat.captum.attr.running import (
    Attribution,
    Refused,
    arguments,
    as_module,
    as_tuple,
    like_inputs,
    one_for_each,
    selected,
)
from wherefore.guard import prepared


class GradientAttribution(Attribution):
    """A method that differentiates the score by the input."""


class Saliency(GradientAttribution):
    """How fast the score changes with each input: the gradient's absolute value (Simonyan et al. 2013, section 3)."""

    def attribute(self, inputs: Any, target: Any = None, abs: bool = True, additional_forward_args: Any = None) -> Any:
        """Tensors of the shapes of the inputs; with ``abs=False`` signed."""
        found = gradients(self.forward_func, inputs, target, additional_forward_args)
        return like_inputs(inputs, [g.abs() if abs else g for g in found])


class InputXGradient(GradientAttribution):
    """The gradient times the input (Shrikumar et al. 2016)."""

    def attribute(self, inputs: Any, target: Any = None, additional_forward_args: Any = None) -> Any:
        """Tensors of the shapes of the inputs."""
        found = gradients(self.forward_func, inputs, target, additional_forward_args)
        return like_inputs(inputs, [x.detach() * g for x, g in zip(as_tuple(inputs), found, strict=True)])


class _Rectified(GradientAttribution):
    """The gradient with another rule at every ReLU of the model, module or function, which is left as it was found."""

    rule: str

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.model = model

    def attribute(self, inputs: Any, target: Any = None, additional_forward_args: Any = None) -> Any:
        """Tensors of the shapes of the inputs, signed."""
        return like_inputs(inputs, gradients(self.model, inputs, target, additional_forward_args, self.rule))


class GuidedBackprop(_Rectified):
    """Guided backpropagation (Springenberg et al. 2014, fig. 1)."""

    rule = "guided"


class Deconvolution(_Rectified):
    """Deconvnet (Zeiler & Fergus 2014, section 2.1)."""

    rule = "deconv"


ModifiedReluGradientAttribution = _Rectified


def gradients(
    function: Callable[..., Any], inputs: Any, target: Any, additional: Any = None, rule: str = "plain"
) -> list[Tensor]:
    """d score[b] / d each input, by a rule at the ReLUs; zeros for an input that plays no part."""
    net, leaves = as_module(function), [_leaf(x) for x in as_tuple(inputs)]
    with prepared(net), torch.enable_grad():
        with Visible():
            output = net(*(x.clone() for x in leaves), *arguments(additional))  # a network may change its input
        scores = one_for_each(selected(output, target))
        if scores.grad_fn is None:
            raise Refused("the score does not depend on the inputs, or the model cuts its own graph (detach, no_grad).")
        with rectified(scores, rule):
            found = torch.autograd.grad(scores.sum(), leaves, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g.detach() for x, g in zip(leaves, found, strict=True)]


def _leaf(x: Any) -> Tensor:
    if not isinstance(x, Tensor) or not (x.is_floating_point() or x.is_complex()):
        kind = str(x.dtype) if isinstance(x, Tensor) else type(x).__name__
        raise Refused(f"inputs are tensors of floating-point numbers, not {kind}: pass others as further arguments.")
    return x.detach().clone().requires_grad_()
