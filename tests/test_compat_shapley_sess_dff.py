"""ShapleyCAM, SESS and Deep Feature Factorization by pytorch-grad-cam's interface: as in it, and planted truth."""

from __future__ import annotations

import sys
import warnings
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from conftest import images, pooled
from wherefore.compat import pytorch_grad_cam as ours
from wherefore.compat.pytorch_grad_cam.feature_factorization import dff
from wherefore.compat.pytorch_grad_cam.sess import sliding_window
from wherefore.compat.pytorch_grad_cam.utils import image
from wherefore.compat.pytorch_grad_cam.utils.model_targets import ClassifierOutputReST, ClassifierOutputTarget
from wherefore.errors import Error


@pytest.fixture
def theirs() -> Any:
    return pytest.importorskip("pytorch_grad_cam", reason="needs grad-cam, the library that is compared with")


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    torch.manual_seed(0)
    net = torchvision.models.resnet18(num_classes=10).eval()
    net.fc.weight.data = 20 * net.fc.weight.data + 0.2  # as large as a trained network's, and no map blank
    return net


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    torch.manual_seed(0)
    options = {"img_size": 64, "depth": 3, "embed_dim": 32, "num_heads": 4, "num_classes": 10}
    net = timm.create_model("vit_tiny_patch16_224", **options).eval()
    net.head.weight.data *= 30
    net.blocks[-1].norm1.bias.data += 0.5
    return net


def asked(*classes: int) -> list[ClassifierOutputTarget]:
    return [ClassifierOutputTarget(c) for c in classes]


# -------------------------------------------------------------------------------------------- ShapleyCAM


