"""Fine-tuning: a new head, crops, a run that goes on where it stopped, average precision, what files say."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

import wherefore as wf
from wherefore.cli import main
from wherefore.datasets import Dataset, Instance, Sample, opened
from wherefore.errors import Error
from wherefore.metrics.precision import average_precision, mean_average_precision
from wherefore.models.zoo import load, told
from wherefore.registry import DATASETS, Entry
from wherefore.scenes import scene
from wherefore.scenes.formats import export
from wherefore.training import finetuning
from wherefore.training.finetuning import Recipe, begun, finetune, loss_of, one_epoch, renewed
from wherefore.training.samples import Samples

COLOURS = {"red": (230, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 230)}


class Toys(Dataset):
    """Two coloured squares on grey; number 3 cannot be read; the green of number 4 is difficult."""

    name = spec = "toys"
    classes = tuple(COLOURS)
    count = 12

    def __init__(self, split: str) -> None:
        self.split = split

    def __len__(self) -> int:
        return self.count

    def sample(self, number: int) -> Sample:
        dice = np.random.default_rng((self.split == "test", number))
        chosen = dice.permutation(3)[: 1 + number % 2]
        shown = tuple(self.classes[i] for i in chosen)
        image = np.full((60, 90, 3), 120, np.uint8)
        for side, label in enumerate(shown):
            image[15:45, 10 + 40 * side : 40 + 40 * side] = COLOURS[label]

        def source() -> Image.Image:
            if number == 3:
                raise Error("toy 3 is truncated.")
            return Image.fromarray(image)

        hard = number == 4 and self.split == "train"
        instances = tuple(Instance(label, (10, 15, 39, 44), difficult=hard) for label in shown)
        return Sample(f"toy {number}", source, shown, instances)


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "toys", Entry(lambda where, split: Toys(split), "toys", {}))


def silent(_: str) -> None:
    pass


# ------------------------------------------------------------------------------- average precision


def test_average_precision_by_hand() -> None:
    """Found at ranks 1, 3 and 4: precision 1, 2/3, 3/4, of which the second is raised to what comes after it."""
    scores, present = np.array([0.9, 0.8, 0.7, 0.6, 0.1]), np.array([1, 0, 1, 1, 0], bool)
    every, eleven = average_precision(scores, present)
    assert every == pytest.approx((1 + 0.75 + 0.75) / 3)
    assert eleven == pytest.approx((4 * 1 + 7 * 0.75) / 11)  # recall 1/3 covers 0, 0.1, 0.2, 0.3
    assert average_precision(scores[::-1], present) == pytest.approx((29 / 45, (7 * 2 / 3 + 4 * 0.6) / 11))


def slow_precision(scores: np.ndarray, present: np.ndarray) -> tuple[float, float]:
    """At every cut its precision and recall; the highest precision at this recall or more, at 11 recalls and at all."""
    order = np.argsort(-scores)
    curve = []
    for cut in range(1, len(order) + 1):
        right = sum(bool(present[i]) for i in order[:cut])
        curve.append((right / present.sum(), right / cut))
    at = [max(p for r, p in curve if round(r * 1000) >= t * 100) for t in range(11)]
    area, before = 0.0, 0.0
    for recall in sorted({r for r, _ in curve if r > 0}):
        area += (recall - before) * max(p for r, p in curve if r >= recall)
        before = recall
    return area, sum(at) / 11


@pytest.mark.parametrize("found", [1, 2, 10, 20])
def test_average_precision_as_a_slow_one(found: int) -> None:
    dice = np.random.default_rng(found)
    for _ in range(20):
        present = dice.permutation(np.arange(40) < found)
        scores = dice.normal(size=40) + present
        assert average_precision(scores, present) == pytest.approx(slow_precision(scores, present), abs=1e-12)


def test_what_is_difficult_is_left_out_of_its_class_alone() -> None:
    scores = np.array([[0.9, 0.2], [0.8, 0.9], [0.7, 0.1]])
    labels = np.array([[1, 0], [0, 1], [1, 0]], bool)
    counted = np.ones_like(labels)
    assert mean_average_precision(scores, labels, counted).every == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)
    counted[2, 0] = False
    assert mean_average_precision(scores, labels, counted).every == 1.0
    counted[1, 1] = False  # nothing of the second class is left: a mean over the first
    assert mean_average_precision(scores, labels, counted) == (1.0, 1.0)
    assert np.isnan(mean_average_precision(scores, labels & False, counted)).all()


# ------------------------------------------------------------------------------------------ pictures


def test_crops_are_parts_of_the_larger_squashed_picture() -> None:
    seen = wf.Preprocess(30, 28, (0.0,) * 3, (1.0,) * 3)
    samples = Samples(Toys("train"), 12, seen)
    larger = replace(seen, squash=True, crop=32)(Toys("train")[0].image)
    places, mirrored = set(), 0
    for epoch in range(60):
        (batch,) = samples.batches([[0]], (0, epoch))
        x = batch.x[0]
        windows = larger.unfold(1, 28, 1).unfold(2, 28, 1)  # (3, 5, 5, 28, 28)
        for flipped in (False, True):
            same = (windows == (x.flip(-1) if flipped else x)[:, None, None]).all(-1).all(-1).all(0)
            if same.any():
                places.add(tuple(same.nonzero()[0].tolist()))
                mirrored += flipped
                break
        else:
            pytest.fail("no crop of the picture")
    assert len(places) > 15 and {0, 4} <= {p[0] for p in places} and {0, 4} <= {p[1] for p in places}
    assert 15 < mirrored < 45


def test_without_a_seed_pictures_are_whole_and_squashed() -> None:
    seen = wf.Preprocess(30, 28)
    (batch,) = Samples(Toys("test"), 12, seen).batches([[1, 2]])
    assert torch.equal(batch.x[1], replace(seen, squash=True)(Toys("test")[2].image)) and batch.x.shape == (
        2,
        3,
        28,
        28,
    )


def test_batches_say_what_is_there_and_what_counts() -> None:
    samples = Samples(Toys("train"), 12, wf.Preprocess(30, 28))
    first, second, none = samples.batches([[0, 3, 4], [5], [3]], (0, 0))
    assert first.x.shape == (2, 3, 28, 28) and len(none.x) == 0 and samples.unread == {3: "toy 3 is truncated."}
    for batch, row, number in ((first, 0, 0), (first, 1, 4), (second, 0, 5)):
        shown = Toys("train")[number].labels
        assert [c for c, there in zip(Toys.classes, batch.labels[row], strict=True) if there] == sorted(
            shown, key=Toys.classes.index
        )
        hard = [c for c, kept in zip(Toys.classes, batch.counted[row], strict=True) if not kept]
        assert hard == (list(shown) if number == 4 else [])


def test_the_loss_leaves_out_what_does_not_count() -> None:
    scores = torch.tensor([[0.0, 2.0], [1.0, -1.0]], dtype=torch.float64)
    labels, counted = torch.tensor([[1, 0], [0, 1]]).bool(), torch.tensor([[1, 1], [1, 0]]).bool()
    p = scores.sigmoid()
    expected = -(p[0, 0].log() + (1 - p[0, 1]).log() + (1 - p[1, 0]).log()) / 2
    torch.testing.assert_close(loss_of(scores, labels, counted), expected)


# ---------------------------------------------------------------------------------------------- head


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("squeezenet1_1", ["classifier.1.weight", "classifier.1.bias"]),
        ("googlenet", ["fc.weight", "fc.bias"]),
        ("caffe:googlenet", ["loss3.classifier.weight", "loss3.classifier.bias"]),
        ("timm:resnet10t", ["fc.weight", "fc.bias"]),
        ("scenes:vgg", ["classifier.6.weight", "classifier.6.bias"]),
    ],
)
def test_the_head_is_new_and_all_else_as_it_was(name: str, head: list[str], tmp_path: Path) -> None:
    if name.startswith("timm"):
        pytest.importorskip("timm")
    torch.manual_seed(1)
    path = tmp_path / "x.safetensors"
    save_file(load(name, None).net.state_dict(), path)
    before, start = load(name, path), load(name, path)
    tuned, keys = renewed(start, name, tuple("abc"), 0)
    assert keys == head and tuned.classes == ("a", "b", "c") and tuned.multilabel
    own = tuned.net.state_dict()
    assert own[head[0]].shape[0] == 3
    for key, value in before.net.state_dict().items():
        assert key in head or torch.equal(own[key], value)
    assert getattr(tuned.net, "transform_input", None) == getattr(before.net, "transform_input", None)
    again, _ = renewed(load(name, path), name, tuple("abc"), 0)
    assert torch.equal(again.net.state_dict()[head[0]], own[head[0]])
    other, _ = renewed(load(name, path), name, tuple("abc"), 1)
    assert not torch.equal(other.net.state_dict()[head[0]], own[head[0]])


def test_a_head_of_as_many_classes_is_new_too() -> None:
    """scenes:vgg knows 20 classes: 20 others are not those."""
    start = load("scenes:vgg")
    tuned, head = renewed(load("scenes:vgg"), "scenes:vgg", tuple(map(str, range(20))), 0)
    assert head and not torch.equal(tuned.net.state_dict()[head[0]], start.net.state_dict()[head[0]])


def test_the_head_learns_ten_times_as_fast_and_all_a_tenth_in_the_last_third(monkeypatch: pytest.MonkeyPatch) -> None:
    tuned, head = renewed(load("scenes:alexnet"), "scenes:alexnet", Toys.classes, 0)
    recipe = Recipe(epochs=30)
    run = begun(tuned, head, recipe, {}, "cpu")
    body, new = run.optimizer.param_groups
    assert [p.shape for p in new["params"]] == [(3, 192), (3,)] and len(body["params"]) == 14
    assert {(g["momentum"], g["weight_decay"]) for g in (body, new)} == {(0.9, 5e-4)}
    samples = Samples(Toys("train"), 4, wf.Preprocess(96, 96))
    rates = []
    for epoch in range(30):
        if epoch in (0, 19, 20, 29):
            one_epoch(run, recipe, samples)
            rates.append((body["lr"], new["lr"]))
        run.rows.append({})
    assert rates == [pytest.approx(each) for each in ((1e-3, 1e-2), (1e-3, 1e-2), (1e-4, 1e-3), (1e-4, 1e-3))]


# ---------------------------------------------------------------------------------------------- runs


def test_it_learns_and_its_file_knows_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From chance to knowing three colours; what was measured is what the file gives when it is loaded by its name."""
    said: list[str] = []
    card = finetune("scenes:alexnet", "toys", out=tmp_path, epochs=30, device="cpu", say=said.append)
    rows = {row["name"]: row for row in card["accuracy"]}
    assert rows["mean average precision"]["value"] > 0.95 and rows["mean average precision"]["n"] == 11
    assert said[0].startswith("left out, for they cannot be read: 1 of 12 (train): toy 3 is truncated.")
    assert said[-1].startswith("left out, for they cannot be read: 1 of 12 (test)") and len(said) == 32
    assert card["left out"] == ["toy 3 is truncated."]

    model = wf.load("scenes:alexnet", weights=tmp_path / "scenes-alexnet.safetensors")
    assert model.classes == Toys.classes and model.multilabel and model.weights_sha256 == card["sha256"]
    assert model.preprocess == replace(load("scenes:alexnet").preprocess, squash=True)  # type: ignore[type-var]
    assert model.preprocess.region((90, 60)) == (0, 0, 90, 60)  # type: ignore[union-attr]
    numbers = [i for i in range(12) if i != 3]
    pictures = [Toys("test")[i] for i in numbers]
    scores = wf.explain(model, [p.image for p in pictures], "all").scores.numpy()
    labels = np.array([[c in p.labels for c in Toys.classes] for p in pictures])
    found = mean_average_precision(scores, labels, np.ones_like(labels))
    assert rows["mean average precision"]["value"] == pytest.approx(found.every)
    assert rows["mean average precision, 11 points"]["value"] == pytest.approx(found.eleven)
    assert json.loads((tmp_path / "scenes-alexnet.json").read_text()) == json.loads(json.dumps(card))
    for key in ("name", "task", "classes", "preprocess", "data", "recipe", "accuracy", "training", "sha256"):
        assert card[key]


