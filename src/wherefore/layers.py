"""Which layer: read off the graph of one traced forward pass, never from a list of model names.

The default is the last place in the network that still has a picture-like grid and feeds the target: the output of a
submodule, before pooling and before the product that computes the class scores, after the activation that directly
follows it. It feeds the target where the gradient is not zero at its positions: the patches of a transformer's last
block do not, when only the class token is read. Two outputs that are the same tensor are one place; it bears the name
of the outermost module (``layer4`` rather than ``layer4.2.relu``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn

from wherefore.errors import Error
from wherefore.feeding import home
from wherefore.graph import is_rectified, kind, parents, reads
from wherefore.grids import channels_of
from wherefore.guard import unwrap
from wherefore.places import Place, submodule
from wherefore.search import NO_GRADIENT, Search, activation_after, all_passes, stage_begins
from wherefore.trace import Output, Traced, trace
from wherefore.types import Chosen, Grid, Layer, fingerprint

# What a layer is about: which part of the output is read, which input is explained, and the others' shapes.
PLAIN = ("None", "0", ())


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


def find_layers(net: nn.Module, images: Tensor, choose: Callable[[Any], Chosen], own: str | None = None) -> Layers:
    """The layers of ``net`` that can be explained, from one traced forward pass of ``images`` ``(B, C, H, W)``.

    ``choose`` reads from the network's output what is to be explained; layers that it does not depend on are
    rejected. ``own``: a layer that is called so also where an outer module returns the same. The network is left as it
    was found.
    """
    net = unwrap(net)
    traced = trace(net, images, choose)
    search = Search(traced, images)
    every, rejected = search.listed(own)
    default, every_layer = search.default(every)
    known = _known(net, None)
    for layer in every_layer if home(net) is net else ():
        # Whoever goes on to explain them need not look for them again; of tokens it is not known how they lie.
        if not layer.grid.are_tokens and not layer.note.startswith(NO_GRADIENT):
            for reached in (False, True):
                key = _key(layer.name, images, (False, PLAIN, reached))
                known[_kept(key, layer, images)] = _remember(net, layer)
    stage = stage_begins(net, every, default, search.total) if default else None
    return Layers(default, tuple(every_layer), tuple(rejected), stage, search.certain)


def sweep(net: nn.Module, images: Tensor, choose: Callable[[Any], Chosen], own: str | None = None) -> list[Layer]:
    """The layers at which a network is explained from its first to its last (Selvaraju et al. 2020, fig. 13, 14, 22).

    All that is computed passes through each of them: of a residual network every block's output behind its ReLU, of
    another one every rectified convolution (or inception module); where nothing is rectified, every block's output.
    ``images``, ``choose`` and ``own`` as in `find_layers`; with ``own`` it is the last.
    """
    net = unwrap(net)
    search = Search(trace(net, images, choose), images)
    every, _ = search.listed(own)
    last = next((i for i, (_, layer) in enumerate(every) if layer.name == own), None)
    named = {output.node for output, _ in every}
    found, rectified, blocks = [], [], []
    for output, layer in every[: None if last is None else last + 1]:
        node = output.node
        if not all_passes(node, search.total) or search.passed_over(output, layer.grid):
            continue
        behind = None if named & search.readers(node) else activation_after(node, search.nodes)
        layer = replace(layer, name=f"{layer.name}+{behind}") if behind else layer
        found.append(layer)
        if behind or is_rectified(node):
            rectified.append(layer)
            blocks += [layer] if "Add" in (kind(node), kind(parents(node)[0])) else []
    swept = blocks or rectified or found
    return swept if last is None or swept[-1:] == [every[last][1]] else [*swept, every[last][1]]


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
    about: Any = PLAIN,
    anew: bool = False,
) -> Layer:
    """The named layer with its grid or, without a name, the default for what ``choose`` reads.

    With ``stage`` that is where the default's stage begins: the pooling that leads to its resolution, or the last layer
    before it that is finer, and no branch with another beside it. ``grid`` is how the named layer lies in the picture,
    where that cannot be inferred. With ``reached`` a named layer must feed the target. Found by one traced pass, then
    remembered: per network, input size and what else it is ``about``, the default also per ``owner`` (a target of the
    user's own making, or its kind; None for classes, which share theirs); texts of all lengths share theirs. ``anew``:
    whatever is remembered. Raises `Error` where there is no such layer, where it has no grid, or where none has one.
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
        if place is None or self.module() is not place:
            return False
        return self.weights is None or self.weights == fingerprint(home(net))  # which reads all of them


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


def _key(name: str | None, images: Tensor, about: Any) -> tuple[Any, ...]:
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
            "differentiable, or the score is at its highest, as a picture's similarity to itself is; name a layer, or "
            "take a method that needs no gradient, such as occlusion."
        )
    if default is None:
        raise Error(
            f"no layer of {name} has a grid of positions that feeds the target: "
            "name one with layer= and, where it cannot be inferred, its grid=; `wherefore layers` says what was tried."
        )
    return ((found.stage or default) if stage else default), found.certain


def _named_layer(net: nn.Module, name: str, images: Tensor, choose: Callable[[Any], Chosen] | None) -> Layer:
    """The layer of that name with the grid that is inferred for it."""
    _module(net, name)  # a name that does not exist is told at once
    traced = trace(net, images, choose)
    output, search = _output(traced, name, traced.leaf), Search(traced, images)
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
