"""Lab: what an experiment works with. Data, networks, and maps that are computed once and kept."""

from __future__ import annotations

import random
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from wherefore.batch import maps
from wherefore.batch.asking import Asking, Asks
from wherefore.batch.maps import Asked, Explaining, Seen, TenCrop
from wherefore.batch.rows import Work, rows
from wherefore.batch.store import Row, Store
from wherefore.datasets import Dataset, Sample, opened
from wherefore.datasets.matching import matched
from wherefore.errors import Error
from wherefore.explainer import Explainer
from wherefore.inputs import EXAMPLE
from wherefore.models.zoo import load, moved
from wherefore.types import Model

_NUMBER = re.compile(r"-?\d+(\.\d+)?")
NAMED = 3  # bad pictures that are named of each kind
SOUGHT = 50  # pictures are looked at for each one that must be of a kind


@dataclass(frozen=True)
class Settings:
    """What a user may choose: data, a network in place of the shipped ones, how many pictures, and which."""

    data: str = "scenes"
    model: str | None = None
    weights: str | None = None
    limit: int | None = None
    seed: int = 0
    quick: bool = False
    device: str | None = None

    @property
    def small(self) -> bool:
        """Whether networks are as small as the shipped ones, which gain nothing from a second thread."""
        return self.data.startswith("scenes") and (self.model or "scenes:").startswith("scenes:")

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise Error(f"an experiment takes at least 1 picture, not {self.limit}.")
        if self.weights is not None and self.model is None:
            raise Error("weights= are those of a network: say which one with model=.")


