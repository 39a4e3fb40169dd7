"""The first principal component of channels."""

from __future__ import annotations

import torch

from wherefore.compat import refused
from wherefore.compat.pytorch_grad_cam.utils.image import Array
from wherefore.methods.cams import first_component

get_2d_projection_kernel = refused("get_2d_projection_kernel", "get_2d_projection takes the plain component")


def get_2d_projection(activation_batch: Array) -> Array:
    """Channels ``(B, K, *grid)``, each less its mean, along their first principal direction, ``(B, *grid)``; float32.

    Of the two signs, between which a singular value decomposition chooses by chance, the one that agrees with the sum
    over channels. NaN counts as 0; the array is left as it is.
    """
    channels = torch.from_numpy(activation_batch).double().nan_to_num(nan=0.0)
    centred = channels - channels.flatten(2).mean(2)[(..., *[None] * (channels.ndim - 2))]
    return first_component(centred[:, None])[:, 0].float().numpy()


get_2d_projection_with_sign_correction = get_2d_projection
