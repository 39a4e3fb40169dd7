"""Methods that run the network again, and `Resume`, against plain loops that use hooks or nothing at all."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

import reference
import wherefore as wf
from conftest import ask, hidden, images, pooled, untouched
from wherefore.methods import integrated
from wherefore.resume import Resume


def unit(one: Tensor) -> Tensor:
    span = one.max() - one.min()
    return (one - one.min()) / span if span > 0 else torch.zeros_like(one)


def replaced(net: nn.Module, layer: str, x: Tensor, change: Any) -> Tensor:
    """The network's output with a layer's output changed by a forward hook."""
    handle = net.get_submodule(layer).register_forward_hook(lambda module, inputs, output: change(output.clone()))
    try:
        with torch.no_grad():
            return net(x.clone())
    finally:
        handle.remove()


def layer_output(net: nn.Module, layer: str, x: Tensor) -> Tensor:
    seen = []
    replaced(net, layer, x, lambda output: seen.append(output.clone()) or output)
    return seen[-1]


def double(net: nn.Module) -> nn.Module:
    """In float64, with a dead channel, before an in-place ReLU where the layer is a convolution."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.out_channels == 8:
            nn.init.zeros_(module.weight[3])
            nn.init.zeros_(module.bias[3:4])
    return net.double()


NETS = [(pooled, "features"), (pooled, "features.3"), (hidden, "conv2")]


@pytest.mark.parametrize("masks", ["input", "layer"])
@pytest.mark.parametrize(("net", "layer"), NETS)
def test_score_cam_equals_a_plain_loop(net, layer: str, masks: str) -> None:
    net, x = double(net()), images(2).double()
    ours = ask("score-cam", net, x, layer, [0, 3], masks=masks).maps
    for b in range(2):
        one = x[b : b + 1]
        a = layer_output(net, layer, one)[0]
        scores = []
        for k in range(8):
            if masks == "input":
                large = F.interpolate(a[None, k : k + 1], (16, 16), mode="bilinear", align_corners=False)
                scores.append(net(one * unit(large)).detach()[0])
            else:
                mask = unit(a[k])
                scores.append(replaced(net, layer, one, lambda output, h=mask: output * h)[0])
        for t, c in enumerate([0, 3]):
            alpha = torch.stack(scores)[:, c].softmax(0).tolist()
            expected = reference.weighted_sum(a, alpha).clamp(min=0)
            # the weights are a softmax in float32
            torch.testing.assert_close(ours[b, t], expected, rtol=1e-5, atol=1e-6 * float(expected.max()))


@pytest.mark.parametrize(("net", "layer"), NETS)
def test_ablation_cam_equals_a_plain_loop(net, layer: str) -> None:
    net, x = double(net()), images(2).double()
    ours = ask("ablation-cam", net, x, layer, [0, 3]).maps
    for b in range(2):
        one = x[b : b + 1]
        a, plain, falls = layer_output(net, layer, one)[0], net(one).detach()[0], []
        for k in range(8):

            def without(output: Tensor, k: int = k) -> Tensor:
                output[:, k] = 0
                return output

            falls.append(plain - replaced(net, layer, one, without)[0])
        for t, c in enumerate([0, 3]):
            expected = reference.weighted_sum(a, [float(fall[c]) for fall in falls]).clamp(min=0)
            torch.testing.assert_close(ours[b, t], expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("method", ["score-cam", "ablation-cam"])
def test_other_targets_follow(method: str) -> None:
    """A callable that is a class in disguise gives the class's map, though its copies run one by one."""
    net, x = pooled(), images(3)
    by_class = wf.explain(net, x, 2, method=method).maps
    torch.testing.assert_close(wf.explain(net, x, lambda out: out[:, 2], method=method).maps, by_class)


# -------------------------------------------------------------------------------------------- Resume


class Counting(nn.Module):
    """Takes another course each time, so that notes of one pass do not fit the next."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc, self.count = nn.Conv2d(3, 4, 3), nn.Linear(4, 3), itertools.count()

    def forward(self, x: Tensor) -> Tensor:
        x = x * 1 if next(self.count) % 2 else x + 0
        return self.fc(F.relu(self.conv(x)).mean((2, 3)))


class Sizing(nn.Module):
    """Reads sizes, a buffer that is written into and a statistic of the images below the layer, and uses them above."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        count, doubled = x.size(0), torch.zeros_like(x)
        doubled[:] = x * 2
        mean = doubled.mean((1, 2, 3))[:, None]
        return self.fc(F.relu(self.conv(doubled)).mean((2, 3)).view(count, -1)) + mean


class Branching(nn.Module):
    """Which way it goes depends on the data: torch.fx cannot trace it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if float(x.detach().sum()) > 1e9:
            return x
        return self.fc(F.relu(x, inplace=True).mean((2, 3)))


class Twice(nn.Module):
    """One convolution called twice, a skip around the second, and a weight that is read below and above it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.conv = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.scale, self.shift = nn.Parameter(torch.tensor(1.5)), nn.Parameter(torch.randn(2, 1, 1))
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x) * self.scale + self.shift.repeat(2, 1, 1)
        x = F.relu(self.conv(x))
        y = F.relu(self.conv(x) * self.scale + self.shift.repeat(2, 1, 1), inplace=True)
        return self.fc((x + y).mean((2, 3)))


