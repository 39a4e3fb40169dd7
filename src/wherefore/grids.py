"""How the outputs of layers lie in what the network was fed, inferred from one traced pass, never from a name.

Operations that keep channels first (convolution, pooling, batch norm) prove their layout, and prove which grids there
are: tokens are folded to the grid that a convolution left for them, or to one that patch merging has halved; what has
its channels last must have a grid of that kind as well, so that an attention's ``(heads, tokens, tokens)`` is none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from wherefore.graph import ACTIVATIONS, CHANNELS_FIRST, Node, kind, parents
from wherefore.trace import Output
from wherefore.types import Grid

ELEMENTWISE = {"Add", "Mul", "Div", "Clone", "Cat", "Squeeze"} | set(ACTIVATIONS)
MOST_PREFIX_TOKENS = 16
MOST_DISTORTION = math.log(2)  # strides round: a grid may be this much longer or wider than its picture
MOST_HALVINGS = 5
NO_PLACES = {"Softmax", "SafeSoftmax"}  # what attends to what
Size = tuple[int, ...]


@dataclass(frozen=True)
class InputShape:
    """What a traced pass was fed: how many images, their positions ``(H, W)``, ``(t, H, W)`` or ``(L,)``."""

    count: int
    size: Size
    tokens: bool  # numbers of tokens

    @classmethod
    def of(cls, images: Tensor) -> InputShape:
        tokens = not images.is_floating_point()
        return cls(len(images), tuple(images.shape[1:] if tokens else images.shape[2:]), tokens)

    @property
    def axes(self) -> int:
        """How many axes the positions have."""
        return len(self.size)

    @property
    def frame(self) -> InputShape | None:
        """The same for each frame of a video as an image of its own."""
        return InputShape(self.count * self.size[0], self.size[1:], False) if self.axes == 3 else None


class Grids:
    """The grids of the outputs of one traced pass: ``grids(output)``, None for an output that has none."""

    def __init__(self, outputs: Sequence[Output], images: Tensor, beside: int = 0) -> None:
        self.fed, self.beside = InputShape.of(images), beside  # tokens of text, which may go with those of the picture
        self.proven = {fed: _proven(outputs, fed) for fed in (self.fed, self.fed.frame) if fed is not None}

    def __call__(self, output: Output) -> Grid | None:
        """How the output lies in what the network was fed."""
        size, frame = output.shape, self.fed.frame
        if size and size[0] == self.fed.count:
            found = self._layout(output, self.fed)
            if found is not None:
                return found
        if frame is not None and size and size[0] == frame.count:
            found = self._layout(output, frame)
            if found is not None:
                return Grid(found.layout, (self.fed.size[0], *found.size), found.prefix, True)
        return self._tokens_first(size)

    def _layout(self, output: Output, fed: InputShape) -> Grid | None:
        size = output.shape
        if len(size) == fed.axes + 2:
            maker = maker_of(output.node)
            if maker in CHANNELS_FIRST:
                return Grid("channels-first", size[2:])
            plausible = self._plausible(size, maker, fed)
            if plausible is not None or fed.axes > 1:
                return plausible
        return self._tokens(size, fed) if len(size) == 3 else None

    def _tokens_first(self, size: Size) -> Grid | None:
        """The grid of tokens ``(N, B, K)``, as torch's own transformers take them."""
        if len(size) != 3 or size[1] != self.fed.count or self.fed.tokens or self.fed.axes == 1:
            return None
        found = self._tokens((size[1], size[0], size[2]), self.fed)
        return None if found is None else Grid("tokens-first", found.size, found.prefix)

    def _plausible(self, size: Size, maker: str, fed: InputShape) -> Grid | None:
        """Channels first or last for an output whose operation does not say: whichever reading gives a known grid."""
        readings = {"channels-first": size[2:], "channels-last": size[1:-1]}
        known = set(_merged([*self.proven[fed], fed.size]))
        fits = {layout: grid for layout, grid in readings.items() if grid in known}
        if not self.proven[fed]:  # nothing is known: what keeps the picture's shape
            fits = {layout: grid for layout, grid in readings.items() if _distortion(grid, fed.size) < MOST_DISTORTION}
        if not fits or maker in NO_PLACES:
            return None
        if len(fits) == 2:  # sequences are channels first where a convolution made them
            last = (
                maker == "NativeLayerNorm"
                or fed.axes == 1
                or (
                    _distortion(readings["channels-last"], fed.size)
                    < _distortion(readings["channels-first"], fed.size) - 0.1
                )
            )
            fits.pop("channels-first" if last else "channels-last")
        layout, grid = fits.popitem()
        return Grid(layout, grid)

    def _tokens(self, size: Size, fed: InputShape) -> Grid | None:
        """The grid that tokens ``(B, N, K)`` fold to: of those with the fewest tokens to spare the latest."""
        best: Grid | None = None
        candidates = list(_merged(reversed(self.proven[fed])))
        if fed.frame is not None:  # the frames' tokens one after the other
            candidates += [(fed.size[0], *grid) for grid in reversed(self.proven[fed.frame])]
        if fed.axes == 1:
            candidates.append(fed.size)
        for grid in candidates:
            prefix = size[1] - math.prod(grid)
            # Behind patch merging there is a class token at most; what else has so many tokens is something else.
            most = MOST_PREFIX_TOKENS if grid in self.proven[fed] else 1
            fits = 0 <= prefix <= most or 0 <= prefix - self.beside <= most
            if fits and (best is None or prefix < best.prefix):
                best = Grid("tokens", grid, prefix)
        if best is None and fed.axes == 2 and not self.proven[fed]:
            return _patches(size[1], fed.size)
        return best


