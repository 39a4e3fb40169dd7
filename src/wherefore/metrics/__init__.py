"""How good a map is: pure functions of maps, boxes and masks; no class keeps a state.

A metric ``(explanation, samples) -> (B, T)`` gives a value for each target of each picture, NaN where it is undefined;
``@METRICS("pointing", better="higher", bounds=(0, 1), paper="...")`` registers it.
"""

from wherefore.metrics.agreement import pearson, spearman
from wherefore.metrics.energy import area_box, area_mask, energy_box, energy_mask, shares
from wherefore.metrics.localization import box_iou, grabcut_box, iou, localization, localized, smoothed
from wherefore.metrics.pointing import Accuracy, accuracy, difficult, hits, pointing
from wherefore.metrics.resampling import interval
from wherefore.registry import METRICS

__all__ = [
    "METRICS",
    "Accuracy",
    "accuracy",
    "area_box",
    "area_mask",
    "box_iou",
    "difficult",
    "energy_box",
    "energy_mask",
    "grabcut_box",
    "hits",
    "interval",
    "iou",
    "localization",
    "localized",
    "pearson",
    "pointing",
    "shares",
    "smoothed",
    "spearman",
]
