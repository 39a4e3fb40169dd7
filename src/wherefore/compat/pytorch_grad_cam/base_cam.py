"""BaseCAM: from a network, its layers and targets to maps at the size of the input, each scaled to 0..1."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_map

from wherefore.compat.pytorch_grad_cam.activations_and_gradients import ActivationsAndGradients
from wherefore.compat.pytorch_grad_cam.targets import Each, nothing, predicted
from wherefore.compat.pytorch_grad_cam.utils.image import Array, scale_cam_image
from wherefore.compat.pytorch_grad_cam.utils.svd_on_activations import get_2d_projection
from wherefore.compat.seeing import Seen, folded, only
from wherefore.errors import Error
from wherefore.feeding import like
from wherefore.guard import prepared
from wherefore.methods.cams import precise

Reshape = Callable[[Any], Tensor] | None


class BaseCAM:
    """What all methods share; one's own defines ``get_cam_weights``, or ``get_cam_image``, and nothing else.

        with GradCAM(model=model, target_layers=[model.layer4[-1]]) as cam:
            maps = cam(input_tensor=images, targets=[ClassifierOutputTarget(281)] * len(images))

    The maps are float32 ``(B, H, W)``, each from 0 to 1; of several layers the mean of theirs. A layer of a transformer
    needs no ``reshape_transform``: how its tokens lie is found out. The model is in eval mode for the time of a call
    and left as it was found. ``outputs`` are the model's of the last call, ``activations_and_grads`` what was seen in
    the layers. With ``compute_input_gradient`` the images that ``get_cam_weights`` is given hold their gradient; with
    ``detach=False`` it is given tensors as the layer returned them, and gradients that can be differentiated by them.
    Raises `Error` for a number of targets that is not that of the images.
    """

    def __init__(
        self,
        model: nn.Module,
        target_layers: Sequence[nn.Module],
        reshape_transform: Reshape = None,
        compute_input_gradient: bool = False,
        uses_gradients: bool = True,
        tta_transforms: Any = None,
        detach: bool = True,
    ) -> None:
        if isinstance(target_layers, nn.Module) and not isinstance(target_layers, (nn.Sequential, nn.ModuleList)):
            raise Error("target_layers is a list of layers: put the layer into brackets.")
        self.model, self.target_layers, self.reshape_transform = model, list(target_layers), reshape_transform
        self.compute_input_gradient, self.uses_gradients = compute_input_gradient, uses_gradients
        self.tta_transforms, self.detach = tta_transforms, detach
        self.device = like(model)[0] or torch.device("cpu")
        self.activations_and_grads = ActivationsAndGradients(model, self.target_layers, reshape_transform, detach)
        self._folds: dict[nn.Module, Callable[[Any], Tensor]] = {}
        self.outputs: Any = None

    def get_cam_weights(
        self,
        input_tensor: Tensor,
        target_layers: nn.Module,
        targets: Sequence[Callable[[Any], Tensor]],
        activations: Array,
        grads: Array,
    ) -> Array:
        """The weight of every channel ``(B, K)``, or of it at every place, from ``(B, K, *grid)`` arrays."""
        raise NotImplementedError(f"{type(self).__name__} must define get_cam_weights or get_cam_image")

    def get_cam_image(
        self,
        input_tensor: Tensor,
        target_layer: nn.Module,
        targets: Sequence[Callable[[Any], Tensor]],
        activations: Any,
        grads: Any,
        eigen_smooth: bool = False,
    ) -> Array:
        """The map ``(B, *grid)`` of one layer: the weighted channels' sum, or their first component."""
        weights = self.get_cam_weights(input_tensor, target_layer, targets, activations, grads)
        if isinstance(activations, Tensor):
            activations = self._channels(target_layer, activations)
        weighted = weights[(..., *[None] * (activations.ndim - weights.ndim))] * activations
        return get_2d_projection(weighted) if eigen_smooth else weighted.sum(axis=1)

    def __call__(
        self,
        input_tensor: Tensor,
        targets: Sequence[Callable[[Any], Tensor]] | None = None,
        aug_smooth: bool = False,
        eigen_smooth: bool = False,
    ) -> Array:
        """The maps ``(B, H, W)`` of images ``(B, C, H, W)``; without targets those of the highest class of each."""
        if aug_smooth:
            return self.forward_augmentation_smoothing(input_tensor, targets, eigen_smooth)
        return self.forward(input_tensor, targets, eigen_smooth)

    def forward(
        self, input_tensor: Tensor, targets: Sequence[Callable[[Any], Tensor]] | None, eigen_smooth: bool = False
    ) -> Array:
        """The maps, of the picture as it is."""
        input_tensor = input_tensor.detach().to(self.device)
        input_tensor, targets = self._look(input_tensor, targets)
        maps = self.compute_cam_per_layer(input_tensor, targets, eigen_smooth)
        kept = self.activations_and_grads
        kept.activations, kept.gradients = _detached(kept.activations), _detached(kept.gradients)
        return self.aggregate_multi_layers(maps)

    def forward_augmentation_smoothing(
        self, input_tensor: Tensor, targets: Sequence[Callable[[Any], Tensor]] | None, eigen_smooth: bool = False
    ) -> Array:
        """The mean map of six versions of each picture: mirrored or not, times 0.9, 1 and 1.1.

        All of them explain the same: without targets the highest class of the picture itself.
        """
        input_tensor = input_tensor.detach().to(self.device)
        if targets is None:
            with prepared(self.model), torch.no_grad():
                targets = predicted(self.model(input_tensor.clone()))
        maps = [self._augmented(change, input_tensor, targets, eigen_smooth) for change in self._changes()]
        return np.asarray(np.mean(maps, axis=0), dtype=np.float32)

    def get_target_width_height(self, input_tensor: Tensor) -> tuple[int, ...]:
        """The size of the input, its width first."""
        return tuple(input_tensor.shape[:1:-1])

    def compute_cam_per_layer(
        self, input_tensor: Tensor, targets: Sequence[Callable[[Any], Tensor]], eigen_smooth: bool
    ) -> list[Array]:
        """The map ``(B, 1, H, W)`` of every layer, scaled and enlarged, from what was seen in them."""
        size, maps = self.get_target_width_height(input_tensor), []
        seen = self.activations_and_grads
        for number, layer in enumerate(self.target_layers):
            activations, grads = seen.activations[number], seen.gradients[number] if seen.gradients else None
            if self.detach:
                activations, grads = activations.numpy(), None if grads is None else grads.numpy()
            cam: Any = self.get_cam_image(input_tensor, layer, targets, activations, grads, eigen_smooth)
            cam = np.maximum(cam, 0)
            _warn_of_nothing(cam, grads, layer)
            maps.append(scale_cam_image(cam, size)[:, None])
        return maps

    def aggregate_multi_layers(self, cam_per_target_layer: Sequence[Array]) -> Array:
        """The mean over layers, each map scaled to 0..1 again."""
        return scale_cam_image(np.maximum(np.concatenate(cam_per_target_layer, axis=1), 0).mean(axis=1))

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: Any) -> None:
        self.activations_and_grads.release()

    # ---------------------------------------------------------------------------------------- what is done

    def _look(self, x: Tensor, targets: Any) -> tuple[Tensor, Sequence[Callable[[Any], Tensor]]]:
        """Runs the model; keeps its outputs and what the layers say, and returns the images and the targets."""
        layers, again = self.target_layers, not self.detach
        with Seen(self.model, layers, whole=self.compute_input_gradient) as seen, _differentiable(again):
            output = seen(x)
            targets = self._targets(output, targets, len(x))
            values = [only(seen.found[n], _name(layer)) for n, layer in enumerate(layers)] if again else seen.values
            gradients = []
            if self.uses_gradients:
                score = Each(targets).read(output)
                gradients = seen.by(score, again=again)
                if seen.pixels is not None:
                    x = seen.pixels
                    (x.grad,) = torch.autograd.grad(score.sum(), x, retain_graph=again)
            self.outputs = tree_map(lambda part: part.detach() if isinstance(part, Tensor) else part, output)
        folds = [self._fold(layer, x, value) for layer, value in zip(layers, values, strict=True)]
        self._folds = dict(zip(layers, folds, strict=True))
        kept = self.activations_and_grads
        if again:
            kept.activations, kept.gradients = values, [only(each, "") for each in gradients]
        else:
            kept.activations = [precise(fold(value)).cpu() for fold, value in zip(folds, values, strict=True)]
            kept.gradients = [precise(fold(value)).cpu() for fold, value in zip(folds, gradients, strict=False)]
        return x, targets

    def _channels(self, layer: nn.Module, value: Tensor) -> Array:
        """What a layer returned, or the gradients by it, as channels first ``(B, K, *grid)``, an array."""
        found: Array = precise(self._folds[layer](value.detach())).cpu().numpy()
        return found

    def _targets(self, output: Any, targets: Any, images: int) -> Any:
        if targets is None:
            return predicted(output) if self.uses_gradients or self._runs_again else [nothing] * images
        if len(targets) != images:
            raise Error(f"{len(targets)} targets do not fit {images} images: give one for each image.")
        return targets

    _runs_again = False  # whether the method reads the target in further passes

    def _fold(self, layer: nn.Module, x: Tensor, value: Any) -> Callable[[Any], Tensor]:
        """What makes channels first ``(B, K, *grid)`` of what a layer returned."""
        if self.reshape_transform is not None:
            return self.reshape_transform
        grid = folded(self.model, layer, x.detach(), only(value, _name(layer)).shape)
        return lambda value: grid(only(value, _name(layer)))

    def _changes(self) -> Iterator[Any]:
        if self.tta_transforms is not None:
            yield from self.tta_transforms
        else:
            yield from itertools.starmap(_Change, itertools.product((False, True), (0.9, 1.0, 1.1)))

    def _augmented(self, change: Any, x: Tensor, targets: Any, eigen_smooth: bool) -> Array:
        cam = torch.from_numpy(self.forward(change.augment_image(x), targets, eigen_smooth))
        found: Array = change.deaugment_mask(cam[:, None])[:, 0].numpy()
        return found


