"""What the tests of experiments compare with: maps and boxes by hand; and runs that lose what they kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F

import wherefore as wf
from wherefore.datasets import Sample
from wherefore.experiments import Report, Settings, run


def squashed(model: wf.Model, sample: Sample) -> Tensor:
    """What the network is fed of a whole picture, ``(1, 3, H, W)``."""
    return replace(model.preprocess, squash=True)(sample.image)[None]  # type: ignore[type-var]


def grad_cam_by_hand(net: nn.Module, x: Tensor, layer: str, number: int) -> Tensor:
    """Eq. 1 and 2 of Grad-CAM, with a hook: ``(h, w)``."""
    kept: list[Tensor] = []
    handle = net.get_submodule(layer).register_forward_hook(lambda module, given, output: kept.append(output))
    for module in net.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    score = net(x)[0, number]
    handle.remove()
    (gradient,) = torch.autograd.grad(score, kept[0])
    return (gradient.mean((2, 3), keepdim=True) * kept[0]).sum(1).relu()[0].detach()


def enlarged(heat: Tensor, side: int) -> np.ndarray[Any, Any]:
    return F.interpolate(heat[None, None], (side, side), mode="bilinear", align_corners=False)[0, 0].double().numpy()


def box_by_hand(heat: np.ndarray[Any, Any]) -> tuple[int, int, int, int]:
    """Around the largest part above 15 % of the maximum, all of the picture for an empty map."""
    if heat.max() <= 0:
        return 0, 0, heat.shape[1] - 1, heat.shape[0] - 1
    labels, count = ndimage.label(heat >= 0.15 * heat.max(), np.ones((3, 3)))
    largest = max(range(1, count + 1), key=lambda i: int((labels == i).sum()))
    ys, xs = np.nonzero(labels == largest)
    return int(xs.min()), int(ys.min()), int(xs.max()), int(ys.max())


def iou_by_hand(a: Sequence[int], b: Sequence[int]) -> float:
    one = {(x, y) for x in range(a[0], a[2] + 1) for y in range(a[1], a[3] + 1)}
    other = {(x, y) for x in range(b[0], b[2] + 1) for y in range(b[1], b[3] + 1)}
    return len(one & other) / len(one | other)


def kept_again(name: str, settings: Settings, folder: Path) -> Report:
    """A report, which is the same when half of what was kept is lost."""
    report = run(name, settings, folder)
    files = sorted(folder.rglob("*.parquet"))
    assert files
    for file in files[::2]:
        file.unlink()
    assert run(name, settings, folder).json() == report.json()
    return report


def reported(name: str, folder: Path, limit: int = 3) -> dict[str, Any]:
    """What an experiment says of a few pictures, as JSON; the same when half of what was kept is lost; saved once."""
    report = kept_again(name, Settings(limit=limit), folder)
    assert report.save(folder / "page").is_file()
    return report.json()
