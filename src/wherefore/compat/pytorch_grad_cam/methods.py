"""The methods by their names in pytorch-grad-cam, over the rules of `wherefore.methods`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wherefore.compat.pytorch_grad_cam.base_cam import BaseCAM, Reshape
from wherefore.compat.pytorch_grad_cam.rerunning import AblationCAM, ScoreCAM
from wherefore.compat.pytorch_grad_cam.targets import Each, predicted
from wherefore.compat.pytorch_grad_cam.utils.image import Array, scale_cam_image
from wherefore.compat.pytorch_grad_cam.utils.model_targets import FinerWeightedTarget
from wherefore.compat.pytorch_grad_cam.utils.svd_on_activations import (
    get_2d_projection,
    get_2d_projection_kernel,
    get_2d_projection_with_sign_correction,
)
from wherefore.guard import prepared, unwrap
from wherefore.imaging import stretched
from wherefore.methods import cams
from wherefore.methods.cams import unit
from wherefore.methods.gathered import full_gradients, recorded
from wherefore.targets import choose
from wherefore.types import Grid, Layer, Query


def ruled(rule: Callable[..., Any]) -> Callable[..., Array]:
    """``get_cam_weights`` by a rule of ours, from activations and gradients."""
    rule = inspect.unwrap(rule)

    def get_cam_weights(
        self: Any, input_tensor: Tensor, target_layers: nn.Module, targets: Any, activations: Array, grads: Array
    ) -> Array:
        weights: Tensor = rule(torch.from_numpy(activations), torch.from_numpy(grads)[:, None])
        found: Array = weights[:, 0].numpy()
        return found

    return get_cam_weights


class _Gradients(BaseCAM):
    """A method of activations and gradients."""

    def __init__(self, model: nn.Module, target_layers: Sequence[nn.Module], reshape_transform: Reshape = None) -> None:
        super().__init__(model, target_layers, reshape_transform)


class GradCAM(_Gradients):
    """Grad-CAM (Selvaraju et al. 2020, eq. 1-2)."""

    get_cam_weights = ruled(cams.grad_cam)


class HiResCAM(_Gradients):
    """HiResCAM (Draelos & Carin 2020, section 3), its positive part, as pytorch-grad-cam shows it."""

    get_cam_weights = ruled(cams.hires_cam)


class GradCAMPlusPlus(_Gradients):
    """Grad-CAM++ (Chattopadhay et al. 2018, eq. 10-19)."""

    get_cam_weights = ruled(cams.grad_cam_plus_plus)


class XGradCAM(_Gradients):
    """XGrad-CAM (Fu et al. 2020, eq. 8)."""

    get_cam_weights = ruled(cams.xgrad_cam)


class LayerCAM(_Gradients):
    """LayerCAM (Jiang et al. 2021, eq. 4-6)."""

    get_cam_weights = ruled(cams.layer_cam)


class EigenGradCAM(_Gradients):
    """The first component of the channels times their gradients, each less its mean."""

    get_cam_weights = ruled(cams.eigen_grad_cam)

    def get_cam_image(
        self,
        input_tensor: Tensor,
        target_layer: nn.Module,
        targets: Any,
        activations: Array,
        grads: Array,
        eigen_smooth: bool = True,
    ) -> Array:
        return super().get_cam_image(input_tensor, target_layer, targets, activations, grads, eigen_smooth=True)


class GradCAMElementWise(_Gradients):
    """The positive part of each channel times its gradients, summed."""

    def get_cam_weights(
        self, input_tensor: Tensor, target_layers: nn.Module, targets: Any, activations: Array, grads: Array
    ) -> Array:
        return np.where(grads * activations > 0, grads, 0)


class RandomCAM(_Gradients):
    """Weights drawn from -1 to 1 by numpy's global generator: what a method must be better than."""

    def get_cam_weights(
        self, input_tensor: Tensor, target_layers: nn.Module, targets: Any, activations: Array, grads: Array
    ) -> Array:
        return np.random.uniform(-1, 1, size=activations.shape[:2])


