"""What goes into a network: several tensors, by position or by name, one of which shows what is explained.

All methods see one tensor, channels second: ``(B, C, H, W)`` pictures, ``(B, C, t, h, w)`` videos and volumes,
``(B, C, L)`` signals, ``(B, L)`` token numbers. `Fed` gives it to the network where, and in the order of axes, in which
the network wants it, together with everything else that it is fed.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from wherefore.errors import Error
from wherefore.guard import prepared

Key = int | str  # a tensor's position, or its name
COLOURS = (1, 2, 3, 4)  # numbers of channels that a picture or a video has


class Inputs:
    """What a network is fed by position and by name: ``wf.Inputs(frames, state)``, ``wf.Inputs(pixel_values=x)``.

    Tensors as long as the batch (recurrent states ``(layers, B, K)`` too, also in tuples) belong to its images one by
    one, all others are ``shared`` by them; name those that are so though they happen to be as long: the prompts of a
    CLIP. ``main`` says which is explained where it is not the tensor with most axes. A dict does as well.
    """

    def __init__(self, *positional: Any, main: Key | None = None, shared: Collection[Key] = (), **named: Any) -> None:
        self.parts: dict[Key, Any] = dict(enumerate(positional))
        self.parts.update(named)
        self.main = self._main() if main is None else main
        self.shared = set(shared)
        for key in self.shared | {self.main}:
            if key not in self.parts:
                raise Error(f"there is no input {key!r}: there is {', '.join(map(str, self.parts))}.")

    def _main(self) -> Key:
        """Which part is explained: the tensor with most axes, the first of several; numbers of tokens last."""
        tensors = {k: v for k, v in self.parts.items() if isinstance(v, Tensor) and v.ndim > 0}
        images = {k: v for k, v in tensors.items() if v.is_floating_point() and v.ndim > 2}
        if images:
            return max(images, key=lambda key: images[key].ndim)
        tokens = [k for k, v in tensors.items() if v.ndim == 2 and not v.is_floating_point()]
        samples = [k for k, v in tensors.items() if v.ndim == 2 and v.is_floating_point()]
        if not tokens + samples:
            raise Error("none of the inputs is a tensor that shows something: (B, C, H, W), (B, C, L), token ids ...")
        return "input_ids" if "input_ids" in tokens else (tokens + samples)[0]

    @property
    def images(self) -> Tensor:
        """The tensor that is explained, as it was given."""
        found: Tensor = self.parts[self.main]
        return found

    def others(self) -> dict[Key, Any]:
        """Everything else."""
        return {key: value for key, value in self.parts.items() if key != self.main}

    def of_each(self) -> frozenset[Key]:
        """What of everything else belongs to the images one by one."""
        count = len(self.images)
        found = (
            key
            for key, value in self.others().items()
            if any(_batch_axis(leaf, count) is not None for leaf in tree_leaves(value))
        )
        return frozenset(found) - self.shared


def channels_axis(images: Tensor, net: nn.Module) -> int | None:
    """Which axis of a network's input holds the channels; None where there is none (token numbers, bare samples).

    It is the one that is as long as the first convolution wants; without one the second, or one as long as colours are.
    """
    shape = images.shape
    if images.ndim == 2:
        return None
    first = next((m for m in net.modules() if isinstance(m, nn.modules.conv._ConvNd)), None)
    wanted = {first.in_channels} if first is not None and first.in_channels > 0 else set(COLOURS)
    if images.ndim == 3:  # recurrent networks and transformers want (B, L, C)
        return 1 if first is not None and (shape[1] in wanted or shape[2] not in wanted) else 2
    if shape[1] in wanted:
        return 1
    return next((axis for axis in (2, images.ndim - 1) if images.ndim - axis in (1, 3) and shape[axis] in wanted), 1)


def is_sequence(net: nn.Module) -> bool:
    """Whether a network's tensors of three axes are sequences ``(B, C, L)`` rather than one picture ``(C, H, W)``."""
    kinds = {type(module) for module in net.modules()}
    flat = {nn.Conv2d, nn.Conv3d, nn.LazyConv2d, nn.LazyConv3d}
    return not kinds & flat and bool(kinds & {nn.Conv1d, nn.RNN, nn.LSTM, nn.GRU, nn.TransformerEncoderLayer})


def canonical(images: Tensor, axis: int | None) -> Tensor:
    """A network's input with its channels second; token numbers as they are, bare samples as one channel."""
    if axis is None:
        return images[:, None] if images.is_floating_point() else images
    return images.movedim(axis, 1)


def keyword(net: nn.Module, images: Tensor) -> str | None:
    """The name under which a network wants its images, where it does not take them by position."""
    if not images.is_floating_point():
        return None
    try:
        names = list(inspect.signature(net.forward).parameters)
    except (TypeError, ValueError):
        return None
    wanted = next((name for name in ("pixel_values", "input_values", "input_features") if name in names), None)
    return wanted if wanted and names[0] != wanted else None


