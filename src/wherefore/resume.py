"""Running a network again from a layer upward, with other activations there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from wherefore.capture import Capture
from wherefore.guard import prepared
from wherefore.places import pick, put


class Resume:
    """A network that is run once on images, and then again from a layer upward as often as wanted; no gradients.

        with Resume(net, "layer4") as network:
            output = network.start(images)
            changed = network(2 * network.activations)  # of the same images, or of n copies of them: (n·B, ...)

    The first pass notes every function that is called on the way to the layer, and which of their results are read
    above it. Later passes run the network's own code, but those functions are not computed: they are answered from the
    notes. Where the code takes another course, or the notes do not fit, all of the network runs again and the layer's
    output is replaced on the way. Other threads are not concerned; the network is left as it was found.
    """

    def __init__(self, net: nn.Module, layer: str) -> None:
        self.net, self.layer = net, layer
        self.images: Tensor
        self.activations: Tensor
        self.calls = 1
        self.notes: list[Note] | None = None
        self._undo = ExitStack()

    def __enter__(self) -> Resume:
        with ExitStack() as undo:
            undo.enter_context(prepared(self.net))
            undo.enter_context(torch.no_grad())
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._undo.__exit__(*error)
        self.notes = None

    def start(self, images: Tensor) -> Any:
        """The network's output for ``images`` ``(B, C, H, W)``; ``activations`` is the layer's from then on."""
        self.images = images.clone()  # a network may change its input in place
        with _Rerun(self.net, self.layer) as seen, _Noting(seen, self.images) as noting:
            output = seen(self.images)
            self.activations, self.calls = seen.activations.clone(), seen.calls
        self.images, self.notes = images, noting.notes
        return output

    def __call__(self, activations: Tensor) -> Any:
        """The output for other activations of the same images, or of n copies of them, ``(n·B, ...)``."""
        copies = len(activations) // len(self.images)
        if self.notes is not None:
            try:
                return self._answered(activations, copies, self.notes)
            except (RuntimeError, IndexError, TypeError, ValueError):
                self.notes = None  # from now on all of it runs
        with _Rerun(self.net, self.layer, activations, self.calls) as network:
            return network(self.images.repeat(copies, 1, 1, 1))

    def _answered(self, activations: Tensor, copies: int, notes: list[Note]) -> Any:
        with _Rerun(self.net, self.layer, activations, self.calls) as network:
            with _Answering(network, notes, copies):
                return network(_hollow(self.images, copies))


class _Rerun(Capture):
    """A capture that records nothing and, where it is given some, puts other activations in place of the layer's."""

    def __init__(self, net: nn.Module, layer: str, instead: Tensor | None = None, calls: int = 0) -> None:
        super().__init__(net, layer)
        assert self.place is not None
        self.instead = instead
        if self.place.call is None and instead is not None:  # the last call is meant
            self.place = replace(self.place, call=calls - 1)

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        with torch.no_grad():
            output = self._run(inputs, named)
            torch.set_grad_enabled(False)
        return output

    def _cut(self, output: Any) -> Any:
        assert self.place is not None
        found = pick(output, self.place.key, self.layer)
        self.leaf = (found.clone() if found.is_inference() else found) if self.instead is None else self.instead
        return put(output, self.place.key, self.leaf.clone())


# -------------------------------------------------------------------------------------------- notes


@dataclass
class Note:
    """A call on the way to the layer: the function, its result, and whether that descends from the images."""

    func: Any
    result: Any
    descends: bool
    read: bool = False  # above the layer


class _Noting(TorchFunctionMode):
    """Notes the calls until the layer is reached (for the last time), and then which of their results are read."""

    def __init__(self, seen: Capture, images: Tensor) -> None:
        super().__init__()
        self.seen, self.notes, self.all = seen, [], []
        self.kept = [images]  # what descends from the images is told by its identity, so it has to live on
        self.descended = {id(images)}
        self.leaf: Tensor | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.seen.leaf is not None and self.seen.leaf is not self.leaf:  # all so far lay below the layer
            self.leaf, self.notes = self.seen.leaf, list(self.all)
        given = list(_tensors((args, kwargs or {})))
        for note in self.notes if self.leaf is not None else ():
            note.read = note.read or any(t is own for t in given for own in _tensors(note.result))
        descends = any(id(t) in self.descended for t in given) or (self.all == [] and bool(given))
        result = func(*args, **(kwargs or {}))
        self.all.append(Note(func, result, descends))
        if descends:
            for tensor in _tensors(result):
                self.descended.add(id(tensor))
                self.kept.append(tensor)
        return result


class _Answering(TorchFunctionMode):
    """Answers the calls below the layer from notes: what is read above as it was, the rest by its shape alone."""

    def __init__(self, network: Capture, notes: list[Note], copies: int) -> None:
        super().__init__()
        self.network, self.notes, self.copies = network, iter(notes), copies
        self.answers: list[Any] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.network.leaf is not None:
            return func(*args, **(kwargs or {}))
        note = next(self.notes, None)
        if note is None or note.func != func:
            raise RuntimeError("the network takes another course than in its first pass")
        return _copied(note, self.copies)


def _copied(note: Note, copies: int) -> Any:
    """The result of a call, for so many copies of the images."""
    result = note.result
    if isinstance(result, torch.Size):
        return torch.Size([result[0] * copies, *result[1:]]) if note.descends and result else result
    if isinstance(result, Tensor):
        if not note.descends or not result.ndim:
            return result
        return result.repeat(copies, *[1] * (result.ndim - 1)) if note.read else _hollow(result, copies)
    if isinstance(result, (tuple, list)):
        return type(result)(_copied(replace(note, result=part), copies) for part in result)
    return result


def _hollow(tensor: Tensor, copies: int) -> Tensor:
    """A tensor of the shape and kind of ``copies`` times as many, that takes no memory and whose values nobody reads."""
    return tensor.new_zeros(()).expand(len(tensor) * copies, *tensor.shape[1:])


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)
