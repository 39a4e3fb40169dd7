"""Design: what a researcher decides on before a study; what is left empty is as in the paper."""

from __future__ import annotations

from dataclasses import dataclass, replace

from wherefore.errors import Error
from wherefore.registry import unknown
from wherefore.study.plan import KINDS, Kind


@dataclass(frozen=True)
class Usual:
    """What a kind of study has where nobody says otherwise; methods and workers are the paper's."""

    models: tuple[str, ...]
    methods: tuple[str, ...]
    workers: int


USUAL: dict[Kind, Usual] = {
    "class-discrimination": Usual(
        ("scenes:vgg",), ("deconvnet", "guided-backprop", "deconv-grad-cam", "guided-grad-cam"), 43
    ),
    "trust": Usual(("scenes:vgg", "scenes:alexnet"), ("guided-backprop", "guided-grad-cam"), 54),
}


@dataclass(frozen=True)
class Design:
    """A study as it is asked for.

    ``weights`` are files, in the order of ``models``. ``pairs`` are pictures with one of their categories each, which
    every method shows: in class discrimination both categories of half as many pictures. Each item gets ``ratings``, by
    ``workers`` people. ``seed`` draws the pictures, and the names that tell nothing.
    """

    kind: Kind
    models: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    data: str = "scenes"
    split: str = "test"
    methods: tuple[str, ...] = ()
    pairs: int = 90
    ratings: int = 9
    workers: int | None = None
    seed: int = 0
    device: str | None = None

    @property
    def people(self) -> int:
        """How many are asked."""
        return USUAL[self.kind].workers if self.workers is None else self.workers

    @property
    def small(self) -> bool:
        """Whether networks are those that the package carries, which gain nothing from a second thread."""
        return all(model.startswith("scenes:") for model in self.models)

    def whole(self) -> Design:
        """The same with nothing left empty. Raises `Error` for what no data can give."""
        if self.kind not in KINDS:
            raise Error(unknown("kind of study", self.kind, KINDS))
        usual, in_twos = USUAL[self.kind], self.kind == "class-discrimination"
        models, count = self.models or usual.models, len(usual.models)
        if len(models) != count:
            wanted = f"{count} network{'s' * (count > 1)}"
            raise Error(f"{self.kind} is about {wanted}, not {len(models)}: give --model once for each.")
        if self.weights and len(self.weights) != count:
            raise Error(f"{len(self.weights)} files of weights for {count}: give --weights once for each --model.")
        if self.pairs < 1 or (in_twos and self.pairs % 2):
            raise Error(
                f"--pairs is at least {'2, and even: both categories of each picture' if in_twos else '1'}; "
                f"not {self.pairs}."
            )
        methods = tuple(dict.fromkeys(self.methods or usual.methods))
        return replace(self, models=models, methods=methods, workers=self.people)
