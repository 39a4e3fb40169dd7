"""Every equation once more, as plain loops over float64 numbers: slow, obvious, and independent of the package."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from unittest import mock

import numpy as np
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


# -------------------------------------------------------------------------------------------- excitation backprop


class Residual(nn.Module):
    """body(x) + skip(x)."""

    def __init__(self, body: nn.Module, skip: nn.Module) -> None:
        super().__init__()
        self.body, self.skip = body, skip

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.skip(x)


class Branches(nn.Module):
    """What several parts make of the same input, concatenated."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([part(x) for part in self.parts], 1)


COPIES = (nn.ReLU, nn.BatchNorm2d, nn.Dropout, nn.LocalResponseNorm)


def excited(module: nn.Module, x: Tensor, p: Tensor, sign: int = 1) -> tuple[Tensor, float]:
    """The signal below a module for signal p above it, one image; and what was lost. ``sign`` negates its weights."""
    if isinstance(module, nn.Sequential):
        inputs = [x]
        for part in module:
            inputs.append(run(part, inputs[-1]))
        lost = 0.0
        for part, value in zip(reversed(module), reversed(inputs[:-1]), strict=True):
            p, gone = excited(part, value, p, sign)
            lost += gone
        return p, lost
    if isinstance(module, Residual):
        one, other = run(module.body, x), run(module.skip, x)
        nothing = one + other == 0
        lost = float(p[nothing].sum())
        to_one, to_other = (torch.where(nothing, 0, term / (one + other) * p) for term in (one, other))
        first, gone = excited(module.body, x, to_one, sign)
        second, gone_too = excited(module.skip, x, to_other, sign)
        return first + second, lost + gone + gone_too
    if isinstance(module, Branches):
        total, lost, start = torch.zeros_like(x), 0.0, 0
        for part in module.parts:
            stop = start + len(run(part, x))
            share, gone = excited(part, x, p[start:stop], sign)
            total, lost, start = total + share, lost + gone, stop
        return total, lost
    if isinstance(module, nn.MaxPool2d):
        return routed(module, x, p), 0.0
    if isinstance(module, (nn.Flatten, nn.Identity)):
        return p.reshape(x.shape), 0.0
    if isinstance(module, COPIES):
        return p, 0.0
    return shared(sign * matrix(module, x), x, p)


def run(module: nn.Module, x: Tensor) -> Tensor:
    """A module on one image without its batch dimension."""
    with torch.no_grad():
        return module(x[None].clone())[0]


def matrix(module: nn.Module, x: Tensor) -> Tensor:
    """A convolution, linear layer or average pooling as W ``(outputs, inputs)``, without bias: a column per input."""
    with torch.no_grad():
        units = torch.eye(x.numel(), dtype=x.dtype).reshape(-1, *x.shape)
        return (module(units) - module(torch.zeros_like(x)[None])).flatten(1).t()


def shared(w: Tensor, x: Tensor, p: Tensor) -> tuple[Tensor, float]:
    """p'_j = x_j sum_i w+_ij p_i / sum_k w+_ik x_k; what meets a denominator of 0 is lost."""
    excites = w.clamp(min=0) * x.flatten()  # (outputs, inputs): w+_ij x_j
    denominators, signals = excites.sum(1), p.flatten()
    nothing = denominators.abs() < 1e-12  # a column of w is the difference of two runs: 0 up to rounding
    shares = excites[~nothing] / denominators[~nothing, None] * signals[~nothing, None]
    return shares.sum(0).reshape(x.shape), float(signals[nothing].sum())


