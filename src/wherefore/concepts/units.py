"""The units of a layer as an explanation weighs them: their maps, and how much each speaks for a target."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from wherefore.capture import Capture
from wherefore.errors import Error
from wherefore.explainer import Explainer
from wherefore.explanation import Explanation
from wherefore.inputs import Batch
from wherefore.methods.cams import pooled, precise
from wherefore.options import WITHOUT_LAYER
from wherefore.sanity import target_of
from wherefore.targets import for_images
from wherefore.types import Chosen, Layer


class Rival(NamedTuple):
    """The class with the highest score but the target: its name, its weights ``(K,)``, and whether it is ``ahead``."""

    name: str
    alphas: Tensor
    ahead: bool


class Weighed(NamedTuple):
    """The units of a layer in one picture: their maps ``(K, h, w)``, and their weights ``(T, K)`` for T targets.

    ``rivals``: of each target that is a class of several; None of others.
    """

    maps: Tensor
    alphas: Tensor
    rivals: list[Rival | None]

    @property
    def contributions(self) -> Tensor:
        """How much each unit adds to the mean of each target's map before its ReLU, ``(T, K)``: alpha_k mean(A_k)."""
        return self.alphas * self.maps.flatten(1).mean(1)


def weighed(e: Explanation) -> Iterator[Weighed]:
    """For each picture of an explanation the maps of all units, and their neuron importance weights.

    alpha_k = (1/Z) sum_ij dy/dA^k_ij (Selvaraju et al. 2020, eq. 1), whatever the method of the explanation. Raises
    `Error` for a method that explains no layer.
    """
    if e.layer in WITHOUT_LAYER:
        raise Error(f"{e.method} explains no layer, and so no units: take grad-cam.")
    why = Explainer(e.model, "grad-cam", e.layer, fit=e.settings.get("fit", "model"))
    inputs = [why.prepare(picture) for picture in e.pictures]
    target, question = target_of(e, inputs), e.settings.get("question")
    for i, each in enumerate(inputs):
        asked = [question[i]] if isinstance(question, list | tuple) else question
        (batch,) = why.reader.asked([why.batch_of([each])], asked)
        yield weigh(why, batch, for_images(target, i, i + 1, len(inputs)))


def weigh(why: Explainer, batch: Batch, target: object) -> Weighed:
    """The units in the one picture of a batch, as the targets weigh them."""
    layer = why.layer_of(batch, target)
    net, images = why.fed(batch)
    with Capture(net, layer.name) as seen:
        output = seen(images)
        chosen = why.choose(target, output)
        maps = precise(layer.grid(seen.activations))[0].detach().cpu()
        alphas, rivals = _alphas(seen, layer, chosen), _rivals(chosen)
        if rivals is None:
            return Weighed(maps, alphas, [None] * len(alphas))
        others = why.choose(rivals, output)
        ahead = (others.scores > chosen.scores)[0].tolist()
        return Weighed(maps, alphas, [*map(Rival, others.names[0], _alphas(seen, layer, others), ahead)])


def _alphas(seen: Capture, layer: Layer, chosen: Chosen) -> Tensor:
    """The weights ``(T, K)`` of the units."""
    gradients = seen.gradients(chosen.scores, chosen.logits, chosen.classes)
    return torch.cat([pooled(precise(layer.grid(g))) for g in gradients], 1)[0].detach().cpu()


def _rivals(chosen: Chosen) -> Tensor | None:
    """For each target ``(1, T)`` the class with the highest score but itself; None where there is no such thing."""
    if not chosen.are_classes or chosen.logits is None or chosen.logits.shape[1] < 2:
        return None
    scores = chosen.logits.detach().float().repeat(chosen.classes.shape[1], 1)
    return scores.scatter(1, chosen.classes.T, -torch.inf).argmax(1)[None]
