"""Who makes the shards of a run: this process, a process for each of several devices, or actors of a Ray cluster."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from wherefore.batch import shards
from wherefore.batch.run import TUNE, Run, Settings, begun, locked, parted, reopened, taken_back
from wherefore.batch.store import parquet
from wherefore.errors import Error
from wherefore.guard import one_thread
from wherefore.progress import track

ENGINES = ("local", "ray")
DEATHS = 2  # of processes at one shard before it is thought to be the shard's fault
Told = tuple[int, list[str]]  # how many pictures a slice was, and what was wrong with some


@dataclass(frozen=True)
class Finished:
    """What a call of `run` came to: ``pictures`` it explained, those that went wrong by ``errors``, and the run."""

    run: Run
    pictures: int
    errors: Counter[str]
    before: int  # pictures whose shards were there already

    def report(self) -> dict[str, Any]:
        """It as plain values."""
        return {
            "folder": str(self.run.folder),
            "pictures": self.pictures,
            "before": self.before,
            "of": self.run.count,
            "missing": len(self.run.missing()),
            "errors": dict(self.errors.most_common()),
        }


def run(
    source: str,
    folder: Path,
    settings: Settings,
    *,
    limit: int | None = None,
    engine: str = "local",
    address: str | None = None,
    part: str | None = None,
    devices: Sequence[str] = (),
) -> Finished:
    """Explains the pictures of a source into a folder, or goes on with it; see `wherefore.batch.listing` and `Run`.

    ``part`` ``i/n``: only every n-th shard from the i-th. ``devices``: a process for each; by default every GPU, or the
    CPU. Raises `Error` where the source, the folder or the settings will not do, and where the disk is full; what was
    finished is kept.
    """
    if engine not in ENGINES:
        raise Error(f"--engine is {' or '.join(ENGINES)}, not {engine}.")
    if address is not None and engine != "ray":
        raise Error("--address is that of a Ray cluster: give --engine ray.")
    if engine == "ray" and settings.below == TUNE:
        raise Error("--tune measures this machine, not those of a cluster: name what they shall run with --below.")
    parquet("ray" if engine == "ray" else "batch")  # before anything is computed
    if part is not None:
        parted(part)  # an `Error` before anything is made
    undone = taken_back(folder, not folder.exists()) if part is None else nullcontext()
    with locked(folder, part), undone, one_thread() if settings.small else nullcontext():
        own = list(devices) or [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cpu"]
        why = settings.explainer(own[0] if engine == "local" else "cpu")
        begin = begun(source, folder, settings, why, limit)
        why = why if begin.settings.below == why.below else why.running(begin.settings.below)
        if part is None:
            begin.tidy()
        missing = begin.missing(part)
        if engine == "ray":
            from wherefore.batch import cluster

            told = cluster.made(begin, missing, address)
        else:
            told = shards.made(begin, why, missing) if len(own) == 1 else _processes(begin, missing, own)
        return _counted(begin, missing, told)


def _counted(begin: Run, missing: Sequence[int], told: Iterator[Told]) -> Finished:
    total = sum(len(begin.numbers(shard)) for shard in missing)
    errors: Counter[str] = Counter()
    done = 0
    for pictures, wrong in track(told, total, "explaining", lambda each: each[0]):
        done += pictures
        errors.update(wrong)
    return Finished(begin, done, errors, begin.count - total)


# -------------------------------------------------------------------------------------------- several devices


class _Worker:
    """A process that holds the network on one device and makes the shards that it is told, one at a time."""

    def __init__(self, folder: Path, device: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.folder, self.device, self.shard = folder, device, -1
        self.told = 0  # slices of its shard that were told of, by it or by those that died at that shard before
        self.mine, its = context.Pipe()
        self.process = context.Process(target=_serve, args=(its, folder, device), daemon=True)
        self.process.start()
        its.close()

    def give(self, shard: int, told: int = 0) -> None:
        """Asks for a shard, of which some slices were told of already and will not be again."""
        self.shard, self.told = shard, told
        with suppress(OSError):  # it has died, which is noticed where its answer is waited for
            self.mine.send((shard, told))

    def end(self) -> None:
        self.mine.close()
        self.process.terminate()
        self.process.join()


def _serve(its: Connection, folder: Path, device: str) -> None:
    """What a worker does until nobody asks any more."""
    threading.Thread(target=_follow, daemon=True).start()
    try:
        begin = reopened(folder)
        why = begin.settings.explainer(device)
        while True:
            shard, before = its.recv()
            for told in islice(shards.made(begin, why, [shard]), before, None):
                its.send(told)
            its.send(None)
    except Error as error:
        its.send(str(error))
    except (EOFError, ConnectionError, KeyboardInterrupt):
        pass


def _follow() -> None:
    """Ends a worker with the process that started it: it would keep its device till the end of its shard."""
    parent = multiprocessing.parent_process()
    if parent and wait([parent.sentinel]):
        os._exit(1)


def _processes(begin: Run, missing: Sequence[int], devices: Sequence[str]) -> Iterator[Told]:
    """What the workers of several devices tell; one that dies is replaced, and its shard made again."""
    todo, deaths = deque(missing), Counter[int]()
    workers = [_Worker(begin.folder, device) for device in devices[: len(missing)]]
    try:
        for worker in workers:
            worker.give(todo.popleft())
        while workers:
            for connection in wait([worker.mine for worker in workers]):
                worker = next(each for each in workers if each.mine is connection)
                try:
                    told = worker.mine.recv()
                except (EOFError, OSError):
                    deaths[worker.shard] += 1
                    if deaths[worker.shard] > DEATHS:
                        raise Error(f"the process on {worker.device} died {DEATHS + 1} times at one shard.") from None
                    workers.remove(worker)
                    worker.end()
                    workers.append(_Worker(begin.folder, worker.device))
                    workers[-1].give(worker.shard, worker.told)
                    continue
                if isinstance(told, str):
                    raise Error(told)
                if told is not None:
                    worker.told += 1
                    yield told
                elif todo:
                    worker.give(todo.popleft())
                else:
                    workers.remove(worker)
                    worker.end()
    finally:
        for worker in workers:
            worker.end()
