"""What goes into a network: several tensors, by position or by name, one of which shows what is explained.

All methods see one tensor, channels second: ``(B, C, H, W)`` pictures, ``(B, C, t, h, w)`` videos and volumes,
``(B, C, L)`` signals, ``(B, L)`` token numbers. `Fed` gives it to the network where, and in the order of axes, in which
the network wants it, together with everything else that it is fed.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from wherefore.errors import Error

Key = int | str  # a tensor's position, or its name
COLOURS = (1, 2, 3, 4)  # numbers of channels that a picture or a video has


class Inputs:
    """What a network is fed by position and by name: ``wf.Inputs(frames, state)``, ``wf.Inputs(pixel_values=x)``.

    Tensors as long as the batch belong to its images one by one; all others are shared by them. A dict does as well.
    """

    def __init__(self, *positional: Any, **named: Any) -> None:
        self.parts: dict[Key, Any] = dict(enumerate(positional))
        self.parts.update(named)
        self.main = self._main()

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


def channels_axis(images: Tensor, net: nn.Module) -> int | None:
    """Which axis of a network's input holds the channels; None where there is none (token numbers, bare samples)."""
    shape = images.shape
    if images.ndim == 2:
        return None
    if images.ndim == 3:  # a convolution wants (B, C, L), recurrent networks and transformers (B, L, C)
        return 1 if any(isinstance(m, nn.Conv1d) for m in net.modules()) else 2
    if images.ndim == 5:
        first = next((m.in_channels for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Conv3d))), 0)
        if (shape[1] == first) != (shape[2] == first):  # a clip of four frames has a number of them that colours have
            return 1 if shape[1] == first else 2
        return 2 if shape[1] not in COLOURS and shape[2] in COLOURS else 1
    return images.ndim - 1 if shape[1] not in COLOURS and shape[-1] in COLOURS else 1


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


def fed(net: nn.Module, images: Tensor, others: Mapping[Key, Any], main: Key = 0, axis: int | None = 1) -> nn.Module:
    """The network as one that takes ``images``, canonical, alone: itself wherever that is all there is to it."""
    plain = axis == 1 or (axis is None and not images.is_floating_point())
    name = keyword(net, images) if main == 0 else None
    return net if plain and main == 0 and not others and name is None else Fed(net, name or main, others, images, axis)


class Fed(nn.Module):
    """A network that is given its images alone; everything else that it is fed is at hand.

    Its submodules, their names and its weights are the network's own. ``n`` copies of the images are fed with ``n``
    copies of what belongs to each.
    """

    def __init__(self, net: nn.Module, main: Key, others: Mapping[Key, Any], images: Tensor, axis: int | None) -> None:
        super().__init__()
        self.own = (net,)  # in a tuple it is no submodule: names do not change
        self.main, self.others, self.count, self.axis = main, dict(others), len(images), axis

    def named_modules(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Module]]:
        yield from self.own[0].named_modules(*args, **kwargs)

    def get_submodule(self, target: str) -> nn.Module:
        return self.own[0].get_submodule(target)

    def forward(self, images: Tensor) -> Any:
        copies = len(images) // self.count
        parts = {key: self._repeated(value, copies) for key, value in self.others.items()}
        if self.axis is None:
            images = images.squeeze(1) if images.is_floating_point() else images
        elif self.axis != 1:
            images = images.movedim(1, self.axis)
        parts[self.main] = images
        positional = [parts[key] for key in sorted(key for key in parts if isinstance(key, int))]
        return self.own[0](*positional, **{str(k): v for k, v in parts.items() if isinstance(k, str)})

    def _repeated(self, value: Any, copies: int) -> Any:
        """What belongs to each image, for copies of all of them; a copy of its own, which the network may change."""
        if not isinstance(value, Tensor):
            return value
        of_each = value.ndim > 0 and len(value) == self.count
        return value.repeat(copies, *[1] * (value.ndim - 1)) if of_each else value.clone()


def home(net: nn.Module) -> nn.Module:
    """The network itself, of what is fed: what is remembered of a network is remembered of that."""
    return net.own[0] if isinstance(net, Fed) else net


def on_device(value: Any, device: torch.device, dtype: torch.dtype | None) -> Any:
    """A tensor where the network wants it, in its precision if it holds floating-point numbers; else the value."""
    if not isinstance(value, Tensor):
        return value
    return value.detach().to(device, dtype if value.is_floating_point() else None)
