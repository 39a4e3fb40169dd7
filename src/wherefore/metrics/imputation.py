"""ROAD: pixels are removed by filling them in from their neighbours, so that nothing but what they said is gone.

Rong et al., A Consistent and Efficient Evaluation Strategy for Attribution Methods, ICML 2022
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import splu
from torch import Tensor

from wherefore.datasets.sample import Sample
from wherefore.explanation import Explanation
from wherefore.metrics.rerunning import SEED, Rerun, ranked
from wherefore.registry import METRICS

SHARES = tuple(share / 10 for share in range(1, 10))
SIDE, DIAGONAL = 1 / 6, 1 / 12  # weights of the neighbours
NOISE = 0.01  # its deviation, in units of the network's input


@METRICS("road", better="higher", bounds=(-0.5, 0.5), paper="Rong et al. 2022, section 5")
def road(e: Explanation, samples: Sequence[Sample] = ()) -> Tensor:
    """How much more of a class's probability is left without the lowest pixels than without the highest: ``(B, T)``.

    (LeRF - MoRF) / 2, the mean over 10, 20 ... 90 % of the pixels, which are filled in from what is left (`imputed`).
    NaN where a target is no class. The curves are those of `removed`.
    """
    curves = torch.stack([removed(e, image) for image in range(len(e))], 1)
    return (curves[1] - curves[0]).mean(2) / 2


def removed(e: Explanation, image: int) -> Tensor:
    """The probability of each class without the highest (MoRF) and the lowest (LeRF) pixels, ``(2, T, 9)``.

    Without 10, 20 ... 90 % of them, filled in as `imputed` does, with noise. Order and noise are the same every time.
    """
    again = Rerun(e, image)
    noise = torch.randn(again.x.shape[1:], generator=torch.Generator().manual_seed(SEED)) * NOISE
    found = []
    for t, heat in enumerate(e.heats(image)):
        ranks = ranked(heat).cpu()
        counts = [round(share * ranks.numel()) for share in SHARES]
        gone = [ranks < count for count in counts] + [ranks >= ranks.numel() - count for count in counts]
        filled = (imputed(again.x[0], each) + noise.to(again.x) * each.to(again.x) for each in gone)
        found.append(again.probabilities(filled)[:, t].view(2, len(SHARES)))
    return torch.stack(found, 1)


def imputed(x: Tensor, gone: Tensor) -> Tensor:
    """A picture ``(C, H, W)`` with the pixels ``(H, W)`` that are gone filled in, without noise.

    Each is the weighted mean of its eight neighbours, given and filled in: 1/6 for those at its sides, 1/12 at its
    corners, in that proportion at the border (section 4.2). One sparse factorisation, which is exact, for all channels.
    Zeros where everything is gone.
    """
    missing = gone.cpu().numpy().ravel()
    if not missing.any() or missing.all():
        return x.clone() if not missing.any() else torch.zeros_like(x)
    weights = _neighbours(*gone.shape)
    rows = weights[missing]
    # The diagonal times the pixel less its missing neighbours is symmetric, so that few entries fill up.
    system = sparse.diags_array(rows.sum(1)) - rows[:, missing]
    values = x.detach().cpu().double().flatten(1).numpy().T.copy()  # (pixels, C)
    known = rows[:, ~missing] @ values[~missing]
    factors = splu(system.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    values[missing] = factors.solve(known)
    return torch.from_numpy(values.T.copy()).view(x.shape).to(x)


@lru_cache(4)  # pictures of one network have one size
def _neighbours(height: int, width: int) -> Any:
    """The weights of every pixel's neighbours, as a sparse matrix ``(pixels, pixels)``."""
    number = np.arange(height * width).reshape(height, width)
    pairs = [
        (number[:, :-1], number[:, 1:], SIDE),
        (number[:-1], number[1:], SIDE),
        (number[:-1, :-1], number[1:, 1:], DIAGONAL),
        (number[:-1, 1:], number[1:, :-1], DIAGONAL),
    ]
    first = np.concatenate([one.ravel() for one, _, _ in pairs])
    second = np.concatenate([other.ravel() for _, other, _ in pairs])
    weight = np.concatenate([np.full(one.size, w) for one, _, w in pairs])
    half = sparse.coo_array((weight, (first, second)), shape=(number.size, number.size))
    return (half + half.T).tocsr()
