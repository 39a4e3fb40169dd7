"""Which layer, which grid: read off the graph of one traced forward pass, never from a list of model names.

The default is the last place in the network that still has a picture-like grid and feeds the target: the output of a
submodule, before pooling and before the product that computes the class scores, after the activation that directly
follows it. Two outputs that are the same tensor are one place; it bears the name of the outermost module (``layer4``
rather than ``layer4.2.relu``).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from wherefore.capture import entries
from wherefore.errors import Error
from wherefore.graph import ACTIVATIONS, POOLING, Node, kind, parents, reachable
from wherefore.guard import prepared, recording, unwrap
from wherefore.places import Place, submodule
from wherefore.types import Grid, Layer

# Results of these are whole blocks or normalised values; the inner products of an attention are neither.
TOKEN_OPERATIONS = {"NativeLayerNorm", "FusedRmsNorm", "Add", "Mul", "Cat"} | set(ACTIVATIONS)
MOST_PREFIX_TOKENS = 16
MOST_DISTORTION = math.log(2)  # strides round: a grid may be this much longer or wider than its picture
PRODUCTS = {"Addmm", "Mm", "Bmm", "Convolution"}


@dataclass
class _Output:
    """What one call of one submodule returned in the traced pass."""

    name: str
    node: Node
    edge: torch.autograd.graph.GradientEdge
    shape: tuple[int, ...]

    @property
    def order(self) -> int:
        return int(self.node._sequence_nr())


@dataclass(frozen=True)
class Layers:
    """All layers of a network in the order in which they run, and the one that is explained by default."""

    default: Layer | None
    every: tuple[Layer, ...]
    rejected: tuple[tuple[str, str], ...]  # (name, why) of outputs that cannot be explained


def find_layers(net: nn.Module, image: Tensor, score: Callable[[Any], Tensor]) -> Layers:
    """The layers of ``net`` that can be explained, from one traced forward pass of ``image`` ``(1, C, H, W)``.

    ``score`` reads from the network's output the number that is to be explained; layers that it does not depend on
    are rejected. The network is left as it was found.
    """
    outputs, total, answer = _trace(unwrap(net), image, score)
    nodes = list(reachable(total.grad_fn)) if total.grad_fn is not None else []
    fed, patches, every, rejected = set(nodes), _patch_grids(outputs), [], []
    for output in _places(outputs):
        grid = _grid(output.shape, patches, image.shape[-2] / image.shape[-1])
        why = _unfit(output, grid, fed)
        if why or grid is None:
            rejected.append((output.name, why))
        else:
            every.append((output, Layer(output.name, grid, _channels(output.shape, grid))))
    default, every_layer = _default(every, total, nodes, _head(answer))
    return Layers(default, tuple(every_layer), tuple(rejected))


def grid_of(net: nn.Module, name: str, image: Tensor, score: Callable[[Any], Tensor]) -> Layer:
    """The layer of that name with its grid, or an `Error` that says why it has none."""
    place = Place.parse(name)
    submodule(unwrap(net), place.module)  # a name that does not exist is told at once
    outputs, *_ = _trace(unwrap(net), image, score)
    plain = name.split("+")[0]
    match = [o for o in outputs if plain in (o.name, *_other_names(o.name))]
    if not match:
        raise Error(f"layer {name!r} never ran in this forward pass: `wherefore layers` lists those that do.")
    output = match[-1]
    grid = _grid(output.shape, _patch_grids(outputs), image.shape[-2] / image.shape[-1])
    if grid is None:
        raise Error(f"layer {name!r} returns {output.shape}, which is no grid of positions: choose another layer.")
    return Layer(name, grid, _channels(output.shape, grid))


# -------------------------------------------------------------------------------------------- the traced pass


def _trace(net: nn.Module, image: Tensor, score: Callable[[Any], Tensor]) -> tuple[list[_Output], Tensor, Any]:
    """Every submodule's output with its place in the recorded graph, the score, and the network's output."""
    calls: list[tuple[str, Any, Any]] = []
    thread = threading.get_ident()

    def before(module: nn.Module, inputs: Any) -> None:
        if threading.get_ident() == thread:
            recording(inside)  # also where the network's own forward is decorated with no_grad

    def after(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        if threading.get_ident() == thread:
            parts = {None: output} if isinstance(output, Tensor) else entries(output)
            for key, value in parts.items():
                if isinstance(value, Tensor) and value.requires_grad:
                    calls.append((name, key, (torch.autograd.graph.get_gradient_edge(value), tuple(value.shape))))

    with ExitStack() as undo, ExitStack() as inside:
        undo.enter_context(prepared(net))
        undo.enter_context(torch.enable_grad())
        for name, module in net.named_modules():
            undo.callback(module.register_forward_pre_hook(before).remove)
            if name:
                undo.callback(module.register_forward_hook(partial(after, name)).remove)
        image = image.detach().clone().requires_grad_(image.is_floating_point())
        output = net(image)
        inside.close()
        recording(inside)
        total = score(output).sum()
    return _named(calls), total, output


def _named(calls: list[tuple[str, Any, Any]]) -> list[_Output]:
    """Outputs with full names: ``:call`` for all but the last call of a module, ``[key]`` inside containers."""
    totals: dict[tuple[str, Any], int] = {}
    for name, key, _ in calls:
        totals[name, key] = totals.get((name, key), 0) + 1
    seen: dict[tuple[str, Any], int] = {}
    outputs = []
    for name, key, (edge, size) in calls:
        index = seen[name, key] = seen.get((name, key), -1) + 1
        call = "" if index == totals[name, key] - 1 else f":{index}"
        outputs.append(_Output(f"{name}{call}" + (f"[{key}]" if key is not None else ""), edge.node, edge, size))
    return outputs


def _other_names(name: str) -> list[str]:
    """``backbone[out]`` may be asked for as ``backbone`` (capture says if that is not unique)."""
    return [name.split("[")[0]] if "[" in name else []


def _places(outputs: Sequence[_Output]) -> list[_Output]:
    """One output per tensor, in running order, under the name of the outermost module that returned it."""
    by_node: dict[Node, _Output] = {}
    for output in outputs:  # a container returns after its parts; what merely passes a tensor on comes later
        known = by_node.get(output.node)
        if known is None or output.name.count(".") < known.name.count("."):
            by_node[output.node] = output
    return sorted(by_node.values(), key=lambda o: o.order)


# -------------------------------------------------------------------------------------------- grids


def _patch_grids(outputs: Sequence[_Output]) -> list[tuple[int, int]]:
    """Grids of the channels-first outputs of the pass: what a patch embedding leaves for its tokens."""
    return [(o.shape[2], o.shape[3]) for o in outputs if len(o.shape) == 4 and o.shape[2] * o.shape[3] > 1]


def _grid(size: tuple[int, ...], patches: Sequence[tuple[int, int]], aspect: float) -> Grid | None:
    """How an output of that shape lies in a picture of that height over width, or None."""
    if not size or size[0] != 1:
        return None
    if len(size) == 4:
        # Whichever reading keeps the picture's shape; where both do, channels come first.
        first, last = (abs(math.log(h / w / aspect)) for h, w in (size[2:], size[1:3]))
        if min(first, last) > MOST_DISTORTION:
            return None  # the heads of an attention, say
        return Grid("channels-last", size[1:3]) if last < first - 0.1 else Grid("channels-first", size[2:])
    if len(size) == 5:
        return Grid("channels-first", size[2:])
    if len(size) == 3:
        for patch in reversed(patches):
            prefix = size[1] - patch[0] * patch[1]
            if 0 <= prefix <= MOST_PREFIX_TOKENS:
                return Grid("tokens", patch, prefix)
    return None


def _channels(size: tuple[int, ...], grid: Grid) -> int:
    return size[1] if grid.layout == "channels-first" else size[-1]


def _unfit(output: _Output, grid: Grid | None, fed: set[Node]) -> str:
    """Why an output cannot be explained; empty where it can."""
    if output.node not in fed:
        return "does not reach the target"
    if grid is None:
        return f"{tuple(output.shape)} is no grid of positions"
    if torch.Size(grid.size).numel() == 1:
        return "has a single position"
    if grid.layout == "tokens" and kind(output.node) not in TOKEN_OPERATIONS:
        return "is an inner product of tokens, neither normalised nor a block's output"
    return ""


# -------------------------------------------------------------------------------------------- the default


def _default(
    every: list[tuple[_Output, Layer]], total: Tensor, nodes: list[Node], head: set[Node]
) -> tuple[Layer | None, list[Layer]]:
    """The last unpooled layer whose positions all count, moved behind a functional activation that follows it."""
    chosen: int | None = None
    listed = [layer for _, layer in every]
    for index in reversed(range(len(every))):
        output, layer = every[index]
        if kind(output.node) in POOLING:
            listed[index] = replace(layer, note="pooled")
        elif output.node in head:
            listed[index] = replace(layer, note="the head: one channel per class")
        elif not _positions_count(output, layer.grid, total):
            listed[index] = replace(layer, note="its positions have no gradient: they do not reach the target")
        else:
            chosen = index
            break
    if chosen is None:
        return None, listed
    output, layer = every[chosen]
    activation = _activation_after(output.node, nodes)
    why = "the last grid of positions that feeds the target, before pooling and head"
    if activation:
        why += f"; taken after the function {activation} that follows {layer.name}"
        layer = replace(layer, name=f"{layer.name}+{activation}")
        listed.insert(chosen + 1, replace(layer, note=why))
    else:
        listed[chosen] = replace(layer, note=why)
    return replace(layer, note=why), listed


def _head(output: Any) -> set[Node]:
    """The last product with weights and what follows it: where that is a convolution, it computes the class scores."""
    head: set[Node] = set()
    node = output.grad_fn if isinstance(output, Tensor) else None
    while node is not None:
        head.add(node)
        before = [parent for parent in parents(node) if kind(parent) != "AccumulateGrad"]
        if kind(node) in PRODUCTS:
            return head
        node = before[0] if len(before) == 1 else None
    return set()


def _positions_count(output: _Output, grid: Grid, total: Tensor) -> bool:
    """Whether the target's gradient is not confined to tokens that lie nowhere in the picture (the class token)."""
    if grid.layout != "tokens":
        return True
    (gradient,) = torch.autograd.grad(total, [output.edge], retain_graph=True, allow_unused=True)
    if gradient is None:
        return False
    on_grid, anywhere = grid(gradient).abs().max(), gradient.abs().max()
    return bool(on_grid > 0) or not bool(anywhere > 0)  # a head that starts at zero says nothing


def _activation_after(node: Node, nodes: list[Node]) -> str | None:
    """The name of the activation function that is the only reader of a node's result, where there is one."""
    readers = [reader for reader in nodes if node in parents(reader)]
    return ACTIVATIONS.get(kind(readers[0])) if len(readers) == 1 else None