class Lab:
    """Data, networks and kept rows for one experiment; maps that are there are not made again."""

    def __init__(self, settings: Settings, folder: str | Path) -> None:
        self.settings, self.folder = settings, Path(folder)
        self.counts: dict[str, int] = {}  # how many pictures of each data set were asked for
        self.comparable = False
        self.refused: dict[str, str] = {}  # networks and methods that do not go together, and why
        self.layers: dict[str, str] = {}  # which layer a method explains of a network
        self.left: dict[str, int] = {}  # how much of what was to be asked is left out, by network and why
        self.unnamed: dict[str, list[str]] = {}  # by network, the categories that no output of it stands for
        self._bad: dict[str, list[str]] = defaultdict(list)  # the pictures with each problem
        self._models: dict[str, Model] = {}
        self._scores: dict[tuple[Any, ...], dict[str, torch.Tensor]] = defaultdict(dict)  # of what, sample -> scores

    @property
    def on_scenes(self) -> bool:
        """Whether the drawn world stands in for photographs."""
        return self.settings.data.partition(":")[0] == "scenes"

    def dataset(self, kind: str = "", split: str = "test") -> Dataset:
        """The data that was asked for; of scenes, those of a kind (``single``, ``pair``) where the user named none."""
        spec = self.settings.data
        found = opened(f"scenes:{kind}" if spec == "scenes" and kind else spec, split)
        self.comparable = found.comparable
        return found

    def network(self, name: str) -> Model:
        """The network of that name, loaded once; in eval mode, on the device that was asked for."""
        if name not in self._models:
            chosen = self.settings.weights if name == self.settings.model else None
            self._models[name] = moved(load(name, chosen or "default"), self.settings.device)
        return self._models[name]

    def take(self, model: Model) -> Model:
        """A network that was loaded elsewhere, to be named among those that were used."""
        return self._models.setdefault(model.name, model)

    def networks(self, *shipped: str) -> list[Model]:
        """The network that the user named, else the shipped ones of these names."""
        names = [self.settings.model] if self.settings.model else [f"scenes:{name}" for name in shipped]
        return [self.network(name) for name in names]

    def numbers(
        self, dataset: Dataset, full: int, quick: int, fits: Callable[[Sample], bool] | None = None
    ) -> list[int]:
        """Which samples are taken: as many as the user said, else ``full`` or ``quick``; at random by the seed.

        Fewer are the first of more. ``fits``: only such samples, sought among `SOUGHT` for each that is wanted.
        """
        wanted, order = self._wanted(full, quick), self._order(dataset)
        fitting = (n for n in order[: SOUGHT * wanted] if fits is None or _fits(dataset, n, fits))
        found = list(islice(fitting, wanted))
        self.counts[f"{dataset.spec} {dataset.split}"] = len(found)
        return found

    def others(self, kind: str, taken: Sequence[int], full: int, quick: int) -> tuple[Dataset, list[int]]:
        """Data to choose a threshold on, and which samples: of the dev split, where the data set has one.

        Else those of the test split that are not ``taken``. Raises `Error` where none are left.
        """
        try:
            dataset = self.dataset(kind, "dev")
            return dataset, self.numbers(dataset, full, quick)
        except Error:
            dataset, there = self.dataset(kind), set(taken)
            left = [number for number in self._order(dataset) if number not in there][: self._wanted(full, quick)]
            if not left:
                raise Error(
                    f"{dataset.spec} has no pictures left to choose a threshold on: take a lower limit."
                ) from None
            return dataset, left

    def _order(self, dataset: Dataset) -> list[int]:
        return random.Random(self.settings.seed).sample(range(len(dataset)), len(dataset))

    def _wanted(self, full: int, quick: int) -> int:
        return self.settings.limit or (quick if self.settings.quick else full)

    def asked(self, what: str, dataset: Dataset, model: Model) -> Asked:
        """Which classes are explained, in the words of `batch.maps.Asked`."""
        if model.classes is None:
            raise Error(f"{model.name} has no names for its classes: give it wf.Model(net, classes=...).")
        outputs = matched(dataset.classes, model.classes)
        self.unnamed[model.name] = [name for name in dataset.classes if name not in outputs]
        return Asked(what, outputs)

    def fitting(self, model: Model, methods: Sequence[str], dataset: Dataset, target: Any = 0) -> list[str]:
        """The methods that apply to a network, explaining ``target``; why the others do not is kept in ``refused``.

        Raises `Error` where none does, or no picture can be read.
        """
        found, picture = [], _first(dataset)
        question = None if model.question is None else EXAMPLE
        for method in methods:
            try:
                e = Explainer(model, method, fit="squash")(picture, target, question)
                self.layers[f"{model.name} {method}"] = e.layer
                found.append(method)
            except Error as error:
                self.refused[f"{model.name} {method}"] = str(error)
        if not found:
            raise Error(
                f"none of {', '.join(methods)} applies to {model.name}: {self.refused[f'{model.name} {method}']}"
            )
        return found

    def takes_crops(self, model: Model) -> bool:
        """Whether ten crops can be made of pictures for a network; why not is kept in ``refused``."""
        try:
            TenCrop(Explainer(model, fit="squash"), Asked("labels", {}))
        except Error as error:
            self.refused[f"{model.name}, ten crops"] = str(error)
            return False
        return True

    def seen(
        self,
        model: Model,
        method: str,
        dataset: Dataset,
        numbers: Sequence[int],
        ask: str | Asked | Asks = "labels",
        layer: str | None = None,
        tencrop: bool = False,
        **options: Any,
    ) -> Iterator[Seen]:
        """What a method says of each sample, from maps that are made once and kept.

        The network sees the whole picture squashed, or with ``tencrop`` ten crops of it (`batch.crops`).
        """
        why = Explainer(model, method, layer, fit="squash", **options)
        asked = self.asked(ask, dataset, model) if isinstance(ask, str) else ask
        store = Store(self.folder / "maps", method, {**maps.about(why, asked.about, dataset), "tencrop": tencrop})
        known = self._scores[model.name, dataset.spec, dataset.split, tencrop]
        if isinstance(asked, Asks):
            work: Work = Asking(why, asked)
        else:
            work = (TenCrop if tencrop else Explaining)(why, asked, known)
        with said_once():
            kept = list(rows(dataset, numbers, work, store, f"{model.name} {method}"))
        self._note(kept)
        left = Counter(row["left"] for row in kept if row.get("left"))
        what = f"{model.name}, {asked.what}" if isinstance(asked, Asks) else model.name
        self.left |= {f"{what}: {why}": count for why, count in left.items()}
        settings = {"method": method, "layer": layer, "fit": "squash", "options": options}
        return maps.seen(dataset, kept, model, settings)

    def measured(
        self,
        name: str,
        about: dict[str, Any],
        dataset: Dataset,
        numbers: Sequence[int],
        work: Work,
        whole: Callable[[Row], bool] | None = None,
    ) -> list[Row]:
        """The rows that ``work`` makes of samples, made once and kept while they are ``whole`` (see `Store`);
        ``about`` is all that they depend on."""
        from wherefore import __version__

        about = {"version": __version__, **maps.of_data(dataset), **about}
        kept = list(rows(dataset, numbers, work, Store(self.folder / "measured", name, about, whole), name))
        self._note(kept)
        return [row for row in kept if not row.get("error")]

    def said(self) -> dict[str, Any]:
        """All that its results depend on, as far as an experiment does not say it itself."""
        missing = {name: categories for name, categories in self.unnamed.items() if categories}
        return {
            "networks": {model.name: model.weights_sha256 for model in self.used},
            "layers": self.layers,
            "fit": "squash",
            "pictures": dict(self.counts),
            **({"categories without an output": missing} if missing else {}),
            **({"left out": self.left} if self.left else {}),
            **{name: getattr(self.settings, name) for name in ("seed", "limit", "quick", "device")},
        }

    @property
    def n(self) -> int:
        """How many pictures were measured on, at most; those that something was chosen on do not count."""
        return max((count for name, count in self.counts.items() if not name.endswith(" dev")), default=0)

    @property
    def used(self) -> list[Model]:
        """The networks that were loaded."""
        return list(self._models.values())

    @property
    def problems(self) -> dict[str, dict[str, Any]]:
        """What was wrong with pictures: how many have each problem, and the first of them."""
        return {kind: {"count": len(names), "first": names[:NAMED]} for kind, names in sorted(self._bad.items())}

    def why(self) -> str:
        """What was wrong with the pictures, with the first of each kind, as the end of a sentence."""
        each = [f"{kind} ({', '.join(names[:NAMED])})" for kind, names in sorted(self._bad.items())]
        left = [f"{what} ({count})" for what, count in self.left.items()]
        return f"{'; '.join([*each, *left]) or 'there are none'}."

    def _note(self, kept: Sequence[Row]) -> None:
        """Remembers what was wrong with pictures, once for each."""
        for row in kept:
            for problem in filter(None, [row.get("problem"), *(row.get("notes") or "").split("; ")]):
                if row["sample"] not in self._bad[problem]:
                    self._bad[problem].append(row["sample"])


def annotated(sample: Sample) -> bool:
    """Whether it is said where anything is in a picture: for ``fits`` of `Lab.numbers`."""
    return bool(sample.instances)


def _fits(dataset: Dataset, number: int, fits: Callable[[Sample], bool]) -> bool:
    """Whether a sample fits; one that cannot be read does, so that whoever works on it says why."""
    try:
        return fits(dataset[number])
    except Error:
        return True


def _first(dataset: Dataset) -> Image.Image:
    """The first picture that can be read."""
    for number in range(len(dataset)):
        try:
            picture: Image.Image = dataset[number].image
            return picture
        except Error:
            continue
    raise Error(f"no picture of {dataset.spec} can be read: `wherefore datasets {dataset.spec}` says why.")


@contextmanager
def said_once() -> Iterator[None]:
    """Warnings of one kind are said once, however many pictures they are about."""
    with warnings.catch_warnings(record=True) as said:
        yield
    kinds = Counter(_NUMBER.sub("#", str(each.message)) for each in said)
    for each in said:
        count = kinds.pop(_NUMBER.sub("#", str(each.message)), 0)
        if count:
            warnings.warn(
                f"{each.message}" + (f" (And {count - 1} more of the kind.)" if count > 1 else ""), stacklevel=4
            )
