"""Tensors on their way to a GPU while it works on others: from pinned memory, on a stream of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

V = TypeVar("V")


class Copier:
    """Copies tensors, and what holds them in tuples, lists and dicts, to a device; several threads may use one.

        coming = Copier(device).start((images, others))  # the transfer goes on beside what the GPU does
        images, others = coming.get()                    # what the caller does with them waits for the copy, on the GPU

    One serves for long: memory that was used on one stream is not used again on another. `start` returns once the
    tensors are pinned. For a device that is no GPU they are moved by the caller's own thread. ``streams`` is what has
    torch.cuda's streams.
    """

    def __init__(self, device: torch.device, streams: Any = None) -> None:
        self.device = device
        self.streams = torch.cuda if streams is None and device.type == "cuda" else streams
        self.stream = self.streams.Stream(device) if self.streams else None

    def start(self, value: Any) -> Coming:
        """The value on its way."""
        if self.stream is None:
            return Coming(tree_map(lambda x: x.to(self.device) if isinstance(x, Tensor) else x, value), self, None)
        with self.streams.stream(self.stream):
            copied = tree_map(self._sent, value)
            return Coming(copied, self, self.stream.record_event())

    def _sent(self, x: Any) -> Any:
        if not isinstance(x, Tensor) or x.device.type == self.device.type == "cuda":
            return x
        return x.detach().pin_memory().to(self.device, non_blocking=True)


class Coming:
    """What a `Copier` has started to copy."""

    def __init__(self, value: Any, copier: Copier, copied: Any) -> None:
        self.value, self.copier, self.copied = value, copier, copied

    def get(self) -> Any:
        """The value; whatever is asked of it on the current stream waits for the copy."""
        if self.copied is not None:
            current = self.copier.streams.current_stream(self.copier.device)
            current.wait_event(self.copied)
            for x in tree_leaves(self.value):
                if isinstance(x, Tensor):
                    x.record_stream(current)  # its memory belongs to the copier's stream, and is in use on this one
        return self.value


def ahead(values: Iterable[V], copier: Copier) -> Iterator[V]:
    """The values on a copier's device, each sent while the one before it is being worked on: at most two are there.

    Only the transfer goes on beside that work: the caller's own thread has pinned the next value before it gets one.
    """
    waiting = list[Coming]()
    for value in values:
        waiting.append(copier.start(value))
        if len(waiting) > 1:
            yield waiting.pop(0).get()
    for coming in waiting:
        yield coming.get()
