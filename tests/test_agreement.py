"""Equal to Captum's LayerGradCam on six architectures, with random weights and with real ones where there are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from captum.attr import LayerGradCam
from safetensors.torch import load_file
from torch import Tensor, nn

import wherefore as wf
from conftest import images
from wherefore import imaging

LAYERS = {
    "resnet18": "layer4",
    "vgg11": "features.19",
    "densenet121": "features",
    "googlenet": "inception5b",
    "mobilenet_v2": "features",
    "squeezenet1_1": "features",
}


def captums(net: nn.Module, layer: str, x: Tensor, target: Tensor) -> Tensor:
    # Captum overwrites what an in-place ReLU behind the layer changes, so its own clone is what it explains.
    return LayerGradCam(net, net.get_submodule(layer)).attribute(x, target, relu_attributions=True).detach()[:, 0]


def assert_equal(net: nn.Module, name: str, x: Tensor) -> None:
    net.eval()
    wanted = torch.tensor([[3, 700], [250, 700]])
    ours = wf.explain(net, x, wanted, layer=LAYERS[name])
    single = torch.stack([wf.explain(net, x, wanted[:, t], layer=LAYERS[name]).maps[:, 0] for t in range(2)], 1)
    evidence = 0.0
    for maps in (ours.maps, single):
        for t in range(2):
            theirs = captums(net, LAYERS[name], x, wanted[:, t])
            evidence += float(theirs.sum())
            torch.testing.assert_close(maps[:, t], theirs, rtol=1e-5, atol=1e-5 * float(theirs.max()))
    assert evidence > 0


@pytest.mark.parametrize("name", LAYERS)
def test_random_weights(name: str) -> None:
    options = {"init_weights": False} if name == "googlenet" else {}
    net = torchvision.models.get_model(name, weights=None, **options)
    assert_equal(net, name, images(2, 128))


@pytest.mark.parametrize("name", ["mobilenet_v2", "squeezenet1_1"])
def test_real_weights(name: str, data: Path) -> None:
    net = torchvision.models.get_model(name, weights=None)
    net.load_state_dict(load_file(data / "weights" / f"{name}_imagenet.safetensors"))
    model = wf.Model(net.eval(), preprocess=wf.Preprocess())
    paths = sorted((data / "imagenet" / "sample").glob("*.JPEG"))[:2]
    x = torch.stack([model.preprocess(imaging.read(p)) for p in paths])
    assert_equal(net, name, x)
