"""pytorch-grad-cam's interface over ours: equal to the library where that is right, and right where it errs in silence.

Truth where the library errs is a plain hook on a copy of the network whose functions are not in place.
"""

from __future__ import annotations

import runpy
import subprocess
import sys
import warnings
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

import wherefore as wf
from conftest import images, pooled
from wherefore.compat import install
from wherefore.compat import pytorch_grad_cam as ours
from wherefore.compat.pytorch_grad_cam import metrics
from wherefore.compat.pytorch_grad_cam.utils import find_layers, image, model_targets, reshape_transforms
from wherefore.compat.pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from wherefore.compat.pytorch_grad_cam.utils.svd_on_activations import get_2d_projection, get_2d_projection_kernel
from wherefore.errors import Error


@pytest.fixture
def theirs() -> Any:
    return pytest.importorskip("pytorch_grad_cam", reason="needs grad-cam, the library that is compared with")


@pytest.fixture
def resnet() -> nn.Module:
    net = torchvision.models.resnet18(num_classes=10).eval()
    net.fc.weight.data = 100 * net.fc.weight.data + 1  # as large as a trained network's, and no map blank
    return net


def asked(*classes: int) -> list[ClassifierOutputTarget]:
    return [ClassifierOutputTarget(c) for c in classes]


class Inplace(nn.Module):
    """A convolution with signed outputs, and behind it a ReLU in place."""

    def __init__(self, inplace: bool = True) -> None:
        super().__init__()
        self.inplace = inplace
        self.conv, self.fc = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(F.relu(self.conv(x), inplace=self.inplace).mean((2, 3)))


def hooked(net: nn.Module, layer: str, x: Tensor, target: int) -> tuple[Tensor, Tensor]:
    """Activations and gradients ``(B, K, h, w)`` of a layer by a plain hook on a copy."""
    net, kept = deepcopy(net).eval(), []

    def keep(module: nn.Module, given: Any, output: Tensor) -> None:
        output.retain_grad()
        kept.append(output)

    net.get_submodule(layer).register_forward_hook(keep)
    net(x)[:, target].sum().backward()
    return kept[-1].detach(), kept[-1].grad


def scaled(maps: Tensor, side: int) -> np.ndarray[Any, Any]:
    maps = F.interpolate(maps.relu()[:, None] / maps.relu().amax((1, 2), keepdim=True)[:, None], side, mode="bilinear")
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    return ((maps - low) / (high - low))[:, 0].numpy()


# -------------------------------------------------------------------------------------------- equal to theirs

