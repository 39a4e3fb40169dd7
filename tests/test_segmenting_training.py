"""Weakly supervised segmentation as a whole: training that goes on, masks that stay unread, rows, the paper's size."""

from __future__ import annotations

import json
import math
import os
import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import wherefore as wf
from wherefore.datasets import VOID, Dataset, Sample, opened
from wherefore.errors import Error
from wherefore.experiments import segmentation
from wherefore.experiments.segmentation import SUPERVISED, run_segmentation
from wherefore.metrics.segmentation import mean_iou
from wherefore.segmenting import crf, cues, losses, networks, pictures, predicting, training
from wherefore.segmenting.figures import colour, compared, painted
from wherefore.segmenting.networks import Shape
from wherefore.segmenting.published import read_seeds
from wherefore.segmenting.recipes import FULL, QUICK, SCENES, Recipe, Schedule
from wherefore.training.data import Pictures

CPU = torch.device("cpu")


def silent(_: str) -> None:
    pass


# ------------------------------------------------------------------------------------------------ pictures


class Blind(Dataset):
    """Scenes whose masks nobody may look at."""

    def __init__(self, data: Dataset) -> None:
        self.data, self.name, self.spec, self.split, self.classes = data, data.name, data.spec, data.split, data.classes

    def __len__(self) -> int:
        return len(self.data)

    def sample(self, number: int) -> Sample:
        def no() -> Any:
            raise AssertionError("the mask of a training picture was read")

        return replace(self.data[number], segmented=no, instances=())


def test_pictures_are_gathered_once_and_without_masks(tmp_path: Path) -> None:
    data = Blind(opened("scenes", "train"))
    found = pictures.gathered(data, data[:5], 96, tmp_path / "train")
    for i, sample in enumerate(data[:5]):
        assert {data.classes[c] for c in np.flatnonzero(found.labels[i])} == set(sample.labels)
        expected = np.asarray(sample.image.resize((96, 96), Image.Resampling.BILINEAR))
        assert np.array_equal(found.take(np.array([i]))[0], expected)
    assert not list(tmp_path.glob("*.part"))
    again = pictures.gathered(data, [], 96, tmp_path / "train")
    assert np.array_equal(again.arrays[0], found.arrays[0])


def test_gathering_is_whole_or_not_there(tmp_path: Path) -> None:
    def broken() -> Any:
        raise Error("a picture is damaged.")

    sample = Sample("bad", broken, ("cat",))
    with pytest.raises(Error, match="damaged"):
        pictures.gathered(opened("scenes"), [sample], 96, tmp_path / "train")
    assert not list(tmp_path.iterdir())


def test_true_cells_lie_in_the_middle() -> None:
    masks = np.zeros((6, 9), np.uint8)
    masks[:, 3:6], masks[4:] = 7, VOID
    sample = Sample("x", lambda: Image.new("RGB", (9, 6)), segmented=lambda: masks)
    assert pictures.true_cells(sample, 3).tolist() == [[0, 7, 0], [0, 7, 0], [VOID] * 3]
    with pytest.raises(Error, match="no segmentation"):
        pictures.true_cells(Sample("x", lambda: Image.new("RGB", (9, 6))), 3)


def test_networks_are_fed_as_their_preprocessing_says() -> None:
    image = opened("scenes")[3].image
    pixels = torch.tensor(pictures.squashed(image, 96)).permute(2, 0, 1)[None].float()
    expected = SCENES.preprocess(96)(image)
    torch.testing.assert_close(pictures.fed(pixels, SCENES, 96)[0], expected, atol=1e-5, rtol=0)


# ------------------------------------------------------------------------------------------------ the loop


def toy() -> tuple[nn.Module, training.Objective]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 1, 1))
    x = torch.randn(12, 3, 5, 5)

    def objective(net: nn.Module, rows: Any) -> Tensor:
        return (net(x[rows]) - 1).square().mean()

    return net, objective


