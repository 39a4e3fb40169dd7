"""The networks that a service offers: a name from a request picks one of them, and reaches nothing else."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

from wherefore.classes import TOP, top
from wherefore.errors import Error
from wherefore.explainer import Explainer
from wherefore.explanation import Explanation
from wherefore.guard import any_score
from wherefore.inputs import EXAMPLE, Input, reads_texts
from wherefore.preparing import Frames
from wherefore.registry import METHODS, unknown
from wherefore.saving import jpeg
from wherefore.saying import says_words
from wherefore.types import Model
from wherefore.web.problems import Refused

Report = dict[str, Any]
Kind = Literal["classes", "captions", "answers"]
MOST_TARGETS = 20  # that one request may ask for
LARGEST = 1024  # pixels of the longer side of an overlay that is sent
ROUTES = {"classes": "/v1/explain", "captions": "/v1/caption", "answers": "/v1/ask"}


class Offered(NamedTuple):
    """A network, and what it is asked for."""

    model: Model
    kind: Kind

    def report(self, name: str) -> Report:
        """What callers must know of it."""
        known = list(self.model.classes or ()) if self.kind != "captions" else []
        about = {"name": name, "kind": self.kind, "route": ROUTES[self.kind], "classes": known}
        return {**about, "weights_sha256": self.model.weights_sha256}


class Networks:
    """The networks by name, each with an explainer for every method, made when it is first asked for.

    Each is run once at the start: what cannot be explained is said then, as an `Error`.
    """

    def __init__(self, models: Mapping[str, Model]) -> None:
        if not models:
            raise Error("a service needs a network: name one with --model.")
        self.offered = {name: Offered(model, _kind(name, model)) for name, model in models.items()}
        self._explainers: dict[tuple[str, str], Explainer] = {}
        self._lock = threading.Lock()
        for name in models:
            _try(self.explainer(name, "grad-cam"))

    def report(self) -> list[Report]:
        """All networks, in the order in which they were named."""
        return [each.report(name) for name, each in self.offered.items()]

    def first(self, kind: Kind) -> str:
        """The network that is asked where none is named. Raises `Refused` where none is of that kind."""
        found = next((name for name, each in self.offered.items() if each.kind == kind), None)
        if found is None:
            raise Refused(422, f"No network here gives {kind}: /v1/models lists those that there are.")
        return found

    def explainer(self, name: str, method: str, kind: Kind | None = None) -> Explainer:
        """What explains the named network by a method. Raises `Refused` for names that are not offered."""
        if name not in self.offered:
            raise Refused(422, unknown("model here", name[:100], self.offered))
        own = self.offered[name].kind
        if kind not in (None, own):
            raise Refused(422, f"{name} gives {own}, no {kind}: ask it at {ROUTES[own]}.")
        if method not in METHODS:
            raise Refused(422, unknown("method", method[:100], METHODS))
        with self._lock:
            if (name, method) not in self._explainers:
                self._explainers[name, method] = Explainer(self.offered[name].model, method)
            return self._explainers[name, method]


def _kind(name: str, model: Model) -> Kind:
    """What a network is asked for, seen by running it once on noise."""
    if reads_texts(model) or isinstance(model.preprocess, Frames):
        raise Error(f"{name} does not look at single pictures: the service explains networks that do.")
    if model.question is not None and model.prompt is None:
        return "answers"
    noise = Explainer(model).reader.example()
    return "captions" if says_words(model, noise.images) else "classes"


def _try(why: Explainer) -> None:
    """Explains a scene: the layer is found before the first request has to wait for it."""
    with any_score(why.net):  # a detector may see nothing in it
        why.on([why.prepare(why.open("scenes:17"))], None, None if why.model.question is None else EXAMPLE)


# -------------------------------------------------------------------------------------------- pictures of many users


class Asked(NamedTuple):
    """A picture and its targets: ``None``, ``top5``, ``all``, a class, or a list of these, as ``--target`` takes it."""

    input: Input
    target: str | list[str] | None

    @property
    def form(self) -> object:
        """What the targets of pictures that go together must share: how many classes are named, else what is asked."""
        return len(self.names) if self.names else self.target

    @property
    def names(self) -> list[str]:
        """The classes that are named; none where the network is to say which."""
        if self.target is None or isinstance(self.target, str):
            return [] if self.target is None or self.target == "all" or TOP.fullmatch(self.target) else [self.target]
        return self.target


@dataclass(frozen=True)
class Explained:
    """One picture of an explanation of several, with what was asked of it alone."""

    explanation: Explanation
    image: int
    target: str | list[str] | None

    def report(self, include: Sequence[str] = ()) -> Report:
        """As ``wherefore explain --json`` prints it, and with each target what else is to be included."""
        origin = {**self.explanation.origin(), "target": str(self.target)}  # never what others asked
        return {**origin, "images": [measured(self.explanation, "", self.image, include)]}


def explained(why: Explainer, asked: Sequence[Asked]) -> list[Explained | Exception]:
    """The explanations of pictures whose targets are of one form, by one call; one by one where that fails.

    So nobody's picture or class is another one's error.
    """
    named = all(each.names for each in asked) and len(asked) > 1
    target: Any = [each.names for each in asked] if named else asked[0].target
    try:
        e = why.on([each.input for each in asked], target)
        return [Explained(e, i, each.target) for i, each in enumerate(asked)]
    except (Error, RuntimeError) as error:  # of memory, too
        if len(asked) == 1:
            return [error]
        return [found for each in asked for found in explained(why, [each])]


def targets(given: Sequence[str], model: Model) -> str | list[str] | None:
    """Targets as ``--target`` takes them. Raises `Refused` for more than `MOST_TARGETS`."""
    target = None if not given else given[0] if len(given) == 1 else [*given]
    count = len(given)
    if isinstance(target, str) and TOP.fullmatch(target):
        count = min(top(target), len(model.classes or ()) or MOST_TARGETS + 1)
    elif target == "all":
        count = len(model.classes or ()) or MOST_TARGETS + 1
    if count > MOST_TARGETS:
        raise Refused(422, f"That asks for {count} targets: ask for {MOST_TARGETS} at most.")
    return target


# -------------------------------------------------------------------------------------------- what is sent


def measured(
    e: Explanation, kind: str = "", image: int = 0, include: Sequence[str] = (), scale: str = "each"
) -> Report:
    """The report of one picture; with each target what is to be included of it.

    ``overlay``: the picture under the map, as an address that holds a JPEG, ``drawn`` in ``heat``, or of pixels in
    ``grey``, which is 0; ``map``: the raw values, as nested lists.
    """
    report = e.report(image)
    extras: dict[str, Callable[[], list[Any]]] = {
        "overlay": partial(_overlays, e, image, scale),
        "map": lambda: [m.tolist() for m in e.maps[image].cpu()],
    }
    for each in sorted({*include}):
        for target, value in zip(report["targets"], extras[each](), strict=True):
            target[each] = value
            target |= {"drawn": "heat" if e.pixels is None else "grey"} if each == "overlay" else {}
    return report


def _overlays(e: Explanation, image: int, scale: str) -> list[str]:
    small = e.within(LARGEST, image)
    drawn = small.overlays(image, scale=scale, legend=False)
    return ["data:image/jpeg;base64," + base64.b64encode(jpeg(each)).decode() for each in drawn]
