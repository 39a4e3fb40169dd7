"""Contracts that hold for every registered method, and the equations against plain loops."""

from __future__ import annotations

import math

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

import reference
import wherefore as wf
from conftest import hidden, images, pooled, untouched
from wherefore.methods import cams, perturbation
from wherefore.registry import METHODS
from wherefore.targets import choose
from wherefore.types import Grid, Layer, Query

EVERY = sorted(METHODS)
assert EVERY, "importing the methods fills the registry"


def tolerance(maps: Tensor) -> float:
    """What differs by rounding: of the maps' own size, or of the scores (about 1 here) whose differences they are."""
    return max(1e-6 * float(maps.abs().max()), 2e-7)


@pytest.fixture(params=EVERY)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Occlusion would answer the second of two equal questions from memory."""
    monkeypatch.setattr(perturbation, "REMEMBERED_BYTES", 0)


# ------------------------------------------------------------------------------------------------ contracts


def test_says_where_it_comes_from(method: str) -> None:
    entry = METHODS[method]
    assert entry.summary.endswith(".") and len(entry.summary) <= 120
    assert entry.about["paper"] and entry.about["cost"]
    assert "=" in (entry.run.__doc__ or ""), "the docstring gives the formula"


def test_raw_finite_float32_maps(method: str) -> None:
    e = wf.explain(pooled(), images(2), target=[0, 1, 2], method=method)
    assert e.maps.shape[:2] == (2, 3) and e.maps.dtype == torch.float32 and not e.maps.requires_grad
    assert torch.isfinite(e.maps).all() and e.maps.abs().max() > 0
    assert e.scores.shape == e.evidence.shape == (2, 3)
    assert e.pixels is None or e.pixels.shape[:2] == (2, 3)


def test_batch_equals_one_by_one(method: str) -> None:
    net, x = pooled(), images(4)
    together = wf.explain(net, x, target=[0, 3, 4], method=method).maps
    alone = torch.cat([wf.explain(net, x[i : i + 1], target=[0, 3, 4], method=method).maps for i in range(4)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=tolerance(alone))


def test_several_targets_equal_one_by_one(method: str) -> None:
    net, x = pooled(), images(2)
    together = wf.explain(net, x, target="all", method=method).maps
    for c in range(5):
        alone = wf.explain(net, x, target=c, method=method).maps[:, 0]
        torch.testing.assert_close(together[:, c], alone, rtol=1e-4, atol=tolerance(together))


def test_targets_of_each_image(method: str) -> None:
    net, x = pooled(), images(3)
    e = wf.explain(net, x, target=torch.tensor([4, 0, 2]), method=method)
    every = wf.explain(net, x, target="all", method=method).maps
    torch.testing.assert_close(
        e.maps[:, 0], every[torch.arange(3), torch.tensor([4, 0, 2])], rtol=1e-4, atol=tolerance(every)
    )


def test_the_network_is_left_as_it_was(method: str) -> None:
    net = pooled().train()
    net.features[1].eval()
    next(net.parameters()).requires_grad_(False)
    for p in net.fc.parameters():
        p.grad = torch.ones_like(p)
    with untouched(net):
        wf.explain(net, images(2), target=[0, 1, 2], method=method)
    with untouched(net), torch.no_grad():
        wf.explain(net, images(2), method=method)


def test_the_network_is_left_as_it_was_after_an_exception(method: str) -> None:
    net = pooled().train()

    def breaks(output: Tensor) -> Tensor:
        raise RuntimeError("in the middle")

    with untouched(net), pytest.raises(RuntimeError, match="in the middle"):
        wf.explain(net, images(2), target=breaks, method=method)

    def broken(module: nn.Module, inputs: object) -> None:
        raise RuntimeError("in the head")

    handle = net.fc.register_forward_pre_hook(broken)
    with untouched(net), pytest.raises(RuntimeError, match="in the head"):
        wf.explain(net, images(2), target=0, method=method)
    handle.remove()


def test_deterministic(method: str) -> None:
    net, x = pooled(), images(2)
    first, second = (wf.explain(net, x, target=[0, 1, 2], method=method).maps for _ in range(2))
    assert torch.equal(first, second)


def test_frozen(method: str) -> None:
    net, x = pooled(), images(2)
    expected = wf.explain(net, x, target=1, method=method).maps
    torch.testing.assert_close(wf.explain(net.requires_grad_(False), x, target=1, method=method).maps, expected)


def test_under_autocast(method: str) -> None:
    net, x = pooled(), images(2)
    exact = wf.explain(net, x, target=[0, 1, 2], method=method).maps
    with torch.autocast("cpu", torch.bfloat16):
        maps = wf.explain(net, x, target=[0, 1, 2], method=method).maps
    assert maps.dtype == torch.float32
    size = exact.flatten(2).norm(dim=2)
    error = (maps - exact).flatten(2).norm(dim=2) / size.clamp(min=1e-3 * float(size.max()))
    assert float(error.max()) < 0.2, error  # of single pixels behind a ReLU more can be lost


def test_no_evidence_is_zeros_and_says_so(method: str) -> None:
    if METHODS[method].about.get("blind"):
        pytest.skip(f"{method} does not rest on what the score depends on")
    net = pooled()
    nn.init.zeros_(net.fc.weight)
    e = wf.explain(net, images(1), target=0, method=method)
    assert float(e.maps.abs().max()) == 0 and float(e.evidence) == 0
    assert not math.isnan(float(e.maps.sum()))


# ------------------------------------------------------------------------------------------------ equations


def rule(method: object) -> cams.Rule:
    """The map of a method's pure rule, from activations and gradients."""

    def maps(activations: Tensor, gradients: Tensor) -> Tensor:
        return cams.summed(activations, method.__wrapped__(activations, gradients))

    return maps


