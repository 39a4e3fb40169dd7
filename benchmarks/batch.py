"""What `wherefore batch` costs beside the bare forward loop, and whether its memory stays flat.

    python benchmarks/batch.py speed --model scenes:vgg --source scenes --pictures 1024
    python benchmarks/batch.py speed --model resnet50 --random --source ../shared/data/imagenet/val --pictures 256
    python benchmarks/batch.py memory --model scenes:vgg --source scenes --pictures 20000
    python benchmarks/batch.py stages --model resnet50 --random --source ../shared/data/imagenet/val --pictures 64

``speed``: rounds of a run and of a loop that reads and prepares the same pictures in the same threads and does the
forward pass alone, in turns; the ratio of their times in each round, the median of them. Neither has the listing and
the loading of the network in it. ``memory``: what the process holds (RSS) at each tenth of one run, and of that what
are files mapped into memory, which the system takes back when it needs to (the listing is one); and the bytes that are
kept for a picture. Both end with a line for a table. ``stages``: the processor's milliseconds for a picture, each stage
alone in one thread, for one target and for five: what `benchmarks/cost.py` reckons with.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import torch

from wherefore.batch import shards
from wherefore.batch.rows import SLICE, sliced
from wherefore.batch.run import Run, Settings, begun
from wherefore.batch.store import Row
from wherefore.explainer import Explainer
from wherefore.guard import one_thread, prepared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "memory", "stages"))
    parser.add_argument("--model", default="scenes:vgg")
    parser.add_argument("--random", action="store_true", help="random weights: nothing is downloaded")
    parser.add_argument("--source", default="scenes")
    parser.add_argument("--pictures", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    why = explainer(given.model, given.random)
    with one_thread() if Settings(given.model).small else nullcontext():  # as `wherefore batch` does it
        if given.what == "speed":
            speed(why, given.source, given.pictures, given.rounds)
        elif given.what == "stages":
            for target in ((), ("top5",)):
                stages(why, given.source, given.pictures, target)
        else:
            memory(why, given.source, given.pictures)


def explainer(name: str, random: bool) -> Explainer:
    from wherefore.models.zoo import load

    return Explainer(load(name, None if random else "default"), batch_size=Settings(name).at_once)


def a_run(why: Explainer, source: str, pictures: int, folder: Path) -> Run:
    return begun(source, folder, Settings(why.model.name), why, pictures)


Taken = tuple[float, float]  # seconds of the processor, and on the clock
Loop = Callable[[Run, Explainer], None]


def whole(run: Run, why: Explainer) -> None:
    """A run, its shards written."""
    for _ in shards.made(run, why, run.missing()):
        pass


def bare(run: Run, why: Explainer) -> None:
    """Reading, preparing, and the forward pass alone."""

    def forward(ready: Sequence[shards.Ready]) -> list[list[Row]]:
        with prepared(why.net), torch.inference_mode():
            for batch in why.reader.together([each.input for each in ready if each.input], why.at_once):
                net, images = why.fed(batch)
                net(images)
        return [[{}] for _ in ready]

    read, step = partial(shards._ready, run, why, None), max(SLICE, why.at_once)
    for _ in sliced(range(run.count), read, forward, None, step, os.cpu_count() or 1):
        pass


def taken(loop: Loop, why: Explainer, source: str, pictures: int) -> tuple[int, Taken]:
    """Over how many pictures a loop went, and its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        run = a_run(why, source, pictures, Path(folder))
        cpu, clock = time.process_time(), time.perf_counter()
        loop(run, why)
        return run.count, (time.process_time() - cpu, time.perf_counter() - clock)


