"""Sanity checks: do maps change with what the network has learned (Adebayo et al. 2018)?

Of networks whose weights are drawn anew from the logits downward the layers above the one that is explained change the
weights of its channels alone, those at and below it the channels too: two regimes, to be plotted apart. For a network
that was trained on shuffled labels, compare with `likenesses(e, again(e, net), image)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from wherefore.errors import Error
from wherefore.explainer import Explainer
from wherefore.explanation import Explanation
from wherefore.guard import unwrap
from wherefore.inputs import Input
from wherefore.metrics.likeness import likenesses
from wherefore.options import WITHOUT_LAYER, takes
from wherefore.places import Place
from wherefore.randomising import Stage, randomised
from wherefore.saying import says_words, spoken
from wherefore.worded import settled


@dataclass(frozen=True)
class Step:
    """How alike the maps are to the original ones, with the weights of one more layer, or of one alone, drawn anew."""

    layer: str
    above: bool  # whether it lies above the layer that is explained
    likenesses: list[list[dict[str, float]]]  # by picture and target, see `metrics.likeness`


def decay(
    e: Explanation, layers: Sequence[Stage | str] | None = None, *, cascade: bool = True, seed: int = 0
) -> Iterator[Step]:
    """A step for each of ``layers``, from the logits downward; see `randomising.randomised`."""
    for layer, net in randomised(e.model.net, layers, cascade=cascade, seed=seed):
        other = again(e, net)
        yield Step(layer, is_above(e, layer), [likenesses(e, other, image) for image in range(len(e))])


def again(e: Explanation, net: nn.Module) -> Explanation:
    """The same targets of the same pictures explained in the same way by another network of the same build.

    Where they are about what the first network said by itself, that is what is explained. Raises `Error` where the
    explanation does not say what its targets were.
    """
    settings = e.settings
    why = Explainer(
        replace(e.model, net=net, sha256=None),
        e.method,
        e.layer if "layer" in takes(e.method) else None,
        fit=settings.get("fit", "model"),
        flips=settings.get("flips", False),
        counter=settings.get("counter", False),
        **settings.get("options", {}),
    )
    inputs = [why.prepare(picture) for picture in e.pictures]
    return why.on(inputs, target_of(e, inputs), settings.get("question"))


def target_of(e: Explanation, inputs: Sequence[Input]) -> Any:
    """What the explanation is of, whatever another network would choose or say by itself.

    Raises `Error` where it does not say what its targets were.
    """
    question = e.settings.get("question")
    if bool((e.classes >= 0).all()):
        return e.classes
    if says_words(e.model, inputs[:1], question if isinstance(question, str) or not question else question[:1]):
        return settled(e.target, lambda beam: spoken(e.model, inputs, question, beam=beam))
    if e.target is None:
        raise Error("an explanation of something else than classes must say what: its target= is missing.")
    return e.target


def is_above(e: Explanation, layer: str) -> bool:
    """Whether a layer lies above the one that is explained, by the order in which a network registers them.

    Of methods that explain no single layer none does.
    """
    if e.layer in WITHOUT_LAYER or "layer" not in takes(e.method):
        return False
    names = [name for name, _ in unwrap(e.model.net).named_modules()]
    explained = Place.parse(e.layer).module
    last = max((i for i, name in enumerate(names) if f"{name}.".startswith(f"{explained}.")), default=-1)
    module = layer if layer in names else layer.rpartition(".")[0]  # of a weight
    return names.index(module) > last
