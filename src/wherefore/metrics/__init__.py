"""How well a map finds what it should, and how true it is to its network: pure functions; no class keeps a state.

Those that compare explanations or run networks again are registered in `METRICS`: ``(e, samples, **options)`` gives a
value ``(B, T)`` for each picture and target, NaN where it is undefined.
"""

from wherefore.metrics.energy import shares
from wherefore.metrics.faithfulness import at_random, at_the_centre, average_drop, deletion, insertion
from wherefore.metrics.imputation import road
from wherefore.metrics.localization import grabcut_box, iou, localized, smoothed
from wherefore.metrics.occluding import occlusion_correlation
from wherefore.metrics.pointing import Accuracy, accuracy, hits
from wherefore.metrics.ranks import spearman
from wherefore.metrics.resampling import interval

__all__ = [
    "Accuracy", "accuracy", "at_random", "at_the_centre", "average_drop", "deletion", "grabcut_box", "hits",
    "insertion", "interval", "iou", "localized", "occlusion_correlation", "road", "shares", "smoothed", "spearman",
]  # fmt: skip
