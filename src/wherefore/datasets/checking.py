"""What is in a data set and what is wrong with it: every sample read in full, problems counted by kind."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from wherefore.datasets.files import Unreadable
from wherefore.datasets.sample import Dataset
from wherefore.errors import Error
from wherefore.progress import track

SHOWN = 5  # names of each kind of problem


def report(dataset: Dataset) -> dict[str, Any]:
    """What is in a data set, as ``wherefore datasets SPEC --json`` prints it.

    ``problems`` are kinds of them, the worst first: ``count`` pictures, the ``names`` of the first (or of the files
    that cannot be read), and whether they are ``mended``; other pictures are not ``usable``. Pictures, masks and
    segmentations are all decoded, which takes as long as reading all of it does; of what is drawn nothing is.
    """
    found: dict[tuple[bool, str], list[str]] = defaultdict(list)
    usable = len(dataset)
    for number in track(range(0 if dataset.drawn else len(dataset)), len(dataset), dataset.spec):
        try:
            sample = dataset[number]
            _ = sample.image, sample.segmentation, [each.mask for each in sample.instances]
        except Error as error:
            kind, file = (error.kind, error.args[0].name) if isinstance(error, Unreadable) else (str(error), number)
            found[False, kind].append(str(file))
            usable -= 1
        else:
            for note in sample.notes:
                found[True, note].append(sample.name)
    kinds = sorted(found, key=lambda key: (key[0], -len(found[key])))
    return {
        "data": dataset.spec,
        "split": dataset.split,
        "pictures": len(dataset),
        "usable": usable,
        "classes": [*dataset.classes],
        "comparable": dataset.comparable,
        "problems": [
            {"kind": kind, "count": len(found[mended, kind]), "mended": mended, "names": found[mended, kind][:SHOWN]}
            for mended, kind in kinds
        ],
    }
