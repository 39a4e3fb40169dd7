"""How far two identities of Grad-CAM are from true on a network, by its own gradients: for `claims`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from wherefore.batch.rows import Work
from wherefore.batch.store import Row
from wherefore.capture import Capture
from wherefore.datasets import Sample
from wherefore.explainer import Explainer
from wherefore.explanation import Explanation
from wherefore.guard import prepared
from wherefore.metrics.rerunning import Rerun
from wherefore.types import Model

WEIGHTS, PARTED = "alpha = w / Z", "L - L_cf = S"
IDENTITIES = (WEIGHTS, PARTED)
ASKED = "top5"


def deviations(model: Model) -> Work:
    """What turns samples into rows: how far each of the `IDENTITIES` is from true there, of the largest value.

    `WEIGHTS` is None on networks whose head is not average pooling and one linear layer, `PARTED` where `signed_sum`
    is.
    """
    plain, against = (Explainer(model, method, fit="squash") for method in ("grad-cam", "counterfactual"))

    def work(samples: Sequence[Sample]) -> list[list[Row]]:
        found = []
        for sample in samples:
            e = plain(sample.image, ASKED)
            signed, parts = signed_sum(e), e.maps[0] - against(sample.image, ASKED).maps[0]
            parted = None if signed is None else relative(parts, signed)
            found.append([{PARTED: parted, WEIGHTS: from_weights(e)}])
        return found

    return work


def signed_sum(e: Explanation) -> Tensor | None:
    """S, the sum of channels by their mean gradients ``(T, h, w)``: by a plain hook and autograd, without `Capture`.

    None where the layer is not a module that returns channels ``(1, K, h, w)``.
    """
    rerun, kept = Rerun(e, 0), list[Tensor]()
    module = dict(rerun.net.named_modules()).get(e.layer)
    if module is None:
        return None
    handle = module.register_forward_hook(partial(_cut, kept))
    try:
        with prepared(rerun.net), torch.enable_grad():
            scores = rerun.query.choose(rerun.net(rerun.x)).scores[0]
    finally:
        handle.remove()
    if not kept or kept[-1].shape[2:] != e.maps[0].shape[1:]:
        return None
    gradients = [torch.autograd.grad(score, kept[-1], retain_graph=True)[0] for score in scores]
    alphas = torch.cat(gradients).mean((2, 3), keepdim=True)
    return (alphas * kept[-1].detach()).sum(1)


def _cut(kept: list[Tensor], module: object, given: object, output: object) -> Tensor | None:
    """Forward hook: keeps what a module returns as a leaf; a copy goes on, which may be changed in place."""
    if not isinstance(output, Tensor):
        return None
    kept.append(output.detach().requires_grad_())
    return kept[-1].clone()


def from_weights(e: Explanation) -> float | None:
    """How far the mean gradients are from the weights of the head over the number of places; None without such a head.

    The gradients are those of autograd, not the weights that `Capture` reads in their place where it may.
    """
    rerun = Rerun(e, 0)
    with Capture(rerun.net, e.layer) as seen:
        chosen = rerun.query.choose(seen(rerun.x))
        weights = None if chosen.logits is None else seen.head_weights(chosen.logits)
        if weights is None:
            return None
        alpha = torch.cat(list(seen.gradients(chosen.scores)), 1).flatten(3).mean(3)
        return relative(alpha, weights[chosen.classes] / seen.activations.shape[2:].numel())


def relative(found: Tensor, expected: Tensor) -> float:
    """The largest difference of two tensors, in shares of the largest absolute value that is expected."""
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-30))
