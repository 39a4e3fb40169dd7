"""The default layer of every classification network of torchvision, and of networks written in other ways."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

import wherefore as wf
from conftest import hidden, images, pooled, untouched
from wherefore.layers import Layers, find_layers
from wherefore.targets import choose

# The convolutional classifiers of torchvision: default layer, channels, grid at 224 (Inception-v3: 299).
DEFAULTS = {
    "alexnet": ("features.11", 256, 13),
    "convnext_tiny": ("features", 768, 7),
    "convnext_small": ("features", 768, 7),
    "convnext_base": ("features", 1024, 7),
    "convnext_large": ("features", 1536, 7),
    "densenet121": ("features+relu", 1024, 7),
    "densenet161": ("features+relu", 2208, 7),
    "densenet169": ("features+relu", 1664, 7),
    "densenet201": ("features+relu", 1920, 7),
    "efficientnet_b0": ("features", 1280, 7),
    "efficientnet_b1": ("features", 1280, 7),
    "efficientnet_b2": ("features", 1408, 7),
    "efficientnet_b3": ("features", 1536, 7),
    "efficientnet_b4": ("features", 1792, 7),
    "efficientnet_b5": ("features", 2048, 7),
    "efficientnet_b6": ("features", 2304, 7),
    "efficientnet_b7": ("features", 2560, 7),
    "efficientnet_v2_s": ("features", 1280, 7),
    "efficientnet_v2_m": ("features", 1280, 7),
    "efficientnet_v2_l": ("features", 1280, 7),
    "googlenet": ("inception5b", 1024, 7),
    "inception_v3": ("Mixed_7c", 2048, 8),
    "mnasnet0_5": ("layers", 1280, 7),
    "mnasnet0_75": ("layers", 1280, 7),
    "mnasnet1_0": ("layers", 1280, 7),
    "mnasnet1_3": ("layers", 1280, 7),
    "mobilenet_v2": ("features", 1280, 7),
    "mobilenet_v3_large": ("features", 960, 7),
    "mobilenet_v3_small": ("features", 576, 7),
    "regnet_x_400mf": ("trunk_output", 400, 7),
    "regnet_x_800mf": ("trunk_output", 672, 7),
    "regnet_x_1_6gf": ("trunk_output", 912, 7),
    "regnet_x_3_2gf": ("trunk_output", 1008, 7),
    "regnet_x_8gf": ("trunk_output", 1920, 7),
    "regnet_x_16gf": ("trunk_output", 2048, 7),
    "regnet_x_32gf": ("trunk_output", 2520, 7),
    "regnet_y_400mf": ("trunk_output", 440, 7),
    "regnet_y_800mf": ("trunk_output", 784, 7),
    "regnet_y_1_6gf": ("trunk_output", 888, 7),
    "regnet_y_3_2gf": ("trunk_output", 1512, 7),
    "regnet_y_8gf": ("trunk_output", 2016, 7),
    "regnet_y_16gf": ("trunk_output", 3024, 7),
    "regnet_y_32gf": ("trunk_output", 3712, 7),
    "regnet_y_128gf": ("trunk_output", 7392, 7),
    "resnet18": ("layer4", 512, 7),
    "resnet34": ("layer4", 512, 7),
    "resnet50": ("layer4", 2048, 7),
    "resnet101": ("layer4", 2048, 7),
    "resnet152": ("layer4", 2048, 7),
    "resnext50_32x4d": ("layer4", 2048, 7),
    "resnext101_32x8d": ("layer4", 2048, 7),
    "resnext101_64x4d": ("layer4", 2048, 7),
    "shufflenet_v2_x0_5": ("conv5", 1024, 7),
    "shufflenet_v2_x1_0": ("conv5", 1024, 7),
    "shufflenet_v2_x1_5": ("conv5", 1024, 7),
    "shufflenet_v2_x2_0": ("conv5", 2048, 7),
    "squeezenet1_0": ("features", 512, 13),
    "squeezenet1_1": ("features", 512, 13),
    "vgg11": ("features.19", 512, 14),
    "vgg11_bn": ("features.27", 512, 14),
    "vgg13": ("features.23", 512, 14),
    "vgg13_bn": ("features.33", 512, 14),
    "vgg16": ("features.29", 512, 14),
    "vgg16_bn": ("features.42", 512, 14),
    "vgg19": ("features.35", 512, 14),
    "vgg19_bn": ("features.51", 512, 14),
    "wide_resnet50_2": ("layer4", 2048, 7),
    "wide_resnet101_2": ("layer4", 2048, 7),
}
TRANSFORMERS = {"maxvit_t", "swin_", "vit_"}  # part of the family table of transformers, not of this one
QUICK = {
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "inception_v3", "mnasnet0_5",
    "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "resnet18", "resnet50", "resnext50_32x4d",
    "shufflenet_v2_x0_5", "squeezenet1_1", "vgg11", "vgg16",
}  # fmt: skip


def layers_of(net: nn.Module, x: Tensor) -> Layers:
    return find_layers(net, x, lambda output: choose(None, output))


def test_the_table_names_every_convolutional_classifier() -> None:
    names = {
        n for n in torchvision.models.list_models(module=torchvision.models) if not n.startswith(tuple(TRANSFORMERS))
    }
    assert names == set(DEFAULTS)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in DEFAULTS])
def test_default_layer(name: str) -> None:
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    net = torchvision.models.get_model(name, weights=None, **options)
    x = images(1, 299 if name == "inception_v3" else 224)
    with untouched(net):
        e = wf.explain(net, x, target=[1, 2])
    layer, channels, side = DEFAULTS[name]
    assert (e.layer, tuple(e.maps.shape)) == (layer, (1, 2, side, side))
    assert torch.isfinite(e.maps).all()
    found = layers_of(net, x)
    assert found.default is not None and found.default.channels == channels
    with wf.Capture(net, layer) as seen:
        seen(x)
        assert seen.activations.shape == (1, channels, side, side)
        if name in ("alexnet", "vgg16", "resnet18", "densenet121", "squeezenet1_1", "mobilenet_v2"):
            assert seen.activations.min() >= 0, "the rectified map is explained"


def test_every_listed_layer_can_be_explained_and_no_rejected_one() -> None:
    net, x = torchvision.models.squeezenet1_1(weights=None).eval(), images(1, 96)
    found = layers_of(net, x)
    for layer in found.every:
        e = wf.explain(net, x, target=[0, 1, 2], layer=layer.name)
        assert e.maps.shape[2:] == layer.grid.size
    assert found.rejected
    for name, why in found.rejected:
        assert "position" in why
        if "no grid" in why:
            with pytest.raises(wf.Error, match="no grid of positions"):
                wf.explain(net, x, layer=name)


def test_a_grid_as_long_as_there_are_channels() -> None:
    """Channels, height 8, width 5: the sizes alone would read as a picture with its channels last."""
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=(2, 3), padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    ).eval()
    for layer in (None, "0", "1"):
        assert wf.explain(net, images(1), layer=layer).maps.shape == (1, 1, 8, 6)


def test_strides_that_distort_the_picture() -> None:
    """Text recognition and spectrograms: height is pooled away, width is not."""
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=(4, 1), padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=(4, 1), padding=1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    ).eval()  # fmt: skip
    e = wf.explain(net, torch.rand(1, 3, 32, 64))
    assert e.layer == "2" and e.maps.shape == (1, 1, 2, 64)


def test_each_kind_of_target_has_its_own_default() -> None:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 5)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            a = self.one(x)
            return self.fc(self.two(a).mean((2, 3))), a.amax((1, 2, 3))

    def early(output: tuple[Tensor, Tensor]) -> Tensor:
        return output[1]

    net = Heads().eval()
    assert [wf.explain(net, images(), t).layer for t in (early, 0, early, None)] == ["one", "two", "one", "two"]


def test_a_network_that_is_changed_afterwards() -> None:
    net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU()), nn.Flatten(2))
    net.append(nn.AdaptiveAvgPool1d(1)).append(nn.Flatten()).append(nn.Linear(4, 5)).eval()
    first = wf.explain(net, images()).layer
    net[0] = net[0][:-2]
    assert wf.explain(net, images()).layer == first == "0"


def test_a_list_of_callables_leaves_nothing_behind() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"a": self.a(x).mean((1, 2, 3)), "b": self.b(x).mean((1, 2, 3))}

    def one(output: dict[str, Tensor]) -> Tensor:
        return output["a"]

    def other(output: dict[str, Tensor]) -> Tensor:
        return output["b"]

    net = Branches().eval()
    with pytest.raises(wf.Error, match=r"'(one|other)' is not read from layer '[ab]' .* explain it by itself"):
        wf.explain(net, images(3), [one, other])
    assert wf.explain(net, images(), one).layer == "a"


def test_a_callable_that_knows_the_batch() -> None:
    net, labels = pooled(), torch.tensor([1, 4, 0])
    maps = wf.explain(net, images(3), lambda output: output[torch.arange(3), labels]).maps
    torch.testing.assert_close(maps, wf.explain(net, images(3), labels).maps, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    "function", [F.selu, F.hardtanh, F.celu, torch.special.expit, F.silu, F.leaky_relu, torch.tanh]
)
def test_functional_activations_of_all_kinds(function) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(function(self.conv(x)).mean((2, 3)))

    net = Net().eval()
    e = wf.explain(net, images())
    assert e.layer.startswith("conv+")
    with wf.Capture(net, e.layer) as seen:
        seen(images())
        torch.testing.assert_close(seen.activations, function(net.conv(images())).detach())


def test_layers_by_call_and_by_module() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.conv(self.conv(self.stem(x))).mean((2, 3)))

    net = Twice().eval()
    sizes = [
        wf.explain(net, images(), layer=x).maps.shape[-1] for x in ("conv:0", "conv:1", "conv", net.conv, net.stem)
    ]
    assert sizes == [12, 10, 10, 10, 14]
    with pytest.raises(wf.Error, match="no submodule"):
        wf.explain(net, images(), layer=nn.Conv2d(3, 3, 3))


def test_notes_say_why() -> None:
    found = layers_of(torchvision.models.vgg11(weights=None).eval(), images(1, 64))
    notes = {layer.name: layer.note for layer in found.every}
    assert "last grid of positions" in notes["features.19"]
    assert notes["features"] == "pooled"
    assert found.default is not None and found.default.note == notes["features.19"]


def test_functional_networks() -> None:
    """Activation and pooling are functions: the default is named in words, module + function."""
    e = wf.explain(hidden(), images())
    assert e.layer == "conv2+relu" and e.maps.shape[2:] == (8, 8)


def test_other_sizes_have_other_grids() -> None:
    net = pooled()
    assert wf.explain(net, images(1, 16)).maps.shape[2:] == (8, 8)
    assert wf.explain(net, images(1, 24)).maps.shape[2:] == (12, 12)
    assert wf.explain(net, torch.rand(1, 3, 16, 30)).maps.shape[2:] == (8, 15)


def test_the_traced_pass_is_done_once() -> None:
    net, calls = pooled(), []
    net.register_forward_hook(lambda *_: calls.append(1))
    for _ in range(10):
        wf.explain(net, images())
    assert len(calls) == 11


def test_weights_are_not_read_at_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fingerprint of them takes a quarter of a large network's forward pass."""
    net, x = pooled(), images()
    first = wf.explain(net, x, 3)
    monkeypatch.setattr("wherefore.layers.fingerprint", lambda net: pytest.fail("all weights are read"))
    assert torch.equal(wf.explain(net, x, 3).maps, first.maps)


