"""Every family of networks is explained without a word on layer, grid or target: `architectures` holds the table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import wherefore as wf
from architectures import ROWS, Row, tokens
from conftest import untouched
from wherefore.layers import find_layers
from wherefore.targets import choose

MODELS = Path(__file__).parents[1] / "docs" / "models.md"
AT_LEAST = 60


def marked(rows: list[Row]) -> list[object]:
    return [pytest.param(row, id=row.label, marks=[pytest.mark.slow] if row.slow else []) for row in rows]


def test_the_table_has_many_and_each_once() -> None:
    assert len({row.name for row in ROWS}) >= AT_LEAST
    assert len({row.label for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", marked(ROWS))
def test_default_layer_and_grid(row: Row) -> None:
    net, inputs = row.network(), row.inputs()
    e = wf.explain(net, inputs, **row.options)
    with untouched(net):  # not before: in their first pass networks of transformers put hooks of their own in place
        signed = wf.explain(net, inputs, relu=False, **row.options)
    assert (e.layer, {tuple(m.shape[1:]) for m in e.maps}) == (row.layer, {row.grid})
    for map, sum in zip(e.maps, signed.maps, strict=True):  # a tensor, or a list where the pictures differ
        assert torch.isfinite(map).all()
        assert float(sum.abs().max()) > 0, "the sum before the ReLU is not zero everywhere"
        torch.testing.assert_close(map, sum.relu(), rtol=1e-3, atol=1e-4 * float(sum.abs().max()))


def test_the_documentation_has_the_same_table() -> None:
    told = re.findall(r"^\| ([^|]+) \| ([^|]+) \| `([^|]+)` \| ([^|]+) \| ([^|]+) \|$", MODELS.read_text(), re.M)
    expected = [(r.family, r.name, r.layer, " x ".join(map(str, r.grid)), r.target) for r in ROWS]
    assert told == expected, "write it anew: python tests/architectures.py"


# ------------------------------------------------------------------------------------------ order of tokens


class Patches(nn.Module):
    """A transformer over patches that are put into another order between two of its blocks; None: into none."""

    def __init__(self, order: Tensor | None, depth: int = 6) -> None:
        super().__init__()
        self.order, self.patches = order, nn.Conv2d(3, 32, 8, 8)
        self.places = nn.Parameter(torch.randn(36, 32))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(32, 4, 64, 0.0, batch_first=True, norm_first=True) for _ in range(depth)
        )
        self.norm, self.fc = nn.LayerNorm(32), nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).mT + self.places
        for number, block in enumerate(self.blocks):
            if number == 1 and self.order is not None:
                x = x[:, self.order]
            x = block(x)
        return self.fc(self.norm(x).mean(1))


WINDOWS = torch.arange(36).reshape(2, 3, 2, 3).transpose(1, 2).reshape(-1)  # those of a quarter after each other


@pytest.mark.parametrize(
    ("order", "layer"),
    [(None, "norm"), (torch.randperm(36), "blocks.0"), (WINDOWS, "blocks.0"), (torch.arange(36).flip(0), "blocks.0")],
    ids=["kept", "shuffled", "windows", "reversed"],
)
def test_tokens_that_are_put_into_another_order(order: Tensor | None, layer: str) -> None:
    """What lies behind the change is passed over, with the reason, and refused where it is asked for."""
    net, x = Patches(order).eval(), torch.rand(2, 3, 48, 48)
    assert wf.explain(net, x).layer == layer
    if order is not None:
        notes = {each.name: each.note for each in find_layers(net, x, lambda output: choose(None, output)).every}
        assert notes["norm"] == "its tokens do not lie in the order of the picture"
        with pytest.raises(wf.Error, match="do not lie in the order of the picture"):
            wf.explain(net, x, layer="norm")


def test_tokens_in_order_behind_many_blocks_of_random_weights() -> None:
    """Each depends on all pixels alike by then: it is followed from block to block."""
    assert wf.explain(Patches(None, depth=24).eval(), torch.rand(1, 3, 48, 48)).layer == "norm"


# ------------------------------------------------------------------------------------------ dense outputs


class Dense(nn.Module):
    """An encoder, and a head of two convolutions that gives every place scores; its last but one is narrower."""

    def __init__(self, narrow: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 16, 3, 4, 1), nn.ReLU())
        self.context = nn.Sequential(nn.Conv2d(16, narrow, 3, 1, 2, 2), nn.ReLU())
        self.head = nn.Sequential(nn.Conv2d(narrow, narrow, 3, 1, 1), nn.ReLU(), nn.Conv2d(narrow, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        scores = self.head(self.context(self.encoder(x)))
        return nn.functional.interpolate(scores, x.shape[2:], mode="bilinear")


@pytest.mark.parametrize(("narrow", "layer"), [(8, "encoder"), (16, "context")])
@pytest.mark.parametrize("where", [(0, 0), (63, 63), (32, 20)])
def test_what_an_encoder_hands_on_wherever_the_region_is(narrow: int, layer: str, where: tuple[int, int]) -> None:
    mask = torch.zeros(64, 64)
    mask[where] = 1
    assert wf.explain(Dense(narrow).eval(), torch.rand(1, 3, 64, 64), wf.Pixels(mask, 1)).layer == layer


# ------------------------------------------------------------------------------------------ clips


@pytest.mark.parametrize("name", ["VideoMAE", "Vivit", "Timesformer"])
def test_clips_of_four_frames_have_three_colours(name: str) -> None:
    """``(B, 4, 3, H, W)``: what the first convolution takes says which of the two are the colours."""
    net, inputs = row(name).network(), row(name).inputs()
    assert inputs.shape[1:3] == (4, 3)
    assert wf.explain(net, inputs).input_sizes == [(4, 64, 64)] * 2


# ------------------------------------------------------------------------------------------ cost


def forwards(net: nn.Module, ask: object, times: int = 10) -> list[int]:
    """How often the network's first layer ran in each of some calls."""
    ran: list[int] = []
    first = next(module for module in net.modules() if isinstance(module, (nn.Conv2d, nn.Embedding)))
    handle = first.register_forward_hook(lambda *_: ran.append(1))
    counts = []
    for _ in range(times):
        before = len(ran)
        ask()  # type: ignore[operator]
        counts.append(len(ran) - before)
    handle.remove()
    return counts