class _Change:
    """A picture mirrored or not, and times a factor."""

    def __init__(self, mirrored: bool, factor: float) -> None:
        self.mirrored, self.factor = mirrored, factor

    def augment_image(self, x: Tensor) -> Tensor:
        return (x.flip(-1) if self.mirrored else x) * self.factor

    def deaugment_mask(self, maps: Tensor) -> Tensor:
        return maps.flip(-1) if self.mirrored else maps


def _name(layer: nn.Module) -> str:
    return type(layer).__name__


def _detached(values: Sequence[Any]) -> list[Any]:
    return [value.detach() if isinstance(value, Tensor) else value for value in values]


def _differentiable(twice: bool) -> AbstractContextManager[None]:
    """For the time of a block attention is computed in steps that can be differentiated twice, if that is asked."""
    return sdpa_kernel(SDPBackend.MATH) if twice else nullcontext()


def _warn_of_nothing(cam: Array, grads: Any, layer: nn.Module) -> None:
    """Says which pictures' maps are blank, and why: a blank map looks as if nothing had been found."""
    blank = [str(image) for image, each in enumerate(cam) if not each.max() > 0]
    if not blank:
        return
    which = f"the map of {type(layer).__name__} is blank for image{'s' * (len(blank) > 1)} {', '.join(blank)}: "
    if grads is not None and not grads.any():
        why = "its positions have no gradient (behind a transformer's last block only the class token counts)"
        warnings.warn(f"{which}{why}; take an earlier layer.", stacklevel=5)
    else:
        warnings.warn(f"{which}nothing there speaks for the target.", stacklevel=5)