class EigenCAM(BaseCAM):
    """Eigen-CAM (Bany Muhammad & Yeasin 2020), of channels each less its mean; the target plays no part."""

    def __init__(self, model: nn.Module, target_layers: Sequence[nn.Module], reshape_transform: Reshape = None) -> None:
        super().__init__(model, target_layers, reshape_transform, uses_gradients=False)

    def get_cam_image(
        self,
        input_tensor: Tensor,
        target_layer: nn.Module,
        targets: Any,
        activations: Array,
        grads: Array,
        eigen_smooth: bool = False,
    ) -> Array:
        return get_2d_projection(activations)


class KPCA_CAM(EigenCAM):
    """KPCA-CAM (Karmani et al. 2024): the first component of kernel PCA, places being the rows."""

    def __init__(
        self,
        model: nn.Module,
        target_layers: Sequence[nn.Module],
        reshape_transform: Reshape = None,
        kernel: str = "sigmoid",
        gamma: float | None = None,
    ) -> None:
        super().__init__(model, target_layers, reshape_transform)
        self.kernel, self.gamma = kernel, gamma

    def get_cam_image(
        self,
        input_tensor: Tensor,
        target_layer: nn.Module,
        targets: Any,
        activations: Array,
        grads: Array,
        eigen_smooth: bool = False,
    ) -> Array:
        return get_2d_projection_kernel(activations, self.kernel, self.gamma)


class SegEigenCAM(_Gradients):
    """Seg-Eigen-CAM (Chung & Ying 2025, eq. 10-13): the first component of channels times their gradients' sizes."""

    def get_cam_image(
        self,
        input_tensor: Tensor,
        target_layer: nn.Module,
        targets: Any,
        activations: Array,
        grads: Array,
        eigen_smooth: bool = False,
    ) -> Array:
        return get_2d_projection_with_sign_correction(np.abs(grads) * activations)


class FEM(BaseCAM):
    """FEM (Fuad et al. 2020): a channel weighs by how many places are ``k`` deviations above its mean; no target."""

    def __init__(
        self, model: nn.Module, target_layers: Sequence[nn.Module], reshape_transform: Reshape = None, k: float = 2
    ) -> None:
        super().__init__(model, target_layers, reshape_transform, uses_gradients=False)
        self.k = k

    def get_cam_weights(
        self, input_tensor: Tensor, target_layers: nn.Module, targets: Any, activations: Array, grads: Array
    ) -> Array:
        grid = tuple(range(2, activations.ndim))
        most = activations.mean(grid, keepdims=True) + self.k * activations.std(grid, keepdims=True)
        weights: Array = (activations > most).mean(grid)
        return weights


# -------------------------------------------------------------------------------------------- others


