"""The paper's ablations (Table 3) as options of grad-cam, each against loops over gradients that are not ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

import reference
import wherefore as wf
from conftest import hidden, images, pooled, untouched

# By what is looked at, a network's part below the layer and its part above it.
Parts = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]


def two_parts(net: nn.Module) -> Parts:
    """The parts of `hidden` at its second convolution's ReLU."""

    def below(x: Tensor) -> Tensor:
        return F.relu(net.conv2(F.max_pool2d(F.relu(net.conv1(x)), 2)))

    def above(a: Tensor) -> Tensor:
        return net.fc2(F.relu(net.fc1(F.max_pool2d(a, 2).flatten(1))))

    return below, above


def at_the_layer(parts: Parts, x: Tensor, target: int, rule: str = "plain") -> tuple[Tensor, Tensor]:
    """A and dy/dA of one image, the ReLUs above A following a rule of our own."""
    below, above = parts
    a = below(x[None]).detach().requires_grad_()
    with reference.every_relu(rule):
        (gradients,) = torch.autograd.grad(above(a)[0, target], a)
    return a[0].detach(), gradients[0]


def assert_maps(ours: Tensor, expected: Callable[[int, int], Tensor], tolerance: float = 1e-5) -> None:
    """Each map of image b and target t is what was expected of them."""
    for b in range(ours.shape[0]):
        for t in range(ours.shape[1]):
            wanted = expected(b, t)
            assert float(wanted.abs().max()) > 0
            torch.testing.assert_close(
                ours[b, t].double(), wanted, rtol=tolerance, atol=tolerance * float(wanted.abs().max())
            )


TARGETS = [0, 3, 4]
WEIGHTS = {"mean": reference.weights, "absolute": reference.absolute_weights, "max": reference.largest_weights}


def lively() -> nn.Module:
    """A `hidden` whose last weights are large enough that gradients of both signs are."""
    net = hidden().double()
    for weights in (net.conv2.weight, net.fc1.weight):
        weights.data.mul_(3)
    return net


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("pooling", WEIGHTS)
def test_pooling_and_relu_equal_loops(pooling: str, relu: bool) -> None:
    net, x = lively(), images(2).double()
    ours = wf.explain(net, x, TARGETS, layer="conv2+relu", pooling=pooling, relu=relu).maps

    def expected(b: int, t: int) -> Tensor:
        a, gradients = at_the_layer(two_parts(net), x[b], TARGETS[t])
        signed = reference.weighted_sum(a, WEIGHTS[pooling](gradients))
        return signed.clamp(min=0) if relu else signed

    assert_maps(ours, expected)


def test_without_the_relu_it_is_signed() -> None:
    net, x = lively(), images(2).double()
    options = {"target": TARGETS, "layer": "conv2+relu"}
    signed = wf.explain(net, x, relu=False, **options).maps
    assert float(signed.min()) < 0 < float(signed.max())
    assert torch.equal(signed.clamp(min=0), wf.explain(net, x, **options).maps)
    against = wf.explain(net, x, method="counterfactual", **options).maps
    torch.testing.assert_close((-signed).clamp(min=0), against)


def test_the_largest_gradient_keeps_its_sign() -> None:
    """Of gradients that are all negative the largest is the one nearest to zero."""
    net, x = pooled(), images(2)
    net.fc.weight.data.copy_(-net.fc.weight.data.abs())
    plain, largest, absolute = (
        wf.explain(net, x, TARGETS, pooling=p, relu=False).maps for p in ("mean", "max", "absolute")
    )
    assert float(plain.max()) <= 0
    torch.testing.assert_close(largest, plain)  # behind global pooling the gradient is the same everywhere
    torch.testing.assert_close(absolute, -plain)


