"""Pixel methods against Captum where Captum is right, against networks whose ReLUs we replaced ourselves elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
import torch
import torchvision
from captum import attr
from torch import Tensor, nn
from torch.nn import functional as F

import reference
import wherefore as wf
from conftest import hidden, images, pooled, untouched
from wherefore.imaging import resample
from wherefore.methods import cams  # noqa: F401  fills METHODS
from wherefore.registry import METHODS

LAYERS = {"resnet18": "layer4", "vgg11": "features.19", "googlenet": "inception5b", "densenet121": "features"}
TARGETS = torch.tensor([3, 700])


@cache
def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    options = {"init_weights": False} if name == "googlenet" else {}
    return torchvision.models.get_model(name, weights=None, **options).eval()


@contextmanager
def in_float64(name: str) -> Iterator[nn.Module]:
    net = network(name).double()
    try:
        yield net
    finally:
        net.float()


def ours(name: str, method: str, **options: Any) -> wf.Explanation:
    return wf.explain(network(name), images(2, 64), TARGETS, method=method, **options)


def captums() -> Tensor:
    """The same images as Captum wants them: it warns unless they require a gradient."""
    return images(2, 64).requires_grad_()


def assert_equal(pixels: Tensor, theirs: Tensor, tolerance: float = 1e-5) -> None:
    largest = float(theirs.detach().abs().max())
    assert largest > 0
    torch.testing.assert_close(pixels, theirs.detach().to(pixels), rtol=tolerance, atol=tolerance * largest)


# ------------------------------------------------------------------------------------------------ Captum


@pytest.mark.parametrize("name", ["resnet18", pytest.param("vgg11", marks=pytest.mark.slow), "googlenet"])
def test_gradient_is_captums_saliency(name: str) -> None:
    theirs = attr.Saliency(network(name)).attribute(captums(), TARGETS, abs=False)
    assert_equal(ours(name, "gradient").pixels[:, 0], theirs)


# Captum hooks nn.ReLU modules, so it is right only where every ReLU is one: not in GoogLeNet and DenseNet, which call
# F.relu. Those are compared with our own reference below.
@pytest.mark.filterwarnings("ignore:Setting backward hooks")
@pytest.mark.parametrize("name", ["resnet18", pytest.param("vgg11", marks=pytest.mark.slow)])
@pytest.mark.parametrize("method", ["guided-backprop", "deconvnet"])
def test_rules_are_captums(name: str, method: str) -> None:
    theirs = {"guided-backprop": attr.GuidedBackprop, "deconvnet": attr.Deconvolution}[method](network(name))
    assert_equal(ours(name, method).pixels[:, 0], theirs.attribute(captums(), TARGETS))


@pytest.mark.filterwarnings("ignore:Setting backward hooks")
@pytest.mark.parametrize("name", ["resnet18", pytest.param("vgg11", marks=pytest.mark.slow)])
def test_guided_grad_cam_is_captums(name: str) -> None:
    net = network(name)
    theirs = attr.GuidedGradCam(net, net.get_submodule(LAYERS[name]))
    expected = theirs.attribute(captums(), TARGETS, interpolate_mode="bilinear")
    assert_equal(ours(name, "guided-grad-cam", layer=LAYERS[name]).pixels[:, 0], expected)


@pytest.mark.parametrize("name", ["resnet18", pytest.param("vgg11", marks=pytest.mark.slow), "googlenet"])
def test_occlusion_is_captums(name: str) -> None:
    patch, stride = 32, 16
    with in_float64(name) as net:  # a drop is the difference of two scores that are nearly equal
        theirs = attr.Occlusion(net).attribute(
            images(2, 64).double(), (3, patch, patch), (3, stride, stride), 0, TARGETS, perturbations_per_eval=9
        )
        e = ours(name, "occlusion", patch=patch, stride=stride)
    # Captum divides what it sums over the windows by how many of them cover the pixel.
    assert e.maps.shape == (2, 1, 3, 3) and (theirs == theirs[:, :1]).all()
    assert_equal(e.heatmaps()[:, 0], theirs[:, 0])
    # No other window covers the corners: there Captum's is the drop itself.
    ends = torch.tensor([0, -1])
    assert_equal(e.maps[:, 0][:, ends][..., ends], theirs[:, 0][:, ends][..., ends])


# ------------------------------------------------------------------------------------------------ our own reference


@pytest.mark.parametrize("name", ["googlenet", "densenet121", "resnet18", "mobilenet_v2"])  # the last: ReLU6
@pytest.mark.parametrize("rule", ["guided", "deconv"])
def test_rules_reach_functional_relus_too(name: str, rule: str) -> None:
    x = images(2, 32)
    with in_float64(name) as net:
        theirs, plain = (reference.by_pixels(net, x, TARGETS, r) for r in (rule, "plain"))
        method = {"guided": "guided-backprop", "deconv": "deconvnet"}[rule]
        assert_equal(wf.explain(net, x, TARGETS, method=method).pixels[:, 0], theirs, 1e-9)
        assert_equal(wf.explain(net, x, TARGETS, method="gradient").pixels[:, 0], plain, 1e-9)
    assert float(F.cosine_similarity(theirs.flatten(1), plain.flatten(1)).max()) < 0.9, "the rule must matter here"


def test_captum_is_no_measure_where_relus_are_functions() -> None:
    """Why GoogLeNet is not compared with Captum: it has no nn.ReLU, and Captum's result is the plain gradient."""
    net = network("googlenet")
    assert not any(isinstance(m, nn.ReLU) for m in net.modules())
    with pytest.warns(UserWarning, match="backward hooks"):
        theirs = attr.GuidedBackprop(net).attribute(captums(), TARGETS)
    assert_equal(ours("googlenet", "gradient").pixels[:, 0], theirs)