def _stopped(original: Callable[..., float]) -> Callable[..., float]:
    def stopped(run: Any, *rest: Any) -> float:
        if run.epoch == 1:
            raise KeyboardInterrupt
        return original(run, *rest)

    return stopped


def test_a_stopped_run_ends_with_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(folder: str, say: Callable[[str], None] = silent) -> dict[str, Any]:
        return finetune("scenes:alexnet", "toys", out=tmp_path / folder, epochs=3, device="cpu", say=say)

    whole, said = run("whole"), list[str]()
    monkeypatch.setattr(finetuning, "one_epoch", _stopped(one_epoch))
    with pytest.raises(KeyboardInterrupt):
        run("parts", said.append)
    assert "goes on after epoch 1 of 3" in said[-1] and not list((tmp_path / "parts").glob("*.safetensors"))
    monkeypatch.setattr(finetuning, "one_epoch", one_epoch)
    torch.manual_seed(99)
    parts = run("parts", said.append)
    assert any("going on after epoch 1 of 3" in each for each in said)
    first, second = (load_file(tmp_path / each / "scenes-alexnet.safetensors") for each in ("whole", "parts"))
    assert first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)
    again = run("parts")  # nothing is left to do but to measure
    assert parts["accuracy"] == whole["accuracy"] == again["accuracy"]
    assert parts["left out"] == whole["left out"] == again["left out"] == ["toy 3 is truncated."]
    with pytest.raises(Error, match="was trained otherwise"):
        finetune("scenes:alexnet", "toys", out=tmp_path / "parts", epochs=3, seed=1, device="cpu")
    other = finetune("scenes:alexnet", "toys", out=tmp_path / "other", epochs=3, seed=1, device="cpu", say=silent)
    assert other["sha256"] != whole["sha256"]