def hooked() -> nn.Module:
    """With a hook of the user's own, which must have its effect."""
    net = pooled()
    net.fc.register_forward_hook(lambda module, inputs, output: output * 3)
    return net


PLACES = [
    (pooled, "features.3", True), (pooled, "features", True), (hooked, "features.3", True),
    (Branching, "conv", True), (Twice, "conv", True), (Twice, "conv:0", True), (Twice, "conv:1", True),
    (Counting, "conv", False), (Sizing, "conv", True),
    (lambda: torchvision.models.resnet18(num_classes=5), "layer3.0.conv1", True),
    pytest.param(lambda: torchvision.models.densenet121(num_classes=5), "features.denseblock4.denselayer16.conv1", True,
                 marks=pytest.mark.slow),
]  # fmt: skip


@pytest.mark.parametrize(("net", "layer", "cut"), PLACES)
def test_resume_equals_the_network_with_a_hook(net, layer: str, cut: bool) -> None:
    """Started: the network. Again: the network with the layer's output replaced; n copies, one after the other."""
    net, x = net().eval(), images(2, 64)
    with torch.no_grad():
        plain = net(x)
    module, _, number = layer.partition(":")
    calls: list[int] = []

    def other(output: Tensor) -> Tensor:
        calls.append(0)
        chosen = int(number) if number else (1 if isinstance(net, Twice) else 0)
        return output * 0.5 + 0.1 if len(calls) - 1 == chosen else output

    expected = replaced(net, module, x, other)
    assert not torch.allclose(plain, expected, rtol=1e-5, atol=1e-6)
    with untouched(net), Resume(net, layer) as network:
        output = network.start(x)
        assert (network.notes is not None) == cut
        torch.testing.assert_close(output, plain)
        kept = network.activations.clone()
        torch.testing.assert_close(network(network.activations), plain)
        torch.testing.assert_close(network(network.activations * 0.5 + 0.1), expected)
        both = network(torch.cat([kept, kept * 0.5 + 0.1, kept]))
        torch.testing.assert_close(both, torch.cat([plain, expected, plain]), rtol=1e-4, atol=1e-6)
        assert torch.equal(network.activations, kept), "an in-place function above changed what is explained"
        assert not output.requires_grad


@pytest.mark.parametrize("layer", ["conv+relu", "conv2+relu"])
def test_resume_behind_a_functional_activation(layer: str) -> None:
    net, x = (Branching() if layer == "conv+relu" else hidden()).eval(), images(2)
    with torch.no_grad(), Resume(net, layer) as network:
        torch.testing.assert_close(network.start(x), net(x))
        assert float(network.activations.min()) == 0
        changed = network(network.activations * 2)
        torch.testing.assert_close(network(network.activations), net(x))
        assert not torch.allclose(changed, net(x))


def test_resume_after_an_error() -> None:
    net = pooled().train()
    with untouched(net), pytest.raises(RuntimeError), Resume(net, "features") as network:
        network.start(images(2))
        network(torch.zeros(2, 3, 4, 4))


@pytest.mark.parametrize("method", ["score-cam", "ablation-cam"])
@pytest.mark.parametrize("options", [{}, {"masks": "layer"}])
def test_tokens(method: str, options: dict[str, Any]) -> None:
    """The grid of tokens is masked in place, the class token is left as it is."""
    if method == "ablation-cam" and options:
        pytest.skip("no such option")
    net = torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5).eval()
    nn.init.normal_(net.heads.head.weight)  # its head starts at zero
    x, layer = images(2, 32), "encoder.layers.encoder_layer_0"
    ours = wf.explain(net, x, 1, method=method, layer=layer, **options).maps[:, 0]
    tokens = layer_output(net, layer, x)
    a = tokens[:, 1:].transpose(1, 2).unflatten(2, (4, 4))
    for b in range(2):
        weights = []
        for k in range(16):
            if options:
                mask = torch.cat([torch.ones(1), unit(a[b, k]).flatten()])[:, None]
                weights.append(float(replaced(net, layer, x[b : b + 1], lambda out, m=mask: out * m)[0, 1]))
            elif method == "score-cam":
                large = F.interpolate(a[b][None, k : k + 1], (32, 32), mode="bilinear", align_corners=False)
                weights.append(float(net(x[b : b + 1] * unit(large))[0, 1].detach()))
            else:
                keep = torch.ones(17, 16)
                keep[1:, k] = 0
                fall = net(x[b : b + 1]).detach() - replaced(net, layer, x[b : b + 1], lambda out, m=keep: out * m)
                weights.append(float(fall[0, 1]))
        alpha = torch.tensor(weights).softmax(0).tolist() if method == "score-cam" else weights
        expected = reference.weighted_sum(a[b], alpha).clamp(min=0).float()
        torch.testing.assert_close(ours[b], expected, rtol=1e-3, atol=1e-4 * float(expected.max()))


