"""Excitation backprop on torchvision's networks and real weights, where it is refused, what it leaves behind."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn

import wherefore as wf
from conftest import images, pooled, untouched

# -------------------------------------------------------------------------------------------- networks as they are


LAYERS = {
    "vgg11": "features.15",
    "alexnet": "features.5",
    "googlenet": "maxpool4",
    "resnet18": "layer3",
    "resnet50": "layer3",  # not layer4.0.relu:0, which is finer than layer4 too and beside the skip
    "densenet121": "features.transition3.conv",
    "squeezenet1_1": "features.8",
    "mobilenet_v2": "features.14.conv.0",
}


def random_net(name: str) -> nn.Module:
    options = {"init_weights": False} if name == "googlenet" else {}
    return torchvision.models.get_model(name, weights=None, num_classes=5, **options).eval()


QUICK = ("resnet18", "squeezenet1_1")


# MobileNetV2's linear bottlenecks are signed, and it is said.
@pytest.mark.filterwarnings("ignore:on the way to layer 'features.14.conv.0'")
@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in LAYERS])
@pytest.mark.parametrize("method", ["excitation", "c-mwp"])
def test_torchvision(name: str, method: str) -> None:
    """Finite maps, from where the last stage begins."""
    net = random_net(name)
    with untouched(net):
        e = wf.explain(net, images(1, 64), [0, 3], method=method)
    assert e.layer == LAYERS[name]
    assert torch.isfinite(e.maps).all() and float(e.maps.abs().max()) > 0
    if method == "c-mwp":
        assert float(e.maps.min()) >= 0
    elif name in ("vgg11", "alexnet", "googlenet", "squeezenet1_1"):  # all values on the way are >= 0
        assert float(e.maps.min()) >= 0
        torch.testing.assert_close(e.maps.sum((2, 3)) + e.measures["lost"], torch.ones(1, 2), rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:on the way to layer 'features.14.conv.0'")
@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v2"])
def test_real_weights(name: str, data: Path) -> None:
    """On photographs' scale the map and what was lost make 1, also over MobileNetV2's signed sums."""
    net = torchvision.models.get_model(name, weights=None)
    net.load_state_dict(load_file(data / "weights" / f"{name}_imagenet.safetensors"))
    path = sorted((data / "imagenet" / "sample").glob("*.JPEG"))[0]
    e = wf.explain(wf.Model(net.eval(), preprocess=wf.Preprocess()), str(path), method="excitation")
    scale = float(e.maps.abs().sum())
    assert abs(float(e.maps.sum() + e.measures["lost"]) - 1) < 1e-3 * max(scale, 1.0)


def small_vit() -> nn.Module:
    return torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5)


def activated(by: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), by, nn.Conv2d(4, 4, 3), by, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(4, 5))  # fmt: skip


@pytest.mark.parametrize("method", ["excitation", "c-mwp"])
@pytest.mark.parametrize(
    ("net", "layer"),
    [(small_vit, "conv_proj"), (lambda: activated(nn.GELU()), "0"), (lambda: activated(nn.SiLU()), "0")],
)
def test_networks_without_a_rule(net, layer: str, method: str) -> None:
    net = net().eval()
    with untouched(net), pytest.raises(wf.Error, match=r"no rule for .*take another method") as error:
        wf.explain(net, images(1, 32), 0, method=method, layer=layer)
    assert str(error.value).count(". ") == 0 and str(error.value).endswith(".")


@pytest.mark.parametrize("target", [wf.Difference(0, 1), lambda output: output[:, 0] * 2])
@pytest.mark.parametrize("method", ["excitation", "c-mwp"])
def test_targets_that_are_no_class(method: str, target: object) -> None:
    net = pooled()
    with untouched(net), pytest.raises(wf.Error, match="starts at a class"):
        wf.explain(net, images(), target, method=method)


# -------------------------------------------------------------------------------------------- circumstances


@pytest.mark.parametrize("method", ["excitation", "c-mwp"])
def test_frozen_no_grad_and_inference(method: str) -> None:
    net, x = pooled(), images(3)
    expected = wf.explain(net, x, [0, 1], method=method).maps
    with torch.no_grad():
        assert torch.equal(wf.explain(net, x, [0, 1], method=method).maps, expected)
    with torch.inference_mode():
        assert torch.equal(wf.explain(net, x, [0, 1], method=method).maps, expected)
    assert torch.equal(wf.explain(net.requires_grad_(False), x, [0, 1], method=method).maps, expected)


def test_the_rule_ends_with_the_call() -> None:
    """The weights are the same bits, and the caller's own gradients are plain again."""
    net, x = pooled(), images(3)

    def gradient() -> Tensor:
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(net(leaf).sum(), leaf)[0]

    before = gradient()
    with untouched(net):
        wf.explain(net, x, [0, 1], method="c-mwp")
    handle = net.fc.register_forward_hook(lambda *_: (_ for _ in ()).throw(RuntimeError("stop")))
    with untouched(net), pytest.raises(RuntimeError, match="stop"):
        wf.explain(net, x, [0, 1], method="c-mwp", layer="features.2")
    handle.remove()
    assert torch.equal(gradient(), before)


def test_threads() -> None:
    """Three threads with three rules on one network."""
    net, x, found, wrong = pooled(), images(3), {}, []
    methods = ("excitation", "c-mwp", "grad-cam")
    for method in methods:
        found[method] = wf.explain(net, x, [0, 3], method=method, layer="features.2").maps

    def work(method: str) -> None:
        for _ in range(5):
            maps = wf.explain(net, x, [0, 3], method=method, layer="features.2").maps
            if not torch.allclose(maps, found[method], rtol=1e-4, atol=1e-6):
                wrong.append(method)

    threads = [threading.Thread(target=work, args=(method,)) for method in methods]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
