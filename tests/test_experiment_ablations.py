"""Table 3: one thing changed at a time, against maps and boxes that are made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

import reference
import wherefore as wf
from fixtures_experiments import reported
from wherefore.datasets import Sample
from wherefore.errors import Error
from wherefore.experiments import Settings, ablations
from wherefore.experiments.ablations import ABSOLUTE, CHANGES, DECONV, GUIDED, MAX, NO_RELU, PAPER, PLAIN
from wherefore.experiments.lab import Lab
from wherefore.experiments.tables import where
from wherefore.metrics.summary import summary

LIMIT = 3


@pytest.fixture(scope="module")
def vgg() -> wf.Model:
    return wf.load("scenes:vgg")


def by_hand(vgg: wf.Model, sample: Sample, change: str) -> Tensor:
    """The map ``(128, 128)`` of a sample's label, from autograd alone."""
    pixels = torch.from_numpy(np.array(sample.image.resize((96, 96), 2))).permute(2, 0, 1) / 255
    net = vgg.net
    a = net.features[:-1](((pixels - 0.5) / 0.25)[None]).detach().requires_grad_()
    with reference.every_relu({GUIDED: "guided", DECONV: "deconv"}.get(change, "plain")):
        score = net.classifier(net.features[-1](a).flatten(1))[0, list(vgg.classes or ()).index(sample.labels[0])]
    (g,) = torch.autograd.grad(score, a)
    alpha = {ABSOLUTE: g.abs().mean((2, 3)), MAX: g.amax((2, 3))}.get(change, g.mean((2, 3)))
    signed = (alpha[..., None, None] * a.detach()).sum(1, keepdim=True)
    return F.interpolate(signed if change == NO_RELU else signed.relu(), (128, 128), mode="bilinear")[0, 0]


def error(vgg: wf.Model, sample: Sample, heat: Tensor) -> float:
    """1 where the label is not the first, or the box of the largest part above 15 % has an IoU below 0.5; else 0."""
    labels, _ = ndimage.label(heat.numpy() >= 0.15 * float(heat.max()), np.ones((3, 3)))
    rows, columns = np.nonzero(labels == np.bincount(labels.ravel())[1:].argmax() + 1)
    ours, true = np.zeros((2, 128, 128), bool)
    ours[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    x0, y0, x1, y1 = sample.boxes(sample.labels[0])[0]
    true[y0 : y1 + 1, x0 : x1 + 1] = True
    first = wf.explain(vgg, sample.image, fit="squash").targets[0][0] == sample.labels[0]
    return float(not first or (ours & true).sum() / (ours | true).sum() < 0.5)


def test_errors_equal_those_of_maps_made_by_hand(vgg: wf.Model, tmp_path: Path) -> None:
    lab = Lab(Settings(limit=6), tmp_path)
    dataset = lab.dataset("single")
    numbers = lab.numbers(dataset, 6, 6)
    kept = ablations._kept(lab, vgg, dataset, numbers)
    samples = [dataset[n] for n in numbers]
    for change in CHANGES:
        for seen, sample in zip(kept[change], samples, strict=True):
            heat, ours = by_hand(vgg, sample, change), next(seen.explanation.placed(0))
            assert torch.allclose(ours, heat, atol=2e-3 * float(heat.abs().max()))
    figures = ablations._figures(kept)
    expected = {c: np.mean([error(vgg, s, by_hand(vgg, s, c)) for s in samples]) for c in CHANGES}
    assert {change: figure.value for change, figure in figures.items()} == pytest.approx(expected)
    assert len(set(expected.values())) > 1, "else nothing was told apart"


def test_relus_are_found_in_the_graph_above_the_layer(vgg: wf.Model, tmp_path: Path) -> None:
    picture = wf.scenes.scene(0, objects=1).image
    assert ablations.meets_relus(vgg, picture)
    assert not ablations.meets_relus(wf.load("scenes:googlenet"), picture)


def test_without_boxes_it_says_what_it_needs(tmp_path: Path) -> None:
    for number in range(2):
        sample = wf.scenes.scene(number, objects=1)
        (tmp_path / sample.labels[0]).mkdir(exist_ok=True)
        sample.image.save(tmp_path / sample.labels[0] / f"{number}.png")
    lab = Lab(Settings(f"folder:{tmp_path}", "scenes:vgg", limit=2), tmp_path / "out")
    with pytest.raises(Error, match="has no boxes to measure localization by"):
        ablations.ablations(lab)


def test_a_rule_that_changes_no_error_is_said_to(vgg: wf.Model) -> None:
    figures = {change: summary([1.0, 0.0, 1.0]) for change in CHANGES}
    words = [each.claim for each in ablations._claims(vgg, figures, True)]
    assert "On scenes:vgg deconvnet's ReLUs above the layer change no error" in words
    figures[DECONV] = summary([1.0, 1.0, 1.0])
    words = [each.claim for each in ablations._claims(vgg, figures, True)]
    assert "On scenes:vgg boxes with deconvnet's ReLUs above the layer err most often of all" in words


@pytest.mark.slow
def test_the_experiment(tmp_path: Path) -> None:
    found = reported("ablations", tmp_path, LIMIT)
    rows = found["rows"]
    assert {r["name"] for r in rows} == {"grad-cam"} and {r["measure"] for r in rows} == {"top-1"}
    crops = where(rows, network="scenes:vgg", crops="ten crops")
    assert {r["change"]: r["paper"] for r in crops} == {
        PLAIN: 0.5965, NO_RELU: 0.7498, ABSOLUTE: 0.5819, MAX: 0.5996, GUIDED: 0.5914, DECONV: 0.8395
    }  # fmt: skip
    assert all(r["paper"] is None for r in rows if r not in crops) and len(PAPER) == len(CHANGES)
    google = {r["change"]: r["value"] for r in where(rows, network="scenes:googlenet")}
    assert google[PLAIN] == google[GUIDED] == google[DECONV]
    assert found["verdicts"][-1]["holds"] and "change nothing" in found["verdicts"][-1]["claim"]
    assert len(found["verdicts"]) == 6 and found["n"] == LIMIT and found["comparable"] is False
