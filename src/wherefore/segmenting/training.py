"""The training loop of Caffe's day: SGD by steps, the same for the same seed, and it can be stopped at any time."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wherefore.datasets import VOID, Array
from wherefore.errors import Error
from wherefore.progress import track
from wherefore.saving import write_whole
from wherefore.segmenting.crf import mean_field
from wherefore.segmenting.losses import constrain_loss, expand_loss, probabilities, seed_loss
from wherefore.segmenting.pictures import fed, resized, taken
from wherefore.segmenting.recipes import Recipe, Schedule
from wherefore.training.data import Pictures

Objective = Callable[[nn.Module, Array], Tensor]  # a network and the numbers of pictures -> the loss
KEPT = 100  # steps between two checkpoints


def classifying(pictures: Pictures, recipe: Recipe, side: int) -> Objective:
    """The multi-label logistic loss, summed over classes, of networks that see pictures of that side."""

    def objective(net: nn.Module, rows: Array) -> Tensor:
        device = next(net.parameters()).device
        scores = net(fed(taken(pictures, rows, device), recipe, side))
        labels = torch.from_numpy(pictures.labels[rows]).to(scores)
        return F.binary_cross_entropy_with_logits(scores, labels, reduction="none").sum(1).mean()

    return objective


def weakly(pictures: Pictures, seeds: Array, recipe: Recipe) -> Objective:
    """SEC's loss: seed + expand + constrain, from seeds ``(N, grid, grid)`` and the classes that are in a picture."""

    def objective(net: nn.Module, rows: Array) -> Tensor:
        device = next(net.parameters()).device
        pixels = taken(pictures, rows, device)
        logits = net(fed(pixels, recipe, recipe.shape.side))
        p = probabilities(logits)
        q = mean_field(logits.detach(), resized(pixels, recipe.shape.grid).round(), recipe.spacing)
        here = torch.from_numpy(pictures.labels[rows]).to(device)
        seeded = torch.from_numpy(seeds[rows]).to(device)
        return seed_loss(p, seeded) + expand_loss(p, here, recipe.expansion) + constrain_loss(p, q)

    return objective


def fully(pictures: Pictures, truth: Array, recipe: Recipe) -> Objective:
    """The mean cross-entropy over all cells whose true class ``(N, grid, grid)`` is known (Chen et al. 2015)."""

    def objective(net: nn.Module, rows: Array) -> Tensor:
        device = next(net.parameters()).device
        logits = net(fed(taken(pictures, rows, device), recipe, recipe.shape.side))
        return F.cross_entropy(logits, torch.from_numpy(truth[rows]).to(device).long(), ignore_index=VOID)

    return objective


def fit(
    net: nn.Module,
    objective: Objective,
    count: int,
    schedule: Schedule,
    path: Path,
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> nn.Module:
    """The network, trained on ``count`` pictures and in eval mode.

    A checkpoint is kept at ``path``, from which a stopped run goes on to the same weights. Raises `Error` for one of
    another schedule, and where the loss is no number.
    """
    run = Run(net, schedule, count, seed)
    if path.is_file():
        run.read(path)
    net.train().to(memory_format=torch.channels_last)
    for _ in track(range(run.step, schedule.steps), schedule.steps - run.step, path.stem):
        loss = run.advance(objective)
        if run.step % KEPT == 0 or run.step == schedule.steps:
            if not math.isfinite(loss.item()):
                raise Error(f"the training of {path.stem} has come to no number: take a smaller learning rate.")
            run.write(path)
            say(f"{path.stem}  step {run.step}/{schedule.steps}  loss {loss.item():.3f}")
    return net.eval().to(memory_format=torch.contiguous_format)


class Run:
    """A training under way: the network, its optimizer, and how many steps are done."""

    def __init__(self, net: nn.Module, schedule: Schedule, count: int, seed: int) -> None:
        self.net, self.schedule, self.count, self.seed, self.step = net, schedule, count, seed, 0
        self.settings = json.loads(json.dumps({"schedule": asdict(schedule), "count": count, "seed": seed}))
        self.optimizer = torch.optim.SGD(groups(net, schedule), lr=schedule.lr, momentum=schedule.momentum)

    def advance(self, objective: Objective) -> Tensor:
        """One step, which seed and number decide; its loss, detached."""
        torch.manual_seed(int(np.random.default_rng((self.seed, self.step)).integers(2**62)))  # of dropout
        for group in self.optimizer.param_groups:
            group["lr"] = group["times"] * self.schedule.lr * 0.1 ** (self.step // self.schedule.drop)
        loss = objective(self.net, self.rows())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.step += 1
        return loss.detach()

    def rows(self) -> Array:
        """The numbers of the pictures of this step: passes through all of them, each in an order of its own."""
        size = min(self.schedule.batch, self.count)
        turn, place = divmod(self.step, self.count // size)
        order = np.random.default_rng((self.seed, turn, 1)).permutation(self.count)
        return order[place * size : (place + 1) * size]

    def write(self, path: Path) -> None:
        """A checkpoint: whole or not there."""
        buffer = io.BytesIO()
        state = {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save({**state, "step": self.step, "settings": json.dumps(self.settings)}, buffer)
        write_whole(path, buffer.getvalue())

    def read(self, path: Path) -> None:
        """Goes on from a checkpoint."""
        try:
            found = torch.load(path, map_location=next(self.net.parameters()).device, weights_only=True)
            settings = json.loads(found["settings"])
        except Exception:
            raise Error(f"{path} is not a readable checkpoint: remove it, or give another folder.") from None
        if settings != self.settings:
            raise Error(
                f"{path} was trained otherwise (schedule, pictures or seed): remove it, or give another folder."
            )
        self.net.load_state_dict(found["net"])
        self.optimizer.load_state_dict(found["optimizer"])
        self.step = found["step"]


def groups(net: nn.Module, schedule: Schedule) -> list[dict[str, Any]]:
    """The weights by how they learn: biases (and norms) at twice the rate and without decay, the last layer at ten
    times that."""
    last = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)][-1]
    ends = {id(p) for p in last.parameters()}
    found: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for p in net.parameters():
        found.setdefault((p.ndim > 1, id(p) in ends), []).append(p)
    return [
        {"params": params, "times": (1 if weight else 2) * (10 if end else 1), "weight_decay": schedule.decay * weight}
        for (weight, end), params in found.items()
    ]
