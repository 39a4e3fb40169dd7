"""`wherefore batch`: rows are those of `explain`, runs go on where they were, and whatever is killed loses nothing."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import wherefore as wf
from wherefore.batch import run as runs
from wherefore.batch import shards
from wherefore.batch.engines import Finished, run
from wherefore.batch.results import unpacked
from wherefore.batch.run import Settings, locked
from wherefore.copying import Copier

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


def bomb(side: int) -> bytes:
    """A PNG file of a few bytes whose header promises a square of so many pixels a side, all there is of it zeros."""
    parts = [(b"IHDR", struct.pack(">2I5B", side, side, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(a)) + kind + a + struct.pack(">I", zlib.crc32(kind + a)) for kind, a in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_a_tenth_of_the_files_is_broken(tmp_path: Path) -> None:
    folder, private = tmp_path / "photos", Path("/sys/bus/cpu/drivers_probe")  # that one may be written alone
    (folder / "folder.jpg").mkdir(parents=True)
    wf.scenes.scene(0).image.save(folder / "folder.jpg" / "inside.png")
    for i in range(1, 63):
        wf.scenes.scene(i).image.save(folder / f"{i:02}.jpg")
    whole = (folder / "01.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("no picture")
    (folder / "empty.jpg").touch()
    (folder / "bomb.png").write_bytes(bomb(60000))
    (folder / "loop.jpg").symlink_to(folder / "loop.jpg")
    (folder / "gone.jpg").symlink_to(folder / "nothing")
    os.mkfifo(folder / "pipe.jpg")  # no file: left out, as the folder itself; read it would wait for ever
    wrong = {
        "cut.jpg": "damaged or cut off",
        "text.jpg": "is not a picture",
        "empty.jpg": "is empty",
        "bomb.png": "pixels: shrink it first",
        "loop.jpg": "does not exist",
        "gone.jpg": "does not exist",
    }
    if private.exists():
        (folder / "private.jpg").symlink_to(private)
        wrong["private.jpg"] = "may not be read"
    found = run(str(folder), tmp_path / "out", SCENES)
    said = {Path(row["path"]).name: row["error"] for row in rows(tmp_path / "out") if row["error"]}
    assert said.keys() == wrong.keys() and all(what in said[name] for name, what in wrong.items()), said
    assert all(error.count("\n") == 0 and error.endswith(".") for error in said.values())
    assert counted(found) == {"pictures": 63 + len(wrong), "before": 0, "of": 63 + len(wrong), "missing": 0}
    assert sum(found.errors.values()) == len(wrong) and found.errors["a picture does not exist."] == 2
    # Shards that somebody else made before they could be told of are told of as who made them would have.
    again = [shards.there(found.run, shard) for shard in found.run.shards]
    assert sum(count for count, _ in again) == found.pictures
    assert Counter(error for _, errors in again for error in errors) == found.errors
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(f"photos/{name}" for name in ("01.jpg", "pipe.jpg", "folder.jpg", "loop.jpg")))
    run(str(listed), tmp_path / "listed", SCENES)
    errors = [row["error"] or "" for row in rows(tmp_path / "listed")]
    assert [not error for error in errors] == [True, False, False, False] and "is a folder" in errors[2], errors


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


@contextmanager
def disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of its own of a size."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    if os.geteuid() or subprocess.run(mount, check=False).returncode:
        pytest.skip("a disk can be mounted by root alone, and not in every container")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)  # pyarrow may hold what it could not write


def test_a_full_disk_leaves_no_half_shard(tmp_path: Path) -> None:
    with disk(tmp_path / "full", "96k") as full:
        with pytest.raises(wf.Error, match=r"cannot be written \(No space left"):
            run("scenes", full / "out", Settings("scenes:vgg", target=("all",)), limit=200)
        there = sorted((full / "out").glob("*.parquet"))
        assert all(parquet.read_table(path).num_rows for path in there) and not list(full.rglob("*.part"))


def test_a_disk_that_can_only_be_read(tmp_path: Path) -> None:
    with disk(tmp_path / "disk", "8m") as folder:
        run("scenes", folder / "out", SCENES, limit=40)
        (folder / "out/shard-000001.parquet").unlink()
        before = {path.name: path.read_bytes() for path in (folder / "out").iterdir()}
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        for name in ("out", "new"):
            with pytest.raises(wf.Error, match=r"cannot be written \(Read-only file system\): give another folder"):
                run("scenes", folder / name, SCENES, limit=40)
        assert {path.name: path.read_bytes() for path in (folder / "out").iterdir()} == before
        assert len(wf.open_results(folder / "out").rows(["scenes:0"])["scenes:0"]) == 1, "it can still be read"


# -------------------------------------------------------------------------------------------- killed


COMMAND = """
import sys, time
from pathlib import Path
from wherefore.batch import run as runs
runs.SHARD = 32
from wherefore.batch.engines import run
if __name__ == "__main__":
    devices = ["cpu"] * int(sys.argv[2])
    found = run("scenes", Path(sys.argv[1]), runs.Settings("scenes:vgg"), limit=320, devices=devices)
    print(found.pictures)