# ------------------------------------------------------------------------------------------------ finite differences


class Smooth(nn.Module):
    """Without kinks, so that central differences are gradients."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(channels, 4, 3), nn.Linear(4 * 9, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.tanh(self.conv(x)).flatten(1))


def by_differences(net: nn.Module, x: Tensor, target: int, step: float = 1e-5) -> Tensor:
    result = torch.zeros_like(x)
    with torch.no_grad():
        for index in torch.cartesian_prod(*(torch.arange(n) for n in x.shape)):
            up, down = x.clone(), x.clone()
            up[tuple(index)] += step
            down[tuple(index)] -= step
            result[tuple(index)] = (net(up[None])[0, target] - net(down[None])[0, target]) / (2 * step)
    return result


@pytest.mark.parametrize("channels", [1, 3])
def test_gradient_is_what_the_score_does(channels: int) -> None:
    net = Smooth(channels).double().eval()
    x = torch.rand(2, channels, 5, 5, dtype=torch.float64)
    e = wf.explain(net, x, [1, 4, 0], method="gradient")
    assert e.pixels.shape == (2, 3, channels, 5, 5) and e.maps.shape == (2, 3, 5, 5)
    for b in range(2):
        for t, c in enumerate([1, 4, 0]):
            torch.testing.assert_close(e.pixels[b, t], by_differences(net, x[b], c), rtol=1e-6, atol=1e-9)


def test_gradient_of_another_target() -> None:
    net, x = Smooth().double().eval(), images(1, 5).double()
    e = wf.explain(net, x, wf.Difference(0, 2), method="gradient")
    expected = by_differences(net, x[0], 0) - by_differences(net, x[0], 2)
    torch.testing.assert_close(e.pixels[0, 0], expected, rtol=1e-6, atol=1e-9)


# ------------------------------------------------------------------------------------------------ maps and options


@pytest.mark.parametrize("method", ["gradient", "guided-backprop", "deconvnet", "guided-grad-cam", "deconv-grad-cam"])
def test_the_map_is_the_largest_absolute_value_over_channels(method: str) -> None:
    e = wf.explain(hidden(), images(2), [0, 1, 2], method=method)
    assert (e.pixels < 0).any() and (e.pixels > 0).any()
    assert torch.equal(e.maps, torch.maximum(e.pixels.amax(2), -e.pixels.amin(2)))
    assert e.heatmaps().shape == (2, 3, 16, 16)


def test_options_of_the_gradient() -> None:
    net, x = hidden(), images(2)
    options = {"target": [0, 1, 2], "method": "gradient"}
    plain, signed = wf.explain(net, x, **options), wf.explain(net, x, **options, signed=True)
    assert torch.equal(signed.pixels, plain.pixels) and (signed.maps < 0).any()
    torch.testing.assert_close(signed.maps, plain.pixels[:, :, 0] + plain.pixels[:, :, 1] + plain.pixels[:, :, 2])
    product = wf.explain(net, x, **options, times_input=True)
    torch.testing.assert_close(product.pixels, plain.pixels * x[:, None])
    assert torch.equal(product.maps, product.pixels.abs().amax(2))
    both = wf.explain(net, x, **options, times_input=True, signed=True)
    torch.testing.assert_close(both.maps, (plain.pixels * x[:, None]).sum(2))


def test_gradient_times_input_of_a_network_without_biases_is_the_score() -> None:
    """Euler: a network of convolutions, ReLUs and max pooling without biases is homogeneous."""
    net = hidden().double()
    for module in net.children():
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)
    e = wf.explain(net, images(2).double(), [0, 1, 2], method="gradient", times_input=True, signed=True)
    torch.testing.assert_close(e.maps.sum((2, 3)), e.scores, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("make", [pooled, hidden])
@pytest.mark.parametrize("rule", ["guided", "deconv"])
def test_products_with_grad_cam(make: Any, rule: str) -> None:
    net, x = make(), images(2)
    product = wf.explain(net, x, [0, 1, 2], method=f"{rule}-grad-cam")
    fine = wf.explain(net, x, [0, 1, 2], method={"guided": "guided-backprop", "deconv": "deconvnet"}[rule])
    coarse = wf.explain(net, x, [0, 1, 2], layer=product.layer)
    large = F.interpolate(coarse.maps, (16, 16), mode="bilinear")  # not normalised
    torch.testing.assert_close(resample(coarse.maps, (16, 16)), large)
    torch.testing.assert_close(product.pixels, fine.pixels * large[:, :, None], rtol=1e-4, atol=1e-9)


# ------------------------------------------------------------------------------------------------ circumstances


class Frozen(nn.Module):
    """A trunk that runs under no_grad, as features of a frozen backbone are often computed; it changes its input."""

    def __init__(self, keeps: Any = torch.no_grad) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(6, 4, 3))
        self.fc, self.keeps = nn.Linear(4, 5), keeps

    def forward(self, x: Tensor) -> Tensor:
        x.sub_(0.5)
        with self.keeps():
            features = self.trunk(x)
        return self.fc(F.relu_(features).mean((2, 3)))


PIXELS = ["gradient", "guided-backprop", "deconvnet", "guided-grad-cam", "deconv-grad-cam"]


@pytest.mark.parametrize("method", PIXELS)
def test_a_network_that_switches_the_graph_off(method: str) -> None:
    net, x = Frozen(torch.enable_grad).eval(), images(2)
    expected = wf.explain(net, x, [0, 1, 2], method=method, layer="trunk").pixels if "cam" in method else None
    expected = wf.explain(net, x, [0, 1, 2], method=method).pixels if expected is None else expected
    net.keeps = torch.no_grad
    options = {"layer": "trunk"} if "cam" in method else {}
    with untouched(net):
        first = wf.explain(net, x, [0, 1, 2], method=method, **options).pixels
        again = wf.explain(net, x, [0, 1, 2], method=method, **options).pixels  # known by now
    assert float(expected.abs().max()) > 0
    torch.testing.assert_close(first, expected)
    torch.testing.assert_close(again, expected)
    assert torch.equal(x, images(2)), "the network changes a copy of its input"


@pytest.mark.parametrize("method", PIXELS)
@pytest.mark.parametrize("make", [pooled, hidden])
def test_frozen_and_without_a_graph_of_the_callers(make: Any, method: str) -> None:
    net, x = make(), images(2)
    expected = wf.explain(net, x, [0, 1, 2], method=method).pixels
    net.requires_grad_(False)
    for around in (torch.enable_grad, torch.no_grad, torch.inference_mode):
        with around(), untouched(net):
            inside = x.clone()  # under inference_mode a tensor of its kind
            pixels = wf.explain(net, inside, [0, 1, 2], method=method).pixels
        torch.testing.assert_close(pixels, expected)
        assert not pixels.requires_grad


def test_images_that_require_a_gradient_are_left_alone() -> None:
    x = images(2).requires_grad_()
    pixels = wf.explain(hidden(), x, [0, 1, 2], method="gradient", times_input=True).pixels
    assert x.grad is None and not pixels.requires_grad


class Normalising(nn.Module):
    """Takes the mean colour off, in the caller's own tensor or in a new one."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU())
        self.fc, self.inplace = nn.Linear(4, 5), inplace

    def forward(self, x: Tensor) -> Tensor:
        x = x.sub_(0.5) if self.inplace else x - 0.5
        return self.fc(self.features(x).mean((2, 3)))


assert METHODS, "importing the methods fills the registry"


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_network_may_change_its_input_in_place(method: str) -> None:
    net, other, x = Normalising(True).eval(), Normalising(False).eval(), images(2, 12)
    other.load_state_dict(net.state_dict())
    maps = wf.explain(net, x, [0, 1, 2], method=method).maps
    expected = wf.explain(other, images(2, 12), [0, 1, 2], method=method).maps
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    assert torch.equal(x, images(2, 12)), "the caller's images are as they were"
