"""The loop over a data set: what is kept, what is made anew, what is said of pictures that cannot be read; and maps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import wherefore as wf
from wherefore.batch import maps
from wherefore.batch.crops import canvas, corners, crops, merged
from wherefore.batch.maps import Asked, Explaining, TenCrop, packed, restored, seen, unpacked
from wherefore.batch.rows import SLICE, rows
from wherefore.batch.store import Store
from wherefore.datasets import Dataset, Sample, Unreadable, opened
from wherefore.errors import Error, ImageError


class Damaged(Dataset):
    """Scenes, of which some cannot be read and one was mended."""

    name, spec, split = "damaged", "damaged", "test"

    def __init__(self) -> None:
        self.scenes = opened("scenes:pair")
        self.classes = self.scenes.classes
        self.asked: list[int] = []

    def __len__(self) -> int:
        return 40

    def sample(self, number: int) -> Sample:
        self.asked.append(number)
        if number in (3, 20):
            raise Unreadable(Path(f"{number}.jpg"), "does not exist")
        found: Sample = self.scenes[number]
        return replace(found, notes=("box outside of the picture",)) if number == 5 else found


def names(samples: Sequence[Sample]) -> list[list[dict[str, Any]]]:
    return [[{"labels": list(each.labels)}] for each in samples]


def test_rows_come_in_order_and_bad_pictures_are_named() -> None:
    found = list(rows(Damaged(), range(40), names))
    assert [row["number"] for row in found] == list(range(40))
    assert found[3] == {"number": 3, "sample": "3.jpg", "error": "3.jpg does not exist.", "problem": "does not exist"}
    assert found[5]["notes"] == "box outside of the picture"
    assert "notes" not in found[6] and found[6]["sample"] == "scenes:pair/6"
    assert found[20]["problem"] == "does not exist"


def test_what_is_kept_is_not_done_again(tmp_path: Path) -> None:
    dataset = Damaged()
    first = list(rows(dataset, range(20), names, Store(tmp_path, "names", {"a": 1})))
    dataset.asked.clear()
    again = list(rows(dataset, range(40), names, Store(tmp_path, "names", {"a": 1})))
    assert [row["labels"] for row in again[:3]] == [row["labels"] for row in first[:3]]
    assert dataset.asked == list(range(SLICE, 40)), "the first slice is whole; the second had but four"
    dataset.asked.clear()
    assert len(list(rows(dataset, range(20), names, Store(tmp_path, "names", {"a": 2})))) == 20
    assert dataset.asked == list(range(20)), "other settings are another run"


def test_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    store = Store(tmp_path, "names", {})
    whole = list(rows(Damaged(), range(16), names, store))
    [file] = store.folder.glob("*.parquet")
    file.write_bytes(file.read_bytes()[:-20])
    assert store.read(range(16)) is None
    kept = list(rows(Damaged(), range(16), names, store))
    assert [row.get("labels") for row in kept] == [row.get("labels") for row in whole]
    assert store.read(range(16)) is not None


def test_work_that_fails_on_one_picture_names_it() -> None:
    def work(samples: Sequence[Sample]) -> list[list[dict[str, Any]]]:
        if any(each.name.endswith("/7") for each in samples):
            raise ImageError("the map of it is not finite.")
        return names(samples)

    found = list(rows(Damaged(), range(10), work))
    assert found[7]["error"] == "the map of it is not finite." and "labels" in found[6] and "labels" in found[8]


def test_work_that_fits_no_picture_ends_the_run() -> None:
    def work(samples: Sequence[Sample]) -> list[list[dict[str, Any]]]:
        raise Error("cam needs another network.")

    with pytest.raises(Error, match="cam needs another network"):
        list(rows(Damaged(), range(10), work))


def test_a_map_is_kept_in_shares_of_its_largest_value() -> None:
    dice = np.random.default_rng(0)
    for size in (1e-12, 1.0, 1e9):  # float16 itself ends at 6e-8 and 65,504
        heat = torch.from_numpy(dice.normal(size=(5, 7)) * size).float()
        assert torch.allclose(unpacked(packed(heat)), heat, atol=size * 5e-3, rtol=0)
    assert unpacked(packed(torch.zeros(3, 4))).equal(torch.zeros(3, 4))


@pytest.fixture(scope="module")
def vgg() -> wf.Model:
    return wf.load("scenes:vgg")


def by_name(model: wf.Model) -> dict[str, tuple[int, ...]]:
    return {name: (i,) for i, name in enumerate(model.classes or ())}


@pytest.mark.parametrize("method", ["grad-cam", "guided-grad-cam", "occlusion"])
def test_what_is_restored_is_the_explanation(vgg: wf.Model, method: str) -> None:
    dataset, numbers = opened("scenes:pair"), [4, 9]
    why = wf.Explainer(vgg, method, fit="squash")
    kept = list(rows(dataset, numbers, Explaining(why, Asked("labels", by_name(vgg)))))
    assert [row["name"] for row in kept] == [label for n in numbers for label in dataset[n].labels]
    for found, number in zip(seen(dataset, kept, vgg, {"method": method}), numbers, strict=True):
        sample = dataset[number]
        direct = why(sample.image, [list(sample.labels)])
        assert found.explanation.targets == direct.targets == [list(sample.labels)]
        assert torch.allclose(found.explanation.scores, direct.scores, atol=1e-5)
        for ours, theirs in zip(found.explanation.placed(0), direct.placed(0), strict=True):
            assert torch.allclose(ours, theirs, atol=2e-3 * float(theirs.abs().max()))


def test_classes_that_are_asked_for(vgg: wf.Model) -> None:
    sample, outputs = opened("scenes:pair")[0], by_name(vgg)
    label = sample.labels[0]
    scores = torch.arange(20.0)
    two = {**outputs, label: (outputs[label][0], 19)}
    assert Asked("labels", two).of(sample, scores)[0] == (label, 19), "the output with the highest score stands for it"
    top = Asked("top5", outputs).of(sample, scores)
    assert [c for _, c in top] == [19, 18, 17, 16, 15] and top[0][0] == (vgg.classes or ())[19]
    both = Asked("both", outputs).of(sample, scores)
    assert both[:5] == top and {name for name, _ in both} >= set(sample.labels)
    assert Asked("first", outputs).of(sample, scores) == top[:1], "whatever is in the picture"
    assert Asked("first", {}).of(sample, scores) == [("", top[0][1])]
    assert Asked("labels", {}).of(sample, scores) == []


def test_pictures_without_any_category_have_no_rows(vgg: wf.Model) -> None:
    why = wf.Explainer(vgg, fit="squash")
    outputs = {"dog": by_name(vgg)["dog"]}
    dataset = opened("scenes:pair")
    numbers = [n for n in range(60) if "dog" not in dataset[n].labels][:2]
    numbers.append(next(n for n in range(200) if "dog" in dataset[n].labels))
    kept = list(rows(dataset, numbers, Explaining(why, Asked("labels", outputs))))
    assert [(row["number"], row["category"]) for row in kept] == [(numbers[2], "dog")]


def test_settings_of_maps_tell_runs_apart(vgg: wf.Model) -> None:
    asked, dataset = Asked("labels", by_name(vgg)).about, opened("scenes:pair")
    plain = maps.about(wf.Explainer(vgg), asked, dataset)
    others = [
        maps.about(wf.Explainer(vgg, "grad-cam++"), asked, dataset),
        maps.about(wf.Explainer(vgg, layer="features.10"), asked, dataset),
        maps.about(wf.Explainer(vgg, fit="squash"), asked, dataset),
        maps.about(wf.Explainer(vgg, pooling="max"), asked, dataset),
        maps.about(wf.Explainer(vgg), Asked("top5", by_name(vgg)).about, dataset),
        maps.about(wf.Explainer(vgg), asked, opened("scenes:pair", "dev")),
        maps.about(wf.Explainer(wf.load("scenes:alexnet")), asked, dataset),
    ]
    assert all(other != plain for other in others)


# -------------------------------------------------------------------------------------------- ten crops


def test_crops_are_corners_and_middle_and_their_mirror_images() -> None:
    assert canvas(224) == 256 and corners(224) == [(0, 0), (32, 0), (0, 32), (32, 32), (16, 16)]
    picture = torch.rand(3, canvas(96), canvas(96))
    found = crops(picture, 96)
    end = canvas(96) - 96
    assert (
        len(found) == 10 and found[3].equal(picture[:, end:, end:]) and found[6].equal(picture[:, :96, end:].flip(-1))
    )


def test_merged_maps_equal_a_slow_sum() -> None:
    side, total = 28, canvas(28)
    maps = torch.rand(10, 4, 4)
    whole, covered = np.zeros((total, total)), np.zeros((total, total))
    for i, (x, y) in enumerate(corners(side) * 2):
        small = maps[i].numpy() if i < 5 else maps[i].numpy()[:, ::-1]
        for row in range(side):
            for column in range(side):
                a, b = ((v + 0.5) * 4 / side - 0.5 for v in (row, column))
                a, b = min(max(a, 0), 3), min(max(b, 0), 3)
                r, c = int(a), int(b)
                r1, c1 = min(r + 1, 3), min(c + 1, 3)
                top = small[r, c] * (1 - b + c) + small[r, c1] * (b - c)
                low = small[r1, c] * (1 - b + c) + small[r1, c1] * (b - c)
                whole[y + row, x + column] += top * (1 - a + r) + low * (a - r)
                covered[y + row, x + column] += 1
    assert np.allclose(merged(maps, side).numpy(), whole / covered, atol=1e-5)


def test_ten_crops_of_a_picture(vgg: wf.Model) -> None:
    dataset = opened("scenes:single")
    why = wf.Explainer(vgg, fit="squash")
    [row] = rows(dataset, [2], TenCrop(why, Asked("labels", by_name(vgg))))
    sample = dataset[2]
    e = restored(sample, [row], vgg, {"method": "grad-cam"})
    assert e.maps.shape == (1, 1, 110, 110) and row["grid"] == [10, 12, 12]
    squashed = replace(why.model.preprocess, squash=True, crop=110)  # type: ignore[type-var]
    with torch.no_grad():
        likely = vgg.net(torch.stack(crops(squashed(sample.image), 96))).sigmoid().mean(0)
    assert row["probability"] == pytest.approx(float(likely[row["target"]]), abs=1e-5)
    assert row["place"] == int((likely > likely[row["target"]]).sum())


# -------------------------------------------------------------------------------------------- killed


SLOWLY = """
import sys, time
from wherefore.batch.rows import rows
from wherefore.batch.store import Store
from wherefore.datasets import opened

def work(samples):
    time.sleep(0.15)
    return [[{"labels": ",".join(each.labels)}] for each in samples]

for row in rows(opened("scenes:pair"), range(160), work, Store(sys.argv[1], "names", {})):
    print(row["number"], row["labels"])
"""


def test_a_killed_run_ends_with_the_same_rows(tmp_path: Path) -> None:
    def command(folder: str) -> list[str]:
        return [sys.executable, "-c", SLOWLY, str(tmp_path / folder)]

    whole = subprocess.run(command("whole"), capture_output=True, text=True, check=True).stdout
    process = subprocess.Popen(command("killed"), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "killed").rglob("*.parquet"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    there = len(list((tmp_path / "killed").rglob("*.parquet")))
    assert 3 <= there < 10, "it was killed amidst"
    again = subprocess.run(command("killed"), capture_output=True, text=True, check=True).stdout
    assert again == whole and not list((tmp_path / "killed").rglob("*.part"))