# -------------------------------------------------------------------------------------------- paths


class Tail(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc1, self.fc2 = nn.Conv2d(3, 4, 3, stride=2), nn.Linear(4 * 49, 6), nn.Linear(6, 4)

    def at(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """A ``(K, h, w)`` and d score_1 / d A of one image."""
        a = F.relu(self.conv(x[None])).detach().requires_grad_()
        score = self.fc2(torch.tanh(self.fc1(a.flatten(1))))[0, 1]
        return a[0].detach(), torch.autograd.grad(score, a)[0][0]

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(torch.tanh(self.fc1(F.relu(self.conv(x)).flatten(1))))


@pytest.mark.parametrize("steps", [1, 4])
def test_paths_equal_plain_loops_over_their_steps(steps: int) -> None:
    net, x = Tail().double(), images(2).double()
    integrated, rsi = (
        ask(method, net, x, "conv+relu", 1, steps=steps).maps for method in ("integrated-grad-cam", "rsi-grad-cam")
    )
    for b in range(2):
        blank, _ = net.at(0 * x[b])
        before, total, alpha = blank, torch.zeros(7, 7).double(), [0.0] * 4
        for step in range(1, steps + 1):
            a, g = net.at(x[b] * step / steps)
            sums = [float(g[k].sum()) for k in range(4)]
            total += reference.weighted_sum(a - blank, sums).clamp(min=0) / steps
            for k in range(4):
                alpha[k] += float((g[k] * (a[k] - before[k])).mean())
            before = a
        torch.testing.assert_close(integrated[b, 0], total, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(rsi[b, 0], reference.weighted_sum(before, alpha).clamp(min=0), rtol=1e-9, atol=1e-12)


def test_rsi_weights_of_a_linear_tail_sum_to_the_change_of_the_score() -> None:
    """Z·alpha_k, as they go into eq. 2."""
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 9, 5)).double()
    x = images(3, 3).double()
    change = (net(x) - net(0 * x)).detach()
    alphas, summed = [], integrated.summed
    try:
        integrated.summed = lambda a, weights: alphas.append(weights) or summed(a, weights)
        ask("rsi-grad-cam", net, x, "1", steps=3)
    finally:
        integrated.summed = summed
    torch.testing.assert_close(9 * alphas[0].sum(2), change, rtol=1e-10, atol=1e-12)


class Saturated(nn.Module):
    """min(10·sum A, 1) as a score: 1, and flat, long before the picture is reached."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 1, bias=False)
        nn.init.ones_(self.conv.weight)

    def forward(self, x: Tensor) -> Tensor:
        score = (self.conv(x).relu().sum((2, 3)) * 0.01).clamp(max=1)
        return torch.cat([score, -score], 1)


def test_paths_see_through_saturation() -> None:
    net, x = Saturated(), images(1)
    assert float(net(x)[0, 0].detach()) == 1
    assert float(wf.explain(net, x, 0, layer="conv").maps.abs().max()) == 0
    for method in ("rsi-grad-cam", "integrated-grad-cam"):
        assert float(wf.explain(net, x, 0, layer="conv", method=method).maps.max()) > 0


def test_other_threads_are_not_concerned() -> None:
    """Neither users of the network nor of others see that it is run again; what explains beside it neither."""
    net, other, x, failed = pooled(), hidden(), images(2), []
    with torch.no_grad():
        plain, elsewhere = net(x), other(x)
    expected = {m: wf.explain(net, x, 1, method=m).maps for m in ("grad-cam", "ablation-cam")}
    done = threading.Event()

    def use() -> None:
        while not done.is_set():
            with torch.no_grad():
                if not (torch.equal(net(x), plain) and torch.equal(other(x), elsewhere)):
                    failed.append("a user's own pass")

    def explain(method: str) -> None:
        for _ in range(10):
            if not torch.allclose(wf.explain(net, x, 1, method=method).maps, expected[method]):
                failed.append(method)

    users = [threading.Thread(target=use)]
    ours = [threading.Thread(target=explain, args=(m,)) for m in ("grad-cam", "ablation-cam", "ablation-cam")]
    for thread in [*users, *ours]:
        thread.start()
    for thread in ours:
        thread.join()
    done.set()
    users[0].join()
    assert failed == []


def test_differences_are_swept_together_and_equal_the_difference() -> None:
    """A difference of two classes is read from copies of the batch, as classes are."""
    net, x = hidden(), images(2)
    for method in ("occlusion", "score-cam", "ablation-cam"):
        passes: list[int] = []
        handle = net.fc2.register_forward_hook(lambda *_, passes=passes: passes.append(1))
        one = wf.explain(net, x, [[0, 1], [0, 1]], method=method, batch_size=1)
        classes = len(passes)
        both = wf.explain(net, x, wf.Difference(0, 1), method=method, batch_size=1)
        handle.remove()
        assert len(passes) - classes <= classes
        if method == "occlusion":
            torch.testing.assert_close(both.maps[:, 0], one.maps[:, 0] - one.maps[:, 1], rtol=1e-4, atol=1e-6)
