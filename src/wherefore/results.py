"""What came out batch by batch, as one explanation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from wherefore import __version__
from wherefore.errors import Error
from wherefore.explanation import Explanation, Maps
from wherefore.inputs import Batch
from wherefore.types import Chosen, Layer, Model, Raw


def explanation(
    model: Model,
    batches: Sequence[Batch],
    results: Sequence[tuple[Layer, Raw]],
    settings: dict[str, Any],
    target: Any = None,
) -> Explanation:
    """The explanation of ``target`` on all images of some batches; ``settings`` say how it was made."""
    layer, raws = results[0][0], [raw for _, raw in results]
    if len({raw.chosen.scores.shape[1] for raw in raws}) != 1:
        raise Error("the images have different numbers of targets: give each as many.")
    same_grid = len({raw.maps.shape[2:] for raw in raws}) == 1
    return Explanation(
        maps=torch.cat([r.maps for r in raws]) if same_grid else [m for raw in raws for m in raw.maps],
        scores=torch.cat([r.chosen.scores for r in raws]).float(),
        targets=[names for r in raws for names in r.chosen.names],
        classes=torch.cat([r.chosen.classes for r in raws]),
        probabilities=torch.cat([r.chosen.probabilities for r in raws]),
        pictures=[picture for batch in batches for picture in batch.pictures],
        input_sizes=[_positions(b.images) for b in batches for _ in b.pictures],
        model=model,
        settings={
            **settings,
            "layer": layer.name,
            "grid": list(raws[0].maps.shape[2:]),
            "seed": torch.initial_seed(),
            "version": __version__,
            "torch": torch.__version__,
        },
        pixels=_joined([r.pixels for r in raws if r.pixels is not None]),
        patches=raws[0].patches,
        filled=[raw.filled for raw, batch in zip(raws, batches, strict=True) for _ in batch.pictures],
        marks=[row for raw, batch in zip(raws, batches, strict=True) for row in _marks(raw.chosen, batch.images)],
        against=_joined([r.against for r in raws if r.against is not None]),
        measures={name: torch.cat([r.measures[name] for r in raws]) for name in raws[0].measures},
        target=target,
    )


def _joined(parts: Sequence[Tensor]) -> Maps | None:
    """Tensors ``(B, ...)`` end to end; a list of their rows where the shapes differ; None for none."""
    if not parts:
        return None
    return torch.cat(list(parts)) if len({p.shape[1:] for p in parts}) == 1 else [row for p in parts for row in p]


def _marks(chosen: Chosen, images: Tensor) -> list[list[Tensor | None]]:
    """What is drawn of each target of each image: a box in shares of the input, a region, or nothing."""
    size = torch.tensor([images.shape[-1], images.shape[-2]] * 2)
    marks = [
        None if m is None else (m.where.cpu() / size if m.where.ndim == 2 and not m.relative else m.where.cpu())
        for m in chosen.marks
    ]
    return [[None if m is None else m[b] for m in marks] for b in range(len(images))]


def _positions(images: Tensor) -> tuple[int, ...]:
    """``(H, W)``, ``(t, H, W)`` or ``(L,)`` of what the network is fed."""
    return tuple(images.shape[2:] if images.is_floating_point() else images.shape[1:])
