"""One thread that owns the networks: requests of one kind that wait together go through a network together."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

Run = Callable[[Sequence[Any]], Sequence[Any]]
MEMORY = 0.9  # how much the mean time of a request keeps of itself when another is done


@dataclass(eq=False)
class Job:
    """Something asked of the networks; jobs of one ``kind`` are run by one call of ``run``, which answers each."""

    kind: Hashable
    run: Run
    asked: Any
    answer: Future[Any] = field(default_factory=Future)


class Worker:
    """Runs jobs in the order in which they came, up to ``batch`` of one kind at once.

    A job that comes to an empty queue waits ``linger`` seconds for others of its kind. ``seen`` is told how many there
    were in each batch. What the run of a job raises, or gives as an exception among its answers, its future raises.
    """

    def __init__(self, batch: int, linger: float, seen: Callable[[int], object] = lambda size: None) -> None:
        self.batch, self.linger, self.seen = batch, linger, seen
        self.seconds = 0.05  # that a job takes, on average
        self._jobs: deque[Job] = deque()
        self._there = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="wherefore-networks", daemon=True)

    def start(self) -> None:
        """Begins to work."""
        self._thread.start()

    def stop(self) -> None:
        """Ends when all that waits is done."""
        with self._there:
            self._stopped = True
            self._there.notify_all()
        self._thread.join()

    def __len__(self) -> int:
        return len(self._jobs)

    def submit(self, job: Job) -> None:
        """Puts a job at the end of the queue."""
        with self._there:
            self._jobs.append(job)
            self._there.notify_all()

    def drop(self, job: Job) -> None:
        """Takes a job out of the queue, if it still waits there: nobody wants its answer."""
        job.answer.cancel()
        with self._there:
            if job in self._jobs:
                self._jobs.remove(job)

    def _work(self) -> None:
        while jobs := self._next():
            started = time.perf_counter()
            self._answer([job for job in jobs if job.answer.set_running_or_notify_cancel()])
            each = (time.perf_counter() - started) / len(jobs)
            self.seconds = MEMORY * self.seconds + (1 - MEMORY) * each

    def _next(self) -> list[Job]:
        """The next jobs, taken out of the queue; none when it is over."""
        with self._there:
            while not (self._stopped and not self._jobs):
                if not self._jobs:
                    self._there.wait()
                    continue
                until = time.monotonic() + self.linger
                while len(self._alike()) < self.batch and not self._stopped and (left := until - time.monotonic()) > 0:
                    self._there.wait(left)
                if alike := self._alike():  # those that waited may have hung up
                    for job in alike:
                        self._jobs.remove(job)
                    return alike
        return []

    def _alike(self) -> list[Job]:
        """The first job that waits and others of its kind, as many as go together."""
        kind = self._jobs[0].kind if self._jobs else None
        return [job for job in self._jobs if job.kind == kind][: self.batch]

    def _answer(self, jobs: Sequence[Job]) -> None:
        if not jobs:
            return
        self.seen(len(jobs))
        try:
            answers = jobs[0].run([job.asked for job in jobs])
        except BaseException as error:  # whatever it is, the one who asked must hear of it, and the thread go on
            answers = [error] * len(jobs)
        for job, answer in zip(jobs, answers, strict=True):
            if isinstance(answer, BaseException):
                job.answer.set_exception(answer)
            else:
                job.answer.set_result(answer)
