"""The activations of layers and the gradients that a backward pass of one's own leaves there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from torch import Tensor, nn


class ActivationsAndGradients:
    """Runs a network and keeps what its ``target_layers`` return; ``gradients`` after the caller's own ``backward()``.

        seen = ActivationsAndGradients(model, [model.layer4], None)
        seen(images)[0, 281].backward()
        seen.activations[0], seen.gradients[0]             # of model.layer4, on the CPU

    Both lists follow ``target_layers``; those that have no gradient are left out. Hooks hang on the network only while
    it runs, so that ``release()`` has nothing to remove but what was kept.
    """

    def __init__(
        self,
        model: nn.Module,
        target_layers: Sequence[nn.Module],
        reshape_transform: Callable[[Any], Tensor] | None,
        detach: bool = True,
    ) -> None:
        self.model, self.target_layers, self.reshape_transform = model, target_layers, reshape_transform
        self.detach = detach
        self.handles: list[Any] = []
        self.activations: list[Any] = []
        self._gradients: dict[int, Any] = {}

    @property
    def gradients(self) -> list[Any]:
        """The gradients, in the order of ``target_layers``."""
        return [self._gradients[number] for number in sorted(self._gradients)]

    @gradients.setter
    def gradients(self, values: Sequence[Any]) -> None:
        self._gradients = dict(enumerate(values))

    def __call__(self, x: Any) -> Any:
        """The network's output, with its graph."""
        found: dict[int, Any] = {}
        self._gradients = {}
        with ExitStack() as undo:
            for number, layer in enumerate(self.target_layers):
                handle = layer.register_forward_hook(partial(self._seen, found, number), prepend=True)
                undo.callback(handle.remove)
            output = self.model(x)
        self.activations = [found[number] for number in sorted(found)]
        return output

    def clear(self) -> None:
        """Forgets what was kept."""
        self.activations, self._gradients = [], {}

    release = clear

    def _seen(self, found: dict[int, Any], number: int, module: nn.Module, given: Any, output: Any) -> Any:
        found[number] = self._reshaped(output)
        if not isinstance(output, Tensor):
            return None
        if output.requires_grad:
            output.register_hook(lambda gradient: self._gradients.__setitem__(number, self._reshaped(gradient)))
        return output.clone()  # what changes it in place behind the layer does not change what was kept

    def _reshaped(self, value: Any) -> Any:
        value = value if self.reshape_transform is None or not self.detach else self.reshape_transform(value)
        return value.detach().cpu() if self.detach and isinstance(value, Tensor) else value
