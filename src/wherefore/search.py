"""The search for layers in one traced pass: which can be explained, which one is the default, and why not others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

from wherefore.graph import ACTIVATIONS, POOLING, Node, kind, parents, reachable
from wherefore.grids import Grids, channels_of
from wherefore.order import Order
from wherefore.places import Place, submodule
from wherefore.trace import Output, Traced
from wherefore.types import Grid, Layer

# Results of these are whole blocks or normalised values; the inner products of an attention are neither.
TOKEN_OPERATIONS = {"NativeLayerNorm", "FusedRmsNorm", "Add", "Mul", "Cat", "Embedding", "Clone"} | set(ACTIVATIONS)
NO_GRADIENT = "its positions have no gradient"
RECURRENT = {"MkldnnRnnLayer", "CudnnRnn", "Stack"}
PRODUCTS = {"Addmm", "Mm", "Bmm", "Convolution"}


def _places(outputs: Sequence[Output], own: str | None) -> list[Output]:
    """One output per tensor, in running order, under its ``own`` name or that of the outermost module that returned it.

    A module that merely passes its input on (Identity, dropout) gives its name to nothing that another one made, nor
    one that returns several tensors: the others may have been made of this one before they all are returned.
    """
    by_node: dict[Node, Output] = {}
    for output in outputs:  # a container returns after its parts; what merely passes a tensor on comes later
        known = by_node.get(output.node)
        outer = known is not None and known.name != own and output.name.count(".") < known.name.count(".")
        if known is None or output.name == own or (outer and not output.passed and "[" not in output.name):
            by_node[output.node] = output
    return sorted(by_node.values(), key=lambda o: o.order)


class Search:
    """The search for layers in one traced pass."""

    def __init__(self, traced: Traced, images: Tensor) -> None:
        self.traced, self.grids = traced, Grids(traced.outputs, images, traced.beside)
        self.order = Order(traced.outputs, self.grids, traced.leaf)
        chosen = traced.chosen
        if chosen is None:
            return
        # Unequal shares: what speaks for one of two targets may speak against the other.
        shares = torch.linspace(1, 2, chosen.scores.shape[1], device=chosen.scores.device, dtype=chosen.scores.dtype)
        self.total = (chosen.scores * shares).sum()
        self.nodes = list(reachable(self.total.grad_fn)) if self.total.grad_fn is not None else []
        self.seeing = _depending(self.nodes, traced.leaf)
        self.head = _head(chosen.head)
        self.roots: list[tuple[Any, Tensor]] = [(self.total, torch.ones_like(self.total))]
        self.common: set[Node] | None = None  # what several resolutions share; see `default`
        self.certain = True  # whether another network with this structure would have the same default
        if not self.nodes or not self._any_gradient():
            self.certain, self.roots = False, _before_head(self.head) or self.roots

    def readers(self, node: Node) -> set[Node]:
        """The operations that take a result, on its way to the target."""
        return {reader for reader in self.nodes if node in parents(reader)}

    def _any_gradient(self) -> bool:
        """Whether the target has any gradient at all: behind a head that starts at zero nothing has one."""
        if self.traced.first is None:
            return False
        (gradient,) = torch.autograd.grad(self.total, [self.traced.first], retain_graph=True, allow_unused=True)
        return gradient is not None and bool((gradient != 0).any())

    def listed(self, own: str | None = None) -> tuple[list[tuple[Output, Layer]], list[tuple[str, str]]]:
        """The places that can be explained, and the others with the reason; ``own`` keeps its name."""
        fed, every, rejected = set(self.nodes), [], []
        for output in _places(self.traced.outputs, own):
            grid = self.grids(output)
            why = self._unfit(output, grid, fed)
            if why or grid is None:
                rejected.append((output.name, why))
            else:
                every.append((output, Layer(output.name, grid, channels_of(output.shape, grid))))
        return every, rejected

    def _unfit(self, output: Output, grid: Grid | None, fed: set[Node]) -> str:
        """Why an output cannot be explained; empty where it can."""
        if output.node not in fed:
            return "does not reach the target"
        if self.seeing and output.node not in self.seeing:
            return "is not computed from the input that is explained"
        if grid is None:
            return f"{tuple(output.shape)} is no grid of positions"
        if math.prod(grid.size) == 1:
            return "has a single position"
        in_tokens = grid.are_tokens or (len(grid.size) == 1 and grid.layout == "channels-last")
        if in_tokens and kind(output.node) not in TOKEN_OPERATIONS and not _is_recurrent(output.node):
            return "is an inner product of tokens, neither normalised nor a block's output"
        return ""

    def default(self, every: list[tuple[Output, Layer]]) -> tuple[Layer | None, list[Layer]]:
        """The last unpooled layer whose positions all count, moved behind a functional activation that follows it."""
        chosen: int | None = None
        listed = [layer for _, layer in every]
        self.common = self._common([output for output, _ in every])
        for index in reversed(range(len(every))):
            output, layer = every[index]
            note = self.passed_over(output, layer.grid)
            if not note:
                chosen = index
                break
            listed[index] = replace(layer, note=note)
        if chosen is None:
            return None, listed
        wider = self._wider(every, chosen)
        if wider is not None:
            listed[chosen] = replace(every[chosen][1], note=f"narrows what {every[wider][1].name} has")
            chosen = wider
        output, layer = every[chosen]
        layer = replace(layer, grid=self.order.settled(output, layer.grid) or layer.grid)
        activation = activation_after(output.node, self.nodes)
        why = "the last grid of positions that feeds the target, before pooling and head"
        if activation:
            why += f"; taken after the function {activation} that follows {layer.name}"
            layer = replace(layer, name=f"{layer.name}+{activation}")
            listed.insert(chosen + 1, replace(layer, note=why))
        else:
            listed[chosen] = replace(layer, note=why)
        return replace(layer, note=why), listed

    def _wider(self, every: list[tuple[Output, Layer]], chosen: int) -> int | None:
        """Of a network that gives every place scores, what an encoder hands to the head that narrows it, if anything.

        It has the same grid and more channels, and all passes through it: the backbone in front of a pyramid of
        dilated convolutions, whose own result is read by little more than one place of the output.
        """
        if not (self.traced.chosen and self.traced.chosen.place is not None):
            return None
        layer = every[chosen][1]
        for index in reversed(range(chosen)):
            output, other = every[index]
            more = other.channels > layer.channels and other.grid.size == layer.grid.size
            inside = other.name.count(".") > layer.name.count(".")  # a part of a block, which may well be wider
            if more and not inside and not self.passed_over(output, other.grid) and all_passes(output.node, self.total):
                return index
        return None

    def passed_over(self, output: Output, grid: Grid) -> str:
        """Why a place that can be explained is not the default; empty where nothing speaks against it."""
        if kind(output.node) in POOLING:
            return "pooled"
        if output.node in self.head:
            return "the head: one channel per class"
        if not self.positions_count(output, grid):
            return f"{NO_GRADIENT}: they do not reach the target"
        if not self._beyond_itself(output, grid):
            return "a place of the output reads no more than the same place of it"
        if self.common is not None and output.node not in self.common:
            return "one of several resolutions: not all that the target is read from depends on it"
        bare = kind(output.node) == "Convolution" and not activation_after(output.node, self.nodes)
        if self.common is not None and bare:
            return "leads to one of several resolutions: neither rectified nor normalised"
        if self.order.settled(output, grid) is None:
            return "its tokens do not lie in the order of the picture"
        return ""

    def positions_count(self, output: Output, grid: Grid) -> bool:
        """Whether the target's gradient is not zero at the positions; of a sequence at more than a single one."""
        least = 2 if grid.are_tokens or len(grid.size) == 1 else 1
        return all(_positions(output, grid, *root) >= least for root in self.roots)

    def _beyond_itself(self, output: Output, grid: Grid) -> bool:
        """Whether a single place of a dense output depends on more than what is interpolated for it.

        A branch beside a skip must be read from further than a convolution of 3x3 reaches: else it is a detail.
        """
        place = self.traced.chosen.place if self.traced.chosen else None
        if place is None:
            return True
        side = 2 if all_passes(output.node, self.total) else 4
        least = min(side ** len(grid.size), math.prod(grid.size) - 1)
        return _positions(output, grid, place, torch.ones_like(place)) > least

    def _common(self, every: Sequence[Output]) -> set[Node] | None:
        """Of a network that reads scores at several resolutions, what all of these depend on; None for others.

        Going back from the target, the first places with a grid on every way are the resolutions.
        """
        if not (self.traced.chosen and self.traced.chosen.pyramid):
            return None
        grids, levels, seen, waiting = {o.node for o in every}, [], {self.total.grad_fn}, [self.total.grad_fn]
        while waiting:
            node = waiting.pop()
            if node in grids:
                levels.append(node)
                continue
            new = [parent for parent in parents(node) if parent not in seen]
            seen.update(new)
            waiting += new
        return set.intersection(*(set(reachable(level)) for level in levels)) if levels else None


