"""Pictures that a network takes for what it is told to see: targeted attacks, every pixel changed by little (PGD).

Madry et al. (2018), with a target: x is moved by a step against the gradient of the cross-entropy of the target's
class, and brought back into the bound around the picture. Values and steps are whole numbers of 0..255, so that what is
attacked is what a file of 8 bits holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from wherefore.classes import class_scores
from wherefore.errors import Error
from wherefore.guard import prepared
from wherefore.outputs import select
from wherefore.preparing import Preprocess
from wherefore.types import Model

SURE = 0.9999  # the paper's probability of the class that is not there
BOUNDS = (2, 4, 8, 16)  # of 255, the largest change of a pixel; the first that suffices
STEPS = 300  # of 1 each, for every bound
Pixels = np.ndarray[Any, Any]


class Attacked(NamedTuple):
    """A picture after an attack ``(H, W, 3)`` of uint8, the bound that sufficed (0: none did), the steps it took."""

    pixels: Pixels
    bound: int
    steps: int

    @property
    def picture(self) -> Image.Image:
        """The picture that the network is shown."""
        return Image.fromarray(self.pixels)


def fed(model: Model, picture: Image.Image) -> Image.Image:
    """The whole picture at the size in which the network sees it, before its values are normalised.

    The crop is fixed before the attack: what is attacked is what the network is fed. Raises `Error` for a model
    without a `Preprocess` of wherefore's, whose input cannot be told from a picture, and one that takes questions.
    """
    seen = _preprocess(model)
    return seen.picture(seen(picture))


def attack(
    model: Model,
    pictures: Sequence[Image.Image],
    targets: Sequence[int],
    sure: float = SURE,
    bounds: Sequence[int] = BOUNDS,
    steps: int = STEPS,
) -> list[Attacked]:
    """Each picture, changed until the network gives its target class a probability above ``sure``.

    ``pictures`` as `fed` makes them, ``targets`` numbers of classes. Classes that do not exclude each other are pushed
    down with the same step.
    """
    clean = torch.from_numpy(np.stack([np.asarray(each.convert("RGB")) for each in pictures])).float()
    x, wanted = clean.clone(), torch.tensor(list(targets))
    bound, taken = torch.zeros(len(x), dtype=torch.long), torch.zeros(len(x), dtype=torch.long)
    for largest in bounds:
        for last in [False] * steps + [True]:  # the last time it is but looked at what the last step did
            left = (bound == 0).nonzero()[:, 0]
            if not len(left):
                break
            values, gradient = _pushed(model, x[left], wanted[left])
            there = probabilities(model, values).gather(1, wanted[left][:, None])[:, 0] > sure
            bound[left[there]], going = largest, left[~there]
            moved = _moved(x[going], gradient[~there], clean[going], largest)
            stirs = (moved != x[going]).flatten(1).any(1)
            if last or not bool(stirs.any()):  # at the bound everywhere: further steps change nothing
                break
            x[going] = moved
            taken[going] += stirs
    arrays = x.byte().numpy()
    return [Attacked(p, int(b), int(t)) for p, b, t in zip(arrays, bound, taken, strict=True)]


def _moved(x: Tensor, gradient: Tensor, clean: Tensor, largest: int) -> Tensor:
    """Pixels after one step against the gradient, within the bound around the clean ones."""
    return (x - gradient.sign()).clamp(clean - largest, clean + largest).clamp(0, 255)


def scores(model: Model, pictures: Sequence[Image.Image]) -> Tensor:
    """The scores ``(B, C)`` before softmax of whole pictures, as the network reads them from files."""
    seen = _preprocess(model)
    with prepared(model.net), torch.no_grad():
        x = torch.stack([seen(picture.convert("RGB")) for picture in pictures]).to(_like(model))
        return class_scores(select(model.net(x), model.output), model.classes).float().cpu()


def probabilities(model: Model, values: Tensor) -> Tensor:
    """The probabilities ``(B, C)`` of scores; of a multi-label network each class has its own."""
    return values.sigmoid() if model.multilabel else values.softmax(1)


def _pushed(model: Model, x: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The scores of pixels ``(B, H, W, 3)``, and the gradient of the loss of the wanted classes by the pixels."""
    seen, like = _preprocess(model), _like(model)
    pixels = x.to(like).requires_grad_()
    channels = pixels.permute(0, 3, 1, 2).flip(1) if seen.bgr else pixels.permute(0, 3, 1, 2)
    std, mean = (torch.tensor(v).to(like).view(-1, 1, 1) for v in (seen.std, seen.mean))
    with prepared(model.net), torch.enable_grad():
        values = class_scores(select(model.net((channels / 255 - mean) / std), model.output), model.classes)
        wanted = wanted.to(values.device)
        if model.multilabel:
            truth = F.one_hot(wanted, values.shape[1]).to(values)
            loss = F.binary_cross_entropy_with_logits(values, truth, reduction="sum")
        else:
            loss = F.cross_entropy(values, wanted, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, pixels)
    return values.detach().float().cpu(), gradient.float().cpu()


def _preprocess(model: Model) -> Preprocess:
    if model.question is not None:
        raise Error(f"{model.name} answers questions: attacks are on networks that say of a picture alone what it is.")
    if not isinstance(model.preprocess, Preprocess):
        raise Error(f"{model.name} has no wf.Preprocess: what it is fed cannot be attacked as a picture.")
    return replace(model.preprocess, squash=True)


def _like(model: Model) -> Tensor:
    """A tensor of the device and precision of the network."""
    return next((w for w in model.net.parameters() if w.is_floating_point()), torch.empty(0)).detach().flatten()[:0]