class Quadratic(nn.Module):
    """The score of sums S over places: b·S + ½ S'QS of the layer's two channels."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Identity()
        self.linear = nn.Parameter(torch.tensor([1.0, -2.0]))
        self.square = nn.Parameter(torch.tensor([[3.0, 1.0], [1.0, 0.5]]))

    def forward(self, x: Tensor) -> Tensor:
        sums = self.layer(x).sum((2, 3))
        return (sums @ self.linear + (sums @ self.square * sums).sum(1) / 2)[:, None]


def weights_of(cam: Any, x: Tensor, targets: Any, layer: int = 0) -> np.ndarray[Any, Any]:
    """The weights that a method gave to the channels of one of its layers."""
    kept: list[np.ndarray[Any, Any]] = []
    with cam:  # theirs leaves hooks that detach others' gradients whenever it is collected
        own = cam.get_cam_weights
        cam.get_cam_weights = lambda *given: kept.append(own(*given)) or kept[-1]
        cam(x, targets)
    return kept[layer]


def test_shapley_cam_of_a_quadratic_score_by_hand() -> None:
    net = Quadratic()
    x = torch.tensor([[[[1.0, 2.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 2.0]]]])  # S = (4, 4)
    # The gradient is b + QS = (17, 4), the Hessian along the activations QS = (16, 6): less half of it (9, 1).
    found = weights_of(ours.ShapleyCAM(net, [net.layer]), x, asked(0))
    np.testing.assert_allclose(found, [[9.0, 1.0]])
    assert (found * [4, 4]).sum() == net(x).item() == 40  # all of the score, since it is quadratic


@pytest.mark.parametrize("layer", ["layer3", "layer4"])
def test_shapley_cam_equals_the_library(theirs: Any, resnet: nn.Module, layer: str) -> None:
    x, targets, chosen = images(2, 96), [ClassifierOutputReST(3), ClassifierOutputReST(5)], [getattr(resnet, layer)]
    expected = weights_of(theirs.ShapleyCAM(resnet, chosen), x, targets)
    resnet.zero_grad()
    found = weights_of(ours.ShapleyCAM(resnet, chosen), x, targets)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6 * abs(expected).max())
    # Theirs divides by the maximum plus 1e-7.
    maps = ours.ShapleyCAM(resnet, chosen)(x, targets)
    np.testing.assert_allclose(maps, theirs.ShapleyCAM(resnet, chosen)(x, targets), atol=2e-3)
    assert abs(maps - ours.GradCAM(resnet, chosen)(x, targets)).max() > 0.01, "the curvature makes no difference"


def test_shapley_cam_of_several_layers(resnet: nn.Module) -> None:
    x, targets = images(2, 96), [ClassifierOutputReST(3), ClassifierOutputReST(5)]
    layers = [resnet.layer3, resnet.layer4]
    for number, layer in enumerate(layers):
        alone = weights_of(ours.ShapleyCAM(resnet, [layer]), x, targets)
        found = weights_of(ours.ShapleyCAM(resnet, layers), x, targets, number)
        np.testing.assert_allclose(found, alone, rtol=1e-4, atol=1e-6 * abs(alone).max())
    assert all(p.grad is None for p in resnet.parameters())


def test_behind_a_piecewise_linear_network_it_is_grad_cam(resnet: nn.Module) -> None:
    x = images(1, 64)
    frozen = deepcopy(resnet).requires_grad_(False)
    for net in (resnet, frozen):
        expected = ours.GradCAM(net, [net.layer3])(x, asked(3))
        np.testing.assert_allclose(ours.ShapleyCAM(net, [net.layer3])(x, asked(3)), expected, atol=1e-5)
        with torch.inference_mode():
            np.testing.assert_allclose(ours.ShapleyCAM(net, [net.layer3])(x, asked(3)), expected, atol=1e-5)


@pytest.mark.parametrize("reshaped", [False, True])
def test_shapley_cam_of_a_transformer_by_finite_differences(vit: nn.Module, reshaped: bool) -> None:
    net = deepcopy(vit).double()
    layer, x, kept = net.blocks[-1].norm1, images(1, 64).double(), []
    layer.register_forward_hook(lambda _, __, output: kept.append(output.detach()))
    net(x)
    layer._forward_hooks.clear()

    def gradient(value: Tensor) -> Tensor:
        value = value.clone().requires_grad_()
        handle = layer.register_forward_hook(lambda *_: value * 1)
        (found,) = torch.autograd.grad(net(x)[0, 4], value)
        handle.remove()
        return found

    tokens, step = kept[0], 1e-4
    curvature = (gradient(tokens * (1 + step)) - gradient(tokens * (1 - step))) / (2 * step)
    expected = (gradient(tokens) - curvature / 2)[:, 1:].mean(1)
    reshape = (lambda t: t[:, 1:].unflatten(1, (4, 4)).movedim(-1, 1)) if reshaped else None
    found = weights_of(ours.ShapleyCAM(net, [layer], reshape), x, asked(4))
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-8)
    assert curvature.abs().max() > 0.01 * gradient(tokens).abs().max()


def test_ones_own_method_of_second_derivatives_and_of_the_images_gradient(theirs: Any, resnet: nn.Module) -> None:
    x = images(2, 64)

    def methods(base: Any) -> list[Any]:
        class Changing(base):
            def __init__(self, model: Any, layers: Any) -> None:
                super().__init__(model, layers, compute_input_gradient=True, detach=False)

            def get_cam_weights(self, x: Any, layer: Any, targets: Any, activations: Any, grads: Any) -> Any:
                (change,) = torch.autograd.grad(grads.pow(2).sum(), activations, retain_graph=True)
                return change.mean((2, 3)).detach().numpy()

        class Bright(base):
            def __init__(self, model: Any, layers: Any) -> None:
                super().__init__(model, layers, compute_input_gradient=True)

            def get_cam_weights(self, x: Any, layer: Any, targets: Any, activations: Any, grads: Any) -> Any:
                share = (x.grad * x).abs().sum((1, 2, 3)).detach().numpy()
                return (grads * share[:, None, None, None]).mean((2, 3)) + grads.mean((2, 3))[::-1]

        return [Changing, Bright]

    targets = [ClassifierOutputReST(3), ClassifierOutputReST(5)]
    for own, known in zip(methods(ours.BaseCAM), methods(theirs.base_cam.BaseCAM), strict=True):
        expected = known(resnet, [resnet.layer3])(x, targets)
        cam = own(resnet, [resnet.layer3])
        np.testing.assert_allclose(cam(x, targets), expected, atol=1e-4)
        kept = cam.activations_and_grads
        assert not any(each.requires_grad for each in [*kept.activations, *kept.gradients]), "a graph is held"
        assert x.grad is None and not x.requires_grad
    resnet.zero_grad()


# -------------------------------------------------------------------------------------------- SESS

OPTIONS: list[dict[str, Any]] = [
    {},
    {"pool": "max", "smooth": False},
    {"theta": 0.2, "step_size": 20, "pre_filter_ratio": 0.3, "batch_size": 3},
    {"scales": [48, 72], "window_size": 32, "use_softmax_scores": False, "base_method": "GradCAMPlusPlus"},
    {"base_method": "LayerCAM", "scale_step_ratio": 0.5},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_sess_equals_the_library(theirs: Any, resnet: nn.Module, options: dict[str, Any]) -> None:
    x = images(2, 72)[..., :48, :]  # not square
    method = options.get("base_method", "GradCAM")
    given = {"num_scales": 3} | options
    expected, found = (
        library.SESS(resnet, [resnet.layer3], **given | {"base_method": getattr(library, method)})(x, asked(3, 5))
        for library in (theirs, ours)
    )
    assert found.dtype == np.float32 and found.shape == (2, 48, 72)
    np.testing.assert_allclose(found, expected, atol=2e-3 if method == "GradCAMPlusPlus" else 1e-4)


def test_sess_of_the_highest_class_and_left_as_it_was_found(resnet: nn.Module) -> None:
    net, x = deepcopy(resnet).train(), images(2, 64)
    highest = resnet(x).argmax(1).tolist()
    before = deepcopy(net.state_dict())
    with ours.SESS(net, [net.layer3], num_scales=2) as cam:
        np.testing.assert_array_equal(cam(x), cam(x, asked(*highest)))
    assert net.training and all(torch.equal(before[key], value) for key, value in net.state_dict().items())


def test_a_window_is_scored_by_itself(theirs: Any, resnet: nn.Module) -> None:
    """A target that reads one image's output by a plain index takes whole rows of theirs for scores."""
    x, given = images(1, 48), {"num_scales": 2, "smooth": False}
    expected = ours.SESS(resnet, [resnet.layer3], **given)(x, asked(3))
    plain = [lambda output: output[3]]
    np.testing.assert_array_equal(ours.SESS(resnet, [resnet.layer3], **given)(x, plain), expected)
    wrong = theirs.SESS(resnet, [resnet.layer3], **given)
    scores = wrong.get_scores(wrong.collect_patches(x, 48, 48)[0], plain[0])
    assert scores.shape == (10,), "the library is mended: say so"


