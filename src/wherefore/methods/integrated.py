"""Grad-CAM along a path: gradients and activations gathered while the picture grows out of a blank one.

The path is gamma(t) = t·x for t from 0 to 1 (0 is the mean colour, after normalisation), in ``steps`` equal steps. Not
blind to saturated scores, whose gradient vanishes at the picture itself. References:

    Sattarzadeh et al., Integrated Grad-CAM, ICASSP 2021 (arXiv 2102.07805)
    Lucas et al., RSI-Grad-CAM, ISVC 2022 (arXiv 2205.10900)
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from wherefore.capture import Capture
from wherefore.errors import Error
from wherefore.methods.cams import precise, summed
from wherefore.methods.perturbation import at_once, groups
from wherefore.progress import track
from wherefore.registry import METHODS
from wherefore.types import Chosen, Query, Raw


@METHODS("integrated-grad-cam", paper="Sattarzadeh et al. 2021, eq. 4-6", cost="21 forwards", paints=True)
def integrated_grad_cam(query: Query, *, steps: int = 20) -> Raw:
    """Grad-CAM gathered along the way from a blank picture to this one, of what the channels have gained by then.

    L = (1/m) sum_l ReLU(sum_k (sum_ij dy/dA^k_ij(t_l)) · (A^k(t_l) - A^k(0))), t_l = l/m: the Riemann sum of arXiv
    2102.07805, with a sum, not a mean, over positions. ``(B, T, *grid)`` >= 0.
    """
    path = _Path(query, steps)
    maps = [summed(a - path.blank, gradients.flatten(3).sum(3)) for a, gradients in path]
    return Raw(torch.stack(maps).mean(0), path.chosen.detached())


@METHODS("rsi-grad-cam", paper="Lucas et al. 2022, section 3", cost="21 forwards", paints=True)
def rsi_grad_cam(query: Query, *, steps: int = 20) -> Raw:
    """Grad-CAM whose weights are what each channel added to the score on the way from a blank picture to this one.

    alpha_k = (1/Z) sum_ij sum_l dy/dA^k_ij(t_l) · (A^k_ij(t_l) - A^k_ij(t_{l-1})), L = ReLU(sum_k alpha_k A^k): the
    Riemann-Stieltjes sum of arXiv 2205.10900. Behind a linear tail the Z·alpha_k sum to the change of the score.
    """
    path = _Path(query, steps)
    weights: Tensor | float = 0.0
    before = path.blank
    for a, gradients in path:
        weights = weights + (gradients * (a - before)[:, None]).flatten(3).mean(3)
        before = a
    assert isinstance(weights, Tensor)
    return Raw(summed(path.activations, weights), path.chosen.detached())


class _Path:
    """Activations ``(B, K, *grid)`` and gradients ``(B, T, K, *grid)`` at t_1 ... t_m, the targets those of the end."""

    def __init__(self, query: Query, steps: int) -> None:
        if steps < 1:
            raise Error(f"a path has at least one step, not {steps}.")
        self.query = query
        self.times = [step / steps for step in range(1, steps)]
        self.activations, self.gradients = (one[0] for one in self._at([1.0]))
        self.blank = self._at([0.0])[0][0]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        together = list(groups(self.times, at_once(self.chosen, self.query.images)))
        for some in track(together, len(together), "path"):
            yield from zip(*self._at(some), strict=True)
        yield self.activations, self.gradients

    def _at(self, times: list[float]) -> tuple[Tensor, Tensor]:
        """Activations ``(n, B, K, *grid)`` and gradients ``(n, B, T, K, *grid)`` at n times, in one pass."""
        query, grid = self.query, self.query.layer.grid
        with Capture(query.net, query.layer.name, query.split) as seen:
            output = seen(torch.cat([query.images * t for t in times]))
            if times == [1.0]:
                self.chosen: Chosen = query.choose(output)
            activations = precise(grid(seen.activations))
            gradients = torch.cat([precise(grid(g)) for g in seen.gradients(self.chosen.follow(output))], 1)
        return activations.unflatten(0, (len(times), -1)), gradients.unflatten(0, (len(times), -1))
