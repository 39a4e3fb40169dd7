"""Grids inferred from one traced pass: tokens with and without others, patch merging, windows, shuffles, frames."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import wherefore as wf
from conftest import images, untouched
from wherefore.errors import Error
from wherefore.layers import Layers, find_layers
from wherefore.targets import choose


class Transformer(nn.Module):
    """Patches of 4 pixels as tokens, with others before and behind them; pooled, or read from the first token."""

    def __init__(self, before: int = 0, behind: int = 0, pooled: bool = True, order: Tensor | None = None) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.first, self.last = nn.Parameter(torch.randn(1, before, 16)), nn.Parameter(torch.randn(1, behind, 16))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True, norm_first=True) for _ in range(3)
        )
        self.norm, self.head, self.pooled, self.order = nn.LayerNorm(16), nn.Linear(16, 5), pooled, order

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = tokens if self.order is None else tokens[:, self.order]
        count = len(x)
        tokens = torch.cat([self.first.expand(count, -1, -1), tokens, self.last.expand(count, -1, -1)], 1)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)
        return self.head(tokens.mean(1) if self.pooled else tokens[:, 0])


def layers_of(net: nn.Module, x: Tensor) -> Layers:
    return find_layers(net, x, lambda output: choose(None, output))


@pytest.mark.parametrize(("before", "behind"), [(0, 0), (1, 0), (5, 0), (0, 1), (1, 6)])
def test_tokens_that_lie_nowhere(before: int, behind: int) -> None:
    """The map of a token at row i, column j lies there, whatever stands before it and behind: planted and found."""
    net, x = Transformer(before, behind).eval(), images(2, 24)[..., :32].repeat(1, 1, 1, 2)[..., :32]
    with untouched(net):
        e = wf.explain(net, x)
    assert e.maps.shape == (2, 1, 6, 8) and e.layer == "norm"
    with wf.Capture(net, "norm") as seen:
        output = seen(x)
        (gradients,) = seen.gradients(output[:, :1])
        weights = gradients[:, 0, before : before + 48].mean(1)  # (B, K)
        expected = (seen.activations[:, before : before + 48] * weights[:, None]).sum(2).relu().unflatten(1, (6, 8))
    torch.testing.assert_close(wf.explain(net, x, 0).maps[:, 0], expected.detach(), rtol=1e-4, atol=1e-7)


def test_a_class_token_is_read_where_the_patches_last_reach_it() -> None:
    net, x = Transformer(1, pooled=False).eval(), images(2, 16)
    e = wf.explain(net, x)
    assert e.layer == "blocks.2.norm1" and float(e.maps.abs().max()) > 0
    found = layers_of(net, x)
    notes = {layer.name: layer.note for layer in found.every}
    assert "do not reach the target" in notes["norm"] and "do not reach the target" in notes["blocks.2"]
    with pytest.raises(Error, match=r"patch tokens of layer 'blocks.2' do not reach .* use 'blocks.2.norm1'"):
        wf.explain(net, x, layer="blocks.2")
    blind = wf.explain(net, x, layer="blocks.2", method="eigen-cam")  # which needs no gradient
    assert float(blind.maps.abs().max()) > 0


def test_shuffled_patches_are_found_out() -> None:
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    net, x = Transformer(1, order=order).eval(), images(1, 32)
    assert wf.explain(net, x).layer == "patches"  # the last place where they lie in order
    assert "order of the picture" in {layer.name: layer.note for layer in layers_of(net, x).every}["norm"]
    with pytest.raises(Error, match="do not lie in the order of the picture"):
        wf.explain(net, x, layer="norm")
    told = wf.explain(net, x, layer="norm", grid=wf.Grid("tokens", (8, 8), 1))  # whoever knows better
    assert told.maps.shape == (1, 1, 8, 8)


class Merging(nn.Module):
    """Tokens that are merged two by two, as in Swin: the grid is halved and no convolution says so; odd ones padded."""

    def __init__(self, last: bool) -> None:
        super().__init__()
        self.patches, self.merge = nn.Conv2d(3, 8, 4, 4), nn.Linear(32, 16)
        self.block, self.norm, self.head, self.last = nn.Linear(16, 16), nn.LayerNorm(16), nn.Linear(16, 5), last

    def forward(self, x: Tensor) -> Tensor:
        seen = self.patches(x).permute(0, 2, 3, 1)
        seen = F.pad(seen, (0, 0, 0, seen.shape[2] % 2, 0, seen.shape[1] % 2))
        count, rows, columns, _ = seen.shape
        seen = seen.reshape(count, rows // 2, 2, columns // 2, 2, 8).transpose(2, 3).flatten(3)
        seen = self.merge(seen if self.last else seen.flatten(1, 2))
        seen = self.norm(seen + self.block(seen))
        return self.head(seen.mean((1, 2)) if self.last else seen.mean(1))


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("size", "grid"), [((32, 32), (4, 4)), ((24, 40), (3, 5)), ((20, 36), (3, 5))])
def test_merged_patches(last: bool, size: tuple[int, int], grid: tuple[int, int]) -> None:
    e = wf.explain(Merging(last).eval(), torch.rand(2, 3, *size))
    assert e.layer == "norm" and e.maps.shape == (2, 1, *grid)


@pytest.mark.parametrize("method", ["grad-cam", "hires-cam", "ablation-cam"])
def test_tokens_before_images(method: str) -> None:
    """Torch's own transformers, and OpenAI's CLIP, run (tokens, batch, channels): the same maps as batch first."""

    class First(nn.Module):
        def __init__(self, first: bool) -> None:
            super().__init__()
            torch.manual_seed(1)
            self.patches, self.token = nn.Conv2d(3, 16, 4, 4), nn.Parameter(torch.randn(1, 1, 16))
            self.blocks = nn.ModuleList(
                nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=not first, norm_first=True)
                for _ in range(3)
            )
            self.norm, self.head, self.first = nn.LayerNorm(16), nn.Linear(16, 5), first

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.patches(x).flatten(2).transpose(1, 2)
            tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], 1)
            tokens = tokens.transpose(0, 1) if self.first else tokens
            for block in self.blocks:
                tokens = block(tokens)
            tokens = tokens.transpose(0, 1) if self.first else tokens
            return self.head(self.norm(tokens)[:, 0])

    for x in (torch.rand(3, 3, 24, 32), torch.rand(1, 3, 24, 32)):
        expected = wf.explain(First(False).eval(), x, [0, 2, 4, 1], method=method)
        net = First(True).eval()
        with untouched(net):
            e = wf.explain(net, x, [0, 2, 4, 1], method=method)
        assert e.layer == expected.layer == "blocks.2.norm1" and e.maps.shape == (len(x), 4, 6, 8)
        torch.testing.assert_close(e.maps, expected.maps, rtol=1e-4, atol=1e-6)


def test_an_attention_is_no_grid() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.kept, self.head = nn.Conv2d(3, 8, 4, 4), nn.Dropout(0.0), nn.Linear(8, 5)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.patches(x).flatten(2).transpose(1, 2)
            heads = tokens.unflatten(2, (2, 4)).transpose(1, 2)  # (B, heads, N, 4)
            weights = self.kept((heads @ heads.mT).softmax(3))  # (B, heads, N, N): as many as pixels along a side
            return self.head((weights @ heads).transpose(1, 2).flatten(2).mean(1))

    x = images(1, 16)
    rejected = dict(layers_of(Attention().eval(), x).rejected)
    assert "no grid" in rejected["kept"] and wf.explain(Attention().eval(), x).layer == "patches"


def test_patches_without_a_convolution() -> None:
    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.norm, self.head = nn.Linear(48, 8), nn.LayerNorm(8), nn.Linear(8, 5)

        def forward(self, x: Tensor) -> Tensor:
            patches = F.unfold(x, 4, stride=4).transpose(1, 2)
            return self.head(self.norm(self.embed(patches)).mean(1))

    e = wf.explain(Linear().eval(), torch.rand(2, 3, 16, 24))
    assert e.layer == "norm" and e.maps.shape == (2, 1, 4, 6)


class Frames(nn.Module):
    """Each frame through a network for pictures, then a recurrent one over time."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU())
        self.rnn, self.head = nn.GRU(8, 6, batch_first=True), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        count, frames = len(x), x.shape[2]
        seen = self.cnn(x.transpose(1, 2).flatten(0, 1)).mean((2, 3)).unflatten(0, (count, frames))
        return self.head(self.rnn(seen)[0].mean(1))