def test_windows_cover_the_picture() -> None:
    for height, width, step, side in [(9, 9, 9, 9), (12, 30, 7, 9), (10, 10, 3, 4), (5, 20, 4, 8)]:
        covered = np.zeros((height, width), int)
        for left, top in sliding_window(height, width, step, side):
            assert left + side <= max(width, side) and top + side <= max(height, side)
            covered[top : top + side, left : left + side] += 1
        assert covered.min() >= 1
    assert sliding_window(288, 288, 224, 224) == [(0, 0), (64, 0), (0, 64), (64, 64)]


def test_what_sess_cannot_do_is_said() -> None:
    net, x = pooled(), images(2, 32)
    for given, says in [
        ({"pool": "median"}, "pool is mean or max, not median"),
        ({"pre_filter_ratio": 1.0}, "pre_filter_ratio is a share"),
        ({"num_scales": 0}, "num_scales is 1 at least"),
    ]:
        with pytest.raises(Error, match=says):
            ours.SESS(net, [net.features], **given)
    with pytest.raises(Error, match="smaller than a window of 32: give larger scales"):
        ours.SESS(net, [net.features], scales=[16])(x)
    with pytest.raises(Error, match="step_size is 1 pixel at least"):
        ours.SESS(net, [net.features], step_size=0)(x)
    with pytest.raises(Error, match="1 targets do not fit 2 images"):
        ours.SESS(net, [net.features])(x, asked(1))
    with pytest.raises(Error, match="cuts pictures"):
        ours.SESS(net, [net.features])(x[None])
    net.fc.weight.data[2] = -1  # everything speaks against class 2
    with pytest.warns(UserWarning, match="blank for image 0: no window speaks for the target") as said:
        assert not ours.SESS(net, [net.features], num_scales=2)(x[:1], asked(2)).any()
    assert len(said) == 1


