"""How much the score changes where pixels that a map marks are dimmed, or removed and filled in (ROAD)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wherefore.compat.pytorch_grad_cam.targets import Each
from wherefore.compat.pytorch_grad_cam.utils.image import Array
from wherefore.guard import prepared
from wherefore.metrics.imputation import NOISE, imputed

PERCENTILES = tuple(range(10, 100, 10))
Perturbation = Callable[[Tensor, Tensor], Tensor]


class PerturbationConfidenceMetric:
    """The scores ``(B,)`` of changed pictures less those of the pictures; ``return_diff=False``: of the changed ones.

    ``perturbation`` changes a picture ``(C, H, W)`` by its map ``(H, W)``. ``return_visualization`` adds the pictures.
    """

    def __init__(self, perturbation: Perturbation) -> None:
        self.perturbation = perturbation

    def __call__(
        self,
        input_tensor: Tensor,
        cams: Array,
        targets: Sequence[Callable[[Any], Tensor]],
        model: nn.Module,
        return_visualization: bool = False,
        return_diff: bool = True,
    ) -> Any:
        pairs = zip(input_tensor.detach().cpu(), torch.from_numpy(np.asarray(cams)), strict=True)
        changed = torch.stack([self.perturbation(*pair) for pair in pairs]).to(input_tensor)
        with prepared(model), torch.no_grad():
            scores = Each(targets).read(model(changed.clone()))
            if return_diff:
                scores = scores - Each(targets).read(model(input_tensor.clone()))
        found = scores.float().cpu().numpy()
        return (found, changed) if return_visualization else found


def multiply_tensor_with_cam(input_tensor: Tensor, cam: Tensor) -> Tensor:
    """The picture times its map."""
    return input_tensor * cam


class CamMultImageConfidenceChange(PerturbationConfidenceMetric):
    """The change of the score where the picture is multiplied by its map."""

    def __init__(self) -> None:
        super().__init__(multiply_tensor_with_cam)


class DropInConfidence(CamMultImageConfidenceChange):
    """How far the score falls then, at least 0."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return np.maximum(-super().__call__(*args, **kwargs), 0)


