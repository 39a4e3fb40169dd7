"""Seeds: the few cells of a grid whose class a classifier's maps make sure of (Kolesnikov & Lampert 2016).

They are ``(h, w)`` of uint8 like a `Sample.segmentation`: 0 background, 1 + class, `VOID` where nothing is said.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from wherefore.capture import Capture
from wherefore.datasets import VOID, Array
from wherefore.explainer import Explainer
from wherefore.imaging import resample

FOREGROUND = 0.2  # of a map's maximum
BACKGROUND = 0.1  # of the cells


def class_maps(why: Explainer, images: Tensor, present: Array, grid: int) -> Iterator[dict[int, Array]]:
    """For each image the map ``(grid, grid)`` of every class that is ``present`` ``(B, C)``, raw, stretched bilinearly.

    ``images`` are fed as they are. In one call of the explainer: images with fewer classes repeat one.
    """
    classes = [np.flatnonzero(row).tolist() for row in present]
    most = max(map(len, classes))
    if not most:
        yield from ({} for _ in classes)
        return
    asked = [(own or [0]) + (own or [0])[:1] * (most - max(len(own), 1)) for own in classes]
    found = why(images.contiguous(), asked).maps  # cam does not see through the pooling of channels-last tensors
    assert isinstance(found, Tensor)
    maps = resample(found, (grid, grid)).cpu().numpy()
    for own, each in zip(classes, maps, strict=True):
        yield dict(zip(own, each[: len(own)], strict=True))


def foreground(heat: Array, threshold: float = FOREGROUND) -> Array:
    """Which cells ``(h, w)`` of a class's map are above a share of its maximum; none of a map without evidence."""
    return heat > threshold * max(float(heat.max()), 0.0)


def saliency(net: nn.Module, layer: str, images: Tensor) -> Array:
    """How much all classes together depend on each place of an early layer, ``(B, h, w)``, before `background`.

    The largest |d sum_c y_c / dA| over the layer's channels (Simonyan et al. 2013, section 3).
    """
    with Capture(net, layer) as seen:
        scores = seen(images)
        gradients = torch.cat([*seen.gradients(scores.sum(1, keepdim=True))], 1)[:, 0]
    found: Array = gradients.abs().amax(1).cpu().numpy()
    return found


def background(values: Array, share: float = BACKGROUND) -> Array:
    """Which cells ``(h, w)`` are the least salient: the lowest tenth behind a 3x3 median, int(0.1 h w) of them."""
    smooth = ndimage.median_filter(values, 3, mode="nearest")
    found = np.zeros(values.size, bool)
    found[np.argsort(smooth, axis=None, kind="stable")[: int(share * values.size)]] = True
    return found.reshape(values.shape)


def together(things: dict[int, Array], behind: Array, yielding: Collection[int] = ()) -> Array:
    """The seeds ``(h, w)`` of the foreground of each class and of the background, no cell having two.

    A thing lies over the background, and of two things the smaller one over the larger. Classes that are ``yielding``
    lie under the background; none in SEC's own seeds, boat and train in a later version of them.
    """
    seeds = np.full(behind.shape, VOID, np.uint8)
    by_size = sorted(things, key=lambda c: -int(things[c].sum()))
    for number in [c for c in by_size if c in yielding]:
        seeds[things[number]] = 1 + number
    seeds[behind] = 0
    for number in [c for c in by_size if c not in yielding]:
        seeds[things[number]] = 1 + number
    return seeds


# -------------------------------------------------------------------------------------------- how good they are


class Tally(NamedTuple):
    """Cells that are seeded rightly, seeded, and true; void left out."""

    right: int
    seeded: int
    true: int


def tallies(seeds: Array, truth: Array) -> dict[str, Tally]:
    """The `Tally` of ``foreground`` and ``background`` of one picture, from seeds and true classes ``(h, w)``."""
    known = truth != VOID
    right = known & (seeds == truth)
    sides = {"foreground": (seeds != 0) & (seeds != VOID), "background": seeds == 0}
    true = {"foreground": truth != 0, "background": truth == 0}
    return {
        name: Tally(*(int((known & mask).sum()) for mask in (right & seeded, seeded, true[name])))
        for name, seeded in sides.items()
    }


def unseeded(seeds: Array, present: Array) -> int:
    """How many of the classes that are ``present`` ``(C,)`` in a picture have no cell of its seeds ``(h, w)``."""
    return len({1 + number for number in np.flatnonzero(present).tolist()} - set(np.unique(seeds).tolist()))


def precision(counts: Any) -> float:
    """The share of the seeded cells that are right, over all `Tally`s together; NaN for none."""
    right, seeded, _ = np.sum(np.asarray(counts), 0)
    return float(right / seeded) if seeded else float("nan")


def recall(counts: Any) -> float:
    """The share of the true cells that are seeded rightly, over all `Tally`s together; NaN for none."""
    right, _, true = np.sum(np.asarray(counts), 0)
    return float(right / true) if true else float("nan")
