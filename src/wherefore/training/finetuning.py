"""Fine-tuning: a network that was trained on other classes learns those of a data set, several in a picture."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wherefore.datasets import Dataset, opened
from wherefore.datasets.scenes import ENDLESS
from wherefore.errors import Error
from wherefore.metrics.precision import Array, average_precision, mean_average_precision
from wherefore.metrics.resampling import draws
from wherefore.models.zoo import MULTI, Weights, file_sha256, load, unfitting
from wherefore.outputs import logits
from wherefore.preparing import Preprocess
from wherefore.progress import track
from wherefore.saving import made, write_json, write_tensors
from wherefore.training.resumable import Resumable
from wherefore.training.samples import Samples
from wherefore.training.shipping import machine
from wherefore.types import Model

Say = Callable[[str], None]
RESAMPLES = 200  # every one ranks all pictures anew
MEANS = ("mean average precision", "mean average precision, 11 points")


@dataclass(frozen=True)
class Recipe:
    """SGD with a learning rate for the network and one for its new head, a tenth of them in the last third."""

    epochs: int = 30
    seed: int = 0
    lr: float = 1e-3
    head_lr: float = 1e-2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch: int = 32

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise Error(f"a network is trained for one epoch or more, not {self.epochs}.")
        if not 0 <= self.seed < 2**63:
            raise Error(f"a seed is a whole number from 0 to {2**63 - 1}, not {self.seed}.")


def finetune(
    model: str,
    data: str,
    *,
    split: str = "train",
    out: str | Path = "finetuned",
    epochs: int = 30,
    limit: int | None = None,
    seed: int = 0,
    weights: Weights = "default",
    resume: bool = True,
    device: str | None = None,
    say: Say = print,
) -> dict[str, Any]:
    """The card of a network that has learned a data set's classes; ``NAME.safetensors`` and ``.json`` lie in ``out``.

    ``wf.load(model, weights=NAME.safetensors)`` gives the network with these classes: a sigmoid for each in place of
    its last layer. It is trained on crops of 7/8 of the squashed picture, mirrored or not, and from then on sees
    pictures whole and squashed. What is flagged as difficult neither trains nor counts. Measured on the split ``test``;
    ``limit``: the first so many pictures of both. After every epoch a checkpoint is kept, from which a stopped run goes
    on to the same weights, unless ``resume`` is False.

    Raises `Error` for a network that is no classifier of pictures, or data without labels.
    """
    recipe = Recipe(epochs, seed)
    sets = {part: _first(opened(data, part), limit) for part in (split, "test")}
    tuned, head = renewed(load(model, weights), model, sets[split][0].classes, seed)
    pictures = {part: Samples(*found, _cropping(tuned)) for part, found in sets.items()}
    stem = made(out) / model.replace(":", "-").replace("/", "-")
    checkpoint = Path(f"{stem}.checkpoint.pt")
    said = {"model": model, "start": tuned.weights_sha256, "data": data, "split": split, "n": pictures[split].count}
    # What is called train shares no picture with test: any other list may.
    if split != "train" and (repeated := len(_names(pictures[split]) & _names(pictures["test"]))):
        say(f"{repeated} of the pictures that are measured on are also trained on: the figures say nothing of new ones")
        said |= {"measured on and trained on": repeated}
    run = begun(tuned, head, recipe, said, device)
    if resume and checkpoint.is_file():
        run.read(checkpoint)
        say(f"going on after epoch {run.epoch} of {epochs} ({checkpoint})")
    try:
        fit(run, recipe, pictures[split], checkpoint, say)
        card = finished(run, tuned, recipe, pictures["test"], said, Path(f"{stem}.safetensors"))
    except KeyboardInterrupt:
        say(f"stopped: the same command goes on after epoch {run.epoch} of {epochs}")
        raise
    if pictures["test"].unread:
        say(left_out(pictures["test"]))
    return card


def renewed(model: Model, name: str, classes: tuple[str, ...], seed: int) -> tuple[Model, list[str]]:
    """A model with a new head for these classes, random as a seed decides; and the names of the head's parameters.

    The head is what depends on the number of classes.
    """
    torch.manual_seed(seed)
    fresh = load(name, None, classes=classes).net
    other = load(name, None, classes=[*classes, "one more"]).net.state_dict()
    head = [key for key, value in fresh.named_parameters() if value.shape != other[key].shape]
    net = model.net
    for path in sorted({key.rpartition(".")[0] for key in head}):
        net.set_submodule(path, fresh.get_submodule(path))
    if not head or unfitting(net, fresh.state_dict()):
        raise Error(f"{name} cannot be given another number of classes: fine-tune a classifier.")
    preprocess = replace(_cropping(model), squash=True)
    return replace(model, net=net, classes=classes, preprocess=preprocess, multilabel=True), head


def begun(model: Model, head: list[str], recipe: Recipe, said: dict[str, Any], device: str | None) -> Resumable:
    """The training of a model of which nothing is done yet."""
    parts: tuple[list[Tensor], list[Tensor]] = [], []
    for key, weight in model.net.named_parameters():
        parts[key in head].append(weight)
    groups = [{"params": part, "rate": rate} for part, rate in zip(parts, (recipe.lr, recipe.head_lr), strict=True)]
    optimizer = torch.optim.SGD(groups, recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    return Resumable(model.net, optimizer, [asdict(recipe), said], device)


def fit(run: Resumable, recipe: Recipe, pictures: Samples, checkpoint: Path, say: Say) -> None:
    """Trains for the epochs that are left; a row for each, and a checkpoint after it."""
    while run.epoch < recipe.epochs:
        begun, known = time.monotonic(), len(pictures.unread)
        loss = one_epoch(run, recipe, pictures)
        run.seconds += time.monotonic() - begun
        if len(pictures.unread) > known:
            say(left_out(pictures))
        unread = [pictures.unread[number] for number in sorted(pictures.unread)]
        run.rows.append({"epoch": run.epoch + 1, "loss": loss, "seconds": run.seconds, "left out": unread})
        run.write(checkpoint)
        say(f"epoch {run.epoch}/{recipe.epochs}  loss {loss:.4f}  {run.seconds:.0f} s")


def one_epoch(run: Resumable, recipe: Recipe, pictures: Samples) -> float:
    """The mean loss over one pass through the pictures, in an order that seed and epoch decide."""
    dice = np.random.default_rng((recipe.seed, run.epoch))
    torch.manual_seed(int(dice.integers(2**62)))  # of dropout
    size = min(recipe.batch, pictures.count)
    rows = dice.permutation(pictures.count)[: pictures.count // size * size].reshape(-1, size)
    for group in run.optimizer.param_groups:
        group["lr"] = group["rate"] * (0.1 if 3 * run.epoch >= 2 * recipe.epochs else 1)
    run.net.train()
    losses = []
    batches = pictures.batches(rows.tolist(), (recipe.seed, run.epoch))
    for x, labels, counted in track(batches, len(rows), f"epoch {run.epoch + 1}/{recipe.epochs}"):
        if len(x):
            scores = logits(run.net(x.to(run.device)), labels.shape[1])
            value = loss_of(scores, labels.to(run.device), counted.to(run.device))
            run.optimizer.zero_grad()
            value.backward()
            run.optimizer.step()
            losses.append(value.detach())
    if not losses:
        raise Error(f"no picture of {pictures.data.spec} can be read: {pictures.unread[min(pictures.unread)]}")
    if not math.isfinite(mean := float(torch.stack(losses).mean())):
        raise Error("the fine-tuning has come to no number: are the weights those of this network?")
    return mean


def loss_of(scores: Tensor, labels: Tensor, counted: Tensor) -> Tensor:
    """Binary cross-entropy, summed over the classes that are counted, the mean over pictures."""
    each = F.binary_cross_entropy_with_logits(scores, labels.to(scores.dtype), reduction="none")
    return (each * counted).sum(1).mean()


# -------------------------------------------------------------------------------------------- afterwards


def finished(
    run: Resumable, model: Model, recipe: Recipe, pictures: Samples, said: dict[str, Any], path: Path
) -> dict[str, Any]:
    """The card of a network that is trained; its weights and the card are written, the card beside."""
    assert isinstance(model.preprocess, Preprocess) and model.classes is not None
    told = {
        "name": said["model"],
        "task": MULTI,
        "classes": list(model.classes),
        "preprocess": asdict(model.preprocess),
    }
    measured = accuracy(run, pictures)
    state = {key: value.detach().cpu().clone().contiguous() for key, value in run.net.state_dict().items()}
    write_tensors(path, state, {**told, "data": said, "recipe": asdict(recipe)})
    card = {
        **told,
        "data": said,
        "recipe": asdict(recipe),
        "accuracy": measured,
        "left out": sorted({*pictures.unread.values(), *chain(*(row["left out"] for row in run.rows))}),
        "training": {"seconds": round(run.seconds), **machine(run.net)},
        "file": path.name,
        "sha256": file_sha256(path),
    }
    write_json(path.with_suffix(".json"), card)
    return card


def accuracy(run: Resumable, pictures: Samples) -> list[dict[str, Any]]:
    """Average precision over the test pictures: its mean with a 95 % interval, and that of each class."""
    scores, labels, counted = scored(run, pictures)
    drawn = track(draws(len(scores), RESAMPLES), RESAMPLES, "measuring again")
    found = [mean_average_precision(scores[draw], labels[draw], counted[draw]) for draw in drawn]
    low, high = np.percentile(found, (2.5, 97.5), axis=0).tolist()
    means = zip(MEANS, mean_average_precision(scores, labels, counted), low, high, strict=True)
    rows: list[dict[str, Any]] = [
        {"name": name, "value": value, "low": below, "high": above, "n": len(scores)}
        for name, value, below, above in means
    ]
    for c, name in enumerate(pictures.data.classes):
        kept = counted[:, c]
        every, eleven = average_precision(scores[kept, c], labels[kept, c])
        rows.append({"name": name, "value": every, "11 points": eleven, "n": int(labels[kept, c].sum())})
    return [{k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()} for row in rows]


def scored(run: Resumable, pictures: Samples, batch: int = 32) -> tuple[Array, Array, Array]:
    """Scores, labels and what is counted of all pictures that can be read, ``(N, C)`` each."""
    run.net.eval()
    rows = [range(start, min(start + batch, pictures.count)) for start in range(0, pictures.count, batch)]
    found: list[list[Tensor]] = []
    with torch.inference_mode():
        for x, labels, counted in track(pictures.batches(rows), len(rows), "measuring"):
            if len(x):
                found.append([logits(run.net(x.to(run.device)), labels.shape[1]).float().cpu(), labels, counted])
    if not found:
        raise Error(f"no picture of {pictures.data.spec} can be read: {pictures.unread[min(pictures.unread)]}")
    first, second, third = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
    return first, second, third


def left_out(pictures: Samples) -> str:
    """What is said of pictures that cannot be read: how many, and why the first of them."""
    sentences = [pictures.unread[number] for number in sorted(pictures.unread)]
    more = f" (and {len(sentences) - 3} more)" if len(sentences) > 3 else ""
    first = f"{len(sentences)} of {pictures.count} ({pictures.data.split})"
    return f"left out, for they cannot be read: {first}: {' '.join(sentences[:3])}{more}"


def _names(pictures: Samples) -> set[str]:
    """The names of the samples, of which those that cannot be read have none."""
    found = set()
    for number in track(range(pictures.count), pictures.count, f"listing {pictures.data.split}"):
        with suppress(Error):
            found.add(pictures.data[number].name)
    return found


def _first(data: Dataset, limit: int | None) -> tuple[Dataset, int]:
    """A data set and how many of its samples are taken."""
    if limit is None and len(data) == ENDLESS:
        raise Error(f"{data.spec} have no end: say how many with limit= (--limit 2000).")
    count = len(data) if limit is None else min(limit, len(data))
    if count < 1:
        raise Error(f"{data.spec} has no picture in the split {data.split!r} to fine-tune on, or --limit is below 1.")
    return data, count


def _cropping(model: Model) -> Preprocess:
    """The preprocessing of a model that sees crops of one size."""
    if not isinstance(model.preprocess, Preprocess) or model.preprocess.crop is None:
        raise Error(f"{model.name} does not see pictures of one size: fine-tune a classifier.")
    return model.preprocess
