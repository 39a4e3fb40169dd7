"""The words that every other module speaks: Error, Grid, Layer, Model, Query, Raw.

Shape letters, here and everywhere: ``B`` images, ``T`` targets per image, ``K`` channels, ``h w`` the layer's
resolution, ``H W`` the network's input resolution.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wherefore.errors import Error

LAYOUTS = ("channels-first", "channels-last", "tokens", "tokens-first")
COLUMNS = 4093  # of the table whose sums tell whether a weight has changed


@dataclass(frozen=True)
class Grid:
    """How a layer's output becomes maps: ``grid(x)`` is ``(..., K, *size)`` for ``x`` of ``(..., *layer shape)``.

    ``layout`` is ``channels-first`` (convolutions), ``channels-last``, ``tokens`` (a transformer's ``(B, N, K)``) or
    ``tokens-first`` (the same as ``(N, B, K)``: torch's own transformers, OpenAI's CLIP). Of tokens the first
    ``prefix``, and those beyond the grid, are class, register or query tokens that lie nowhere in the picture. With
    ``frames`` the layer was given the frames of a video as so many images: ``(B·t, ...)`` becomes
    ``(B, ..., K, t, h, w)``.
    """

    layout: str
    size: tuple[int, ...]
    prefix: int = 0
    frames: bool = False

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise Error(f"the layout of a grid is one of {', '.join(LAYOUTS)}, not {self.layout!r}.")

    @property
    def are_tokens(self) -> bool:
        """Whether the positions are tokens."""
        return self.layout in ("tokens", "tokens-first")

    def __call__(self, x: Tensor) -> Tensor:
        size = self.size[1:] if self.frames else self.size
        if self.layout == "channels-last":
            x = x.movedim(-1, -1 - len(size))
        elif self.are_tokens:
            x = x.movedim(0, -2).movedim(-3, 0) if self.layout == "tokens-first" else x
            x = x[..., self.prefix : self.prefix + math.prod(size), :].transpose(-1, -2).unflatten(-1, size)
        return x.unflatten(0, (-1, self.size[0])).movedim(1, -1 - len(size)) if self.frames else x


@dataclass(frozen=True)
class Layer:
    """A place in a network that can be explained: its name, its grid, and why it was (or was not) chosen."""

    name: str
    grid: Grid
    channels: int
    note: str = ""


@dataclass(frozen=True)
class Model:
    """A network with what is needed to feed and read it.

    ``preprocess`` turns a PIL picture into a ``(3, H, W)`` tensor (see `wherefore.inputs` for videos and text);
    ``classes`` are the names of the outputs; ``layer`` is explained unless another is asked for (``None``: found from
    one traced forward pass). ``inputs`` are fed beside every batch under their names: the prompts of a CLIP.
    ``output`` says which part of what the network returns holds the scores: a key, an index, or a function; by default
    it is found. ``multilabel``: classes do not exclude each other, and have probabilities of their own. ``question``
    reads a question: what the network is fed of it beside a picture, tensors ``(L,)`` by their names; ``prompt`` is
    what is asked where nobody asks anything else.
    """

    net: nn.Module
    classes: Sequence[str] | None = None
    preprocess: Callable[[Any], Any] | None = None
    layer: str | None = None
    name: str = ""
    sha256: str | None = field(default=None, repr=False)
    inputs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    output: str | int | Callable[[Any], Any] | None = None
    multilabel: bool = False
    question: Callable[[str], Mapping[str, Tensor]] | None = field(default=None, repr=False)
    prompt: str | None = None
    _hashed: tuple[list[Any], str] | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.net, nn.Module):
            raise Error(f"a model is a torch.nn.Module, not {type(self.net).__name__}: pass the network itself.")
        if self.classes is None:
            object.__setattr__(self, "classes", _own_names(self.net))
        if self.classes is not None:
            object.__setattr__(self, "classes", tuple(map(str, self.classes)))
        if not self.name:
            object.__setattr__(self, "name", type(self.net).__name__)

    @property
    def weights_sha256(self) -> str:
        """The sha256 of the file that the weights came from, else of the weights and buffers in memory."""
        if self.sha256:
            return self.sha256
        now = fingerprint(self.net)
        if self._hashed is None or self._hashed[0] != now:  # a second's work for a large network
            object.__setattr__(self, "_hashed", (now, state_sha256(self.net)))
        assert self._hashed is not None
        return self._hashed[1]


def _own_names(net: nn.Module) -> list[str] | None:
    """The names of classes that a network of transformers carries with it, unless they are mere numbers."""
    names = getattr(getattr(net, "config", None), "id2label", None)
    if not isinstance(names, dict) or set(names) != set(range(len(names))):
        return None
    listed = [str(names[i]) for i in range(len(names))]
    return None if listed == [f"LABEL_{i}" for i in range(len(names))] else listed


def fingerprint(net: nn.Module) -> list[Any]:
    """What differs when a network's modules or weights do: identities, versions, and a digest of all values.

    The values tell changes that leave no trace in the version (``weight.data[3].zero_()``). Of a large weight they are
    sums of its bits by columns, as whole numbers: exact, in whatever order threads add them, and as fast as memory is
    read. The width is a prime, so that filters that change places do not fall into the same columns.
    """
    marks: list[Any] = [id(module) for module in net.modules()]
    there: dict[torch.device, list[Tensor]] = {}
    for tensor in (*net.parameters(), *net.buffers()):
        marks.append((id(tensor), 0 if tensor.is_inference() else tensor._version))
        for part in plain(tensor):
            if part.numel() and not part.is_meta:
                there.setdefault(part.device, []).extend(_sums(part.detach()))
    digest = hashlib.sha256()
    for sums in there.values():  # brought to the CPU once for each device
        digest.update(torch.cat(sums).cpu().numpy().data)
    return [*marks, digest.hexdigest()]


def _sums(tensor: Tensor) -> list[Tensor]:
    """The bytes of a tensor, but for many rows of them their sums by columns, modulo 2^32."""
    in_memory = sorted(range(tensor.ndim), key=tensor.stride, reverse=True)  # channels last are not copied
    data = tensor.permute(in_memory).reshape(-1).contiguous().view(torch.uint8)
    whole = len(data) // (4 * COLUMNS) * 4 * COLUMNS
    if not whole or data.data_ptr() % 4:
        return [data]
    table = data[:whole].view(torch.int32).view(-1, COLUMNS)
    return [table.sum(0, dtype=torch.int32).view(torch.uint8), data[whole:]]


def plain(tensor: Tensor) -> list[Tensor]:
    """The ordinary tensors that a tensor consists of: itself, or a quantised one's numbers and scales."""
    flatten = getattr(tensor, "__tensor_flatten__", None)
    if flatten is None:
        return [tensor]
    return [part for name in flatten()[0] for part in plain(getattr(tensor, name))]


def state_sha256(net: nn.Module) -> str:
    """The sha256 over names, types, shapes and bytes of all weights and buffers of ``net``.

    Of weights that are not in memory (on disk until they are needed) names, types and shapes alone.
    """
    digest = hashlib.sha256()
    for name, value in net.state_dict().items():
        if isinstance(value, Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            for part in plain(value):
                if not part.is_meta:
                    digest.update(part.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


class Target:
    """Something to explain that is found in the network's output: ``bind`` says how it is read from there."""

    def bind(self, output: Any, names: Sequence[str] | None) -> Block:
        """What reads the scores ``(B,)`` from this output, and from other outputs of the same images."""
        raise NotImplementedError

    def part(self, start: int, stop: int, images: int) -> Target:
        """What belongs to images ``start`` to ``stop`` of so many, of a target that says other things of each."""
        return self


class Mark(NamedTuple):
    """What a target is about, to be drawn: boxes ``(B, 4)`` as ``x0, y0, x1, y1``, or regions ``(B, h, w)`` as weights.

    Boxes are in pixels of the network's input, or in shares of it where they are ``relative``.
    """

    where: Tensor
    relative: bool = False


class Score:
    """What reads one score ``(B,)`` per image from the output, and its name, or one for each image.

    ``head``, ``place`` and ``pyramid`` tell the search for a default layer what it is picked from: see `Chosen`.
    """

    on_copies = True  # it reads outputs of whole copies of the batch too

    def __init__(
        self,
        read: Callable[[Any], Tensor],
        name: str | list[str],
        head: Tensor | None = None,
        place: Tensor | None = None,
        pyramid: bool = False,
        mark: Mark | None = None,
        of_all: bool = False,
        likely: Callable[[Any], Tensor] | None = None,
    ) -> None:
        self.read, self.name, self.head, self.place, self.pyramid = read, name, head, place, pyramid
        self.mark = mark
        self.likely = likely  # reads its probability (B,), where it has one
        self.of_all = of_all  # it reads the output as the network returns it, not the part that holds class scores

    def __call__(self, output: Any) -> Tensor:
        return self.read(output)


Block = Tensor | Callable[[Any], Tensor]  # (B, t) class indices, or what reads one score (B,) from the output


class Chosen(NamedTuple):
    """The targets of one batch, read from the network's output."""

    scores: Tensor  # (B, T), still attached to the graph where there is one
    names: list[list[str]]  # B lists of T
    classes: Tensor  # (B, T) class indices, -1 where the target is not a class
    probabilities: Tensor  # (B, T), NaN where the target has none
    logits: Tensor | None  # (B, C), what the classes are columns of; None where no target is a class
    # The scores of the same targets (a top-5 is not looked for anew) in another output of the same images.
    follow: Callable[[Any], Tensor]
    every: Callable[[Any], Tensor]  # the scores (B, C) of all classes in another output
    on_copies: bool  # whether `follow` reads outputs of whole copies of the batch too
    head: Tensor | None = None  # what the scores are picked from: logits (B, C), or class scores at places (B, C, h, w)
    place: Tensor | None = None  # the score of a single place, of a network that gives every place scores
    marks: tuple[Mark | None, ...] = ()  # of each of T targets, where any has one
    pyramid: bool = False  # whether scores are read at several resolutions, of which a target needs one

    def detached(self) -> Chosen:
        """The same without the graph behind the scores."""
        return self._replace(scores=self.scores.detach(), logits=None, head=None, place=None)

    @property
    def are_classes(self) -> bool:
        """Whether every target is a class."""
        return bool((self.classes >= 0).all())


@dataclass(frozen=True)
class Patches:
    """The cells of an occlusion map: squares of ``size`` pixels, ``stride`` apart, all of them inside the input."""

    size: int
    stride: int

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """How many fit below and beside each other."""
        rows, columns = ((side - self.size) // self.stride + 1 for side in (height, width))
        return rows, columns

    def spread(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps ``(..., h, w)`` at the input's ``(H, W)``: each pixel is the mean of the patches that cover it.

        A rim that no patch reaches continues what lies beside it.
        """
        down, across = (self._shares(cells, side, maps) for cells, side in zip(maps.shape[-2:], size, strict=True))
        return down @ maps @ across.t()

    def _shares(self, cells: int, side: int, like: Tensor) -> Tensor:
        """The weight of each of ``cells`` patches at each pixel along a side, ``(side, cells)``; rows sum to 1."""
        starts = torch.arange(cells, device=like.device) * self.stride
        pixels = torch.arange(side, device=like.device)[:, None].clamp(max=(cells - 1) * self.stride + self.size - 1)
        covers = ((pixels >= starts) & (pixels < starts + self.size)).to(like.dtype)
        # With gaps between patches a pixel belongs to the nearest (distances to the middles, doubled to be whole).
        distances = (2 * (pixels - starts) - (self.size - 1)).abs()
        nearest = torch.nn.functional.one_hot(distances.argmin(1), cells).to(like.dtype)
        covers = torch.where(covers.sum(1, keepdim=True) > 0, covers, nearest)
        return covers / covers.sum(1, keepdim=True)


class Raw(NamedTuple):
    """What a method returns for one batch."""

    maps: Tensor  # (B, T, *grid), float32, not normalised
    chosen: Chosen
    pixels: Tensor | None = None  # (B, T, C, H, W), signed; pixel methods only
    patches: Patches | None = None  # what the cells of the maps are, where they do not tile the input
    filled: tuple[float, float] = (1.0, 1.0)  # which share of the maps' height and width the input fills
    silent: Tensor | None = None  # (T,): whether no channel has any weight for a target, in no image
    against: Tensor | None = None  # like the maps: what speaks against the targets, where it was asked for
    measures: Mapping[str, Tensor] = MappingProxyType({})  # (B, T) each: what else there is to say of a map


@dataclass(frozen=True)
class Query:
    """What a method is asked: explain the targets that ``choose`` reads from ``net(images)``, at ``layer``."""

    net: nn.Module
    images: Tensor  # (B, C, H, W); (B, C, t, H, W), (B, C, L), or token numbers (B, L)
    layer: Layer
    choose: Callable[[Any], Chosen]
    split: Any = None  # split.Split: the network cut in two, the part below the layer run faster


Method = Callable[..., Raw]
