"""Guided backprop and deconvnet rules: at every way of writing a ReLU, and only inside the block."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import reference
import wherefore as wf
from conftest import hidden, images, pooled, untouched
from wherefore.backward import rectified

TARGETS = [0, 3, 4]
METHODS = {"guided": "guided-backprop", "deconv": "deconvnet", "plain": "gradient"}

# How a network may write its ReLUs; a class makes a module at each place, a module is one for all places.
WAYS: dict[str, Any] = {
    "nn.ReLU": nn.ReLU,
    "nn.ReLU(inplace)": lambda: nn.ReLU(inplace=True),
    "one nn.ReLU for all": nn.ReLU(),
    "one nn.ReLU(inplace) for all": nn.ReLU(inplace=True),
    "F.relu": lambda: F.relu,
    "F.relu(inplace)": lambda: lambda x: F.relu(x, inplace=True),
    "F.relu_": lambda: F.relu_,
    "torch.relu": lambda: torch.relu,
    "torch.relu_": lambda: torch.relu_,
    "Tensor.relu": lambda: lambda x: x.relu(),
    "Tensor.relu_": lambda: lambda x: x.relu_(),
    "clamp(min=0)": lambda: lambda x: x.clamp(min=0),
    "clamp_(min=0)": lambda: lambda x: x.clamp_(min=0),
    "clamp_min": lambda: lambda x: x.clamp_min(0),
    "clip": lambda: lambda x: torch.clip(x, 0.0),
    "F.threshold": lambda: lambda x: F.threshold(x, 0, 0),
    "nn.Threshold(inplace)": lambda: nn.Threshold(0, 0, inplace=True),
}
WAYS_TO_SIX: dict[str, Any] = {
    "nn.ReLU6": nn.ReLU6,
    "nn.ReLU6(inplace)": lambda: nn.ReLU6(inplace=True),
    "F.relu6": lambda: F.relu6,
    "F.hardtanh": lambda: lambda x: F.hardtanh(x, 0, 6),
    "clamp(0, 6)": lambda: lambda x: x.clamp(0, 6),
}


class Residual(nn.Module):
    """Convolutions, one of them in a residual block, max pooling, and a hidden linear layer."""

    def __init__(self, way: Any) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.fc1, self.fc2 = nn.Linear(4 * 9, 7), nn.Linear(7, 5)
        made = [way if isinstance(way, nn.Module) else way() for _ in range(4)]
        self.acts = made
        self.owned = nn.ModuleList([act for act in made if isinstance(act, nn.Module)])

    def forward(self, x: Tensor) -> Tensor:
        first, branch, after, late = self.acts
        x = first(self.conv1(x))
        x = F.max_pool2d(after(x + branch(self.conv2(x)) - 1), 2)
        return self.fc2(late(self.fc1(x.flatten(1))))

    def layers(self, relu: str) -> list[tuple]:
        """The same network as the reference writes it."""
        conv1, conv2, fc1, fc2 = ((m.weight.detach(), m.bias.detach()) for m in self.children() if hasattr(m, "weight"))
        # The 1 that is taken off before the second ReLU is a linear layer of its own: a conv that copies and subtracts.
        copies = torch.zeros(4, 4, 3, 3, dtype=torch.float64)
        copies[range(4), range(4), 1, 1] = 1
        shift = ("conv", copies, -torch.ones(4, dtype=torch.float64))
        block = ("residual", [("conv", *conv2), (relu,)])
        return [("conv", *conv1), (relu,), block, shift, (relu,), ("pool",), ("flatten",),
                ("linear", *fc1), (relu,), ("linear", *fc2)]  # fmt: skip


def residual(way: Any) -> Residual:
    """In float64, always the same weights, large enough that some values exceed 6."""
    torch.manual_seed(3)
    net = Residual(way).double().eval()
    for weights, times in ((net.conv1.weight, 12), (net.conv2.weight, 3), (net.fc1.weight, 3)):
        weights.data.mul_(times)
    return net


@cache  # the same for every way of writing
def expected(relu: str, rule: str) -> tuple[Tensor, Tensor]:
    """The outputs, and the signals at the pixels of 2 images for 3 targets each, ``(2, 3, 3, 6, 6)``."""
    layers = residual(nn.ReLU6 if relu == "relu6" else nn.ReLU).layers(relu)
    outputs, signals = [], []
    for x in images(2, 6).double():
        output, given = reference.forward(layers, x)
        outputs.append(output)
        starts = torch.eye(5, dtype=torch.float64)[TARGETS]
        signals.append(torch.stack([reference.backward(layers, given, start, rule) for start in starts]))
    return torch.stack(outputs), torch.stack(signals)


def assert_follows(way: Any, relu: str, rule: str) -> None:
    net, x = residual(way), images(2, 6).double()
    outputs, wanted = expected(relu, rule)
    _, plain = expected(relu, "plain")
    torch.testing.assert_close(net(x).detach(), outputs, rtol=1e-10, atol=1e-12)
    with untouched(net):
        ours = wf.explain(net, x, TARGETS, method=METHODS[rule]).pixels
    torch.testing.assert_close(ours, wanted, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(wf.explain(net, x, TARGETS, method="gradient").pixels, plain, rtol=1e-10, atol=1e-12)
    apart = (wanted - plain).flatten(2).norm(dim=2) / plain.flatten(2).norm(dim=2)
    assert float(apart.min()) > 0.1, "the rule must make a difference here"


@pytest.mark.parametrize("rule", ["guided", "deconv"])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_writing_a_relu(way: str, rule: str) -> None:
    assert_follows(WAYS[way], "relu", rule)


@pytest.mark.parametrize("rule", ["guided", "deconv"])
@pytest.mark.parametrize("way", WAYS_TO_SIX)
def test_every_way_of_writing_a_relu6(way: str, rule: str) -> None:
    _, to_six = expected("relu6", rule)
    _, unlimited = expected("relu", rule)
    assert not torch.allclose(to_six, unlimited), "some values must lie above the ceiling, else this is a ReLU"
    assert_follows(WAYS_TO_SIX[way], "relu6", rule)


def gradients(scores: Tensor, by: Tensor, rule: str) -> Tensor:
    with rectified(scores, rule):
        return torch.autograd.grad(scores.sum(), by, retain_graph=True)[0]


def test_mask_laws() -> None:
    """Right below a ReLU: plain = g·[x>0], guided = g·[x>0]·[g>0], deconv = g·[g>0]; nothing else."""
    x = torch.randn(3, 8, dtype=torch.float64, requires_grad=True)
    g = torch.randn(3, 8, dtype=torch.float64)
    scores = (torch.relu(x) * g).sum(1)
    assert torch.equal(gradients(scores, x, "plain"), torch.where(x > 0, g, 0))
    assert torch.equal(gradients(scores, x, "guided"), torch.where((x > 0) & (g > 0), g, 0))
    assert torch.equal(gradients(scores, x, "deconv"), torch.where(g > 0, g, 0))


def test_where_a_value_is_exactly_zero_nothing_passes() -> None:
    x = torch.zeros(1, 4, requires_grad=True)
    assert float(gradients(torch.relu(x).sum(1), x, "guided").abs().max()) == 0
    assert float(gradients(torch.relu(x).sum(1), x, "deconv").min()) == 1, "deconvnet does not look at the value"


def test_plain_again_after_the_block() -> None:
    net, x = hidden(), images(2).requires_grad_()
    scores = net(x)[:, 1]
    before = gradients(scores, x, "plain")
    for rule in ("guided", "deconv"):
        first = gradients(scores, x, rule)
        assert not torch.allclose(first, before)
        assert torch.equal(gradients(scores, x, "plain"), before)
        assert torch.equal(gradients(scores, x, rule), first), "one graph serves any order"


@pytest.mark.parametrize("rule", ["guided", "deconv"])
def test_plain_again_after_an_exception(rule: str) -> None:
    net, x = hidden(), images(2).requires_grad_()
    scores = net(x)[:, 1]
    before = gradients(scores, x, "plain")
    with untouched(net), pytest.raises(RuntimeError, match="in the middle"), rectified(scores, rule):
        raise RuntimeError("in the middle")
    assert torch.equal(torch.autograd.grad(scores.sum(), x)[0], before)


def test_plain_again_after_a_backward_pass_that_breaks() -> None:
    class Breaks(torch.autograd.Function):
        broken = True

        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            if Breaks.broken:
                raise RuntimeError("in the middle")
            return g

    x = torch.randn(2, 6, requires_grad=True)
    g = torch.randn(2, 6)
    scores = (torch.relu(Breaks.apply(x)) * g).sum(1)
    with pytest.raises(RuntimeError, match="in the middle"):
        gradients(scores, x, "guided")
    Breaks.broken = False
    assert torch.equal(torch.autograd.grad(scores.sum(), x)[0], torch.where(x > 0, g, 0))


@pytest.mark.parametrize("make", [pooled, hidden])
def test_a_batch_and_many_targets_equal_one_by_one(make: Callable[[], nn.Module]) -> None:
    net, x = make().double(), images(3).double()
    for method in ("guided-backprop", "deconvnet", "guided-grad-cam", "deconv-grad-cam"):
        together = wf.explain(net, x, target=[4, 0], method=method, batch_size=2).pixels
        alone = [
            [wf.explain(net, x[b : b + 1], target=c, method=method).pixels[0, 0] for c in (4, 0)] for b in range(3)
        ]
        torch.testing.assert_close(together, torch.stack([torch.stack(row) for row in alone]), rtol=1e-9, atol=1e-12)


def test_two_threads_with_different_rules_on_one_network() -> None:
    net, x = pooled(), images(2)
    methods = list(METHODS.values())
    alone = {m: wf.explain(net, x, [0, 1, 4], method=m).pixels for m in methods}
    assert not torch.allclose(alone["guided-backprop"], alone["deconvnet"])
    barrier, wrong = threading.Barrier(len(methods), timeout=60), []

    def repeat(method: str) -> None:
        for _ in range(8):
            barrier.wait()
            pixels = wf.explain(net, x, [0, 1, 4], method=method).pixels
            if not torch.allclose(pixels, alone[method], rtol=1e-5, atol=1e-7):
                wrong.append(method)

    with untouched(net):
        threads = [threading.Thread(target=repeat, args=(m,)) for m in methods]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not barrier.broken and wrong == []


class Smooth(nn.Module):
    """A network without a ReLU, or with one above another activation."""

    def __init__(self, act: nn.Module, late: nn.Module | None = None) -> None:
        super().__init__()
        self.conv, self.act, self.fc1, self.fc2 = nn.Conv2d(3, 4, 3), act, nn.Linear(4 * 16, 6), nn.Linear(6, 5)
        self.late = act if late is None else late

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.late(self.fc1(self.act(self.conv(x)).flatten(1))))


@pytest.mark.parametrize("rule", ["guided", "deconv"])
@pytest.mark.parametrize("act", [nn.LeakyReLU(0.1), nn.GELU(), nn.SiLU(), nn.ELU(), nn.Hardtanh(-1, 1)], ids=str)
def test_without_a_relu_it_is_the_plain_gradient_and_says_so(act: nn.Module, rule: str) -> None:
    net, x = Smooth(act).eval(), images(2, 6)
    with pytest.warns(UserWarning, match="meets no ReLU .*2 .* changes nothing") as said:
        ours = wf.explain(net, x, 1, method=METHODS[rule]).pixels
    assert len(said) == 1
    text = str(said[0].message)
    assert text.endswith(".") and text.count(". ") == 0 and rule in text
    assert torch.equal(ours, wf.explain(net, x, 1, method="gradient").pixels)


def test_with_other_activations_too_it_says_how_many() -> None:
    net, x = Smooth(nn.GELU(), nn.ReLU()).double().eval(), images(2, 6).double()
    with pytest.warns(UserWarning, match=r"guided rule changes 1 ReLU.* leaves .*1 gelu.* plain") as said:
        ours = wf.explain(net, x, 1, method="guided-backprop").pixels
    assert len(said) == 1
    theirs = reference.by_pixels(net, x, torch.tensor([1, 1]), "guided")
    torch.testing.assert_close(ours[:, 0], theirs, rtol=1e-9, atol=1e-12)


def test_unknown_rule() -> None:
    net, x = hidden(), images(1)
    with pytest.raises(wf.Error, match="gided"), rectified(net(x)[:, 0], "gided"):
        pass
    with pytest.raises(wf.Error, match="gided"):
        wf.explain(net, x, backward="gided")


def test_the_weights_get_no_gradient_and_may_be_trained_on() -> None:
    """What is explained in the middle of a training step leaves that step's own graph as it was."""
    net, x = pooled(), images(2)
    twin = copy.deepcopy(net)
    loss = net(x).square().sum()
    wf.explain(net, x, [0, 1, 4], method="guided-backprop")
    assert all(p.grad is None for p in net.parameters())
    loss.backward()
    twin(x).square().sum().backward()
    for ours, theirs in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)


