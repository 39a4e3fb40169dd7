"""The loop over a data set: slices of it become rows, which are kept; what is there is not done again.

Users' runs, experiments and audits all go through it, and so all of them resume, show how far they are, and survive
pictures that cannot be read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Protocol, TypeVar

from wherefore.batch.store import Row, Store
from wherefore.datasets import Dataset, Sample, Unreadable
from wherefore.errors import Error, ImageError
from wherefore.progress import track

SLICE = 16  # samples that are read, worked on and kept together


class Read(Protocol):
    """What is read of a sample, by default the `Sample` itself with all that it holds decoded."""

    @property
    def name(self) -> str: ...

    @property
    def notes(self) -> tuple[str, ...]: ...


R = TypeVar("R", bound=Read)
Work = Callable[[Sequence[Sample]], list[list[Row]]]  # the rows of each sample


def rows(
    dataset: Dataset, numbers: Sequence[int], work: Work, store: Store | None = None, what: str = "explaining"
) -> Iterator[Row]:
    """The rows that ``work`` makes of samples, in their order; each says ``number`` and ``sample``.

    A sample that cannot be read, or worked on, has one row with its ``error`` and the kind of ``problem``; rows of one
    that was mended in reading have ``notes``. Slices that the store holds are not done again. Raises the `Error` of
    work that fits no sample.
    """
    slices = -(-len(numbers) // SLICE)
    for found in track(sliced(numbers, partial(_read, dataset), work, store, SLICE), slices, what):
        yield from found


def sliced(
    numbers: Sequence[int],
    read: Callable[[int], R],
    work: Callable[[Sequence[R]], list[list[Row]]],
    store: Store | None,
    size: int,
    readers: int = 1,
) -> Iterator[list[Row]]:
    """The rows of ``numbers``, a slice of ``size`` at a time, while ``readers`` threads read the next one.

    ``read`` gives what ``work`` takes of each; what it raises as `Error` becomes the row of that sample.
    """
    with ThreadPoolExecutor(readers) as pool:
        for each, kept, coming in _ahead(pool, numbers, read, store, size):
            if kept is None:
                kept = _made(each, [future.result() for future in coming], work)
                if store:
                    store.write(each, kept)
            yield kept


Slice = tuple[list[int], list[Row] | None, list["Future[R | Error]"]]  # numbers, what is kept of them, what is read


def _ahead(
    pool: ThreadPoolExecutor, numbers: Sequence[int], read: Callable[[int], R], store: Store | None, size: int
) -> Iterator[Slice[R]]:
    """Slices with what the store holds of them, else with what is being read; the next one meanwhile."""

    def held(number: int) -> R | Error:
        try:
            return read(number)
        except Error as error:
            return error

    waiting: deque[Slice[R]] = deque()
    for start in range(0, len(numbers), size):
        each = list(numbers[start : start + size])
        kept = store.read(each) if store else None
        waiting.append((each, kept, [] if kept is not None else [pool.submit(held, n) for n in each]))
        if len(waiting) > 1:
            yield waiting.popleft()
    yield from waiting


def _made(
    numbers: Sequence[int], read: Sequence[R | Error], work: Callable[[Sequence[R]], list[list[Row]]]
) -> list[Row]:
    """The rows of a slice."""
    done = iter(_worked([each for each in read if not isinstance(each, Error)], work))
    found: list[Row] = []
    for number, each in zip(numbers, read, strict=True):
        if isinstance(each, Error):
            name = each.args[0].name if isinstance(each, Unreadable) else str(number)
            found.append({"number": number, "sample": name, "error": str(each), "problem": kind(each)})
        else:
            notes = {"notes": "; ".join(each.notes)} if each.notes else {}
            found += [{"number": number, "sample": each.name, **notes, **row} for row in next(done)]
    return found


def _worked(samples: Sequence[R], work: Callable[[Sequence[R]], list[list[Row]]]) -> list[list[Row]]:
    """The rows of samples; one by one where that fails, so that one picture does not end the run of all."""
    if not samples:
        return []
    try:
        return work(samples)
    except (ImageError, Unreadable) as error:
        if len(samples) == 1:
            return [[{"error": str(error), "problem": kind(error)}]]
        return [rows for each in samples for rows in _worked([each], work)]


def kind(error: Error) -> str:
    """What kind of problem an error is, for counting: that of a `datasets.Unreadable`, else its own words."""
    return error.kind if isinstance(error, Unreadable) else str(error)


def _read(dataset: Dataset, number: int) -> Sample:
    sample: Sample = dataset[number]
    # All that is decoded late is decoded here, where what is damaged is named, and not amidst a measurement.
    _ = sample.image, sample.segmentation, sample.parts, [each.mask for each in sample.instances]
    return sample
