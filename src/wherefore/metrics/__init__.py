"""How good a map is: pure functions of maps, boxes and masks; no class keeps a state.

A metric ``(explanation, samples) -> (B, T)`` gives a value for each target of each picture, NaN where it is undefined;
``@METRICS("pointing", better="higher", bounds=(0, 1), paper="...")`` registers it.
`wherefore.metrics.summary` says what is said of many.
"""

from wherefore.metrics.agreement import (
    adjacent_similarity,
    class_separation,
    hog_correlation,
    pearson,
    spearman,
    ssim,
    within_and_across,
)
from wherefore.metrics.energy import area_box, area_mask, energy_box, energy_mask, shares
from wherefore.metrics.faithfulness import at_random, at_the_centre, average_drop, deletion, increase, insertion
from wherefore.metrics.imputation import road
from wherefore.metrics.localization import (
    box_iou,
    box_right,
    errors,
    grabcut_box,
    iou,
    localized,
    max_box_accuracy,
    mean_box,
    share_box,
    smoothed,
    smoothed_box,
    sweep,
)
from wherefore.metrics.occluding import occlusion_correlation
from wherefore.metrics.pointing import Accuracy, accuracy, difficult, hits, pointing_game
from wherefore.metrics.rejection import Claim, with_rejection
from wherefore.metrics.resampling import interval
from wherefore.metrics.segmentation import confusion, mean_iou
from wherefore.metrics.summary import Summary, Verdict, bootstrapped, difference, ordering, summary_by_class
from wherefore.registry import METRICS

__all__ = [
    "METRICS", "Accuracy", "Claim", "Summary", "Verdict", "accuracy", "adjacent_similarity", "area_box", "area_mask",
    "at_random", "at_the_centre", "average_drop", "bootstrapped", "box_iou", "box_right", "class_separation",
    "confusion", "deletion", "difference", "difficult", "energy_box", "energy_mask", "errors", "grabcut_box", "hits",
    "hog_correlation", "increase", "insertion", "interval", "iou", "localized", "max_box_accuracy", "mean_box",
    "mean_iou", "occlusion_correlation", "ordering", "pearson", "pointing_game", "road", "share_box", "shares",
    "smoothed", "smoothed_box", "spearman", "ssim", "summary_by_class", "sweep", "with_rejection",
    "within_and_across",
]  # fmt: skip
