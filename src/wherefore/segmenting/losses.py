"""The three losses of SEC (Kolesnikov & Lampert 2016, section 3), each a mean over the pictures of a batch.

Probabilities are ``(B, 1 + C, h, w)``, background first; seeds ``(B, h, w)`` hold 0 for background, 1 + class, or
`VOID` where nothing is said; ``present`` ``(B, C)`` tells the classes that are in each picture.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from wherefore.datasets import VOID

LEAST = 1e-4  # no probability is smaller: its logarithm is taken
DECAY = (0.996, 0.999)  # of classes and of background, on 41x41 cells


def probabilities(logits: Tensor) -> Tensor:
    """Softmax over dimension 1 with 1e-4 added to every class, summing to 1."""
    return floored(logits.softmax(1) + LEAST)


def floored(p: Tensor) -> Tensor:
    """Probabilities of 1e-4 at least that sum to 1 over dimension 1."""
    p = p.clamp(min=LEAST)
    return p / p.sum(1, keepdim=True)


def seed_loss(p: Tensor, seeds: Tensor) -> Tensor:
    """What the seeds say: - 1 / sum_c |S_c| · sum_c sum_{u in S_c} log f_{u,c}, background among the classes.

    0 for a picture without seeds.
    """
    cells = F.nll_loss(p.log(), seeds.long(), ignore_index=VOID, reduction="none").sum((1, 2))
    return (cells / (seeds != VOID).sum((1, 2)).clamp(min=1)).mean()


def expand_loss(p: Tensor, present: Tensor, decay: tuple[float, float] = DECAY) -> Tensor:
    """How large things are: present classes take some room, absent ones none.

    - 1/|T| sum_T log G_c - 1/|T'| sum_T' log(1 - max_u f_u) - log G_bg, where G is `rank_pooled` with the first
    ``decay`` for the classes T that are present, T' are those absent, and G_bg has the second.
    """
    here = present.to(p.dtype)
    flat = p.flatten(2)
    things = _mean(rank_pooled(flat[:, 1:], decay[0]).log(), here)
    absent = _mean((1 - flat[:, 1:].amax(2)).log(), 1 - here)
    return -(things + absent + rank_pooled(flat[:, 0], decay[1]).log()).mean()


def rank_pooled(values: Tensor, decay: float) -> Tensor:
    """Global weighted rank pooling over the last dimension: G = sum_j d^(j-1) f_(j) / sum_j d^(j-1), f_(1) the largest
    of them. A decay of 0 is the maximum, 1 the mean."""
    weights = decay ** values.new_tensor(range(values.shape[-1]))
    return values.sort(-1, descending=True).values @ weights / weights.sum()


def constrain_loss(p: Tensor, q: Tensor) -> Tensor:
    """How far the prediction is from what a CRF makes of it: mean over cells of sum_c q log(q / f).

    ``q`` is that distribution; no gradient flows through it.
    """
    q = floored(q.detach())
    return (q * (q / p).log()).sum(1).mean()


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean over dimension 1; 0 where all weights are."""
    return (values * weights).sum(1) / weights.sum(1).clamp(min=1)
