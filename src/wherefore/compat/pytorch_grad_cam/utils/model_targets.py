"""What is explained: functions from one image's output to one number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


class ClassifierOutputTarget:
    """The score of a class."""

    def __init__(self, category: int) -> None:
        self.category = category

    def __call__(self, model_output: Tensor) -> Tensor:
        return model_output[..., self.category]


class ClassifierOutputSoftmaxTarget(ClassifierOutputTarget):
    """The probability of a class, by softmax."""

    def __call__(self, model_output: Tensor) -> Tensor:
        return model_output.softmax(-1)[..., self.category]


class ClassifierOutputReST(ClassifierOutputTarget):
    """The score of a class plus the logarithm of its probability (arXiv 2501.06261)."""

    def __call__(self, model_output: Tensor) -> Tensor:
        return (model_output + model_output.log_softmax(-1))[..., self.category]


class BinaryClassifierOutputTarget:
    """The one score of a yes-no classifier: itself for category 1, negated for any other."""

    def __init__(self, category: int) -> None:
        self.category = category

    def __call__(self, model_output: Tensor) -> Tensor:
        return model_output if self.category == 1 else -model_output


class SoftmaxOutputTarget:
    """The probabilities, all of them: for outputs of one number."""

    def __call__(self, model_output: Tensor) -> Tensor:
        return model_output.softmax(-1)


class RawScoresOutputTarget:
    """The output as it is: for outputs of one number."""

    def __call__(self, model_output: Tensor) -> Tensor:
        return model_output


class SemanticSegmentationTarget:
    """The sum of a class's scores over the pixels of a mask ``(h, w)``, from scores ``(C, h, w)``."""

    def __init__(self, category: int, mask: Any) -> None:
        self.category, self.mask = category, torch.as_tensor(mask)

    def __call__(self, model_output: Tensor) -> Tensor:
        return (model_output[self.category] * self.mask.to(model_output.device)).sum()


class FasterRCNNBoxScoreTarget:
    """How well a detector still sees given boxes: of each the overlap with its best match plus that one's score.

    A box counts nothing whose best match overlaps no more than ``iou_threshold`` or is of another label. For one
    image's ``boxes, scores, labels``; ``(1,)``.
    """

    def __init__(self, labels: Sequence[Any], bounding_boxes: Any, iou_threshold: float = 0.5) -> None:
        self.labels, self.bounding_boxes, self.iou_threshold = labels, bounding_boxes, iou_threshold

    def __call__(self, model_outputs: Any) -> Tensor:
        from torchvision.ops import box_iou

        boxes: Tensor = model_outputs["boxes"]
        total = boxes.new_zeros(1)
        if len(boxes) == 0:
            return total
        wanted = torch.as_tensor(np.asarray(self.bounding_boxes)).to(boxes).reshape(-1, 4)
        for overlaps, label in zip(box_iou(wanted, boxes), self.labels, strict=True):
            best = overlaps.argmax()
            if overlaps[best] > self.iou_threshold and model_outputs["labels"][best] == label:
                total = total + overlaps[best] + model_outputs["scores"][best]
        return total


class FinerWeightedTarget:
    """How far a class's score is above those of others: their mean by probability of y_main - alpha · y_other."""

    def __init__(self, main_category: int, comparison_categories: Sequence[int], alpha: float) -> None:
        self.main_category, self.comparison_categories, self.alpha = main_category, comparison_categories, alpha

    def __call__(self, model_output: Tensor) -> Tensor:
        others = list(self.comparison_categories)
        shares = model_output.softmax(-1)[..., others]
        above = model_output[..., [self.main_category]] - self.alpha * model_output[..., others]
        return (shares * above).sum(-1) / (shares.sum(-1) + 1e-9)
