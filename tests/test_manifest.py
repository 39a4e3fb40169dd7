"""Pictures with groups and regions: a list of one's own, what is wrong with it, and the drawn people."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wherefore.batch.rows import rows as looped
from wherefore.datasets import Dataset, Unreadable, opened, report
from wherefore.errors import Error
from wherefore.scenes import people

HEADER = ("path", "label", "group", "split", "regions")
List = Callable[..., Path]


@pytest.fixture
def listed(tmp_path: Path) -> List:
    """What writes a list beside two pictures of 6 x 4 pixels and a mask."""
    for name in ("a.png", "b.png"):
        Image.new("RGB", (6, 4), "navy").save(tmp_path / name)
    mask = np.zeros((4, 6), np.uint8)
    mask[1, 2:4] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    Image.fromarray(mask[:2]).save(tmp_path / "small.png")

    def write(*rows: Sequence[str], header: Sequence[str] = HEADER) -> Path:
        with (tmp_path / "list.csv").open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        return tmp_path / "list.csv"

    return write


def of(path: Path, split: str = "test") -> Dataset:
    return opened(f"manifest:{path}", split)


def test_a_list_by_hand(listed: List) -> None:
    regions = '{"hair": [1, 0, 2, 1], "hands": [[0, 3, 0, 3], [4, 3, 99, 3]], "coat": "mask.png"}'
    found = of(listed(("b.png", "nurse", "short", "test", regions), ("a.png", "doctor", "long", "val", "")))
    assert [each.name for each in found] == ["b.png"] and found.classes == ("doctor", "nurse")
    [sample] = found
    assert sample.labels == ("nurse",) and sample.group == "short" and sample.size == (6, 4)
    assert {name: int(mask.sum()) for name, mask in sample.parts.items()} == {"hair": 4, "hands": 3, "coat": 2}
    assert sample.parts["hair"][:2, 1:3].all() and sample.parts["coat"][1, 2:4].all()
    assert all(mask.shape == (4, 6) and mask.dtype == bool for mask in sample.parts.values())
    other = of(listed(("a.png", "doctor", "long", "val", "")), "dev")
    assert other[0].group == "long" and other[0].parts == {}


def test_the_column_of_regions_may_be_missing(listed: List) -> None:
    assert of(listed(("a.png", "doctor", "", "test"), header=HEADER[:4]))[0].parts == {}


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (("../a.png", "x", "", "test", ""), "names a file outside of its folder"),
        (("none.png", "x", "", "test", ""), "does not exist"),
        (("list.csv", "x", "", "test", ""), "is not a picture"),
        (("a.png", "x", "", "test", "hair"), "are no JSON object of names"),
        (("a.png", "x", "", "test", "[1, 2, 3, 4]"), "are no JSON object of names"),
        (("a.png", "x", "", "test", '{"hair": [1, 2, 3]}'), "has a box that is not four numbers"),
        (("a.png", "x", "", "test", '{"hair": 3}'), "has a box that is not four numbers"),
        (("a.png", "x", "", "test", '{"hair": "../mask.png"}'), "names a file outside of its folder"),
        (("a.png", "x", "", "test", '{"hair": "none.png"}'), "does not exist"),
        (("a.png", "x", "", "test", '{"hair": "small.png"}'), "is no mask of its picture, which has 6x4 pixels"),
    ],
)
def test_what_is_wrong_with_a_picture_is_one_sentence(listed: List, row: Sequence[str], sentence: str) -> None:
    found = of(listed(row, ("b.png", "y", "", "test", "")))
    with pytest.raises(Unreadable, match=sentence):
        _ = found[0].parts
    told = report(found)
    assert told["usable"] == 1 and len(told["problems"]) == 1, "the other one can be used"


def test_what_is_wrong_with_a_list_is_one_sentence(listed: List, tmp_path: Path) -> None:
    for rows, header, sentence in (
        ([("a.png", "x")], ("path", "label"), "has no column group and no column split"),
        ([("a.png", "", "", "test", "")], HEADER, "has a row without a path or without a label"),
        ([("a.png", "x", "", "test", "")] * 2, HEADER, "names a picture twice"),
        ([("a.png", "x", "", "train", "")], HEADER, "has no pictures of the split 'test': there is train"),
        ([], HEADER, "there is nothing"),
    ):
        with pytest.raises(Error, match=sentence):
            of(listed(*rows, header=header))
    for spec, sentence in (("manifest", "does not exist"), (f"manifest:{tmp_path}", "is no file")):
        with pytest.raises(Error, match=f"{sentence}: expected is manifest:FILE"):
            opened(spec)


def test_a_list_is_another_when_a_file_is(listed: List, tmp_path: Path) -> None:
    path = listed(("a.png", "x", "", "test", '{"hair": "mask.png"}'))
    before = of(path).fingerprint
    (tmp_path / "page.html").write_text("results beside the list change nothing")
    assert of(path).fingerprint == before
    Image.new("L", (6, 4), 9).save(tmp_path / "mask.png", compress_level=0)
    assert of(path).fingerprint != before


def test_a_list_is_another_when_what_a_link_leads_to_is(listed: List, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    Image.new("RGB", (6, 4), "red").save(tmp_path / "elsewhere" / "c.png")
    (tmp_path / "c.png").symlink_to(tmp_path / "elsewhere" / "c.png")
    path = listed(("c.png", "x", "", "test", ""))
    before = of(path).fingerprint
    Image.new("RGB", (6, 4), "blue").save(tmp_path / "elsewhere" / "c.png", compress_level=0)
    assert of(path).fingerprint != before


@pytest.mark.parametrize("row", [("a.png", "x", "", "test", "hair"), ("../a.png", "x", "", "test", "")])
def test_a_bad_row_does_not_end_a_run(listed: List, row: Sequence[str]) -> None:
    found = of(listed(row, ("b.png", "y", "", "test", "")))
    assert found.fingerprint != of(listed(("b.png", "y", "", "test", ""))).fingerprint
    kept = list(looped(found, [0, 1], lambda samples: [[{"label": each.labels[0]}] for each in samples]))
    assert ["error" in each for each in kept] == [True, False] and kept[1]["label"] == "y"


def test_people_are_half_and_half_and_their_parts_are_those_that_were_drawn() -> None:
    found = opened("scenes:people")
    assert found.classes == ("doctor", "nurse") and found.drawn and not found.comparable and len(found) == 2000
    for number in (0, 3):
        sample, figure = found[number], people.figure(number)
        assert sample.labels == (figure.label,) and sample.group == f"{figure.hair} hair"
        assert sample.image.tobytes() == figure.image.tobytes() and sample.size == figure.image.size
        assert (sample.parts["hair"] | sample.parts["face"]).sum() == figure.head.sum()
        clothing = sum(figure.masks[part].sum() for part in ("clothes", "arms", "stethoscope"))
        assert sample.parts["clothing"].sum() == clothing
    dev = opened("scenes:people", "dev")
    counts = [each.group for each in (dev.sample(i) for i in range(200)) if each.labels == ("nurse",)]
    assert counts.count("long hair") == 50 and len(counts) == 100
    with pytest.raises(Error, match="scenes:people, not scenes:persons"):
        opened("scenes:persons")
