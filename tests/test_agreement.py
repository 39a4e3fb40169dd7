"""Equal to Captum and pytorch-grad-cam: six convolutional networks, ViT and Swin; random weights, and real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
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


# ------------------------------------------------------------------------------------------ pytorch-grad-cam

tiny = {"img_size": 64, "depth": 3, "embed_dim": 32, "num_heads": 4}
small = {"img_size": 128, "window_size": 4, "embed_dim": 24, "depths": (1, 1, 2, 2), "num_heads": (2, 2, 4, 4)}
# As its README says: the layer, and the function that makes pictures of its output.
RECOMMENDED = {
    "vit_tiny_patch16_224": (tiny, "blocks.2.norm1", lambda x: x[:, 1:].unflatten(1, (4, 4)).permute(0, 3, 1, 2)),
    "swin_tiny_patch4_window7_224": (small, "layers.3.blocks.1.norm1", lambda x: x.permute(0, 3, 1, 2)),
}


@pytest.mark.parametrize("name", RECOMMENDED)
def test_pytorch_grad_cam_with_its_recommended_layer_and_reshape_function(name: str) -> None:
    pytest.importorskip("pytorch_grad_cam", reason="needs grad-cam, the library that is compared with")
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    raw = []

    class Raw(GradCAM):
        """Theirs, before its ReLU, its scaling to 0..1 and its resizing."""

        def get_cam_image(self, *args: object, **options: object) -> np.ndarray:
            raw.append(super().get_cam_image(*args, **options))
            return raw[-1]

    options, layer, reshape = RECOMMENDED[name]
    net = timm.create_model(name, num_classes=10, **options).eval()
    x, classes = images(3, options["img_size"]), torch.tensor([2, 7, 0])
    ours = wf.explain(net, x, classes, layer=layer, relu=False).maps[:, 0]  # first: theirs puts numbers into .grad
    with Raw(net, [net.get_submodule(layer)], reshape) as theirs:
        theirs(x, [ClassifierOutputTarget(int(c)) for c in classes])
    expected = torch.from_numpy(raw[0])
    assert float(expected.abs().max()) > 0
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    torch.testing.assert_close(wf.explain(net, x, classes, layer=layer).maps[:, 0], ours.relu())


@pytest.mark.parametrize("name", RECOMMENDED)
def test_the_default_layer_beside_the_recommended_one(name: str) -> None:
    options, layer, _ = RECOMMENDED[name]
    net = timm.create_model(name, num_classes=10, **options).eval()
    e = wf.explain(net, images(1, options["img_size"]), [1, 2])
    if name.startswith("vit"):
        assert e.layer == layer
    else:  # behind the last norm there are a mean and a matrix: Grad-CAM is CAM there
        assert e.layer == "norm"
        with wf.Capture(net, "norm") as seen:
            seen(images(1, options["img_size"]))
            places = seen.activations  # (B, h, w, K)
        weights = net.head.fc.weight[[1, 2]].detach()
        shares = torch.einsum("bhwk,ck->bchw", places, weights) / 16
        torch.testing.assert_close(e.maps, shares.relu(), rtol=1e-4, atol=1e-6)
