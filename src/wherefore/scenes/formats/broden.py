"""Broden 1: pictures, maps of labels at half the size, and tables of labels, for Network Dissection.

A label has one number, whatever the kinds of concepts it comes in: ``wing`` may be a part and a material. Colours and
scenes bear -c and -s as there, so that sea the scene is not sea the object. Scenes are labels of whole pictures.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from wherefore.errors import Error
from wherefore.scenes.annotated import CONCEPTS, ENDINGS, Array, Scene
from wherefore.scenes.formats.files import FORMATS, Writer, jpeg, png, table


@FORMATS("broden")
class Broden(Writer):
    """Broden 1: what every pixel shows as color, object, material, part and texture, and the scene of each picture."""

    name = "broden"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.size = 0
        self.numbers: dict[str, int] = {}  # of labels, in the order in which they came, from 1
        self.frequency: Counter[tuple[str, str]] = Counter()  # (kind, label): pictures that show it
        self.coverage: dict[tuple[str, str], float] = defaultdict(float)  # and the sum of its shares of them
        self.rows: list[list[str | int]] = []

    @property
    def root(self) -> str:
        """The folder of this size; readers are given it."""
        return f"broden1_{self.size}/"

    def add(self, scene: Scene) -> None:
        if self.size not in (0, scene.size):
            raise Error(f"Broden has pictures of one size: {scene.name} has {scene.size} pixels, not {self.size}.")
        self.size = scene.size
        super().add(scene)

    def index(self, split: str) -> str:
        return f"{self.root}index.csv"

    def picture(self, scene: Scene, split: str, number: int) -> str:
        stem, half = f"scenes/{split}_{number:06d}", scene.size // 2
        self.put(f"{self.root}images/{stem}.jpg", jpeg(scene))
        cells = [self._cell(scene, kind, stem) for kind in CONCEPTS]
        self.rows.append([f"{stem}.jpg", split, scene.size, scene.size, half, half, *cells])
        return f"{self.root}images/{stem}.jpg"

    def lists(self, split: str) -> None:
        if split != list(self.origins)[-1]:
            return  # one index holds all splits
        for kind in CONCEPTS:
            own = sorted((label for k, label in self.frequency if k == kind), key=lambda label: self._rank(kind, label))
            self._codes(kind, own)
        self._labels()
        self._categories()
        self.put(self.index(split), table(("image", "split", "ih", "iw", "sh", "sw", *CONCEPTS), self.rows))

    def _cell(self, scene: Scene, kind: str, stem: str) -> str:
        """What the index says of a kind of concept in a picture: a number for all of it, a map, or nothing."""
        names, where = scene.concepts(kind)
        labels = [name + ENDINGS.get(kind, "") for name in names]
        for i, label in enumerate(labels, 1):
            self.numbers.setdefault(label, len(self.numbers) + 1)
            self.frequency[kind, label] += 1
            self.coverage[kind, label] += float((where == i).mean())
        numbers = np.array([0, *(self.numbers[label] for label in labels)])
        if not labels or kind == "scene":
            return ";".join(map(str, numbers[1:]))
        path = f"{stem}_{kind}.png"
        self.put(f"{self.root}images/{path}", png(encoded(numbers[halved(where)])))
        return path

    def _rank(self, kind: str, label: str) -> tuple[float, float, int]:
        """What is seen most comes first."""
        return -self.frequency[kind, label], -self.coverage[kind, label], self.numbers[label]

    def _codes(self, kind: str, labels: list[str]) -> None:
        """The table of one kind: dense codes, the most frequent first."""
        rows = [
            (code, self.numbers[label], label, self.frequency[kind, label], f"{self.coverage[kind, label]:f}")
            for code, label in enumerate(labels, 1)
        ]
        self.put(f"{self.root}c_{kind}.csv", table(("code", "number", "name", "frequency", "coverage"), rows))

    def _labels(self) -> None:
        """The table of all labels, with how many pictures show them as which kind."""
        rows = []
        for label, number in self.numbers.items():
            counts = Counter({kind: n for (kind, name), n in self.frequency.items() if name == label})
            kinds = ";".join(f"{kind}({n})" for kind, n in counts.most_common())
            covered = sum(share for (_, name), share in self.coverage.items() if name == label)
            rows.append((number, label, kinds, counts.total(), f"{covered:f}", ""))
        header = ("number", "name", "category", "frequency", "coverage", "syns")
        self.put(f"{self.root}label.csv", table(header, rows))

    def _categories(self) -> None:
        """The table of the kinds: the first and the last number in it, how many labels, how many pictures show one."""
        rows = []
        for kind in CONCEPTS:
            own = [self.numbers[name] for k, name in self.frequency if k == kind]
            if own:
                seen = sum(n for (k, _), n in self.frequency.items() if k == kind)
                rows.append((kind, min(own), max(own), len(own), seen))
        self.put(f"{self.root}category.csv", table(("name", "first", "last", "count", "frequency"), rows))


def halved(where: Array) -> Array:
    """Every second pixel of every second row, the ones nearest to the middle of what they stand for."""
    side = len(where) // 2
    return where[1::2, 1::2][:side, :side]


def encoded(numbers: Array) -> Array:
    """Numbers of labels as colours: red + 256 green."""
    return np.stack([numbers % 256, numbers // 256, np.zeros_like(numbers)], -1).astype(np.uint8)
