"""How networks with words learn at full size, by their authors' recipes, what was said or asked of photographs.

While the CNN does not learn, what it sees of every picture is computed once, of the middle of the picture.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from wherefore.datasets import Dataset
from wherefore.errors import Error
from wherefore.models import paper
from wherefore.models.captioning import initialised
from wherefore.models.zoo import Weights
from wherefore.progress import track
from wherefore.registry import unknown
from wherefore.speech import padded
from wherefore.training.losses import loss_of
from wherefore.training.photographs import Seen, Text, ahead, cropped, seen
from wherefore.training.resumable import Resumable
from wherefore.training.starting import started
from wherefore.types import Model
from wherefore.vocabulary import Vocabulary

Say = Callable[[str], None]
Optimizer = torch.optim.Optimizer


@dataclass(frozen=True)
class Recipe:
    """How a network with words was trained by its authors.

    ``each``: captions of a picture that are learned at once. The learning rate is multiplied by ``decay`` after
    ``every`` epochs, or after each step. Gradients of the words' part are cut off at ``clamp``; all together are no
    longer than ``longest_gradient``. The CNN is ``frozen`` for so many epochs, and then learns at ``cnn_lr``, where
    that is not 0. Words that occur ``least`` times are known, ``longest`` of them are read or said, and so many of the
    most frequent ``answers`` are given.
    """

    network: str
    optimizer: str
    lr: float
    epochs: int
    batch: int
    each: int = 1
    decay: float = 1.0
    every: int = 0
    clamp: float | None = None
    longest_gradient: float | None = None
    frozen: int = 0
    cnn_lr: float = 0.0
    least: int = 1
    longest: int = 26
    answers: int = 1000
    seed: int = 0

    def rate(self, epoch: int, step: int) -> float:
        """The share of the learning rate in an epoch, ``step`` counted from the first step of all."""
        return float(self.decay ** (epoch // self.every if self.every else step))


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": partial(torch.optim.Adam, betas=(0.8, 0.999)),
    "rmsprop": partial(torch.optim.RMSprop, alpha=0.99),
    "sgd": torch.optim.SGD,
}
# As many epochs as the steps make that are told (150,000 of Lu et al. 2015, 1,000,000 of Show and Tell); NeuralTalk2's
# code goes on for ever, and leaves to its user when the CNN begins to learn.
RECIPES = {
    "neuraltalk2": Recipe(
        "neuraltalk2", "adam", 4e-4, epochs=20, batch=16, each=5, clamp=0.1, frozen=10, cnn_lr=1e-5, least=6, longest=16
    ),
    "show-and-tell": Recipe(
        "show-and-tell", "sgd", 2.0, epochs=55, batch=32, decay=0.5, every=8, longest_gradient=5.0, least=4, longest=20
    ),
    "lu2015": Recipe("lu2015", "rmsprop", 3e-4, epochs=350, batch=500, decay=0.99997592083, clamp=10.0),
    "coattention": Recipe("coattention", "rmsprop", 4e-4, epochs=250, batch=300, decay=0.1 ** (1 / 300), every=1),
}


def recipe_for(name: str, epochs: int | None = None, seed: int = 0) -> Recipe:
    """The recipe of a network of `wherefore.models.paper`, with another number of epochs where that is given."""
    name = name.removeprefix("paper:")
    if name not in paper.NETWORKS:
        raise Error(unknown("network to be trained on a data set", name, paper.NETWORKS))
    recipe = next(recipe for base, recipe in RECIPES.items() if name == base or name.startswith(f"{base}-"))
    epochs = recipe.epochs if epochs is None else epochs
    if epochs < 1:
        raise Error(f"a network is trained for one epoch or more, not {epochs}.")
    if not 0 <= seed < 2**63:
        raise Error(f"a seed is a whole number from 0 to {2**63 - 1}, not {seed}.")
    return replace(recipe, network=name, epochs=epochs, frozen=min(recipe.frozen, epochs // 2), seed=seed)


class Run(Resumable):
    """The training of a network: what it knows of words and answers, and what it sees of a picture."""

    def __init__(
        self, recipe: Recipe, texts: Sequence[Text], weights: Weights, about: dict[str, Any], **o: Any
    ) -> None:
        self.recipe, network = recipe, paper.known(recipe.network)
        self.vocabulary = Vocabulary.of(
            (t.text for t in texts), recipe.least, recipe.longest, f"paper:{recipe.network}"
        )
        self.answers = frequent((t.answer for t in texts), recipe.answers) if network.asks else ()
        torch.manual_seed(recipe.seed)
        net = initialised(paper.built(network, self.vocabulary, len(self.answers)))
        self.cnn = net.get_submodule("cnn")
        self.preprocess = started(self.cnn, network, weights)
        self.start = Model(self.cnn).weights_sha256
        words = [weight for name, weight in net.named_parameters() if not name.startswith("cnn.")]
        groups = [{"params": words, "share": 1.0}]
        if recipe.cnn_lr:
            groups.append({"params": [*self.cnn.parameters()], "share": recipe.cnn_lr / recipe.lr})
        settings = [asdict(recipe), about, self.start, self.vocabulary.words, self.answers]
        super().__init__(net, OPTIMIZERS[recipe.optimizer](groups, lr=recipe.lr), settings, **o)

    @property
    def sees_anew(self) -> bool:
        """Whether the CNN learns in the epoch to come."""
        return bool(self.recipe.cnn_lr) and self.epoch >= self.recipe.frozen


def frequent(answers: Iterable[str], most: int) -> tuple[str, ...]:
    """The most frequent answers, the first of them first; of equally frequent ones those that come first by letters."""
    counts = Counter(answers)
    return tuple(sorted(counts, key=lambda answer: (-counts[answer], answer))[:most])


# -------------------------------------------------------------------------------------------- what is learned


class Item(NamedTuple):
    """What is learned of a picture at once: captions, or a question and the number of its answer; in words' numbers."""

    picture: int
    texts: list[list[int]]
    answer: int


