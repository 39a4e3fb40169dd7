"""The networks of scenes: built as their papers build them, explained by default at 12x12, loaded strictly."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import wherefore as wf
from wherefore.errors import Error
from wherefore.models import named, scenes
from wherefore.models.scenes import NETWORKS, WORDED, card, scenes_model, scenes_names
from wherefore.models.zoo import file_sha256

VGG_CONVOLUTIONS = [(3, 16), (16, 32), (32, 64), (64, 64), (64, 128), (128, 128)]
CARDS = sorted(scenes.SHIPPED.glob("*.json"))


def conv(inputs: int, outputs: int, size: int = 3, norm: bool = True) -> int:
    """Weights of a convolution without bias and the two vectors of its batch norm; or weights and bias."""
    return inputs * outputs * size * size + (2 if norm else 1) * outputs


def linear(*widths: int) -> int:
    return sum(a * b + b for a, b in pairwise(widths))


def inception(inputs: int, one: int, reduce3: int, three: int, reduce5: int, five: int, pooled: int) -> int:
    return (
        conv(inputs, one, 1)
        + (conv(inputs, reduce3, 1) + conv(reduce3, three))
        + (conv(inputs, reduce5, 1) + conv(reduce5, five, 5))
        + conv(inputs, pooled, 1)
    )


def resnet_20() -> int:
    """6n + 2 = 20 layers with weights, and two projections."""
    stages = conv(3, 16) + 6 * conv(16, 16) + conv(16, 32) + 5 * conv(32, 32) + conv(32, 64) + 5 * conv(64, 64)
    return stages + conv(16, 32, 1) + conv(32, 64, 1) + linear(64, 20)


VGG_FEATURES = sum(conv(*each) for each in VGG_CONVOLUTIONS)
PARAMETERS = {
    "vgg": VGG_FEATURES + linear(128 * 36, 192, 192, 20),
    "vgg-cam": VGG_FEATURES + conv(128, 128) + linear(128, 20),
    "alexnet": conv(3, 24, 7, False)
    + conv(24, 64, 5, False)
    + sum(conv(*each, 3, False) for each in [(64, 96), (96, 96), (96, 64)])
    + linear(64 * 36, 192, 192, 20),
    "googlenet": conv(3, 24, 5)
    + (conv(24, 24, 1) + conv(24, 48))
    + inception(48, 16, 24, 32, 4, 8, 8)
    + inception(64, 24, 32, 48, 8, 16, 8)
    + inception(96, 48, 32, 64, 8, 16, 16)
    + inception(144, 80, 64, 128, 16, 32, 32)
    + inception(272, 128, 80, 160, 16, 48, 48)
    + linear(384, 20),
    "resnet": resnet_20(),
    "places": VGG_FEATURES + linear(128 * 36, 192, 192, 10),
    "people-biased": sum(conv(*each) for each in [(3, 16), (16, 32), (32, 64), (64, 64), (64, 64)])
    + linear(64 * 16, 64, 64, 2),
}
LAYERS = {"vgg": "features.20", "vgg-cam": "extra", "alexnet": "features.11", "googlenet": "inception4c"}
LAYERS |= {"resnet": "layer3", "places": "features.20", "people-biased": "features.17"}


def random(name: str) -> wf.Model:
    return wf.load(f"scenes:{name}", weights=None)


def pictures(name: str, count: int = 2) -> torch.Tensor:
    side = NETWORKS[name].size
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_as_counted_by_hand(name: str) -> None:
    assert sum(p.numel() for p in random(name).net.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_default_layer_is_the_last_rectified_map(name: str) -> None:
    model = random(name)
    x = pictures(name)
    e = wf.explain(model, x, target=1)
    grid = (8, 8) if name.startswith("people") else (12, 12)
    assert (e.layer, e.maps.shape[-2:]) == (LAYERS[name], grid)
    seen: list[torch.Tensor] = []
    model.net.get_submodule(e.layer).register_forward_hook(lambda *args: seen.append(args[2]))
    model.net(x)
    assert seen[0].min() >= 0, "rectified"
    assert (model.multilabel, model.net(x).shape) == (NETWORKS[name].task == "multi-label", (2, NETWORKS[name].outputs))


@pytest.mark.parametrize("name", ["googlenet", "vgg-cam", "resnet"])
def test_cam_is_grad_cam_where_an_average_feeds_one_layer(name: str) -> None:
    model, x = random(name), pictures(name)
    cam = wf.explain(model, x, target=[3, 5, 7], method="cam").maps
    grad_cam = wf.explain(model, x, target=[3, 5, 7], method="grad-cam").maps
    assert cam.abs().max() > 0
    # Grad-CAM's weights are those of CAM over the number of places Z, and it keeps the positive part.
    torch.testing.assert_close(grad_cam, cam.clamp(min=0) / 144, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", ["vgg", "alexnet", "places", "people-balanced"])
def test_fully_connected_heads_have_no_cam(name: str) -> None:
    with pytest.raises(Error):
        wf.explain(random(name), pictures(name), method="cam")


def test_names_are_listed() -> None:
    assert (
        named("scenes:")
        == [f"scenes:{name}" for name in scenes_names()]
        == [f"scenes:{name}" for name in [*NETWORKS, *WORDED]]
    )
    assert named("people", source="scenes") == ["scenes:people-biased", "scenes:people-balanced"]


def test_vgg_features_are_shared_by_name() -> None:
    vgg, cam = (random(name).net.state_dict() for name in ("vgg", "vgg-cam"))
    trunk = {k: v.shape for k, v in cam.items() if k.startswith("features.")}
    assert trunk == {k: v.shape for k, v in vgg.items() if k.startswith("features.")}


def test_what_is_seen_of_a_picture() -> None:
    seen = random("vgg").preprocess
    assert isinstance(seen, wf.Preprocess)
    assert (seen.resize, seen.crop) == (96, 96)
    assert seen.region((128, 128)) == (0, 0, 128, 128), "a scene is seen as a whole"


# ---------------------------------------------------------------------------------------- files and cards


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped networks with a people network in it."""
    monkeypatch.setattr(scenes, "SHIPPED", tmp_path)
    state = {k: v.half() for k, v in random("people-biased").net.state_dict().items() if v.is_floating_point()}
    facts = {"task": "single-label", "classes": ["doctor", "nurse"], "input": {"size": 64, "mean": [0.5], "std": [1.0]}}
    metadata = {k: v if isinstance(v, str) else json.dumps(v) for k, v in facts.items()}
    save_file(state, tmp_path / "people-biased.safetensors", metadata)
    sha256 = file_sha256(tmp_path / "people-biased.safetensors")
    (tmp_path / "people-biased.json").write_text(json.dumps({**facts, "sha256": sha256}))
    return tmp_path


