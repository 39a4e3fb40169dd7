"""What is in a data set and what is wrong with it: every sample read in full, problems counted by kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from wherefore.datasets.files import Unreadable
from wherefore.datasets.sample import Dataset, Sample
from wherefore.errors import Error
from wherefore.progress import track

SHOWN = 5  # names of each kind of problem
COUNTED: dict[str, Callable[[Sample], int]] = {
    "captions": lambda sample: len(sample.captions),
    "regions": lambda sample: len(sample.regions),
    "questions": lambda sample: len(sample.questions),
    "looked": lambda sample: sum(each.looked is not None for each in sample.questions),
}


def report(dataset: Dataset) -> dict[str, Any]:
    """What is in a data set, as ``wherefore datasets SPEC --json`` prints it.

    ``problems`` are kinds of them, the worst first: ``count`` pictures, the ``names`` of the first (or of the files
    that cannot be read), and whether they are ``mended``; other pictures are not ``usable``. ``captions``,
    ``regions``, ``questions`` and ``looked`` (questions of which it is known where people looked) are how many the
    usable pictures have, None where all is drawn. Pictures, masks, segmentations and maps are all decoded, which takes
    as long as reading all of it does; of what is drawn nothing is.
    """
    found: dict[tuple[bool, str], list[str]] = defaultdict(list)
    usable, counts = len(dataset), dict.fromkeys(COUNTED, 0)
    for number in track(range(0 if dataset.drawn else len(dataset)), len(dataset), dataset.spec):
        try:
            sample = dataset[number]
            _decode(sample)
        except Error as error:
            kind, file = (error.kind, error.args[0].name) if isinstance(error, Unreadable) else (str(error), number)
            found[False, kind].append(str(file))
            usable -= 1
        else:
            counts = {what: counts[what] + count(sample) for what, count in COUNTED.items()}
            for note in sample.notes:
                found[True, note].append(sample.name)
    kinds = sorted(found, key=lambda key: (key[0], -len(found[key])))
    return {
        "data": dataset.spec,
        "split": dataset.split,
        "pictures": len(dataset),
        "usable": usable,
        "classes": [*dataset.classes],
        **{what: None if dataset.drawn else count for what, count in counts.items()},
        "comparable": dataset.comparable,
        "problems": [
            {"kind": kind, "count": len(found[mended, kind]), "mended": mended, "names": found[mended, kind][:SHOWN]}
            for mended, kind in kinds
        ],
    }


def _decode(sample: Sample) -> None:
    _ = sample.image, sample.segmentation, sample.parts, [each.mask for each in sample.instances]
    for each in sample.questions:
        _ = each.looked and each.looked()