METHODS = ["GradCAM", "HiResCAM", "GradCAMElementWise", "GradCAMPlusPlus", "XGradCAM", "LayerCAM"]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("layers", [["layer4"], ["layer3", "layer4.1"]], ids=["one layer", "two"])
def test_equal_to_the_library(theirs: Any, resnet: nn.Module, name: str, layers: list[str]) -> None:
    x = images(2, 128)
    chosen = [resnet.get_submodule(layer) for layer in layers]
    # Its ++ adds 1e-6 to a sum of squared gradients.
    tolerance = 1e-3 if name == "GradCAMPlusPlus" else 1e-5
    with getattr(theirs, name)(resnet, chosen) as cam:
        expected = cam(x, asked(3, 5))
    with getattr(ours, name)(model=resnet, target_layers=chosen) as cam:
        found = cam(input_tensor=x, targets=asked(3, 5))
    assert found.dtype == np.float32 and found.shape == (2, 128, 128)
    np.testing.assert_allclose(found, expected, atol=tolerance)
    assert found.max(axis=(1, 2)).min() == 1


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 2, 4, 5)], ids=["pictures", "videos"])
def test_weights_by_the_class_without_an_instance(theirs: Any, name: str, shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    activations, grads = (random.random(shape, dtype=np.float32) for _ in range(2))
    found = getattr(ours, name).get_cam_weights(None, None, None, None, activations, grads)
    per_place = name in ("HiResCAM", "LayerCAM", "GradCAMElementWise")
    assert found.shape == (shape if per_place else shape[:2])
    if name in ("GradCAM", "XGradCAM"):
        expected = getattr(theirs, name).get_cam_weights(None, None, None, None, activations, grads)
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_by_default_the_highest_class_of_each_image(theirs: Any, resnet: nn.Module) -> None:
    x = torch.cat([images(1, 96), -images(1, 96)])
    cam = ours.GradCAM(resnet, [resnet.layer3])
    found = cam(x)
    highest = resnet(x).argmax(1).tolist()
    np.testing.assert_array_equal(found, ours.GradCAM(resnet, [resnet.layer3])(x, asked(*highest)))
    np.testing.assert_allclose(found, theirs.GradCAM(resnet, [resnet.layer3])(x, None), atol=1e-5)
    torch.testing.assert_close(cam.outputs, resnet(x).detach())
    assert cam.activations_and_grads.activations[0].shape == (2, 256, 6, 6)
    assert cam.activations_and_grads.gradients[0].shape == (2, 256, 6, 6)


def test_smoothed_by_versions_of_the_picture(theirs: Any, resnet: nn.Module) -> None:
    x = images(2, 128)
    expected = theirs.GradCAM(resnet, [resnet.layer4])(x, asked(3, 5), aug_smooth=True)
    np.testing.assert_allclose(ours.GradCAM(resnet, [resnet.layer4])(x, asked(3, 5), True), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["EigenCAM", "EigenGradCAM", "GradCAM"])
def test_the_first_component_up_to_its_sign(theirs: Any, resnet: nn.Module, name: str) -> None:
    x = images(2, 128)
    cam = getattr(ours, name)(resnet, [resnet.layer4])
    smooth = {"eigen_smooth": name == "GradCAM"}
    found = cam(x, asked(3, 5), **smooth)
    seen = cam.activations_and_grads
    channels = (
        seen.activations[0]
        * {
            "EigenCAM": lambda: 1.0,
            "EigenGradCAM": lambda: seen.gradients[0],
            "GradCAM": lambda: seen.gradients[0].mean((2, 3), keepdim=True),
        }[name]()
    )
    from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection as projected

    expected = projected(channels.numpy())
    signs = np.sign((expected * channels.sum(1).numpy()).sum((1, 2)))[:, None, None]
    np.testing.assert_allclose(get_2d_projection(channels.numpy()), expected * signs, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found, scaled(torch.from_numpy(expected * signs), 128), atol=1e-5)


@pytest.mark.parametrize("name", ["FEM", "SegEigenCAM"])
def test_methods_of_places_equal_the_librarys(theirs: Any, resnet: nn.Module, name: str) -> None:
    x = images(2, 128)
    expected = getattr(theirs, name)(resnet, [resnet.layer3])(x, asked(3, 5))
    np.testing.assert_allclose(getattr(ours, name)(resnet, [resnet.layer3])(x, asked(3, 5)), expected, atol=1e-4)


@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf", "sigmoid", "cosine"])
@pytest.mark.parametrize("gamma", [None, 0.03])
def test_the_component_of_a_kernel_up_to_its_sign(theirs: Any, kernel: str, gamma: float | None) -> None:
    from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection_kernel as projected

    channels = torch.randn(2, 6, 5, 4, generator=torch.Generator().manual_seed(2)).numpy() ** 2
    channels[0, 1, 2, 3] = np.nan
    before = channels.copy()
    expected, found = projected(channels, kernel, gamma), get_2d_projection_kernel(channels, kernel, gamma)
    np.testing.assert_array_equal(channels, before)
    signs = np.sign((expected * found).sum((1, 2), keepdims=True))
    np.testing.assert_allclose(found, expected * signs, rtol=1e-4, atol=1e-5)


def test_a_kernel_that_does_not_exist(resnet: nn.Module) -> None:
    with pytest.raises(Error, match="kernel is linear, poly, rbf, sigmoid, cosine, not round"):
        ours.KPCA_CAM(resnet, [resnet.layer4], kernel="round")(images(1, 64))


def test_ablation_equals_the_librarys_where_the_score_is_positive(theirs: Any) -> None:
    net, x = pooled(), images(2, 32)
    net.fc.weight.data.abs_()
    net.fc.bias.data.abs_()
    expected = theirs.AblationCAM(net, [net.features])(x, asked(3, 1))
    found = ours.AblationCAM(net, [net.features], None, ours.AblationLayer(), 4)(x, asked(3, 1))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_score_cam_and_fullgrad_are_ours() -> None:
    net, x, classes = pooled(), images(2, 32), torch.tensor([3, 1])
    raw = wf.explain(net, x, classes, method="score-cam", layer="features").maps[:, 0]
    np.testing.assert_allclose(ours.ScoreCAM(net, [net.features])(x, asked(3, 1)), scaled(raw, 32), atol=1e-4)
    raw = wf.explain(net, x, classes, method="fullgrad").maps[:, 0]
    np.testing.assert_allclose(ours.FullGrad(net, [])(x, asked(3, 1)), image.scale_cam_image(raw.numpy()), atol=1e-5)
    assert ours.FullGrad(net, [])(x, eigen_smooth=True).shape == (2, 32, 32)


def test_finer_cam_and_refine_cam_equal_the_library(theirs: Any, resnet: nn.Module) -> None:
    x = images(2, 128)
    expected = theirs.FinerCAM(resnet, [resnet.layer4])(x)
    with ours.FinerCAM(model=resnet, target_layers=[resnet.layer4], base_method=ours.GradCAM) as cam:
        np.testing.assert_allclose(cam(input_tensor=x, targets=None), expected, atol=1e-5)
    layers = [resnet.layer3, resnet.layer4]
    expected = theirs.RefineCAM(resnet, layers)(x, asked(3, 5))
    np.testing.assert_allclose(ours.RefineCAM(resnet, layers)(x, asked(3, 5)), expected, atol=2e-3)


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    torch.manual_seed(0)
    options = {"img_size": 64, "depth": 3, "embed_dim": 32, "num_heads": 4, "num_classes": 10}
    net = timm.create_model("vit_tiny_patch16_224", **options).eval()
    net.head.weight.data *= 100
    net.blocks[-1].norm1.bias.data += 0.5
    return net


@pytest.mark.parametrize("name", ["GradCAM", "LayerCAM", "EigenCAM", "ScoreCAM", "AblationCAM"])
def test_a_transformer_with_and_without_reshape_transform(theirs: Any, vit: nn.Module, name: str) -> None:
    def reshape(tensor: Tensor) -> Tensor:
        return reshape_transforms.vit_reshape_transform(tensor, 4, 4)

    x, layers = images(2, 64), [vit.blocks[-1].norm1]
    found = getattr(ours, name)(vit, layers, reshape)(x, asked(4, 8))
    assert found.any(axis=(1, 2)).all()
    np.testing.assert_allclose(found, getattr(ours, name)(vit, layers)(x, asked(4, 8)), atol=1e-6)
    if name in ("GradCAM", "LayerCAM"):
        np.testing.assert_allclose(found, getattr(theirs, name)(vit, layers, reshape)(x, asked(4, 8)), atol=1e-5)


# -------------------------------------------------------------------------------------------- where theirs errs


def test_an_inplace_relu_behind_the_layer_changes_nothing(theirs: Any) -> None:
    net, x = Inplace().eval(), images(2, 16)
    activations, gradients = hooked(_not_inplace(net), "conv", x, 3)
    truth = scaled((activations * gradients.mean((2, 3), keepdim=True)).sum(1), 16)
    np.testing.assert_allclose(ours.GradCAM(net, [net.conv])(x, asked(3, 3)), truth, atol=1e-5)
    assert abs(theirs.GradCAM(net, [net.conv])(x, asked(3, 3)) - truth).max() > 0.05, "the library is mended: say so"


def _not_inplace(net: nn.Module) -> nn.Module:
    copy = deepcopy(net)
    for module in copy.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    return copy


@pytest.mark.parametrize(
    "name", [*METHODS, "EigenCAM", "FEM", "KPCA_CAM", "SegEigenCAM", "ScoreCAM", "AblationCAM", "FullGrad", "FinerCAM"]
)
def test_the_model_is_left_as_it_was_found(name: str) -> None:
    net, x = pooled().train(), images(2, 16)
    net.fc.weight.grad = torch.ones_like(net.fc.weight)
    before = deepcopy(net.state_dict())
    modules = [(name, id(module), module.training) for name, module in net.named_modules()]
    layers = [net.features[3]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a map of this network may be blank
        with getattr(ours, name)(net, layers) as cam:
            cam(x)
            with pytest.raises(Error, match="1 targets do not fit 2 images"):
                cam(x, asked(1))
    assert [(name, id(module), module.training) for name, module in net.named_modules()] == modules
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    grads = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    assert list(grads) == ["fc.weight"] and bool((grads["fc.weight"] == 1).all())
    assert not any(module._forward_hooks or module._backward_hooks for module in net.modules())


def test_a_frozen_model_under_no_grad_and_in_bfloat16(resnet: nn.Module) -> None:
    x = images(1, 96)
    expected = ours.GradCAM(resnet, [resnet.layer3])(x, asked(3))
    resnet.requires_grad_(False)
    with torch.no_grad():
        np.testing.assert_array_equal(ours.GradCAM(resnet, [resnet.layer3])(x, asked(3)), expected)
    half = ours.GradCAM(resnet.bfloat16(), [resnet.layer3])(x.bfloat16(), asked(3))
    assert half.dtype == np.float32 and np.corrcoef(half.ravel(), expected.ravel())[0, 1] > 0.9


def test_an_exception_inside_the_block_is_not_swallowed() -> None:
    net = pooled()
    with pytest.raises(IndexError), ours.GradCAM(net, [net.features]):
        _ = [][0]
    with pytest.raises(IndexError), ours.GradCAM(net, [net.features]) as cam:
        cam(images(1), asked(99))


def test_the_sign_of_ablation_does_not_hang_on_the_scores() -> None:
    net, x = pooled(), images(2, 16)
    net.fc.bias.data += 100
    expected = ours.AblationCAM(net, [net.features])(x, asked(1, 2))
    net.fc.bias.data -= 200
    np.testing.assert_allclose(ours.AblationCAM(net, [net.features])(x, asked(1, 2)), expected, atol=1e-3)


def test_a_blank_map_is_told() -> None:
    net, x = pooled(), images(1, 16)
    net.fc.weight.data[2] = -1  # everything speaks against class 2
    with pytest.warns(UserWarning, match="blank for image 0: nothing there speaks for the target"):
        found = ours.GradCAM(net, [net.features])(x, asked(2))
    assert not found.any()


def test_patches_that_the_target_does_not_read_are_told(vit: nn.Module) -> None:
    with pytest.warns(UserWarning, match="no gradient .* take an earlier layer"):
        ours.GradCAM(vit, [vit.blocks[-1].ls2], lambda x: x[:, 1:].unflatten(1, (4, 4)).movedim(-1, 1))(
            images(1, 64), asked(3)
        )


def test_maps_of_tiny_values_are_scaled_too(theirs: Any) -> None:
    net, x = pooled(), images(1, 16)
    expected = ours.GradCAM(net, [net.features])(x, asked(1))
    net.fc.weight.data *= 1e-12
    np.testing.assert_allclose(ours.GradCAM(net, [net.features])(x, asked(1)), expected, atol=1e-4)
    assert theirs.GradCAM(net, [net.features])(x, asked(1)).max() < 0.9, "the library is mended: say so"


def test_a_layer_of_several_calls_is_explained_at_its_last() -> None:
    class Twice(Inplace):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.relu(self.again(self.relu(self.conv(x)))).mean((2, 3)))

        def __init__(self) -> None:
            super().__init__()
            self.relu, self.again = nn.ReLU(inplace=True), nn.Conv2d(8, 8, 3, padding=1)

    net, x = Twice().eval(), images(2, 16)
    activations, gradients = hooked(_not_inplace(net), "relu", x, 1)
    truth = scaled((activations * gradients.mean((2, 3), keepdim=True)).sum(1), 16)
    np.testing.assert_allclose(ours.GradCAM(net, [net.relu])(x, asked(1, 1)), truth, atol=1e-5)


# -------------------------------------------------------------------------------------------- guided, targets, pictures


def test_guided_backprop(theirs: Any, resnet: nn.Module) -> None:
    x = images(1, 64)
    expected = theirs.GuidedBackpropReLUModel(model=deepcopy(resnet))(x.clone(), target_category=3)
    relus = [id(m) for m in resnet.modules() if isinstance(m, nn.ReLU)]
    found = ours.GuidedBackpropReLUModel(model=resnet, device="cpu")(x, target_category=3)
    assert found.shape == (64, 64, 3)
    np.testing.assert_allclose(found, expected, atol=1e-4 * abs(expected).max())
    assert [id(m) for m in resnet.modules() if isinstance(m, nn.ReLU)] == relus
    assert all(p.grad is None for p in resnet.parameters()) and not x.requires_grad
    best = int(resnet(x).argmax())
    np.testing.assert_array_equal(
        ours.GuidedBackpropReLUModel(resnet)(x), ours.GuidedBackpropReLUModel(resnet)(x, target_category=best)
    )
    with pytest.raises(Error, match="explains one image, not 2"):
        ours.GuidedBackpropReLUModel(resnet)(images(2, 64))


def test_guided_backprop_counts_functions(theirs: Any) -> None:
    net, x = Inplace().eval(), images(1, 16)
    module = nn.Sequential(net.conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), net.fc).eval()
    truth = theirs.GuidedBackpropReLUModel(deepcopy(module))(x.clone(), 3)
    np.testing.assert_allclose(ours.GuidedBackpropReLUModel(net)(x, 3), truth, atol=1e-6)
    plain = theirs.GuidedBackpropReLUModel(deepcopy(net))(x.clone(), 3)
    assert abs(plain - truth).max() > 1e-4, "the library is mended: say so"


