"""`wherefore batch`: rows are those of `explain`, runs go on where they were, and whatever is killed loses nothing."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import wherefore as wf
from wherefore.batch import run as runs
from wherefore.batch import shards
from wherefore.batch.engines import Finished, run
from wherefore.batch.results import unpacked
from wherefore.batch.run import Settings, locked

parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")
SCENES = Settings("scenes:vgg")
Row = dict[str, Any]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of 32, so that a few pictures are several of them."""
    monkeypatch.setattr(runs, "SHARD", 32)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty scenes as files of several kinds and sizes, four of them damaged."""
    folder = tmp_path_factory.mktemp("photos")
    for i in range(36):
        picture = wf.scenes.scene(i).image.resize((100 + i, 90))
        picture.save(folder / f"{i:02}.{('png', 'jpg', 'webp')[i % 3]}")
    whole = (folder / "01.jpg").read_bytes()
    (folder / "36.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "37.png").write_bytes(b"")
    (folder / "38.jpg").write_text("no picture")
    (folder / "39.png").write_bytes((folder / "00.png").read_bytes()[:60])
    return folder


def rows(folder: Path) -> list[Row]:
    files = sorted(folder.glob("*.parquet"))
    return [row for file in files for row in parquet.read_table(file).to_pylist()]


def counted(found: Finished) -> dict[str, Any]:
    return {name: value for name, value in found.report().items() if name not in ("folder", "errors")}


def test_rows_are_those_of_explain(photos: Path, tmp_path: Path) -> None:
    found = run(str(photos), tmp_path / "out", Settings("scenes:vgg", target=("top5",)))
    kept = rows(tmp_path / "out")
    assert counted(found) == {"pictures": 40, "before": 0, "of": 40, "missing": 0}
    assert sum(found.errors.values()) == 4 and len([row for row in kept if row["error"]]) == 4
    assert len(kept) == 36 * 5 + 4 and sorted({row["number"] for row in kept}) == list(range(40))
    paths = sorted({row["path"] for row in kept if not row["error"]})
    e = wf.explain(wf.load("scenes:vgg"), paths, "top5")
    for i, path in enumerate(paths):
        own, report = [row for row in kept if row["path"] == path], e.report(i)
        assert [own[0]["width"], own[0]["height"]] == report["size"]
        for t, (row, said) in enumerate(zip(own, report["targets"], strict=True)):
            assert (row["target"], row["name"]) == (said["index"], said["name"])
            assert [row[name] for name in ("score", "probability", "evidence")] == pytest.approx(
                [said[name] for name in ("score", "probability", "evidence")], rel=1e-5
            )
            assert [row["peak_x"], row["peak_y"]] == said["peak"]
            assert [row[f"box_{side}"] for side in ("x0", "y0", "x1", "y1")] == said["box"]
            assert np.allclose(unpacked(row), e.maps[i][t], rtol=2**-10, atol=1e-4 * float(e.maps[i][t].abs().max()))


@pytest.mark.parametrize("top", [1e-12, 3e-5, 0.2, 7.0, 3e4, 1e9])
def test_float16_holds_maps_of_any_size(top: float) -> None:
    import torch

    heat = torch.rand(7, 7, generator=torch.Generator().manual_seed(0)) * top
    row = shards._map(heat)
    assert row["map"].dtype == np.float16 and (row["scale"] == 1.0) == (0.0625 <= heat.max() <= 2**15)
    assert np.frexp(row["scale"])[0] == 0.5, "a power of two: multiplying by it is exact"
    assert np.allclose(unpacked(row), heat, rtol=2**-10, atol=top * 1e-6)


def test_a_run_goes_on_where_it_was(tmp_path: Path) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    run("scenes", whole, SCENES, limit=100)
    run("scenes", part, SCENES, limit=100)
    (part / "shard-000001.parquet").unlink()
    before = {path.name: path.stat().st_mtime_ns for path in part.glob("*.parquet")}
    found = run("scenes", part, SCENES, limit=100)
    assert counted(found) == {"pictures": 32, "before": 68, "of": 100, "missing": 0}
    assert all((part / name).stat().st_mtime_ns == then for name, then in before.items()), "none was made again"
    assert rows(part) == rows(whole)
    assert counted(run("scenes", part, SCENES, limit=100))["pictures"] == 0


def test_parts_make_the_whole(tmp_path: Path) -> None:
    for part in ("2/3", "1/3", "3/3"):
        run("scenes", tmp_path / "parts", SCENES, limit=100, part=part)
    run("scenes", tmp_path / "whole", SCENES, limit=100)
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


@pytest.mark.parametrize("part", ["0/3", "4/3", "3", "a/b", "-1/3", "1/0"])
def test_parts_that_are_none(tmp_path: Path, part: str) -> None:
    with pytest.raises(wf.Error, match="which part of how many"):
        run("scenes", tmp_path / "out", SCENES, limit=3, part=part)


def test_tar_files_are_read_in_place(photos: Path, tmp_path: Path) -> None:
    names = sorted(path.name for path in photos.iterdir())
    for k in range(2):
        with tarfile.open(tmp_path / f"{k}.tar", "w") as tar:
            for name in names[20 * k : 20 * k + 20]:
                tar.add(photos / name, name)
                label = tarfile.TarInfo(f"{Path(name).stem}.cls")
                label.size = 1
                tar.addfile(label, io.BytesIO(b"7"))
    run(str(tmp_path / "*.tar"), tmp_path / "tars", SCENES)
    run(str(photos), tmp_path / "files", SCENES)
    found, files = rows(tmp_path / "tars"), rows(tmp_path / "files")
    assert [Path(row["path"]).name for row in found] == [Path(row["path"]).name for row in files]
    same = [name for name in shards.TYPES if name not in ("path", "error")]
    assert [[row[name] for name in same] for row in found] == [[row[name] for name in same] for row in files]
    assert found[0]["path"] == f"{tmp_path / '0.tar'}/{names[0]}"


def test_a_compressed_tar_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w:gz"):
        pass
    with pytest.raises(wf.Error, match="is compressed: unpack it"):
        run(str(tmp_path / "*.tar"), tmp_path / "out", SCENES)


def test_a_list_and_what_is_added_later(photos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    run(str(folder), tmp_path / "out", SCENES)
    (tmp_path / "out/shard-000001.parquet").unlink()
    Image.new("RGB", (50, 50)).save(folder / "000.png")
    run(str(folder), tmp_path / "out", SCENES)
    assert len({row["path"] for row in rows(tmp_path / "out")}) == 40, "it is no part of the run that had begun"
    (folder / "list.txt").write_text("00.png\n\n02.webp\nmissing.png\n")
    found = run(str(folder / "list.txt"), tmp_path / "listed", SCENES)
    errors = [row["error"] or "" for row in rows(tmp_path / "listed")]
    assert found.pictures == 3 and errors[:2] == ["", ""] and "does not exist" in errors[2]


# -------------------------------------------------------------------------------------------- refused


def test_other_settings_are_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("scenes", out, SCENES, limit=40)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    for other in (
        lambda: run("scenes", out, SCENES, limit=41),
        lambda: run("scenes:pair", out, SCENES, limit=40),
        lambda: run("scenes", out, Settings("scenes:alexnet"), limit=40),
        lambda: run("scenes", out, Settings("scenes:vgg", target=("dog",)), limit=40),
        lambda: run("scenes", out, Settings("scenes:vgg", method="hires-cam"), limit=40),
    ):
        with pytest.raises(wf.Error, match="holds a run with other settings"):
            other()
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_folder_is_held_by_one_run(tmp_path: Path) -> None:
    with locked(tmp_path):
        for part in (None, "1/2"):
            with pytest.raises(wf.Error, match="another run is at work"), locked(tmp_path, part):
                pass
    with locked(tmp_path, "1/2"), locked(tmp_path, "2/2"):
        for part in (None, "1/2"):
            with pytest.raises(wf.Error, match="another run is at work"), locked(tmp_path, part):
                pass
    with locked(tmp_path):
        pass


@pytest.mark.parametrize(
    ("source", "words"),
    [("nowhere", "does not exist"), ("*.tar", "there is no file"), ("empty", "holds no pictures")],
)
def test_sources_that_are_none(source: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(wf.Error, match=words):
        run(source, tmp_path / "out", SCENES)
    assert not [*(tmp_path / "out").glob("*.json")] and not [*(tmp_path / "out").glob("*.parquet")]


def test_networks_of_other_things_are_refused(tmp_path: Path) -> None:
    with pytest.raises(wf.Error, match=r"question"):
        run("scenes", tmp_path / "out", Settings("scenes:vqa"), limit=3)


def test_a_full_disk_leaves_no_half_shard(tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", full], check=False).returncode
    ):
        pytest.skip("a small disk can be mounted by root alone")
    try:
        with pytest.raises(wf.Error, match=r"cannot be written \(No space left"):
            run("scenes", full / "out", Settings("scenes:vgg", target=("all",)), limit=200)
        there = sorted((full / "out").glob("*.parquet"))
        assert all(parquet.read_table(path).num_rows for path in there) and not list(full.rglob("*.part"))
    finally:
        subprocess.run(["umount", full], check=True)


# -------------------------------------------------------------------------------------------- killed


COMMAND = """
import sys, time
from pathlib import Path
from wherefore.batch import run as runs
runs.SHARD = 32
from wherefore.batch.engines import run
if __name__ == "__main__":
    devices = ["cpu"] * int(sys.argv[2])
    run("scenes", Path(sys.argv[1]), runs.Settings("scenes:vgg"), limit=320, devices=devices)
