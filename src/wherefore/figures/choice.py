"""Choice: the pictures, networks and targets of a figure: what the user named, else drawn from data by the seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from wherefore.batch.local import find_pictures
from wherefore.batch.maps import NOWHERE, scored
from wherefore.classes import class_name
from wherefore.datasets import Dataset, Sample, matched, opened
from wherefore.datasets.scenes import People, Scenes, of_scene
from wherefore.errors import Error
from wherefore.explainer import Explainer
from wherefore.imaging import read
from wherefore.inputs import is_scene
from wherefore.models.zoo import load
from wherefore.preparing import Preprocess
from wherefore.registry import Entry
from wherefore.scenes import named
from wherefore.subjects import Picture
from wherefore.types import Model

LARGE = 384  # the side at which scenes are drawn to be looked at
CHECKPOINT = ".checkpoint.pt"  # how the files end that a training keeps
SOUGHT = 25  # pictures are looked at for each one that must be of a kind
Fits = Callable[[Sample], bool]


@dataclass(frozen=True)
class Settings:
    """What a user may choose. ``data`` and ``count`` are of pictures that are drawn by ``seed``, ``images`` are named.

    ``models`` and ``weights`` are in the order in which the figure names its own; weights of "default" are a network's
    own. ``targets`` are classes, captions, words or answers, ``words`` is a file of names of units.
    """

    images: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    data: str | None = None
    count: int | None = None
    seed: int = 0
    question: str | None = None
    words: str | None = None

    @property
    def given(self) -> dict[str, Any]:
        """What is not left to the figure."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name)) not in (None, ())}


class Taken(NamedTuple):
    """A picture of a figure, and what is known of it, if anything is."""

    picture: Picture
    sample: Sample | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """The categories that are said to be in it."""
        return self.sample.labels if self.sample else ()


class Choice:
    """What one figure is made of. Networks and data are opened once, when they are first asked for."""

    def __init__(self, number: str, entry: Entry, settings: Settings, out: Path) -> None:
        self.number, self.about, self.settings, self.out = number, entry.about, settings, out
        self.taken: list[str] = []  # the names of the pictures that were taken
        self._networks: dict[str, Model] = {}
        _check(number, entry.about, settings)

    # ---------------------------------------------------------------------------------------- networks

    @cached_property
    def networks(self) -> list[Model]:
        """The user's networks, else the shipped ones."""
        names = self.settings.models or tuple(self.about["networks"])
        files = [file for file in self.settings.weights if file not in self.checkpoints]
        files += ["default"] * len(names)
        return [self._load(name, file) for name, file in zip(names, files, strict=False)]

    def _load(self, name: str, file: str) -> Model:
        found = load(name, file)
        key = name if name not in self._networks else f"{name}, {Path(file).name}"
        self._networks[key] = found
        return found

    @property
    def checkpoints(self) -> list[str]:
        """Of a figure of what is segmented, the weights of a network that segments."""
        return _checkpoints(self.about, self.settings)

    @property
    def network(self) -> Model:
        """The first of them."""
        return self.networks[0]

    @property
    def weights(self) -> dict[str, str]:
        """The sha256 of the weights of each network that was used."""
        return {name: model.weights_sha256 for name, model in self._networks.items()}

    def why(self, model: Model, method: str = "grad-cam", layer: str | None = None, **options: Any) -> Explainer:
        """What explains pictures by a network: it sees the whole of them, squashed, if that can be done."""
        return Explainer(model, method, layer, fit=fit(model), **options)

    # ---------------------------------------------------------------------------------------- pictures

    @cached_property
    def data(self) -> Dataset:
        """The data that pictures are drawn from."""
        spec = self.settings.data or "scenes"
        kind = self.about.get("data", "")
        return _large(opened(f"scenes:{kind}" if spec == "scenes" and kind else spec))

    @property
    def on_scenes(self) -> bool:
        """Whether the drawn world stands in for photographs."""
        return all(map(is_scene, self.settings.images)) if self.settings.images else self.data.drawn

    @property
    def count(self) -> int:
        """How many pictures are wanted."""
        return int(self.settings.count or self.about["count"])

    def pictures(self, fits: Fits = lambda sample: True, what: str = "be read") -> list[Taken]:
        """The pictures that the user named, else as many of the data as are wanted, in the order of the seed.

        ``fits``: only such samples, sought among `SOUGHT` for each that is wanted; ``what`` says what they must.
        """
        if self.settings.images:
            found = [self._opened(path) for path in find_pictures(self.settings.images, self.out)]
        else:
            found = list(islice(self.order(fits), self.count))
            if not found:
                raise Error(f"no picture of {self.data.spec} can {what}, as figure {self.number} needs: name some.")
        self.taken = [each.picture.name for each in found]
        return found

    def order(self, fits: Fits = lambda sample: True) -> Iterator[Taken]:
        """Pictures of the data that fit in the order of the seed, as far as they can be read; of `SOUGHT` for each."""
        order = random.Random(self.settings.seed).sample(range(len(self.data)), len(self.data))
        for number in order[: SOUGHT * self.count]:
            try:
                sample = self.data[number]
                found = Taken(Picture(sample.name, sample.image, NOWHERE), sample) if fits(sample) else None
            except Error:  # a damaged file
                continue
            if found:
                yield found

    def _opened(self, path: str | Path) -> Taken:
        if not is_scene(path):
            return Taken(Picture(str(path), read(path), NOWHERE))
        sample = of_scene(named(str(path), LARGE))
        return Taken(Picture(sample.name, sample.image, NOWHERE), sample)

    # ---------------------------------------------------------------------------------------- targets

    def targets(self, model: Model, taken: Taken, most: int) -> list[Any]:
        """The classes that are asked for: the user's, else up to ``most`` that are in the picture, else the likeliest.

        Of several outputs that stand for a category the one with the highest score.
        """
        if self.settings.targets:
            return list(self.settings.targets)
        scores = self.scores(model, taken)
        there = [max(numbers, key=lambda c: float(scores[c])) for numbers in self.outputs(model, taken).values()]
        found = there[:most] or scores.argsort(descending=True)[:most].tolist()
        return list(dict.fromkeys(found))

    def shared(self, taken: Taken, most: int) -> list[Any]:
        """The targets of the first network for all of them: by name, where a number is another class of another one.

        Raises `Error` for a class of that number which another network lacks.
        """
        first, *others = self.networks
        found = self.targets(first, taken, most)
        unlike = [model for model in others if model.classes != first.classes]
        return [_by_name(each, first, unlike) for each in found] if unlike else found

    def scores(self, model: Model, taken: Taken) -> Any:
        """The scores ``(C,)`` of all classes for a picture."""
        why = self.why(model)
        return scored(why, [why.prepare(taken.picture)])[0]

    def outputs(self, model: Model, taken: Taken) -> dict[str, tuple[int, ...]]:
        """The outputs of a network that stand for each category that is said to be in a picture."""
        if not taken.labels:
            return {}
        known = self.matched(model)
        return {label: tuple(known[label]) for label in taken.labels if label in known}

    def matched(self, model: Model) -> Mapping[str, Sequence[int]]:
        """The outputs of a network that stand for the categories of the data, none where no name meets."""
        classes = opened("scenes").classes if self.settings.images else self.data.classes
        try:
            return matched(classes, model.classes or ())
        except Error:
            if self.settings.images:
                return {}
            raise