TARGETS: list[tuple[str, tuple[Any, ...], Any]] = [
    ("ClassifierOutputTarget", (2,), torch.randn(5)),
    ("ClassifierOutputTarget", (2,), torch.randn(3, 5)),
    ("ClassifierOutputSoftmaxTarget", (2,), torch.randn(5)),
    ("ClassifierOutputReST", (2,), torch.randn(5)),
    ("ClassifierOutputReST", (2,), torch.randn(3, 5)),
    ("BinaryClassifierOutputTarget", (1,), torch.randn(1)),
    ("BinaryClassifierOutputTarget", (0,), torch.randn(1)),
    ("SoftmaxOutputTarget", (), torch.randn(5)),
    ("RawScoresOutputTarget", (), torch.randn(5)),
    ("SemanticSegmentationTarget", (1, np.eye(4, dtype=np.float32)), torch.randn(3, 4, 4)),
    ("FinerWeightedTarget", (2, [0, 1], 0.7), torch.randn(5)),
    ("FinerWeightedTarget", (2, [0, 1], 0.7), torch.randn(3, 5)),
    *[
        (
            "FasterRCNNBoxScoreTarget",
            (labels, np.array([[0, 0, 10, 10], [20, 20, 30, 30]]), 0.5),
            {
                "boxes": torch.tensor([[0.0, 1, 10, 10], [40, 40, 50, 50]]),
                "labels": torch.tensor([3, 4]),
                "scores": torch.tensor([0.8, 0.6]),
            },
        )
        for labels in ([3, 4], [4, 4])
    ],
]


