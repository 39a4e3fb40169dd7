"""How well a map finds what it should: pure functions of maps, boxes and masks; no class keeps a state."""

from wherefore.metrics.energy import shares
from wherefore.metrics.localization import grabcut_box, iou, localized, smoothed
from wherefore.metrics.pointing import Accuracy, accuracy, hits
from wherefore.metrics.resampling import interval

__all__ = ["Accuracy", "accuracy", "grabcut_box", "hits", "interval", "iou", "localized", "shares", "smoothed"]
