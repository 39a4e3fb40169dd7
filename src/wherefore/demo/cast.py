"""Who plays: the shipped networks, the scenes that numbers are taken on, and those that are shown."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import islice

from wherefore.demo.measures import Pointing, pointing
from wherefore.demo.networks import names_first
from wherefore.models.zoo import load
from wherefore.scenes import Scene, scene
from wherefore.types import Model

LARGE = 384  # the side at which a scene is drawn to be looked at; numbers are taken at its usual size
SEARCHED = 400  # scenes that are tried, at most, until one fits a rule


class Cast:
    """What the chapters share. Numbers are taken on the first ``count`` test scenes with two objects."""

    def __init__(self, count: int = 100) -> None:
        self.count = count
        self.networks: dict[str, Model] = {}  # those that were asked for

    def network(self, name: str) -> Model:
        """The shipped network of that name, loaded once."""
        if name not in self.networks:
            self.networks[name] = load(f"scenes:{name}")
        return self.networks[name]

    @property
    def vgg(self) -> Model:
        """The network that most of the story is about."""
        return self.network("vgg")

    @cached_property
    def pairs(self) -> list[Scene]:
        """The scenes that numbers are taken on."""
        return [scene(number, objects=2) for number in range(self.count)]

    @cached_property
    def grad_cam(self) -> Pointing:
        """Where the peaks of Grad-CAM lie on them."""
        return pointing(self.vgg, self.pairs)

    @cached_property
    def shown(self) -> list[Scene]:
        """The first three scenes with two objects of which vgg puts both names first; scene 0 if there is none."""
        return list(islice(filter(self.named, many(2)), 3)) or [next(many(2))]

    @cached_property
    def mistaken(self) -> Scene | None:
        """The first scene, with any number of objects, that vgg does not name completely, if any."""
        return next((each for each in many(None) if not self.named(each)), None)

    def named(self, scene: Scene) -> bool:
        """Whether the names that vgg puts first, as many as there are, are those of all things in a scene."""
        first = names_first(self.vgg, scene.image, len(scene.labels))
        return {name for name, _ in first} == set(scene.labels)


def many(objects: int | None) -> Iterator[Scene]:
    """Test scenes to be looked at, in their order."""
    return (scene(number, objects=objects, size=LARGE) for number in range(SEARCHED))
