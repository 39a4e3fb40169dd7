"""How long somebody waits for the next page of a study, from pressing a button, while 50 others take it, too.

    wherefore study init class-discrimination --out study      # any study will do
    python benchmarks/study.py study [--database postgresql+psycopg://USER@HOST/EMPTY] [--pause 0]

Simulated workers take the study over HTTP on this machine, with the server in a process of its own. They look at every
picture for ``--pause`` seconds on average (people do for about 3); with 0 they answer at once, all of them, which shows
how much the server can do and no waiting that anybody would have. A page is the answer sent, kept on disk, and the next
trial's page read; its pictures are fetched, but not timed. Without ``--database`` it is a new SQLite file.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from pathlib import Path
from statistics import quantiles

import httpx

from wherefore.study.answering import Crowd, Mind
from wherefore.study.app import SIMULATED
from wherefore.study.browsing import Button, Form, Page
from wherefore.study.plan import read
from wherefore.study.serving import served
from wherefore.study.simulating import Worker


class Timed(Worker):
    """A simulated worker who looks at each picture for a while, and whose waiting is timed."""

    pause = 0.0
    waited: list[float] = []  # noqa: RUF012  of all workers together

    async def _press(self, form: Form, button: Button) -> Page:
        if button.name == "option":
            await asyncio.sleep(self.pause * random.lognormvariate(-0.1, 0.45))  # whose mean is 1
        began = time.perf_counter()
        page = await super()._press(form, button)
        if button.name == "option":
            self.waited.append(time.perf_counter() - began)
        return page


async def crowded(folder: Path, address: str, workers: int, seconds: float) -> None:
    """Lets workers take a study for some time, each coming at a moment of their own."""
    plan, crowd = read(folder), Crowd(workers, seed=time.time_ns())
    places = crowd.places(plan)

    async def come(number: int) -> None:
        await asyncio.sleep(random.random() * Timed.pause)
        await Timed(plan, Mind(plan, crowd, number, places), client, address).take()

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(headers={SIMULATED: plan.digest}, limits=limits, trust_env=False) as client:
        tasks = [asyncio.create_task(come(number)) for number in range(workers)]
        done, still = await asyncio.wait(tasks, timeout=seconds)
        for task in still:
            task.cancel()
        for task in done:
            task.result()


def main() -> None:
    """Prints one row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--database")
    parser.add_argument("--workers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--pause", type=float, default=3.0)
    given = parser.parse_args()
    Timed.pause = given.pause
    with tempfile.TemporaryDirectory() as room:
        database = given.database or f"sqlite:///{Path(room) / 'study.sqlite'}"
        with served(given.folder, database=database) as address:
            began = time.perf_counter()
            asyncio.run(crowded(given.folder, address, given.workers, given.seconds))
            took = time.perf_counter() - began
    cuts = [1000 * cut for cut in quantiles(Timed.waited, n=100)]
    print(
        f"{database.partition(':')[0]}, {given.workers} workers, {given.pause:g} s at each picture: "
        f"{len(Timed.waited) / took:.1f} pages/s; p50 {cuts[49]:.0f} ms, p95 {cuts[94]:.0f} ms, p99 {cuts[98]:.0f} ms, "
        f"longest {1000 * max(Timed.waited):.0f} ms, of {len(Timed.waited)}"
    )


if __name__ == "__main__":
    main()