def test_a_torchvision_network_sees_afterwards_what_it_was_tuned_on(tmp_path: Path) -> None:
    """Its weights may want a larger resize than random ones: the file says what it sees."""
    start = tmp_path / "mobilenet_v2-7ebf99e0.pth"  # torchvision's name for its second weights: resize 232
    torch.manual_seed(0)
    torch.save(load("mobilenet_v2", None).net.state_dict(), start)
    assert load("mobilenet_v2", start).preprocess.resize == 232  # type: ignore[union-attr]
    finetune("mobilenet_v2", "toys", out=tmp_path, epochs=1, limit=2, weights=start, device="cpu", say=silent)
    model = load("mobilenet_v2", tmp_path / "mobilenet_v2.safetensors")
    assert model.preprocess == wf.Preprocess(232, 224, squash=True) and model.classes == Toys.classes


def test_it_is_said_where_what_is_measured_on_was_trained_on(tmp_path: Path) -> None:
    for split, repeated in (("test", 6), ("train", None)):
        said: list[str] = []
        card = finetune(
            "scenes:alexnet",
            "toys",
            split=split,
            out=tmp_path / split,
            epochs=1,
            limit=6,
            device="cpu",
            say=said.append,
        )
        assert card["data"].get("measured on and trained on") == repeated
        assert any("are also trained on" in each for each in said) == (split == "test")