@pytest.mark.parametrize("method", ["grad-cam", "hires-cam", "ablation-cam", "score-cam"])
def test_frames_that_are_images_of_their_own(method: str) -> None:
    """A map per frame, folded from (B·t, ...): equal to what the same network says of one video at a time."""
    net, x = Frames().eval(), torch.rand(3, 3, 5, 12, 16)
    options = {"masks": "layer"} if method == "score-cam" else {}
    with untouched(net):
        e = wf.explain(net, x, "all", method=method, **options)
    assert e.layer == "cnn" and e.maps.shape == (3, 4, 5, 5, 7)
    alone = torch.cat([wf.explain(net, x[i : i + 1], "all", method=method, **options).maps for i in range(3)])
    torch.testing.assert_close(e.maps, alone, rtol=1e-4, atol=1e-6)
    if method == "hires-cam":  # gradient times activation, frame by frame
        with wf.Capture(net, "cnn") as seen:
            output = seen(x[:1])
            (gradient,) = torch.autograd.grad(output[0, 2], seen.leaf)
            expected = (gradient * seen.activations).sum(1)
        torch.testing.assert_close(e.maps[0, 2], expected, rtol=1e-4, atol=1e-7)


def test_a_grid_that_does_not_fit() -> None:
    net, x = Transformer(1).eval(), images(1, 16)
    with pytest.raises(Error, match="cannot be laid out as"):
        wf.explain(net, x, layer="norm", grid=wf.Grid("tokens", (5, 5), 1))
    with pytest.raises(Error, match="name the layer"):
        wf.explain(net, x, grid=wf.Grid("tokens", (4, 4), 1))
    with pytest.raises(Error, match=r"one of channels-first, channels-last, tokens, tokens-first, not 'rows'"):
        wf.Grid("rows", (4, 4))