@dataclass(frozen=True)
class Lesson:
    """What there is to be learned, and what the CNN sees of its pictures before it learns."""

    items: Sequence[Item]
    data: Dataset
    features: Seen

    @classmethod
    def of(cls, run: Run, texts: Sequence[Text], data: Dataset, folder: Path) -> Lesson:
        """What can be learned of texts; what is seen of the pictures lies in a file in the folder."""
        items = items_of(run, texts)
        features = seen(run.cnn, run.preprocess, data, sorted({item.picture for item in items}), folder, run.device)
        kept = [item for item in items if item.picture not in features.unread]
        if not kept:
            raise Error(f"no picture of {data.spec} can be learned from: {next(iter(features.unread.values()))}")
        return cls(kept, data, features)


def items_of(run: Run, texts: Sequence[Text]) -> list[Item]:
    """Texts in numbers of words: those of known words alone, and questions whose answer is among the frequent ones."""
    answers = {answer: number for number, answer in enumerate(run.answers)}
    items: list[Item] = []
    for text in texts:
        numbers = run.vocabulary.numbers(text.text, strict=False)
        if not numbers or (answers and text.answer not in answers):
            continue
        if run.recipe.each > 1 and items and items[-1].picture == text.picture:
            items[-1].texts.append(numbers)
        else:
            items.append(Item(text.picture, [numbers], answers.get(text.answer, 0)))
    return items


def fit(run: Run, lesson: Lesson, checkpoint: Path, say: Say) -> None:
    """Trains for the epochs that are left; a row for each, and a checkpoint after it."""
    epochs = run.recipe.epochs
    while run.epoch < epochs:
        begun = time.monotonic()
        loss = one_epoch(run, lesson)
        run.seconds += time.monotonic() - begun
        run.rows.append({"epoch": run.epoch + 1, "loss": loss, "seconds": run.seconds})
        run.write(checkpoint)
        say(f"epoch {run.epoch}/{epochs}  loss {loss:.4f}  {run.seconds:.0f} s")


def one_epoch(run: Run, lesson: Lesson) -> float:
    """The mean loss over one pass through the items, in an order that seed and epoch decide."""
    recipe, net = run.recipe, run.net.train()
    run.cnn.requires_grad_(run.sees_anew)
    dice = np.random.default_rng((recipe.seed, run.epoch))
    torch.manual_seed(int(dice.integers(2**62)))  # of dropout
    size = min(recipe.batch, len(lesson.items))
    rows = dice.permutation(len(lesson.items))[: len(lesson.items) // size * size].reshape(-1, size)
    batches = [[lesson.items[row] for row in each] for each in rows]
    total = torch.zeros((), device=run.device)
    bar = track(zip(batches, _seen(run, lesson, batches), strict=True), len(rows), f"epoch {run.epoch + 1}")
    for step, (items, found) in enumerate(bar):
        for group in run.optimizer.param_groups:
            group["lr"] = recipe.lr * group["share"] * recipe.rate(run.epoch, run.epoch * len(rows) + step)
        value = loss_of(net, found, *drawn(items, recipe.each, dice, run.device))
        run.optimizer.zero_grad()
        value.backward()
        _shorten(run)
        run.optimizer.step()
        total += value.detach()
    if not math.isfinite(mean := float(total) / len(rows)):
        raise Error(f"the training of {recipe.network} has come to no number: are the weights those of its CNN?")
    return mean


def _seen(run: Run, lesson: Lesson, batches: Sequence[Sequence[Item]]) -> Iterator[Tensor]:
    """What the CNN sees of the pictures of each batch: as it was computed before, or anew of pictures cropped anew."""
    numbers = [[item.picture for item in items] for items in batches]
    if run.sees_anew:
        read = cropped(run.preprocess, lesson.data, (run.recipe.seed, run.epoch))
        for images in ahead(read, numbers):
            yield run.cnn(torch.stack(images).to(run.device))
    else:
        for each in numbers:
            yield lesson.features.take(each).to(run.device)


def _shorten(run: Run) -> None:
    """Cuts gradients off as the recipe says; NeuralTalk2 lets those of the CNN be."""
    recipe = run.recipe
    words: Any = run.optimizer.param_groups[0]["params"]
    if recipe.clamp is not None:
        nn.utils.clip_grad_value_(words, recipe.clamp)
    if recipe.longest_gradient is not None:
        nn.utils.clip_grad_norm_(words, recipe.longest_gradient)


def drawn(items: Sequence[Item], each: int, dice: np.random.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    """Texts of the items ``(n each, L)``, and their answers ``(n,)`` in the order of the items.

    Of captions ``each`` of a picture, by chance; of fewer some are drawn twice.
    """
    chosen = [
        item.texts[way] for item in items for way in dice.choice(len(item.texts), each, replace=len(item.texts) < each)
    ]
    return padded(chosen, 0, device), torch.tensor([item.answer for item in items], device=device)