class OnAView(nn.Module):
    """In-place ReLUs on views, which autograd writes down without their names."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc1, self.fc2 = nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor, inplace: bool = True) -> Tensor:
        x = self.conv(x)
        if inplace:
            x.permute(0, 2, 3, 1).relu_()
            x = F.relu(self.fc1(torch.flatten(x, 1)).view(-1, 2, 4), inplace=True)
            return self.fc2(F.hardtanh(x.flatten(1), 0.0, 6.0, True))
        x = self.fc1(torch.flatten(torch.relu(x), 1))
        return self.fc2(F.relu6(torch.relu(x)))


@pytest.mark.parametrize("method", ["guided-backprop", "deconvnet"])
def test_in_place_on_a_view(method: str) -> None:
    net, x = OnAView().eval(), images(2, 8)

    class Plain(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return net(x, inplace=False)

    ours, expected = (wf.explain(n, x, "all", method=method).pixels for n in (net, Plain()))
    assert float(expected.abs().max()) > 0
    torch.testing.assert_close(ours, expected)


class CompiledFunction(nn.Module):
    """A function in its forward is compiled: its graph would hold no ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc, self.act = nn.Conv2d(3, 4, 3), nn.Linear(4, 3), F.relu

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.act(self.conv(x)).mean((2, 3)))


def test_compiled_functions_in_the_forward() -> None:
    net, x = CompiledFunction().eval(), images(1, 8)
    expected = wf.explain(net, x, 0, method="guided-backprop").pixels
    net.act = torch.compile(F.relu)
    torch.testing.assert_close(wf.explain(net, x, 0, method="guided-backprop").pixels, expected)
