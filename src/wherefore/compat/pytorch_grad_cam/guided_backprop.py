"""Guided backpropagation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from wherefore.compat.pytorch_grad_cam.targets import Each, predicted
from wherefore.compat.pytorch_grad_cam.utils.image import Array
from wherefore.compat.pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from wherefore.errors import Error
from wherefore.feeding import like
from wherefore.guard import unwrap
from wherefore.methods.gradients import guided_backprop
from wherefore.targets import choose
from wherefore.types import Chosen, Grid, Layer, Query


class GuidedBackpropReLUModel:
    """Guided backpropagation of one image, ``(H, W, C)``: what raises the score, through ReLUs that agree.

    Every ReLU counts, module or function, in place or not; none is replaced, and the model is left as it was found.
    """

    def __init__(self, model: nn.Module, device: Any = None) -> None:
        self.model = model if device is None else model.to(device)
        self.device = torch.device(device) if device is not None else like(model)[0] or torch.device("cpu")

    def forward(self, input_img: Tensor) -> Any:
        """The model's output."""
        return self.model(input_img)

    def __call__(self, input_img: Tensor, target_category: int | None = None) -> Array:
        """The signed pixels of a class, by default of the highest. Raises `Error` for more than one image."""
        if len(input_img) != 1:
            raise Error(
                f"GuidedBackpropReLUModel explains one image, not {len(input_img)}: call it for each, or take "
                "wherefore.explain(..., method='guided-backprop') for all at once."
            )

        def read(output: Any) -> Chosen:
            targets = predicted(output) if target_category is None else [ClassifierOutputTarget(target_category)]
            return choose(Each(targets), output)

        images = input_img.detach().to(self.device)
        whole = Layer("input", Grid("channels-first", tuple(images.shape[2:])), images.shape[1])
        pixels = guided_backprop(Query(unwrap(self.model), images, whole, read)).pixels
        assert pixels is not None
        found: Array = pixels[0, 0].movedim(0, -1).cpu().numpy()
        return found