class IncreaseInConfidence(CamMultImageConfidenceChange):
    """1 where the score rises then, else 0."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return np.float32(super().__call__(*args, **kwargs) > 0)


class NoisyLinearImputer:
    """Fills in what is removed from a picture ``(C, H, W)``, where a mask ``(H, W)`` is 0 (Rong et al. 2022)."""

    def __init__(self, noise: float = NOISE) -> None:
        self.noise = noise

    def __call__(self, img: Tensor, mask: Tensor) -> Tensor:
        gone = mask == 0
        return imputed(img, gone) + self.noise * torch.randn_like(img) * gone


class RemoveMostRelevantFirst:
    """Removes all that lies at or above a percentile of the map."""

    def __init__(self, percentile: float, imputer: Perturbation) -> None:
        self.percentile, self.imputer = percentile, imputer

    def __call__(self, input_tensor: Tensor, mask: Tensor) -> Tensor:
        return self.imputer(input_tensor, (mask < np.percentile(mask.numpy(), self.percentile)).float())


class RemoveLeastRelevantFirst(RemoveMostRelevantFirst):
    """Removes all that lies at or above a percentile of one less the map."""

    def __call__(self, input_tensor: Tensor, mask: Tensor) -> Tensor:
        return super().__call__(input_tensor, 1 - mask)


class ROADMostRelevantFirst(PerturbationConfidenceMetric):
    """The change of the score without the most relevant pixels."""

    def __init__(self, percentile: float = 80) -> None:
        super().__init__(RemoveMostRelevantFirst(percentile, NoisyLinearImputer()))


class ROADLeastRelevantFirst(PerturbationConfidenceMetric):
    """The change of the score without the least relevant pixels."""

    def __init__(self, percentile: float = 20) -> None:
        super().__init__(RemoveLeastRelevantFirst(percentile, NoisyLinearImputer()))


class AveragerAcrossThresholds:
    """The mean of a metric over percentiles."""

    def __init__(self, imputer: Callable[[float], Any], percentiles: Sequence[float] = PERCENTILES) -> None:
        self.imputer, self.percentiles = imputer, percentiles

    def __call__(self, input_tensor: Tensor, cams: Array, targets: Any, model: nn.Module) -> Array:
        each = [self.imputer(percentile)(input_tensor, cams, targets, model) for percentile in self.percentiles]
        return np.mean(np.array(each, dtype=np.float32), axis=0)


class ROADMostRelevantFirstAverage(AveragerAcrossThresholds):
    """`ROADMostRelevantFirst` over percentiles."""

    def __init__(self, percentiles: Sequence[float] = PERCENTILES) -> None:
        super().__init__(ROADMostRelevantFirst, percentiles)


class ROADLeastRelevantFirstAverage(AveragerAcrossThresholds):
    """`ROADLeastRelevantFirst` over percentiles."""

    def __init__(self, percentiles: Sequence[float] = PERCENTILES) -> None:
        super().__init__(ROADLeastRelevantFirst, percentiles)


class ROADCombined:
    """(least relevant first - most relevant first) / 2."""

    def __init__(self, percentiles: Sequence[float] = PERCENTILES) -> None:
        self.percentiles = percentiles
        self.morf_averager = ROADMostRelevantFirstAverage(percentiles)
        self.lerf_averager = ROADLeastRelevantFirstAverage(percentiles)

    def __call__(self, input_tensor: Tensor, cams: Array, targets: Any, model: nn.Module) -> Array:
        arguments = input_tensor, cams, targets, model
        return (self.lerf_averager(*arguments) - self.morf_averager(*arguments)) / 2


class Complexity:
    """How much of the picture a map covers ``(B,)``, 0..1: the mean of its sizes (Poppi et al. 2021, eq. 3)."""

    def __call__(self, grayscale_cams: Array) -> Array:
        found: Array = np.abs(grayscale_cams).reshape(len(grayscale_cams), -1).mean(1)
        return found


class Coherency:
    """How like a map is that of the picture times it ``(B,)``, 0..1, by correlation (Poppi et al. 2021, eq. 2).

    Two maps of which one is the same everywhere have none: 0.5.
    """

    def __call__(
        self, input_tensor: Tensor, grayscale_cams: Array, targets: Any, model: nn.Module, base_method: Any
    ) -> Array:
        shown = input_tensor * torch.from_numpy(np.asarray(grayscale_cams))[:, None].to(input_tensor)
        again = base_method(input_tensor=shown, targets=targets)
        pairs = zip(np.asarray(again), np.asarray(grayscale_cams), strict=True)
        alike = [0.0 if min(a.std(), b.std()) == 0 else np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs]
        return (np.array(alike) + 1) / 2


class ARCC:
    """The harmonic mean ``(B,)`` of coherency, 1 - complexity, and twice ROAD between 0 and 1; 0 where one of them is.

    ``base_method`` makes the maps, and makes them once more of the pictures that they were laid on.
    """

    def __init__(self, base_method: Any, road_percentiles: Sequence[float] = (20, 40, 60, 80)) -> None:
        self.complexity, self.coherency = Complexity(), Coherency()
        self.road, self.base_method = ROADCombined(road_percentiles), base_method

    def __call__(self, input_tensor: Tensor, grayscale_cams: Array, targets: Any, model: nn.Module) -> Array:
        coherent = self.coherency(input_tensor, grayscale_cams, targets, model, self.base_method)
        road = self.road(input_tensor, grayscale_cams, targets, model)
        parts = np.stack([coherent, 1 - self.complexity(grayscale_cams), (2 * road).clip(0, 1)])
        found: Array = 3 / (1 / parts.clip(min=1e-8)).sum(0)
        return found
