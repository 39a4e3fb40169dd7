"""Grad-CAM of a layer, its enlargement, and guided Grad-CAM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.utils._pytree import tree_leaves

from wherefore.compat.captum.attr.gradients import GradientAttribution, gradients
from wherefore.compat.captum.attr.running import (
    Attribution,
    Refused,
    arguments,
    as_module,
    as_tuple,
    like_inputs,
    one_for_each,
    selected,
)
from wherefore.compat.seeing import Seen, folded
from wherefore.methods.cams import pooled
from wherefore.types import Grid


class LayerAttribution(Attribution):
    """A method that explains a layer. ``device_ids`` is taken and plays no part: one device computes."""

    def __init__(
        self, forward_func: Callable[..., Any], layer: nn.Module, device_ids: Sequence[int] | None = None
    ) -> None:
        super().__init__(forward_func)
        self.layer, self.device_ids = layer, device_ids

    @staticmethod
    def interpolate(
        layer_attribution: Tensor, interpolate_dims: int | tuple[int, ...], interpolate_mode: str = "nearest"
    ) -> Tensor:
        """Maps ``(B, 1, *grid)`` at ``interpolate_dims``; ``bilinear`` as in the papers, ``nearest`` by default."""
        return interpolate(layer_attribution, interpolate_dims, mode=interpolate_mode)


class LayerGradCam(LayerAttribution, GradientAttribution):
    """Grad-CAM of a layer at its own size (Selvaraju et al. 2020, eq. 1-2), signed unless ``relu_attributions``.

        LayerGradCam(model, model.layer4).attribute(images, target=281, relu_attributions=True)

    A layer of a transformer gives ``(B, 1, h, w)`` as its tokens lie in the picture.
    """

    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
        relu_attributions: bool = False,
        attr_dim_summation: bool = True,
        grad_kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """``(B, 1, *grid)``; ``(B, K, *grid)`` without summation; a tuple for a layer that returns several tensors."""
        if grad_kwargs:
            raise Refused("grad_kwargs has no counterpart here: leave it out.")
        net, given = as_module(self.forward_func, self.layer), as_tuple(inputs)
        with Seen(net, [self.layer], inputs=attribute_to_layer_input) as seen:
            output = seen(*given, *arguments(additional_forward_args))
            (slopes,) = seen.by(one_for_each(selected(output, target)))
            (values,) = seen.values
        several = isinstance(values, (tuple, list)) and not (attribute_to_layer_input and len(values) == 1)
        pairs = list(zip(tree_leaves(values), tree_leaves(slopes), strict=True))
        alone = len(given) == 1 and additional_forward_args is None and not several and not attribute_to_layer_input
        grid = folded(net, self.layer, given[0], pairs[0][0].shape) if alone else None
        found = [_weighted(*pair, grid, attr_dim_summation) for pair in pairs]
        found = [one.relu() if relu_attributions else one for one in found]
        return tuple(found) if several else found[0]


def _weighted(values: Tensor, slopes: Tensor, grid: Grid | None, summed: bool) -> Tensor:
    """The channels times their mean gradients, summed or not."""
    if grid is not None:
        values, slopes = grid(values), grid(slopes)
    if values.ndim > 2:
        slopes = pooled(slopes[:, None])[:, 0][(..., *[None] * (values.ndim - 2))]
    weighted = values * slopes
    return weighted.sum(1, keepdim=True) if summed else weighted


class GuidedGradCam(GradientAttribution):
    """Guided backpropagation times the enlarged Grad-CAM map (Selvaraju et al. 2020, section 3.2).

    ``interpolate_mode`` is ``nearest`` by default, as Captum's; the paper's is ``bilinear``.
    """

    def __init__(self, model: nn.Module, layer: nn.Module, device_ids: Sequence[int] | None = None) -> None:
        super().__init__(model)
        self.model, self.layer = model, layer
        self.grad_cam = LayerGradCam(model, layer, device_ids)

    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        interpolate_mode: str = "nearest",
        attribute_to_layer_input: bool = False,
    ) -> Any:
        """Tensors of the shapes of the inputs, signed. Raises `Error` where the map cannot be enlarged to an input."""
        maps = self.grad_cam.attribute(
            inputs, target, additional_forward_args, attribute_to_layer_input, relu_attributions=True
        )
        if not isinstance(maps, Tensor):
            raise Refused("guided Grad-CAM takes a layer that returns one tensor: choose such a layer.")
        pixels = gradients(self.model, inputs, target, additional_forward_args, "guided")
        return like_inputs(inputs, [each * _enlarged(maps, each, interpolate_mode) for each in pixels])


def _enlarged(maps: Tensor, like: Tensor, mode: str) -> Tensor:
    try:
        return LayerAttribution.interpolate(maps, tuple(like.shape[2:]), mode)
    except (ValueError, NotImplementedError, RuntimeError) as error:
        raise Refused(
            f"the map {tuple(maps.shape)} cannot be enlarged to an input {tuple(like.shape)} by {mode!r} "
            f"({str(error).splitlines()[0]}): pass that input as a further argument, or give another interpolate_mode."
        ) from error
