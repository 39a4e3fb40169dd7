"""Excitation backprop: where the signal of a winning class came from, passed down as probabilities.

Zhang et al., Top-down Neural Attention by Excitation Backprop, ECCV 2016
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from wherefore.backward import Excitation
from wherefore.capture import Capture
from wherefore.errors import Error
from wherefore.methods.cams import precise
from wherefore.registry import METHODS
from wherefore.types import Query, Raw

ASTRAY = 0.5  # of the signal


@METHODS("excitation", paper="Zhang et al. 2016, eq. 9-10", cost="1 forward, 1 backward per target", at="stage")
def excitation(query: Query) -> Raw:
    """Which positions made the class win: marginal winning probabilities, which sum to 1 (MWP, excitation backprop).

    p'_j = x_j sum_i w+_ij p_i / (sum_k w+_ik x_k), from p = 1 at the class, summed over channels: ``(B, T, *grid)``.
    What is missing to 1 met a place that nothing excites, ``measures["lost"]``, or went past the layer (where it is one
    branch of several). Negative inputs (residual sums, pooled normalised values) can give negative shares,
    ``measures["negative"]``. Raises `Error` for layers without a rule.
    """
    return _propagated(query, contrast=False)


@METHODS("c-mwp", paper="Zhang et al. 2016, section 3.3", cost="1 forward, 1 backward per target", at="stage")
def contrastive(query: Query) -> Raw:
    """Where the signal for the class exceeds that against it: contrastive excitation backprop.

    max(0, sum over channels of P+ - P-), P+ from W and P- from -W of the classifier, both through the layers below it
    by p'_j = x_j sum_i w+_ij p_i / (sum_k w+_ik x_k). ``(B, T, *grid)`` >= 0; sums to no fixed number.
    """
    return _propagated(query, contrast=True)


def _propagated(query: Query, contrast: bool) -> Raw:
    maps, lost, negative = [], [], []
    with Capture(query.net, query.layer.name, query.split) as seen:
        with Excitation() as rules:
            output = seen(query.images)
        chosen = query.choose(output)
        if not chosen.are_classes:
            raise Error("excitation backprop starts at a class: for other targets use the method grad-cam.")
        rules.contrast = contrast
        for score in chosen.scores.split(1, dim=1):
            rules.lost = rules.last = None
            (signal,) = seen.gradients(score)
            maps.append(precise(query.layer.grid(signal)).sum(2))
            lost.append(score.new_zeros(len(score)) if rules.lost is None else rules.lost)
            negative.append(-precise(signal).clamp(max=0).flatten(1).sum(1))
    result = torch.cat(maps, 1)
    if contrast:
        return Raw(result.clamp(min=0), chosen.detached())
    measures = {"lost": torch.stack(lost, 1).float(), "negative": torch.stack(negative, 1).float()}
    _warn_if_astray(query.layer.name, **measures)
    return Raw(result, chosen.detached(), measures=measures)


def _warn_if_astray(layer: str, lost: Tensor, negative: Tensor) -> None:
    """Warns where the map is none of probabilities, as behind MobileNetV2's linear bottlenecks with signed values."""
    gone, wrong = float(lost.abs().mean()), float(negative.mean())
    if max(gone - 1, wrong) > ASTRAY:  # all of it can be lost where nothing excites, more than all only by signs
        warnings.warn(
            f"on the way to layer {layer!r} excitation backprop lost {gone:.2f} of a signal of 1 and made {wrong:.2f} "
            "negative: the rule wants values of at least 0, and this network has others; a later layer= keeps more.",
            stacklevel=2,
        )
