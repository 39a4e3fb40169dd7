"""Class activation maps: a weighted sum of a layer's channels.

A rule is a pure function of activations ``(B, K, *grid)`` and gradients ``(B, T, K, *grid)`` to maps
``(B, T, *grid)``. `cam_rule` lifts it to a method: capture the layer, differentiate the part above it, fold both to
the grid, apply the rule. References:

    Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, IJCV 2020
    Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import torch
from torch import Tensor

from wherefore.capture import Capture
from wherefore.errors import Error
from wherefore.registry import METHODS
from wherefore.types import Method, Query, Raw

Rule = Callable[[Tensor, Tensor], Tensor]


def cam_rule(rule: Rule) -> Method:
    """The method that captures the queried layer and applies ``rule`` to it, a chunk of targets at a time."""

    @wraps(rule)
    def method(query: Query) -> Raw:
        with Capture(query.net, query.layer.name, query.split) as seen:
            output = seen(query.images)
            chosen = query.choose(output)
            activations = precise(query.layer.grid(seen.activations))
            maps = [
                rule(activations, precise(query.layer.grid(gradients)))
                for gradients in seen.gradients(chosen.scores, chosen.logits, chosen.classes)
            ]
        return Raw(torch.cat(maps, 1), chosen.detached())

    return method


def precise(x: Tensor) -> Tensor:
    """The tensor in float32 at least: sums over channels in 16 bits lose the small maps."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def pooled(gradients: Tensor) -> Tensor:
    """The mean over positions, ``(B, T, K)``: eq. 1, the neuron importance weights alpha."""
    positions = tuple(range(3, gradients.ndim))
    if all(gradients.stride(d) == 0 for d in positions):  # the same everywhere (a pooled-linear head): nothing to add
        return gradients.flatten(3)[..., 0]
    return gradients.mean(positions)


def weighted(activations: Tensor, weights: Tensor) -> Tensor:
    """S = sum over k of weights[k] · A[k]: ``(B, K, *grid)`` and ``(B, T, K)`` to ``(B, T, *grid)``."""
    return (weights @ activations.flatten(2)).unflatten(2, activations.shape[2:])


@METHODS("grad-cam", paper="Selvaraju et al. 2020, eq. 1-2", cost="1 forward")
@cam_rule
def grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Where the evidence for the target lies: ReLU of the channels weighted by their mean gradients.

    alpha_k = (1/Z) sum_ij dy/dA^k_ij (eq. 1), L = ReLU(sum_k alpha_k A^k) (eq. 2). Values >= 0, in units of the score.
    """
    return weighted(activations, pooled(gradients)).relu()


@METHODS("counterfactual", paper="Selvaraju et al. 2020, eq. 12", cost="1 forward")
@cam_rule
def counterfactual(activations: Tensor, gradients: Tensor) -> Tensor:
    """What speaks against the target: Grad-CAM with negated weights, regions whose removal would raise the score.

    alpha_k = (1/Z) sum_ij -dy/dA^k_ij (eq. 12), L = ReLU(sum_k alpha_k A^k). Values >= 0, in units of the score.
    """
    return weighted(activations, -pooled(gradients)).relu()


@METHODS("cam", paper="Zhou et al. 2016, eq. 2", cost="1 forward")
def cam(query: Query) -> Raw:
    """The class's row of the last linear layer times the channels; only where that layer follows average pooling.

    M_c = sum_k w_k^c A^k, signed, without bias. ``(B, T, *grid)``. Raises `Error` for other heads and targets.
    """
    with Capture(query.net, query.layer.name, query.split) as seen:
        output = seen(query.images)
        chosen = query.choose(output)
        if chosen.logits is None or bool((chosen.classes < 0).any()):
            raise Error("cam explains classes only: for other targets use --method grad-cam.")
        weights = seen.head_weights(chosen.logits)
        if weights is None:
            raise Error(
                f"cam needs a network whose layer {query.layer.name!r} is followed by average pooling and one linear "
                "layer, and this one's is not: use grad-cam, which equals cam where both exist."
            )
        activations = precise(query.layer.grid(seen.activations))
        maps = weighted(activations, weights[chosen.classes].to(activations.dtype))
    return Raw(maps, chosen.detached())
