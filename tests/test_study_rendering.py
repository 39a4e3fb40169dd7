"""What people are shown, against a slow reference; the folder of a study, its page, and the command that makes it."""

from __future__ import annotations

import io
import json
import math
import os
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

import page_reader
from wherefore.cli import main
from wherefore.errors import Error
from wherefore.study import making
from wherefore.study.design import Design
from wherefore.study.making import make
from wherefore.study.plan import read
from wherefore.study.rendering import drawn, grey, noise, photograph
from wherefore.study.texts import CONTACT, duration, texts

SMALL = Design("class-discrimination", pairs=2, ratings=2, workers=4, methods=("guided-backprop",))


def shades(pixels: list[list[list[float]]]) -> list[list[list[int]]]:
    """The protocol's rule, value by value: 0 is grey, the 99.5 percentile of all absolute values black or white."""
    values = sorted(abs(v) for channel in pixels for row in channel for v in row)
    place = 0.995 * (len(values) - 1)
    low, share = values[math.floor(place)], place % 1
    top = low + share * (values[math.ceil(place)] - low) or values[-1] or 1.0
    height, width = len(pixels[0]), len(pixels[0][0])
    return [
        [[round(255 * (0.5 + 0.5 * min(1, max(-1, pixels[c][y][x] / top)))) for c in range(3)] for x in range(width)]
        for y in range(height)
    ]


def some(seed: int, side: int = 14, share: float = 1.0) -> list[list[list[float]]]:
    dice = random.Random(seed)
    return [[[dice.gauss(0, 3) * (dice.random() < share) for _ in range(side)] for _ in range(side)] for _ in range(3)]


@pytest.mark.parametrize("share", [1.0, 0.2, 0.004])  # the last: fewer values than the percentile leaves out
def test_grey_is_the_protocol_s_rule(share: float) -> None:
    pixels = some(3, share=share)
    assert any(v for channel in pixels for row in channel for v in row)
    assert grey(np.array(pixels)).tolist() == shades(pixels)


def test_grey_is_joint_over_channels_and_keeps_signs() -> None:
    pixels = np.zeros((3, 10, 10))
    pixels[0, :5], pixels[1, :5], pixels[2, :5] = 2.0, 1.0, -2.0
    assert grey(pixels)[0, 0].tolist() == [255, 191, 0] and grey(pixels)[9, 9].tolist() == [128, 128, 128]
    assert (grey(1e-9 * pixels) == grey(pixels)).all(), "the scale of a map makes no difference"
    assert (grey(np.zeros((3, 4, 4))) == 128).all()


def test_drawn_is_two_by_two_of_224_and_the_nearest_of_others() -> None:
    pixels = np.random.default_rng(0).normal(size=(3, 224, 224))
    large = np.asarray(Image.open(io.BytesIO(drawn(pixels))))
    assert (large == grey(pixels).repeat(2, 0).repeat(2, 1)).all()
    small = np.random.default_rng(1).normal(size=(3, 96, 96))
    large, own = np.asarray(Image.open(io.BytesIO(drawn(small)))), grey(small)
    for y, x in [(0, 0), (447, 447), (100, 300), (223, 224)]:
        assert (large[y, x] == own[int((y + 0.5) * 96 / 448), int((x + 0.5) * 96 / 448)]).all()


def test_noise_is_the_same_pixels_elsewhere() -> None:
    pixels = np.random.default_rng(0).normal(size=(3, 8, 9))
    mixed = noise(pixels, 5)
    before, after = ({tuple(p) for p in m.reshape(3, -1).T} for m in (pixels, mixed))
    assert before == after and (mixed != pixels).mean() > 0.8 and (noise(pixels, 5) == mixed).all()


def test_a_photograph_leaves_its_metadata_behind() -> None:
    buffer, said = io.BytesIO(), PngImagePlugin.PngInfo()
    said.add_text("title", "a cat")
    picture = Image.new("RGB", (20, 10), (200, 10, 10))
    picture.save(buffer, "PNG", pnginfo=said, icc_profile=b"x" * 200, dpi=(72, 72))
    content = photograph(Image.open(buffer))
    assert not Image.open(io.BytesIO(content)).info and b"cat" not in content and b"iCCP" not in content


# -------------------------------------------------------------------------------------------- the folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "study"
    make(SMALL, folder)
    return folder


def test_the_folder_is_the_same_byte_for_byte(study: Path, tmp_path: Path) -> None:
    plan = make(SMALL, tmp_path / "elsewhere" / "again")
    assert contents(study) == contents(tmp_path / "elsewhere" / "again")
    assert read(study) == read(tmp_path / "elsewhere" / "again") and read(study).digest == plan.digest
    assert {*contents(study)} == {
        "how.html",
        "study.json",
        *(f"pictures/{f}" for i in plan.by_id.values() for f in i.files),
    }
    assert os.listdir(study.parent) == ["study"], "nothing half-written stays"
    assert study.stat().st_mode & 0o777 == 0o777 & ~making._umask()