@pytest.mark.parametrize(("name", "arguments", "output"), TARGETS, ids=[t[0] for t in TARGETS])
def test_targets_equal_the_librarys(theirs: Any, name: str, arguments: tuple[Any, ...], output: Any) -> None:
    from pytorch_grad_cam.utils import model_targets as known

    expected = getattr(known, name)(*arguments)(output)
    torch.testing.assert_close(getattr(model_targets, name)(*arguments)(output), expected)


def test_a_detector_and_a_segmentation_are_explained() -> None:
    class Detector(Inplace):
        def forward(self, x: Tensor) -> Any:
            scores = super().forward(x).sigmoid()
            boxes = torch.tensor([[0.0, 0, 8, 8]] * 5)
            return [{"boxes": boxes, "labels": torch.arange(5), "scores": s} for s in scores]

    class Places(Inplace):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc(F.relu(self.conv(x)).movedim(1, -1)).movedim(-1, 1)

    net, x = Detector().eval(), images(2, 16)
    target = model_targets.FasterRCNNBoxScoreTarget([0], np.array([[0, 0, 8, 8]]))
    found = ours.GradCAM(net, [net.conv])(x, [target, target])
    plain = Inplace().eval()
    plain.load_state_dict(net.state_dict())
    np.testing.assert_allclose(found, ours.GradCAM(plain, [plain.conv])(x, asked(0, 0)), atol=1e-5)
    dense = Places().eval()
    mask = np.zeros((16, 16), dtype=np.float32)
    mask[2:5, 2:5] = 1
    segments = [model_targets.SemanticSegmentationTarget(1, mask)] * 2
    found = ours.HiResCAM(dense, [dense.conv])(x, segments)
    assert found.any() and not found[:, mask == 0].any(), "only the mask's own places speak for it"


