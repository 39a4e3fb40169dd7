"""The shards of a run on a Ray cluster: actors hold the network, on GPUs where there are any, and write what they make.

All machines must see the run's folder and its pictures under the same paths. What is redone after a loss is decided by
the shards that are there, never by Ray: an actor that dies is restarted and makes its shard again, and a driver that
dies leaves shards that the next run does not make again.

Ray listens on all interfaces whatever address it is given, and whoever reaches it can run code: see ``docs/scale.md``.
"""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from socket import SHUT_WR, socketpair
from threading import current_thread, main_thread
from typing import Any

import torch

from wherefore.batch import shards
from wherefore.batch.run import Run, reopened
from wherefore.errors import Error
from wherefore.explainer import Explainer


class Maker:
    """An actor: it holds the network, and makes a shard at a time. It is made of nothing, so Ray can restart it."""

    def __init__(self) -> None:
        self.asked: tuple[Run, Explainer] | None = None

    def __call__(self, given: dict[str, Any]) -> dict[str, Any]:
        run, why = self.asked = self.asked or _opened(*(str(given[name][0]) for name in ("folder", "device")))
        shard = int(given["shard"][0])
        # It may be there: whoever made it died before it was told.
        told = [shards.there(run, shard)] if run.path(shard).exists() else [*shards.made(run, why, [shard])]
        errors = [error for _, wrong in told for error in wrong]
        return {"pictures": [sum(count for count, _ in told)], "errors": [json.dumps(errors)]}


def _opened(folder: str, device: str) -> tuple[Run, Explainer]:
    if device == "cpu":
        torch.set_num_threads(1)  # there are as many actors as processors
    run = reopened(Path(folder))
    return run, run.settings.explainer(device)


def made(run: Run, missing: Sequence[int], address: str | None = None) -> Iterator[tuple[int, list[str]]]:
    """Makes shards on a cluster; says of each how many pictures it was, and what was wrong with some.

    Without an ``address`` a cluster is started on this machine, and ended. Raises `Error` where Ray is not installed or
    the cluster is not reached.
    """
    if not missing:
        return
    ray = _ray(address)
    try:
        has = ray.cluster_resources()
        gpus = int(has.get("GPU", 0))
        # One processor is left to Ray's own tasks: with all of them held by actors a run would wait for ever.
        size = min(len(missing), gpus or max(1, int(has.get("CPU", 1)) - 1))
        each = {"folder": str(run.folder.resolve()), "device": "cuda" if gpus else "cpu"}
        listed = ray.data.from_items([{"shard": shard, **each} for shard in missing], override_num_blocks=len(missing))
        found = listed.map_batches(
            Maker,
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=size),
            num_gpus=1 if gpus else None,
            num_cpus=None if gpus else 1,
        )
        for row in found.iter_rows():
            yield row["pictures"], json.loads(row["errors"])
    finally:
        ray.shutdown()


def _ray(address: str | None) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError:
        raise Error("--engine ray needs Ray: pip install 'wherefore[ray]'") from None
    try:
        # At least two processors, as Ray counts them, for the reason given above.
        own: dict[str, Any] = {} if address else {"num_cpus": max(2, os.cpu_count() or 1), "include_dashboard": False}
        with _told_of_sigterm():
            ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **own)
    except Exception as error:  # Ray raises bare ones too, where a machine is too busy to start it in half a minute
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Error(f"no Ray cluster is reached at {address or 'this machine'}: {what}") from None
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray


@contextmanager
def _told_of_sigterm() -> Iterator[None]:
    """Ray takes SIGTERM for itself while it starts, and may lose it: whoever called has it back, and is told of it."""
    if current_thread() is not main_thread():  # which alone hears signals
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    near, far = socketpair()
    with near, far:
        far.setblocking(False)
        other = signal.set_wakeup_fd(far.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(other)
            signal.signal(signal.SIGTERM, before)
            far.shutdown(SHUT_WR)
            if signal.SIGTERM in near.recv(4096):  # the numbers of all signals that came
                signal.raise_signal(signal.SIGTERM)
