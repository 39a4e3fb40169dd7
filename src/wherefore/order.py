"""Whether tokens lie in the order of the picture: networks that shuffle or sort their patches are found out by trying.

A token at some cell depends most on what an earlier layer has at the same cell, wherever both lie in order: the sum
around every block sees to that. So tokens are followed back, as far as this holds at once, from layer to layer to the
convolution that cut the patches. A token that depends on another cell more than on all others is in another order. Only
where neither is found, as where no earlier layer has this grid, the pixels themselves are asked: behind many blocks a
token depends on all of them alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wherefore.graph import CHANNELS_FIRST, Node
from wherefore.grids import Grids, Size, maker_of
from wherefore.trace import Output
from wherefore.types import Grid

NEAR = 0.15  # of a grid's side: so far a token may lie from the pixels that it depends on most
TRIES = 4  # layers to go on from
CLEARLY = 2  # times as strong as at any other cell
PROVEN, LIKELY, UNLIKELY, NOT = "proven", "likely by the pixels", "unlikely by the pixels", "in another order"
MOST_BASES = 64  # layers that are looked at together: each holds a gradient for the time of it


class Order:
    """``order.settled(output, grid)`` for the outputs of one traced pass, each in its place in the network."""

    def __init__(self, outputs: Sequence[Output], grids: Grids, leaf: Tensor | None) -> None:
        self.outputs, self.grids, self.leaf = outputs, grids, leaf
        self.known: dict[tuple[Node, Grid], str] = {}

    def settled(self, output: Output, grid: Grid) -> Grid | None:
        """The grid of tokens that lie in the order of the picture; None where they do not.

        Which of the tokens beyond the grid stand before it and which behind is told by trying.
        """
        others = [1, 0, *reversed(range(2, grid.prefix))]  # all before it, one, none, and whatever else there is
        ways = [grid, *(replace(grid, prefix=prefix) for prefix in others if prefix < grid.prefix)]
        states = ((way, self._state(output, way)) for way in ways)
        likely = None
        for way, state in states:
            if state == PROVEN:
                return way
            likely = likely or (way if state == LIKELY else None)
        return likely

    def _state(self, output: Output, grid: Grid) -> str:
        """Whether tokens lie in the order of the picture."""
        if not grid.are_tokens:
            return PROVEN
        if self.leaf is None or len(grid.size) not in (2, 3) or grid.frames:
            return LIKELY
        key = output.node, grid
        if key not in self.known:
            self.known[key] = self._tried(output, grid)
        return self.known[key]

    def _tried(self, output: Output, grid: Grid) -> str:
        assert self.leaf is not None
        bases, cells = self._bases(output, grid), _probes(grid.size)
        seen = [self._strengths(output, grid, cell, bases) for cell in cells]
        aligned, astray = [], []
        for number, base in enumerate(bases):
            of_base = [strengths[number] for strengths in seen]
            if all(_peak(strength) == cell for strength, cell in zip(of_base, cells, strict=True)):
                aligned.append(base)
            elif sum(_clear(s) and _peak(s) != cell for s, cell in zip(of_base, cells, strict=True)) > len(cells) / 2:
                astray.append(base)
        states = [self._state(*base) for base in aligned[:TRIES]]
        if PROVEN in states:
            return PROVEN
        if NOT in states or any(self._state(*base) == PROVEN for base in astray[:TRIES]):
            return NOT
        near = sum(_near(strengths[-1], cell) for strengths, cell in zip(seen, cells, strict=True))
        return LIKELY if LIKELY in states or near > len(cells) / 2 else UNLIKELY

    def _bases(self, output: Output, grid: Grid) -> list[tuple[Output, Grid]]:
        """The earlier layers that have the same grid, each once; those first that are furthest back."""
        found: dict[Node, tuple[Output, Grid]] = {}
        for other in self.outputs:
            own = self.grids(other) if other.order < output.order and other.node is not output.node else None
            # What has its channels last by its sizes alone proves nothing.
            sure = own is not None and (own.are_tokens or maker_of(other.node) in CHANNELS_FIRST)
            if sure and own is not None and own.size == grid.size and not own.frames:
                as_many = own.layout == grid.layout and other.shape == output.shape
                found.setdefault(other.node, (other, grid if as_many else own))
        return sorted(found.values(), key=lambda pair: pair[0].order)[-MOST_BASES:]

    def _strengths(
        self, output: Output, grid: Grid, cell: Size, bases: Sequence[tuple[Output, Grid]]
    ) -> list[Tensor | None]:
        """How strongly one token depends on each cell of earlier layers and, last, of the pixels; None: not at all."""
        generator = torch.Generator().manual_seed(0)
        direction = torch.zeros(output.shape)
        folded = grid(direction)  # a view
        index: Any = (slice(None), slice(None), *cell)
        folded[index] = torch.randn(folded.shape[:2], generator=generator)
        like = output.node._input_metadata[output.edge.output_nr]
        by: Any = [*(base.edge for base, _ in bases), self.leaf]
        gradients = torch.autograd.grad(
            output.edge,
            by,
            direction.to(like.device, like.dtype),
            retain_graph=True,
            allow_unused=True,
        )
        of_bases = [
            None if g is None else own(g.detach()).abs().float().sum((0, 1))
            for g, (_, own) in zip(gradients[:-1], bases, strict=True)
        ]
        pixels = gradients[-1]
        if pixels is None:
            return [*of_bases, None]
        pool: Any = F.adaptive_avg_pool2d if len(grid.size) == 2 else F.adaptive_avg_pool3d
        return [*of_bases, pool(pixels.detach().abs().float().sum((0, 1))[None], grid.size)[0]]


def _probes(size: Size) -> list[Size]:
    """Cells of a grid, each in another part of it."""
    shares = [(0.2, 0.3, 0.7), (0.7, 0.2, 0.4), (0.4, 0.8, 0.2)]
    return [tuple(int(share * n) for share, n in zip(some, size, strict=False)) for some in shares]


def _peak(strength: Tensor | None) -> Size | None:
    """The cell where something is strongest."""
    if strength is None or not bool(strength.any()):
        return None
    return tuple(int(i) for i in np.unravel_index(int(strength.argmax()), tuple(strength.shape)))


def _clear(strength: Tensor | None) -> bool:
    """Whether something is much stronger at one cell than at any other."""
    if strength is None or not bool(strength.any()):
        return False
    first, second = strength.flatten().topk(2).values
    return bool(first >= CLEARLY * second)


def _near(strength: Tensor | None, cell: Size) -> bool:
    """Whether something is strongest at a cell, or near it."""
    peak = _peak(strength)
    return peak is not None and all(
        abs(found - wanted) <= max(1.5, NEAR * side)
        for found, wanted, side in zip(peak, cell, strength.shape, strict=True)  # type: ignore[union-attr]
    )
