"""Two networks compared: planted maps, cases by hand, and runs that lose what they kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import wherefore as wf
from page_reader import check
from wherefore import cli
from wherefore.batch.maps import Seen, packed, restored
from wherefore.datasets import Instance, Sample, opened
from wherefore.datasets.pictures import Pictures
from wherefore.diagnosis.comparing import Pair, pair, together
from wherefore.errors import Error
from wherefore.experiments.comparing import ALIKE, ENERGY, HIT, RIGHT, SAME, compare, in_common, measured

NAN = float("nan")
MODEL = wf.Model(nn.Identity(), ("cat", "dog"), name="planted")
COMMON = {0: (0,), 1: (1,)}


def planted(
    heats: list[tuple[str, Tensor]], number: int = 0, instances: bool = True, parts: dict[str, Any] | None = None
) -> Seen:
    """What a network would have said of a picture of 8x8 with a cat in its upper left quarter, by its maps."""
    things = (Instance("cat", (0, 0, 3, 3)),) if instances else ()
    sample = Sample(f"picture {number}", lambda: Image.new("RGB", (8, 8)), ("cat",), things, parted=lambda: parts or {})
    about = {"width": 8, "height": 8, "region": [0.0, 0.0, 8.0, 8.0], "input": [8, 8], "filled": [1.0, 1.0]}
    rows = [
        {
            **about, "number": number, "sample": sample.name, "category": name, "name": name, "score": 1.0,
            "probability": 0.5, "target": ("cat", "dog").index(name), "patches": None, **packed(heat),
        }
        for name, heat in heats
    ]  # fmt: skip
    settings = {"method": "grad-cam", "layer": None, "fit": "squash", "options": {}}
    return Seen(sample, rows, restored(sample, rows, MODEL, settings))


def block(y: int, x: int, size: int = 4, base: float = 0.0) -> Tensor:
    """A map of 8x8 that is 1 in a square and something else beyond."""
    heat = torch.full((8, 8), base)
    heat[y : y + size, x : x + size] = 1
    return heat


def test_a_pair_by_hand() -> None:
    on, beside = block(0, 0), block(0, 2)
    found = pair(planted([("cat", on)]), planted([("dog", block(5, 5, 3)), ("cat", beside)]), COMMON)
    assert found.same is False and found.right == (True, False)
    assert found.energy(0) == 1 and found.hit(0) == 1 and found.area == 0.25
    assert found.energy(1) == pytest.approx(0.5) and found.hit(1) == 1, "its peak, the first, is still on it"
    assert found.shared == 0 and found.ranks < 0, "the maps of the answers"
    same = pair(planted([("cat", on)]), planted([("cat", 3 * on)]), COMMON)
    assert same.same and same.ranks == pytest.approx(1) and same.shared == 1
    assert found.alike < same.alike, "those that differ come first"
    assert pair(planted([("cat", on)]), planted([("cat", on)]), None).same is None


def test_a_map_without_evidence_lies_nowhere() -> None:
    found = pair(planted([("cat", block(0, 0))]), planted([("cat", torch.zeros(8, 8))]), COMMON)
    assert np.isnan([found.ranks, found.shared]).all()
    assert found.energy(1) == found.hit(1) == 0 and found.energy(0) == 1


def test_without_annotation_nothing_is_said_of_objects() -> None:
    kept = [planted([("cat", block(0, 0))], i, instances=False) for i in range(3)]
    rows, verdicts = measured(("a", "b"), [pair(each, each, COMMON) for each in kept])
    assert not verdicts and ENERGY not in {each["measure"] for each in rows}
    assert rows[0]["measure"] == SAME and rows[0]["value"] == 1


def pairs(count: int, energies: tuple[float, float]) -> list[Pair]:
    """Pictures on which two networks look at the object so much, give or take a little."""
    dice = np.random.default_rng(0)
    found = []
    for number in range(count):
        maps = []
        for energy in energies:
            share = float(np.clip(energy + dice.normal(0, 0.1), 0.05, 0.95))
            heat = torch.full((8, 8), (1 - share) / 48)
            heat[:4, :4] = share / 16
            maps.append(planted([("cat", heat)], number))
        found.append(pair(*maps, COMMON))
    return found


def test_the_network_that_looks_at_the_object_is_found() -> None:
    for energies, holds in (((0.7, 0.5), "a"), ((0.4, 0.6), "b")):
        rows, [verdict] = measured(("a", "b"), pairs(40, energies))
        assert verdict.claim.startswith(f"{holds} looks at the object more") and verdict.holds and verdict.clear
        value = {(r["name"], r["network"], r["measure"]): r["value"] for r in rows}
        assert value["grad-cam", "a", ENERGY] == pytest.approx(energies[0], abs=0.05)
        assert value["difference", "a - b", ENERGY] == pytest.approx(energies[0] - energies[1], abs=0.07)
        assert value["an even map", "", ENERGY] == 0.25
    rows, [verdict] = measured(("a", "b"), pairs(40, (0.5, 0.5)))
    assert not verdict.clear and "may be chance" in verdict.word
    _, [verdict] = measured(("a", "b"), pairs(5, (0.9, 0.2)))
    assert not verdict.clear, "five pictures say nothing for certain"


def test_only_pictures_of_both_are_compared() -> None:
    one = [planted([("cat", block(0, 0))], number) for number in (1, 2, 5, 9)]
    other = [planted([("cat", block(0, 0))], number) for number in (0, 2, 3, 9, 11)]
    assert [[each.rows[0]["number"] for each in two] for two in together(one, other)] == [[2, 2], [9, 9]]
    assert list(together(one, [])) == []


def test_outputs_in_common() -> None:
    def model(*names: str) -> wf.Model:
        return wf.Model(nn.Identity(), names)

    assert in_common(model("cat", "dog", "cat"), model("cat", "dog", "cat")) == {0: (0,), 1: (1,), 2: (2,)}
    assert in_common(model("cat", "dog", "car"), model("Dog", "tree", "cat")) == {0: (2,), 1: (0,)}
    assert in_common(model("cat", "dog"), model("one", "two")) is None


def test_a_network_without_an_output_for_the_label_is_neither_right_nor_wrong() -> None:
    one, other = planted([("cat", block(0, 0))]), planted([("dog", block(0, 0))])
    assert pair(one, other, None).right == (True, None), "the second has no map of a cat, for it has no such output"
    rows, _ = measured(("a", "b"), [pair(one, other, None)] * 3)
    assert [row["network"] for row in rows if row["measure"] == RIGHT and row["n"]] == ["a"]


def test_regions_of_a_manifest_by_hand() -> None:
    ear, tail = np.zeros((2, 8, 8), bool)
    ear[0:2, 0:4], tail[4:, 4:] = True, True
    parts = {"ear": ear, "tail": tail}
    one = planted([("dog", block(4, 4)), ("cat", block(0, 0))], 0, False, parts)
    other = planted([("cat", torch.zeros(8, 8))], 0, False, parts)
    found = pair(one, other, COMMON)
    assert not found.looked[0] and found.parts[0]["ear"].energy == 0.5, "the map of its label, and not of the answer"
    assert found.parts[0]["tail"].energy == found.parts[1]["ear"].energy == 0 and found.parts[0]["ear"].area == 0.125
    rows, verdicts = measured(("a", "b"), [found] * 3)
    value = {(r["name"], r["network"], r["measure"]): r["value"] for r in rows}
    assert value["grad-cam", "a", "share of the map on `ear`"] == 0.5
    assert value["difference", "a - b", "share of the map on `ear`"] == 0.5
    assert value["an even map", "", "share of the map on `tail`"] == 0.25 and not verdicts
    unknown = pair(one, planted([("dog", block(0, 0))], 0, False, parts), None)
    assert not unknown.parts[0], "the second has no output for the label"


# -------------------------------------------------------------------------------------------- runs


def test_a_network_beside_itself(tmp_path: Path) -> None:
    model = wf.load("scenes:alexnet")
    found = compare((model, replace(model)), opened("scenes:pair"), tmp_path, 6)
    rows = {(r["name"], r["measure"]): r["value"] for r in found.json()["rows"]}
    assert rows["both", SAME] == 1 and rows["both", ALIKE] == pytest.approx(1)
    assert rows["difference", ENERGY] == rows["difference", HIT] == 0
    assert [each["claim"] for each in found.json()["verdicts"]] == ["Both look at the object equally"]
    assert list(found.json()["networks"]) == ["scenes:alexnet", "scenes:alexnet (2)"]
    files = sorted(tmp_path.rglob("*.parquet"))
    files[0].unlink()
    assert compare((model, replace(model)), opened("scenes:pair"), tmp_path, 6).json() == found.json()
    page = check(found.save(tmp_path))
    assert len(page.all("article")) == 6 and json.loads((tmp_path / "compare.json").read_text())["n"] == 6


def command(*line: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["compare", *line])
    return int(stopped.value.code or 0)


def test_pictures_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "photo.png"
    opened("scenes")[3].image.save(photo)
    both = ["--model", "scenes:alexnet", "--model", "scenes:vgg-cam", "--out", str(tmp_path / "out")]
    assert command("scenes:17", str(photo), *both, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    by_name: dict[str, Any] = {each["image"]: each for each in found["images"]}
    scene, plain = by_name["scenes:17"], by_name[str(photo)]
    assert all(0 <= each["energy"] <= 1 and each["right"] is not None for each in scene["networks"])
    assert all(each["energy"] is None and each["right"] is None for each in plain["networks"])
    assert found["n"] == 2 and [each["network"] for each in plain["networks"]] == ["scenes:alexnet", "scenes:vgg-cam"]


def test_what_goes_wrong_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(b"no picture")
    two = ["--model", "scenes:vgg", "--model", "scenes:alexnet", "--out", str(tmp_path / "out")]
    for line, sentence in (
        ([*two], "give pictures, or a data set"),
        (["scenes:1", "--data", "scenes", *two], "give pictures, or a data set"),
        (["scenes:1", "--model", "scenes:vgg"], "give --model twice"),
        ([str(tmp_path / "nothing.png"), *two], "does not exist"),
        ([str(damaged), *two], "no picture of pictures can be read"),
    ):
        assert command(*line) == 2
        printed = capsys.readouterr().err
        assert sentence in printed and printed.count("\n") == 1, printed
    assert not (tmp_path / "out" / "compare.json").exists()


def test_named_pictures_are_a_data_set(tmp_path: Path) -> None:
    Image.new("RGB", (5, 4)).save(tmp_path / "a.png")
    some = Pictures([tmp_path / "a.png", "scenes:17"])
    assert [each.size for each in some] == [(5, 4), (128, 128)] and some[1].instances and not some[0].labels
    before = some.fingerprint
    Image.new("RGB", (6, 4)).save(tmp_path / "a.png")
    assert Pictures([tmp_path / "a.png", "scenes:17"]).fingerprint != before
    with pytest.raises(Error, match="does not exist"):
        _ = Pictures([tmp_path / "b.png"])[0]
    assert some.spec == "pictures" and Pictures(["scenes:1", "scenes:2"]).spec == "scenes:1 and 1 more"


def test_scenes_named_one_by_one_are_said_to_be_drawn(tmp_path: Path) -> None:
    model = wf.load("scenes:alexnet")
    page = check(compare((model, replace(model)), Pictures(["scenes:1"]), tmp_path).save(tmp_path))
    assert "a stand-in for photographs" in page.words