def _depending(nodes: Sequence[Node], leaf: Tensor | None) -> set[Node]:
    """Which of the graph's operations depend on the input that is explained; none where that has no gradient."""
    found: set[Node] = set()
    for node in sorted((n for n in nodes if kind(n) != "AccumulateGrad"), key=lambda n: n._sequence_nr()):
        if any(p in found or getattr(p, "variable", None) is leaf for p in parents(node)) and leaf is not None:
            found.add(node)
    return found


def _is_recurrent(node: Node) -> bool:
    """Whether a result is that of a recurrent layer, perhaps with its first two axes swapped."""
    return kind(node) in RECURRENT or (kind(node) == "Transpose" and kind(parents(node)[0]) in RECURRENT)


def _positions(output: Output, grid: Grid, root: Any, cotangent: Tensor) -> int:
    """At how many positions the gradient of something is not zero, in the image where they are most."""
    (gradient,) = torch.autograd.grad(root, [output.edge], cotangent, retain_graph=True, allow_unused=True)
    return 0 if gradient is None else int((grid(gradient).flatten(2) != 0).any(1).sum(1).max())


def _head(scores: Tensor | None) -> list[Node]:
    """The last product with weights and what follows it: where that is a convolution, it computes the class scores."""
    head: list[Node] = []
    node = scores.grad_fn if scores is not None else None
    while node is not None:
        head.append(node)
        before = [parent for parent in parents(node) if kind(parent) != "AccumulateGrad"]
        if kind(node) in PRODUCTS:
            return head
        node = before[0] if len(before) == 1 else None
    return []