class FullGrad(BaseCAM):
    """FullGrad (Srinivas & Fleuret 2019, eq. 4-6): the input's share and every bias's; ``target_layers`` plays no part.

    Each layer's shares are scaled together, as the authors' code does, and each bias meets its own gradient.
    """

    def __init__(self, model: nn.Module, target_layers: Sequence[nn.Module], reshape_transform: Reshape = None) -> None:
        super().__init__(model, [], reshape_transform)

    def forward(self, input_tensor: Tensor, targets: Any, eigen_smooth: bool = False) -> Array:
        x = input_tensor.detach().to(self.device)
        net, axes = unwrap(self.model), tuple(range(1, x.ndim))
        size = tuple(side // 8 for side in x.shape[2:]) if eigen_smooth else tuple(x.shape[2:])

        def read(output: Any) -> Any:
            self.outputs = output.detach()
            return choose(Each(self._targets(output, targets, len(x))), output)

        whole = Layer("layers", Grid("channels-first", tuple(x.shape[2:])), x.shape[1])
        query = Query(net, x, whole, read)
        with recorded(query) as (seen, chosen, calls):
            (terms,) = full_gradients(query, seen, chosen, calls)
            shown = [unit(term.abs(), axes) for term in terms if term.ndim == x.ndim]
            if eigen_smooth:
                channels = torch.cat([stretched(one, size) for one in shown], 1).cpu().numpy()
                return scale_cam_image(np.maximum(get_2d_projection(channels), 0), tuple(x.shape[:1:-1]))
            total = torch.stack([stretched(one.sum(1), size) for one in shown]).sum(0)
        return scale_cam_image(total.cpu().numpy())


class FinerCAM:
    """Finer-CAM (Zhang et al. 2025): what tells a class from those most like it, by any method of gradients.

    Without ``targets`` the class is ``target_idx``, else the highest of each image, and it is compared with the
    classes of nearest scores, those at the places ``comparison_categories`` of their order: (1, 2, 3) by default.
    """

    def __init__(
        self,
        model: nn.Module,
        target_layers: Sequence[nn.Module],
        reshape_transform: Reshape = None,
        base_method: Any = GradCAM,
    ) -> None:
        self.base_cam = base_method(model, target_layers, reshape_transform)
        self.compute_input_gradient = self.base_cam.compute_input_gradient
        self.uses_gradients = self.base_cam.uses_gradients

    def __call__(self, *args: Any, **kwargs: Any) -> Array:
        return self.forward(*args, **kwargs)

    def forward(
        self,
        input_tensor: Tensor,
        targets: Any = None,
        eigen_smooth: bool = False,
        alpha: float = 1,
        comparison_categories: Sequence[int] | None = None,
        target_idx: int | None = None,
    ) -> Array:
        """The maps ``(B, H, W)`` of images ``(B, C, H, W)``."""
        if targets is None:
            places = (1, 2, 3) if comparison_categories is None else comparison_categories
            targets = self._compared(input_tensor, alpha, places, target_idx)
        found: Array = self.base_cam.forward(input_tensor, targets, eigen_smooth)
        return found

    def _compared(self, x: Tensor, alpha: float, places: Sequence[int], target: int | None) -> list[Any]:
        with prepared(self.base_cam.model), torch.no_grad():
            output = self.base_cam.model(x.detach().to(self.base_cam.device))
        mains = [each.category if target is None else target for each in predicted(output)]
        found = []
        for scores, main in zip(output, mains, strict=True):
            distance = (scores - scores[main]).abs()
            distance[main] = -1  # the class itself comes first, whatever equals it
            order = distance.argsort().tolist()
            found.append(FinerWeightedTarget(main, [order[place] for place in places if place < len(order)], alpha))
        return found

    def __enter__(self) -> FinerCAM:
        return self

    def __exit__(self, *error: Any) -> None:
        self.base_cam.activations_and_grads.release()


class RefineCAM:
    """The product of the maps of several layers: early ones sharp, late ones sure."""

    def __init__(
        self,
        model: nn.Module,
        target_layers: Sequence[nn.Module],
        reshape_transform: Reshape = None,
        base_method: Any = GradCAMPlusPlus,
        **kwargs: Any,
    ) -> None:
        self.base_cam_per_layer = [base_method(model, [layer], reshape_transform, **kwargs) for layer in target_layers]

    def __call__(self, *args: Any, **kwargs: Any) -> Array:
        return self.forward(*args, **kwargs)

    def forward(self, input_tensor: Tensor, targets: Any = None, eigen_smooth: bool = False) -> Array:
        """The maps ``(B, H, W)`` of images ``(B, C, H, W)``."""
        maps = [cam(input_tensor, targets, eigen_smooth=eigen_smooth) for cam in self.base_cam_per_layer]
        return scale_cam_image(np.prod(maps, axis=0))


__all__ = [
    "FEM",
    "KPCA_CAM",
    "AblationCAM",
    "EigenCAM",
    "EigenGradCAM",
    "FinerCAM",
    "FullGrad",
    "GradCAM",
    "GradCAMElementWise",
    "GradCAMPlusPlus",
    "HiResCAM",
    "LayerCAM",
    "RandomCAM",
    "RefineCAM",
    "ScoreCAM",
    "SegEigenCAM",
    "XGradCAM",
]