def test_pictures_equal_the_librarys(theirs: Any) -> None:
    from pytorch_grad_cam.utils import image as known

    random = np.random.default_rng(0)
    picture, heat = random.random((20, 30, 3), dtype=np.float32), random.random((20, 30), dtype=np.float32)
    heat[0, :20] = np.linspace(0, 1, 20)
    for colormap in (2, 20):  # jet, turbo
        for use_rgb in (False, True):
            expected = known.show_cam_on_image(picture, heat, use_rgb, colormap, 0.4)
            found = image.show_cam_on_image(picture, heat, use_rgb, colormap, 0.4)
            assert abs(found.astype(int) - expected.astype(int)).max() <= 1
    torch.testing.assert_close(image.preprocess_image(picture), known.preprocess_image(picture))
    given = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    torch.testing.assert_close(image.preprocess_image(picture, **given), known.preprocess_image(picture, **given))
    assert abs(image.deprocess_image(picture).astype(int) - known.deprocess_image(picture)).max() <= 1
    maps = random.random((3, 5, 7))
    np.testing.assert_allclose(image.scale_cam_image(maps, (40, 33)), known.scale_cam_image(maps, (40, 33)), atol=1e-5)
    channels = random.random((2, 4, 5, 7))
    np.testing.assert_allclose(
        image.scale_accross_batch_and_channels(channels, (40, 33)),
        known.scale_accross_batch_and_channels(channels, (40, 33)),
        atol=1e-5,
    )


