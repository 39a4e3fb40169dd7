"""What makes channels first ``(B, K, h, w)`` of a layer's output; of transformers none is needed here."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from wherefore.errors import Error


def vit_reshape_transform(tensor: Tensor, height: int = 14, width: int = 14) -> Tensor:
    """Tokens ``(B, 1 + h·w, K)`` without the first, the class token."""
    return swinT_reshape_transform(tensor[:, 1:], height, width)


def swinT_reshape_transform(tensor: Tensor, height: int = 7, width: int = 7) -> Tensor:
    """Tokens ``(B, h·w, K)``."""
    if tensor.ndim != 3 or tensor.shape[1] != height * width:
        raise Error(
            f"the layer returns {tuple(tensor.shape)}, not {height}x{width} tokens: give height= and width=, or no "
            "reshape_transform at all."
        )
    return tensor.unflatten(1, (height, width)).movedim(-1, 1)


def fasterrcnn_reshape_transform(x: Mapping[str, Tensor]) -> Tensor:
    """The absolute values of all levels of a feature pyramid as channels, at the size of the level ``pool``."""
    size = x["pool"].shape[-2:]
    return torch.cat([interpolate(level.abs(), size, mode="bilinear") for level in x.values()], 1)
