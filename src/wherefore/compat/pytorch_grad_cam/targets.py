"""Targets of pytorch-grad-cam, functions of one image's output, as ours read a whole batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from wherefore.compat.pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from wherefore.errors import Error
from wherefore.types import Block, Score, Target


class Each(Target):
    """A target for each image: what is asked of it, a function of its part of the output."""

    def __init__(self, targets: Sequence[Callable[[Any], Tensor]]) -> None:
        self.targets = targets

    def bind(self, output: Any, names: Sequence[str] | None) -> Block:
        return Score(self.read, "target")

    def read(self, output: Any) -> Tensor:
        """The scores ``(B,)``, or ``(n·B,)`` of an output for n copies of the batch."""
        parts = output if isinstance(output, (Tensor, list, tuple)) else None
        if parts is None or len(parts) == 0 or len(parts) % len(self.targets):
            raise Error(
                f"the model returns a {type(output).__name__} that has no part for each image: wrap it in a module "
                "that returns scores (B, C)."
            )
        copies = len(parts) // len(self.targets)
        pairs = zip([*self.targets] * copies, parts, strict=True)
        return torch.stack([_one(target, target(part)) for target, part in pairs])


def _one(target: Any, score: Any) -> Tensor:
    if not isinstance(score, Tensor) or score.numel() != 1:
        name = getattr(target, "__name__", type(target).__name__)
        got = tuple(score.shape) if isinstance(score, Tensor) else type(score).__name__
        raise Error(f"the target {name} must return one number for an image, not {got}.")
    return score.reshape(())


def predicted(output: Any) -> list[ClassifierOutputTarget]:
    """The class with the highest score of each image."""
    if not isinstance(output, Tensor) or output.ndim != 2:
        got = tuple(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise Error(f"the model returns {got}, not scores (B, C): say with targets= what is to be explained.")
    return [ClassifierOutputTarget(int(category)) for category in output.argmax(1)]


def nothing(output: Any) -> Tensor:
    """The target of methods that have none."""
    return torch.zeros(())