def _before_head(head: Sequence[Node]) -> list[tuple[Any, Tensor]]:
    """What the head takes, in some direction: stands for the target where the head starts at zero."""
    for parent, number in head[-1].next_functions if head else ():
        if parent is not None and kind(parent) not in ("AccumulateGrad", "T", "Transpose"):
            generator = torch.Generator().manual_seed(0)
            metadata = parent._input_metadata[number]
            direction = torch.randn(tuple(metadata.shape), generator=generator).to(metadata.device, metadata.dtype)
            return [(GradientEdge(parent, number), direction)]
    return []


def activation_after(node: Node, nodes: list[Node]) -> str | None:
    """The name of the activation function that is the only reader of a node's result, where there is one."""
    readers = [reader for reader in nodes if node in parents(reader)]
    return ACTIVATIONS.get(kind(readers[0]), (None,))[0] if len(readers) == 1 else None


def stage_begins(net: nn.Module, every: Sequence[tuple[Output, Layer]], default: Layer, total: Tensor) -> Layer:
    """The layer that a network's last stage starts from: its first pooling, else the last one that is finer."""
    cells = math.prod(default.grid.size)
    places = [layer.name for _, layer in every]
    before = every[: places.index(default.name.split("+")[0])]
    for index in reversed(range(len(before))):
        output, layer = before[index]
        if math.prod(layer.grid.size) > cells and all_passes(output.node, total):
            following = before[index + 1][1] if index + 1 < len(before) else layer
            return following if "Pool" in type(submodule(net, Place.parse(following.name).module)).__name__ else layer
    return default


def all_passes(node: Node, total: Tensor) -> bool:
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
