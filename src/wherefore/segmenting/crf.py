"""A fully connected CRF by mean field: neighbouring pixels, and those of like colour, take the same class.

    Krähenbühl & Koltun, Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials, NeurIPS 2011

The kernels are exact: every point is compared with every other. Lengths are in pixels of a picture of about 500;
``spacing`` says how many of these lie between two neighbouring points of the grid.
"""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

XY, RGB, NEAR = 80.0, 13.0, 3.0  # deviations: of place and colour in the bilateral kernel, of place in the Gaussian one
BILATERAL, GAUSSIAN = 10.0, 3.0  # weights of the two
ITERATIONS = 10
MOST = 12_500  # points that are compared with each other at test time: VOC's pictures reduced by 4
LEAST = 1e-5


def mean_field(logits: Tensor, pictures: Tensor, spacing: float = 12.0, iterations: int = ITERATIONS) -> Tensor:
    """The CRF's distribution ``(B, C, h, w)``, given logits of that shape and pictures ``(B, 3, h, w)`` in 0..255, or
    ``(1, 3, h, w)`` where all logits are of one picture.

    Q = softmax(-U), U = -logits; then ``iterations`` times Q = softmax(-U + 10 K~b Q + 3 K~g Q), K~ = D^-1/2 K D^-1/2,
    K_ij = exp(-|f_i - f_j|^2 / 2) with its diagonal, D its row sums. Kb compares places and colours, Kg places. Without
    a graph; on any device. ``spacing`` 12 is that of 41x41 cells.
    """
    with torch.no_grad(), torch.autocast(logits.device.type, enabled=False):
        logits = logits.float()
        height, width = logits.shape[2:]
        bilateral = _bilateral(pictures.float(), spacing)
        down, across = (_near(n, spacing).to(logits) for n in (height, width))
        q = logits.softmax(1).contiguous()
        for _ in range(iterations):
            alike = (q.view(len(pictures), -1, height * width) @ bilateral).view_as(q)  # kernels are symmetric
            q = (logits + BILATERAL * alike + GAUSSIAN * (down @ q @ across)).softmax(1)
        return q


def _bilateral(pictures: Tensor, spacing: float) -> Tensor:
    """The normalised kernel ``(B, h w, h w)`` of places and colours."""
    height, width = pictures.shape[2:]
    rows = torch.arange(height, device=pictures.device).view(1, 1, -1, 1).expand(len(pictures), 1, height, width)
    columns = torch.arange(width, device=pictures.device).view(1, 1, 1, -1).expand(len(pictures), 1, height, width)
    step = spacing / XY
    features = torch.cat([rows * step, columns * step, pictures / RGB], 1).flatten(2).mT
    features = features - features.mean(1, keepdim=True)  # near 0 the distances keep their digits
    return _normalised(torch.cdist(features, features).square_().mul_(-0.5).exp_())


def _near(length: int, spacing: float) -> Tensor:
    """The normalised kernel of places along one axis: that of two axes is their product."""
    places = torch.arange(length, dtype=torch.float32) * (spacing / NEAR)
    return _normalised((places[:, None] - places).square_().mul_(-0.5).exp_())


def _normalised(kernel: Tensor) -> Tensor:
    scale = kernel.sum(-1).rsqrt_()
    return kernel.mul_(scale[..., None]).mul_(scale[..., None, :])


# -------------------------------------------------------------------------------------------- at test time


class Refined(NamedTuple):
    """The distributions ``(R, C, H, W)`` that a CRF makes of predictions, and which CRF it was."""

    q: Tensor
    by: str


def refined(probabilities: Tensor, picture: Image.Image, spacing: float = 1.0) -> Refined:
    """What the CRF makes of R predictions, probabilities ``(R, C, h, w)`` of one picture, at the picture's own size.

    By pydensecrf where it is installed. Else by exact kernels on a grid of at most 12,500 points, a fourth of the width
    and height of VOC's pictures, stretched bilinearly; `Refined.by` says which. Probabilities are 1e-5 at least.
    """
    size = picture.height, picture.width
    unary = _stretched(probabilities, size).clamp(min=LEAST).log()
    try:
        dense = import_module("pydensecrf.densecrf")
    except ImportError:
        by = max(1, math.ceil(math.sqrt(picture.height * picture.width / MOST)))
        return Refined(_reduced(unary, picture, by, spacing), f"exact, reduced by {by}")
    return Refined(torch.stack([_filtered(dense, one, picture, spacing) for one in unary]), "pydensecrf")


def _reduced(logits: Tensor, picture: Image.Image, by: int, spacing: float) -> Tensor:
    """Mean field on a grid reduced by a whole number, and back."""
    small = math.ceil(picture.height / by), math.ceil(picture.width / by)
    pixels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)[None].to(logits)
    pixels, logits = (_stretched(x, small) for x in (pixels, logits))
    return _stretched(mean_field(logits, pixels, spacing * by), (picture.height, picture.width))


def _filtered(dense: Any, logits: Tensor, picture: Image.Image, spacing: float) -> Tensor:
    """Mean field by the filters of the original implementation (permutohedral lattice)."""
    classes, height, width = logits.shape
    field = dense.DenseCRF2D(width, height, classes)
    field.setUnaryEnergy(np.ascontiguousarray(-logits.flatten(1).cpu().numpy()))
    field.addPairwiseGaussian(sxy=NEAR / spacing, compat=GAUSSIAN)
    pixels = np.ascontiguousarray(picture.convert("RGB"))
    field.addPairwiseBilateral(sxy=XY / spacing, srgb=RGB, rgbim=pixels, compat=BILATERAL)
    q = np.array(field.inference(ITERATIONS), np.float32)
    return torch.from_numpy(q).view(classes, height, width).to(logits)


def _stretched(values: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(values, size, mode="bilinear", align_corners=False, antialias=True)
