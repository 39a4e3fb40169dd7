"""Which layer, which grid: read off the graph of one traced forward pass, never from a list of model names.

The default is the last place in the network that still has a picture-like grid and feeds the target: the output of a
submodule, before pooling and before the product that computes the class scores, after the activation that directly
follows it. Two outputs that are the same tensor are one place; it bears the name of the outermost module (``layer4``
rather than ``layer4.2.relu``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn

from wherefore.errors import Error
from wherefore.graph import ACTIVATIONS, CHANNELS_FIRST, POOLING, Node, kind, parents, reachable
from wherefore.guard import unwrap
from wherefore.places import Place, submodule
from wherefore.trace import Output, trace
from wherefore.types import Chosen, Grid, Layer

# Results of these are whole blocks or normalised values; the inner products of an attention are neither.
TOKEN_OPERATIONS = {"NativeLayerNorm", "FusedRmsNorm", "Add", "Mul", "Cat"} | set(ACTIVATIONS)
ELEMENTWISE = {"Add", "Mul", "Div", "Clone", "Cat"} | set(ACTIVATIONS)
MOST_PREFIX_TOKENS = 16
MOST_DISTORTION = math.log(2)  # strides round: a grid may be this much longer or wider than its picture
PRODUCTS = {"Addmm", "Mm", "Bmm", "Convolution"}


class _Classes:
    """Stands for all targets that are classes, in the memory of layers."""


_CLASSES = _Classes()
_KNOWN: WeakKeyDictionary[nn.Module, WeakKeyDictionary[Any, dict[Any, tuple[Layer, ref[nn.Module]]]]]
_KNOWN = WeakKeyDictionary()


@dataclass(frozen=True)
class Layers:
    """All layers of a network in the order in which they run, and the one that is explained by default."""

    default: Layer | None
    every: tuple[Layer, ...]
    rejected: tuple[tuple[str, str], ...]  # (name, why) of outputs that cannot be explained
    stage: Layer | None  # where the default's stage begins


def find_layers(net: nn.Module, images: Tensor, choose: Callable[[Any], Chosen]) -> Layers:
    """The layers of ``net`` that can be explained, from one traced forward pass of ``images`` ``(B, C, H, W)``.

    ``choose`` reads from the network's output what is to be explained; layers that it does not depend on are
    rejected. The network is left as it was found.
    """
    outputs, chosen = trace(unwrap(net), images, choose)
    assert chosen is not None
    total = chosen.scores.sum()
    nodes = list(reachable(total.grad_fn)) if total.grad_fn is not None else []
    fed, patches, every, rejected = set(nodes), _patch_grids(outputs), [], []
    for output in _places(outputs):
        grid = _grid(output, patches, images)
        why = _unfit(output, grid, fed)
        if why or grid is None:
            rejected.append((output.name, why))
        else:
            every.append((output, Layer(output.name, grid, _channels(output.shape, grid))))
    default, every_layer = _default(every, total, nodes, _head(chosen.logits))
    known = _KNOWN.setdefault(unwrap(net), WeakKeyDictionary()).setdefault(_CLASSES, {})
    for layer in every_layer:  # whoever goes on to explain them need not look for them again
        known[layer.name, tuple(images.shape[1:]), False] = layer, ref(_module(unwrap(net), layer.name))
    stage = _stage_begins(net, every, default, total) if default else None
    return Layers(default, tuple(every_layer), tuple(rejected), stage)


def layer_for(
    net: nn.Module,
    name: str | None,
    images: Tensor,
    choose: Callable[[Any], Chosen],
    owner: Any = None,
    *,
    stage: bool = False,
) -> Layer:
    """The named layer with its grid or, without a name, the default for what ``choose`` reads.

    With ``stage`` that is where the default's stage begins: the pooling that leads to its resolution, or the last layer
    before it that is finer, and no branch with another beside it. Found by one traced pass, then remembered: per
    network and input size, the default also per ``owner`` (a target of the user's own making; None for classes, which
    share theirs). Raises `Error` where there is no such layer, where it has no grid, or where no layer has one.
    """
    net = unwrap(net)
    memory = _KNOWN.setdefault(net, WeakKeyDictionary())
    try:
        known = memory.setdefault(_CLASSES if owner is None or name else owner, {})
    except TypeError:  # an owner that cannot be referred to weakly is not remembered
        known = {}
    key = (name, tuple(images.shape[1:]), stage)
    layer, module = known.get(key, (None, None))
    place = dict(net.named_modules()).get(Place.parse(layer.name).module) if layer else None
    if layer is None or module is None or place is None or module() is not place:
        layer = _named_layer(net, name, images) if name else _default_layer(net, images, choose, stage)
        known[key] = layer, ref(_module(net, layer.name))
    return layer


def _module(net: nn.Module, name: str) -> nn.Module:
    return submodule(net, Place.parse(name).module)


def _default_layer(net: nn.Module, images: Tensor, choose: Callable[[Any], Chosen], stage: bool) -> Layer:
    found = find_layers(net, images, choose)
    default = found.default
    if default is None:
        raise Error(
            f"no layer of {type(net).__name__} has a grid of positions that feeds the target: "
            "name one with layer=, `wherefore layers` says what was tried."
        )
    return (found.stage or default) if stage else default


def _stage_begins(net: nn.Module, every: Sequence[tuple[Output, Layer]], default: Layer, total: Tensor) -> Layer:
    """The layer that a network's last stage starts from: its first pooling, else the last one that is finer."""
    net, cells = unwrap(net), math.prod(default.grid.size)
    places = [layer.name for _, layer in every]
    before = every[: places.index(default.name.split("+")[0])]
    for index in reversed(range(len(before))):
        output, layer = before[index]
        if math.prod(layer.grid.size) > cells and _all_passes(output.node, total):
            following = before[index + 1][1] if index + 1 < len(before) else layer
            return following if "Pool" in type(_module(net, following.name)).__name__ else layer
    return default


