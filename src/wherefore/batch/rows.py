"""The loop over a data set: slices of it become rows, which are kept; what is there is not done again.

Users' runs, experiments and audits all go through it, and so all of them resume, show how far they are, and survive
pictures that cannot be read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from wherefore.batch.store import Row, Store
from wherefore.datasets import Dataset, Sample, Unreadable
from wherefore.errors import Error, ImageError
from wherefore.progress import track

SLICE = 16  # samples that are read, worked on and kept together
Work = Callable[[Sequence[Sample]], list[list[Row]]]  # the rows of each sample
Read = Sample | Error


def rows(
    dataset: Dataset, numbers: Sequence[int], work: Work, store: Store | None = None, what: str = "explaining"
) -> Iterator[Row]:
    """The rows that ``work`` makes of samples, in their order; each says ``number`` and ``sample``.

    A sample that cannot be read, or worked on, has one row with its ``error`` and the kind of ``problem``; rows of one
    that was mended in reading have ``notes``. Slices that the store holds are not done again. Raises the `Error` of
    work that fits no sample.
    """
    slices = [list(numbers[start : start + SLICE]) for start in range(0, len(numbers), SLICE)]
    kept = [store.read(each) if store else None for each in slices]
    missing = [each for each, there in zip(slices, kept, strict=True) if there is None]
    with ThreadPoolExecutor(1) as reader:
        samples = _ahead(reader, dataset, missing)
        for each, there in track(zip(slices, kept, strict=True), len(slices), what):
            found = there
            if found is None:
                found = _made(each, next(samples), work)
                if store:
                    store.write(each, found)
            yield from found


def _made(numbers: Sequence[int], read: Sequence[Read], work: Work) -> list[Row]:
    """The rows of a slice."""
    good = [each for each in read if isinstance(each, Sample)]
    done = iter(_worked(good, work))
    found: list[Row] = []
    for number, each in zip(numbers, read, strict=True):
        if isinstance(each, Sample):
            notes = {"notes": "; ".join(each.notes)} if each.notes else {}
            found += [{"number": number, "sample": each.name, **notes, **row} for row in next(done)]
        else:
            name = each.args[0].name if isinstance(each, Unreadable) else str(number)
            found.append({"number": number, "sample": name, "error": str(each), "problem": kind(each)})
    return found


def _worked(samples: Sequence[Sample], work: Work) -> list[list[Row]]:
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


def _ahead(reader: ThreadPoolExecutor, dataset: Dataset, slices: Iterable[Sequence[int]]) -> Iterator[list[Read]]:
    """The samples of slices, with their pictures decoded; the next slice is being read meanwhile."""
    waiting: deque[Future[list[Read]]] = deque()
    for numbers in slices:
        waiting.append(reader.submit(lambda numbers: [_read(dataset, n) for n in numbers], numbers))
        if len(waiting) > 1:
            yield waiting.popleft().result()
    for future in waiting:
        yield future.result()


def _read(dataset: Dataset, number: int) -> Read:
    try:
        sample: Sample = dataset[number]
        # All that is decoded late is decoded here, where what is damaged is named, and not amidst a measurement.
        _ = sample.image, sample.segmentation, sample.parts, [each.mask for each in sample.instances]
    except Error as error:
        return error
    return sample