def test_steps_by_hand() -> None:
    """Momentum, decay and multipliers: v = m v + g + d w, w = w - r v."""
    net, objective = toy()
    schedule = Schedule(steps=3, drop=2, lr=0.01, batch=4)
    run = training.Run(net, schedule, 12, 0)
    values = {name: p.detach().clone().double() for name, p in net.named_parameters()}
    speed = {name: torch.zeros_like(value) for name, value in values.items()}
    for step in range(3):
        run.advance(objective)
        for name, p in net.named_parameters():
            rate = 0.01 * (0.1 if step == 2 else 1) * (2 if "bias" in name else 1) * (10 if name[0] == "3" else 1)
            decay = 0.0 if "bias" in name else 5e-4
            assert p.grad is not None
            speed[name] = 0.9 * speed[name] + p.grad.double() + decay * values[name]
            values[name] = values[name] - rate * speed[name]
            torch.testing.assert_close(p.detach().double(), values[name], rtol=1e-4, atol=1e-7)


def test_every_picture_once_per_pass() -> None:
    net, _ = toy()
    run = training.Run(net, Schedule(batch=4), 12, 0)
    seen = []
    for run.step in range(6):
        seen.append(run.rows().tolist())
    assert all(sorted(i for rows in turn for i in rows) == list(range(12)) for turn in (seen[:3], seen[3:]))
    assert seen[:3] != seen[3:]
    assert training.Run(net, Schedule(batch=40), 12, 0).rows().shape == (12,)


def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "KEPT", 3)
    schedule = Schedule(steps=8, drop=4, lr=0.05, batch=4)
    net, objective = toy()
    whole = training.fit(net, objective, 12, schedule, tmp_path / "a.pt", say=silent).state_dict()
    calls = 0

    def stopping(net: nn.Module, rows: Any) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise KeyboardInterrupt
        return objective(net, rows)

    with pytest.raises(KeyboardInterrupt):
        training.fit(toy()[0], stopping, 12, schedule, tmp_path / "b.pt", say=silent)
    torch.manual_seed(99)
    other = training.fit(toy()[0], objective, 12, schedule, tmp_path / "b.pt", say=silent)
    assert all(torch.equal(whole[k], v) for k, v in other.state_dict().items())
    assert not other.training and not list(tmp_path.glob("*.part"))
    again = training.fit(toy()[0], lambda *_: pytest.fail("trained anew"), 12, schedule, tmp_path / "b.pt", say=silent)
    assert all(torch.equal(whole[k], v) for k, v in again.state_dict().items())
    differs = training.fit(toy()[0], objective, 12, schedule, tmp_path / "c.pt", seed=1, say=silent)
    assert any(not torch.equal(whole[k], v) for k, v in differs.state_dict().items())


def test_checkpoints_of_others_are_refused(tmp_path: Path) -> None:
    net, objective = toy()
    schedule = Schedule(steps=1, batch=4)
    training.fit(net, objective, 12, schedule, tmp_path / "a.pt", say=silent)
    with pytest.raises(Error, match="trained otherwise"):
        training.fit(net, objective, 12, replace(schedule, lr=1.0), tmp_path / "a.pt", say=silent)
    (tmp_path / "b.pt").write_bytes(b"no checkpoint")
    with pytest.raises(Error, match="not a readable checkpoint"):
        training.fit(net, objective, 12, schedule, tmp_path / "b.pt", say=silent)


def test_a_loss_that_is_no_number_is_said(tmp_path: Path) -> None:
    net, objective = toy()
    with pytest.raises(Error, match="no number"):
        training.fit(
            net, lambda n, r: objective(n, r) * math.nan, 12, Schedule(steps=1, batch=4), tmp_path / "a.pt", say=silent
        )
    assert not (tmp_path / "a.pt").exists()


# ------------------------------------------------------------------------------------------------ learning from seeds


