"""Kills a run over many pictures again and again, lets it finish, and compares its rows with an undisturbed run's.

    python benchmarks/kills.py local --pictures 2000 --kills 20 --out DIR
    python benchmarks/kills.py ray --pictures 2000 --kills 20 --out DIR

SIGKILL at random moments, in turn of a worker (with ``local`` one of the two processes that hold the network, with
``ray`` an actor) and of the driver (the process that was started). A driver is killed anywhere between its start and
some shards later, at times before it has made one; a worker as soon as there is one, or later. After a driver's death
the next one is started at once, while what the dead one left behind may still be alive. The undisturbed run is one of
the local engine in a process of its own, also where Ray is what is killed. Rows are compared in all columns, maps by
their bytes.

``--json`` prints the count as one object. Exit status 1 if a row differs, a finished shard was written again, or a
process is left behind.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from pyarrow import parquet

CODE = """
import sys
from pathlib import Path
from wherefore.batch import run as runs
runs.SHARD = int(sys.argv[4])
from wherefore.batch.engines import run
if __name__ == "__main__":
    folder, engine, pictures = sys.argv[1:4]
    devices = ["cpu"] * 2 if engine == "local" else []
    asked = runs.Settings("scenes:vgg")
    found = run("scenes", Path(folder), asked, limit=int(pictures), engine=engine, devices=devices)
    assert not found.run.missing()
"""
WORKER = {"local": "spawn_main", "ray": "ray::MapWorker"}  # by what their command lines are known
LATER, STARTING = 1.0, 15.0  # seconds after a sign of life, or a start, within which the kill falls
FEW = 3  # new shards at which it falls at the latest, so that a fast machine is not done before it is killed
LOOK = 0.2  # seconds between two looks, which cost something on a busy machine
PATIENCE = 900.0  # seconds without a new shard after which something hangs
GONE = 180.0  # seconds after which what is still there is left behind


@dataclass
class Killed:
    """A run that is being killed: what was done to it, and what was seen."""

    folder: Path
    engine: str
    pictures: int
    shard: int
    dice: np.random.Generator
    driver: psutil.Popen | None = None
    seen: dict[psutil.Process, float] = field(default_factory=dict)  # all processes there were, and when they died
    counts: Counter[str] = field(default_factory=Counter)
    written: dict[str, int] = field(default_factory=dict)  # the finished shards, and when each was written

    def start(self) -> None:
        """Starts the driver, if none is at work; one that ended with an error of its own is counted."""
        if not self.running():
            self.counts["gave up"] += self.driver is not None and self.driver.returncode > 0
            arguments = [str(self.folder), self.engine, str(self.pictures), str(self.shard)]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            log = (self.folder.parent / f"{self.folder.name}.log").open("a")
            self.driver = psutil.Popen(
                [sys.executable, "-c", CODE, *arguments], stdout=log, stderr=log, env=environment
            )
            self.counts["starts"] += 1

    def look(self) -> int:
        """How many shards there are; finished ones that were written anew are counted, and processes are noted."""
        for path in self.folder.glob("shard-*.parquet"):
            when = path.stat().st_mtime_ns
            self.counts["written again"] += self.written.setdefault(path.name, when) != when
            self.written[path.name] = when
        for process in self.family():
            self.seen.setdefault(process, 0.0)
        for process in self.seen:
            if not self.seen[process] and not alive(process):
                self.seen[process] = time.monotonic()
        return len(self.written)

    def family(self) -> list[psutil.Process]:
        """The driver and all that descends from it."""
        try:
            return [self.driver, *self.driver.children(recursive=True)] if self.driver else []
        except psutil.NoSuchProcess:
            return []

    def workers(self) -> list[psutil.Process]:
        """The processes that hold the network."""
        return [each for each in self.family() if WORKER[self.engine] in command(each)]

    def running(self) -> bool:
        """Whether the driver is at work."""
        return self.driver is not None and self.driver.poll() is None

    def until(self, wanted: str) -> bool:
        """Waits for a sign of life, and a random moment more; False where the driver has ended meanwhile."""
        before, deadline = self.look(), time.monotonic() + PATIENCE
        while self.running() and not (wanted == "start" or (wanted == "worker" and self.workers())):
            if self.look() > before:
                break
            assert time.monotonic() < deadline, f"no shard in {PATIENCE:.0f} s: see {self.folder}.log"
            time.sleep(LOOK)
        moment = time.monotonic() + self.dice.uniform(0, STARTING if wanted == "start" else LATER)
        shards = self.look()
        while (left := moment - time.monotonic()) > 0 and self.look() < shards + FEW:
            time.sleep(min(left, LOOK))
        return self.running()

    def kill(self) -> None:
        """Kills a worker, the next time the driver, at a random moment."""
        what = ("worker", "driver")[self.kills % 2]
        when = str(self.dice.choice(["start", "shard", "shard", "shard"] if what == "driver" else ["worker", "shard"]))
        self.start()
        workers = self.workers() if self.until(when) else []
        if not self.running() or (what == "worker" and not workers):
            return  # it was done before, or gave up, or its workers are being replaced: another one
        victim = self.driver if what == "driver" else workers[int(self.dice.integers(len(workers)))]
        assert victim
        shards, before = self.look(), when if when == "start" else "work"
        victim.kill()
        if victim is self.driver:
            victim.wait()
        self.counts[f"killed: {what}"] += 1
        print(f"kill {self.kills}: {what} at {before}, {shards} shards there", file=sys.stderr, flush=True)

    @property
    def kills(self) -> int:
        """How many there were."""
        return sum(n for what, n in self.counts.items() if what.startswith("killed"))

    def finish(self) -> None:
        """Lets it finish, starting it again where it gives up."""
        for _ in range(3):
            self.start()
            while self.running():
                self.look()
                time.sleep(LOOK)
            if self.driver and self.driver.returncode == 0:
                break
        self.counts["shards"] = self.look()

    def left(self) -> list[psutil.Process]:
        """The processes that are still there after a while; they are ended."""
        deadline = time.monotonic() + GONE
        while (there := [each for each in self.seen if alive(each)]) and time.monotonic() < deadline:
            time.sleep(0.5)
        for each in there:
            each.kill()
        return there


def alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
        return ""


def rows(folder: Path) -> list[dict[str, Any]]:
    """All rows in the pictures' order, their maps as bytes."""
    tables = [parquet.read_table(path).to_pylist() for path in sorted(folder.glob("shard-*.parquet"))]
    found = sorted((row for table in tables for row in table), key=lambda row: row["number"])
    return [{**row, "map": row["map"] and np.asarray(row["map"], np.float16).tobytes()} for row in found]


