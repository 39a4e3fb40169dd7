"""Pixel methods: gradients of a score by the pixels, plain or with another rule at the ReLUs, and their products with
Grad-CAM.

``pixels`` ``(B, T, C, H, W)`` is the signed result, the map its largest absolute value over channels. Each target is a
backward pass through the whole network; all share one forward pass and its graph. References:

    Simonyan et al., Deep Inside Convolutional Networks, 2013
    Zeiler & Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014
    Springenberg et al., Striving for Simplicity: The All Convolutional Net, 2014
    Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, IJCV 2020
"""

from __future__ import annotations

from torch import Tensor

from wherefore.backward import Visible, rectified
from wherefore.capture import Capture
from wherefore.imaging import stretched
from wherefore.methods.cams import grad_cam_maps, precise
from wherefore.registry import METHODS
from wherefore.types import Chosen, Query, Raw

WHOLE = {"cost": "1 forward, 1 backward per target", "graph": "whole"}


def pixel_gradients(query: Query, rule: str) -> tuple[Tensor, Chosen]:
    """The gradient of every target by the pixels, ``(B, T, C, H, W)``, with ``rule`` at the ReLUs."""
    with Capture(query.net, None, whole=True) as seen:
        with Visible():
            output = seen(query.images)
        chosen = query.choose(output)
        with rectified(chosen.scores, rule):
            gradients = seen.pixel_gradients(chosen.scores)
    return precise(gradients), chosen.detached()


def strongest(pixels: Tensor) -> Tensor:
    """The map of a pixel method: the largest absolute value over channels, ``(B, T, H, W)``."""
    return pixels.abs().amax(2)


@METHODS("gradient", paper="Simonyan et al. 2013, section 3", at="input", **WHOLE)
def gradient(query: Query, *, signed: bool = False, times_input: bool = False) -> Raw:
    """Which pixels would change the score fastest: the gradient, its largest absolute value over channels.

    M_ij = max_c |dy/dx_cij| (section 3.1), ``(B, T, H, W)`` >= 0, in units of the score per unit of the network's
    input. ``times_input``: dy/dx · x instead, in units of the score. ``signed``: the map is the sum over channels with
    its sign, not the largest absolute value.
    """
    pixels, chosen = pixel_gradients(query, "plain")
    if times_input:
        pixels = pixels * query.images[:, None]
    return Raw(pixels.sum(2) if signed else strongest(pixels), chosen, pixels)


@METHODS("deconvnet", paper="Zeiler & Fergus 2014, section 2.1", at="input", **WHOLE)
def deconvnet(query: Query) -> Raw:
    """The gradient with another rule at every ReLU: only positive gradients pass, whatever its input was.

    R_l = R_{l+1} · [R_{l+1} > 0]; max pooling goes back by its switches. Maps and pixels as of guided-backprop.
    """
    pixels, chosen = pixel_gradients(query, "deconv")
    return Raw(strongest(pixels), chosen, pixels)


@METHODS("guided-backprop", paper="Springenberg et al. 2014, fig. 1", at="input", **WHOLE)
def guided_backprop(query: Query) -> Raw:
    """The gradient through active ReLUs that receive positive gradients only: fine detail, hardly the class.

    R_l = R_{l+1} · [x_l > 0] · [R_{l+1} > 0]. Pixels ``(B, T, C, H, W)`` signed; maps ``(B, T, H, W)``: their largest
    absolute value over channels. Warns on networks without ReLUs, where it is the plain gradient.
    """
    pixels, chosen = pixel_gradients(query, "guided")
    return Raw(strongest(pixels), chosen, pixels)


@METHODS("guided-grad-cam", paper="Selvaraju et al. 2020, section 3.2", **WHOLE)
def guided_grad_cam(query: Query) -> Raw:
    """Fine detail that speaks for the target: guided backprop times the upsampled Grad-CAM map.

    L_guided = upsample(L_Grad-CAM) ∘ R_guided (fig. 2), bilinear, the map as it is (not normalised). Pixels
    ``(B, T, C, H, W)`` signed; maps ``(B, T, H, W)``. One graph serves both: plain above the layer, then guided.
    """
    return _times_grad_cam(query, "guided")


@METHODS("deconv-grad-cam", paper="Selvaraju et al. 2020, section 3.2", **WHOLE)
def deconv_grad_cam(query: Query) -> Raw:
    """The deconvnet picture times the upsampled Grad-CAM map; noisier than guided-grad-cam.

    L_deconv = upsample(L_Grad-CAM) ∘ R_deconv. Maps and pixels as of guided-grad-cam.
    """
    return _times_grad_cam(query, "deconv")


def _times_grad_cam(query: Query, rule: str) -> Raw:
    with Capture(query.net, query.layer.name, whole=True) as seen:
        with Visible():
            output = seen(query.images)
        chosen = query.choose(output)
        maps = grad_cam_maps(seen, query.layer, chosen)
        with rectified(chosen.scores, rule):
            gradients = precise(seen.pixel_gradients(chosen.scores))
    pixels = gradients * stretched(maps, tuple(query.images.shape[2:]))[:, :, None]
    return Raw(strongest(pixels), chosen.detached(), pixels)
