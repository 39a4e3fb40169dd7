"""What `wherefore batch` costs beside the bare forward loop, and whether its memory stays flat.

    python benchmarks/batch.py speed --model scenes:vgg --source scenes --pictures 1024
    python benchmarks/batch.py speed --model resnet50 --random --source photos/ --pictures 256
    python benchmarks/batch.py memory --model scenes:vgg --source scenes --pictures 20000

``speed``: rounds of a run and of a loop that reads and prepares the same pictures in the same threads and does the
forward pass alone, in turns; the ratio of their times in each round, the median of them. ``memory``: what the process
holds (RSS) along one run, and the bytes that are kept for a picture.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import psutil
import torch

from wherefore.batch import shards
from wherefore.batch.rows import SLICE, sliced
from wherefore.batch.run import Run, Settings, begun
from wherefore.batch.store import Row
from wherefore.explainer import Explainer
from wherefore.guard import prepared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "memory"))
    parser.add_argument("--model", default="scenes:vgg")
    parser.add_argument("--random", action="store_true", help="random weights: nothing is downloaded")
    parser.add_argument("--source", default="scenes")
    parser.add_argument("--pictures", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    why = explainer(given.model, given.random)
    if given.what == "speed":
        speed(why, given.source, given.pictures, given.rounds)
    else:
        memory(why, given.source, given.pictures)


def explainer(name: str, random: bool) -> Explainer:
    from wherefore.models.zoo import load

    return Explainer(load(name, None if random else "default"))


def a_run(why: Explainer, source: str, pictures: int, folder: Path) -> Run:
    return begun(source, folder, Settings(why.model.name), why, pictures)


Taken = tuple[float, float]  # seconds of the processor, and on the clock


def now() -> Taken:
    return time.process_time(), time.perf_counter()


def taken(start: Taken) -> Taken:
    return time.process_time() - start[0], time.perf_counter() - start[1]


def whole(why: Explainer, source: str, pictures: int) -> Taken:
    """Seconds of a run: of the processor, and on the clock."""
    with tempfile.TemporaryDirectory() as folder:
        run, start = a_run(why, source, pictures, Path(folder)), now()
        for _ in shards.made(run, why, run.missing()):
            pass
        return taken(start)


def bare(why: Explainer, source: str, pictures: int) -> Taken:
    """The same of reading, preparing, and the forward pass alone."""

    def forward(ready: Sequence[shards.Ready]) -> list[list[Row]]:
        with prepared(why.net), torch.inference_mode():
            for batch in why.reader.together([each.input for each in ready if each.input], why.at_once):
                net, images = why.fed(batch)
                net(images)
        return [[{}] for _ in ready]

    with tempfile.TemporaryDirectory() as folder:
        run, start = a_run(why, source, pictures, Path(folder)), now()
        read = partial(shards._ready, run, why, None)
        step = max(SLICE, why.at_once)
        for _ in sliced(range(run.count), read, forward, None, step, os.cpu_count() or 1):
            pass
        return taken(start)


def speed(why: Explainer, source: str, pictures: int, rounds: int) -> None:
    whole(why, source, min(pictures, 64))  # warms up
    ratios = []
    for i in range(rounds):
        order = (whole, bare) if i % 2 else (bare, whole)
        seconds = {which.__name__: which(why, source, pictures) for which in order}
        ratios.append([b / w for b, w in zip(seconds["bare"], seconds["whole"], strict=True)])
        rates = ", ".join(f"{name} {pictures / clock:.1f} pictures/s" for name, (_, clock) in sorted(seconds.items()))
        print(f"round {i + 1}: {rates}; of the bare loop {ratios[-1][0]:.2f} (processor), {ratios[-1][1]:.2f} (clock)")
    for what, found in zip(("processor", "clock"), zip(*ratios, strict=True), strict=True):
        print(f"{why.model.name}: {statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f}) by the {what}")


def memory(why: Explainer, source: str, pictures: int) -> None:
    me, seen, held = psutil.Process(), 0, {}
    with tempfile.TemporaryDirectory() as folder:
        run, start = a_run(why, source, pictures, Path(folder)), time.perf_counter()
        for count, _ in shards.made(run, why, run.missing()):
            seen += count
            held[seen] = me.memory_info().rss / 2**20
            if seen % (pictures // 10) < count:
                print(f"{seen:,} pictures, {held[seen]:.0f} MB, {time.perf_counter() - start:.0f} s", flush=True)
        size = sum(path.stat().st_size for path in run.folder.glob("*.parquet"))
    tenth = next(value for at, value in held.items() if at >= pictures / 10)
    print(f"RSS at the end {held[seen]:.0f} MB, {held[seen] / tenth:.2f} of that at 10 %")
    print(f"{size / seen:.0f} bytes a picture")


if __name__ == "__main__":
    main()