@pytest.mark.parametrize("name", ["voc", "coco"])
def test_data_sets_on_disk_are_tuned_on(name: str, tmp_path: Path) -> None:
    """Scenes in the form of VOC and of COCO, whose readers say what is in them and what is difficult."""
    export(name, tmp_path / "data", 6, "test", None, 128)
    spec, split = f"{name}:{tmp_path / 'data'}", {"voc": "trainval", "coco": "test"}[name]
    card = finetune("scenes:alexnet", spec, split=split, out=tmp_path, epochs=1, device="cpu", say=silent)
    assert card["classes"] == list(opened(spec, split).classes) and card["left out"] == []
    counts = {row["name"]: row["n"] for row in card["accuracy"][2:]}
    shown = [scene(i, "test", None, 128) for i in range(6)]
    for category, count in counts.items():
        flags = [
            [flag.difficult for flag, thing in zip(s.flags, s.things, strict=True) if thing.category == category]
            for s in shown
        ]
        assert count == sum(bool(each) and not (name == "voc" and all(each)) for each in flags), category


class Unread(Toys):
    def sample(self, number: int) -> Sample:
        raise Error(f"{number}.jpg is missing.")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["scenes:alexnet", "--data", "scenes"], "scenes have no end: say how many with limit= (--limit 2000)."),
        (["scenes:alexnet", "--data", "toys", "--limit", "0"], "--limit is below 1"),
        (["scenes:alexnet", "--data", "toys", "--epochs", "0"], "one epoch or more, not 0"),
        (["scenes:alexnet", "--data", "toys", "--seed", "-1"], "a seed is a whole number"),
        (["scenes:alexnet", "--data", "nothing"], "no data set is called 'nothing'"),
        (["caffe:vgg16", "--data", "toys"], "fetch VGG_ILSVRC_16_layers.caffemodel"),
        (["lraspp_mobilenet_v3_large", "--data", "toys", "--weights", "x.safetensors"], "fine-tune a classifier"),
        (["scenes:alexnet", "--data", "unread"], "no picture of toys can be read: 0.jpg is missing."),
        (["scenes:alexnet", "--data", "toys", "--device", "cudda"], "device 'cudda' cannot be used"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    argv: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(DATASETS, "unread", Entry(lambda where, split: Unread(split), "", {}))
    if argv[0].startswith("lraspp"):
        save_file(load(argv[0], None).net.state_dict(), "x.safetensors")
    with pytest.raises(SystemExit) as stop:
        main(["finetune", *argv])
    out = capsys.readouterr()
    assert stop.value.code == 2 and words in out.err and out.err.count("\n") == 1
    assert not list(tmp_path.glob("**/*.pt")) and not list(tmp_path.glob("finetuned/*.safetensors"))


def test_the_command_prints_what_was_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["finetune", "scenes:alexnet", "--data", "toys", "--epochs", "1", "--limit", "6", "--device", "cpu"]
    with pytest.raises(SystemExit) as stop:
        main([*argv, "--out", str(tmp_path)])
    out = capsys.readouterr().out
    assert stop.value.code in (0, None)
    for words in ("left out", "epoch 1/1", "mean average precision, 11 points", "green", "scenes-alexnet.safetensors"):
        assert words in out


# --------------------------------------------------------------------------------------------- files


def test_only_files_that_we_wrote_tell_of_themselves(tmp_path: Path) -> None:
    net = nn.Linear(2, 2)
    for i, metadata in enumerate(({}, {"classes": "[1]"}, {"classes": "cat", "task": "multi-label"}, {"format": "pt"})):
        path = tmp_path / f"{i}.safetensors"
        save_file(net.state_dict(), path, metadata)
        assert told(path) == {}
    ours = {"task": "single-label", "classes": '["a", "b"]', "preprocess": '{"resize": [8, 9], "bgr": true}'}
    save_file(net.state_dict(), path, ours)
    assert told(path) == {
        "task": "single-label", "classes": ["a", "b"], "preprocess": wf.Preprocess((8, 9), bgr=True)
    }  # fmt: skip
    assert told(None) == told("default") == told(tmp_path / "none.safetensors") == {}
    path.write_bytes(b"damaged")
    assert told(path) == {}


def test_names_that_are_given_win_over_those_in_the_file(tmp_path: Path) -> None:
    finetune("scenes:alexnet", "toys", out=tmp_path, epochs=1, limit=2, device="cpu", say=silent)
    path = tmp_path / "scenes-alexnet.safetensors"
    assert load("scenes:alexnet", path, classes=["x", "y", "z"]).classes == ("x", "y", "z")
