"""Shuffled labels: what is shuffled, what both networks share, training that goes on, and what follows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn import functional as F

import wherefore as wf
from fixtures_experiments import enlarged, grad_cam_by_hand, squashed
from page_reader import check
from wherefore.datasets import opened
from wherefore.errors import Error
from wherefore.experiments import Lab, Settings, labels, run
from wherefore.experiments.labels import BY_HEART, DEPENDS, SHUFFLED, SIDE, TRUE, Comparing, Size
from wherefore.experiments.sanity import METHODS, SIZES
from wherefore.experiments.tables import where
from wherefore.metrics.likeness import LIKENESSES
from wherefore.metrics.summary import summary
from wherefore.scenes import scene
from wherefore.scenes.world import CATEGORIES
from wherefore.segmenting import training
from wherefore.segmenting.recipes import Schedule
from wherefore.training.data import Pictures

FEW = Size(12, 5, Schedule(steps=4, drop=3, lr=5e-3, batch=4))


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(labels, "QUICK", FEW)


def lab(folder: Path, **settings: Any) -> Lab:
    return Lab(Settings(quick=True, **settings), folder)


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


# -------------------------------------------------------------------------------------------- what is learnt


def test_labels_are_those_of_the_scenes_and_shuffled_ones_the_same_in_another_order() -> None:
    lessons = labels.lessons_of(FEW, 0)
    true, shuffled = (lessons[name].labels for name in (TRUE, SHUFFLED))
    assert [CATEGORIES[i] for i in true.argmax(1)] == [scene(n, "train", 1).labels[0] for n in range(12)]
    assert true.sum(1).tolist() == shuffled.sum(1).tolist() == [1] * 12
    assert (true.sum(0) == shuffled.sum(0)).all() and (true != shuffled).any(), "as many of each"
    assert (labels.lessons_of(FEW, 0)[SHUFFLED].labels == shuffled).all()
    assert (labels.lessons_of(FEW, 1)[SHUFFLED].labels != shuffled).any()
    rows = np.arange(12)
    assert (lessons[TRUE].take(rows) == lessons[SHUFFLED].take(rows)).all(), "the same pictures"


def test_networks_learn_what_they_are_explained_on() -> None:
    class Same(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(()))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.weight

    model = wf.Model(Same(), CATEGORIES, labels.SCENES.preprocess(SIDE))
    fed = labels._scores(model.net, labels.singles("train", 4), np.array([3])).detach()
    torch.testing.assert_close(fed, squashed(model, opened("scenes:single", "train")[3]), atol=1e-5, rtol=0)


def test_both_networks_start_from_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[dict[str, Tensor]] = []
    fit: Callable[..., nn.Module] = labels.fit

    def watched(net: nn.Module, *rest: Any) -> nn.Module:
        starts.append({k: v.clone() for k, v in net.state_dict().items()})
        return fit(net, *rest)

    monkeypatch.setattr(labels, "fit", watched)
    torch.manual_seed(5)
    ends = [labels.trained(lab(tmp_path), *each, FEW.schedule).net for each in labels.lessons_of(FEW, 0).items()]
    assert len(starts) == 2 and all(torch.equal(v, starts[1][k]) for k, v in starts[0].items())
    assert not same(*ends) and not any(net.training for net in ends), "each has learnt something else"
    assert not same(labels.untrained(0), labels.untrained(1))


def test_the_loss_is_that_of_one_label_each() -> None:
    lesson = labels.lessons_of(FEW, 0)[SHUFFLED]
    net, rows = labels.untrained(0).eval(), np.array([7, 2])
    nn.init.normal_(net.classifier[-1].weight)  # type: ignore[union-attr,operator,index,arg-type]
    scores = labels._scores(net, lesson, rows).detach().double().detach()
    numbers = [list(lesson.labels[i]).index(1) for i in rows]
    by_hand = -sum(float(s[n] - s.exp().sum().log()) for s, n in zip(scores, numbers, strict=True)) / 2
    assert labels.naming(lesson)(net, rows).item() == pytest.approx(by_hand, rel=1e-5)
    assert by_hand == pytest.approx(float(F.cross_entropy(scores, torch.tensor(numbers))))


def test_hits_by_hand() -> None:
    """A network that sees nothing but how bright a picture is."""

    class Brightness(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([1.0, -1.0]))

        def forward(self, x: Tensor) -> Tensor:
            return x.mean((1, 2, 3))[:, None] * self.weight

    pixels = np.zeros((150, SIDE, SIDE, 3), np.uint8)
    bright = np.random.default_rng(0).random(150) < 0.5
    pixels[bright] = 255
    told = np.random.default_rng(1).random(150) < 0.5
    found = labels.hits(Brightness(), Pictures([pixels], np.stack([told, ~told], 1).astype(np.uint8)))
    assert found == (told == bright).tolist() and 0 < sum(found) < 150


def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "KEPT", 2)
    lesson = labels.lessons_of(FEW, 0)[SHUFFLED]
    whole = labels.trained(lab(tmp_path / "whole"), SHUFFLED, lesson, FEW.schedule)
    advance = training.Run.advance

    def stopping(run: training.Run, objective: training.Objective) -> Tensor:
        if run.step == 3:
            raise KeyboardInterrupt
        return advance(run, objective)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training.Run, "advance", stopping)
        labels.trained(lab(tmp_path / "stopped"), SHUFFLED, lesson, FEW.schedule)
    torch.manual_seed(99)
    other = labels.trained(lab(tmp_path / "stopped"), SHUFFLED, lesson, FEW.schedule)
    assert same(whole.net, other.net) and whole.weights_sha256 == other.weights_sha256
    monkeypatch.setattr(training.Run, "advance", lambda *_: pytest.fail("trained anew"))
    assert same(labels.trained(lab(tmp_path / "stopped"), SHUFFLED, lesson, FEW.schedule).net, whole.net)


# -------------------------------------------------------------------------------------------- how alike the maps are


def two(seed: int = 0) -> dict[str, wf.Model]:
    """Two untrained networks whose last layer is not small."""
    found = {}
    for name, each in ((TRUE, seed), (SHUFFLED, seed + 1)):
        net = labels.untrained(each).eval()
        nn.init.normal_(net.classifier[-1].weight)  # type: ignore[union-attr,operator,index,arg-type]
        found[name] = wf.Model(net, CATEGORIES, labels.SCENES.preprocess(SIDE), name=name)
    return found


def test_likenesses_by_hand() -> None:
    models, sample = two(), opened("scenes:single")[4]
    [rows] = Comparing(models)([sample])
    assert [each["method"] for each in rows] == list(METHODS) and all(set(LIKENESSES) < set(each) for each in rows)
    x, number, layer = squashed(models[TRUE], sample), CATEGORIES.index(sample.labels[0]), "features.17"
    assert isinstance(models[TRUE].net.get_submodule(layer), nn.ReLU), "of the last convolution"
    maps = [grad_cam_by_hand(models[name].net, x, layer, number) for name in (TRUE, SHUFFLED)]
    pair = [enlarged(each, SIDE).ravel() for each in maps]
    assert all(np.ptp(each) > 0 for each in pair)
    assert rows[0][SIZES] == pytest.approx(spearmanr(*pair).statistic, abs=1e-4)
    assert rows[0]["evidence"] == pytest.approx(min(float(each.max()) for each in maps), rel=1e-4)
    gradients = []
    for name in (TRUE, SHUFFLED):
        seen = x.clone().requires_grad_()
        gradients.append(torch.autograd.grad(models[name].net(seen)[0, number], seen)[0].numpy().ravel())
    assert where(rows, method="gradient")[0]["spearman"] == pytest.approx(spearmanr(*gradients).statistic, abs=1e-4)


def test_a_network_is_like_itself_and_one_of_other_signs_only_without_them() -> None:
    models = two()
    samples = opened("scenes:single")[:3]
    own = Comparing({TRUE: models[TRUE], SHUFFLED: models[TRUE]})(samples)
    assert all(each[name] == pytest.approx(1) for rows in own for each in rows for name in LIKENESSES)
    net = labels.untrained(0).eval()
    net.load_state_dict(models[TRUE].net.state_dict())
    with torch.no_grad():
        net.classifier[-1].weight.neg_()  # type: ignore[union-attr,operator,index]
    turned = Comparing({TRUE: models[TRUE], SHUFFLED: replace(models[TRUE], net=net)})(samples)
    for rows in turned:
        [gradient] = where(rows, method="gradient")
        assert gradient["spearman"] == pytest.approx(-1) and gradient[SIZES] == pytest.approx(1)


# -------------------------------------------------------------------------------------------- what is said of it


def test_what_passes_and_what_fails() -> None:
    def judged(cam: float, guided: float, true: float = 1.0, shuffled: float = 1.0) -> list[bool]:
        figures = {"grad-cam": summary([cam] * 5), "guided-backprop": summary([guided] * 5)}
        found = labels._verdicts(figures, {TRUE: summary([true] * 5), SHUFFLED: summary([shuffled] * 5)})
        return [each.holds for each in found]

    assert judged(DEPENDS - 0.01, DEPENDS) == [True, True, True]
    assert judged(DEPENDS, DEPENDS - 0.01) == [True, False, False]
    assert judged(-0.9, 0.9, shuffled=BY_HEART) == [False, True, True]
    assert judged(-0.9, 0.9, true=BY_HEART - 0.01) == [False, True, True]


def test_maps_without_evidence_are_said() -> None:
    figures = {name: summary([0.0, 0.2], [0.0, 1.0]) for name in METHODS}
    right = {name: summary([1.0, 1.0]) for name in (TRUE, SHUFFLED)}
    assert "1 of 2 pairs with a map without evidence" in labels._verdicts(figures, right)[1].numbers


def test_other_data_and_networks_are_refused(tmp_path: Path) -> None:
    for settings, sentence in (
        (Settings("scenes:pair"), "leave --data out"),
        (Settings("voc:nowhere"), "leave --data out"),
        (Settings(model="scenes:vgg"), "leave --model out"),
    ):
        with pytest.raises(Error, match=sentence):
            run("sanity-labels", settings, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(limit=3, quick=True)
    report = run("sanity-labels", settings, tmp_path)
    found = json.loads(json.dumps(report.json(), allow_nan=False))
    assert found["n"] == 3 and found["comparable"] is False
    assert len(found["rows"]) == 4 + len(METHODS) * len(LIKENESSES)
    for each in found["rows"]:
        assert {"name", "value", "low", "high", "paper", "n", "degenerate", "measure"} <= set(each)
        assert each["n"] == {"training": 12, "held out": 5}.get(each.get("pictures"), 3)
    assert len(found["verdicts"]) == 3 and list(found["settings"]["networks"]) == [TRUE, SHUFFLED]
    assert found["settings"]["layers"][f"{TRUE} grad-cam"] == "features.17"
    assert "not the paper's numbers" in check(report.save(tmp_path)).words
    # What was trained and measured is read again; lost rows come out the same.
    monkeypatch.setattr(training.Run, "advance", lambda *_: pytest.fail("trained anew"))
    [*files] = (tmp_path / "measured").rglob("*.parquet")
    files[0].unlink()
    assert run("sanity-labels", settings, tmp_path).json() == report.json()
    assert capsys.readouterr().out == "", "progress goes to stderr"