def ask(method: str, net: nn.Module, x: Tensor, layer: str, target: object) -> Tensor:
    """The method's own result, float64 where the network is."""
    place = Layer(layer, Grid("channels-first", (1, 1)), 0)
    return METHODS[method].run(Query(net, x, place, lambda output: choose(target, output))).maps


class Smooth(nn.Module):
    """No kink above the layer, so that central differences are gradients; a functional ReLU behind the convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc1, self.fc2 = nn.Conv2d(3, 4, 3, stride=2), nn.Linear(4 * 9, 6), nn.Linear(6, 5)

    def below(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x))

    def above(self, a: Tensor) -> Tensor:
        return self.fc2(torch.tanh(self.fc1(F.adaptive_avg_pool2d(a, 3).flatten(1))))

    def forward(self, x: Tensor) -> Tensor:
        return self.above(self.below(x))


@pytest.mark.parametrize("method", ["grad-cam", "counterfactual"])
def test_equals_plain_loops_in_float64(method: str) -> None:
    """Against the equations as loops over exact gradients, which central differences confirm."""
    net, x = Smooth().double().eval(), images(2).double()
    ours = ask(method, net, x, "conv+relu", [0, 3])
    for b in range(2):
        for t, c in enumerate([0, 3]):
            a, by_differences = reference.activations_and_gradients(net.below, net.above, x[b], c)
            leaf = a[None].detach().requires_grad_()
            (exact,) = torch.autograd.grad(net.above(leaf)[0, c], leaf)
            torch.testing.assert_close(by_differences, exact[0], rtol=1e-5, atol=1e-8)
            expected = getattr(reference, method.replace("-", "_"))(a, exact[0])
            torch.testing.assert_close(ours[b, t], expected, rtol=1e-9, atol=1e-9 * float(expected.max()))


def test_cam_equals_plain_loops_in_float64() -> None:
    net, x = pooled().double(), images(2).double()
    ours = ask("cam", net, x, "features", [0, 3])
    for b in range(2):
        a = net.features(x[b : b + 1])[0].detach()
        for t, c in enumerate([0, 3]):
            expected = reference.cam(a, net.fc, c)
            torch.testing.assert_close(ours[b, t], expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))


@pytest.mark.parametrize("name", ["pooled", "resnet18", "mobilenet_v2", "googlenet"])
def test_alpha_is_w_over_z_behind_global_pooling(name: str) -> None:
    """Section 3.1: on a pooled-linear network the weights are the classifier's, so Grad-CAM = ReLU(CAM) / Z."""
    options = {"init_weights": False} if name == "googlenet" else {}
    net = pooled() if name == "pooled" else torchvision.models.get_model(name, weights=None, num_classes=5, **options)
    net.eval()
    x = images(3, 64)
    head = [m for m in net.modules() if isinstance(m, nn.Linear)][-1]
    layer = wf.explain(net, x).layer
    gcam, cam = (wf.explain(net, x, target="all", method=m).maps for m in ("grad-cam", "cam"))
    positions = gcam.shape[-1] * gcam.shape[-2]
    torch.testing.assert_close(gcam, cam.relu() / positions, rtol=1e-5, atol=1e-7)
    with wf.Capture(net, layer) as seen:
        output = seen(x)
        for c in range(5):  # one target at a time is always differentiated, never read off the weights
            (gradients,) = seen.gradients(output[:, c : c + 1])
            alpha = cams.pooled(gradients)
            torch.testing.assert_close(alpha[:, 0], (head.weight[c] / positions).expand(3, -1), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("net", [pooled, hidden])
def test_map_minus_counterfactual_is_the_signed_sum(net) -> None:
    a, g = torch.randn(2, 8, 5, 5), torch.randn(2, 3, 8, 5, 5)
    signed = torch.stack(
        [torch.stack([reference.weighted_sum(a[b], reference.weights(g[b, t])) for t in range(3)]) for b in range(2)]
    )
    torch.testing.assert_close(
        (rule(cams.grad_cam)(a, g) - rule(cams.counterfactual)(a, g)).double(), signed, rtol=1e-5, atol=1e-6
    )
    net, x = net(), images(2)
    one, other = (wf.explain(net, x, target="all", method=m).maps for m in ("grad-cam", "counterfactual"))
    assert one.max() > 0 and other.max() > 0 and float((one * other).abs().max()) == 0


def test_cam_refuses_other_heads_and_targets() -> None:
    with pytest.raises(wf.Error, match="average pooling and one linear"):
        wf.explain(hidden(), images(), method="cam")
    with pytest.raises(wf.Error, match="explains classes only"):
        wf.explain(pooled(), images(), method="cam", target=wf.Difference(0, 1))


def test_difference_is_the_difference_of_the_signed_maps() -> None:
    net, x = hidden(), images(2)

    def signed(target: object) -> Tensor:
        return wf.explain(net, x, target).maps - wf.explain(net, x, target, method="counterfactual").maps

    torch.testing.assert_close(signed(wf.Difference(1, 3)), signed(1) - signed(3), rtol=1e-4, atol=1e-7)


def test_classes_and_other_targets_in_one_call() -> None:
    net, x = pooled(), images(2)
    targets = [1, wf.Difference(0, 1), lambda output: output[:, 2] * 3]
    together = wf.explain(net, x, targets).maps
    for t, target in enumerate(targets):
        torch.testing.assert_close(together[:, t], wf.explain(net, x, target).maps[:, 0], rtol=1e-4, atol=1e-7)


def test_pooled_notices_constant_gradients() -> None:
    constant = torch.randn(2, 3, 4, 1, 1).expand(2, 3, 4, 5, 5)
    torch.testing.assert_close(cams.pooled(constant), cams.pooled(constant.contiguous()))