def fed(
    net: nn.Module,
    images: Tensor,
    others: Mapping[Key, Any],
    main: Key = 0,
    axis: int | None = 1,
    each: frozenset[Key] = frozenset(),
) -> nn.Module:
    """The network as one that takes ``images``, canonical, alone: itself wherever that is all there is to it."""
    plain = axis == 1 or (axis is None and not images.is_floating_point())
    name = keyword(net, images) if main == 0 else None
    if plain and main == 0 and not others and name is None:
        return net
    return Fed(net, name or main, others, images, axis, each)


class Fed(nn.Module):
    """A network that is given its images alone; everything else that it is fed is at hand.

    Its submodules, their names and its weights are the network's own. ``n`` copies of the images are fed with ``n``
    copies of what belongs to each.
    """

    def __init__(
        self,
        net: nn.Module,
        main: Key,
        others: Mapping[Key, Any],
        images: Tensor,
        axis: int | None,
        each: frozenset[Key],
    ) -> None:
        super().__init__()
        self.each = each
        self.own = (net,)  # in a tuple it is no submodule: names do not change
        self.main, self.others, self.count, self.axis = main, dict(others), len(images), axis

    def named_modules(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Module]]:
        yield from self.own[0].named_modules(*args, **kwargs)

    def get_submodule(self, target: str) -> nn.Module:
        return self.own[0].get_submodule(target)

    def forward(self, images: Tensor) -> Any:
        copies = len(images) // self.count
        parts = {key: self._copied(key, value, copies) for key, value in self.others.items()}
        if self.axis is None:
            images = images.squeeze(1) if images.is_floating_point() else images
        elif self.axis != 1:
            images = images.movedim(1, self.axis)
        parts[self.main] = images
        positional = [parts[key] for key in sorted(key for key in parts if isinstance(key, int))]
        return self.own[0](*positional, **{str(k): v for k, v in parts.items() if isinstance(k, str)})

    def _copied(self, key: Key, value: Any, copies: int) -> Any:
        """What the network is fed beside copies of all images; a copy of its own, which the network may change."""

        def copied(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor):
                return leaf
            axis = _batch_axis(leaf, self.count) if key in self.each else None
            return leaf.clone() if axis is None or copies == 1 else torch.cat([leaf] * copies, axis)

        return tree_map(copied, value)


def _batch_axis(value: Any, count: int) -> int | None:
    """Along which axis a tensor belongs to the images one by one; None for one that does not."""
    if not isinstance(value, Tensor) or value.ndim == 0:
        return None
    # The state of a recurrent network is (layers, B, K), also where there are as many layers as images.
    if value.ndim == 3 and value.shape[1] == count:
        return 1
    return 0 if len(value) == count else None


def part(value: Any, start: int, stop: int, count: int) -> Any:
    """The part of an input that belongs to images ``start`` to ``stop`` of so many."""

    def cut(leaf: Any) -> Any:
        axis = _batch_axis(leaf, count)
        return leaf if axis is None else leaf.narrow(axis, start, stop - start)

    return tree_map(cut, value)


def filled(net: nn.Module, images: Tensor) -> tuple[float, float]:
    """Which share of the height and width that its layers see a network fills with its input; the rest is padding.

    Detectors of torchvision's resize what they are fed, and pad it to a multiple of 32 pixels, to the right and below.
    """
    transform: Any = getattr(net, "transform", None)
    if type(transform).__name__ != "GeneralizedRCNNTransform":
        return 1.0, 1.0
    with prepared(net), torch.no_grad():  # in training it would draw a size
        batch, _ = transform(list(images))
    (height, width), (rows, columns) = batch.image_sizes[0], batch.tensors.shape[-2:]
    return height / rows, width / columns


def shapes(others: Mapping[Key, Any]) -> tuple[Any, ...]:
    """What of several inputs a network's layers may depend on: their names and shapes, not how many there are."""
    leaves = ((str(key), leaf) for key, value in others.items() for leaf in tree_leaves(value))
    return tuple((key, tuple(leaf.shape[1:]) if isinstance(leaf, Tensor) else repr(leaf)) for key, leaf in leaves)


def tokens_beside(net: nn.Module) -> int:
    """How many tokens of text, numbers ``(B, L)``, a network is fed beside each of its images."""
    others = [net.others[key] for key in net.each] if isinstance(net, Fed) else []
    return max(
        (x.shape[1] for x in others if isinstance(x, Tensor) and x.ndim == 2 and x.dtype == torch.long), default=0
    )


def home(net: nn.Module) -> nn.Module:
    """The network itself, of what is fed: what is remembered of a network is remembered of that."""
    return net.own[0] if isinstance(net, Fed) else net


def on_device(value: Any, device: torch.device, dtype: torch.dtype | None) -> Any:
    """Tensors where the network wants them, in its precision if they hold floating-point numbers; else the value."""

    def moved(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        return leaf.detach().to(device, dtype if leaf.is_floating_point() else None)

    return tree_map(moved, value)


def like(net: nn.Module) -> tuple[torch.device | None, torch.dtype | None]:
    """Where a network's inputs go, and in which precision: as its first weight, None where there is none to tell.

    The weights of a network that is loaded piece by piece lie nowhere until they are needed; it sees to its inputs
    itself.
    """
    first = next((p for p in net.parameters() if p.is_floating_point()), None)
    return (None, None) if first is None or first.is_meta else (first.device, first.dtype)
