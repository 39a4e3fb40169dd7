"""The pointing game, against planted maps and points that are found here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

import wherefore as wf
from fixtures_experiments import reported
from fixtures_metrics import at_pixels, explained, rectangle, sampled, thing
from wherefore.batch.maps import Seen
from wherefore.datasets import Dataset, Sample
from wherefore.datasets.scenes import Scenes
from wherefore.experiments import Settings, pointing, rejection
from wherefore.experiments.lab import Lab
from wherefore.experiments.pointing import CENTRE, PIXELS, REFERENCE, TOLERANCES, finder, middle, shots
from wherefore.experiments.rejection import claims
from wherefore.experiments.tables import where
from wherefore.metrics import pointing_game
from wherefore.metrics.pointing import region
from wherefore.metrics.summary import summary


def seen(sample: Sample, *peaks: tuple[int, int], targets: tuple[str, ...]) -> Seen:
    """Maps of a sample, each a single pixel ``(x, y)``."""
    heats = torch.zeros(1, len(peaks), *sample.size[::-1])
    for t, (x, y) in enumerate(peaks):
        heats[0, t, y, x] = 1
    return Seen(sample, [], explained(heats, [sample], [list(targets)]))


@pytest.mark.parametrize(
    ("away", "hits"),
    [(0, (True, True, True)), (2, (True, True, False)), (3, (True, False, False)), (15, (False, False, False))],
)
def test_a_point_hits_that_is_closer_than_the_tolerance(away: int, hits: tuple[bool, ...]) -> None:
    sample = sampled((100, 80), thing("dog", (10, 10, 19, 19)))
    [[shot]] = shots([seen(sample, (19 + away, 15), targets=("dog",))], finder("grad-cam"))
    assert shot.category == "dog" and tuple(shot.hits.values()) == hits
    assert list(TOLERANCES) == ["15 px", "3 % of the longer side", "on the thing"]


def test_what_is_difficult_throughout_is_not_asked_for_and_counts_where_it_is_not() -> None:
    hard, easy = thing("dog", (60, 60, 69, 69), difficult=True), thing("dog", (10, 10, 19, 19))
    alone, both = sampled((100, 80), hard, thing("cat", (0, 0, 99, 79))), sampled((100, 80), hard, easy)
    kept = [seen(each, (65, 65), (65, 65), targets=("dog", "cat")) for each in (alone, both)]
    found = shots(kept, finder("grad-cam"))
    assert [[s.category for s in some] for some in found] == [["cat"], ["dog"]]
    assert found[1][0].hits["on the thing"], "difficult boxes are part of the class"
    assert not found[0][0].difficult, "it fills the picture"
    assert not found[1][0].difficult, "no other class is there"


def test_figures_are_means_over_classes_and_over_pairs_by_hand() -> None:
    dogs = [sampled((100, 80), thing("dog", (10, 10, 19, 19))) for _ in range(3)]
    pair = sampled((100, 80), thing("dog", (10, 10, 19, 19)), thing("cat", (60, 60, 69, 69)))
    kept = [seen(each, (15, 15), targets=("dog",)) for each in dogs[:2]] + [seen(dogs[2], (90, 70), targets=("dog",))]
    kept.append(seen(pair, (15, 15), (15, 15), targets=("dog", "cat")))
    found = pointing._figures(shots(kept, finder("grad-cam")), "15 px")
    assert found["all", "15 px", "classes"].value == pytest.approx((3 / 4 + 0) / 2)
    assert found["all", "15 px", "pairs"].value == pytest.approx(3 / 5)
    assert found["difficult", "15 px", "classes"].value == 0.5 and found["difficult", "15 px", "classes"].n == 1
    assert ("all", "on the thing", "pairs") not in found


def test_without_evidence_a_map_points_at_its_first_pixel_and_is_counted() -> None:
    sample = sampled((100, 80), thing("dog", (45, 35, 54, 44)))
    kept = [Seen(sample, [], explained(torch.zeros(1, 1, 5, 5), [sample], [["dog"]]))]
    figure = pointing._figures(shots(kept, finder("grad-cam")), "15 px")["all", "15 px", "classes"]
    assert figure.value == 0 and figure.degenerate == 1
    assert shots(kept, middle)[0][0].hits["on the thing"], "the middle of the picture, whatever the map"


@pytest.mark.parametrize("method", ["c-mwp", "gradient"])
def test_points_equal_those_of_single_maps(method: str, tmp_path: Path) -> None:
    lab = Lab(Settings(limit=3), tmp_path)
    dataset, model = lab.dataset(), lab.network("scenes:vgg")
    numbers = lab.numbers(dataset, 3, 3)
    kept = list(lab.seen(model, method, dataset, numbers))
    found: list[Any] = []
    for number in numbers:
        sample = dataset[number]
        for label in sample.labels:
            heat = next(wf.explain(model, sample.image, label, method=method, fit="squash").placed(0)).numpy()
            heat = ndimage.gaussian_filter(heat, 0.02 * 128) if method in PIXELS else heat
            y, x = divmod(int(heat.argmax()), 128)
            away = min((x - i) ** 2 + (y - j) ** 2 for j, i in np.argwhere(sample.mask(label))) ** 0.5
            if not sample.only_difficult(label):
                found.append(
                    (label, {"15 px": away < 15, "3 % of the longer side": away < 3.84, "on the thing": not away})
                )
    assert [(s.category, s.hits) for some in shots(kept, finder(method)) for s in some] == found
    e, samples = [each.explanation for each in kept], [dataset[n] for n in numbers]
    game = [pointing_game(a, [b], smooth=method in PIXELS)[0] for a, b in zip(e, samples, strict=True)]
    flags = [[s.hits["15 px"] for s in some] for some in shots(kept, finder(method))]
    assert summary(flags).value == summary(game).value, "the metric of that name says the same"


def test_other_peoples_figures_stand_beside_ours_on_their_data_alone() -> None:
    sample = sampled((100, 80), thing("dog", (10, 10, 19, 19)), thing("cat", (60, 60, 69, 69)))
    found = pointing._figures(shots([seen(sample, (15, 15), targets=("dog",))], finder("c-mwp")), "15 px")

    voc, coco = Listed("voc", 4952), Listed("coco", 40504)
    rows = pointing._rows("c-mwp", "timm:vgg16.tv_in1k", found, voc)
    known = [r for r in rows if "reference" in r]
    assert [(r["subset"], r["reference"], r["over"]) for r in known] == [
        ("all", 0.799, "classes"), ("difficult", 0.665, "classes")
    ]  # fmt: skip
    assert known[0]["source"] == "TorchRay, VOC 2007 test, VGG-16" and all(r["paper"] is None for r in rows)
    assert pointing._rows("grad-cam", "resnet50", found, coco)[0]["reference"] == 0.573
    [centre] = {r["source"] for r in pointing._rows(CENTRE, "", found, voc) if "reference" in r}
    assert centre == "TorchRay, VOC 2007 test", "the middle of a picture is no network's"
    for network, dataset in (
        *((name, voc) for name in ("googlenet", "vgg19", "vgg16_bn", "resnet18", "scenes:vgg")),
        *(("vgg16", each) for each in (Listed("voc", 4951), Listed("voc", 5823), Listed("voc", 4952, False))),
        *(("vgg16", each) for each in (Listed("coco", 5000), Listed("scenes", 4952))),
    ):
        assert not any("reference" in r for r in pointing._rows("c-mwp", network, found, dataset)), network
    assert len(REFERENCE) == 13


def test_nothing_is_claimed_of_networks_that_nobody_compared_methods_on() -> None:
    networks = ["scenes:vgg", "scenes:googlenet", "scenes:resnet", "resnet50", "resnet18", "vgg19", "caffe:vgg16"]
    figures = {(n, m, "all"): summary([v] * 4) for n in networks for m, v in (("grad-cam", 0.9), ("c-mwp", 0.5))}
    found = {each.claim.split()[1]: each for each in pointing._verdicts(figures, networks)}
    assert list(found) == ["scenes:vgg", "scenes:resnet", "resnet50", "caffe:vgg16"]
    assert found["scenes:vgg"].holds and not found["resnet50"].holds


class Listed(Dataset):
    """A stand-in: so many pictures of a data set's name."""

    def __init__(self, name: str, length: int, comparable: bool = True) -> None:
        self.name, self.length, self.comparable = name, length, comparable

    def __len__(self) -> int:
        return self.length


