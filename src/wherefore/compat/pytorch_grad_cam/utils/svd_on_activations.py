"""The first principal component of channels, also in the space of a kernel."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from wherefore.compat.pytorch_grad_cam.utils.image import Array
from wherefore.errors import Error
from wherefore.methods.cams import first_component

# Of rows x and a scale, as scikit-learn defines them.
KERNELS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "linear": lambda x, _: x @ x.mT,
    "poly": lambda x, gamma: (gamma * x @ x.mT + 1) ** 3,
    "rbf": lambda x, gamma: torch.exp(-gamma * torch.cdist(x, x) ** 2),
    "sigmoid": lambda x, gamma: torch.tanh(gamma * x @ x.mT + 1),
    "cosine": lambda x, _: F.normalize(x, dim=-1) @ F.normalize(x, dim=-1).mT,
}


def get_2d_projection(activation_batch: Array) -> Array:
    """Channels ``(B, K, *grid)``, each less its mean, along their first principal direction, ``(B, *grid)``; float32.

    Of the two signs, between which a singular value decomposition chooses by chance, the one that agrees with the sum
    over channels. NaN counts as 0; the array is left as it is.
    """
    return first_component(_centred(activation_batch)[:, None])[:, 0].float().numpy()


def get_2d_projection_with_sign_correction(activation_batch: Array) -> Array:
    """The same with the sign by which the value farthest from 0 is positive (Chung & Ying 2025, eq. 13)."""
    found = torch.from_numpy(get_2d_projection(activation_batch))
    values = found.flatten(1)
    turned = values.amin(1).abs() > values.amax(1).abs()
    return torch.where(turned[(..., *[None] * (found.ndim - 1))], -found, found).numpy()


def get_2d_projection_kernel(activation_batch: Array, kernel: str = "sigmoid", gamma: float | None = None) -> Array:
    """The same along the first direction of kernel PCA (Karmani et al. 2024), places being the rows, ``(B, *grid)``.

    ``gamma`` is 1 / K if it is not given. Raises `Error` for a kernel that is none of `KERNELS`.
    """
    if kernel not in KERNELS:
        raise Error(f"kernel is {', '.join(KERNELS)}, not {kernel}.")
    channels = _centred(activation_batch)
    rows = channels.flatten(2).mT  # (B, N, K)
    products = KERNELS[kernel](rows, 1 / rows.shape[2] if gamma is None else gamma)
    products = products - products.mean(1, keepdim=True) - products.mean(2, keepdim=True) + products.mean((1, 2), True)
    values, vectors = torch.linalg.eigh(products)
    found = vectors[..., -1] * values[:, -1:].clamp(min=0).sqrt()
    agrees = (found * rows.sum(2)).sum(1, keepdim=True) >= 0
    return torch.where(agrees, found, -found).unflatten(1, channels.shape[2:]).float().numpy()


def _centred(activation_batch: Array) -> Tensor:
    channels = torch.from_numpy(activation_batch).double().nan_to_num(nan=0.0)
    return channels - channels.flatten(2).mean(2)[(..., *[None] * (channels.ndim - 2))]