"""
KILLS = Path(__file__).parents[1] / "benchmarks" / "kills.py"


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "kills"), [("local", 4), ("ray", 3)])
def test_killed_at_random_moments(engine: str, kills: int, tmp_path: Path) -> None:
    pytest.importorskip("ray" if engine == "ray" else "psutil", reason="needs Ray")
    command = [sys.executable, str(KILLS), engine, "--pictures", "640", "--kills", str(kills), "--out", str(tmp_path)]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    said = json.loads(done.stdout)
    assert said["killed: worker"] + said["killed: driver"] == kills, "it was done before it was killed as often"
    assert said["written again"] == said["left"] == said["different"] == said["parts"] == 0
    assert said["identical"] == 640
    run("scenes", tmp_path / "own", SCENES, limit=640)
    found = sorted(rows(tmp_path / engine), key=lambda row: row["number"])
    assert found == rows(tmp_path / "own"), "as this process makes them, too"


def test_what_was_asked_wrongly_leaves_nothing(tmp_path: Path) -> None:
    for given in ({"target": ("dgo",)}, {"layer": "foo"}):
        with pytest.raises(wf.Error):
            run("scenes", tmp_path / "new", Settings("scenes:vgg", **given), limit=2)  # type: ignore[arg-type]
        assert not (tmp_path / "new").exists()
    with pytest.raises(wf.Error, match="nowhere"):
        run(str(tmp_path / "nowhere"), tmp_path / "new", SCENES)
    with pytest.raises(wf.Error, match="3/16, not 0/4"):
        run("scenes", tmp_path / "new", SCENES, part="0/4")
    assert not (tmp_path / "new").exists()
    assert run("scenes", tmp_path / "new", SCENES, limit=2).pictures == 2
    with pytest.raises(wf.Error, match="other settings"):
        run("scenes", tmp_path / "new", Settings("scenes:vgg", target=("dgo",)), limit=2)
    assert len(rows(tmp_path / "new")) == 2, "a run that was there stays"


def test_who_is_refused_takes_nothing_from_who_is_at_work(tmp_path: Path) -> None:
    """It had no manifest yet when the second came."""
    with locked(tmp_path):
        (tmp_path / "listing.arrow").write_text("theirs")
        with pytest.raises(wf.Error, match="another run is at work"):
            run("scenes", tmp_path, SCENES, limit=2)
        assert (tmp_path / "listing.arrow").exists() and (tmp_path / ".lock").exists()


def test_a_folder_of_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(wf.Error, match=r"holds thesis.tex and no run: give a folder of its own"):
        run("scenes", tmp_path, SCENES, limit=2)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_errors_are_counted_without_the_names_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pictures").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "pictures" / f"{name}.png").write_bytes(b"no picture")
    wf.scenes.scene(3).image.save(tmp_path / "pictures" / "good.png")
    monkeypatch.chdir(tmp_path)
    for folder in ("pictures", str(tmp_path / "pictures")):
        ((what, count),) = run(folder, tmp_path / f"of {len(folder)}", SCENES).errors.items()
        assert count == 3 and str(tmp_path) not in what and what.startswith("a picture "), what


def test_a_copy_that_fails_is_no_fault_of_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Copier, "start", fails)
    with pytest.raises(torch.OutOfMemoryError):
        run("scenes", tmp_path, SCENES, limit=4)
    assert not [*tmp_path.glob("*.parquet*")]
    monkeypatch.undo()
    assert run("scenes", tmp_path, SCENES, limit=4).pictures == 4 and not any(row["error"] for row in rows(tmp_path))


@pytest.mark.slow
def test_the_stages_of_a_run() -> None:
    script = Path(__file__).parents[1] / "benchmarks" / "batch.py"
    done = subprocess.run([sys.executable, script, "stages", "--pictures", "4"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^\| scenes:vgg \| 4 \| top1 \| [\d. |]+$", done.stdout, re.M), done.stdout


def test_what_a_run_costs() -> None:
    """By hand: 100 ms of ten cores each are 100 pictures a second; 1 MB each at 50 MB/s are 50, and so 5.6 hours."""
    given = "--pictures 1e6 --reading 5 --network 90 --measuring 2 --writing 0.5 --targets 2 --cores 10 --row-bytes 0"
    command = [sys.executable, str(KILLS.with_name("cost.py")), *given.split(), "--network-mb", "50", "--bytes", "1e6"]
    said = subprocess.run([*command, "--hours", "2"], capture_output=True, text=True, check=True).stdout
    found = {line[:36].strip(): line[36:].strip() for line in said.splitlines()}
    assert (found["pictures/s, processors"], found["pictures/s, storage"]) == ("100.0", "50.0")
    assert (found["it waits for"], found["hours of one machine"], found["machines, for 2 hours"]) == (
        "storage",
        "5.6",
        "3",
    )
    said = subprocess.run([*command, "--gpu", "20"], capture_output=True, text=True, check=True).stdout
    found = {line[:36].strip(): line[36:].strip() for line in said.splitlines()}
    assert (found["pictures/s, processors"], found["it waits for"]) == ("1,000.0", "device")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "number"), [("local", signal.SIGINT), ("local", signal.SIGTERM), ("ray", signal.SIGTERM)]
)
def test_stopped(engine: str, number: int, tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil", reason="needs psutil")
    if engine == "ray":
        pytest.importorskip("ray", reason="needs Ray")
    line = ["batch", "scenes", "--limit", "4096", "--model", "scenes:vgg", "--out", "out", "--engine", engine]
    process = subprocess.Popen(
        [sys.executable, "-m", "wherefore", *line], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 240
    while not (tmp_path / "out/manifest.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    if engine == "ray":  # while it starts
        while not psutil.Process(process.pid).children() and time.monotonic() < deadline:
            time.sleep(0.05)
    else:
        time.sleep(1.0)
    process.send_signal(number)
    printed, problems = process.communicate(timeout=120)
    assert (process.returncode, printed) == (130, b"")
    assert problems.count(b"\n") == 1 and b"kept in out, and the same command goes on" in problems
    with locked(tmp_path / "out"):
        assert not [*(tmp_path / "out").glob("*.part")]


LOST = """
import os, signal, sys
from wherefore.batch.cluster import _told_of_sigterm
signal.signal(signal.SIGTERM, signal.default_int_handler)
try:
    with _told_of_sigterm():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except SystemExit:
            if sys.argv[1] == "kept":
                raise
