"""Captum's interface over ours: equal to the library where that is right, and right where it errs in silence."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from collections.abc import Callable
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
from wherefore.compat.captum import attr as ours
from wherefore.errors import Error

# Captum says at each use that it hangs hooks on the network; we hang none that stay.
pytestmark = pytest.mark.filterwarnings("ignore:(Setting backward hooks|Input Tensor|Setting forward, backward)")


@pytest.fixture
def theirs() -> Any:
    return pytest.importorskip("captum.attr", reason="needs Captum, the library that is compared with")


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=10).eval()


class Two(nn.Module):
    """Two inputs and two further arguments; a ReLU in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.fc = nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Linear(4, 5)

    def forward(self, a: Tensor, b: Tensor, factor: float = 1.0, share: Tensor | None = None) -> Tensor:
        scores = factor * self.fc(self.relu(self.conv(a + 2 * b)).mean((2, 3)))
        return scores if share is None else scores * share[:, None]


class Pair(nn.Module):
    """Two tensors from one layer."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.relu(), (-x).relu()


def close(found: Any, expected: Any) -> None:
    """Equal in kind, shapes and numbers, of which some are not 0."""
    assert isinstance(found, tuple) == isinstance(expected, tuple)
    pairs = zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]
    for one, other in pairs:
        other = other.detach()
        assert bool(other.any()) and not one.requires_grad
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


WANTED = [3, [3, 5], torch.tensor([3, 5]), torch.tensor(3)]
GRADIENTS = ["Saliency", "InputXGradient", "GuidedBackprop", "Deconvolution"]


@pytest.mark.parametrize("name", GRADIENTS)
@pytest.mark.parametrize("target", WANTED, ids=["one", "list", "tensor", "number"])
def test_gradients_equal_the_librarys(theirs: Any, resnet: nn.Module, name: str, target: Any) -> None:
    x = images(2, 48)
    close(getattr(ours, name)(resnet).attribute(x, target), getattr(theirs, name)(resnet).attribute(x, target))


def test_signed_saliency_equals_the_librarys(theirs: Any, resnet: nn.Module) -> None:
    x = images(2, 48)
    found = ours.Saliency(resnet).attribute(x, 3, False)
    assert bool((found < 0).any())
    close(found, theirs.Saliency(resnet).attribute(x, 3, False))


LAYERS = ["layer4", "layer3.0", "conv1", "layer4.1.relu", "avgpool", "fc"]
OPTIONS = [{}, {"relu_attributions": True}, {"attr_dim_summation": False}, {"attribute_to_layer_input": True}]


@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "relu", "channels", "input"])
@pytest.mark.parametrize("layer", LAYERS)
def test_layer_grad_cam_equals_the_librarys(theirs: Any, resnet: nn.Module, layer: str, options: Any) -> None:
    x, module = images(2, 64), resnet.get_submodule(layer)
    expected = theirs.LayerGradCam(resnet, module).attribute(x, [3, 6], **options)
    found = ours.LayerGradCam(resnet, module).attribute(x, [3, 6], **options)
    close(found + 1, expected + 1)  # rectified, some are nothing but zeros
    large = ours.LayerAttribution.interpolate(found, (64, 64), "bilinear") if found.ndim == 4 else None
    assert large is None or large.shape == (2, found.shape[1], 64, 64)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_guided_grad_cam_equals_the_librarys(theirs: Any, resnet: nn.Module, mode: str) -> None:
    x = images(2, 64)
    given = {"target": [3, 5], "interpolate_mode": mode}
    expected = theirs.GuidedGradCam(resnet, resnet.layer3).attribute(x, **given)
    close(ours.GuidedGradCam(resnet, resnet.layer3).attribute(x, **given), expected)


@pytest.mark.parametrize("name", GRADIENTS)
def test_several_inputs_and_further_arguments(theirs: Any, name: str) -> None:
    net, a, b, share = Two().eval(), torch.randn(2, 1, 8, 8), torch.randn(2, 1, 8, 8), torch.rand(2)
    given = {"target": 1, "additional_forward_args": (2.0, share)}
    close(getattr(ours, name)(net).attribute((a, b), **given), getattr(theirs, name)(net).attribute((a, b), **given))


@pytest.mark.parametrize("layer", ["conv", "relu"])
@pytest.mark.parametrize("of_input", [False, True])
def test_layer_of_several_inputs(theirs: Any, layer: str, of_input: bool) -> None:
    net, a, b, share = Two().eval(), torch.randn(2, 1, 8, 8), torch.randn(2, 1, 8, 8), torch.rand(2)
    given = (a, b), 1, (2.0, share), of_input
    module = net.get_submodule(layer)
    close(ours.LayerGradCam(net, module).attribute(*given), theirs.LayerGradCam(net, module).attribute(*given))
    both = {"target": 1, "additional_forward_args": (2.0, share), "attribute_to_layer_input": of_input}
    expected = theirs.GuidedGradCam(net, module).attribute((a, b), **both)
    close(ours.GuidedGradCam(net, module).attribute((a, b), **both), expected)


def test_functions_and_layers_of_several_tensors(theirs: Any) -> None:
    net, a, b = Two().eval(), torch.randn(2, 1, 8, 8), torch.randn(2, 1, 8, 8)

    def function(x: Tensor) -> Tensor:
        return net(x, b)

    expected = theirs.LayerGradCam(function, net.conv).attribute(a, 1)
    close(ours.LayerGradCam(function, net.conv).attribute(a, 1), expected)
    close(ours.Saliency(function).attribute(a, 1), theirs.Saliency(function).attribute(a, 1))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair, self.fc = Pair(), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            one, other = self.pair(x)
            return self.fc(one) - 2 * self.fc(other)

    two, x = Net().eval(), torch.randn(2, 4)
    close(ours.LayerGradCam(two, two.pair).attribute(x, 1), theirs.LayerGradCam(two, two.pair).attribute(x, 1))


WINDOWS = [
    ((3, 7, 7), (3, 5, 5)),
    ((1, 4, 6), (1, 4, 6)),
    ((3, 20, 22), None),
    ((2, 6, 6), (1, 6, 5)),
    (((3, 8, 8),), 3),
]


@pytest.mark.parametrize(("window", "strides"), WINDOWS, ids=[str(w) for w, _ in WINDOWS])
@pytest.mark.parametrize("at_once", [1, 3])
def test_occlusion_equals_the_librarys(theirs: Any, window: Any, strides: Any, at_once: int) -> None:
    net, x = pooled(), images(2, 32)[:, :, :20, :22]
    given = {"strides": strides, "baselines": 0.5, "target": [1, 2], "perturbations_per_eval": at_once}
    close(ours.Occlusion(net).attribute(x, window, **given), theirs.Occlusion(net).attribute(x, window, **given))


def test_occlusion_of_several_inputs(theirs: Any) -> None:
    net, a, b, share = Two().eval(), torch.randn(2, 1, 8, 8), torch.randn(2, 1, 8, 8), torch.rand(2)
    given = {
        "sliding_window_shapes": ((1, 3, 3), (1, 2, 2)),
        "strides": ((1, 2, 2), 1),
        "baselines": (torch.ones(1, 1, 8, 8), 0),
        "target": torch.tensor([1, 3]),
        "additional_forward_args": (2.0, share),
        "perturbations_per_eval": 4,
    }
    close(ours.Occlusion(net).attribute((a, b), **given), theirs.Occlusion(net).attribute((a, b), **given))
    shared = (1, 3, 3), 2
    expected = theirs.Occlusion(lambda x: net(x, b).sum()).attribute(a, *shared)
    close(ours.Occlusion(lambda x: net(x, b).sum()).attribute(a, *shared), expected)


# -------------------------------------------------------------------------------------------- where theirs errs


def test_tokens_are_laid_out_as_they_lie_in_the_picture(theirs: Any) -> None:
    options = {"img_size": 64, "depth": 3, "embed_dim": 32, "num_heads": 4, "num_classes": 10}
    net, x = timm.create_model("vit_tiny_patch16_224", **options).eval(), images(2, 64)
    layer, kept = net.blocks[-1].norm1, []
    copy = deepcopy(net)
    copy.blocks[-1].norm1.register_forward_hook(lambda _, __, out: (out.retain_grad(), kept.append(out))[0])
    copy(x)[:, 3].sum().backward()
    values, slopes = (t[:, 1:].unflatten(1, (4, 4)).movedim(-1, 1) for t in (kept[0].detach(), kept[0].grad))
    truth = (values * slopes.mean((2, 3), keepdim=True)).sum(1, keepdim=True)
    close(ours.LayerGradCam(net, layer).attribute(x, 3), truth)
    assert theirs.LayerGradCam(net, layer).attribute(x, 3).shape == (2, 1, 32), "the library is mended: say so"


def test_functions_are_relus_too(theirs: Any) -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(8, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(F.relu(self.conv(x)).mean((2, 3)))

    net, x = Functional().eval(), images(2, 16)
    module = nn.Sequential(net.conv, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), net.fc).eval()
    for name in ("GuidedBackprop", "Deconvolution"):
        truth = getattr(theirs, name)(module).attribute(x, 3)
        close(getattr(ours, name)(net).attribute(x, 3), truth)
        assert not torch.allclose(getattr(theirs, name)(net).attribute(x, 3), truth), "the library is mended: say so"


CALLS: list[tuple[str, Callable[[nn.Module, Tensor], Any]]] = [
    *[(name, lambda net, x, name=name: getattr(ours, name)(net).attribute(x, 1)) for name in GRADIENTS],
    ("LayerGradCam", lambda net, x: ours.LayerGradCam(net, net.features).attribute(x, 1)),
    ("GuidedGradCam", lambda net, x: ours.GuidedGradCam(net, net.features).attribute(x, 1)),
    ("Occlusion", lambda net, x: ours.Occlusion(net).attribute(x, (3, 8, 8), (3, 8, 8), target=1)),
]


@pytest.mark.parametrize(("name", "call"), CALLS, ids=[name for name, _ in CALLS])
def test_a_model_in_training_is_explained_in_eval_mode_and_left_as_it_was(
    name: str, call: Callable[[nn.Module, Tensor], Tensor]
) -> None:
    net, x = pooled(), images(2, 16).requires_grad_()
    expected = call(net, x)
    net.train()
    net.fc.weight.grad = torch.ones_like(net.fc.weight)
    before = deepcopy(net.state_dict())
    torch.testing.assert_close(call(net, x), expected, rtol=0, atol=0)
    assert net.training and all(m.training for m in net.modules())
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert x.grad is None and bool((net.fc.weight.grad == 1).all()) and net.features[0].weight.grad is None
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in net.modules())


def test_what_cannot_be_enlarged_is_said(resnet: nn.Module) -> None:
    with pytest.raises(Error, match=r"cannot be enlarged to an input .* by 'triilinear'"):
        ours.GuidedGradCam(resnet, resnet.layer4).attribute(images(1, 64), 3, interpolate_mode="triilinear")


# -------------------------------------------------------------------------------------------- what is refused

BAD: list[tuple[Callable[[nn.Module, Tensor], Any], str]] = [
    (lambda net, x: ours.Saliency(net).attribute(x), "several scores for each image: say with target="),
    (lambda net, x: ours.Saliency(net).attribute(x, 99), "the target 99 is not among the outputs"),
    (lambda net, x: ours.Saliency(net).attribute(x, [1]), "1 targets do not fit 2 images"),
    (lambda net, x: ours.Saliency(net).attribute(x, (1, 2)), "does not fit an output"),
    (lambda net, x: ours.Saliency(net).attribute(x.long(), 1), "inputs are tensors of floating-point numbers"),
    (lambda net, x: ours.Saliency(lambda x: [x]).attribute(x), "returns a list: wrap it"),
    (lambda net, x: ours.LayerGradCam(net, nn.ReLU()).attribute(x, 1), "is no part of Pooled"),
    (lambda net, x: ours.LayerGradCam(net, net.fc).attribute(x, 1, grad_kwargs={"a": 1}), "leave it out"),
    (lambda net, x: ours.Occlusion(net).attribute(x, (4, 4), target=1), "leave out its first axis"),
    (lambda net, x: ours.Occlusion(net).attribute(x, (3, 4, 4), (3, 5, 5), target=1), "make it at most as large"),
    (lambda net, x: ours.Occlusion(net).attribute(x, (3, 40, 4), target=1), "does not fit 16 places"),
    (lambda net, x: ours.Occlusion(net).attribute(x, ((3, 4, 4),) * 2, target=1), "do not fit 1 inputs"),
    (lambda net, x: ours.Occlusion(net).attribute(x, (3, 4, 4), 3), "several scores for each image"),
    (
        lambda net, x: ours.Occlusion(net).attribute(x, (3, 4, 4), baselines=torch.ones(5)),
        "a baseline (5,) does not fit",
    ),
    (lambda net, x: ours.IntegratedGradients(net), "IntegratedGradients has no counterpart here: run the program"),
]


@pytest.mark.parametrize(("call", "says"), BAD, ids=[says for _, says in BAD])
def test_bad_questions_are_answered_in_a_sentence(call: Callable[[nn.Module, Tensor], Any], says: str) -> None:
    with pytest.raises(Error, match=re.escape(says)):
        call(pooled(), images(2, 16))


def test_what_programs_catch(resnet: nn.Module) -> None:
    with pytest.raises(AssertionError):
        ours.Occlusion(resnet).attribute(images(1, 64), (1, 2), target=0)
    assert not ours.LayerGradCam(resnet, resnet.layer4).has_convergence_delta()
    assert ours.LayerGradCam.get_name() == "Layer Grad Cam"


# -------------------------------------------------------------------------------------------- drawn, and run as it is


@pytest.mark.parametrize("method", ours.visualization.METHODS)
@pytest.mark.parametrize("sign", ["positive", "absolute_value", "negative", "all"])
def test_drawings_equal_the_librarys(theirs: Any, method: str, sign: str) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    if sign == "all" and method in ("masked_image", "alpha_scaling"):
        with pytest.raises(Error, match="choose another sign"):
            ours.visualization.visualize_image_attr(np.ones((4, 4)), np.ones((4, 4, 3)), method, sign, use_pyplot=False)
        return
    random = np.random.default_rng(0)
    attributions, picture = random.normal(size=(20, 30, 3)), random.random((20, 30, 3))
    drawn = []
    for module in (ours.visualization, theirs.visualization):
        figure, _ = module.visualize_image_attr(
            attributions, picture, method, sign, show_colorbar=True, title="A title", use_pyplot=False
        )
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        drawn.append(np.asarray(canvas.buffer_rgba()).astype(int))
    assert drawn[0].shape == drawn[1].shape and abs(drawn[0] - drawn[1]).max() <= 1


PROGRAM = """
import sys
import numpy as np, torch
from torch import nn
from captum.attr import DeepLift, GuidedGradCam, LayerAttribution, LayerGradCam, Occlusion
from captum.attr import visualization as viz
from captum.attr._core.saliency import Saliency

torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
model.eval()
image = torch.rand(1, 3, 32, 32, requires_grad=True)
maps = LayerGradCam(model, model[1]).attribute(image, 2, relu_attributions=True)
maps = LayerAttribution.interpolate(maps, (32, 32), "bilinear")
parts = [
    maps.detach().expand(1, 3, 32, 32),
    GuidedGradCam(model, model[1]).attribute(image, target=2).detach(),
    Saliency(model).attribute(image, target=2),
    Occlusion(model).attribute(image, target=2, sliding_window_shapes=(3, 8, 8), strides=(3, 4, 4)),
]
figure, _ = viz.visualize_image_attr(parts[3][0].permute(1, 2, 0).numpy(), None, sign="all", use_pyplot=False)
np.save(sys.argv[1], torch.cat(parts).numpy())
"""


def test_a_program_runs_unmodified(theirs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    monkeypatch.setattr(sys, "argv", [str(program), str(tmp_path / "theirs.npy")])
    runpy.run_path(str(program), run_name="__main__")
    command = [sys.executable, "-m", "wherefore.compat", "captum", "-m", "program", str(tmp_path / "ours.npy")]
    subprocess.run(command, check=True, cwd=tmp_path)
    expected, found = np.load(tmp_path / "theirs.npy"), np.load(tmp_path / "ours.npy")
    assert all(part.any() for part in expected)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_installing_over_the_imported_library_is_refused(theirs: Any) -> None:
    with pytest.raises(Error, match="captum is imported already"):
        install("captum")


def test_equal_to_our_own_door(resnet: nn.Module) -> None:
    x = images(2, 64)
    found = ours.LayerGradCam(resnet, resnet.layer4).attribute(x, [3, 5], relu_attributions=True)
    torch.testing.assert_close(found[:, 0], wf.explain(resnet, x, torch.tensor([3, 5]), layer="layer4").maps[:, 0])


# -------------------------------------------------------------------------------------------- the page


def test_the_python_of_the_page_on_migration_runs() -> None:
    page = (Path(__file__).parents[1] / "docs" / "migration.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    for library in ("captum", "pytorch_grad_cam", "torchcam"):
        pytest.importorskip(library, reason="needs the libraries that are compared with")
    net = torchvision.models.resnet18().eval()
    net.fc.weight.data.abs_()  # no map is blank
    names: dict[str, Any] = {"model": net, "images": images(2, 64)}
    seen = []
    for block in blocks:
        exec(block, names)
        seen.append(names["maps"])
    assert len(blocks) == 8
    theirs, same, _, captums, captums_same, own, cams, raw = seen
    np.testing.assert_allclose(same, theirs, atol=1e-4)
    torch.testing.assert_close(captums_same, captums.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(own, captums.detach(), rtol=1e-4, atol=1e-5)
    assert cams.shape == raw.shape == (2, 2, 2)