@pytest.mark.parametrize("rule", ["guided", "deconv"])
def test_backward_rule_equals_loops(rule: str) -> None:
    net, x = lively(), images(2).double()
    with untouched(net):
        ours = wf.explain(net, x, TARGETS, layer="conv2+relu", backward=rule).maps
    assert not torch.allclose(ours, wf.explain(net, x, TARGETS, layer="conv2+relu").maps, rtol=0.01)
    assert_maps(ours, lambda b, t: reference.grad_cam(*at_the_layer(two_parts(net), x[b], TARGETS[t], rule)))


@pytest.mark.parametrize("rule", ["guided", "deconv"])
def test_backward_rule_of_many_targets_equals_one_by_one(rule: str) -> None:
    """All targets go back together, in one batched pass."""
    net, x = lively(), images(3).double()
    together = wf.explain(net, x, "all", layer="conv2+relu", backward=rule).maps
    for c in range(5):
        alone = wf.explain(net, x, c, layer="conv2+relu", backward=rule).maps[:, 0]
        torch.testing.assert_close(together[:, c], alone, rtol=1e-5, atol=1e-9)


@pytest.mark.slow  # building its three linear layers takes most of the time
@pytest.mark.parametrize("rule", ["guided", "deconv"])
def test_vgg_has_relus_on_the_way(rule: str) -> None:
    torch.manual_seed(0)
    net = torchvision.models.vgg11(weights=None, num_classes=20).eval()
    x, targets = images(2, 64), torch.tensor([3, 17])

    def above(a: Tensor) -> Tensor:
        return net.classifier(net.avgpool(net.features[20](a)).flatten(1))

    # Signed: with random weights a map may have no positive part.
    ours, plain = (
        wf.explain(net, x, targets, layer="features.19", relu=False, backward=b).maps for b in (rule, "plain")
    )
    assert float(F.cosine_similarity(ours.flatten(1), plain.flatten(1)).max()) < 0.95
    parts = net.features[:20], above

    def expected(b: int, t: int) -> Tensor:
        a, gradients = at_the_layer(parts, x[b], int(targets[b]), rule)
        return torch.einsum("khw,k->hw", a.double(), gradients.double().mean((1, 2)))

    assert_maps(ours, expected, 1e-4)


def no_relu_above(name: str) -> tuple[nn.Module, str | None, Tensor]:
    if name == "pooled":
        return pooled(), None, images(2)
    options = {"init_weights": False} if name == "googlenet" else {}
    net = torchvision.models.get_model(name, weights=None, num_classes=20, **options).eval()
    return net, {"resnet18": "layer4", "googlenet": "inception5b"}[name], images(2, 64)


@pytest.mark.parametrize("rule", ["guided", "deconv"])
@pytest.mark.parametrize("name", ["pooled", "resnet18", "googlenet"])
def test_without_a_relu_on_the_way_the_rule_changes_nothing_and_says_so(name: str, rule: str) -> None:
    net, layer, x = no_relu_above(name)
    plain = wf.explain(net, x, TARGETS, layer=layer).maps
    with pytest.warns(UserWarning, match=f"the {rule} rule meets no ReLU on the way and changes nothing") as said:
        ours = wf.explain(net, x, TARGETS, layer=layer, backward=rule).maps
    assert len(said) == 1
    assert float(plain.max()) > 0 and torch.equal(ours, plain)


@pytest.mark.parametrize("rule", ["guided", "deconv"])
def test_below_the_last_map_the_rule_changes_a_resnet_too(rule: str) -> None:
    net, _, x = no_relu_above("resnet18")
    ours, plain = (wf.explain(net, x, TARGETS, layer="layer3", backward=b).maps for b in (rule, "plain"))
    assert not torch.allclose(ours, plain, rtol=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "median"}, "median.*mean"),
        ({"backward": "gided"}, "gided.*guided"),
        ({"method": "hires-cam", "pooling": "max"}, "'pooling' is no option of hires-cam"),
    ],
)
def test_unknown_values(options: dict[str, Any], message: str) -> None:
    with pytest.raises(wf.Error, match=message):
        wf.explain(hidden(), images(1), 0, **options)
