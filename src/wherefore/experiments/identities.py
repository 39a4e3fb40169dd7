"""How far two identities of Grad-CAM are from true on a network, by its own gradients: for `claims`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from wherefore.batch.rows import Work
from wherefore.batch.store import Row
from wherefore.capture import Capture
from wherefore.datasets import Sample
from wherefore.explainer import Explainer
from wherefore.explanation import Explanation
from wherefore.metrics.rerunning import Rerun
from wherefore.types import Model

WEIGHTS, PARTED = "alpha = w / Z", "L - L_cf = S"
IDENTITIES = (WEIGHTS, PARTED)
ASKED = "top5"


def deviations(model: Model) -> Work:
    """What turns samples into rows: how far each of the `IDENTITIES` is from true there, of the largest value.

    `WEIGHTS` is None on networks whose head is not average pooling and one linear layer.
    """
    plain, signed, against = (
        Explainer(model, "grad-cam", fit="squash"),
        Explainer(model, "grad-cam", fit="squash", relu=False),
        Explainer(model, "counterfactual", fit="squash"),
    )

    def work(samples: Sequence[Sample]) -> list[list[Row]]:
        found = []
        for sample in samples:
            e, s = plain(sample.image, ASKED), signed(sample.image, ASKED).maps[0]
            parted = relative(e.maps[0] - against(sample.image, ASKED).maps[0], s)
            found.append([{PARTED: parted, WEIGHTS: from_weights(e)}])
        return found

    return work


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