def _all_passes(node: Node, total: Tensor) -> bool:
    """Whether all that was computed before a result feeds the target through it: it is no branch, beside a skip."""
    seen, waiting = {node, total.grad_fn}, [total.grad_fn]
    while waiting:
        for parent in parents(waiting.pop()):
            if parent not in seen and kind(parent) != "AccumulateGrad":
                if parent._sequence_nr() < node._sequence_nr():
                    return False
                seen.add(parent)
                waiting.append(parent)
    return True


def _named_layer(net: nn.Module, name: str, images: Tensor) -> Layer:
    _module(net, name)  # a name that does not exist is told at once
    outputs, _ = trace(net, images)
    plain = name.split("+")[0]
    match = [o for o in outputs if plain in (o.name, o.name.split("[")[0], o.numbered)]
    if not match:
        raise Error(f"layer {name!r} never ran in this forward pass: `wherefore layers` lists those that do.")
    output = match[-1]
    grid = _grid(output, _patch_grids(outputs), images)
    if grid is None:
        raise Error(f"layer {name!r} returns {output.shape}, which is no grid of positions: choose another layer.")
    return Layer(name, grid, _channels(output.shape, grid))


def _places(outputs: Sequence[Output]) -> list[Output]:
    """One output per tensor, in running order, under the name of the outermost module that returned it."""
    by_node: dict[Node, Output] = {}
    for output in outputs:  # a container returns after its parts; what merely passes a tensor on comes later
        known = by_node.get(output.node)
        if known is None or output.name.count(".") < known.name.count("."):
            by_node[output.node] = output
    return sorted(by_node.values(), key=lambda o: o.order)


# -------------------------------------------------------------------------------------------- grids


def _patch_grids(outputs: Sequence[Output]) -> list[tuple[int, int]]:
    """Grids of the channels-first outputs of the pass: what a patch embedding leaves for its tokens."""
    return [(o.shape[2], o.shape[3]) for o in outputs if len(o.shape) == 4 and o.shape[2] * o.shape[3] > 1]


def _grid(output: Output, patches: Sequence[tuple[int, int]], images: Tensor) -> Grid | None:
    """How an output lies in the pictures, or None."""
    size = output.shape
    if not size or size[0] != len(images):
        return None
    if len(size) == 4:
        return _picture_grid(size, _maker(output.node), images.shape[-2] / images.shape[-1])
    if len(size) == 5:
        return Grid("channels-first", size[2:])
    if len(size) == 3:
        for patch in reversed(patches):
            prefix = size[1] - patch[0] * patch[1]
            if 0 <= prefix <= MOST_PREFIX_TOKENS:
                return Grid("tokens", patch, prefix)
    return None


def _picture_grid(size: tuple[int, ...], operation: str, aspect: float) -> Grid | None:
    """Channels first or last: what the operation says, else whichever reading keeps the picture's shape."""
    if operation in CHANNELS_FIRST:
        return Grid("channels-first", size[2:])
    first, last = (abs(math.log(h / w / aspect)) for h, w in (size[2:], size[1:3]))
    if operation == "NativeLayerNorm" or last < first - 0.1:
        return Grid("channels-last", size[1:3]) if last < MOST_DISTORTION else None
    return Grid("channels-first", size[2:]) if first < MOST_DISTORTION else None


def _maker(node: Node) -> str:
    """The operation that laid a result out: what merely changes values one by one is passed over."""
    while kind(node) in ELEMENTWISE and parents(node):
        node = parents(node)[0]
    return kind(node)


def _channels(size: tuple[int, ...], grid: Grid) -> int:
    return size[1] if grid.layout == "channels-first" else size[-1]


def _unfit(output: Output, grid: Grid | None, fed: set[Node]) -> str:
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
    every: list[tuple[Output, Layer]], total: Tensor, nodes: list[Node], head: set[Node]
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


def _head(logits: Tensor | None) -> set[Node]:
    """The last product with weights and what follows it: where that is a convolution, it computes the class scores."""
    head: set[Node] = set()
    node = logits.grad_fn if logits is not None else None
    while node is not None:
        head.add(node)
        before = [parent for parent in parents(node) if kind(parent) != "AccumulateGrad"]
        if kind(node) in PRODUCTS:
            return head
        node = before[0] if len(before) == 1 else None
    return set()


def _positions_count(output: Output, grid: Grid, total: Tensor) -> bool:
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
    return ACTIVATIONS.get(kind(readers[0]), (None,))[0] if len(readers) == 1 else None
