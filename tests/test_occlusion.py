"""Occlusion: the drops against loops, what one sweep costs and serves, and how patches become pixels."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import wherefore as wf
from conftest import hidden, images, pooled, untouched
from wherefore.methods import perturbation
from wherefore.types import Patches


def explain(net: nn.Module, x: Tensor, target: Any = None, **options: Any) -> wf.Explanation:
    return wf.explain(net, x, target, method="occlusion", **options)


def drops(net: nn.Module, x: Tensor, target: int, patch: int, stride: int, fill: float) -> Tensor:
    """y(x) - y(x with one patch covered), patch by patch and one image ``(C, H, W)`` at a time."""
    rows = []
    with torch.no_grad():
        for top in range(0, x.shape[1] - patch + 1, stride):
            row = []
            for left in range(0, x.shape[2] - patch + 1, stride):
                covered = x.clone()
                for i in range(patch):
                    for j in range(patch):
                        covered[:, top + i, left + j] = fill
                row.append(float(net(x[None])[0, target] - net(covered[None])[0, target]))
            rows.append(row)
    return torch.tensor(rows)


@pytest.mark.parametrize(("patch", "stride", "fill"), [(4, 4, 0.0), (5, 3, 0.0), (3, 5, -1.5), (16, 1, 0.5)])
def test_equals_loops(patch: int, stride: int, fill: float) -> None:
    net, x = hidden().double(), images(3).double()
    e = explain(net, x, [0, 3], patch=patch, stride=stride, fill=fill)
    for b in range(3):
        for t, c in enumerate([0, 3]):
            expected = drops(net, x[b], c, patch, stride, fill)
            torch.testing.assert_close(e.maps[b, t], expected, rtol=1e-5, atol=1e-7 * float(expected.abs().max()))


def test_neither_square_nor_divisible() -> None:
    net, x = pooled().double(), torch.rand(1, 3, 14, 19, dtype=torch.float64)
    e = explain(net, x, 2, patch=4, stride=3)
    assert e.maps.shape == (1, 1, 4, 6) and e.heatmaps().shape == (1, 1, 14, 19)
    torch.testing.assert_close(e.maps[0, 0], drops(net, x[0], 2, 4, 3, 0.0), rtol=1e-5, atol=1e-9)


class Linear(nn.Module):
    """y_c = w_c · x + b_c, whose exact attribution is known."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * side * side, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1))


@pytest.mark.parametrize("fill", [0.0, 0.25])
def test_of_a_linear_network_it_is_exact(fill: float) -> None:
    net, x = Linear(12).double().eval(), images(2, 12).double()
    e = explain(net, x, [1, 2, 3], patch=4, stride=4, fill=fill)
    parts = net.fc.weight.detach().view(4, 3, 12, 12)[1:] * (x - fill)[:, None]
    expected = parts.sum(2).unflatten(3, (3, 4)).unflatten(2, (3, 4)).sum((3, 5))
    torch.testing.assert_close(e.maps, expected.float(), rtol=1e-5, atol=1e-7)
    if fill == 0:  # tiles add up to all that the score owes to the picture
        torch.testing.assert_close(e.maps.sum((2, 3)), e.scores - net.fc.bias[1:].detach().float())


# ------------------------------------------------------------------------------------------------ patches


def test_default_patches() -> None:
    assert perturbation._patches(torch.zeros(1, 3, 224, 224), None, None) == Patches(32, 16)
    assert Patches(32, 16).grid(224, 224) == (13, 13)
    assert perturbation._patches(torch.zeros(1, 3, 224, 300), None, None) == Patches(32, 16)
    assert perturbation._patches(torch.zeros(1, 3, 224, 224), 20, None) == Patches(20, 10)
    assert explain(pooled(), images(1, 28)).patches == Patches(4, 2)
    assert explain(pooled(), images(1, 3)).maps.shape == (1, 1, 3, 3), "the smallest picture has patches of one pixel"


@pytest.mark.parametrize("options", [{"patch": 17}, {"patch": 0}, {"patch": -3}, {"patch": 4, "stride": 0}])
def test_patches_that_do_not_fit(options: dict[str, int]) -> None:
    with pytest.raises(wf.Error, match=r"does not fit into an image of 20x16: give patch="):
        explain(pooled(), torch.rand(1, 3, 16, 20), **options)


def line(patches: Patches, values: list[float], side: int) -> list[float]:
    """How one row of cells is spread over a row of pixels."""
    spread = patches.spread(torch.tensor(values, dtype=torch.float32)[None], (patches.size, side))
    assert spread.shape == (patches.size, side)
    assert torch.equal(spread, spread[:1].expand(patches.size, -1)), "a single row of cells is the same all down"
    return spread[0].tolist()


@pytest.mark.parametrize(
    ("size", "stride", "values", "expected"),
    [
        (2, 2, [1, 2, 3], [1, 1, 2, 2, 3, 3]),  # tiles
        (2, 1, [1, 3, 5], [1, 2, 4, 5]),  # each pixel inside lies in two
        (4, 2, [2, 6], [2, 2, 4, 4, 6, 6]),
        (3, 1, [3, 6, 9], [3, 4.5, 6, 7.5, 9]),
        (2, 2, [1, 2], [1, 1, 2, 2, 2]),  # a rim of one pixel that no patch reaches
        (2, 1, [1, 3], [1, 2, 3, 3, 3]),
        (1, 3, [1, 4, 7], [1, 1, 4, 4, 4, 7, 7]),  # gaps: the nearest patch
        (3, 6, [1, 2], [1, 1, 1, 1, 1, 2, 2, 2, 2]),  # the middle pixel is as near to one as to the other: the first
        (2, 4, [1, 2], [1, 1, 1, 2, 2, 2]),  # also of an even size
        (2, 5, [1, 2], [1, 1, 1, 1, 2, 2, 2]),
        (4, 6, [1, 2, 3], [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3]),
        (2, 3, [1, 2], [1, 1, 1, 2, 2, 2]),  # and a rim behind gaps
    ],
)
def test_spread_by_hand(size: int, stride: int, values: list[float], expected: list[float]) -> None:
    assert line(Patches(size, stride), values, len(expected)) == pytest.approx(expected)


