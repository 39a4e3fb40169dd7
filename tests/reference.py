"""Every equation once more, as plain loops over float64 numbers: slow, obvious, and independent of the package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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


# -------------------------------------------------------------------------------- the ablations of grad-cam (Table 3)


def absolute_weights(gradients: Tensor) -> list[float]:
    """alpha_k = (1/Z) sum_i sum_j |dy/dA^k_ij|."""
    return [sum(abs(float(g)) for row in channel for g in row) / channel.numel() for channel in gradients]


def largest_weights(gradients: Tensor) -> list[float]:
    """alpha_k = max_ij dy/dA^k_ij, with its sign."""
    return [max(float(g) for row in channel for g in row) for channel in gradients]


# ------------------------------------------------------------------------ backward rules, layer by layer and by hand
#
# A network is a list of layers: ("conv", W, b) (3x3, padding 1), ("linear", W, b), ("relu",), ("relu6",), ("pool",)
# (2x2, stride 2), ("flatten",), ("residual", [layers]) for x + layers(x). Images and signals are (K, h, w), no batch.


def rectified(g: Tensor, x: Tensor, rule: str, ceiling: float = float("inf")) -> Tensor:
    """What a ReLU with input x hands down of a signal g."""
    inside, positive = (x > 0) & (x < ceiling), g > 0
    return g * {"plain": inside, "guided": inside & positive, "deconv": positive}[rule]


def padded(x: Tensor) -> Tensor:
    """A rim of one zero around ``(K, h, w)``."""
    result = torch.zeros(x.shape[0], x.shape[1] + 2, x.shape[2] + 2, dtype=x.dtype)
    result[:, 1:-1, 1:-1] = x
    return result


def forward(layers: list[tuple], x: Tensor) -> tuple[Tensor, list]:
    """The output, and what each layer was given (for a residual also what its branch's layers were given)."""
    given: list = []
    for name, *own in layers:
        given.append(x)
        if name == "conv":
            weight, bias, rim = *own, padded(x)
            out = torch.zeros(weight.shape[0], *x.shape[1:], dtype=x.dtype)
            for i in range(x.shape[1]):
                for j in range(x.shape[2]):
                    out[:, i, j] = (weight * rim[:, i : i + 3, j : j + 3]).sum((1, 2, 3)) + bias
            x = out
        elif name == "linear":
            x = own[0] @ x + own[1]
        elif name in ("relu", "relu6"):
            x = x.clamp(0, 6 if name == "relu6" else None)
        elif name == "pool":
            x = x.unfold(1, 2, 2).unfold(2, 2, 2).flatten(3).amax(3)
        elif name == "flatten":
            x = x.reshape(-1)
        elif name == "residual":
            branch, inner = forward(own[0], x)
            given[-1] = (x, inner)
            x = x + branch
    return x, given


def backward(layers: list[tuple], given: list, g: Tensor, rule: str) -> Tensor:
    """The signal at the input for a signal ``g`` at the output, with ``rule`` at every ReLU."""
    for (name, *own), x in zip(reversed(layers), reversed(given), strict=True):
        if name == "conv":
            below = torch.zeros(x.shape[0], x.shape[1] + 2, x.shape[2] + 2, dtype=x.dtype)
            for i in range(x.shape[1]):
                for j in range(x.shape[2]):
                    below[:, i : i + 3, j : j + 3] += (g[:, i, j, None, None, None] * own[0]).sum(0)
            g = below[:, 1:-1, 1:-1]
        elif name == "linear":
            g = own[0].T @ g
        elif name in ("relu", "relu6"):
            g = rectified(g, x, rule, 6 if name == "relu6" else float("inf"))
        elif name == "pool":
            below = torch.zeros_like(x)
            for k, i, j in torch.cartesian_prod(*(torch.arange(n) for n in g.shape)).tolist():
                switch = int(x[k, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].argmax())
                below[k, 2 * i + switch // 2, 2 * j + switch % 2] = g[k, i, j]
            g = below
        elif name == "flatten":
            g = g.reshape(x.shape)
        elif name == "residual":
            g = g + backward(own[0], x[1], g, rule)
    return g


class _Rectified(torch.autograd.Function):
    """A ReLU (up to a ceiling) with another backward rule."""

    @staticmethod
    def forward(ctx, x: Tensor, rule: str, ceiling: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.rule, ctx.ceiling = rule, ceiling
        return x.clamp(0, ceiling)

    @staticmethod
    def backward(ctx, g: Tensor) -> tuple[Tensor, None, None]:
        return rectified(g, *ctx.saved_tensors, ctx.rule, ctx.ceiling), None, None


@contextmanager
def every_relu(rule: str) -> Iterator[None]:
    """For large networks: F.relu, and with it nn.ReLU, replaced by a ReLU that follows the rule; nn.ReLU6 too."""

    def relu(x: Tensor, inplace: bool = False) -> Tensor:
        return _Rectified.apply(x, rule, float("inf"))

    def hardtanh(x: Tensor, min_val: float, max_val: float, inplace: bool = False) -> Tensor:
        assert min_val == 0, "only nn.ReLU6 is meant"
        return _Rectified.apply(x, rule, max_val)

    with mock.patch.object(F, "relu", relu), mock.patch.object(F, "hardtanh", hardtanh):
        yield


def by_pixels(net: nn.Module, images: Tensor, targets: Tensor, rule: str) -> Tensor:
    """d score[b, targets[b]] / d images in float64 ``(B, C, H, W)``, with ``rule`` at every ReLU; of a copy."""
    net, x = deepcopy(net).double().eval(), images.double().requires_grad_()
    with every_relu(rule):
        scores = net(x).gather(1, targets[:, None])
        (found,) = torch.autograd.grad(scores.sum(), x)
    return found
