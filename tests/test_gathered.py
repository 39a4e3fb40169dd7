"""Winsor-CAM and FullGrad against plain implementations with hooks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import wherefore as wf
from conftest import ask, hidden, images, pooled
from wherefore.methods.gathered import full_gradients, recorded, winsorized
from wherefore.targets import choose
from wherefore.types import Grid, Layer, Query


def large(maps: Tensor) -> Tensor:
    return F.interpolate(maps, (16, 16), mode="bilinear", align_corners=False)


def convolved(net: nn.Module, x: Tensor, c: int) -> list[tuple[Tensor, Tensor]]:
    """Of every nn.Conv2d its output and the gradient of the score by it; clones go on, for in-place ReLUs."""
    seen: list[Tensor] = []

    def keep(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        seen.append(output)
        return output.clone()

    handles = [m.register_forward_hook(keep) for m in net.modules() if isinstance(m, nn.Conv2d)]
    score = net(x)[:, c].sum()
    for handle in handles:
        handle.remove()
    return list(zip(seen, torch.autograd.grad(score, seen), strict=True))


@pytest.mark.parametrize("net", [pooled, hidden])
@pytest.mark.parametrize("percentile", [0.0, 50.0, 80.0, 100.0])
def test_winsor_cam_equals_a_plain_implementation(net, percentile: float) -> None:
    net, x = net().double(), images(1).double()
    ours = ask("winsor-cam", net, x, "layers", [1, 4], percentile=percentile).maps
    for t, c in enumerate([1, 4]):
        maps, importances = [], []
        for a, g in convolved(net, x, c):
            alpha = g.mean((2, 3))
            one = (alpha[..., None, None] * a.detach()).sum(1, keepdim=True).relu()
            span = float(one.max() - one.min())
            maps.append(large((one - one.min()) / span if span > 0 else one * 0))
            importances.append(max(0.0, float(alpha.mean())))
        present = sorted(i for i in importances if i > 0)
        assert present or net.__class__.__name__ == "Hidden"
        if not present:  # no layer speaks for the class
            assert float(ours[:, t].abs().max()) == 0
            continue
        place = (len(present) - 1) * percentile / 100
        low = int(place)
        ceiling = present[low] + (place - low) * (present[min(low + 1, len(present) - 1)] - present[low])
        clipped = [min(i, ceiling) for i in importances]
        low, high = min(c for c in clipped if c > 0), max(clipped)
        weights = [0 if c == 0 else 1 if high == low else 0.1 + 0.9 * (c - low) / (high - low) for c in clipped]
        expected = sum(w * m for w, m in zip(weights, maps, strict=True))[:, 0]
        torch.testing.assert_close(ours[:, t], expected.detach(), rtol=1e-9, atol=1e-9 * float(expected.max()))


def test_winsorized_by_hand() -> None:
    column = torch.tensor([[0.0], [1.0], [2.0], [10.0]])  # above 0: 1, 2, 10
    assert winsorized(column, 100).flatten().tolist() == pytest.approx([0, 0.1, 0.2, 1])
    assert winsorized(column, 50).flatten().tolist() == pytest.approx([0, 0.1, 1, 1])  # clipped at 2
    assert winsorized(column, 75).flatten().tolist() == pytest.approx([0, 0.1, 0.28, 1])  # halfway from 2 to 10
    assert winsorized(column, 0).flatten().tolist() == [0, 1, 1, 1]
    assert winsorized(torch.zeros(3, 2), 80).tolist() == [[0, 0]] * 3
    both = winsorized(torch.tensor([[0.0, 4.0], [0.0, 8.0]]), 50)  # each image by itself
    assert both.flatten().tolist() == pytest.approx([0, 0.1, 0, 1])


def test_winsor_cam_needs_a_convolution() -> None:
    with pytest.raises(wf.Error, match="this network has none"):
        wf.explain(nn.Sequential(nn.Flatten(), nn.Linear(3 * 256, 5)), images(), 0, method="winsor-cam")


# -------------------------------------------------------------------------------------------- FullGrad


def normed() -> nn.Module:
    """ReLU and batch norm, biases everywhere, a convolution without one, a norm without weights, a max pool."""
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(4, 5, 3, bias=False), nn.BatchNorm2d(5, affine=False), nn.ReLU(inplace=True), nn.Flatten(),
        nn.Linear(5 * 25, 7), nn.ReLU(inplace=True), nn.Linear(7, 3),
    ).double()  # fmt: skip
    net(torch.randn(8, 3, 16, 16).double())
    for module in net.modules():
        if getattr(module, "bias", None) is not None:
            nn.init.normal_(module.bias)
    return net.eval()


def test_full_gradients_sum_to_the_score() -> None:
    """Completeness, eq. 2: of every class, to rounding."""
    for net in (normed(), pooled().double(), hidden().double()):
        x = images(2).double()
        query = Query(net, x, Layer("layers", Grid("channels-first", (16, 16)), 3), lambda out: choose("all", out))
        with recorded(query) as (seen, chosen, calls):
            for t, terms in enumerate(full_gradients(query, seen, chosen, calls)):
                total = sum(term.flatten(1).sum(1) for term in terms)
                torch.testing.assert_close(total, chosen.scores[:, t].detach(), rtol=1e-8, atol=1e-10)


def scaled(term: Tensor) -> Tensor:
    size = term.abs()
    return (size - size.min()) / (size.max() - size.min())


def test_fullgrad_equals_a_plain_implementation() -> None:
    """From hooks on the modules; the terms of the linear layers lie nowhere in the picture."""
    net, x = normed(), images(1).double().requires_grad_()
    seen: list[tuple[Tensor, Tensor]] = []

    def keep(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        if isinstance(module, nn.BatchNorm2d):
            gamma, beta = (1, 0) if module.weight is None else (module.weight, module.bias)
            seen.append((output, beta - gamma * module.running_mean / (module.running_var + module.eps).sqrt()))
        elif module.bias is not None:
            seen.append((output, module.bias))
        return output.clone()

    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.BatchNorm2d)):
            module.register_forward_hook(keep)
    score = net(x)[0, 1]
    by_pixels, *by_outputs = torch.autograd.grad(score, [x, *(output for output, _ in seen)])
    expected = large(scaled(x * by_pixels).sum(1, keepdim=True))
    for (_, bias), g in zip(seen, by_outputs, strict=True):
        expected = expected + large(scaled(g * bias[:, None, None]).sum(1, keepdim=True))
    for module in net.modules():
        module._forward_hooks.clear()
    ours = ask("fullgrad", net, x.detach(), "layers", 1).maps
    torch.testing.assert_close(ours, expected.detach(), rtol=1e-9, atol=1e-12)
