"""What several layers return in one pass, and the gradients of a score by it; and how a layer lies in the picture."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from wherefore.capture import Capture
from wherefore.errors import Error, NotReached
from wherefore.guard import KeepRecording, recording, unwrap
from wherefore.layers import layer_for
from wherefore.types import Grid

# What keeps channels first: how its output lies need not be found out.
PLAIN = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.modules.pooling._MaxPoolNd)


class Seen(Capture):
    """A capture of several layers, of all tensors that each returns, or with ``inputs`` is given.

        with Seen(net, [net.layer3, net.layer4]) as seen:
            output = seen(images)
            seen.values                                    # what each layer returned: a tensor, tuple or dict
            seen.by(output[:, 281])                        # the gradients of the score by it, in the same form

    Recording starts at the first layer that is reached, with ``whole`` at the images, then its ``pixels``. Of a layer
    that runs several times the last call counts. What runs behind a layer works on a copy, so that an in-place function
    changes nothing that is explained. All of it goes with the block. Raises `Error` for a layer that is no part of the
    network, or never runs.
    """

    def __init__(
        self, net: nn.Module, layers: Sequence[nn.Module], *, inputs: bool = False, whole: bool = False
    ) -> None:
        super().__init__(net, None, whole=whole)
        own = {id(module): name for name, module in self.net.named_modules()}
        self.names = [own.get(id(layer)) for layer in layers]
        for layer, name in zip(layers, self.names, strict=True):
            if name is None:
                raise Error(f"the layer {type(layer).__name__} is no part of {type(self.net).__name__}: give its own.")
        self.layers, self.inputs = list(layers), inputs
        self.found: dict[int, Any] = {}

    def __enter__(self) -> Seen:
        super().__enter__()
        for number, layer in enumerate(self.layers):
            if self.inputs:
                handle = layer.register_forward_pre_hook(lambda _, given, n=number: self._kept(n, given), prepend=True)
            else:
                handle = layer.register_forward_hook(lambda _, __, out, n=number: self._kept(n, out), prepend=True)
            self._undo.callback(handle.remove)
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.found = {}

    @property
    def values(self) -> list[Any]:
        """What each layer returned, detached."""
        return [tree_map(_detached, self.found[number]) for number in range(len(self.layers))]

    def by(self, score: Tensor, *, again: bool = False) -> list[Any]:
        """d score[b] / d what each layer returned, in the same form; zeros for a tensor that plays no part.

        With ``again`` they can be differentiated again, by what is ``found``. Raises `Error` where the score depends on
        nothing of a layer.
        """
        flat = [tree_flatten(self.found[number]) for number in range(len(self.layers))]
        tensors = [x for leaves, _ in flat for x in leaves if isinstance(x, Tensor) and x.requires_grad]
        if not score.requires_grad or not tensors:
            raise self._unreached(self.names[0])
        keep = again or self.whole
        gradients = torch.autograd.grad(score.sum(), tensors, retain_graph=keep, create_graph=again, allow_unused=True)
        of = {id(x): gradient for x, gradient in zip(tensors, gradients, strict=True)}
        for name, (leaves, _) in zip(self.names, flat, strict=True):
            if all(of.get(id(x)) is None for x in leaves):
                raise self._unreached(name)
        return [tree_unflatten([_gradient(x, of) for x in leaves], form) for leaves, form in flat]

    def _unreached(self, name: str | None) -> NotReached:
        return NotReached(f"the target does not depend on the layer {name!r}: choose another layer, or another target.")

    def _run(self, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
        self.found = {}
        output = super()._run(inputs, named)
        for number, name in enumerate(self.names):
            if number not in self.found:
                raise Error(f"the layer {name!r} never ran in this forward pass: choose another one.")
        return output

    def _kept(self, number: int, value: Any) -> Any:
        """Keeps what a layer returned, recorded from here on, and hands on copies of it."""
        if threading.get_ident() != self._thread:
            return None
        recording(self._inner)
        if self._insist:
            self._inner.enter_context(KeepRecording())
        self.found[number] = tree_map(self._start, value)
        return tree_map(_copied, self.found[number])

    def _start(self, x: Any) -> Any:
        if not isinstance(x, Tensor) or not x.is_floating_point() or x.requires_grad:
            return x
        leaf = (x.clone() if x.is_inference() else x.detach()).requires_grad_()
        self.leaf = leaf if self.leaf is None else self.leaf
        return leaf


def _detached(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) else x


def _copied(x: Any) -> Any:
    return x.clone() if isinstance(x, Tensor) else x


def _gradient(x: Any, of: dict[int, Any]) -> Any:
    if not isinstance(x, Tensor):
        return x
    gradient = of.get(id(x))
    return torch.zeros_like(x) if gradient is None else gradient


def only(value: Any, name: str | None) -> Tensor:
    """The one floating-point tensor in what a layer returned."""
    found = [x for x in tree_leaves(value) if isinstance(x, Tensor) and x.is_floating_point()]
    if len(found) != 1:
        raise Error(f"the layer {name!r} returns {len(found)} tensors: choose one within, or give a reshape_transform.")
    return found[0]


def folded(net: nn.Module, layer: nn.Module, images: Tensor, shape: Sequence[int]) -> Grid:
    """How the output ``shape`` of a layer lies in the images: channels first, or as one traced pass finds.

    Raises `Error` for tokens whose places are not found; they cannot be told from channels by their shape.
    """
    plain = Grid("channels-first", tuple(shape[2:]))
    if isinstance(layer, PLAIN) or len(shape) < 3 or (images.ndim < 4 and len(shape) == images.ndim):
        return plain
    net = unwrap(net)
    name = next(name for name, module in net.named_modules() if module is layer)
    try:
        return layer_for(net, name, images, _unasked).grid
    except Error:
        if len(shape) == images.ndim:
            return plain
        raise


_unasked: Callable[[Any], Any] = lambda output: output  # noqa: E731  a named layer is found without a target
