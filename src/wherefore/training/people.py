"""The pictures that the two networks of people are trained on and measured on: drawn when they are asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from wherefore.progress import track
from wherefore.scenes.people import BALANCED, BIASED, CUE, HAIR, LABELS, VERSION, Cue, figure
from wherefore.training.data import Array, Pictures

NOTE = (
    "Long and short hair, and what goes with them in a face, are drawn appearances. They stand for what the annotators "
    "of the paper's photographs perceived, and say nothing of the gender of anybody."
)
COUNTS = {"train": 2000, "dev": 1000, "test": 2000}


@dataclass(frozen=True)
class People:
    """Pictures of doctors and nurses by split; ``balanced`` is about training, what is measured on always is."""

    balanced: bool
    cue: Cue = CUE

    def __call__(self, split: str) -> dict[str, Pictures]:
        """The pictures of a split under the names of what is measured on them: all, and each label with each hair."""
        balanced = self.balanced or split != "train"
        pictures, labels, long = drawn_people(split, balanced, self.cue)
        found = {"top-1": Pictures([pictures], labels)}
        if split == "test":
            for name, rows in groups(labels, long).items():
                found[name] = Pictures([pictures[rows]], labels[rows])
        return found

    @property
    def source(self) -> dict[str, Any]:
        """Which pictures a network is trained on, as its card says it."""
        said = {"people": "train", "version": VERSION, "pictures": COUNTS["train"], "cue": asdict(self.cue)}
        return {**said, "percent with long hair": BALANCED if self.balanced else BIASED, "note": NOTE}


@lru_cache(maxsize=16)
def drawn_people(split: str, balanced: bool, cue: Cue) -> tuple[Array, Array, Array]:
    """Pictures ``(N, 64, 64, 3)``, labels ``(N, 2)`` of 0 and 1, and whose hair is long ``(N,)``."""
    count = COUNTS[split]
    pictures, labels, long = (
        np.empty((count, 64, 64, 3), np.uint8),
        np.zeros((count, 2), np.uint8),
        np.empty(count, bool),
    )
    for i in track(range(count), count, f"drawing {count:,} people"):
        shown = figure(i, split, balanced, 64, cue)
        pictures[i], labels[i, LABELS.index(shown.label)], long[i] = shown.drawing.pixels, 1, shown.hair == "long"
    return pictures, labels, long


def groups(labels: Array, long: Array) -> dict[str, Array]:
    """The numbers of the pictures of each label with each hair."""
    return {
        f"{label}, {hair} hair": np.flatnonzero(labels[:, i].astype(bool) & (long == (hair == "long")))
        for i, label in enumerate(LABELS)
        for hair in HAIR
    }