ONCE = [2, 1, 1, 1, 1, 1, 1, 1, 1, 1]  # the first call has a traced pass besides


def row(name: str) -> Row:
    return next(each for each in ROWS if name in each.name)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("timm resnet18", lambda: 1),
        ("timm vit_tiny", lambda: [1, 2, 3]),
        ("timm resnet18", lambda: lambda output: output[:, 3]),
        ("timm vit_tiny", lambda: [wf.Difference(0, 1), wf.Difference(2, 3), 1]),
        ("lraspp", lambda: wf.Pixels(torch.ones(64, 64))),
        ("YOLO", lambda: wf.Box(1)),
        ("CLIPVision", lambda: wf.Similarity(torch.ones(16))),
        ("GRU cell", lambda: wf.Action(2)),
        ("CLIPModel", lambda: None),
        ("Bert", lambda: None),
    ],
)
def test_the_traced_pass_is_done_once(name: str, target: object) -> None:
    net, inputs = row(name).network(), row(name).inputs()
    assert forwards(net, lambda: wf.explain(net, inputs, target())) == ONCE  # type: ignore[operator]


def test_another_size_is_traced_once_more() -> None:
    net = row("timm resnet18").network()
    assert forwards(net, lambda: wf.explain(net, torch.rand(1, 3, 64, 64)), 2) == [2, 1]
    assert forwards(net, lambda: wf.explain(net, torch.rand(1, 3, 96, 64)), 2) == [2, 1]
    assert forwards(net, lambda: wf.explain(net, torch.rand(1, 3, 64, 64)), 1) == [1]


@pytest.mark.parametrize("name", ["Bert", "GPT2", "convolutions over words"])
@pytest.mark.parametrize("layer", [True, False])
def test_texts_of_all_lengths_are_traced_once(name: str, layer: bool) -> None:
    net = row(name).network()
    chosen = {"layer": row(name).layer} if layer else {}
    lengths = iter([9, 5, 12, 9, 7])
    shapes = []

    def ask() -> None:
        length = next(lengths)
        shapes.append((length, wf.explain(net, tokens(2, length), **chosen).maps.shape[2]))

    assert forwards(net, ask, 5) == [2, 1, 1, 1, 1]
    assert all(length == positions for length, positions in shapes)


def test_a_yolo_box_is_the_one_with_the_highest_score() -> None:
    net, x = row("YOLO").network(), row("YOLO").inputs()
    boxes = net(x)[0][:, 4:].amax(1)
    torch.testing.assert_close(wf.explain(net, x).scores[:, 0], boxes.amax(1))