@pytest.mark.parametrize(("size", "stride"), [(3, 2), (4, 4), (2, 3)])
def test_spread_equals_the_mean_over_covering_patches(size: int, stride: int) -> None:
    patches, (height, width) = Patches(size, stride), (11, 14)
    maps = torch.randn(2, *patches.grid(height, width), dtype=torch.float64)
    spread = patches.spread(maps, (height, width))
    for i in range(height):
        for j in range(width):
            over = [
                maps[:, r, c]
                for r in range(maps.shape[1])
                for c in range(maps.shape[2])
                if r * stride <= i < r * stride + size and c * stride <= j < c * stride + size
            ]
            if over:
                torch.testing.assert_close(spread[:, i, j], sum(over) / len(over))
    assert (maps.amin((1, 2)) <= spread.amin((1, 2)) + 1e-12).all()


# ------------------------------------------------------------------------------------------------ one sweep


def forwards(net: nn.Module) -> list[int]:
    """The batch sizes that go through the network from now on."""
    seen: list[int] = []
    net.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    return seen


def test_all_targets_cost_one_sweep() -> None:
    one, five = pooled(), pooled()
    first, second = forwards(one), forwards(five)
    explain(one, images(2), 1, patch=4, stride=4)
    explain(five, images(2), "all", patch=4, stride=4)
    assert first == second and sum(first) == 2 * (1 + 16)


def test_a_sweep_is_remembered_for_another_class_of_the_same_image() -> None:
    net, x = pooled(), images(2)
    seen = forwards(net)
    explain(net, x, 1, patch=4)
    first = len(seen)
    again = explain(net, x, [0, 3, 4], patch=4)
    assert seen[first:] == [2], "only what the scores take"
    fresh = pooled()
    fresh.load_state_dict(net.state_dict())
    assert torch.equal(again.maps, explain(fresh, x, [0, 3, 4], patch=4).maps)
    explain(net, x.flip(0), 1, patch=4)
    assert seen[first + 1 :] == [2], "an image is known by what is in it, wherever it stands in a batch"


@pytest.mark.parametrize("options", [{"patch": 5}, {"patch": 4, "stride": 4}, {"patch": 4, "fill": 0.5}])
def test_other_settings_are_swept_anew(options: dict[str, Any]) -> None:
    net, x = pooled(), images(1)
    explain(net, x, 1, patch=4)
    known = explain(net, x, 1, **options).maps
    fresh = pooled()
    fresh.load_state_dict(net.state_dict())
    assert torch.equal(known, explain(fresh, x, 1, **options).maps)


@pytest.mark.parametrize("change", ["in place", "by data", "by a new module", "by a buffer", "by a hook"])
def test_a_changed_network_is_swept_anew(change: str) -> None:
    net, x = pooled(), images(1)
    before = explain(net, x, 1, patch=4).maps
    with torch.no_grad():
        if change == "in place":
            net.fc.weight.mul_(2)
        elif change == "by data":
            net.fc.weight.data.mul_(2)
        elif change == "by a new module":
            net.fc = nn.Linear(8, 5)
        elif change == "by a buffer":
            net.features[1].running_var.mul_(4)
        else:
            net.fc.register_forward_hook(lambda module, inputs, output: 2 * output)
    after = explain(net, x, 1, patch=4).maps[0, 0]
    assert not torch.allclose(before[0, 0], after)
    torch.testing.assert_close(after, drops(net, x[0], 1, 4, 2, 0.0), rtol=1e-4, atol=1e-6)


def test_more_images_than_are_remembered_in_two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perturbation, "REMEMBERED_BYTES", 4 * 5 * (1 + 9))  # one sweep of 9 patches, 5 classes
    net, failed = pooled(), []
    expected = [explain(net, images(4)[b : b + 1], 1, patch=8).maps for b in range(4)]

    def repeat(mine: list[int]) -> None:
        for b in mine * 10:
            try:
                torch.testing.assert_close(explain(net, images(4)[b : b + 1], 1, patch=8).maps, expected[b])
            except Exception as error:
                failed.append(error)

    threads = [threading.Thread(target=repeat, args=(mine,)) for mine in ([0, 1], [2, 3])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(perturbation._SWEEPS[net]) == 1
    together = explain(net, images(4), 1, patch=8).maps
    torch.testing.assert_close(together, torch.cat(expected), rtol=1e-5, atol=1e-7)


def test_callables_as_targets() -> None:
    net, x = pooled(), images(2)
    classes = explain(net, x, "all", patch=4, stride=4).maps
    with untouched(net):
        e = explain(net, x, [wf.Difference(1, 3), lambda output: 2 * output[:, 0], 4], patch=4, stride=4)
    expected = torch.stack([classes[:, 1] - classes[:, 3], 2 * classes[:, 0], classes[:, 4]], 1)
    torch.testing.assert_close(e.maps, expected, rtol=1e-4, atol=1e-6)
