"""The later CAM rules: against loops in float64, against other libraries, and by what their papers promise."""

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
from conftest import ask, hidden, images, pooled, untouched

RULES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "hires-cam": reference.hires_cam,
    "grad-cam++": reference.grad_cam_plus_plus,
    "xgrad-cam": reference.xgrad_cam,
    "layer-cam": reference.layer_cam,
    "eigen-cam": lambda a, g: reference.component(a),
    "eigen-grad-cam": lambda a, g: reference.component(a * g).clamp(min=0),
}


class Tail(nn.Module):
    """A smooth head on a rectified convolution; channel 2 is dead, so sums of nothing are met."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc1, self.fc2 = nn.Conv2d(3, 5, 3, stride=2), nn.Linear(5 * 9, 6), nn.Linear(6, 4)
        nn.init.constant_(self.conv.bias[2:3], -100)

    def above(self, a: Tensor) -> Tensor:
        return self.fc2(torch.tanh(self.fc1(F.adaptive_avg_pool2d(a, 3).flatten(1))))

    def forward(self, x: Tensor) -> Tensor:
        return self.above(F.relu(self.conv(x)))

    def parts(self, x: Tensor) -> tuple[Tensor, Tensor, list[float]]:
        """A ``(K, h, w)`` of one image, d score / d A of all classes ``(C, K, h, w)``, and their scores."""
        a = F.relu(self.conv(x[None])).detach().requires_grad_()
        scores = self.above(a)[0]
        gradients = [torch.autograd.grad(score, a, retain_graph=True)[0][0] for score in scores]
        return a[0].detach(), torch.stack(gradients), scores.tolist()


@pytest.fixture
def tail() -> Tail:
    return Tail().double().eval()


def close(ours: Tensor, expected: Tensor, digits: float = 1e-9) -> None:
    assert float(expected.abs().max()) > 0, "something is compared"
    torch.testing.assert_close(ours, expected, rtol=digits, atol=digits * float(expected.abs().max()))


# -------------------------------------------------------------------------------------------- loops


@pytest.mark.parametrize("method", RULES)
def test_equals_plain_loops(tail: Tail, method: str) -> None:
    x = images(2).double()
    ours = ask(method, tail, x, "conv+relu", [0, 3]).maps
    for b in range(2):
        a, g, _ = tail.parts(x[b])
        for t, c in enumerate([0, 3]):
            close(ours[b, t], RULES[method](a, g[c]))


@pytest.mark.parametrize(("strength", "rivals"), [(1.0, 3), (0.5, 2), (1.0, 1), (1.0, 99)])
def test_finer_cam_equals_plain_loops(tail: Tail, strength: float, rivals: int) -> None:
    x = images(2).double()
    ours = ask("finer-cam", tail, x, "conv+relu", "all", strength=strength, rivals=rivals).maps
    for b in range(2):
        a, g, scores = tail.parts(x[b])
        for c in range(4):
            close(ours[b, c], reference.finer_cam(a, g, scores, c, strength, rivals))


@pytest.mark.parametrize("method", ["grad-cam", "hires-cam", "layer-cam", "xgrad-cam"])
def test_component_takes_the_first_principal_component(tail: Tail, method: str) -> None:
    x = images(2).double()
    ours = ask(method, tail, x, "conv+relu", 1, component=True, relu=False).maps
    for b in range(2):
        a, g, _ = tail.parts(x[b])
        alpha = {
            "grad-cam": lambda a, g: torch.tensor(reference.weights(g), dtype=a.dtype)[:, None, None],
            "hires-cam": lambda a, g: g,
            "layer-cam": lambda a, g: g.clamp(min=0),
            "xgrad-cam": lambda a, g: ((a * g).sum((1, 2)) / a.sum((1, 2)).clamp(min=1e-30))[:, None, None],
        }[method](a, g[1])
        close(ours[b, 0], reference.component(alpha * a), 1e-8)


@pytest.mark.parametrize("shape", [(1, 1, 9, 2, 2), (1, 1, 3, 4, 4)])
def test_component_of_few_and_of_many_positions(shape: tuple[int, ...]) -> None:
    """Two ways to the same vector, by what is smaller."""
    from wherefore.methods.cams import first_component

    channels = torch.randn(shape, dtype=torch.float64)
    close(first_component(channels)[0, 0], reference.component(channels[0, 0]), 1e-8)


def test_relu_keeps_the_positive_part() -> None:
    net, x = hidden(), images(2)
    for method in ("grad-cam", "grad-cam++", "xgrad-cam", "hires-cam", "eigen-grad-cam"):
        signed, positive = (wf.explain(net, x, 1, method=method, relu=relu).maps for relu in (False, True))
        assert float(signed.min()) < 0 or method == "grad-cam++", method
        torch.testing.assert_close(signed.relu(), positive)


# -------------------------------------------------------------------------------------------- promises


def test_hires_cam_sums_to_the_score_less_its_bias() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)).double()
    x = images(3, 8).double()
    maps = ask("hires-cam", net, x, "1").maps
    torch.testing.assert_close(maps.sum((2, 3)), (net(x) - net[3].bias).detach(), rtol=1e-12, atol=1e-12)


def test_finer_cam_without_strength_is_grad_cam() -> None:
    for net in (pooled(), hidden()):
        ours, plain = (wf.explain(net, images(2), "all", method="finer-cam", strength=0).maps,
                       wf.explain(net, images(2), "all").maps)  # fmt: skip
        close(ours, plain, 1e-5)


def test_finer_cam_of_two_classes_is_their_difference() -> None:
    net = pooled(classes=2)
    close(
        wf.explain(net, images(2), 0, method="finer-cam").maps,
        wf.explain(net, images(2), wf.Difference(0, 1)).maps,
        1e-5,
    )


def test_eigen_cam_is_blind_to_the_target() -> None:
    maps = wf.explain(hidden(), images(2), "all", method="eigen-cam").maps
    assert torch.equal(maps, maps[:, :1].expand_as(maps))
    by_class = wf.explain(hidden(), images(2), "all", method="eigen-grad-cam").maps
    assert not torch.allclose(by_class[:, 0], by_class[:, 1])


# -------------------------------------------------------------------------------------------- flips


@pytest.mark.parametrize("method", ["grad-cam", "eigen-cam", "ablation-cam", "excitation"])
def test_flips_is_the_mean_with_the_mirrored_map(method: str) -> None:
    """Of the same targets: those of the picture as it is, also where the mirrored one has another winner."""
    net, x = pooled(), images(3)
    nn.init.zeros_(net.fc.bias)
    winners = net(x).argmax(1)
    ours = wf.explain(net, x, method=method, flips=True)
    assert ours.classes[:, 0].tolist() == winners.tolist()
    one, other = (wf.explain(net, y, winners, method=method).maps for y in (x, x.flip(-1)))
    close(ours.maps, (one + other.flip(-1)) / 2, 1e-5)
    assert not torch.allclose(ours.maps, one, rtol=1e-2)


@pytest.mark.parametrize(
    "method", ["gradient", "deconvnet", "guided-backprop", "guided-grad-cam", "occlusion", "winsor-cam", "fullgrad"]
)
def test_flips_is_refused_without_a_layer(method: str) -> None:
    with pytest.raises(wf.Error, match="takes no flips: they smooth maps of a layer"):
        wf.explain(pooled(), images(), method=method, flips=True)


# -------------------------------------------------------------------------------------------- other libraries

PEERS = {
    "hires-cam": "HiResCAM", "grad-cam++": "GradCAMPlusPlus", "xgrad-cam": "XGradCAM", "layer-cam": "LayerCAM",
    "grad-cam": "GradCAM",
}  # fmt: skip


@pytest.fixture(params=[pytest.param("resnet18", marks=pytest.mark.slow), "pooled"])
def peer_net(request: pytest.FixtureRequest) -> tuple[nn.Module, str]:
    if request.param == "resnet18":
        return torchvision.models.resnet18(weights=None, num_classes=5).eval(), "layer3"
    return pooled(), "features"


def scaled(maps: Tensor) -> Tensor:
    return maps / maps.amax((1, 2), keepdim=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", PEERS)
def test_agrees_with_pytorch_grad_cam(method: str, peer_net: tuple[nn.Module, str]) -> None:
    """At the layer's resolution, up to a positive factor and to the small number that they add below fractions."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    net, layer = peer_net
    x, targets = images(2, 64), [ClassifierOutputTarget(1), ClassifierOutputTarget(1)]
    net.fc.weight.data.mul_(1000)  # beside these gradients the 1e-6 that their Grad-CAM++ adds is nothing
    module = net.get_submodule(layer)
    with getattr(pytorch_grad_cam, PEERS[method])(net, [module]) as cam:
        cam(x, targets)
        seen = cam.activations_and_grads
        a, g = seen.activations[0].numpy(), seen.gradients[0].numpy()
        theirs = torch.as_tensor(cam.get_cam_image(x, module, targets, a, g, False)).clamp(min=0)
    ours = wf.explain(net, x, 1, method=method, layer=layer, relu=True).maps[:, 0]
    assert float(theirs.amax((1, 2)).min()) > 0
    torch.testing.assert_close(scaled(ours), scaled(theirs), rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("method", "peer"), [("xgrad-cam", "XGradCAM"), ("layer-cam", "LayerCAM"), ("grad-cam", "GradCAM")]
)
def test_agrees_with_torchcam(method: str, peer: str, peer_net: tuple[nn.Module, str]) -> None:
    import torchcam.methods

    net, layer = peer_net
    x = images(2, 64)
    with getattr(torchcam.methods, peer)(net, layer) as cam:
        theirs: Any = cam(1, net(x), normalized=False)[0].detach()
    ours = wf.explain(net, x, 1, method=method, layer=layer, relu=True).maps[:, 0]
    torch.testing.assert_close(scaled(ours), scaled(theirs.clamp(min=0)), rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_ablation_cam_agrees_with_pytorch_grad_cam() -> None:
    """They divide by the score, which must be positive for the sign to agree."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    net, x = pooled(), images(2)
    nn.init.constant_(net.fc.bias, 1.0)
    assert float(net(x)[:, 1].min().detach()) > 0
    with untouched(net):
        ours = wf.explain(net, x, 1, method="ablation-cam", layer="features").maps[:, 0]
    targets = [ClassifierOutputTarget(1), ClassifierOutputTarget(1)]
    with pytorch_grad_cam.AblationCAM(net, [net.features]) as cam:
        cam(x, targets)
        a = cam.activations_and_grads.activations[0].numpy()
        theirs = torch.as_tensor(cam.get_cam_image(x, net.features, targets, a, None, False)).clamp(min=0)
    torch.testing.assert_close(scaled(ours), scaled(theirs), rtol=1e-3, atol=1e-4)


# -------------------------------------------------------------------------------------------- wrong options


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("grad-cam", {"pooling": "median"}), ("grad-cam", {"backward": "guide"}), ("score-cam", {"masks": "both"}),
        ("integrated-grad-cam", {"steps": 0}), ("rsi-grad-cam", {"steps": -1}), ("winsor-cam", {"percentile": 101}),
        ("winsor-cam", {"percentile": -1}), ("hires-cam", {"steps": 3}), ("finer-cam", {"target": wf.Difference(0, 1)}),
        ("finer-cam", {"rivals": 0}), ("winsor-cam", {"percentile": float("nan")}), ("finer-cam", {"rivals": -2}),
    ],
)  # fmt: skip
def test_wrong_options_are_one_sentence(method: str, options: dict[str, Any]) -> None:
    net = pooled()
    with untouched(net), pytest.raises(wf.Error) as error:
        wf.explain(net, images(3), method=method, **options)
    message = str(error.value)
    assert "\n" not in message and message[-1] in ".?" and len(message) < 200
