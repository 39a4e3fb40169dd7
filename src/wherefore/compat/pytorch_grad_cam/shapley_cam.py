"""ShapleyCAM: Grad-CAM with how the gradients themselves change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wherefore.compat.pytorch_grad_cam.base_cam import BaseCAM, Reshape
from wherefore.compat.pytorch_grad_cam.utils.image import Array


class ShapleyCAM(BaseCAM):
    """ShapleyCAM (Cai 2025, arXiv 2501.06261): what a channel adds to the score, by a Taylor series to second order.

    The weight of a channel is the mean over its places of g - ½ H·a, with a what the layer returns, g the gradient of
    the score by it and H the Hessian. Of a score that is quadratic in a the weighted channels sum up to all of it, if
    each is constant over its places. Behind the layer only ReLUs, convolutions and linear layers: H is 0, and it is
    Grad-CAM; the paper's target is `ClassifierOutputReST`.
    """

    def __init__(self, model: nn.Module, target_layers: Sequence[nn.Module], reshape_transform: Reshape = None) -> None:
        super().__init__(model, target_layers, reshape_transform, detach=False)

    def get_cam_weights(
        self, input_tensor: Tensor, target_layer: nn.Module, targets: Any, activations: Any, grads: Any
    ) -> Array:
        weights = self._channels(target_layer, grads - _curvature(grads, activations) / 2)
        found: Array = weights.mean(tuple(range(2, weights.ndim)))
        return found


def _curvature(grads: Tensor, activations: Tensor) -> Tensor:
    """H·a, the derivative of the gradients along the activations; zeros where the gradients depend on nothing."""
    if not grads.requires_grad:
        return torch.zeros_like(grads)
    along = activations.detach()
    (product,) = torch.autograd.grad(grads, activations, along, retain_graph=True, allow_unused=True)
    return torch.zeros_like(grads) if product is None else product