def fit(model: Model) -> str:
    """How a network sees a picture: squashed, where its preparation can squash."""
    return "squash" if isinstance(model.preprocess, Preprocess) else "model"


def _large(dataset: Dataset) -> Dataset:
    if isinstance(dataset, Scenes | People):
        dataset.side = LARGE
    return dataset


def _by_name(target: str | int, first: Model, others: Sequence[Model]) -> str:
    """The name of a class of the first network that has a number, if all others have it; a name stays as it is."""
    names = first.classes or ()
    if isinstance(target, str) and (target in names or not target.isdecimal()):
        return target
    name = class_name(int(target), names)
    for model in others:
        if name not in (model.classes or ()):
            raise Error(f"{model.name} has no {name!r}, which {first.name} is asked for: name a --target of both.")
    return name


def _check(number: str, about: Mapping[str, Any], settings: Settings) -> None:
    """Raises `Error` for an option that a figure cannot take."""
    given = settings.given
    for name, option in OPTIONS.items():
        if name in given and name not in about["takes"]:
            raise Error(f"figure {number} takes no {option}: leave it out.")
    if settings.images and (settings.data or settings.count):
        raise Error("pictures are named: leave --data and --count out, which say what is drawn by lot.")
    if settings.count is not None and settings.count < 1:
        raise Error(f"a figure shows at least 1 picture, not {settings.count}.")
    most = about.get("models") or len(about["networks"])
    if len(settings.models) > most:
        raise Error(f"figure {number} shows {most} network{'s' * (most > 1)}, not {len(settings.models)}: name fewer.")
    if len(settings.models) < (least := about.get("least", 1)) and settings.models:
        raise Error(f"figure {number} compares {least} networks: give --model as often.")
    if len(settings.targets) > (asked := about.get("asked", len(settings.targets))):
        raise Error(f"figure {number} asks for {asked} class, not {len(settings.targets)}: give --target once.")
    checkpoints = _checkpoints(about, settings)
    if len(checkpoints) > 1:
        raise Error(f"figure {number} shows one network that segments, not {len(checkpoints)}: name fewer.")
    files = len(settings.weights) - len(checkpoints)
    if files and not settings.models:
        raise Error("--weights are those of a network: say which one with --model.")
    if files > len(settings.models):
        raise Error(f"{files} --weights are too many for {len(settings.models)} --model.")


def _checkpoints(about: Mapping[str, Any], settings: Settings) -> list[str]:
    return [file for file in settings.weights if about.get("segments") and file.endswith(CHECKPOINT)]


OPTIONS = {
    "images": "pictures of your own",
    "models": "--model",
    "weights": "--weights",
    "targets": "--target",
    "data": "--data",
    "question": "--question",
    "words": "--words",
}
