"""How each shipped network is trained: everything that its numbers depend on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from wherefore.errors import Error
from wherefore.models.scenes import NETWORKS, preprocess
from wherefore.models.zoo import MULTI
from wherefore.registry import unknown
from wherefore.scenes.people import LABELS
from wherefore.scenes.world import CATEGORIES, PLACES, VERSION
from wherefore.training.data import Pictures, Wanted, drawn
from wherefore.training.people import People

Mix = tuple[tuple[int | None, int], ...]  # (objects, pictures): so many pictures with so many objects; None: any
Sets = dict[str, Pictures]
HELD_OUT: dict[str, Mix] = {"dev": ((1, 500), (2, 500)), "test": ((1, 2000), (2, 1000))}
ONE, TWO = "top-1, one object", "both names first, two objects"


class Source(Protocol):
    """Pictures of a split under the names of what is measured on them, and what a card says of them."""

    @property
    def source(self) -> dict[str, Any]: ...

    def __call__(self, split: str) -> Sets: ...


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: AdamW with one cycle of the learning rate, pictures mirrored, shifted and dimmed.

    ``mix`` says how many training pictures there are with how many objects. ``smoothing`` is that of single labels.
    ``start`` names the network whose convolutions it starts from. ``data`` gives the pictures of a split under the
    names of what is measured on them, and ``names`` those of its classes; by default these are scenes.
    """

    network: str
    epochs: int
    lr: float
    mix: Mix = ((1, 12000), (2, 12000), (None, 6000))
    batch: int = 64
    weight_decay: float = 0.02
    warm_up: float = 0.2
    smoothing: float = 0.05
    flip: bool = True
    shift: int = 4
    brightness: float = 0.15
    start: str | None = None
    seed: int = 0
    data: Source | None = field(default=None, compare=False, repr=False)
    names: tuple[str, ...] = ()

    @property
    def multilabel(self) -> bool:
        """Whether a picture may have several labels."""
        return NETWORKS[self.network].task == MULTI

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the outputs."""
        return self.names or (CATEGORIES if self.multilabel else PLACES)

    @property
    def settings(self) -> dict[str, Any]:
        """All that the weights depend on, as a card holds it."""
        left_out = {"data", "names", "seed", "smoothing" if self.multilabel else "", "" if self.data is None else "mix"}
        return {key: value for key, value in asdict(replace(self, data=None)).items() if key not in left_out}

    @property
    def source(self) -> dict[str, Any]:
        """Which pictures it is trained on, as a card says it."""
        if self.data is not None:
            return self.data.source
        mix = [{"objects": objects or "1-4", "pictures": count} for objects, count in self.mix]
        return {"scenes": "train", "world": VERSION, "mix": mix, "pictures": sum(count for _, count in self.mix)}

    def sets(self, split: str) -> Sets:
        """The pictures of a split under the names of what is measured on them; more pictures are kept on disk."""
        if self.data is not None:
            return self.data(split)
        mix = self.mix if split == "train" else HELD_OUT[split]
        names = [f"{objects or 'any'} objects" for objects, _ in mix] if split == "train" else self._measured
        return {name: self._of(split, objects, count) for name, (objects, count) in zip(names, mix, strict=True)}

    @property
    def _measured(self) -> list[str]:
        return [ONE, TWO] if self.multilabel else [ONE, "top-1, two objects"]

    def _of(self, split: str, objects: int | None, count: int) -> Pictures:
        pictures, categories, places = drawn(Wanted(split, objects, count, preprocess(self.network)))
        return Pictures([pictures], categories if self.multilabel else np.eye(len(PLACES), dtype=np.uint8)[places])


RECIPES = {
    "vgg": Recipe("vgg", epochs=8, lr=2e-3),
    "vgg-cam": Recipe("vgg-cam", epochs=2, lr=2e-3, start="vgg"),
    "alexnet": Recipe("alexnet", epochs=4, lr=1e-3),
    "googlenet": Recipe("googlenet", epochs=6, lr=4e-3),
    "resnet": Recipe("resnet", epochs=4, lr=4e-3),
    "places": Recipe("places", epochs=2, lr=2e-3, start="vgg"),
    "people-biased": Recipe("people-biased", epochs=6, lr=2e-3, data=People("biased"), names=LABELS),
    "people-balanced": Recipe("people-balanced", epochs=6, lr=2e-3, data=People("balanced"), names=LABELS),
}


def recipe_for(name: str | Recipe, epochs: int | None = None, seed: int | None = None) -> Recipe:
    """The recipe of that name, or the one given, with another number of epochs or seed where these are given."""
    if not isinstance(name, Recipe) and name not in RECIPES:
        raise Error(unknown("recipe for a network", name, RECIPES))
    if epochs is not None and epochs < 1:
        raise Error(f"a network is trained for one epoch or more, not {epochs}.")
    if seed is not None and not 0 <= seed < 2**63:
        raise Error(f"a seed is a whole number from 0 to {2**63 - 1}, not {seed}.")
    changes: dict[str, Any] = {key: value for key, value in (("epochs", epochs), ("seed", seed)) if value is not None}
    return replace(name if isinstance(name, Recipe) else RECIPES[name], **changes)