def _proven(outputs: Sequence[Output], fed: InputShape) -> list[Size]:
    """The grids of those outputs whose operation keeps the channels first, each once, in the order of the pass."""
    grids = (
        o.shape[2:]
        for o in outputs
        if len(o.shape) == fed.axes + 2 and o.shape[0] == fed.count and maker_of(o.node) in CHANNELS_FIRST
    )
    return list(dict.fromkeys(grid for grid in grids if math.prod(grid) > 1))


def _merged(grids: Sequence[Size] | Iterator[Size]) -> Iterator[Size]:
    """Each grid, and what merging two by two leaves of it, rounded up or down; a video's frames are kept or halved."""
    seen = set()
    for grid in grids:
        waiting = [(grid, 0)]
        while waiting:
            size, halvings = waiting.pop(0)
            if size in seen or math.prod(size) < 2:
                continue
            seen.add(size)
            yield size
            if halvings < MOST_HALVINGS:
                waiting += [(half, halvings + 1) for half in _halved(size)]


def _halved(size: Size) -> list[Size]:
    up, down = tuple(-(-n // 2) for n in size), tuple(max(1, n // 2) for n in size)
    return [up, down] + ([(size[0], *up[1:]), (size[0], *down[1:])] if len(size) == 3 else [])


def _patches(tokens: int, picture: Size) -> Grid | None:
    """The grid of patches of one size that a picture is cut into without a convolution, by their number."""
    for prefix in range(min(MOST_PREFIX_TOKENS, tokens)):
        height = math.isqrt((tokens - prefix) * picture[0] // picture[1])
        for rows in (height, height + 1):
            if rows > 1 and (tokens - prefix) % rows == 0:
                columns = (tokens - prefix) // rows
                if picture[0] % rows == 0 == picture[1] % columns and picture[0] // rows == picture[1] // columns:
                    return Grid("tokens", (rows, columns), prefix)
    return None


def _distortion(grid: Size, picture: Size) -> float:
    """How much longer or wider a grid is than the picture, as a logarithm."""
    return abs(math.log(grid[-2] / grid[-1] * picture[-1] / picture[-2])) if len(grid) > 1 else 0.0


def maker_of(node: Node) -> str:
    """The operation that laid a result out: what merely changes values one by one is passed over."""
    while kind(node) in ELEMENTWISE and parents(node):
        node = parents(node)[0]
    return kind(node)


def channels_of(size: Size, grid: Grid) -> int:
    """How many channels an output of that shape has."""
    return size[1] if grid.layout == "channels-first" else size[-1]