def test_files_are_written_in_the_order_of_their_names(study: Path) -> None:
    pictures = sorted((study / "pictures").iterdir())
    assert [f.stat().st_mtime_ns for f in pictures] == sorted(f.stat().st_mtime_ns for f in pictures)


def test_a_folder_that_holds_something_else_is_left_as_it_is(study: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(Error, match="is not empty, and holds no study: give another folder"):
        make(SMALL, tmp_path / "mine")
    assert contents(tmp_path / "mine") == {"notes.txt": b"keep"}
    (study / "study.sqlite").write_bytes(b"answers")
    before = contents(study)
    make(SMALL, study)
    assert contents(study) == before, "the same study: with its answers"
    with pytest.raises(Error, match="holds another study, which is left as it is"):
        make(Design("class-discrimination", pairs=2, ratings=1, workers=4, methods=("guided-backprop",)), study)
    assert contents(study) == before
    (study / "study.sqlite").unlink()


def test_nothing_stays_of_what_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(made: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(making, "overview", stopped)
    with pytest.raises(KeyboardInterrupt):
        make(SMALL, tmp_path / "study")
    assert not list(tmp_path.iterdir())


def test_where_nothing_can_be_written_nothing_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(making, "stimuli", lambda design: pytest.fail("made before it was looked at the folder"))
    with pytest.raises(Error, match="give another folder"):
        make(SMALL, tmp_path / "file" / "study")


# -------------------------------------------------------------------------------------------- page, texts, command


def test_the_page_shows_items_with_their_answers(study: Path) -> None:
    page, plan = page_reader.check(study / "how.html"), read(study)
    words = " ".join(page.words.split())
    assert "photographs that participants must not see" in words and "Numbers on scenes are not the paper's" in words
    assert "2 x 1 methods" in words and "4: 2 of each item, by 2 different people" in words
    for item in plan.items:
        other = next(option for option in item.options if option != item.truth)
        assert f"{item.truth}, not {other}" in words
    assert "catch trials are plain photographs" in words and CONTACT in words
    shown = [page_reader.picture(each["src"]) for each in page.all("img")]
    # of each of 2 items photograph and map, and 2 catch trials
    assert len(shown) == 2 * 2 + 2
    first = np.asarray(Image.open(study / "pictures" / plan.items[0].files[0]), float)
    assert np.abs(np.asarray(shown[1], float) - first).mean() < 4


def test_texts_say_how_many_and_how_long() -> None:
    # 78 trials of 8 s and 2 minutes are 12.4 minutes; 32 of 12 s and 2 minutes 8.4
    assert duration("class-discrimination", 78) == 15 and duration("trust", 32) == 10
    own = texts("trust", 32)
    assert "32 screens" in own["consent"] and "10 minutes" in own["consent"] and "{category}" in own["question"]
    for word in ("voluntary", "stop at any time", "hashed", "deleted"):
        assert word in own["consent"]
    assert own.keys() == texts("class-discrimination", 78).keys() == {
        "title", "consent", "instructions", "question", "done", "contact"
    }  # fmt: skip


def test_the_command_makes_both_kinds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wherefore.study.choosing.MEASURED", 5)
    out = tmp_path / "trust"
    words = ["--pairs", "1", "--ratings", "3", "--workers", "3", "--method", "guided-grad-cam", "--out", str(out)]
    with pytest.raises(SystemExit) as ended:
        main(["study", "init", "trust", "--model", "scenes:vgg", "--model", "scenes:alexnet", *words])
    said = capsys.readouterr().out
    assert not ended.value.code and str(out / "how.html") in said
    [power] = [line for line in said.splitlines() if "are told apart in" in line]
    assert power in (out / "how.html").read_text(), "the power, before anybody is asked"
    assert "1 items x 3 ratings: 3 answers, by 3 people with 1 trials and 2 catch trials each" in said
    page = page_reader.check(out / "how.html")
    assert "Both said:" in page.words and "of 5 pictures" in page.words
    assert json.loads((out / "study.json").read_text())["kind"] == "trust"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["discrimination"], "no kind of study is called 'discrimination'"),
        (["trust", "--model", "scenes:vgg"], "trust is about 2 networks, not 1: give --model once for each."),
        (["class-discrimination", "--workers", "5"], "give --workers 18 or more"),
    ],
)
def test_what_the_user_can_mend_is_one_line(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["study", "init", *words, "--out", str(tmp_path / "study")])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and said in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())
