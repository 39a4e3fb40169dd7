"""Networks drawn anew, and how alike maps stay."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from scipy import stats
from torch import Tensor, nn

import wherefore as wf
from conftest import hidden, images, pooled, untouched
from wherefore.metrics.likeness import likenesses
from wherefore.randomising import copied, randomised, redraw, stages
from wherefore.sanity import again, decay, is_above


class Odd(nn.Module):
    """A weight of its own, which no layer knows how to draw, and a norm that comes first."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.scale = nn.Parameter(torch.linspace(1, 2, 24).view(1, 3, 8))
        self.head = nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.norm(x).mean(3) * self.scale).flatten(1))


def changed(net: nn.Module, other: nn.Module) -> set[str]:
    """The names of weights and statistics in which two networks differ."""
    one, two = net.state_dict(), other.state_dict()
    return {name for name in one if not torch.equal(one[name], two[name])}


# -------------------------------------------------------------------------------------------- networks


def test_stages_run_from_the_logits_downward_with_their_norms() -> None:
    assert stages(pooled()) == [("fc",), ("features.3",), ("features.0", "features.1")]
    assert stages(hidden()) == [("fc2",), ("fc1",), ("conv2",), ("conv1",)]
    vgg = stages(wf.load("scenes:vgg").net)
    assert vgg[:3] == [("classifier.6",), ("classifier.3",), ("classifier.0",)]
    assert vgg[3] == ("features.18", "features.19") and len(vgg) == 9


def test_the_cascade_goes_down_layer_by_layer_and_leaves_the_network() -> None:
    net = pooled().train()
    with untouched(net):
        found = [(name, changed(net, other), other.fc.weight.clone()) for name, other in randomised(net)]
    top = {"fc.weight", "fc.bias"}
    assert [name for name, _, _ in found] == ["fc", "features.3", "features.0"]
    assert found[0][1] == top and found[1][1] == top | {"features.3.weight", "features.3.bias"}
    assert found[2][1] >= {*found[1][1], "features.0.weight", "features.1.running_mean", "features.1.running_var"}
    assert torch.equal(found[0][2], found[2][2]), "what was drawn stays"


def test_layers_one_at_a_time_or_those_that_are_named() -> None:
    net = pooled()
    found = [changed(net, other) for _, other in randomised(net, cascade=False)]
    assert [{name.split(".")[0] + name.split(".")[1][:1] for name in names} for names in found[:2]] == [
        {"fcw", "fcb"},
        {"features3"},
    ]
    assert not any("features.3" in name or "fc" in name for name in found[2])
    named = [(name, changed(net, other)) for name, other in randomised(net, ["features", ("fc",)], cascade=False)]
    assert [name for name, _ in named] == ["features", "fc"]
    assert {name.split(".")[0] for name in named[0][1]} == {"features"}