def test_a_map_beyond_its_range_is_refused() -> None:
    with pytest.raises(Error, match="the map must lie in 0"):
        image.show_cam_on_image(np.zeros((4, 4, 3)), np.full((4, 4), 1.5))
    with pytest.raises(Error, match="the picture must hold floats"):
        image.show_cam_on_image(np.full((4, 4, 3), 255.0), np.zeros((4, 4)))


def test_metrics_equal_the_librarys(theirs: Any, resnet: nn.Module) -> None:
    import pytorch_grad_cam.metrics.cam_mult_image as multiplied
    import pytorch_grad_cam.metrics.road as removed

    x, targets = images(2, 48), asked(3, 5)
    maps = ours.GradCAM(resnet, [resnet.layer3])(x, targets)
    for name in ("CamMultImageConfidenceChange", "DropInConfidence", "IncreaseInConfidence"):
        expected = getattr(multiplied, name)()(x, maps, targets, resnet)
        np.testing.assert_allclose(getattr(metrics, name)()(x, maps, targets, resnet), expected, rtol=1e-4)
    for name in ("ROADMostRelevantFirst", "ROADLeastRelevantFirst"):
        known = getattr(removed, name)(60)
        known.perturbation.imputer.noise = 0.0
        own = getattr(metrics, name)(60)
        own.perturbation.imputer.noise = 0.0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # its own, of numpy's
            expected = known(x, maps, targets, resnet, return_visualization=True)
        found = own(x, maps, targets, resnet, return_visualization=True)
        torch.testing.assert_close(found[1], expected[1], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-2, atol=1e-2)
    assert metrics.ROADCombined([20, 80])(x, maps, targets, resnet).shape == (2,)