def speed(why: Explainer, source: str, pictures: int, rounds: int) -> None:
    for loop in (whole, bare):
        taken(loop, why, source, min(pictures, 64))  # warms up
    ratios, rates = [], []
    for i in range(rounds):
        order = (whole, bare) if i % 2 else (bare, whole)
        found = {loop: taken(loop, why, source, pictures) for loop in order}
        count = found[whole][0]  # a source may have fewer than were asked for
        ratios.append([b / w for b, w in zip(found[bare][1], found[whole][1], strict=True)])
        rates.append([*(count / found[loop][1][1] for loop in (whole, bare)), 1000 * found[whole][1][0] / count])
        said = "whole {:.1f}, bare {:.1f} pictures/s, {:.1f} ms of processor a picture".format(*rates[-1])
        print(f"round {i + 1}: {said}; of the bare loop {ratios[-1][0]:.2f} (processor), {ratios[-1][1]:.2f} (clock)")
    by_processor, by_clock = zip(*ratios, strict=True)
    said = " | ".join(f"{statistics.median(each):.1f}" for each in zip(*rates, strict=True))
    print("| network | pictures | rounds | pictures/s | bare | ms of processor | of the bare loop, processor | clock |")
    print(f"| {why.model.name} | {count:,} | {rounds} | {said} | {span(by_processor)} | {span(by_clock)} |")


def span(ratios: Sequence[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def memory(why: Explainer, source: str, pictures: int) -> None:
    me, seen, held = psutil.Process(), 0, list[float]()
    with tempfile.TemporaryDirectory() as folder:
        run, start = a_run(why, source, pictures, Path(folder)), time.perf_counter()
        for count, _ in shards.made(run, why, run.missing()):
            seen += count
            if seen >= run.count * (len(held) + 1) / 10:
                now = me.memory_info()
                held.append(now.rss / 2**20)
                mapped, seconds = now.shared / 2**20, time.perf_counter() - start
                print(
                    f"{seen:,} pictures, {held[-1]:.0f} MB, of that {mapped:.0f} MB mapped, {seconds:.0f} s", flush=True
                )
        size = sum(path.stat().st_size for path in run.folder.glob("*.parquet")) / seen
    print("| network | pictures | RSS at 10 %, MB | at the end | ratio | largest | bytes a picture |")
    ends = f"{held[0]:.0f} | {held[-1]:.0f} | {held[-1] / held[0]:.2f} | {max(held):.0f}"
    print(f"| {why.model.name} | {seen:,} | {ends} | {size:.0f} |")


def stages(why: Explainer, source: str, pictures: int, target: tuple[str, ...]) -> None:
    torch.set_num_threads(1)
    spent = dict.fromkeys(("reading", "network", "measuring", "writing"), 0.0)

    def timed(stage: str, work: Callable[[], Any]) -> Any:
        start = time.process_time()
        found = work()
        spent[stage] += time.process_time() - start
        return found

    with tempfile.TemporaryDirectory() as folder:
        run = begun(source, Path(folder), Settings(why.model.name, target=target), why, pictures)
        work, tables = shards._Asking(why, run), []
        first = [shards._ready(run, why, None, number) for number in range(min(SLICE, run.count))]
        shards._measured([{"number": 0, "sample": "", **row} for made in work(first) for row in made])  # warms up
        for start in range(0, run.count, SLICE):
            numbers = range(start, min(start + SLICE, run.count))
            ready = timed("reading", lambda numbers=numbers: [shards._ready(run, why, None, n) for n in numbers])
            found = timed("network", lambda ready=ready: work(ready))
            named = zip(numbers, ready, found, strict=True)
            rows = [{"number": n, "sample": each.name, **row} for n, each, made in named for row in made]
            tables.append(timed("measuring", lambda rows=rows: shards._measured(rows)))
        timed("writing", lambda: shards._written(run, 0, tables))
        size = run.path(0).stat().st_size / run.count
        count = run.count
    print("| network | pictures | targets | reading, ms | network | measuring | writing | bytes a picture |")
    said = " | ".join(f"{1000 * seconds / count:.2f}" for seconds in spent.values())
    print(f"| {why.model.name} | {count:,} | {', '.join(target) or 'top1'} | {said} | {size:.0f} |", flush=True)


if __name__ == "__main__":
    main()
