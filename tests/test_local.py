"""Explaining many files: order, bad files among good ones, names, folders."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

import wherefore as wf
from fixtures_doors import Brightness, photo
from wherefore.batch.local import FileRun, find_pictures
from wherefore.errors import Error

PREPROCESS = wf.Preprocess(resize=64, crop=48)
TOY = wf.Explainer(wf.Model(Brightness(), ["none", "bright", "brighter"], PREPROCESS, layer="cells", name="toy"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty good pictures and three bad ones, in folders."""
    source = tmp_path / "photos"
    (source / "more").mkdir(parents=True)
    for i in range(20):
        photo(60 + i, 50, seed=i).save(source / ("more" if i % 2 else "") / f"{i:02}.png")
    (source / "05-text.jpg").write_text("no picture")
    (source / "more" / "06-empty.JPG").touch()
    (source / "07-cut.png").write_bytes((source / "08.png").read_bytes()[:700])
    (source / "notes.txt").write_text("not looked at")
    return source


def test_pictures_are_found_below_folders_in_order(folder: Path) -> None:
    found = find_pictures([folder, "one.jpg"])  # a missing one is named later, by its report
    assert found[-1] == Path("one.jpg") and len(found) == 24
    assert found[:-1] == sorted(found[:-1]) and not any(p.suffix == ".txt" for p in found)
    (folder / "none").mkdir()
    with pytest.raises(Error, match=r"none holds no pictures \(\.bmp, "):
        find_pictures([folder / "none"])
    with pytest.raises(Error, match=r"one\.jpg does not exist\. two\.jpg does not exist\."):
        find_pictures(["one.jpg", "two.jpg"])


def test_an_earlier_runs_results_are_no_pictures(folder: Path) -> None:
    out = folder / "out"
    before = find_pictures([folder], out)
    list(FileRun(TOY, before, 1, out))
    assert len(list(out.glob("*.jpg"))) == 20
    assert find_pictures([folder], out) == before
    assert len(find_pictures([out])) == 20  # unless they are asked for
    with pytest.raises(Error, match="holds no pictures"):
        find_pictures([out], out)  # never the overlays of its own earlier runs


@pytest.mark.parametrize("batch_size", [1, 3, 8, 100])
def test_reports_come_in_order_with_the_bad_files_named(folder: Path, batch_size: int) -> None:
    paths = find_pictures([folder])
    reports = list(FileRun(TOY, paths, ["bright", 2], batch_size=batch_size))
    assert [r["image"] for r in reports] == [str(p) for p in paths]
    bad = [r for r in reports if "error" in r]
    assert [Path(r["image"]).name for r in bad] == ["05-text.jpg", "07-cut.png", "06-empty.JPG"]
    for report in bad:
        assert set(report) == {"image", "error"} and report["image"] in report["error"]
    for report, path in zip(reports, paths, strict=True):
        if "error" not in report:
            alone = wf.explain(TOY.model, path, target=["bright", 2]).report(0)
            assert report["size"] == alone["size"]
            for ours, theirs in zip(report["targets"], alone["targets"], strict=True):
                assert ours["score"] == pytest.approx(theirs["score"], rel=1e-5)
                assert (ours["box"], ours["peak"], ours["name"]) == (theirs["box"], theirs["peak"], theirs["name"])


def test_the_files_written_hold_the_maps(folder: Path, tmp_path: Path) -> None:
    paths = find_pictures([folder])
    run = FileRun(TOY, paths, ["bright", 2], tmp_path / "out")
    for report, path in zip(list(run), paths, strict=True):
        if "error" in report:
            continue
        files = [t["files"] for t in report["targets"]]
        saved = load_file(files[0]["maps"])
        assert list(saved) == ["maps"] and files[0]["maps"] == files[1]["maps"]
        torch.testing.assert_close(saved["maps"], wf.explain(TOY.model, path, target=["bright", 2]).maps[0])
        assert files[0]["overlay"] != files[1]["overlay"] and all(Path(f["overlay"]).is_file() for f in files)
    assert run.origin["model"] == "toy" and run.origin["layer"] == "cells"
    assert len(list((tmp_path / "out").iterdir())) == 20 * 3


def test_two_inputs_of_one_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    paths = [tmp_path / "a" / "cat.png", tmp_path / "b" / "cat.png", tmp_path / "cat.jpg"]
    for i, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        photo(60, 50, seed=i).save(path)
    reports = list(FileRun(TOY, paths, 1, tmp_path / "out"))
    files = [r["targets"][0]["files"]["maps"] for r in reports]
    assert [Path(f).name for f in files] == ["cat.safetensors", "cat-2.safetensors", "cat-3.safetensors"]
    maps = [load_file(f)["maps"] for f in files]
    assert not torch.equal(maps[0], maps[1]) and not torch.equal(maps[1], maps[2])


def test_bad_files_alone_leave_no_folder(tmp_path: Path) -> None:
    run = FileRun(TOY, [tmp_path / "none.jpg"], 1, tmp_path / "out")
    assert "does not exist" in next(iter(run))["error"]
    assert run.origin == {} and not (tmp_path / "out").exists()
    assert list(FileRun(TOY, [])) == []


@pytest.mark.parametrize("target", [torch.tensor([0, 1]), [[0], [1]]])
def test_a_run_has_the_same_targets_for_every_file(target: object) -> None:
    """Its batches would each take the first rows."""
    with pytest.raises(Error, match="same targets"):
        FileRun(TOY, [Path("a.png"), Path("b.png")], target)


def test_what_cannot_be_drawn_or_written_is_said_first(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for options, words in (
        ({"out": tmp_path / "file" / "out"}, "cannot be written"),
        ({"out": tmp_path, "colours": "hot"}, "no colour map"),
        ({"out": tmp_path, "scale": "both"}, "scale is"),
    ):
        with pytest.raises(Error, match=words):
            FileRun(TOY, [], **options)


def test_an_error_of_the_caller_ends_the_run(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(Error, match="class 9 is out of range"):
        list(FileRun(TOY, find_pictures([folder]), 9, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_picture_that_the_network_cannot_take(tmp_path: Path) -> None:
    """A black picture gives NaN in this network: it is named, the others are explained."""

    class Fragile(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x / x.sum((1, 2, 3), keepdim=True)).mean((2, 3))

    for i in range(4):
        Image.new("RGB", (32, 32), (0, 0, 0) if i == 0 else (90, 20 * i, 7)).save(tmp_path / f"{i}.png")
    model = wf.Model(Fragile().eval(), preprocess=wf.Preprocess(32, 32, (0, 0, 0), (1, 1, 1)))
    for size in (1, 8):
        run = FileRun(
            wf.Explainer(model, layer="conv"), sorted(tmp_path.glob("*.png")), 1, batch_size=size, out=tmp_path / "o"
        )
        reports = list(run)
        assert ["error" in r for r in reports] == [True, False, False, False]
        assert "0.png" in reports[0]["error"] and "not finite" in reports[0]["error"]
        assert run.origin["layer"] == "conv"


def test_output_beside_and_above_the_pictures(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (32, 32)).save(photos / "a.png")
    assert find_pictures([photos], tmp_path) == [photos / "a.png"]
    (tmp_path / "empty").mkdir()
    assert find_pictures([photos, tmp_path / "empty"]) == [photos / "a.png", tmp_path / "empty"]