def test_layers_are_found_as_by_the_library(theirs: Any, resnet: nn.Module) -> None:
    from pytorch_grad_cam.utils import find_layers as known

    kinds = [nn.Conv2d, nn.ReLU]
    assert find_layers.find_layer_types_recursive(resnet, kinds) == known.find_layer_types_recursive(resnet, kinds)
    other = nn.Identity()
    assert find_layers.replace_layer_recursive(resnet, resnet.layer4[0].relu, other)
    assert resnet.layer4[0].relu is other and not find_layers.replace_layer_recursive(resnet, nn.ReLU(), other)


def test_a_method_of_ones_own() -> None:
    class Summed(ours.BaseCAM):
        def get_cam_weights(self, x: Any, layer: Any, targets: Any, activations: Any, grads: Any) -> Any:
            return np.abs(grads).sum(axis=(2, 3))

    net, x = pooled(), images(2, 16)
    activations, gradients = hooked(_not_inplace(net), "features", x, 1)
    truth = scaled((activations * gradients.abs().sum((2, 3), keepdim=True)).sum(1), 16)
    np.testing.assert_allclose(Summed(net, [net.features])(x, asked(1, 1)), truth, atol=1e-5)
    with pytest.raises(NotImplementedError, match="must define get_cam_weights"):
        ours.BaseCAM(net, [net.features])(x)


def test_activations_and_gradients_by_hand() -> None:
    net, x = Inplace().eval(), images(2, 16)
    seen = ours.ActivationsAndGradients(net, [net.conv], None)
    seen(x)[:, 3].sum().backward()
    activations, gradients = hooked(_not_inplace(net), "conv", x, 3)
    torch.testing.assert_close(seen.activations[0], activations)
    torch.testing.assert_close(seen.gradients[0], gradients)
    assert not net.conv._forward_hooks
    seen.release()
    assert seen.activations == seen.gradients == []


def test_the_parts_of_arcc(theirs: Any, resnet: nn.Module) -> None:
    import pytorch_grad_cam.metrics.arcc as known

    x, targets = images(2, 48), asked(3, 5)
    cam = ours.GradCAM(resnet, [resnet.layer3])
    maps = cam(x, targets)
    complexity, coherency = metrics.Complexity()(maps), metrics.Coherency()(x, maps, targets, resnet, cam)
    np.testing.assert_allclose(complexity, known.Complexity()(maps), rtol=1e-5)
    np.testing.assert_allclose(coherency, known.Coherency()(x, maps, targets, resnet, cam), rtol=1e-4)
    torch.manual_seed(1)
    road = metrics.ROADCombined((20, 80))(x, maps, targets, resnet)
    torch.manual_seed(1)
    found = metrics.ARCC(cam, (20, 80))(x, maps, targets, resnet)
    for each in range(2):
        parts = [coherency[each], 1 - complexity[each], min(max(2 * road[each], 1e-8), 1)]
        assert found[each] == pytest.approx(3 / sum(1 / part for part in parts), rel=1e-4)


def test_maps_without_variation_cohere_with_nothing(resnet: nn.Module) -> None:
    flat = np.zeros((1, 16, 16), np.float32)
    assert metrics.Coherency()(images(1, 16), flat, None, resnet, lambda **_: flat + 1) == [0.5]


# -------------------------------------------------------------------------------------------- what is refused


def test_what_is_not_here_can_be_imported_and_says_what_to_take() -> None:
    with pytest.raises(Error, match="AblationLayerFasterRCNN has no counterpart here: give AblationCAM a layer"):
        ours.AblationLayerFasterRCNN()


