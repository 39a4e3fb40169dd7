"""Faithfulness: the paper's correlation with occlusion, by hand; other measures; what knows nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

import wherefore as wf
from fixtures_experiments import enlarged, grad_cam_by_hand, kept_again, squashed
from wherefore.datasets import Sample, opened
from wherefore.experiments import Lab, Settings
from wherefore.experiments.faithfulness import (
    CORRELATION,
    OTHERS,
    PAPER,
    Maps,
    _verdicts,
    correlated,
    surest,
    with_baselines,
)
from wherefore.experiments.tables import paper_of, where
from wherefore.metrics.faithfulness import deletion
from wherefore.metrics.summary import summary

MODEL = "scenes:alexnet"


def by_hand(model: wf.Model, sample: Sample, patch: int = 14) -> float:
    """The mean over the classes of a scene of Grad-CAM's correlation with occlusion, patch by patch."""
    x, found = squashed(model, sample), []
    corners = [(y, x0) for y in range(0, 96 - patch + 1, patch // 2) for x0 in range(0, 96 - patch + 1, patch // 2)]
    covered = x.repeat(len(corners), 1, 1, 1)
    for each, (top, left) in zip(covered, corners, strict=True):
        each[:, top : top + patch, left : left + patch] = 0
    with torch.no_grad():
        drops = (model.net(x) - model.net(covered)).double().numpy()
    for label in sample.labels:
        number = list(model.classes or ()).index(label)
        heat = enlarged(grad_cam_by_hand(model.net, x, "features.11", number), 96)
        means = [heat[top : top + patch, left : left + patch].mean() for top, left in corners]
        found.append(spearmanr(means, drops[:, number]).statistic if np.ptp(means) else 0.0)
    return float(np.mean(found))


@pytest.mark.slow
def test_rows_by_hand(tmp_path: Path) -> None:
    settings = Settings(model=MODEL, limit=2)
    report = kept_again("faithfulness", settings, tmp_path)
    rows, lab = report.json()["rows"], Lab(settings, tmp_path)
    dataset, model = lab.dataset(), lab.network(MODEL)
    samples = [dataset[number] for number in lab.numbers(dataset, 0, 0)]
    [row] = where(rows, name="grad-cam", measure=CORRELATION, patch="")
    # Maps are kept in 16 bits, which moves ranks of nearly equal values.
    assert row["value"] == pytest.approx(np.mean([by_hand(model, each) for each in samples]), abs=0.005)
    [wide] = where(rows, name="grad-cam", patch="48 of 224 pixels, mean")
    assert wide["value"] == pytest.approx(np.mean([by_hand(model, each, 21) for each in samples]), abs=0.005)
    [same] = where(rows, name="grad-cam", patch="32 of 224 pixels, mean")
    assert same["value"] == row["value"], "the sweep has ours among it"
    assert {each["name"] for each in where(rows, measure="deletion")} >= {"random", "centre", "grad-cam"}
    assert all(len(where(rows, name="random", measure=name)) == 1 for name in OTHERS)
    assert report.save(tmp_path).is_file()


def test_the_paper_s_figures() -> None:
    assert PAPER == {
        ("vgg", "guided-backprop"): 0.168,
        ("vgg", "c-mwp"): 0.220,
        ("vgg-cam", "cam"): 0.208,
        ("vgg", "grad-cam"): 0.254,
        ("vgg", "guided-grad-cam"): 0.261,
    }
    assert paper_of(PAPER, "vgg16", "grad-cam") == 0.254
    assert paper_of(PAPER, "scenes:vgg-cam", "grad-cam") is None and paper_of(PAPER, "scenes:resnet", "cam") is None


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Maps:
    lab = Lab(Settings(), tmp_path_factory.mktemp("kept"))
    model, dataset = lab.network(MODEL), opened("scenes:pair")
    return Maps(lab, model, dataset, {"grad-cam": list(lab.seen(model, "grad-cam", dataset, [1, 2]))})


def test_the_class_that_the_network_is_surest_of(maps: Maps) -> None:
    for each in maps.seen["grad-cam"]:
        e, best = each.explanation, int(each.explanation.scores[0].argmax())
        part = surest(e)
        assert part.targets == [[e.targets[0][best]]] and part.classes.tolist() == [[int(e.classes[0, best])]]
        assert torch.equal(part.maps[0][0], e.maps[0][best]) and part.scores.shape == (1, 1)
        assert float(deletion(part)) == pytest.approx(float(deletion(e)[0, best]), abs=1e-6)


def test_what_knows_nothing_stands_beside_the_methods(maps: Maps) -> None:
    found = with_baselines(maps.seen)
    assert list(found) == ["grad-cam", "random", "centre"]
    for name in ("random", "centre"):
        assert all(each.explanation.maps[0].shape == (1, 96, 96) for each in found[name])
    centre = found["centre"][0].explanation.maps[0][0]
    assert float(centre[47, 47]) == float(centre.max()) and float(centre[0, 0]) == float(centre.min())


def test_an_empty_map_correlates_with_nothing_and_is_counted(maps: Maps) -> None:
    def empty(e: wf.Explanation) -> wf.Explanation:
        return replace(e, maps=torch.zeros_like(torch.as_tensor(e.maps)))

    seen = [replace(each, explanation=empty(each.explanation)) for each in maps.seen["grad-cam"]]
    figures = replace(maps, seen={"empty": seen}).measured("empty", correlated, [1, 2])
    [((method, _), figure)] = figures.items()
    assert method == "empty" and figure.value == 0.0 and figure.n == 2 and figure.degenerate == 4


def test_claims_as_planted() -> None:
    values = {"guided-grad-cam": 0.5, "grad-cam": 0.4, "c-mwp": 0.3, "guided-backprop": 0.1}
    figures = {("a", name): summary([value] * 5) for name, value in values.items()} | {("b", "cam"): summary([0.3] * 5)}
    assert [each.holds for each in _verdicts(figures, ["a", "b"])] == [True] * 3
    worst = {key: summary([1 - figure.value] * 5) for key, figure in figures.items()}
    assert [each.holds for each in _verdicts(worst, ["a", "b"])] == [False] * 3
    without = {key: figure for key, figure in figures.items() if key[1] != "cam"}
    assert len(_verdicts(without, ["a", "b"])) == 2, "without CAM there is nothing to say of it"
