"""The pictures that networks of people are trained on and measured on: drawn when they are asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from wherefore.errors import Error
from wherefore.progress import track
from wherefore.registry import unknown
from wherefore.scenes.people import BALANCED, BIASED, CUE, HAIR, LABELS, VERSION, Cue, Figure, figure
from wherefore.training.data import Array, Pictures

NOTE = (
    "Long and short hair, and what goes with them in a face, are drawn appearances. They stand for what the annotators "
    "of the paper's photographs perceived, and say nothing of the gender of anybody."
)
COUNTS = {"train": 2000, "dev": 1000, "test": 2000}
KINDS = ("biased", "balanced", "unbiased")


@dataclass(frozen=True)
class People:
    """Pictures of doctors and nurses by split; ``kind`` is about training, what is measured on is always balanced.

    ``biased``: hair goes with the label as in the paper's pictures; ``balanced``: half of each label have long hair;
    ``unbiased``: half as many people, each once with short and once with long hair, so that hair says nothing of the
    label and goes with nothing else in the picture, not even by chance. Raises `Error` for another kind.
    """

    kind: str
    cue: Cue = CUE

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise Error(unknown("kind of pictures of people", self.kind, KINDS))

    def __call__(self, split: str) -> dict[str, Pictures]:
        """The pictures of a split under the names of what is measured on them: all, and each label with each hair."""
        pictures, labels, long = drawn_people(split, self.kind if split == "train" else "balanced", self.cue)
        found = {"top-1": Pictures([pictures], labels)}
        if split == "test":
            for name, rows in groups(labels, long).items():
                found[name] = Pictures([pictures[rows]], labels[rows])
        return found

    @property
    def source(self) -> dict[str, Any]:
        """Which pictures a network is trained on, as its card says it."""
        said = {"people": "train", "version": VERSION, "pictures": COUNTS["train"], "cue": asdict(self.cue)}
        hair = {"percent with long hair": BIASED if self.kind == "biased" else BALANCED, "note": NOTE}
        return {**said, **({"people": "train, each with both hairs"} if self.kind == "unbiased" else {}), **hair}


@lru_cache(maxsize=16)
def drawn_people(split: str, kind: str, cue: Cue) -> tuple[Array, Array, Array]:
    """Pictures ``(N, 64, 64, 3)``, labels ``(N, 2)`` of 0 and 1, and whose hair is long ``(N,)``."""
    count = COUNTS[split]
    pictures, labels, long = (
        np.empty((count, 64, 64, 3), np.uint8),
        np.zeros((count, 2), np.uint8),
        np.empty(count, bool),
    )
    for i in track(range(count), count, f"drawing {count:,} people"):
        shown = _figure(i, split, kind, cue)
        pictures[i], labels[i, LABELS.index(shown.label)], long[i] = shown.drawing.pixels, 1, shown.hair == "long"
    return pictures, labels, long


def _figure(number: int, split: str, kind: str, cue: Cue) -> Figure:
    """The figure of picture ``number``; of the unbiased ones two in a row are the same person."""
    if kind != "unbiased":
        return figure(number, split, kind == "balanced", 64, cue)
    person = figure(number // 2, split, cue=cue)
    return person.swapped if number % 2 else person


def groups(labels: Array, long: Array) -> dict[str, Array]:
    """The numbers of the pictures of each label with each hair."""
    return {
        f"{label}, {hair} hair": np.flatnonzero(labels[:, i].astype(bool) & (long == (hair == "long")))
        for i, label in enumerate(LABELS)
        for hair in HAIR
    }
