"""Which layer: read off the graph of one traced forward pass, never from a list of model names.

The default is the last place in the network that still has a picture-like grid and feeds the target: the output of a
submodule, before pooling and before the product that computes the class scores, after the activation that directly
follows it. It feeds the target where the gradient is not zero at its positions: the patches of a transformer's last
block do not, when only the class token is read. Two outputs that are the same tensor are one place; it bears the name
of the outermost module (``layer4`` rather than ``layer4.2.relu``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

from wherefore.errors import Error
from wherefore.feeding import home
from wherefore.graph import ACTIVATIONS, POOLING, Node, kind, parents, reachable, reads
from wherefore.grids import Grids, channels_of
from wherefore.guard import unwrap
from wherefore.order import Order
from wherefore.places import Place, submodule
from wherefore.trace import Output, Traced, trace
from wherefore.types import Chosen, Grid, Layer, fingerprint

# Results of these are whole blocks or normalised values; the inner products of an attention are neither.
TOKEN_OPERATIONS = {"NativeLayerNorm", "FusedRmsNorm", "Add", "Mul", "Cat", "Embedding", "Clone"} | set(ACTIVATIONS)
NO_GRADIENT = "its positions have no gradient"
RECURRENT = {"MkldnnRnnLayer", "CudnnRnn", "Stack"}
PRODUCTS = {"Addmm", "Mm", "Bmm", "Convolution"}


class _Classes:
    """Stands for all targets that are classes, in the memory of layers."""


_CLASSES = _Classes()
_KNOWN: WeakKeyDictionary[nn.Module, WeakKeyDictionary[Any, dict[Any, Any]]]
_KNOWN = WeakKeyDictionary()


@dataclass(frozen=True)
class Layers:
    """All layers of a network in the order in which they run, and the one that is explained by default."""

    default: Layer | None
    every: tuple[Layer, ...]
    rejected: tuple[tuple[str, str], ...]  # (name, why) of outputs that cannot be explained
    stage: Layer | None  # where the default's stage begins
    certain: bool = True  # not so where the head still is zero, and the target has no gradient to tell by


def find_layers(net: nn.Module, images: Tensor, choose: Callable[[Any], Chosen]) -> Layers:
    """The layers of ``net`` that can be explained, from one traced forward pass of ``images`` ``(B, C, H, W)``.

    ``choose`` reads from the network's output what is to be explained; layers that it does not depend on are
    rejected. The network is left as it was found.
    """
    net = unwrap(net)
    traced = trace(net, images, choose)
    search = _Search(traced, images)
    every, rejected = search.listed()
    default, every_layer = search.default(every)
    known = _known(net, None)
    for layer in every_layer if home(net) is net else ():
        # Whoever goes on to explain them need not look for them again; of tokens it is not known how they lie.
        if layer.grid.layout != "tokens" and not layer.note.startswith(NO_GRADIENT):
            for reached in (False, True):
                known[_kept(_key(layer.name, images, (False, (), reached)), layer, images)] = _remember(net, layer)
    stage = _stage_begins(net, every, default, search.total) if default else None
    return Layers(default, tuple(every_layer), tuple(rejected), stage, search.certain)


def layer_for(
    net: nn.Module,
    name: str | None,
    images: Tensor,
    choose: Callable[[Any], Chosen],
    owner: Any = None,
    *,
    stage: bool = False,
    grid: Grid | None = None,
    reached: bool = False,
    about: Any = (),
    anew: bool = False,
) -> Layer:
    """The named layer with its grid or, without a name, the default for what ``choose`` reads.

    With ``stage`` that is where the default's stage begins: the pooling that leads to its resolution, or the last layer
    before it that is finer, and no branch with another beside it. ``grid`` is how the named layer lies in the picture,
    where that cannot be inferred. With ``reached`` a named layer must feed the target. Found by one traced pass, then
    remembered: per network, input size and what else it is ``about``, the default also per ``owner`` (a target of the
    user's own making, or its kind; None for classes, which share theirs); texts of all lengths share theirs. ``anew``:
    whatever is remembered. Raises `Error` where there is no
    such layer, where it has no grid, or where no layer has one.
    """
    net = unwrap(net)
    if name and grid is not None:
        return _told(net, name, images, grid)
    known = _known(net, None if name else owner)
    key = _key(name, images, (stage, about, reached and name is not None))
    if not anew:
        remembered = known.get(key) or known.get(_any_length(key))
        if remembered and remembered.holds(net):
            return remembered.layer if key in known else _as_long(remembered.layer, images)
    if name:
        layer, certain = _named_layer(net, name, images, choose if reached else None), True
    else:
        layer, certain = _default_layer(net, images, choose, stage)
    known[_kept(key, layer, images)] = _remember(net, layer, certain)
    return layer


@dataclass(frozen=True)
class _Remembered:
    """A layer that was found, and what must still be so for it to hold."""

    layer: Layer
    module: ref[nn.Module]
    weights: list[Any] | None  # where the target had no gradient to tell by

    def holds(self, net: nn.Module) -> bool:
        place = dict(net.named_modules()).get(Place.parse(self.layer.name).module)
        return place is not None and self.module() is place and self.weights in (None, fingerprint(home(net)))


def _remember(net: nn.Module, layer: Layer, certain: bool = True) -> _Remembered:
    return _Remembered(layer, ref(_module(net, layer.name)), None if certain else fingerprint(home(net)))


def _known(net: nn.Module, owner: Any) -> dict[Any, _Remembered]:
    """What is remembered of a network for one kind of targets."""
    memory = _KNOWN.setdefault(home(net), WeakKeyDictionary())
    if isinstance(owner, tuple):  # kinds of several targets
        return memory.setdefault(_CLASSES, {}).setdefault(owner, {})
    try:
        return memory.setdefault(_CLASSES if owner is None else owner, {})
    except TypeError:  # an owner that cannot be referred to weakly is not remembered
        return {}


def _key(name: str | None, images: Tensor, about: Any = (False, (), False)) -> tuple[Any, ...]:
    return name, tuple(images.shape[1:]), about


def _any_length(key: tuple[Any, ...]) -> tuple[Any, ...]:
    return key[0], "any length", key[2]


def _kept(key: tuple[Any, ...], layer: Layer, images: Tensor) -> tuple[Any, ...]:
    """What a layer is remembered by: of a text that has a position for each token by no length, for it fits all."""
    each = not images.is_floating_point() and layer.grid.size == tuple(images.shape[1:])
    return _any_length(key) if each else key


def _as_long(layer: Layer, images: Tensor) -> Layer:
    """The layer for a text of another length."""
    return replace(layer, grid=replace(layer.grid, size=tuple(images.shape[1:])))


def _module(net: nn.Module, name: str) -> nn.Module:
    return submodule(net, Place.parse(name).module)


def _default_layer(net: nn.Module, images: Tensor, choose: Callable[[Any], Chosen], stage: bool) -> tuple[Layer, bool]:
    found = find_layers(net, images, choose)
    default = found.default
    name = type(home(net)).__name__
    if default is None and not found.certain:
        raise Error(
            f"nothing in {name} has a gradient of the target: parts of it are quantised without one, detached, or not "
            "differentiable; take a method that needs none, such as occlusion."
        )
    if default is None:
        raise Error(
            f"no layer of {name} has a grid of positions that feeds the target: "
            "name one with layer= and, where it cannot be inferred, its grid=; `wherefore layers` says what was tried."
        )
    return ((found.stage or default) if stage else default), found.certain


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


def _named_layer(net: nn.Module, name: str, images: Tensor, choose: Callable[[Any], Chosen] | None) -> Layer:
    """The layer of that name with the grid that is inferred for it."""
    _module(net, name)  # a name that does not exist is told at once
    traced = trace(net, images, choose)
    output, search = _output(traced, name, traced.leaf), _Search(traced, images)
    grid = search.grids(output)
    if grid is None:
        raise Error(
            f"layer {name!r} returns {output.shape}, which is no grid of positions: choose another layer, or say how "
            "it lies in the picture with grid=wf.Grid(layout, size)."
        )
    grid = search.order.settled(output, grid)
    if grid is None:
        raise Error(
            f"the tokens of layer {name!r} do not lie in the order of the picture: choose another layer, or say how "
            "they lie with grid=wf.Grid('tokens', size, prefix)."
        )
    if choose is not None and grid.prefix and not search.positions_count(output, grid):
        default, _ = _default_layer(net, images, choose, False)
        raise Error(
            f"the patch tokens of layer {name!r} do not reach the target, its class token alone does, so that its map "
            f"would be empty: use {default.name!r}."
        )
    return Layer(name, grid, channels_of(output.shape, grid))


def _told(net: nn.Module, name: str, images: Tensor, grid: Grid) -> Layer:
    """The layer of that name with a grid that the caller knows."""
    _module(net, name)
    output = _output(trace(net, images), name)
    try:
        size = tuple(grid(torch.empty(output.shape, device="meta")).shape)
    except RuntimeError:
        size = ()
    if size[2:] != grid.size:
        raise Error(f"the output {output.shape} of layer {name!r} cannot be laid out as {grid}.")
    return Layer(name, grid, size[1])


def _output(traced: Traced, name: str, leaf: Tensor | None = None) -> Output:
    """What the place of that name returned in the pass, computed from the input that is explained where one is said."""
    plain = name.split("+")[0]
    match = [o for o in traced.outputs if plain in (o.name, o.name.split("[")[0], o.numbered)]
    if not match:
        raise Error(f"layer {name!r} never ran in this forward pass: `wherefore layers` lists those that do.")
    if leaf is not None and not reads(match[-1].node, leaf) and any(reads(o.node, leaf) for o in traced.outputs[-3:]):
        raise Error(f"layer {name!r} is not computed from the input that is explained: choose another layer.")
    return match[-1]


def _places(outputs: Sequence[Output]) -> list[Output]:
    """One output per tensor, in running order, under the name of the outermost module that returned it.

    A module that merely passes its input on (Identity, dropout) gives its name to nothing that another one made, nor
    one that returns several tensors: the others may have been made of this one before they all are returned.
    """
    by_node: dict[Node, Output] = {}
    for output in outputs:  # a container returns after its parts; what merely passes a tensor on comes later
        known = by_node.get(output.node)
        outer = known is not None and output.name.count(".") < known.name.count(".")
        if known is None or (outer and not output.passed and "[" not in output.name):
            by_node[output.node] = output
    return sorted(by_node.values(), key=lambda o: o.order)


class _Search:
    """The search for layers in one traced pass."""

    def __init__(self, traced: Traced, images: Tensor) -> None:
        self.traced, self.grids = traced, Grids(traced.outputs, images)
        self.order = Order(traced.outputs, self.grids, traced.leaf)
        self.tokens = not images.is_floating_point()
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
        self.common: set[Node] | None = None
        self.certain = True  # whether another network with this structure would have the same default
        if not self.nodes or not self._any_gradient():
            self.certain, self.roots = False, _before_head(self.head) or self.roots

    def _any_gradient(self) -> bool:
        """Whether the target has any gradient at all: behind a head that starts at zero nothing has one."""
        if self.traced.first is None:
            return False
        (gradient,) = torch.autograd.grad(self.total, [self.traced.first], retain_graph=True, allow_unused=True)
        return gradient is not None and bool((gradient != 0).any())

    def listed(self) -> tuple[list[tuple[Output, Layer]], list[tuple[str, str]]]:
        """The places that can be explained, and the others with the reason."""
        fed, every, rejected = set(self.nodes), [], []
        for output in _places(self.traced.outputs):
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
        in_tokens = grid.layout == "tokens" or (len(grid.size) == 1 and grid.layout == "channels-last")
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
            note = self._passed_over(output, layer.grid)
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
        activation = _activation_after(output.node, self.nodes)
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
            if (
                more
                and not inside
                and not self._passed_over(output, other.grid)
                and _all_passes(output.node, self.total)
            ):
                return index
        return None

    def _passed_over(self, output: Output, grid: Grid) -> str:
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
        bare = kind(output.node) == "Convolution" and not _activation_after(output.node, self.nodes)
        if self.common is not None and bare:
            return "leads to one of several resolutions: neither rectified nor normalised"
        if self.order.settled(output, grid) is None:
            return "its tokens do not lie in the order of the picture"
        return ""

    def positions_count(self, output: Output, grid: Grid) -> bool:
        """Whether the target's gradient is not zero at the positions; of a sequence at more than a single one."""
        least = 2 if grid.layout == "tokens" or len(grid.size) == 1 else 1
        return all(_positions(output, grid, *root) >= least for root in self.roots)

    def _beyond_itself(self, output: Output, grid: Grid) -> bool:
        """Whether a single place of a dense output depends on more than what is interpolated for it.

        A branch beside a skip must be read from further than a convolution of 3x3 reaches: else it is a detail.
        """
        place = self.traced.chosen.place if self.traced.chosen else None
        if place is None:
            return True
        side = 2 if _all_passes(output.node, self.total) else 4
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


def _activation_after(node: Node, nodes: list[Node]) -> str | None:
    """The name of the activation function that is the only reader of a node's result, where there is one."""
    readers = [reader for reader in nodes if node in parents(reader)]
    return ACTIVATIONS.get(kind(readers[0]), (None,))[0] if len(readers) == 1 else None
