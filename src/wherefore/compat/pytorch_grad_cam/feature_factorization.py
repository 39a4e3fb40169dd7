"""Deep Feature Factorization: what a layer tells apart in pictures, without being asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wherefore.compat.pytorch_grad_cam.base_cam import BaseCAM, Reshape
from wherefore.compat.pytorch_grad_cam.utils.image import (
    Array,
    create_labels_legend,
    scale_cam_image,
    show_factorization_on_image,
)
from wherefore.errors import Error
from wherefore.feeding import like
from wherefore.guard import prepared


def dff(activations: Array, n_components: int = 5) -> tuple[Array, Array]:
    """Concepts ``(K, n)``, and where they are ``(B, n, *grid)``, of activations ``(B, K, *grid)``.

    All places of all pictures side by side are a matrix A ``(K, N)``, and A ≈ W·H with both not negative: a column of W
    is a concept, its row of H where it is (Collins et al. 2018, section 3). So that A is not negative either, every
    channel's lowest value is taken off, and is added to the concepts. NaN counts as 0; the array is left as it is.
    Raises `Error` where scikit-learn is missing.
    """
    try:
        from sklearn.decomposition import NMF  # type: ignore[import-untyped]
    except ImportError:
        raise Error("factorizing features needs scikit-learn: pip install scikit-learn.") from None
    pictures, channels, *grid = activations.shape
    rows = np.moveaxis(np.where(np.isnan(activations), 0, activations), 1, 0).reshape(channels, -1)
    lowest = rows.min(1, keepdims=True)
    model = NMF(n_components, init="random", random_state=0)
    concepts: Array = model.fit_transform(rows - lowest) + lowest
    places: Array = model.components_.reshape(n_components, pictures, *grid)
    return concepts, np.moveaxis(places, 0, 1)


class DeepFeatureFactorization(BaseCAM):
    """Deep Feature Factorization (Collins et al. 2018, arXiv 1806.10206) of what one layer returns, `dff`.

        concepts, explanations, scores = DeepFeatureFactorization(
            model, model.layer4, computation_on_concepts=model.fc
        )(images, n_components=5)

    ``concepts`` are ``(K, n)``; ``explanations`` a list of arrays ``(n, H, W)``, one for each image, each map from 0 to
    1; ``scores`` what ``computation_on_concepts`` makes of the concepts ``(n, K)``, left out without it. A layer of a
    transformer needs no ``reshape_transform``, and the model is in eval mode for the time of a call.
    """

    def __init__(
        self,
        model: nn.Module,
        target_layer: nn.Module,
        reshape_transform: Reshape = None,
        computation_on_concepts: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__(model, [target_layer], reshape_transform, uses_gradients=False)
        self.computation_on_concepts = computation_on_concepts

    def __call__(self, input_tensor: Tensor, n_components: int = 16) -> Any:  # type: ignore[override]
        self._look(input_tensor.detach().to(self.device), None)
        concepts, places = dff(self.activations_and_grads.activations[0].numpy(), n_components)
        size = self.get_target_width_height(input_tensor)
        explanations = [scale_cam_image(each, size) for each in places]
        if self.computation_on_concepts is None:
            return concepts, explanations
        rows = torch.from_numpy(concepts.T).to(self.device, like(self.model)[1])
        with prepared(self.model), torch.no_grad():
            found = self.computation_on_concepts(rows)
        return concepts, explanations, found.float().cpu().numpy()


def run_dff_on_image(
    model: nn.Module,
    target_layer: nn.Module,
    classifier: Callable[[Tensor], Tensor],
    img_pil: Any,
    img_tensor: Tensor,
    reshape_transform: Reshape = None,
    n_components: int = 5,
    top_k: int = 2,
) -> Array:
    """The picture, its concepts in colours and their classes side by side, ``(H, 3·W, 3)``, uint8.

    ``img_pil`` is as large as ``img_tensor`` ``(C, H, W)``; classes have the names of ``model.config.id2label``.
    """
    factorized = DeepFeatureFactorization(model, target_layer, reshape_transform, classifier)
    _, explanations, scores = factorized(img_tensor[None], n_components)
    named = create_labels_legend(torch.from_numpy(scores).softmax(-1).numpy(), model.config.id2label, top_k)  # type: ignore[union-attr, arg-type]
    picture = np.asarray(img_pil.convert("RGB"))
    shown = show_factorization_on_image(picture / 255, explanations[0], image_weight=0.3, concept_labels=named)
    return np.hstack((picture, shown))
