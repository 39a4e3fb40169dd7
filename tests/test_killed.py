"""Long runs that are killed amidst their work go on where they were, and end as if nothing had happened."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

# As `wherefore` does it, but that rows are kept two pictures at a time, so that few pictures are many slices; and that
# attacks are short.
SMALL = """
import sys
from wherefore.batch import rows
rows.SLICE = 2
from wherefore import cli
from wherefore.diagnosis import attacks
attacks.attack.__defaults__ = attacks.SURE, (16,), 60
cli.main(sys.argv[1:])
"""
RUNS = {
    "adversarial": ["experiment", "adversarial", "--limit", "4", "--out", "out"],
    "failures": ["audit", "--failures", "--model", "scenes:alexnet", "--data", "scenes:single", "--limit", "12"],
    "bias": ["experiment", "bias", "--limit", "8", "--out", "out"],
    "dissect": ["dissect", "--limit", "8", "--out", "out/units.csv"],
    "compare": ["compare", "-m", "scenes:vgg", "-m", "scenes:alexnet", "--data", "scenes:pair", "--limit", "6"],
}  # fmt: skip


def begun(line: list[str], folder: Path) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    out = [] if "--out" in line else ["--out", "out"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", SMALL, *line, *out, "--json"], cwd=folder, env=environment, **pipes)  # type: ignore[call-overload,no-any-return]


def ended(process: subprocess.Popen[str]) -> str:
    """What a run printed as JSON."""
    printed, problems = process.communicate(timeout=300)
    assert process.returncode == 0, problems
    return printed


def kept(folder: Path) -> dict[Path, int]:
    """The rows that lie there whole, and when they were written."""
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}


def amidst(line: list[str], folder: Path, every: int) -> dict[Path, int]:
    """What a run leaves that is killed when about half is done; again where a busy machine was too late to kill it."""
    for _ in range(5):
        process = begun(line, folder)
        while process.poll() is None and len(kept(folder)) < every // 2:
            time.sleep(0.005)
        process.kill()
        process.communicate()
        if 0 < len(half := kept(folder)) < every:
            return half
        shutil.rmtree(folder)
    raise AssertionError("it ended every time before it could be killed")


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_is_killed_goes_on_where_it_was(name: str, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    told = ended(begun(RUNS[name], whole))
    every = kept(whole)
    half = amidst(RUNS[name], killed, len(every))
    assert ended(begun(RUNS[name], killed)) == told
    after = kept(killed)
    assert set(after) == set(every)
    assert {path: after[path] for path in half} == half, "what was done is not done again"
