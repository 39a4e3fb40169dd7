"""The training loop of networks with words: pictures with the captions or questions that belong to them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wherefore.errors import Error
from wherefore.models import answering, captioning
from wherefore.models.scenes import preprocess
from wherefore.progress import track
from wherefore.scenes.world import CATEGORIES, COLOURS, TEXTURES
from wherefore.training.data import Array, Wanted, drawn
from wherefore.training.loop import Say, augmented, cycle, normalised
from wherefore.training.recipes import Mix
from wherefore.training.telling import Run, Telling
from wherefore.training.texts import Captions, Drawn, Questions, of_mix

DEV: Mix = ((1, 500), (2, 500))
LARGEST_STEP = 5.0  # gradients longer than this are shortened


@dataclass(frozen=True)
class Pictures:
    """The pictures of a mix, ``(N, S, S, 3)`` of uint8 in several arrays, one behind the other."""

    arrays: Sequence[Array]

    @classmethod
    def of(cls, split: str, mix: Mix, network: str) -> Pictures:
        """The pictures as a network sees them: read from the cache, or drawn into it."""
        return cls([drawn(Wanted(split, objects, count, preprocess(network)))[0] for objects, count in mix])

    def __len__(self) -> int:
        return sum(map(len, self.arrays))

    def take(self, rows: Array) -> Array:
        """The pictures of these numbers."""
        ends = np.cumsum([len(array) for array in self.arrays])
        which = np.searchsorted(ends, rows, side="right")
        starts = ends - [len(array) for array in self.arrays]
        return np.stack([self.arrays[w][row - starts[w]] for w, row in zip(which, rows, strict=True)])


def fit(run: Run, checkpoint: Path, say: Say) -> None:
    """Trains for the epochs that are left; a row for each, and a checkpoint after it."""
    recipe = run.recipe
    if run.epoch == recipe.epochs:
        return
    read = _reader(run.net)
    pictures, texts = Pictures.of("train", recipe.mix, recipe.network), read(of_mix("train", recipe.mix))
    held_out = Pictures.of("dev", DEV, recipe.network), read(of_mix("dev", DEV))
    while run.epoch < recipe.epochs:
        begun = time.monotonic()
        loss = one_epoch(run, pictures, texts)
        run.seconds += time.monotonic() - begun
        row = {"epoch": run.epoch + 1, "loss": loss, "dev loss": held_out_loss(run, *held_out), "seconds": run.seconds}
        run.rows.append(row)
        run.write(checkpoint)
        say(f"epoch {run.epoch}/{recipe.epochs}  loss {loss:.4f}  dev loss {row['dev loss']:.4f}  {run.seconds:.0f} s")


def _reader(net: nn.Module) -> Callable[[Any], Captions | Questions]:
    vocabulary: Any = net.vocabulary
    answers: Any = net.answers
    if answers:
        return lambda worlds: Questions.read(worlds, vocabulary, answers)
    return lambda worlds: Captions.read(worlds, vocabulary)


def one_epoch(run: Run, pictures: Pictures, texts: Captions | Questions) -> float:
    """The mean loss over one pass through the pictures, in an order that seed and epoch decide."""
    recipe, net = run.recipe, run.net.train()
    if not recipe.cnn:
        net.get_submodule("cnn").eval()
    dice = np.random.default_rng((recipe.seed, run.epoch))
    torch.manual_seed(int(dice.integers(2**62)))  # of dropout
    size = min(recipe.batch, len(pictures))
    batches = dice.permutation(len(pictures))[: len(pictures) // size * size].reshape(-1, size)
    steps, total = len(batches), torch.zeros((), device=run.device)
    for step, rows in enumerate(track(batches, steps, f"{recipe.network}, epoch {run.epoch + 1}/{recipe.epochs}")):
        x = normalised(augmented(pictures.take(rows), dice, recipe), dice, recipe).to(run.device)
        for group in run.optimizer.param_groups:
            group["lr"] = (
                recipe.lr * group["share"] * cycle((run.epoch + (step + 0.5) / steps) / recipe.epochs, recipe.warm_up)
            )
        value = loss_of(net, x, texts.drawn(rows, recipe.each, dice), recipe)
        run.optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(net.parameters(), LARGEST_STEP)
        run.optimizer.step()
        total += value.detach()
    if not math.isfinite(mean := float(total) / steps):
        raise Error(f"the training of {recipe.network} has come to no number: take a smaller learning rate.")
    return mean


def loss_of(net: Any, images: Tensor, drawn: Drawn, recipe: Telling) -> Tensor:
    """Cross-entropy of the answers, or of the words that count and the ends; in training the parts too."""
    texts, truth, where = (each.to(images.device) for each in drawn)
    seen = _seen(net, images, recipe)
    each = len(texts) // len(images)
    if isinstance(net, captioning.Captioner):
        pictures = net.rectify(net.image(seen)).repeat_interleave(each, 0)
        wanted = torch.cat([texts, torch.full_like(texts[:, :1], net.vocabulary.end)], 1)
        value = F.cross_entropy(net.decode(pictures, texts)[truth], wanted[truth])
    else:
        value = F.cross_entropy(net.answered(seen.repeat_interleave(each, 0), texts), truth)
    if not (net.training and recipe.parts):
        return value
    return value + recipe.parts * parts_loss(net.parts.scores, where)


def _seen(net: Any, images: Tensor, recipe: Telling) -> Tensor:
    """What the words are given of pictures; nothing, where the network is blind."""
    if recipe.blind:
        places = isinstance(net, answering.CoAttention)
        shape = (len(images), 1, net.words.embedding_dim) if places else (len(images), net.image.in_features)
        return torch.zeros(shape, device=images.device)
    with torch.set_grad_enabled(torch.is_grad_enabled() and recipe.cnn > 0):
        found: Tensor = net.places(images) if isinstance(net, answering.CoAttention) else net.cnn(images)
    return found


def parts_loss(scores: Tensor, where: Tensor) -> Tensor:
    """Cross-entropies of category, colour and texture at the places where they are known, one added to the other.

    ``scores`` ``(n, 35, h, w)`` at the places of the last map, ``where`` ``(n, 3, h, w)`` with -1 for unknown.
    """
    each = scores.split([len(CATEGORIES), len(COLOURS), len(TEXTURES)], 1)
    return torch.stack(
        [F.cross_entropy(s, w.long(), ignore_index=-1) for s, w in zip(each, where.unbind(1), strict=True)]
    ).sum()


@torch.no_grad()
def held_out_loss(run: Run, pictures: Pictures, texts: Captions | Questions) -> float:
    """The mean loss over the pictures of the dev split, the same texts each time."""
    net, dice, recipe = run.net.eval(), np.random.default_rng(0), run.recipe
    still = replace(recipe, shift=0, brightness=0.0)
    losses = []
    for rows in np.array_split(np.arange(len(pictures)), max(1, len(pictures) // 100)):
        x = normalised(pictures.take(rows), dice, still).to(run.device)
        losses.append(float(loss_of(net, x, texts.drawn(rows, recipe.each, dice), recipe)))
    return float(np.mean(losses))