def test_a_layer_that_the_target_does_not_use_is_rejected_with_the_reason() -> None:
    class Aside(type(pooled())):
        def __init__(self) -> None:
            super().__init__()
            self.aside = nn.Conv2d(8, 4, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            a = self.features(x)
            self.aside(a)
            return self.fc(a.mean((2, 3)))

    found = layers_of(Aside().eval(), images(1))
    assert ("aside", "does not reach the target") in found.rejected
    assert found.default is not None and found.default.name == "features"


def test_the_layers_of_a_network_of_ones_own() -> None:
    """The default is what is explained, for the target that was asked for; the others can be."""

    class Heads(type(pooled())):
        def __init__(self) -> None:
            super().__init__()
            self.other = nn.Conv2d(3, 4, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([super().forward(x), self.other(x).mean((2, 3))], 1)

    net, x = Heads().eval(), images(3)
    why = wf.Explainer(net)
    with untouched(net):
        found = [why.layers(x, target) for target in (0, 7)]
    assert [each.default.name for each in found if each.default] == ["features", "other"]
    assert [why(x, target).layer for target in (0, 7)] == ["features", "other"]
    for layer in found[0].every[:-1]:
        assert layer.name.startswith("features")
        assert wf.explain(net, x, 0, layer=layer.name).maps.shape[2:] == layer.grid.size
    vqa = wf.Explainer(wf.load("scenes:vqa"))
    question = "what colour is the dog?"
    default = vqa.layers("scenes:17", question=question).default
    assert default is not None and default.name == vqa("scenes:17", question=question).layer


def test_a_network_without_a_grid_is_refused_in_a_sentence() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 5)).eval()
    with untouched(net), pytest.raises(wf.Error, match="no layer of Sequential has a grid of positions"):
        wf.explain(net, images())
    with pytest.raises(wf.Error, match="no grid of positions"):
        wf.explain(net, images(), layer="1")


def test_fully_convolutional_classifier_is_explained_below_its_head() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    found = layers_of(net.eval(), images(1))
    assert found.default is not None and found.default.name == "1"
    assert {x.name: x.note for x in found.every}["2"] == "the head: one channel per class"


def test_class_token_transformer() -> None:
    """The last block's patch tokens do not reach a class token: the last layer whose positions count is its norm."""
    net = torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5
    ).eval()
    nn.init.normal_(net.heads.head.weight)
    e = wf.explain(net, images(2, 32), target=[0, 1, 2])
    assert e.layer == "encoder.layers.encoder_layer_1.ln_1" and e.maps.shape == (2, 3, 4, 4)
    assert e.evidence.max() > 0
