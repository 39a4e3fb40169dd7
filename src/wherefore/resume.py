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
    notes. Whether that gives what the first pass gave is tried once; where it does not, all of the network runs again
    and the layer's output is replaced on the way. Other threads are not concerned; the network is left as it was found.
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
        own = images.clone()  # a network may change its input in place
        with _Rerun(self.net, self.layer) as seen, _Noting(seen, own) as noting:
            output = seen(own)
            self.activations, self.calls = seen.activations, seen.calls
        self.images, self.notes = images, noting.notes
        if not self._same_again(output):
            self.notes = None
        return output

    def __call__(self, activations: Tensor) -> Any:
        """The output for other activations of the same images, or of n copies of them, ``(n·B, ...)``."""
        copies = activations.numel() // self.activations.numel()
        with _Rerun(self.net, self.layer, activations, self.calls) as network:
            if self.notes is None:
                return network(self.images.repeat(copies, *[1] * (self.images.ndim - 1)))
            images = _hollow(self.images, copies)
            with _Answering(network, self.notes, copies):
                return network(images)

    def _same_again(self, output: Any) -> bool:
        """Whether two copies of the layer's own activations give the output twice."""
        try:
            twice = self(self.activations.repeat(2, *[1] * (self.activations.ndim - 1)))
        except Exception:  # answers that do not fit can break the network's code anywhere
            return False
        pairs = list(zip(_tensors(output), _tensors(twice), strict=False))
        return bool(pairs) and all(
            both.shape == (2 * len(one), *one.shape[1:])
            and torch.allclose(both, torch.cat([one, one]), rtol=1e-3, atol=1e-5)
            for one, both in pairs
        )


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
        with torch._C.DisableTorchFunction():  # this is no call of the network's
            if self.instead is None:
                self.leaf = pick(output, self.place.key, self.layer).clone()
                return output
            self.leaf = self.instead
            return put(output, self.place.key, self.instead.clone())


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
        self.seen = seen
        self.below: list[Note] = []
        self.since: list[Note] = []  # the layer was last reached
        self.leaf: Tensor | None = None
        self.kept = [images]  # what descends from the images is told by its identity, so it has to live on
        self.descended = {id(images)}

    @property
    def notes(self) -> list[Note] | None:
        """The calls below the layer."""
        return self.below if self.leaf is not None else None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = list(_tensors((args, kwargs or {})))
        if self.seen.leaf is not None and self.seen.leaf is not self.leaf:  # all so far lies below the layer
            self.leaf, self.below, self.since = self.seen.leaf, [*self.below, *self.since], []
        for note in self.below if self.leaf is not None else ():
            note.read = note.read or any(t is own for t in given for own in _tensors(note.result))
        descends = any(id(t) in self.descended for t in given)
        result = func(*args, **(kwargs or {}))
        self.since.append(Note(func, result, descends))
        # What is written into a tensor descends into it.
        for tensor in [*_tensors(result), *(given[:1] if result is None else [])] if descends else []:
            self.descended.add(id(tensor))
            self.kept.append(tensor)
        return result


class _Answering(TorchFunctionMode):
    """Answers the calls below the layer from notes: what is read above as it was, the rest by its shape alone."""

    def __init__(self, network: Capture, notes: list[Note], copies: int) -> None:
        super().__init__()
        self.network, self.notes, self.copies = network, iter(notes), copies

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.network.leaf is not None:
            return func(*args, **(kwargs or {}))
        note = next(self.notes, None)
        if note is None or note.func != func:
            raise RuntimeError("the network takes another course than in its first pass")
        if note.descends and getattr(func, "__name__", "") in SHAPES and not isinstance(note.result, Tensor):
            return func(*args, **(kwargs or {}))  # of an answer, whose shape is right
        return _copied(note, self.copies)


SHAPES = {"size", "__len__", "__get__", "dim", "numel", "stride", "is_floating_point"}


def _copied(note: Note, copies: int) -> Any:
    """The result of a call, for so many copies of the images."""
    result = note.result
    if isinstance(result, Tensor):
        if not note.descends or not result.ndim:
            return result
        return result.repeat(copies, *[1] * (result.ndim - 1)) if note.read else _hollow(result, copies)
    if isinstance(result, (tuple, list)):
        return type(result)(_copied(replace(note, result=part), copies) for part in result)
    return result


def _hollow(tensor: Tensor, copies: int) -> Tensor:
    """A tensor of the shape of ``copies`` times as many, which takes no memory and whose values nobody reads."""
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