def test_a_network_learns_fields_from_few_seeds(tmp_path: Path) -> None:
    """Pictures of two colours, a seed or two in each: the network finds which half of new pictures has which colour."""
    shape = Shape(side=32, widths=((8,), (16,), (16,)), halvings=2, hidden=16, dilation=2, norm=True)
    schedule = Schedule(steps=100, drop=80, lr=0.02, batch=8)
    recipe = replace(SCENES, shape=shape, schedule=schedule, spacing=40.0, native=10.0)
    dice = np.random.default_rng(0)
    colours = np.array([[40, 40, 40], [200, 40, 40], [40, 40, 200]])
    truth = np.zeros((24, 32, 32), np.int64)
    for i in range(24):
        truth[i, :, dice.integers(10, 22) :] = 1 + i % 2
    pixels = (colours[truth] + dice.integers(-9, 10, (24, 32, 32, 3))).astype(np.uint8)
    marks = np.full((24, 8, 8), VOID, np.uint8)
    marks[:, 3, 0], marks[:, 4, 7] = 0, truth[:, 0, -1]
    data = Pictures([pixels[:16]], truth[:16, 0, -1:] == [1, 2])
    torch.manual_seed(0)
    net = networks.LargeFov(shape, 3)
    objective = training.weakly(data, marks[:16], recipe)
    training.fit(net, objective, 16, schedule, tmp_path / "a.pt", say=silent)
    samples = [
        Sample(str(i), partial(Image.fromarray, pixels[i]), segmented=partial(np.array, truth[i]))
        for i in range(16, 24)
    ]
    found = predicting.counted([net], samples, 3, recipe)
    assert found.plain.shape == (8, 1, 3, 3)
    assert mean_iou(found.plain.sum((0, 1))).mean > 0.85
    assert mean_iou(found.crf.sum((0, 1))).mean > 0.9


def test_the_objective_is_the_sum_of_its_parts() -> None:
    data = opened("scenes", "train")
    pixels = np.stack([pictures.squashed(s.image, 96) for s in data[:3]])
    here = pictures.present(data[:3], data)
    marks = np.random.default_rng(0).integers(0, 3, (3, 24, 24)).astype(np.uint8)
    torch.manual_seed(0)
    net = networks.LargeFov(networks.SMALL, 21).eval()
    found = training.weakly(Pictures([pixels], here), marks, SCENES)(net, np.array([2, 0]))
    x = torch.tensor(pixels[[2, 0]]).permute(0, 3, 1, 2).float()
    logits = net((x / 255 - 0.5) / 0.25)
    small = nn.functional.interpolate(x, (24, 24), mode="bilinear").round()
    p = losses.probabilities(logits)
    expected = (
        losses.seed_loss(p, torch.tensor(marks[[2, 0]]))
        + losses.expand_loss(p, torch.tensor(here[[2, 0]]), SCENES.expansion)
        + losses.constrain_loss(p, crf.mean_field(logits, small, SCENES.spacing))
    )
    torch.testing.assert_close(found, expected)
    full = training.fully(Pictures([pixels], here), marks, SCENES)(net, np.array([2, 0]))
    torch.testing.assert_close(full, nn.functional.nll_loss(logits.log_softmax(1), torch.tensor(marks[[2, 0]]).long()))


# ------------------------------------------------------------------------------------------------ the experiment


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """Two steps on a few scenes."""
    few = Schedule(steps=2, batch=3)
    recipe = replace(QUICK, schedule=few, supervised=few, cues=few, pictures=6, tested=3)
    monkeypatch.setattr(segmentation, "QUICK", recipe)
    monkeypatch.setattr(crf, "MOST", 500)
    return recipe