except KeyboardInterrupt:
    print("told", signal.getsignal(signal.SIGTERM) is signal.default_int_handler)
"""


@pytest.mark.parametrize("what", ["lost", "kept"])
def test_a_signal_that_a_starting_cluster_took_is_given_back(what: str) -> None:
    done = subprocess.run([sys.executable, "-c", LOST, what], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("told True\n", "")


@pytest.mark.slow
def test_a_process_that_dies_is_replaced(tmp_path: Path) -> None:
    run("scenes", tmp_path / "whole", SCENES, limit=320)
    command = [sys.executable, "-c", COMMAND, str(tmp_path / "out"), "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    import psutil

    deadline = time.monotonic() + 120
    while not list((tmp_path / "out").glob("*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = [p for p in psutil.Process(process.pid).children() if "spawn_main" in " ".join(p.cmdline())]
    assert len(workers) == 2
    workers[0].kill()
    printed, _ = process.communicate(timeout=240)
    assert (process.returncode, printed) == (0, "320\n"), "none is counted twice"
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
    with pytest.raises(wf.Error, match="cannot be selected"):
        results.select("nonsense ==")
    with pytest.raises(wf.Error, match=r"no picture of the run in .* fulfils score > 1e9"):
        results.page(tmp_path / "page", "score > 1e9")
    text = results.page(tmp_path / "page", limit=3).read_text()
    wrong = [row["path"] for row in kept if row["error"]]
    assert text.count("<img") == 3 and "3 of 36 rows" in text and "3 of 4 pictures" in text and len(wrong) == 4
    assert [Path(path).name in text for path in sorted(wrong)] == [True, True, True, False]
    only = results.page(tmp_path / "page", "error IS NOT NULL").read_text()
    assert "<img" not in only and all(Path(path).name in only for path in wrong)


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(wf.Error, match="holds no run"):
        wf.open_results(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(wf.Error, match="cannot be read"):
        wf.open_results(tmp_path)


@pytest.mark.parametrize("engine, extra", [("local", "batch"), ("ray", "ray")])
def test_without_pyarrow_nothing_begins(
    engine: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(wf.Error, match=rf"pip install 'wherefore\[{extra}\]'"):
        run("scenes", tmp_path / "found", SCENES, limit=2, engine=engine)
    assert not (tmp_path / "found").exists()


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