def test_on_voc_things_are_where_their_boxes_are() -> None:
    mask = rectangle((100, 80), (10, 10, 29, 29))
    sample = sampled((100, 80), thing("dog", (10, 10, 69, 69), mask))
    kept = [seen(sample, (60, 60), targets=("dog",))]
    assert pointing.in_boxes(Listed("voc", 9)) and not pointing.in_boxes(Listed("coco", 9))
    assert shots(kept, finder("grad-cam"), boxes=True)[0][0].hits["on the thing"]
    assert not any(shots(kept, finder("grad-cam"))[0][0].hits.values())
    assert claims([claiming(sample, (60, 60), "dog")], "15 px", boxes=True)[0][0].hit
    assert not claims([claiming(sample, (60, 60), "dog")], "15 px")[0][0].hit


def claiming(sample: Sample, peak: tuple[int, int], category: str) -> Seen:
    return replace(seen(sample, peak, targets=(category,)), rows=[{"category": category}])


def test_the_experiments_on_voc_measure_boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The names of a data set decide: the same scenes, whose masks are smaller than their boxes."""
    asked: list[bool] = []
    true = region

    def watched(sample: Sample, category: str, boxes: bool = False) -> Any:
        asked.append(boxes)
        return true(sample, category, boxes)

    monkeypatch.setattr(pointing, "region", watched)
    monkeypatch.setattr(rejection, "region", watched)
    monkeypatch.setattr(pointing, "LAYERED", ("grad-cam",))
    monkeypatch.setattr(pointing, "PIXELS", ())
    monkeypatch.setattr(pointing, "SHOWN", ("grad-cam",))
    monkeypatch.setattr(rejection, "METHODS", ("grad-cam",))
    for name, boxes in (("scenes", False), ("voc", True)):
        monkeypatch.setattr(Scenes, "name", name)
        lab = Lab(Settings(limit=2, model="scenes:vgg"), tmp_path)
        found = pointing.pointing(lab), rejection.rejection(lab)
        assert set(asked) == {boxes}, name
        assert found[0].settings["where things are"] == ("boxes" if boxes else "masks, else boxes")
        asked.clear()


def test_a_map_of_the_truth_is_always_right() -> None:
    mask = rectangle((100, 80), (30, 20, 59, 49))
    sample = sampled((100, 80), thing("dog", (30, 20, 59, 49), mask), thing("cat", (0, 0, 5, 5)))
    kept = [Seen(sample, [], explained(at_pixels(mask), [sample], [["dog"]]))]
    assert shots(kept, finder("grad-cam"))[0][0].hits["on the thing"]
    kept = [Seen(sample, [], explained(at_pixels(~mask), [sample], [["dog"]]))]
    assert not shots(kept, finder("grad-cam"))[0][0].hits["on the thing"]


@pytest.mark.slow
def test_the_experiment(tmp_path: Path) -> None:
    found = reported("pointing", tmp_path)
    rows = found["rows"]
    assert all(r["paper"] is None for r in rows)
    assert len([r for r in rows if r["name"] == CENTRE and r["subset"] == "all"]) == 4 and CENTRE not in wf.METHODS
    assert {r["name"] for r in rows} - {CENTRE} <= set(wf.METHODS)
    headline = where(rows, subset="all", tolerance="3 % of the longer side", over="classes")
    assert len(headline) == 1 + 3 * 7 and found["settings"]["headline tolerance"] == "3 % of the longer side"
    assert 2 <= len(found["verdicts"]) <= 4 and found["n"] == 3
