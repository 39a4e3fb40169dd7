"""The training loop: one for all networks, the same for the same seed, and it can be stopped after any epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wherefore.errors import Error
from wherefore.models.scenes import preprocess
from wherefore.models.zoo import load
from wherefore.progress import track
from wherefore.saving import made
from wherefore.training.data import Array, Pictures, together
from wherefore.training.recipes import Recipe, recipe_for
from wherefore.training.resumable import Resumable
from wherefore.training.shipping import hits, ship

Say = Callable[[str], None]


class Altering(Protocol):
    """What of a recipe says how pictures are altered, for which network."""

    @property
    def network(self) -> str: ...
    @property
    def flip(self) -> bool: ...
    @property
    def shift(self) -> int: ...
    @property
    def brightness(self) -> float: ...


class Run(Resumable):
    """The training of a network by its recipe; ``start`` is the sha256 of the weights that it starts from, if any."""

    def __init__(self, recipe: Recipe, net: nn.Module, device: str | None = None, start: str | None = None) -> None:
        self.recipe = recipe
        grouped: tuple[list[Tensor], list[Tensor]] = [], []
        for weight in net.parameters():
            grouped[weight.ndim > 1].append(weight)  # biases and norms do not decay
        groups: list[dict[str, Any]] = [{"params": grouped[0], "weight_decay": 0.0}, {"params": grouped[1]}]
        optimizer = torch.optim.AdamW(groups, lr=recipe.lr, weight_decay=recipe.weight_decay)
        super().__init__(net, optimizer, [recipe.settings, recipe.seed, recipe.source, start], device)


def train(
    name: str | Recipe,
    out: str | Path = "trained",
    epochs: int | None = None,
    seed: int | None = None,
    resume: bool = True,
    device: str | None = None,
    say: Say = print,
) -> dict[str, Any]:
    """The card of a network that was trained by its recipe; ``NAME.safetensors`` and ``NAME.json`` lie in ``out``.

    ``name``: that of a recipe, or a recipe of one's own for the network that it names. After every epoch a checkpoint
    is kept there, from which a stopped run goes on to the same weights, unless ``resume`` is False. ``say`` gets a line
    for every epoch. ``device`` is by default a graphics card, if any.
    """
    recipe = recipe_for(name, epochs, seed)
    folder = made(out)
    checkpoint = folder / f"{recipe.network}.checkpoint.pt"
    net, start = started(recipe, folder)
    run = Run(recipe, net, device, start)
    if resume and checkpoint.is_file():
        run.read(checkpoint)
        say(f"going on after epoch {run.epoch} of {recipe.epochs} ({checkpoint})")
    try:
        fit(run, checkpoint, say)
        return ship(recipe, run.net, folder, run.seconds, start)
    except KeyboardInterrupt:
        again = f"`wherefore train {recipe.network} --out {folder}`"
        say(f"stopped: {again} goes on after epoch {run.epoch} of {recipe.epochs}")
        raise


def started(recipe: Recipe, folder: Path) -> tuple[nn.Module, str | None]:
    """The network with its first weights: random, or the convolutions of another, whose sha256 comes with it."""
    torch.manual_seed(recipe.seed)
    net = load(f"scenes:{recipe.network}", weights=None, classes=recipe.classes).net
    if recipe.start is None:
        return net, None
    own = folder / f"{recipe.start}.safetensors"
    first = load(f"scenes:{recipe.start}", weights=own if own.is_file() else "default")
    trunk = {k: v for k, v in first.net.state_dict().items() if k.startswith("features.") and k in net.state_dict()}
    net.load_state_dict({**net.state_dict(), **trunk})
    return net, first.weights_sha256


def fit(run: Run, checkpoint: Path, say: Say) -> None:
    """Trains for the epochs that are left; a row for each, and a checkpoint after it."""
    recipe = run.recipe
    if run.epoch == recipe.epochs:
        return
    pictures, held_out = together([*recipe.sets("train").values()]), recipe.sets("dev")
    while run.epoch < recipe.epochs:
        begun = time.monotonic()
        loss = one_epoch(run, pictures)
        run.seconds += time.monotonic() - begun
        shares = {name: float(hits(run.net, each, recipe.network).mean()) for name, each in held_out.items()}
        run.rows.append({"epoch": run.epoch + 1, "loss": loss, **shares, "seconds": run.seconds})
        run.write(checkpoint)
        told = "  ".join(f"{name} {share:.3f}" for name, share in shares.items())
        say(f"epoch {run.epoch}/{recipe.epochs}  loss {loss:.4f}  {told}  {run.seconds:.0f} s")


def one_epoch(run: Run, pictures: Pictures) -> float:
    """The mean loss over one pass through the pictures, in an order that seed and epoch decide."""
    recipe, net = run.recipe, run.net.train()
    dice = np.random.default_rng((recipe.seed, run.epoch))
    torch.manual_seed(int(dice.integers(2**62)))  # of dropout
    size = min(recipe.batch, len(pictures))
    batches = dice.permutation(len(pictures))[: len(pictures) // size * size].reshape(-1, size)
    steps, total = len(batches), torch.zeros((), device=run.device)
    for step, rows in enumerate(track(batches, steps, f"{recipe.network}, epoch {run.epoch + 1}/{recipe.epochs}")):
        x = normalised(augmented(pictures.take(rows), dice, recipe), dice, recipe).to(run.device)
        y = torch.from_numpy(pictures.labels[rows]).float().to(run.device)
        for group in run.optimizer.param_groups:
            group["lr"] = recipe.lr * cycle((run.epoch + (step + 0.5) / steps) / recipe.epochs, recipe.warm_up)
        value = loss_of(net(x), y, recipe)
        run.optimizer.zero_grad()
        value.backward()
        run.optimizer.step()
        total += value.detach()
    if not math.isfinite(mean := float(total) / steps):
        raise Error(f"the training of {recipe.network} has come to no number: take a smaller learning rate.")
    return mean


def loss_of(scores: Tensor, labels: Tensor, recipe: Recipe) -> Tensor:
    """Cross-entropy with smoothed labels; of several labels binary cross-entropy, summed over them."""
    if recipe.multilabel:
        return F.binary_cross_entropy_with_logits(scores, labels, reduction="none").sum(1).mean()
    return F.cross_entropy(scores, labels, label_smoothing=recipe.smoothing)


def cycle(done: float, warm_up: float) -> float:
    """The share of the highest learning rate when this share of the training is done: up in a line, down a cosine."""
    if done < warm_up:
        return 0.04 + 0.96 * done / warm_up
    return 0.5 + 0.5 * math.cos(math.pi * (done - warm_up) / (1 - warm_up))


def augmented(pictures: Array, dice: np.random.Generator, recipe: Altering) -> Array:
    """Pictures ``(n, S, S, 3)``, half of them mirrored, all shifted by a few pixels; the rim is repeated."""
    n, side = pictures.shape[:2]
    steps, shifts = np.arange(side), dice.integers(-recipe.shift, recipe.shift + 1, (2, n, 1))
    rows, columns = np.clip(steps + shifts, 0, side - 1)
    mirrored = dice.random((n, 1)) < (0.5 if recipe.flip else 0.0)
    columns = np.where(mirrored, columns[:, ::-1], columns)
    return pictures[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None]]


def normalised(pictures: Array, dice: np.random.Generator, recipe: Altering) -> Tensor:
    """Pictures as a network takes them, ``(n, 3, S, S)``, each a little brighter or darker."""
    seen = preprocess(recipe.network)
    gain = 1 + recipe.brightness * torch.from_numpy(dice.uniform(-1, 1, (len(pictures), 1, 1, 1))).float()
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float().mul_(gain / 255).clamp_(max=1)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (seen.mean, seen.std))
    return x.sub_(mean).div_(std)