def compared(folder: Path, whole: Path) -> dict[str, int]:
    """How many rows of two runs are the same, and how many are not, or are missing in one."""
    one, other = rows(folder), rows(whole)
    same = sum(a == b for a, b in zip(one, other, strict=False))
    return {"rows": len(other), "identical": same, "different": max(len(one), len(other)) - same}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=("local", "ray"))
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument(
        "--shard", type=int, default=32, help="pictures in a shard; few, so that there are many of them"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where the two runs are kept")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = given.out or Path(scratch)
        out.mkdir(parents=True, exist_ok=True)
        dice = np.random.default_rng(given.seed)
        Killed(out / "whole", "local", given.pictures, given.shard, dice).finish()
        run = Killed(out / given.engine, given.engine, given.pictures, given.shard, dice)
        for _ in range(3 * given.kills):
            if run.kills < given.kills:
                run.kill()
        run.finish()
        left = run.left()
        found = {"engine": given.engine, **run.counts, **compared(run.folder, out / "whole"), "left": len(left)}
        found["parts"] = len([*run.folder.glob("*.part")])
    print(json.dumps(found) if given.json else "\n".join(f"{name}: {value}" for name, value in found.items()))
    fewer = run.kills < given.kills
    sys.exit(bool(found["different"] or run.counts["written again"] or left or found["parts"] or fewer))


if __name__ == "__main__":
    main()