def test_a_shipped_network_is_what_its_card_says(shelf: Path) -> None:
    model = wf.load("scenes:people-biased")
    assert model.classes == ("doctor", "nurse")
    assert model.weights_sha256 == card("people-biased")["sha256"]
    assert not model.multilabel and not model.net.training
    assert {p.dtype for p in model.net.parameters()} == {torch.float32}
    stored = load_file(shelf / "people-biased.safetensors")
    assert all(torch.equal(v.float(), model.net.state_dict()[k]) for k, v in stored.items())
    with (shelf / "people-biased.safetensors").open("ab") as file:
        file.write(b" ")
    with pytest.raises(Error, match="not the file that its card describes"):
        wf.load("scenes:people-biased")


def test_a_file_of_ones_own_says_what_its_classes_are(shelf: Path, tmp_path: Path) -> None:
    own = tmp_path / "mine.safetensors"
    (shelf / "people-biased.safetensors").rename(own)
    (shelf / "people-biased.json").unlink()
    model = wf.load("scenes:people-biased", weights=own)
    assert model.classes == ("doctor", "nurse")
    assert model.sha256 == file_sha256(own)
    plain = tmp_path / "plain.pth"
    torch.save(model.net.state_dict(), plain)
    assert wf.load("scenes:people-biased", weights=plain).classes is None
    assert wf.load("scenes:people-biased", weights=plain, classes=["a", "b"]).classes == ("a", "b")


@pytest.mark.parametrize(
    ("name", "weights", "classes", "words"),
    [
        ("vggg", "default", None, "did you mean scenes:vgg"),
        ("vgg", "default", None, "scenes:vgg has not been trained: `wherefore train vgg` trains it"),
        ("people-biased", "default", ["a", "b"], "give them with weights="),
        ("vgg", "nowhere.safetensors", None, "does not exist"),
        ("vgg", "SHELF", None, "do not fit scenes:vgg: missing features"),
    ],
)
def test_one_sentence_where_it_cannot_be_loaded(shelf: Path, name: str, weights: str, classes: Any, words: str) -> None:
    weights = weights.replace("SHELF", str(shelf / "people-biased.safetensors"))
    with pytest.raises(Error, match=words):
        wf.load(f"scenes:{name}", weights=weights, classes=classes)


def test_no_card_no_accuracy(shelf: Path) -> None:
    assert scenes.shipped("vgg") == {}
    with pytest.raises(Error, match="no network is called"):
        card("nonsense")


@pytest.mark.parametrize("path", CARDS, ids=lambda p: p.stem)
def test_shipped_cards_are_complete_and_true(path: Path) -> None:
    said = json.loads(path.read_text())
    assert not set(scenes.CARD) - set(said)
    assert said["name"] == path.stem
    assert said["sha256"] == file_sha256(path.with_suffix(".safetensors"))
    model = scenes_model(path.stem, "default", None)
    assert sum(p.numel() for p in model.net.parameters()) == said["parameters"]
    assert list(model.classes or ()) == said["classes"]
    assert said["accuracy"]
    for row in said["accuracy"]:
        assert row["low"] <= row["value"] <= row["high"] and row["n"] > 0
    assert said["training"]["seconds"] > 0 and "not what the papers" in said["limits"]


def test_what_is_shipped_is_small() -> None:
    sizes = {
        name: (scenes.SHIPPED / f"{name}.safetensors").stat().st_size for name in [*scenes.NETWORKS, *scenes.WORDED]
    }
    assert sum(sizes[name] for name in scenes.NETWORKS) <= 15e6
    assert all(sizes[name] <= 3e6 for name in scenes.WORDED)
