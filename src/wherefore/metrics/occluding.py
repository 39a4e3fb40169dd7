"""Rank correlation with occlusion: does covering the picture cost most where a map is high?

Selvaraju et al. 2020, section 5.3. The paper names neither patch nor fill: patches of 32 of 224 pixels, every 16,
filled with the mean colour, are ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from wherefore.datasets.sample import Sample
from wherefore.errors import Error
from wherefore.explanation import Explanation
from wherefore.methods.perturbation import occlusion
from wherefore.metrics.agreement import spearman
from wherefore.metrics.rerunning import Rerun, blurred
from wherefore.registry import METRICS, unknown
from wherefore.types import Patches

CELLS = 14  # along a side of the map of a network's last layer, where its input is 224
FILLS = ("mean", "blur", "grey")
GREY = (128, 128, 128)


@METRICS("occlusion-correlation", better="higher", bounds=(-1, 1), paper="Selvaraju et al. 2020, section 5.3")
def occlusion_correlation(
    e: Explanation,
    samples: Sequence[Sample] = (),
    *,
    patch: int | None = None,
    stride: int | None = None,
    fill: str = "mean",
    cells: int | None = None,
) -> Tensor:
    """Spearman's correlation ``(B, T)`` of a map's mean in each patch with how much covering it lowers the score.

    Covered as `drops` covers. With ``cells`` it is over so many cells along each side, in place of patches: of a pixel
    the drop is the mean over the patches that cover it. 0 for a map, or drops, that are constant.
    """
    rows = []
    for image in range(len(e)):
        falls, patches = drops(e, image, patch=patch, stride=stride, fill=fill)
        pairs = zip(e.heats(image), falls, strict=True)
        rows.append([by_cells(*p, patches, cells) if cells else correlation(*p, patches) for p in pairs])
    return torch.tensor(rows)


def drops(
    e: Explanation, image: int, *, patch: int | None = None, stride: int | None = None, fill: str = "mean"
) -> tuple[Tensor, Patches]:
    """How much the score of each target falls when a patch is covered, ``(T, h, w)``, signed; and the patches.

    ``patch`` is by default a seventh of the shorter side of the network's input, ``stride`` half of that. ``fill``:
    ``mean`` is 0 in the network's input, the mean colour of the pictures that it was trained on; ``blur`` the picture
    itself under a Gaussian of half a patch; ``grey`` middle grey. The sweep over a picture is remembered for other
    classes and methods (see `wherefore.methods.perturbation`).
    """
    again = Rerun(e, image)
    side = min(again.x.shape[2:])
    covers = _cover(e, again, fill, (patch or round(side / 7)) / 2)
    raw = occlusion(again.query, patch=patch, stride=stride, fill=covers)
    assert raw.patches is not None
    return raw.maps[0], raw.patches


def correlation(heat: Tensor, falls: Tensor, patches: Patches) -> float:
    """The rank correlation of a map ``(H, W)``, averaged over each patch, with falls of the score ``(h, w)``."""
    means = F.avg_pool2d(heat[None].double(), patches.size, patches.stride)[0]
    return spearman(means.cpu(), falls.cpu())


def by_cells(heat: Tensor, falls: Tensor, patches: Patches, cells: int) -> float:
    """The rank correlation of a map ``(H, W)`` with falls of the score ``(h, w)``, both averaged over cells."""
    spread = patches.spread(falls.to(heat), (heat.shape[0], heat.shape[1]))
    means = F.adaptive_avg_pool2d(torch.stack([heat, spread]).double(), cells)
    return spearman(*means.cpu())


def _cover(e: Explanation, again: Rerun, fill: str, deviation: float) -> float | Tensor:
    if fill not in FILLS:
        raise Error(unknown("fill", fill, FILLS))
    if fill == "mean":
        return 0.0
    if fill == "blur":
        radius = min(round(2 * deviation), min(again.x.shape[2:]) - 1)
        return blurred(again.x[0], deviation, radius)
    if e.model.preprocess is None:
        raise Error("what is grey in the input of a network without preprocess= is not known: take fill='mean'.")
    height, width = again.x.shape[2:]
    grey = e.model.preprocess(Image.new("RGB", (width, height), GREY)).mean((1, 2), keepdim=True)
    return grey.to(again.x).expand_as(again.x[0])
