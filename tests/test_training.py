"""Training: pictures kept on disk, a loop that goes on where it stopped, and what comes out of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import wherefore as wf
from wherefore.cli import main
from wherefore.errors import Error
from wherefore.metrics.resampling import wilson
from wherefore.models.scenes import CARD, preprocess, shipped
from wherefore.models.zoo import file_sha256
from wherefore.scenes import scene
from wherefore.scenes.world import CATEGORIES, PLACES
from wherefore.training import RECIPES, Recipe, data, loop, recipes, shipping, train
from wherefore.training.data import Pictures, Wanted, drawn, together


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, and few pictures."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(recipes, "HELD_OUT", {"dev": ((1, 4), (2, 4)), "test": ((1, 6), (2, 6))})
    for name, recipe in RECIPES.items():
        monkeypatch.setitem(RECIPES, name, replace(recipe, mix=((1, 6), (2, 4)), batch=4, epochs=2))


def silent(_: str) -> None:
    pass


# ---------------------------------------------------------------------------------------- pictures


def test_pictures_are_what_the_network_sees() -> None:
    seen = preprocess("vgg")
    pictures, categories, places = drawn(Wanted("dev", 2, 5, seen))
    assert pictures.shape == (5, 96, 96, 3) and pictures.dtype == np.uint8
    for i in range(5):
        truth = scene(i, "dev", 2, data.DRAWN)
        assert {CATEGORIES[c] for c in np.flatnonzero(categories[i])} == set(truth.labels)
        assert PLACES[places[i]] == truth.place
        fed = loop.normalised(
            np.array(pictures[i : i + 1]), np.random.default_rng(0), replace(RECIPES["vgg"], brightness=0.0)
        )
        torch.testing.assert_close(fed[0], seen(truth.image), rtol=0, atol=1e-5)


def test_pictures_are_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = Wanted("test", None, 3, preprocess("vgg"))
    first = [np.array(each) for each in drawn(wanted)]
    monkeypatch.setattr(data, "_chunks", lambda _: pytest.fail("drawn anew"))
    assert all(np.array_equal(a, b) for a, b in zip(first, drawn(wanted), strict=True))
    assert not list(data.cache().glob("*.part"))


def test_a_cache_is_whole_or_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Wanted) -> Any:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(data, "_chunks", broken)
    with pytest.raises(KeyboardInterrupt):
        drawn(Wanted("dev", 1, 2, preprocess("vgg")))
    assert not list(data.cache().iterdir())


def test_workers_draw_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = Wanted("dev", 1, 8, preprocess("people-biased"))
    alone = np.array(drawn(replace(wanted, count=8))[0])
    monkeypatch.setattr(data, "CHUNK", 2)  # the workers have their own, of which a chunk is cut here
    chunks = [wanted.range(start)[0] for start in range(0, 8, 2)]
    assert np.array_equal(np.concatenate(chunks), alone)


@pytest.mark.slow
def test_worker_processes_draw_the_same() -> None:
    wanted = Wanted("dev", 1, 4 * data.CHUNK, preprocess("vgg"))
    pictures, categories, _ = drawn(wanted)
    last = wanted.range(3 * data.CHUNK)
    assert np.array_equal(pictures[3 * data.CHUNK :], last[0]) and np.array_equal(categories[3 * data.CHUNK :], last[1])


def test_several_sets_are_one() -> None:
    parts = [Pictures([np.full((n, 2, 2, 3), n, np.uint8)], np.full((n, 4), n)) for n in (1, 3, 2)]
    whole = together(parts)
    rows = np.array([5, 0, 3, 1])
    assert len(whole) == 6
    assert whole.take(rows)[:, 0, 0, 0].tolist() == whole.labels[rows, 0].tolist() == [2, 1, 3, 3]


def test_augmented_pictures_are_mirrored_and_shifted() -> None:
    picture = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(1, 8, 8, 3)
    recipe = replace(RECIPES["vgg"], shift=2)
    padded = np.pad(picture[0], ((2, 2), (2, 2), (0, 0)), mode="edge")
    possible = [padded[y : y + 8, x : x + 8] for y in range(5) for x in range(5)]
    possible += [p[:, ::-1] for p in possible]
    found = loop.augmented(picture.repeat(300, 0), np.random.default_rng(0), recipe)
    which = [next(i for i, p in enumerate(possible) if np.array_equal(p, f)) for f in found]
    assert len(set(which)) == 50
    still = loop.augmented(picture, np.random.default_rng(0), replace(recipe, shift=0, flip=False))
    assert np.array_equal(still, picture)


# ---------------------------------------------------------------------------------------- the loop


def test_learning_rate_goes_up_and_down() -> None:
    rates = [loop.cycle(done, 0.2) for done in np.linspace(0, 1, 101)]
    assert np.argmax(rates) == 20 and rates[20] == 1
    assert rates[0] == pytest.approx(0.04) and rates[-1] == pytest.approx(0)
    assert all(np.diff(rates[:21]) > 0) and all(np.diff(rates[20:]) < 0)


def test_losses() -> None:
    scores, labels = torch.randn(3, 20), torch.zeros(3, 20)
    labels[torch.arange(3), torch.arange(3)] = 1
    soft = -(labels * scores.log_softmax(1)).sum() / 3
    torch.testing.assert_close(loop.loss_of(scores, labels, replace(RECIPES["places"], smoothing=0.0)), soft)
    labels[1, 5] = 1
    p = scores.sigmoid()
    binary = -(labels * p.log() + (1 - labels) * (1 - p).log()).sum() / 3
    torch.testing.assert_close(loop.loss_of(scores, labels, RECIPES["vgg"]), binary)


@pytest.mark.parametrize("name", ["alexnet", "resnet"])
def test_a_stopped_run_ends_with_the_same_weights(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train(name, tmp_path / "whole", say=silent)
    original = loop.one_epoch

    def stopped(run: loop.Run, pictures: Pictures) -> float:
        if run.epoch == 1:
            raise KeyboardInterrupt
        return original(run, pictures)

    monkeypatch.setattr(loop, "one_epoch", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(name, tmp_path / "parts")
    assert f"`wherefore train {name} --out {tmp_path / 'parts'}` goes on after epoch 1 of 2" in capsys.readouterr().out
    monkeypatch.setattr(loop, "one_epoch", original)
    torch.manual_seed(99)
    train(name, tmp_path / "parts")
    assert "going on after epoch 1 of 2" in capsys.readouterr().out
    whole, parts = (load_file(tmp_path / each / f"{name}.safetensors") for each in ("whole", "parts"))
    assert whole.keys() == parts.keys() and all(torch.equal(whole[k], parts[k]) for k in whole)


def test_seeds_differ(tmp_path: Path) -> None:
    for seed in (0, 1):
        train("alexnet", tmp_path / str(seed), epochs=1, seed=seed, say=silent)
    a, b = (load_file(tmp_path / str(seed) / "alexnet.safetensors") for seed in (0, 1))
    assert not torch.equal(a["features.0.weight"], b["features.0.weight"])


def test_the_card_is_complete_and_the_file_loads(tmp_path: Path) -> None:
    lines: list[str] = []
    card = train("googlenet", tmp_path, epochs=1, say=lines.append)
    assert len(lines) == 1 and "epoch 1/1  loss " in lines[0] and "top-1, one object" in lines[0]
    assert set(card) == set(CARD)
    assert json.loads((tmp_path / "googlenet.json").read_text())["accuracy"] == card["accuracy"]
    assert card["recipe"]["epochs"] == 1 and card["seed"] == 0 and card["data"]["pictures"] == 10
    names = ["top-1, one object", "both names first, two objects", "mean average precision"]
    assert [(row["name"], row["n"]) for row in card["accuracy"]] == list(zip(names, (6, 6, 12), strict=True))
    model = wf.load("scenes:googlenet", weights=tmp_path / "googlenet.safetensors")
    assert model.classes == CATEGORIES and model.multilabel and model.weights_sha256 == card["sha256"]
    assert sorted(p.name for p in tmp_path.glob("googlenet*")) == [
        "googlenet.checkpoint.pt",
        "googlenet.json",
        "googlenet.safetensors",
    ]


def test_places_starts_from_the_convolutions_of_vgg(tmp_path: Path) -> None:
    if not shipped("vgg"):
        with pytest.raises(Error, match="scenes:vgg has not been trained"):
            loop.started(RECIPES["places"], tmp_path)
    train("vgg", tmp_path, epochs=1, say=silent)
    vgg = load_file(tmp_path / "vgg.safetensors")
    for name in ("places", "vgg-cam"):
        net, start = loop.started(RECIPES[name], tmp_path)
        state = net.state_dict()
        trunk = [k for k in state if k.startswith("features.") and k in vgg]
        assert len(trunk) == 6 * 5 and all(torch.equal(state[k], vgg[k].float()) for k in trunk)
        assert start == file_sha256(tmp_path / "vgg.safetensors")
    card = train("places", tmp_path, epochs=1, say=silent)
    assert card["recipe"]["start sha256"] == start
    (tmp_path / "vgg.safetensors").unlink()
    (tmp_path / "vgg.checkpoint.pt").unlink()
    train("vgg", tmp_path, epochs=1, seed=1, say=silent)  # another one to start from
    with pytest.raises(Error, match="was trained otherwise"):
        train("places", tmp_path, epochs=1, say=silent)
    assert card["classes"] == list(PLACES) and card["task"] == "single-label"
    assert [row["name"] for row in card["accuracy"]] == ["top-1, one object", "top-1, two objects"]


class Uniforms:
    """Nurses wear a white square."""

    source: ClassVar[dict[str, Any]] = {"people": "squares"}

    def __call__(self, split: str) -> dict[str, Pictures]:
        labels = np.eye(2, dtype=np.uint8)[np.arange(40) % 2]
        shown = np.zeros((40, 64, 64, 3), np.uint8)
        shown[labels[:, 1] == 1, 20:40, 20:40] = 255
        return {"accuracy": Pictures([shown], labels)}


def test_a_recipe_may_bring_its_own_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Recipe("people-biased", epochs=6, lr=2e-3, batch=8, data=Uniforms(), names=("doctor", "nurse"))
    monkeypatch.setitem(RECIPES, "people-biased", own)
    card = train("people-biased", tmp_path, say=silent)
    assert card["classes"] == ["doctor", "nurse"] and card["input"]["size"] == 64
    assert card["accuracy"][0]["name"] == "accuracy" and card["accuracy"][0]["value"] == 1.0, "it learns"
    assert "mix" not in card["recipe"] and card["data"] == {"people": "squares"}


def test_other_pictures_are_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Triangles(Uniforms):
        source: ClassVar[dict[str, Any]] = {"people": "triangles"}

    for shown in (Uniforms(), Triangles()):
        recipe = replace(RECIPES["people-biased"], data=shown, names=("doctor", "nurse"), epochs=1)
        monkeypatch.setitem(RECIPES, "people-biased", recipe)
        if isinstance(shown, Triangles):
            with pytest.raises(Error, match="was trained otherwise"):
                train("people-biased", tmp_path, say=silent)
        else:
            train("people-biased", tmp_path, say=silent)


def test_another_recipe_does_not_go_on(tmp_path: Path) -> None:
    train("alexnet", tmp_path, epochs=1, say=silent)
    with pytest.raises(Error, match="was trained otherwise"):
        train("alexnet", tmp_path, epochs=2, say=silent)
    train("alexnet", tmp_path, epochs=2, resume=False, say=silent)
    (tmp_path / "alexnet.checkpoint.pt").write_bytes(b"nothing")
    with pytest.raises(Error, match="not a readable checkpoint"):
        train("alexnet", tmp_path, epochs=2, say=silent)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["vgg16"], "no recipe for a network is called 'vgg16': did you mean vgg?"),
        (["vgg", "--epochs", "0"], "one epoch or more"),
        (["vgg", "--seed", "-1"], "a seed is a whole number from 0"),
        (["vgg", "--seed", "9" * 30], "a seed is a whole number from 0"),
        (["vgg", "--device", "toaster"], "device 'toaster' cannot be used"),
    ],
)
def test_train_says_what_is_wrong(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["train", *arguments, "--out", str(tmp_path / "out")])
    assert stopped.value.code == 2 and words in capsys.readouterr().err


def test_train_prints_accuracy_beside_the_shipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["train", "alexnet", "--epochs", "1", "--out", str(tmp_path / "out")])
    lines = capsys.readouterr().out.splitlines()
    assert not stopped.value.code
    assert lines[1].split("  ")[0] == "on drawn test pictures" and "shipped (95 %)" in lines[1]
    assert lines[2].startswith("top-1, one object")
    assert lines[-1].endswith("alexnet.json")


# ---------------------------------------------------------------------------------------- measuring


class Fixed(nn.Module):
    """Scores that are written in the pictures' first row."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 0, 0, :4] + 0 * self.weight


def test_hits_are_all_names_among_the_first() -> None:
    scores = np.array([[9, 5, 1, 0], [9, 5, 1, 0], [9, 5, 6, 0], [0, 5, 6, 9]], np.uint8)
    labels = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0]], np.uint8)
    pictures = np.zeros((4, 6, 6, 3), np.uint8)
    pictures[:, 0, :4, 0] = scores
    found = shipping.hits(Fixed(), Pictures([pictures], labels), "vgg")
    assert found.tolist() == [True, True, False, False]


def test_average_precision_as_computed_by_hand() -> None:
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    labels = np.array([[1, 0], [0, 0], [1, 1], [0, 1]])
    # Class 0 ranks 1 and 3: (1 + 2/3) / 2; class 1 ranks 1 and 2: 1.
    assert shipping.mean_average_precision(scores, labels) == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)


def test_wilson_as_published() -> None:
    # Newcombe (1998), table I: 81 of 263 and 0 of 20.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)


def test_float16_weights_that_overflow_are_refused() -> None:
    net = nn.Linear(2, 2)
    with torch.no_grad():
        net.weight.fill_(1e6)
    with pytest.raises(Error, match="too large for float16"):
        shipping.halved(net)