def routed(pool: nn.MaxPool2d, x: Tensor, p: Tensor) -> Tensor:
    """Max pooling without padding: each window's signal goes to its largest value."""
    size, stride, below = pool.kernel_size, pool.stride, torch.zeros_like(x)
    for k in range(p.shape[0]):
        for i in range(p.shape[1]):
            for j in range(p.shape[2]):
                window = x[k, i * stride : i * stride + size, j * stride : j * stride + size]
                at = int(window.argmax())
                below[k, i * stride + at // window.shape[1], j * stride + at % window.shape[1]] += p[k, i, j]
    return below


def mwp(above: nn.Module, x: Tensor, outputs: int, target: int) -> tuple[Tensor, float]:
    """Marginal winning probabilities ``(K, h, w)`` of one image at the input x of the part above, and what was lost."""
    start = torch.zeros(outputs, dtype=x.dtype)
    start[target] = 1
    return excited(above, x, start)


def contrastive_mwp(body: nn.Module, head: nn.Module, x: Tensor, outputs: int, target: int) -> Tensor:
    """max(0, sum over channels of P+ - P-), both from the head, the second from its negated weights."""
    start = torch.zeros(outputs, dtype=x.dtype)
    start[target] = 1
    h = run(body, x)
    winning, _ = excited(head, h, start)
    losing, _ = excited(head, h, start, sign=-1)
    return excited(body, x, winning - losing)[0].sum(0).clamp(min=0)


# -------------------------------------------------------------------------------------------- the family


def hires_cam(a: Tensor, g: Tensor) -> Tensor:
    """Draelos & Carin: sum_k g^k_ij A^k_ij."""
    channels, height, width = a.shape
    return torch.tensor(
        [[sum(float(g[k, i, j] * a[k, i, j]) for k in range(channels)) for j in range(width)] for i in range(height)],
        dtype=a.dtype,
    )


def grad_cam_plus_plus(a: Tensor, g: Tensor) -> Tensor:
    """Chattopadhay et al., eq. 19 with exp(y) as the score, whose derivatives are exp(y) g, g^2, g^3; then eq. 10."""
    alpha = []
    for k in range(len(a)):
        total, weight = sum(a[k].flatten().tolist()), 0.0
        for d in g[k].flatten().tolist():
            below = 2 * d**2 + total * d**3
            weight += (d**2 / below if below else 0.0) * max(d, 0.0)
        alpha.append(weight)
    return weighted_sum(a, alpha).clamp(min=0)


def xgrad_cam(a: Tensor, g: Tensor) -> Tensor:
    """Fu et al., eq. 8: w_k = sum_ij A_ij g_ij / sum_ij A_ij."""
    alpha = []
    for values, slopes in zip(a.flatten(1).tolist(), g.flatten(1).tolist(), strict=True):
        total = sum(values)
        alpha.append(sum(v * s for v, s in zip(values, slopes, strict=True)) / total if total else 0.0)
    return weighted_sum(a, alpha).clamp(min=0)


def layer_cam(a: Tensor, g: Tensor) -> Tensor:
    """Jiang et al.: ReLU(sum_k ReLU(g^k_ij) A^k_ij)."""
    return hires_cam(a, g.clamp(min=0)).clamp(min=0)


def component(channels: Tensor) -> Tensor:
    """``(K, h, w)`` on its first right singular vector, a row for each position, not centred, signed as the sum is."""
    rows = channels.flatten(1).t().numpy()
    _, _, v = np.linalg.svd(rows, full_matrices=False)
    projected = torch.from_numpy(rows @ v[0])
    agrees = float(projected @ torch.from_numpy(rows.sum(1))) >= 0
    return (projected if agrees else -projected).reshape(channels.shape[1:])


def finer_cam(a: Tensor, g: Tensor, logits: list[float], c: int, strength: float, rivals: int) -> Tensor:
    """Zhang et al.: the weights less the mean ones of the classes with the closest scores; g is ``(C, K, h, w)``."""
    others = sorted((d for d in range(len(logits)) if d != c), key=lambda d: abs(logits[d] - logits[c]))[:rivals]
    alpha = weights(g[c])
    for k in range(len(alpha)):
        alpha[k] -= strength * sum(weights(g[d])[k] for d in others) / len(others)
    return weighted_sum(a, alpha).clamp(min=0)


# -------------------------------------------------------------------------------------------- metrics


def pixels_of(box: tuple[int, ...]) -> set[tuple[int, int]]:
    """Every pixel of a box whose corners belong to it."""
    return {(x, y) for x in range(box[0], box[2] + 1) for y in range(box[1], box[3] + 1)}


def overlap(a: tuple[int, ...], b: tuple[int, ...]) -> float:
    """Intersection over union, pixel by pixel."""
    return len(pixels_of(a) & pixels_of(b)) / len(pixels_of(a) | pixels_of(b))


def localization_errors(pictures: list[dict], left_out: set[int], k: int) -> tuple[float, float]:
    """The devkit's evaluation of a list of predictions: errors of localization and of classification at k guesses.

    For each guess the smallest error over the true things: 0 where class and box fit, else 1; of a picture the smallest
    one over its guesses. Pictures that are left out count for the classes alone.
    """
    wrong_boxes, wrong_classes = [], []
    for number, picture in enumerate(pictures):
        of_boxes, of_classes = 1, 1
        for category, box in picture["guesses"][:k]:
            for true_category, true_box in picture["things"]:
                if category == true_category:
                    of_classes = 0
                    if overlap(box, true_box) >= 0.5:
                        of_boxes = 0
        wrong_classes.append(of_classes)
        if number not in left_out:
            wrong_boxes.append(of_boxes)
    return sum(wrong_boxes) / len(wrong_boxes), sum(wrong_classes) / len(wrong_classes)


def largest_part(heat: Tensor, threshold: float) -> tuple[int, int, int, int]:
    """The box of the largest 8-connected part of a map ``(H, W)`` of at least a share of its maximum, by flooding."""
    height, width = heat.shape
    least = threshold * float(heat.max())
    left = {(x, y) for y in range(height) for x in range(width) if float(heat[y, x]) >= least}
    parts = []
    while left:
        part, open_ends = set(), [left.pop()]
        while open_ends:
            x, y = open_ends.pop()
            part.add((x, y))
            around = {(x + i, y + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= around
            open_ends += around
        parts.append(part)
    best = max(parts, key=lambda part: (len(part), max(float(heat[y, x]) for x, y in part)))
    columns, rows = [x for x, _ in best], [y for _, y in best]
    return min(columns), min(rows), max(columns), max(rows)


def pointed(heat: Tensor, mask: np.ndarray, tolerance: float) -> bool:
    """The pointing game on one map ``(H, W)``: the first highest pixel, and the distance to each pixel of the mask."""
    height, width = heat.shape
    at, top = (0, 0), -float("inf")
    for y in range(height):
        for x in range(width):
            if float(heat[y, x]) > top:
                at, top = (x, y), float(heat[y, x])
    distances = [
        ((x - at[0]) ** 2 + (y - at[1]) ** 2) ** 0.5 for y in range(height) for x in range(width) if mask[y, x]
    ]
    return bool(distances) and (min(distances) == 0 or min(distances) < tolerance)


def ranks(values: list[float]) -> list[float]:
    """The rank of each value from 1, equal ones the mean of theirs."""
    return [sum(v < x for v in values) + (sum(v == x for v in values) + 1) / 2 for x in values]
