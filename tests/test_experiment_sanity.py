"""Sanity checks: which weights are drawn anew, how alike maps stay, and what follows."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

import wherefore as wf
from fixtures_experiments import enlarged, grad_cam_by_hand, kept_again, squashed
from wherefore.checking import ALIKE
from wherefore.experiments import Lab, Settings
from wherefore.experiments.sanity import METHODS, MOST, SIZES, _verdicts, steps_of
from wherefore.experiments.tables import where
from wherefore.metrics.likeness import LIKENESSES
from wherefore.metrics.summary import summary
from wherefore.randomising import stages

MODEL = "scenes:alexnet"


def test_layers_are_drawn_from_the_scores_downward() -> None:
    steps = steps_of(wf.load(MODEL))
    features = [f"features.{i}" for i in (10, 8, 6, 3, 0)]
    assert steps == [(name,) for name in ["classifier.6", "classifier.3", "classifier.0", *features]]


def test_layers_of_deep_networks_are_drawn_together() -> None:
    model = wf.load("scenes:resnet")
    steps, layers = steps_of(model), stages(model.net)
    assert len(layers) == 22 and len(steps) == 11 <= MOST
    assert sorted(name for step in steps for name in step) == sorted(name for stage in layers for name in stage)
    assert set(steps[0]) == {*layers[0], *layers[1]} and steps[0][0] == layers[1][0], "named for the lowest"


def by_hand(model: wf.Model, x: torch.Tensor) -> tuple[float, float]:
    """How alike Grad-CAM stays when the scores' layer is drawn anew, and when the next one is, too."""
    layer, number = "features.11", int(model.net(x).argmax())
    before, net, found = grad_cam_by_hand(model.net, x, layer, number), copy.deepcopy(model.net), []
    for seed, name in enumerate(("classifier.6", "classifier.3")):
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            net.get_submodule(name).reset_parameters()  # type: ignore[operator]
        pair = [enlarged(heat, 96).ravel() for heat in (before, grad_cam_by_hand(net, x, layer, number))]
        found.append(spearmanr(*pair).statistic if all(np.ptp(each) for each in pair) else 0.0)
    return found[0], found[1]


def test_rows_by_hand(tmp_path: Path) -> None:
    settings = Settings(model=MODEL, limit=2)
    report = kept_again("sanity", settings, tmp_path)
    rows, lab = report.json()["rows"], Lab(settings, tmp_path)
    assert len(rows) == len(METHODS) * 2 * 8 * len(LIKENESSES)
    dataset, model = lab.dataset("single"), lab.network(MODEL)
    numbers = lab.numbers(dataset, 0, 0)
    hands = np.mean([by_hand(model, squashed(model, dataset[number])) for number in numbers], 0)
    own = where(rows, name="grad-cam", randomised="cascading", measure=SIZES)
    assert [each["value"] for each in own[:2]] == pytest.approx(hands.tolist(), abs=1e-4)
    alone = where(rows, name="grad-cam", randomised="independent", measure=SIZES)
    assert alone[0]["value"] == own[0]["value"] and alone[1]["value"] != own[1]["value"]
    assert [each["changes"] for each in own] == ["weights of the channels"] * 3 + ["channels"] * 5
    assert {each["changes"] for each in where(rows, name="gradient")} == {"pixels"}
    assert report.save(tmp_path).is_file()


def test_what_passes_and_what_fails() -> None:
    def judged(cam: float, guided: float, both: float) -> list[bool]:
        figures = {"grad-cam": cam, "guided-backprop": guided, "guided-grad-cam": both}
        found = _verdicts({name: summary([value] * 5) for name, value in figures.items()})
        return [each.holds for each in found]

    assert judged(ALIKE - 0.01, ALIKE, ALIKE + 0.01) == [True, True, True, True]
    assert judged(ALIKE + 0.01, ALIKE - 0.01, 0.0) == [False, False, False, False]
