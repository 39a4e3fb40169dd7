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
from wherefore.datasets import Dataset, Sample, opened
from wherefore.experiments import Lab, Settings
from wherefore.experiments.faithfulness import (
    CORRELATION,
    FIRST,
    MAP_LEVEL,
    OTHERS,
    PAPER,
    VARIED,
    Maps,
    _verdicts,
    correlated,
    faithfulness,
    maps_of,
    swept,
    with_baselines,
)
from wherefore.experiments.tables import paper_of, where
from wherefore.metrics.faithfulness import deletion
from wherefore.metrics.occluding import drops, occlusion_correlation
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


def test_other_measures_are_of_the_class_predicted_first(maps: Maps) -> None:
    found = maps_of(maps.lab, maps.model, maps.dataset, [1, 2], "first")
    for each in found.seen["grad-cam"]:
        with torch.no_grad():
            best = int(maps.model.net(squashed(maps.model, each.sample))[0].argmax())
        assert each.explanation.classes.tolist() == [[best]] and each.explanation.maps.shape[:2] == (1, 1)
        theirs = wf.explain(maps.model, each.sample.image, best, fit="squash")
        assert float(deletion(each.explanation)) == pytest.approx(float(deletion(theirs)), abs=1e-3)


class Misread(Dataset):
    """Scenes of one thing, each said to show what the network gives the lowest score."""

    def __init__(self, inner: Dataset, label: str) -> None:
        self.inner, self.label, self.classes = inner, label, inner.classes
        self.name, self.spec, self.split, self.drawn = "scenes", f"scenes:{label}", "test", True

    def __len__(self) -> int:
        return len(self.inner)

    def sample(self, number: int) -> Sample:
        return replace(self.inner[number], labels=(self.label,))


def test_labels_do_not_matter_to_them_but_do_to_the_correlation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"METHODS": ("grad-cam",), "PATCHES": (32,), "FILLS": ("mean",), "OTHERS": {"deletion": (deletion, "lower")}}
    for name, value in few.items():
        monkeypatch.setattr(f"wherefore.experiments.faithfulness.{name}", value)
    found = []
    for label in ("dog", "car"):
        lab = Lab(Settings(model=MODEL, limit=1), tmp_path / label)
        monkeypatch.setattr(lab, "dataset", lambda label=label: Misread(opened("scenes:single"), label))
        found.append(faithfulness(lab))
    one, other = ({(r["name"], r["measure"], r["patch"]): r["value"] for r in each.rows} for each in found)
    names = [key for key in one if key[1] == "deletion" or key[2] == FIRST]
    assert len(names) == 3 + 1 and all(one[key] == other[key] for key in names)
    assert one["grad-cam", CORRELATION, ""] != other["grad-cam", CORRELATION, ""]
    [section] = [each for each in found[0].sections if each.title == "Other choices"]
    assert section.parts[0] == VARIED and "stride changes" in VARIED and "left out" in VARIED


def test_cells_in_place_of_patches_by_hand(maps: Maps, monkeypatch: pytest.MonkeyPatch) -> None:
    e = maps.seen["grad-cam"][0].explanation
    falls, patches = drops(e, 0)
    side, size, stride = 96, patches.size, patches.stride
    for t, heat in enumerate(e.heats(0)):
        total, count = np.zeros((2, side, side))
        for (i, j), fall in np.ndenumerate(falls[t].numpy()):
            total[i * stride : i * stride + size, j * stride : j * stride + size] += fall
            count[i * stride : i * stride + size, j * stride : j * stride + size] += 1
        last = int(count.any(0).nonzero()[0].max())  # beyond, the rim continues
        spread = np.pad((total / np.maximum(count, 1))[: last + 1, : last + 1], (0, side - 1 - last), "edge")
        edges = [(side * i // 14, -(-side * (i + 1) // 14)) for i in range(14)]
        means = [[m[a:b, c:d].mean() for a, b in edges for c, d in edges] for m in (heat.double().numpy(), spread)]
        found = float(occlusion_correlation(e, cells=14)[0, t])
        assert found == pytest.approx(spearmanr(*means).statistic, abs=1e-3)
        assert found != float(occlusion_correlation(e)[0, t])
    monkeypatch.setattr("wherefore.experiments.faithfulness.PATCHES", (32,))
    monkeypatch.setattr("wherefore.experiments.faithfulness.FILLS", ("mean",))
    assert swept(e)[MAP_LEVEL] == pytest.approx(float(occlusion_correlation(e, cells=14).mean()))


def test_what_knows_nothing_stands_beside_the_methods(maps: Maps) -> None:
    found = with_baselines(maps.seen)
    assert list(found) == ["grad-cam", "random", "centre"]
    for name in ("random", "centre"):
        assert all(each.explanation.maps[0].shape == (2, 96, 96) for each in found[name])
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