"""


def kills(folder: Path, times: int, seed: int) -> int:
    """Starts a run again and again, and kills it at random moments, with all of its processes; how often it did."""
    dice, done = np.random.default_rng(seed), 0
    for _ in range(times):
        process = subprocess.Popen([sys.executable, "-c", COMMAND, str(folder), "1"], start_new_session=True)
        shards_then = len(list(folder.glob("*.parquet"))) if folder.exists() else 0
        deadline = time.monotonic() + 120
        while len(list(folder.glob("*.parquet"))) <= shards_then < 9 and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(float(dice.uniform(0, 0.6)))
        done += process.poll() is None
        os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None
        process.wait()
    return done


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    run("scenes", tmp_path / "whole", SCENES, limit=320)
    assert kills(tmp_path / "killed", 4, 0) >= 3
    subprocess.run([sys.executable, "-c", COMMAND, str(tmp_path / "killed"), "1"], check=True)
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")


@pytest.mark.slow
def test_a_process_that_dies_is_replaced(tmp_path: Path) -> None:
    run("scenes", tmp_path / "whole", SCENES, limit=320)
    process = subprocess.Popen([sys.executable, "-c", COMMAND, str(tmp_path / "out"), "2"])
    import psutil

    deadline = time.monotonic() + 120
    while not list((tmp_path / "out").glob("*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = [p for p in psutil.Process(process.pid).children() if "spawn_main" in " ".join(p.cmdline())]
    assert len(workers) == 2
    workers[0].kill()
    assert process.wait(240) == 0
    assert sorted(rows(tmp_path / "out"), key=lambda row: row["number"]) == rows(tmp_path / "whole")


# -------------------------------------------------------------------------------------------- read back


def test_results_are_the_explanations(photos: Path, tmp_path: Path) -> None:
    run(str(photos), tmp_path / "out", Settings("scenes:vgg", target=("dog", "car")))
    results = wf.open_results(tmp_path / "out")
    path = str(photos / "05.webp")
    e, again = wf.explain(wf.load("scenes:vgg"), path, ["dog", "car"]), results[path]
    assert again.targets == e.targets and again.report(0)["targets"][1]["box"] == e.report(0)["targets"][1]["box"]
    drawn, redrawn = (np.asarray(each.overlay()[0], float) for each in (e, again))
    assert np.abs(drawn - redrawn).mean() < 0.5, "the same picture, but for float16"
    said = results.statistics()
    assert said["pictures"] == said["of"] == 40 and said["rows"] == 36 * 2 + 4 and sum(said["errors"].values()) == 4
    assert said["targets"]["dog"]["count"] == 36 and results.complete
    probabilities = [row["probability"] for row in rows(tmp_path / "out") if row["name"] == "dog"]
    assert said["targets"]["dog"]["probability"] == pytest.approx(np.mean(probabilities), rel=1e-5)
    with pytest.raises(wf.Error, match="cannot be read"):
        _ = results[str(photos / "36.jpg")]
    with pytest.raises(wf.Error, match="has no picture"):
        _ = results["nothing.jpg"]


def test_rows_are_selected(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("duckdb", reason="needs duckdb")
    run(str(photos), tmp_path / "out", Settings("scenes:vgg", target=("dog",)))
    results, kept = wf.open_results(tmp_path / "out"), rows(tmp_path / "out")
    upper = "list_sum(map[1:grid_w * (grid_h // 3)]) > 0.5 * list_sum(map)"
    by_hand = [
        row["path"]
        for row in kept
        if not row["error"] and np.sum(row["map"][: row["grid_w"] * (row["grid_h"] // 3)]) > 0.5 * np.sum(row["map"])
    ]
    assert [*results.select(upper, ("path",), "ORDER BY path")["path"]] == sorted(by_hand) and by_hand
    page = results.page(tmp_path / "page", upper)
    text = page.read_text()
    assert all(Path(path).name in text for path in by_hand) and text.count("<img") == len(by_hand)
    with pytest.raises(wf.Error, match="selects nothing"):
        results.select("nonsense ==")
    with pytest.raises(wf.Error, match="no row"):
        results.page(tmp_path / "page", "score > 1e9")


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(wf.Error, match="holds no run"):
        wf.open_results(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(wf.Error, match="cannot be read"):
        wf.open_results(tmp_path)


def test_the_command(photos: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "wherefore",
        "batch",
        str(photos),
        "--model",
        "scenes:vgg",
        "--out",
        "out",
        "--json",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, "some could not be read"
    said = json.loads(done.stdout)
    assert said["pictures"] == 40 and sum(said["errors"].values()) == 4
    again = subprocess.run([*command[:-1], "--limit", "3"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 2 and again.stderr.count("\n") == 1 and "other settings" in again.stderr


@pytest.mark.slow
def test_ray_makes_the_same_rows(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs Ray")
    code = COMMAND.replace("devices=devices)", "engine='ray')")
    run("scenes", tmp_path / "local", SCENES, limit=320)
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "ray"), "1"], check=True, timeout=300)
    assert rows(tmp_path / "ray") == rows(tmp_path / "local")