def test_a_layer_without_brackets() -> None:
    with pytest.raises(Error, match="put the layer into brackets"):
        ours.BaseCAM(pooled(), nn.Conv2d(3, 8, 3))  # type: ignore[arg-type]


def test_bad_questions_are_answered_in_a_sentence() -> None:
    net, x = pooled(), images(2, 16)
    with pytest.raises(Error, match="must return one number for an image, not"):
        ours.GradCAM(net, [net.features])(x, [model_targets.RawScoresOutputTarget()] * 2)
    with pytest.raises(Error, match="is no part of Pooled"):
        ours.GradCAM(net, [nn.Conv2d(3, 3, 1)])(x)
    with pytest.raises(Error, match="ratio_channels_to_ablate"):
        ours.AblationCAM(net, [net.features], ratio_channels_to_ablate=0.5)
    with pytest.raises(Error, match="copies what it is given"):
        ours.AblationCAM(net, [net.features], lambda layer: layer * 1)(x)
    with pytest.raises(Error, match="not 14x14 tokens: give height"):
        reshape_transforms.vit_reshape_transform(torch.zeros(1, 17, 8))


# -------------------------------------------------------------------------------------------- a program as it is

PROGRAM = """
import argparse, cv2, numpy as np, torch
from torch import nn
from pytorch_grad_cam import GradCAM, KPCA_CAM, FinerCAM, GuidedBackpropReLUModel
from pytorch_grad_cam.base_cam import BaseCAM
from pytorch_grad_cam.utils.image import deprocess_image, preprocess_image, show_cam_on_image
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out")
    args = parser.parse_args()
    torch.manual_seed(0)
    pool = nn.AdaptiveAvgPool2d(1)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(), pool, nn.Flatten(), nn.Linear(8, 4))
    model.eval()
    rgb_img = np.float32(np.random.default_rng(0).random((48, 64, 3)))
    input_tensor = preprocess_image(rgb_img, mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
    with GradCAM(model=model, target_layers=[model[1]]) as cam:
        cam.batch_size = 32
        grayscale_cam = cam(input_tensor=input_tensor, targets=[ClassifierOutputTarget(2)], aug_smooth=True)
        grayscale_cam = grayscale_cam[0, :]
        assert isinstance(cam, BaseCAM)
        cam_image = show_cam_on_image(rgb_img, grayscale_cam, use_rgb=True)
    gb = GuidedBackpropReLUModel(model=model, device="cpu")(input_tensor, target_category=2)
    cam_mask = cv2.merge([grayscale_cam, grayscale_cam, grayscale_cam])
    pages = np.concatenate([cam_image, deprocess_image(cam_mask * gb), deprocess_image(gb)])
    cv2.imwrite(args.out, pages)
"""


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    yield path


def test_a_program_runs_unmodified(theirs: Any, program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    monkeypatch.setattr(sys, "argv", [str(program), "--out", str(tmp_path / "theirs.png")])
    runpy.run_path(str(program), run_name="__main__")
    command = [sys.executable, "-m", "wherefore.compat", "pytorch_grad_cam", str(program)]
    subprocess.run([*command, "--out", str(tmp_path / "ours.png")], check=True)
    expected, found = (cv2.imread(str(tmp_path / name)).astype(int) for name in ("theirs.png", "ours.png"))
    assert expected.shape == found.shape == (144, 64, 3) and expected.std() > 10
    assert abs(found - expected).max() <= 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "say which library and which program"),
        (["torchcam", "program.py"], "no library with an interface here is called 'torchcam'"),
        (["captum", "nowhere.py"], "there is no program nowhere.py"),
    ],
)
def test_the_runner_says_what_is_wrong(arguments: list[str], says: str) -> None:
    done = subprocess.run([sys.executable, "-m", "wherefore.compat", *arguments], capture_output=True, text=True)
    assert done.returncode == 2 and says in done.stderr and "Traceback" not in done.stderr


def test_installing_over_the_imported_library_is_refused(theirs: Any) -> None:
    with pytest.raises(Error, match="pytorch_grad_cam is imported already"):
        install("pytorch_grad_cam")
