"""The graph that autograd recorded: what came after what, and whether a tail is pooling and one linear layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

Node = Any  # torch.autograd.graph.Node; its saved values are attributes that depend on the operation

# Operations that leave the values as they are, or average them: with these and one matrix a tail is linear.
SHAPING = {"Slice", "View", "UnsafeView", "ReshapeAlias", "Reshape", "Squeeze", "Clone", "Alias", "ToCopy"}
AVERAGING = {"Mean", "AvgPool2D", "AdaptiveAvgPool2D", "AvgPool3D", "AdaptiveAvgPool3D"}
POOLING = AVERAGING | {"MaxPool2DWithIndices", "MaxPool3DWithIndices", "AdaptiveMaxPool2D", "AdaptiveMaxPool3D"}
# Operations whose result lies in the picture as channels, height, width, whatever its sizes.
CHANNELS_FIRST = {"Convolution", "NativeBatchNorm", "CudnnBatchNorm", "NativeGroupNorm", "PixelShuffle"} | POOLING
CHANNELS_FIRST |= {"UpsampleBilinear2D", "UpsampleNearest2D", "UpsampleBicubic2D", "UpsampleTrilinear3D"}
# Activations, and the functions that compute them; a layer named in words bears the first.
ACTIVATIONS = {
    "Relu": ("relu",),
    "Hardtanh": ("relu6", "hardtanh"),
    "Silu": ("silu",),
    "Gelu": ("gelu",),
    "Hardswish": ("hardswish",),
    "Elu": ("elu", "selu"),
    "Celu": ("celu",),
    "LeakyRelu": ("leaky_relu",),
    "Mish": ("mish",),
    "Softplus": ("softplus",),
    "PreluKernel": ("prelu",),
    "Tanh": ("tanh",),
    "Sigmoid": ("sigmoid", "expit"),
}


def activation(function: Any) -> str | None:
    """What a layer named in words calls an activation function: ``relu`` for F.relu, torch.relu and Tensor.relu_."""
    name = (function if isinstance(function, str) else getattr(function, "__name__", "")).rstrip("_")
    name = name.removeprefix("special_")
    return next((names[0] for names in ACTIVATIONS.values() if name in names), None)


def kind(node: Node) -> str:
    """The operation's name without autograd's ending: ``Relu`` for ``ReluBackward0``."""
    return str(node.name()).removeprefix("torch::autograd::").split("Backward")[0]


def shape(node: Node) -> tuple[int, ...]:
    """The shape of the tensor that the operation returned."""
    metadata = getattr(node, "_input_metadata", None)
    return tuple(metadata[0].shape) if metadata else ()


def parents(node: Node) -> list[Node]:
    """The operations whose results this one took."""
    return [parent for parent, _ in node.next_functions if parent is not None]


def is_rectified(node: Node) -> bool:
    """Whether a result is an activation's, or several of them side by side."""
    return all(kind(each) in ACTIVATIONS for each in (parents(node) if kind(node) == "Cat" else [node]))


def reachable(root: Node) -> Iterator[Node]:
    """Every operation that ``root`` depends on, itself first, each once."""
    seen, waiting = {root}, [root]
    while waiting:
        node = waiting.pop()
        yield node
        for parent in parents(node):
            if parent not in seen:
                seen.add(parent)
                waiting.append(parent)


def linear_tail(output: Any, leaf: Tensor) -> Tensor | None:
    """W ``(C, K)`` where ``output = W · mean over positions of leaf + bias``, read off the recorded graph, else None.

    The chain from output to leaf must hold nothing but averaging, reshaping and at most one matrix product, and a
    real gradient must equal the row that is read (Zhou et al. 2016; Selvaraju et al. 2020, section 3.1).
    """
    if not isinstance(output, Tensor) or output.ndim != 2 or leaf.ndim < 3:
        return None
    node, weights = output.grad_fn, None
    while node is not None and kind(node) != "AccumulateGrad":
        operation = kind(node)
        if operation in ("Addmm", "Mm") and weights is None:
            weights = node._saved_mat2.detach().t()  # type: ignore[attr-defined]  # (C, K)
            place = 1 if operation == "Addmm" else 0
            step = node.next_functions[place]
            others = [parent for i, (parent, _) in enumerate(node.next_functions) if i != place and parent is not None]
            if any(reads(parent, leaf) for parent in others):
                return None  # a bias, or a matrix, that is computed from the activations
        elif operation in SHAPING | AVERAGING:
            step = node.next_functions[0]
        else:
            return None
        node = step[0]
    if node is None or node.variable is not leaf:  # type: ignore[attr-defined]
        return None
    if weights is None:
        weights = torch.eye(leaf.shape[1], device=leaf.device, dtype=leaf.dtype)
    fits = weights.shape == (output.shape[1], leaf.shape[1])
    return weights if fits and _agrees(weights, output, leaf) else None


def reads(node: Node, leaf: Tensor | None) -> bool:
    """Whether a result depends on the leaf."""
    return any(getattr(n, "variable", None) is leaf for n in reachable(node))


def _agrees(weights: Tensor, output: Tensor, leaf: Tensor) -> bool:
    """Whether the gradient of one score by the leaf is that score's row over the number of positions."""
    row = int(weights.abs().sum(1).argmax())  # a row of zeros would agree with anything
    (gradient,) = torch.autograd.grad(output[0, row], leaf, retain_graph=True)
    expected = weights[row] / leaf.shape[2:].numel()
    got = gradient[0].flatten(1)  # (K, positions)
    tolerance = 1e-2 if got.dtype in (torch.float16, torch.bfloat16) else 1e-4
    scale = expected.abs().max().item()
    return bool((got - expected[:, None].to(got.dtype)).abs().max() <= tolerance * scale)
