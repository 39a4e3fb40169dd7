"""The training of networks with words: first their CNN learns to see, then they learn what is said of what it sees.

Of every place of the last map it learns what is there (category, colour, texture); a network that was only taught to
name what is in a picture is blind to colours. Then it stays as it is, and what it sees is computed once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wherefore.errors import Error
from wherefore.models.answering import CoAttention
from wherefore.models.scenes import preprocess
from wherefore.progress import track
from wherefore.scenes.world import CATEGORIES, COLOURS, TEXTURES
from wherefore.training.data import Array, Wanted, drawn
from wherefore.training.loop import Say, augmented, cycle, normalised
from wherefore.training.losses import loss_of
from wherefore.training.recipes import Mix
from wherefore.training.telling import Run
from wherefore.training.texts import Captions, Drawn, Questions, all_facts, all_parts, of_mix

DEV: Mix = ((1, 500), (2, 500))
LARGEST_STEP = 5.0  # gradients longer than this are shortened
SEEN_AT_ONCE = 250


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
    recipe, read = run.recipe, _reader(run.net)
    if run.epoch == recipe.passes:
        return
    pictures, worlds = Pictures.of("train", recipe.mix, recipe.network), of_mix("train", recipe.mix)
    if run.epoch < recipe.sight:
        where, true = all_parts(worlds), all_facts(worlds)
    while run.epoch < recipe.sight:
        _epoch(run, checkpoint, say, lambda: {"loss": look(run, pictures, where, true)})
    seen, texts = looked_at(run, pictures), read(worlds)
    held_out = looked_at(run, Pictures.of("dev", DEV, recipe.network)), read(of_mix("dev", DEV))
    while run.epoch < recipe.passes:
        _epoch(
            run,
            checkpoint,
            say,
            lambda: {"loss": tell(run, seen, texts), "dev loss": held_out_loss(run, *held_out)},
        )


def _epoch(run: Run, checkpoint: Path, say: Say, learn: Callable[[], dict[str, float]]) -> None:
    """One pass, its row, its checkpoint, its line."""
    begun = time.monotonic()
    losses = learn()
    if not all(map(math.isfinite, losses.values())):
        raise Error(f"the training of {run.recipe.network} has come to no number: take a smaller learning rate.")
    run.seconds += time.monotonic() - begun
    run.rows.append({"epoch": run.epoch + 1, **losses, "seconds": run.seconds})
    run.write(checkpoint)
    told = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
    say(f"epoch {run.epoch}/{run.recipe.passes}  {told}  {run.seconds:.0f} s")


def _reader(net: nn.Module) -> Callable[[Any], Captions | Questions]:
    vocabulary: Any = net.vocabulary
    answers: Any = net.answers
    if answers:
        return lambda worlds: Questions.read(worlds, vocabulary, answers)
    return lambda worlds: Captions.read(worlds, vocabulary)


def _steps(run: Run, count: int, first: int, passes: int) -> Iterator[tuple[Array, np.random.Generator]]:
    """The numbers of each step's pictures in an order that seed and epoch decide, with the rate of that step set.

    The learning rate goes through one cycle in ``passes`` from the epoch ``first`` on.
    """
    recipe = run.recipe
    dice = np.random.default_rng((recipe.seed, run.epoch))
    torch.manual_seed(int(dice.integers(2**62)))  # of dropout
    size = min(recipe.batch, count)
    batches = dice.permutation(count)[: count // size * size].reshape(-1, size)
    bar = track(batches, len(batches), f"{recipe.network}, epoch {run.epoch + 1}/{recipe.passes}")
    for step, rows in enumerate(bar):
        done = (run.epoch - first + (step + 0.5) / len(batches)) / passes
        for group in run.optimizer.param_groups:
            group["lr"] = recipe.lr * cycle(done, recipe.warm_up)
        yield rows, dice


def _step(run: Run, value: Tensor) -> float:
    run.optimizer.zero_grad()
    value.backward()
    nn.utils.clip_grad_norm_(run.net.parameters(), LARGEST_STEP)
    run.optimizer.step()
    return float(value.detach())


# -------------------------------------------------------------------------------------------- to see


def look(run: Run, pictures: Pictures, where: Array, true: Array) -> float:
    """The mean loss over one pass in which the CNN learns what is where and, where it looks at the whole, what is true.

    ``where`` ``(N, 3, h, w)`` and ``true`` ``(N, FACTS)`` as `texts.parts` and `texts.facts` have them.
    """
    recipe, net = run.recipe, cast(Any, run.net.train())
    aim, losses = net.get_submodule("aim"), []
    for rows, dice in _steps(run, len(pictures), 0, recipe.sight):
        x = normalised(augmented(pictures.take(rows), dice, recipe), dice, recipe).to(run.device)
        seen = run.net.cnn(x)
        value = parts_loss(aim.places, torch.from_numpy(where[rows]).to(run.device))
        if seen.ndim == 2:
            value = value + facts_loss(aim.facts(seen), true, rows)
        losses.append(_step(run, value))
    aim.places = torch.empty(0)  # what is left of the last step belongs to no network
    return float(np.mean(losses))


def facts_loss(scores: Tensor, true: Array, rows: Array) -> Tensor:
    """Binary cross-entropy of what is true of pictures as a whole, summed over the facts; a tenth of it."""
    labels = torch.from_numpy(true[rows]).to(scores)
    return 0.1 * F.binary_cross_entropy_with_logits(scores, labels, reduction="none").sum(1).mean()


def parts_loss(scores: Any, where: Tensor) -> Tensor:
    """Cross-entropies of category, colour and texture at the places where they are known, one added to the other.

    ``scores`` ``(n, 35, h, w)`` at the places of the last map, ``where`` ``(n, 3, h, w)`` with -1 for unknown.
    """
    each = scores.split([len(CATEGORIES), len(COLOURS), len(TEXTURES)], 1)
    return torch.stack(
        [F.cross_entropy(s, w.long(), ignore_index=-1) for s, w in zip(each, where.unbind(1), strict=True)]
    ).sum()


@torch.no_grad()
def looked_at(run: Run, pictures: Pictures) -> Tensor:
    """What the CNN sees of every picture, float16; where the network is blind, nothing."""
    net, dice, still = run.net.eval(), np.random.default_rng(0), replace(run.recipe, shift=0, brightness=0.0)
    parts = np.array_split(np.arange(len(pictures)), -(-len(pictures) // SEEN_AT_ONCE))
    if run.recipe.blind:
        return unseen(net, 1).half().cpu().repeat(len(pictures), *[1] * (unseen(net, 1).ndim - 1))
    bar = track(parts, len(parts), f"{run.recipe.network}: seeing {len(pictures):,} pictures")
    return torch.cat(
        [net.cnn(normalised(pictures.take(rows), dice, still).to(run.device)).half().cpu() for rows in bar]
    )


def unseen(net: Any, count: int) -> Tensor:
    """What a blind network is given in place of so many pictures: zeros, for places at one of them."""
    one = (1, 1) if isinstance(net, CoAttention) else ()
    return torch.zeros(count, net.image.in_features, *one, device=net.image.weight.device)


# -------------------------------------------------------------------------------------------- to tell


def tell(run: Run, seen: Tensor, texts: Captions | Questions) -> float:
    """The mean loss over one pass in which what is said of what the CNN sees is learned."""
    recipe, net, losses = run.recipe, run.net.train(), []
    for rows, dice in _steps(run, len(seen), recipe.sight, recipe.epochs):
        x = seen[torch.from_numpy(rows)].float().to(run.device)
        losses.append(_step(run, loss_of(net, x, *_moved(texts.drawn(rows, recipe.each, dice), run))))
    return float(np.mean(losses))


def _moved(drawn: Drawn, run: Run) -> Drawn:
    return Drawn(*(each.to(run.device) for each in drawn))


@torch.no_grad()
def held_out_loss(run: Run, seen: Tensor, texts: Captions | Questions) -> float:
    """The mean loss over the pictures of the dev split, the same texts each time."""
    net, dice, losses = run.net.eval(), np.random.default_rng(0), []
    for rows in np.array_split(np.arange(len(seen)), -(-len(seen) // 100)):
        x = seen[torch.from_numpy(rows)].float().to(run.device)
        losses.append(float(loss_of(net, x, *_moved(texts.drawn(rows, run.recipe.each, dice), run))))
    return float(np.mean(losses))