def test_a_head_that_starts_at_zero() -> None:
    """The target has no gradient yet, and still the layer is found that it will have; nothing is remembered."""
    net, x = Transformer(1, pooled=False).eval(), images(1, 16)
    nn.init.zeros_(net.head.weight)
    e = wf.explain(net, x)
    assert e.layer == "blocks.2.norm1" and float(e.evidence) == 0
    nn.init.normal_(net.head.weight)
    assert wf.explain(net, x).layer == "blocks.2.norm1"


class Detector(nn.Module):
    """Two resolutions with heads of their own, the finer one fed by the coarser, as pyramids are."""

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.high = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.side, self.top = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.fine, self.coarse = nn.Conv2d(8, 7, 1), nn.Conv2d(8, 7, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        low = self.low(x)
        high = self.top(self.high(low))
        low = self.side(low) + F.interpolate(high, scale_factor=2)
        both = torch.cat([self.fine(low).flatten(2), self.coarse(high).flatten(2)], 2)
        sizes = both[:, :4].abs() * 40 + 2
        return torch.cat([sizes, both[:, 4:].sigmoid()], 1), [low, high]


def test_a_detector_is_explained_where_every_resolution_comes_from() -> None:
    net, x = Detector().eval(), images(2, 32)
    with untouched(net):
        e = wf.explain(net, x, [wf.Box(rank) for rank in (0, 1, 2)])
    assert e.layer == "high" and e.maps.shape == (2, 3, 8, 8)
    assert "one of several resolutions" in {x.name: x.note for x in layers_of(net, x).every}["side"]
