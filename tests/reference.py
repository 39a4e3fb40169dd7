"""Every equation once more, as plain loops over float64 numbers: slow, obvious, and independent of the package."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def activations_and_gradients(
    below: Callable[[Tensor], Tensor], above: Callable[[Tensor], Tensor], image: Tensor, target: int
) -> tuple[Tensor, Tensor]:
    """A ``(K, h, w)`` and d score / d A of one image, by central differences of the part above the layer."""
    with torch.no_grad():
        a = below(image[None])
        gradient = torch.zeros_like(a)
        step = 1e-6
        for index in torch.cartesian_prod(*(torch.arange(n) for n in a.shape)):
            up, down = a.clone(), a.clone()
            up[tuple(index)] += step
            down[tuple(index)] -= step
            gradient[tuple(index)] = (above(up)[0, target] - above(down)[0, target]) / (2 * step)
    return a[0], gradient[0]


def weights(gradients: Tensor) -> list[float]:
    """Eq. 1: alpha_k = (1/Z) sum_i sum_j dy/dA^k_ij."""
    channels, height, width = gradients.shape
    result = []
    for k in range(channels):
        total = 0.0
        for i in range(height):
            for j in range(width):
                total += float(gradients[k, i, j])
        result.append(total / (height * width))
    return result


def weighted_sum(a: Tensor, alpha: list[float]) -> Tensor:
    """S_ij = sum_k alpha_k A^k_ij."""
    channels, height, width = a.shape
    result = torch.zeros(height, width, dtype=torch.float64)
    for i in range(height):
        for j in range(width):
            for k in range(channels):
                result[i, j] += alpha[k] * float(a[k, i, j])
    return result


def grad_cam(a: Tensor, gradients: Tensor) -> Tensor:
    """Eq. 2: ReLU(S)."""
    return weighted_sum(a, weights(gradients)).clamp(min=0)


def counterfactual(a: Tensor, gradients: Tensor) -> Tensor:
    """Eq. 12 in eq. 2: ReLU of the sum with negated weights."""
    return weighted_sum(a, [-w for w in weights(gradients)]).clamp(min=0)


def cam(a: Tensor, linear: nn.Linear, target: int) -> Tensor:
    """Zhou et al. 2016: M_c = sum_k w_k^c A^k, without bias."""
    return weighted_sum(a, [float(w) for w in linear.weight[target].detach()])
