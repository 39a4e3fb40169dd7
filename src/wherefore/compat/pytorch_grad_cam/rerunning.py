"""Score-CAM and Ablation-CAM, which run the model again for every channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from wherefore.compat.pytorch_grad_cam.ablation_layer import AblationLayer
from wherefore.compat.pytorch_grad_cam.base_cam import BaseCAM, Reshape
from wherefore.compat.pytorch_grad_cam.targets import Each
from wherefore.compat.pytorch_grad_cam.utils.image import Array
from wherefore.compat.seeing import folded
from wherefore.errors import Error
from wherefore.guard import prepared, unwrap
from wherefore.methods.perturbation import score_falls, score_weights
from wherefore.targets import choose
from wherefore.types import Grid, Layer, Query


@dataclass(frozen=True)
class _Reshaped(Grid):
    """A layer's grid by a reshape_transform."""

    transform: Reshape = None

    def __call__(self, x: Tensor) -> Tensor:
        assert self.transform is not None
        return self.transform(x)


class _Again(BaseCAM):
    """A method that runs the model again for every channel."""

    _runs_again = True

    def query(self, x: Tensor, layer: nn.Module, targets: Any) -> Query:
        """The same as our methods are asked it."""
        net = unwrap(self.model)
        name = next(name for name, module in net.named_modules() if module is layer)
        return Query(net, x, Layer(name, self.grid(x, layer), 0), lambda output: choose(Each(targets), output))

    def grid(self, x: Tensor, layer: nn.Module) -> Grid:
        """How the layer lies in the picture."""
        kept: list[Tensor] = []
        handle = layer.register_forward_hook(lambda _, __, output: kept.append(output))
        try:
            with prepared(self.model), torch.no_grad():
                self.model(x.clone())
        finally:
            handle.remove()
        output = kept[-1]
        if not isinstance(output, Tensor):
            raise Error(f"{type(self).__name__} changes a layer that returns one tensor: choose such a layer.")
        if self.reshape_transform is None:
            return folded(self.model, layer, x, output.shape)
        shown = self.reshape_transform(output)
        if shown.untyped_storage().data_ptr() != output.untyped_storage().data_ptr():
            raise Error(
                f"the reshape_transform copies what it is given, so that {type(self).__name__} cannot change the layer "
                "through it: use view, unflatten, movedim and transpose, or leave it out."
            )
        return _Reshaped("channels-first", tuple(shown.shape[2:]), transform=self.reshape_transform)


class ScoreCAM(_Again):
    """Score-CAM (Wang et al. 2020, eq. 5-8). ``batch_size`` is taken and changes nothing: as many run as fit."""

    def __init__(self, model: nn.Module, target_layers: Sequence[nn.Module], reshape_transform: Reshape = None) -> None:
        super().__init__(model, target_layers, reshape_transform, uses_gradients=False)
        self.batch_size = 16

    def get_cam_weights(
        self, input_tensor: Tensor, target_layers: nn.Module, targets: Any, activations: Array, grads: Array
    ) -> Array:
        _, _, weights = score_weights(self.query(input_tensor, target_layers, targets))
        found: Array = weights[:, 0].cpu().numpy()
        return found


class AblationCAM(_Again):
    """Ablation-CAM (Desai & Ramaswamy 2020, eq. 2-4), whose weights are not divided by the score.

    A channel is taken out by zeros, whatever its sign. ``ablation_layer`` and ``batch_size`` are taken and change
    nothing. Raises `Error` for a ``ratio_channels_to_ablate`` other than 1.
    """

    def __init__(
        self,
        model: nn.Module,
        target_layers: Sequence[nn.Module],
        reshape_transform: Reshape = None,
        ablation_layer: Any = None,
        batch_size: int = 32,
        ratio_channels_to_ablate: float = 1.0,
    ) -> None:
        if ratio_channels_to_ablate != 1.0:
            raise Error("ratio_channels_to_ablate leaves channels out by a guess: leave it at 1.0.")
        super().__init__(model, target_layers, reshape_transform, uses_gradients=False)
        self.ablation_layer = AblationLayer() if ablation_layer is None else ablation_layer
        self.batch_size, self.ratio_channels_to_ablate = batch_size, ratio_channels_to_ablate

    def get_cam_weights(
        self, input_tensor: Tensor, target_layers: nn.Module, targets: Any, activations: Array, grads: Array
    ) -> Array:
        _, _, falls = score_falls(self.query(input_tensor, target_layers, targets))
        found: Array = falls[:, 0].cpu().numpy()
        return found