def test_masks_of_training_pictures_are_not_read(tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def blind(spec: str, split: str) -> Dataset:
        data = opened(spec, split)
        return Blind(data) if split == "train" else data

    monkeypatch.setattr(segmentation, "opened", blind)
    rows = run_segmentation(out=tmp_path, quick=True, runs=1, sources=("grad-cam", "cam"), say=silent)
    assert {row["name"] for row in rows} == {"grad-cam", "cam", "grad-cam - cam"}
    with pytest.raises(AssertionError, match="was read"):
        run_segmentation(out=tmp_path, quick=True, runs=1, sources=(SUPERVISED,), say=silent)


def test_rows(tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = run_segmentation(out=tmp_path, quick=True, runs=2, say=silent)
    json.dumps(rows, allow_nan=False)
    by = {(row["name"], row["measure"], bool(row["crf"])): row for row in rows}
    assert len(by) == len(rows) == 6 + 2 + 8
    for name in ("grad-cam", "cam", SUPERVISED):
        for refined in (False, True):
            row = by[name, "mean IoU", refined]
            assert 0 <= row["low"] <= row["value"] <= row["high"] <= 100 and row["n"] == 3 and len(row["runs"]) == 2
            assert row["value"] == pytest.approx(np.mean(row["runs"]))
    assert by["grad-cam", "mean IoU", True]["paper"] == 49.6 and by["cam", "mean IoU", True]["paper"] == 44.6
    assert by["cam", "mean IoU", False]["paper"] is None
    difference = by["grad-cam - cam", "mean IoU", True]["value"]
    values = (by[name, "mean IoU", True]["value"] for name in ("grad-cam", "cam"))
    assert difference == pytest.approx(next(values) - next(values))
    with Image.open(tmp_path / "segmentation.jpg") as drawn:
        assert drawn.width > 6 * 190 and drawn.height > 3 * 190
    # What was trained is read again, not trained again, and says the same.
    monkeypatch.setattr(training.Run, "advance", lambda *_: pytest.fail("trained anew"))
    assert run_segmentation(out=tmp_path, quick=True, runs=2, say=silent) == rows
    with pytest.raises(Error, match="other settings"):
        run_segmentation("scenes:pair", out=tmp_path, quick=True, say=silent)


def test_seeds_of_scenes_keep_their_promises(tmp_path: Path) -> None:
    """What was measured on SEC's own seeds: present classes alone, at most a tenth background, one class a cell."""
    data = opened("scenes", "train")
    found = pictures.gathered(data, data[:12], 96, tmp_path / "train")
    start = wf.load("scenes:vgg")
    three = cues.cue_networks(QUICK, found, data.classes, start, tmp_path, silent)
    assert three.classifier is start.net and three.background is start.net
    seeds = cues.seeded(three, found, QUICK)
    for method in ("grad-cam", "cam"):
        for marks, here in zip(seeds[method], found.labels, strict=True):
            assert marks.shape == (24, 24) and (marks == 0).sum() <= 57
            assert set(np.unique(marks)) - {0, VOID} <= set((1 + np.flatnonzero(here)).tolist())
    truth = np.stack([pictures.true_cells(s, 24) for s in data[:12]])
    seeded = (seeds["grad-cam"] != VOID) & (seeds["grad-cam"] != 0)
    right = (seeds["grad-cam"] == truth)[seeded].mean()
    assert right > 2 * (truth > 0).mean()  # a classifier that knows its scenes points at its things


def test_other_classes_are_learnt(tmp_path: Path) -> None:
    """Where the first network does not know the classes, all three networks of seeds are trained for them."""
    data = opened("scenes", "train")
    found = pictures.gathered(data, data[:6], 96, tmp_path / "train")
    start = wf.load("scenes:vgg")
    before = {k: v.clone() for k, v in start.net.state_dict().items()}
    two = Pictures(found.arrays, np.stack([found.labels[:, :10].any(1), found.labels[:, 10:].any(1)], 1))
    three = cues.cue_networks(QUICK, two, ("moving", "still"), start, tmp_path, silent)
    x = torch.zeros(2, 3, 96, 96)
    assert [net(x).shape for net in three] == [(2, 2)] * 3 and not any(net.training for net in three)
    assert sorted(p.name for p in tmp_path.glob("*.pt")) == [
        "background.checkpoint.pt",
        "cam.checkpoint.pt",
        "classifier.checkpoint.pt",
    ]
    assert all(torch.equal(before[k], v) for k, v in start.net.state_dict().items())
    assert cues.seeded(three, two, QUICK)["grad-cam"].shape == (6, 24, 24)


def test_published_seeds(tmp_path: Path) -> None:
    path = tmp_path / "cues.pickle"
    marks = {"0_labels": np.array([3]), "0_cues": np.array([[3, 0], [40, 1], [2, 1]]), "1_cues": np.zeros((3, 0), int)}
    path.write_bytes(pickle.dumps(marks, protocol=2))
    found = read_seeds(path, 2)
    assert found.shape == (2, 41, 41) and found[0, 40, 2] == 3 and found[0, 1, 1] == 0
    assert (found != VOID).sum() == 2
    with pytest.raises(Error, match="no '2_cues'"):
        read_seeds(path, 3)
    path.write_bytes(pickle.dumps({"0_cues": os.system}))
    with pytest.raises(Error, match="holds no seeds"):
        read_seeds(path, 1)
    with pytest.raises(Error, match="does not exist"):
        read_seeds(tmp_path / "none", 1)


def test_classes_are_painted() -> None:
    classes = np.array([[0, 3], [VOID, 4]])
    found = np.asarray(painted(Image.new("RGB", (8, 8), (100, 100, 100)), classes))[::4, ::4]
    for place, number in (((0, 1), 3), ((1, 1), 4)):
        assert found[place].tolist() == pytest.approx([0.72 * c + 28 for c in colour(number)], abs=0.51)
    assert found[0, 0].tolist() == [78, 81, 88] and found[1, 0].tolist() == [212, 212, 212]
    assert len({colour(number) for number in range(1, 21)}) == 20
    assert [each.size for each in compared(Image.new("RGB", (8, 6)), {"a": classes, "b": classes}, "x")] == [
        (190, 231)
    ] * 3


# ------------------------------------------------------------------------------------------------ the paper's size


def test_the_papers_recipe() -> None:
    assert (FULL.shape.side, FULL.shape.grid, FULL.seen) == (321, 41, 224)
    schedule = FULL.schedule
    assert (schedule.steps, schedule.drop, schedule.lr, schedule.batch) == (8000, 2000, 1e-3, 15)
    assert (schedule.momentum, schedule.decay, FULL.cues.drop) == (0.9, 5e-4, 4000)
    assert FULL.expansion == (0.996, 0.999) and (FULL.spacing, FULL.native) == (12.0, 1.0)


@pytest.mark.slow
def test_a_step_at_the_papers_size() -> None:
    """Forward, gradient and step at 321 pixels, 41x41 cells and 21 classes; every weight moves."""
    dice = np.random.default_rng(0)
    pixels = dice.integers(0, 256, (2, 321, 321, 3)).astype(np.uint8)
    marks = np.full((2, 41, 41), VOID, np.uint8)
    marks[:, :4], marks[0, 20:30, 10:20], marks[1, 5:9, 5:9] = 0, 3, 20
    here = np.zeros((2, 20), bool)
    here[0, 2] = here[1, 19] = True
    torch.manual_seed(0)
    net = networks.LargeFov(networks.PAPER, 21)
    before = [p.detach().clone() for p in net.parameters()]
    run = training.Run(net.train(), replace(FULL.schedule, batch=2), 2, 0)
    loss = run.advance(training.weakly(Pictures([pixels], here), marks, FULL))
    assert math.isfinite(loss)
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in net.parameters())
    assert not any(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    with torch.inference_mode():
        assert net.eval()(torch.zeros(1, 3, 321, 321)).shape == (1, 21, 41, 41)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [networks.CamNet, networks.BackgroundNet])
def test_seeds_at_the_papers_size(kind: Any) -> None:
    """The networks of seeds learn by a step, and their maps have 41x41 cells."""
    pixels = np.random.default_rng(0).integers(0, 256, (1, 321, 321, 3)).astype(np.uint8)
    torch.manual_seed(0)
    net = kind(networks.PAPER, 20).train()
    data = Pictures([pixels], np.eye(20, dtype=bool)[[4]])
    assert math.isfinite(training.Run(net, FULL.cues, 1, 0).advance(training.classifying(data, FULL, 321)))
    x = pictures.fed(pictures.taken(data, np.array([0]), CPU), FULL, 321)
    if kind is networks.CamNet:
        why = cues.Explainer(net.eval(), "cam", "extra")
        assert why(x.contiguous(), [[4]]).maps.shape == (1, 1, 41, 41)
    else:
        layer = networks.conv_names(net)[networks.stage_start(networks.PAPER)]
        assert net.get_submodule(layer).in_channels == 256 and net.get_submodule(layer).out_channels == 512  # conv4_1
        assert cues.saliency(net.eval(), layer, x).shape == (1, 41, 41)
