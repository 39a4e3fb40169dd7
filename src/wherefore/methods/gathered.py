"""Methods that gather from many layers of one pass: Winsor-CAM and FullGrad.

Wall et al., Winsor-CAM: Human-Tunable Visual Explanations via Layer-Wise Winsorization, TPAMI 2026 (2507.10846)
Srinivas & Fleuret, Full-Gradient Representation for Neural Network Visualization, NeurIPS 2019
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from wherefore.backward import WEIGHTED
from wherefore.capture import Capture
from wherefore.errors import Error
from wherefore.imaging import stretched
from wherefore.methods.cams import pooled, precise, summed, unit
from wherefore.registry import METHODS
from wherefore.types import Chosen, Query, Raw


class Call(NamedTuple):
    """A call of a weighted or normalising function: its result, and what it adds that no input takes part in."""

    result: Tensor
    bias: Tensor | None  # (K,)
    convolves: bool
    last: bool  # whether the channels lie in the last dimension, as a matrix's do


class Recorded(TorchFunctionMode):
    """The calls of convolutions, matrices and batch norms inside the block, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if (name in WEIGHTED or name == "batch_norm") and isinstance(result, Tensor) and result.requires_grad:
            find = _norm_bias if name == "batch_norm" else _bias
            bias = find(*args, **(kwargs or {}))
            self.calls.append(Call(result, bias, name.startswith("conv"), name == "linear"))
            return result.clone()  # an in-place ReLU behind it changes the copy
        return result


def _bias(input: Any, weight: Any, bias: Tensor | None = None, *_: Any, **__: Any) -> Tensor | None:
    return bias


def _norm_bias(
    input: Any, mean: Tensor, variance: Tensor, weight: Any = None, bias: Any = None, *rest: Any, **named: Any
) -> Tensor:
    """beta - gamma · mean / sqrt(variance + eps): what batch norm in eval mode adds."""
    eps = named.get("eps", rest[2] if len(rest) > 2 else 1e-5)
    shift = -mean / (variance + eps).sqrt()
    return shift * (1 if weight is None else weight) + (0 if bias is None else bias)


@contextmanager
def recorded(query: Query) -> Iterator[tuple[Capture, Chosen, list[Call]]]:
    """The whole graph of one pass, its targets, and the calls on the way."""
    with Capture(query.net, None, whole=True) as seen:
        with Recorded() as record:
            output = seen(query.images)
        yield seen, query.choose(output), record.calls


@METHODS(
    "winsor-cam",
    paper="Wall et al. 2026 (arXiv 2507.10846)",
    cost="1 forward, 1 backward per target",
    at="layers",
    graph="whole",
)
def winsor_cam(query: Query, *, percentile: float = 80.0) -> Raw:
    """Grad-CAM of every convolution from one pass, summed by their importances with the outliers clipped.

    L = sum_l w_l · upsample(L_l): L_l is Grad-CAM at convolution l scaled to 0..1, and w_l its importance
    I_l = ReLU(mean_k alpha_k), clipped at the ``percentile`` of the importances above 0, those then scaled to 0.1..1
    (arXiv 2507.10846; as its authors' code with means and bilinear enlargement). At 0 all layers that speak for the
    target count alike and texture shows, 100 clips nothing. ``(B, T, H, W)`` >= 0 at the input's resolution, without
    unit.
    """
    if not 0 <= percentile <= 100:
        raise Error(f"the percentile lies between 0 and 100, not at {percentile}.")
    size = tuple(query.images.shape[2:])
    every = []
    with recorded(query) as (seen, chosen, calls):
        layers = [call.result for call in calls if call.convolves and call.result.ndim == query.images.ndim]
        if not layers:
            raise Error("winsor-cam gathers the maps of convolutions, and this network has none: take grad-cam.")
        for score in chosen.scores.unbind(1):
            maps, importances = [], []
            for layer, found in zip(layers, seen.gradients_by(score, layers), strict=True):
                alpha = pooled(precise(found)[:, None])  # (B, 1, K)
                cam = summed(precise(layer.detach()), alpha)
                maps.append(stretched(unit(cam, tuple(range(1, cam.ndim))), size))
                importances.append(alpha.mean((1, 2)).relu())
            weights = winsorized(torch.stack(importances), percentile)  # (layers, B)
            every.append(sum(w.reshape(-1, *[1] * (m.ndim - 1)) * m for w, m in zip(weights, maps, strict=True)))
    return Raw(torch.cat(every, 1), chosen.detached())


def winsorized(importances: Tensor, percentile: float) -> Tensor:
    """Weights 0.1..1 from importances ``(layers, B)`` clipped at the percentile of an image's own; 0 stays 0."""
    present = torch.where(importances > 0, importances, torch.nan)
    clipped = importances.minimum(present.nanquantile(percentile / 100, dim=0).nan_to_num(0.0))
    low = torch.where(clipped > 0, clipped, torch.inf).amin(0)
    high = clipped.amax(0)
    share = torch.where(high > low, (clipped - low) / (high - low), 1.0)
    return torch.where(clipped > 0, 0.1 + 0.9 * share, 0.0)


@METHODS(
    "fullgrad",
    paper="Srinivas & Fleuret 2019, eq. 4-6",
    cost="1 forward, 1 backward per target",
    at="layers",
    graph="whole",
)
def fullgrad(query: Query) -> Raw:
    """Everything that the score of a ReLU network is made of: the input's share and that of every bias, gathered.

    y = x·dy/dx + sum_l b_l·dy/dz_l exactly (eq. 2), batch norm in eval mode counting as a bias, for networks of
    convolutions, matrices and ReLUs; what other layers (layer norm, GELU) add is left out. The map is
    sum ψ(x∘dy/dx) + sum_l sum_c ψ(b_l∘dy/dz_l), ψ the absolute value scaled to 0..1 in each layer, bilinearly enlarged;
    of layers that lie in the picture. ``(B, T, H, W)`` >= 0; the scaling takes its unit away.
    """
    size = tuple(query.images.shape[2:])
    every = []
    with recorded(query) as (seen, chosen, calls):
        for terms in full_gradients(query, seen, chosen, calls):
            axes = tuple(range(1, query.images.ndim))
            shown = [unit(term.abs(), axes).sum(1, keepdim=True) for term in terms if term.ndim == query.images.ndim]
            every.append(torch.stack([stretched(one, size) for one in shown]).sum(0))
    return Raw(torch.cat(every, 1), chosen.detached())


def full_gradients(query: Query, seen: Capture, chosen: Chosen, calls: list[Call]) -> Iterator[list[Tensor]]:
    """For each target the terms ``(B, K, ...)`` that sum to its score: the input's, then one for each bias."""
    biased = [call for call in calls if call.bias is not None]
    assert seen.pixels is not None
    for score in chosen.scores.unbind(1):
        first, *others = seen.gradients_by(score, [seen.pixels, *(call.result for call in biased)])
        terms = [precise(first * query.images)]
        for call, gradient in zip(biased, others, strict=True):
            assert call.bias is not None
            channels_first = gradient.movedim(-1, 1) if call.last else gradient
            terms.append(precise(channels_first * call.bias.detach()[(..., *[None] * (gradient.ndim - 2))]))
        yield terms