def test_the_same_seed_draws_the_same_and_torch_keeps_its_dice() -> None:
    net = pooled()
    before = torch.get_rng_state()
    one, two, other = ([copied(each) for _, each in randomised(net, seed=seed)] for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(not changed(a, b) for a, b in zip(one, two, strict=True))
    assert all(changed(a, b) for a, b in zip(one, other, strict=True))
    fresh = copied(net.fc)
    torch.manual_seed(0)
    fresh.reset_parameters()
    assert torch.equal(fresh.weight, one[0].fc.weight), "as the layer draws them itself"


def test_weights_of_no_layer_come_from_their_own_distribution() -> None:
    net = Odd()
    assert stages(net) == [("head",), ("scale", "norm")]
    other = copied(net)
    redraw(other, ("scale",), 0)
    assert changed(net, other) == {"scale"}
    assert abs(float(other.scale.detach().mean()) - 1.5) < 0.25 and 0.15 < float(other.scale.detach().std()) < 0.5


def test_a_transformer_is_drawn_layer_by_layer() -> None:
    net = torchvision.models.vit_b_16(image_size=32)
    found = stages(net)
    assert found[0] == ("heads.head",) and found[-1] == ("class_token",)
    assert ("encoder.layers.encoder_layer_3.self_attention",) in found and found[-3][0] == "encoder.pos_embedding"
    nn.init.normal_(net.class_token)  # zeros stay zeros
    redraw(other := copied(net), found[-1], 0)
    assert changed(net, other) == {"class_token"}


def test_layers_that_are_not_there_and_networks_that_cannot_be_copied() -> None:
    with pytest.raises(wf.Error, match="no layer is called 'fcc': did you mean fc"):
        randomised(pooled(), ["fcc"])
    net = pooled()
    net.kept = net.fc.weight * 2  # not a leaf
    with pytest.raises(wf.Error, match="Pooled cannot be copied"):
        next(randomised(net))


# -------------------------------------------------------------------------------------------- maps


@pytest.mark.parametrize(
    "options",
    [
        {"method": "grad-cam", "layer": "features.2", "flips": True},
        {"method": "grad-cam", "pooling": "max", "counter": True, "fit": "squash"},
        {"method": "occlusion", "patch": 5},
        {"method": "guided-backprop"},
    ],
)
def test_again_is_the_same_explanation_by_another_network(options: dict[str, Any]) -> None:
    net, other = pooled(), pooled()
    e = wf.explain(net, images(2), torch.tensor([[1, 3], [0, 2]]), **options)
    torch.testing.assert_close(again(e, net).maps, e.maps)
    want = wf.explain(other, images(2), torch.tensor([[1, 3], [0, 2]]), **options)
    found = again(e, other)
    torch.testing.assert_close(found.maps, want.maps)
    assert found.targets == e.targets and not torch.equal(found.maps, e.maps)


def test_the_class_stays_though_another_network_sees_another_one() -> None:
    net = pooled()
    e = wf.explain(net, images(1))
    other = next(other for _, other in randomised(net) if int(other(images(1)).argmax()) != int(e.classes[0, 0]))
    assert again(e, other).classes.tolist() == e.classes.tolist()
    e = wf.explain(net, images(2), wf.Difference(0, 1))
    assert again(e, other).targets == e.targets
    with pytest.raises(wf.Error, match="target= is missing"):
        again(replace(e, target=None), other)


SCENES = ["scenes:0", "scenes:2", "scenes:6"]


@pytest.fixture(scope="module")
def saying() -> tuple[wf.Model, nn.Module]:
    """A network that says something else of each scene, and another one, that says other captions of them."""
    model = wf.load("scenes:captioner")
    texts = wf.captions(model, SCENES)
    assert len(set(texts)) == len(texts)
    for _, other in randomised(model.net):
        found = wf.captions(replace(model, net=other), SCENES)
        if all(a != b for a, b in zip(texts, found, strict=True)):
            return model, other
    raise AssertionError("it says the same")


@pytest.mark.parametrize("of", ["caption", "caption with its end", "word", "several"])
def test_what_was_said_stays_though_another_network_says_something_else(
    saying: tuple[wf.Model, nn.Module], of: str
) -> None:
    model, other = saying
    texts = wf.captions(model, SCENES)
    said_by_all = set.intersection(*(set(text.split()) for text in texts))
    word = sorted(said_by_all)[0]
    target, names = {
        "caption": (None, lambda text: [wf.Caption(text)]),
        "caption with its end": (wf.Answer(), lambda text: [wf.Caption(text, end=True)]),
        "word": (wf.Word(word), lambda text: [wf.Word(word, text)]),
        "several": ([word, wf.Caption(beam=1)], lambda text: [wf.Word(word, text), wf.Caption(text)]),
    }[of]
    e = wf.explain(model, SCENES, target)
    found = again(e, other)
    assert found.targets == e.targets
    torch.testing.assert_close(again(e, model.net).maps, e.maps)
    for i, text in enumerate(texts):
        alone = wf.explain(replace(model, net=other), SCENES[i], names(text))
        torch.testing.assert_close(found.scores[i], alone.scores[0], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(found.maps[i], alone.maps[0], rtol=1e-3, atol=1e-5)


def test_a_caption_is_checked_as_any_other_target(saying: tuple[wf.Model, nn.Module]) -> None:
    e = wf.explain(saying[0], SCENES[:2])
    assert [row[0].name for row in e.check().verdicts] == wf.captions(saying[0], SCENES[:2])


def test_what_lies_above_the_explained_layer() -> None:
    e = wf.explain(pooled(), images(1), 0, layer="features.2")
    assert [is_above(e, name) for name in ("fc", "features.3", "features.2", "features.0", "features")] == [
        True, True, False, False, False,
    ]  # fmt: skip
    assert not is_above(wf.explain(pooled(), images(1), 0, method="gradient"), "fc")


def test_likenesses_against_scipy_and_of_a_map_with_itself() -> None:
    e = wf.explain(pooled(), images(1, 42), [0, 1, 2], method="gradient")
    other = wf.explain(pooled(), images(1, 42), [0, 1, 2], method="gradient")
    for t, found in enumerate(likenesses(e, other, 0)):
        signed = stats.spearmanr(e.pixels[0][t].ravel(), other.pixels[0][t].ravel()).statistic
        sizes = stats.spearmanr(e.maps[0][t].ravel(), other.maps[0][t].ravel()).statistic
        assert found["spearman"] == pytest.approx(signed, abs=1e-6)
        assert found["spearman of sizes"] == pytest.approx(sizes, abs=1e-6)
    for found in likenesses(e, e, 0):
        assert list(found.values()) == pytest.approx([1, 1, 1, 1])
    flipped = replace(e, pixels=-e.pixels)
    assert [round(v, 6) for v in likenesses(e, flipped, 0)[0].values()] == [-1, 1, 1, 1], "only the first knows signs"


def test_grad_cam_decays_and_guided_backprop_stays() -> None:
    """Adebayo et al. 2018, Figure 3, on three scenes: down to the last convolution and then half of the rest."""
    model = wf.load("scenes:vgg")
    means: dict[str, list[float]] = {}
    with untouched(model.net):
        for method in ("grad-cam", "guided-backprop"):
            e = wf.explain(model, ["scenes:0", "scenes:2", "scenes:6"], method=method)
            steps = list(decay(e, stages(model.net)[:6]))
            means[method] = [float(np.mean([row[0]["spearman of sizes"] for row in s.likenesses])) for s in steps]
            if method == "grad-cam":
                assert [step.above for step in steps] == [True, True, True, False, False, False]
    assert abs(np.mean(means["grad-cam"])) < 0.4
    assert min(means["guided-backprop"][:4]) > 0.8 and means["guided-backprop"][5] > 0.5
