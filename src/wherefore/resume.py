"""Running a network again from a layer upward, with other activations there."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from wherefore.capture import Capture
from wherefore.errors import Error
from wherefore.guard import prepared
from wherefore.places import pick, put
from wherefore.split import Split


class Resume:
    """A network that is run once on images, and then again from a layer upward as often as wanted; no gradients.

        with Resume(net, "layer4") as network:
            output = network.start(images)
            changed = network(2 * network.activations)  # of the same images, or of n copies of them: (n·B, ...)

    Where torch.fx can cut the network in two, only the part above the layer runs again; elsewhere all of it does, on
    the same images, and the layer's output is replaced on the way. The network is left as it was found.
    """

    def __init__(self, net: nn.Module, layer: str) -> None:
        self.net, self.layer = net, layer
        self.images: Tensor
        self.activations: Tensor
        self.crossing: list[Tensor] = []
        self.split: Split | None = None
        self.calls = 1
        self._undo = ExitStack()

    def __enter__(self) -> Resume:
        with ExitStack() as undo:
            undo.enter_context(prepared(self.net))
            undo.enter_context(torch.no_grad())
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._undo.__exit__(*error)

    def start(self, images: Tensor) -> Any:
        """The network's output for ``images`` ``(B, C, H, W)``; ``activations`` is the layer's from then on."""
        self.images = images
        try:
            split = Split(self.net, self.layer, compile=False)
            cut, crossing = split.below(images.clone())  # a network may change its input in place
            if all(isinstance(x, Tensor) and x.ndim and len(x) == len(images) for x in crossing):  # else: how many?
                self.split, self.activations, self.crossing = split, cut, crossing
                return self(cut)
        except Error:  # a network that torch.fx cannot trace, or with hooks
            pass
        with _Rerun(self.net, self.layer) as seen:
            output = seen(images)
            self.activations, self.calls = seen.activations, seen.calls
        return output

    def __call__(self, activations: Tensor) -> Any:
        """The output for other activations of the same images, or of n copies of them, ``(n·B, ...)``."""
        copies = len(activations) // len(self.images)
        if self.split is not None:
            # Copies go on (repeat makes them), so that an in-place operation above changes those.
            return self.split.above(
                activations.clone(), *(x.repeat(copies, *[1] * (x.ndim - 1)) for x in self.crossing)
            )
        with _Rerun(self.net, self.layer, activations, self.calls) as network:
            return network(self.images.repeat(copies, 1, 1, 1))


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