# -------------------------------------------------------------------------------------------- factorization


@pytest.fixture
def converging() -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Maximum number of iterations")  # scikit-learn's, also of theirs
        yield


def test_factors_of_planted_parts() -> None:
    """Two parts that lie apart, each with channels of its own: found up to their order and scale."""
    channels = np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
    places = np.zeros((2, 1, 4, 4))
    places[0, 0, :2], places[1, 0, 3] = 1, 2
    concepts, explanations = dff(np.einsum("kn,nbhw->bkhw", channels, places), 2)
    assert concepts.shape == (3, 2) and explanations.shape == (1, 2, 4, 4)
    order = [int(concepts[2].argmin()), int(concepts[2].argmax())]
    for planted, found in enumerate(order):
        alike = np.corrcoef(explanations[0, found].ravel(), places[planted, 0].ravel())[0, 1]
        same = concepts[:, found] @ channels[:, planted]
        assert alike > 0.999
        assert same / np.linalg.norm(concepts[:, found]) / np.linalg.norm(channels[:, planted]) > 0.999


@pytest.mark.usefixtures("converging")
def test_factorization_equals_the_library(theirs: Any, resnet: nn.Module) -> None:
    x = images(2, 96)
    expected = theirs.DeepFeatureFactorization(resnet, resnet.layer3, None, nn.Identity())(x, 3)
    found = ours.DeepFeatureFactorization(resnet, resnet.layer3, None, nn.Identity())(x, n_components=3)
    assert [type(each) for each in found] == [type(each) for each in expected]
    for own, known in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.array(own), np.array(known), rtol=1e-2, atol=1e-3)
    concepts, explanations, scores = ours.DeepFeatureFactorization(resnet, resnet.layer4, None, resnet.fc)(x, 3)
    assert concepts.shape == (512, 3) and len(explanations) == 2 and explanations[0].shape == (3, 96, 96)
    np.testing.assert_allclose(scores, resnet.fc(torch.from_numpy(concepts.T)).detach().numpy(), rtol=1e-5)
    assert len(ours.DeepFeatureFactorization(resnet, resnet.layer4)(x, 3)) == 2


