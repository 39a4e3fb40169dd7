"""Which layers a sweep compares, and what the experiment says of them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

import wherefore as wf
from conftest import hidden, pooled
from fixtures_experiments import box_by_hand, enlarged, grad_cam_by_hand, iou_by_hand, kept_again, squashed
from wherefore.datasets import opened
from wherefore.experiments import Settings, run
from wherefore.experiments.layers import ACCURACY, ENERGY, SEPARATION, SIMILARITY, Depth, _verdicts, layers_of
from wherefore.experiments.tables import where
from wherefore.imaging import Preprocess
from wherefore.models.preact import PreactResNet

MODEL, LIMIT = "scenes:alexnet", 3
SMALL = Preprocess(resize=16, crop=16)


def swept(net: Any, preprocess: Preprocess = SMALL) -> tuple[list[str], list[str]]:
    return layers_of(wf.Model(net, preprocess=preprocess))


def test_every_rectified_convolution_of_vgg_and_every_block_of_resnet() -> None:
    names, stages = layers_of(wf.load("scenes:vgg"))
    assert names == [f"features.{i}" for i in (2, 6, 10, 13, 17, 20)]
    assert stages == ["96x96", "48x48", "24x24", "24x24", "12x12", "12x12"]
    names, stages = layers_of(wf.load("scenes:resnet"))
    assert names == [f"layer{i}{last}" for i in (1, 2, 3) for last in (".0", ".1", "")], (
        "the last bears the stage's name"
    )
    assert stages == ["48x48"] * 3 + ["24x24"] * 3 + ["12x12"] * 3


def test_functions_are_found_as_modules_are() -> None:
    assert swept(pooled())[0] == ["features.2", "features"]
    assert swept(hidden(), SMALL) == (["conv1+relu", "conv2+relu"], ["16x16", "8x8"])


def test_torchvision_s_resnet() -> None:
    model = wf.load("resnet18", weights=None)
    names, stages = layers_of(wf.Model(model.net, preprocess=Preprocess(resize=64, crop=64)))
    assert names == [f"layer{i}{last}" for i in (1, 2, 3, 4) for last in (".0", "")]
    assert stages == [f"{side}x{side}" for side in (16, 8, 4, 2) for _ in range(2)]


def test_blocks_with_pre_activation_are_read_behind_what_rectifies_them() -> None:
    net = PreactResNet(5, blocks=(2, 1, 1, 1), width=4).eval()
    names, stages = swept(net, Preprocess(resize=64, crop=64))
    assert names == ["layer1.1.relu1", "layer2.0.relu1", "layer3.0.relu1", "layer4.0.relu1", "relu5"]
    assert stages == ["layer1", "layer1", "layer2", "layer3", "layer4"]


@pytest.mark.parametrize("name", ["scenes:vgg", "scenes:resnet", "scenes:googlenet"])
def test_what_is_explained_is_never_negative(name: str) -> None:
    model, least = wf.load(name), []
    for layer in layers_of(model)[0]:
        module = model.net.get_submodule(layer)
        seen = module.register_forward_hook(lambda *call: least.append(float(call[2].detach().min())))
        model.net(torch.randn(1, 3, 96, 96))
        seen.remove()
    assert min(least) >= 0


def by_hand(number: int, layers: list[str]) -> dict[str, list[float]]:
    """All measures of a scene of one thing, layer by layer, from hooks and scipy."""
    model, sample = wf.load(MODEL), opened("scenes:single")[number]
    [label] = sample.labels
    [box] = sample.boxes(label)
    x = squashed(model, sample)
    maps = [grad_cam_by_hand(model.net, x, layer, model.classes.index(label)) for layer in layers]  # type: ignore[union-attr]
    found: dict[str, list[float]] = {ACCURACY: [], ENERGY: [], SIMILARITY: []}
    for heat in maps:
        large = enlarged(heat, 128)
        found[ACCURACY].append(float(iou_by_hand(box_by_hand(large), box) >= 0.5))
        inside = large[box[1] : box[3] + 1, box[0] : box[2] + 1].sum()
        found[ENERGY].append(inside / large.sum() if large.sum() else np.nan)
    for one, other in pairwise(maps):
        pair = [enlarged(each, 96).ravel() for each in (one, other)]
        found[SIMILARITY].append(spearmanr(*pair).statistic if all(np.ptp(each) for each in pair) else 0.0)
    return found


def separation_by_hand(number: int, layer: str) -> float:
    model, sample = wf.load(MODEL), opened("scenes:pair")[number]
    x = squashed(model, sample)
    maps = [grad_cam_by_hand(model.net, x, layer, model.classes.index(label)) for label in sample.labels]  # type: ignore[union-attr]
    return 1 - spearmanr(*(each.numpy().ravel() for each in maps)).statistic


@pytest.mark.slow
def test_rows_by_hand(tmp_path: Path) -> None:
    from wherefore.experiments import Lab

    settings = Settings(model=MODEL, limit=LIMIT)
    report = kept_again("layers", settings, tmp_path)
    lab, rows = Lab(settings, tmp_path), report.json()["rows"]
    layers = [each["layer"] for each in where(rows, measure=ACCURACY)]
    assert layers == [f"features.{i}" for i in (1, 4, 7, 9, 11)]
    singles = [by_hand(number, layers) for number in lab.numbers(lab.dataset("single"), 0, 0)]
    for measure in (ACCURACY, ENERGY, SIMILARITY):
        ours = [each["value"] for each in where(rows, measure=measure, name="grad-cam") if each["layer"]]
        theirs = np.nanmean([each[measure] for each in singles], 0)
        # Maps are kept in 16 bits, which moves ranks of nearly equal values.
        assert ours == pytest.approx(theirs.tolist(), abs=0.01), measure
    across = [each[SIMILARITY][i] for each in singles for i in (0, 1)]
    assert where(rows, stage="across stages")[0]["value"] == pytest.approx(np.mean(across), abs=0.01)
    pairs = [separation_by_hand(number, layers[-1]) for number in lab.numbers(lab.dataset("pair"), 0, 0)]
    [row] = where(rows, measure=SEPARATION, layer=layers[-1])
    assert row["value"] == pytest.approx(np.mean(pairs), abs=0.01) and row["n"] == LIMIT


def test_pictures_of_one_thing_say_nothing_of_the_separation_of_classes(tmp_path: Path) -> None:
    report = run("layers", Settings(model=MODEL, data="scenes:single", limit=2), tmp_path)
    assert len(report.result.verdicts) == 2 and not any("tells" in each.claim for each in report.result.verdicts)
    assert {each["value"] for each in where(report.json()["rows"], measure=SEPARATION)} == {None}
    assert report.save(tmp_path).is_file()


def test_claims_as_planted() -> None:
    dice = np.random.default_rng(0)

    def depth(accuracy: list[float], separation: list[float], similarity: list[float]) -> Depth:
        noise = dice.normal(0, 0.01, (4, 30))
        values = {ACCURACY: accuracy, ENERGY: accuracy, SEPARATION: separation, SIMILARITY: similarity}
        planted = {name: np.array(each)[:, None] + noise[: len(each)] for name, each in values.items()}
        names, stages = ["a", "b", "c", "d"], ["8x8", "8x8", "4x4", "4x4"]
        return Depth(wf.load(MODEL), names, stages, planted, [0] * 4, np.full(30, 0.5), [])

    good = _verdicts(depth([0.1, 0.2, 0.5, 0.6], [0.2, 0.2, 0.8, 0.9], [0.9, 0.1, 0.9]))
    bad = _verdicts(depth([0.6, 0.5, 0.2, 0.1], [0.9, 0.9, 0.2, 0.2], [0.1, 0.9, 0.1]))
    assert [each.holds for each in good] == [True] * 3 and [each.holds for each in bad] == [False] * 3
