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
from wherefore.targets import for_images


class Weighed(NamedTuple):
    """The units of a layer in one picture: their maps ``(K, h, w)``, and their weights ``(T, K)`` for T targets."""

    maps: Tensor
    alphas: Tensor

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
    fit = e.settings.get("fit", "model")
    why = Explainer(e.model, "grad-cam", e.layer, fit=fit)
    inputs = [why.prepare(picture) for picture in e.pictures]
    target, question = e.again()
    for i, each in enumerate(inputs):
        asked = [question[i]] if isinstance(question, list | tuple) else question
        (batch,) = why.reader.asked([why.batch_of([each])], asked)
        yield weigh(why, batch, for_images(target, i, i + 1, len(inputs)))


def weigh(why: Explainer, batch: Batch, target: object) -> Weighed:
    """The units in the one picture of a batch, as the targets weigh them."""
    layer = why.layer_of(batch, target)
    net, images = why.fed(batch)
    with Capture(net, layer.name) as seen:
        chosen = why.choose(target, seen(images))
        maps = precise(layer.grid(seen.activations))
        gradients = seen.gradients(chosen.scores, chosen.logits, chosen.classes)
        alphas = torch.cat([pooled(precise(layer.grid(g))) for g in gradients], 1)
    return Weighed(maps[0].detach().cpu(), alphas[0].detach().cpu())