@pytest.mark.usefixtures("converging")
def test_factors_of_signed_values_with_gaps_and_left_alone(theirs: Any) -> None:
    from pytorch_grad_cam.feature_factorization.deep_feature_factorization import dff as known

    activations = np.random.default_rng(0).normal(size=(2, 6, 5, 4))
    activations[0, 1, 2, 3] = np.nan
    for own, other in zip(dff(before := activations.copy(), 3), known(activations.copy(), 3), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(before, activations)


class Inplace(nn.Module):
    """A convolution with signed outputs, batch norm and dropout; behind the layer a ReLU in place."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.layer(x), inplace=True).mean((2, 3))


@pytest.mark.usefixtures("converging")
def test_the_layers_own_output_of_a_model_in_eval_mode_is_factorized(theirs: Any) -> None:
    torch.manual_seed(0)
    net, x = Inplace(), images(2, 16)
    before = deepcopy(net.state_dict())
    with ours.DeepFeatureFactorization(net, net.layer) as cam:
        found = cam(x, 3)
    assert net.training and all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    np.testing.assert_allclose(found[0], dff(deepcopy(net).eval().layer(x).detach().numpy(), 3)[0], rtol=1e-4)
    other = deepcopy(net).eval()
    rectified = theirs.DeepFeatureFactorization(other, other.layer)(x, 3)
    assert abs(rectified[0] - found[0]).max() > 0.01, "the library is mended: say so"


@pytest.mark.usefixtures("converging")
def test_a_transformers_tokens_are_factorized(vit: nn.Module) -> None:
    layer, x = vit.blocks[-1].norm1, images(2, 64)
    concepts, explanations = ours.DeepFeatureFactorization(vit, layer)(x, 3)
    reshape = lambda t: t[:, 1:].unflatten(1, (4, 4)).movedim(-1, 1)  # noqa: E731
    np.testing.assert_allclose(concepts, ours.DeepFeatureFactorization(vit, layer, reshape)(x, 3)[0], rtol=1e-5)
    assert explanations[1].shape == (3, 64, 64)


@pytest.mark.usefixtures("converging")
def test_factorization_of_a_picture_side_by_side(theirs: Any, resnet: nn.Module, monkeypatch: Any) -> None:
    import matplotlib

    net = deepcopy(resnet)
    net.config = SimpleNamespace(id2label={n: f"kind {n}, or sort {n}, or {n}, and more" for n in range(10)})
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 80, 3), dtype=np.uint8))
    x = torchvision.transforms.functional.to_tensor(picture)
    found = ours.run_dff_on_image(net, net.layer3, lambda concepts: concepts[:, :10], picture, x, n_components=3)
    # Theirs asks for a function that matplotlib has lost, and without a reshape_transform calls a type.
    monkeypatch.setattr(matplotlib.pyplot.cm, "get_cmap", matplotlib.colormaps.__getitem__, raising=False)
    expected = theirs.run_dff_on_image(net, net.layer3, lambda c: c[:, :10], picture, x, None, n_components=3)
    assert found.shape == expected.shape == (96, 240, 3) and found.dtype == np.uint8
    assert abs(found[:, :160].astype(int) - expected[:, :160]).max() <= 6  # theirs rounds hues to 2 degrees
    legend = found[:, 160:].reshape(-1, 3)
    for colour in matplotlib.colormaps["gist_rainbow"](np.arange(3) / 3):
        assert (abs(legend - 255 * colour[:3]).max(1) < 3).sum() > 5, "a concept's line is missing"
    assert (legend.sum(1) < 100).any(), "there are no letters"


def test_colours_of_concepts_equal_the_librarys(theirs: Any) -> None:
    from pytorch_grad_cam.utils import image as known

    random = np.random.default_rng(0)
    picture, maps = random.random((20, 30, 3)), random.random((4, 20, 30))
    colours = [(1.0, 0.5, 0.0), (0.2, 0.2, 0.8), (0.0, 0.0, 0.0), (0.3, 1.0, 1.0)]
    before = maps.copy()
    expected = known.show_factorization_on_image(picture, maps.copy(), colours, 0.3)
    found = image.show_factorization_on_image(picture, maps, colours, 0.3)
    assert abs(found.astype(int) - expected).max() <= 6  # theirs rounds hues to 2 degrees
    np.testing.assert_array_equal(maps, before)
    scores, labels = random.random((3, 5)), {n: f"a{n}, b, c, d" for n in range(5)}
    assert image.create_labels_legend(scores, labels, 3) == known.create_labels_legend(scores, labels, 3)
    with pytest.raises(Error, match="must be as large as the picture"):
        image.show_factorization_on_image(picture[1:], maps, colours)
    with pytest.raises(Error, match="the picture must hold floats in 0"):
        image.show_factorization_on_image(picture * 255, maps, colours)
    with pytest.raises(Error, match="the map must lie in 0"):
        image.show_factorization_on_image(picture, maps * 2, colours)


@pytest.mark.parametrize(
    ("library", "says"), [("sklearn", "pip install scikit-learn"), ("matplotlib", "needs? matplot")]
)
def test_without_a_library_it_is_said_what_to_install(library: str, says: str, monkeypatch: Any) -> None:
    for name in [library, *[n for n in sys.modules if n.startswith(f"{library}.")]]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(Error, match=says):
        if library == "sklearn":
            dff(np.ones((1, 2, 3, 3)), 1)
        else:
            image.show_factorization_on_image(np.ones((3, 3, 3)), np.ones((1, 3, 3)))
