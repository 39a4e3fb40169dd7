"""How well a map finds what it should: pure functions of maps, boxes and masks; no class keeps a state."""

from wherefore.metrics.energy import shares
from wherefore.metrics.localization import grabcut_box, iou, localized, smoothed
from wherefore.metrics.pointing import Accuracy, accuracy, hits
from wherefore.metrics.resampling import interval
from wherefore.metrics.segmentation import confusion, mean_iou

__all__ = [
    "Accuracy", "accuracy", "confusion", "grabcut_box", "hits", "interval", "iou", "localized", "mean_iou", "shares",
    "smoothed",
]  # fmt: skip
