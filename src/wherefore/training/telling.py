"""How the networks with words are trained on scenes: captions said word by word, questions answered.

The words are trained together with the CNN, which begins as that of a network which names what is there; where the CNN
is ``frozen`` what it sees of every picture is computed once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wherefore.errors import Error
from wherefore.models import answering, captioning
from wherefore.models.scenes import WORDED, preprocess
from wherefore.models.zoo import load, read_state
from wherefore.progress import track
from wherefore.saving import made
from wherefore.scenes.world import VERSION
from wherefore.training.data import Array, Wanted, drawn
from wherefore.training.loop import Say, augmented, cycle, normalised
from wherefore.training.recipes import Mix
from wherefore.training.resumable import Resumable
from wherefore.training.texts import Captions, Questions, asked, of_mix, spoken
from wherefore.vocabulary import Vocabulary

DEV: Mix = ((1, 500), (2, 500))
LARGEST_STEP = 5.0  # gradients longer than this are shortened


@dataclass(frozen=True)
class Telling:
    """How a network with words is trained: AdamW with one cycle of the learning rate, pictures shifted and dimmed.

    ``each``: captions or questions that go with a picture in a step. ``start`` names the network whose CNN it begins
    with; it learns at ``cnn`` times the rate, where that is 0 not at all. Pictures are not mirrored: left would be right.
    """

    network: str
    epochs: int
    lr: float
    start: str
    mix: Mix = ((1, 12000), (2, 12000), (None, 6000))
    batch: int = 64
    each: int = 6
    weight_decay: float = 0.02
    warm_up: float = 0.15
    cnn: float = 0.5
    bag: float = 0.0  # weight of a second aim, dropped afterwards: which words are said of the picture at all
    blind: bool = False  # without the picture: what the questions alone tell
    flip: bool = False
    shift: int = 4
    brightness: float = 0.1
    seed: int = 0

    @property
    def settings(self) -> dict[str, Any]:
        """All that the weights depend on, as a card holds it."""
        return {key: value for key, value in asdict(self).items() if key != "seed"}

    @property
    def source(self) -> dict[str, Any]:
        """Which pictures it is trained on, as a card says it."""
        mix = [{"objects": objects or "1-4", "pictures": count} for objects, count in self.mix]
        return {"scenes": "train", "world": VERSION, "mix": mix, "pictures": sum(count for _, count in self.mix)}


TELLING = {
    "captioner": Telling("captioner", epochs=5, lr=2e-3, start="vgg", bag=0.1),
    "show-and-tell": Telling("show-and-tell", epochs=5, lr=2e-3, start="googlenet", bag=0.1),
    "vqa": Telling("vqa", epochs=5, lr=2e-3, start="captioner", each=10),
    "vqa-alexnet": Telling("vqa-alexnet", epochs=3, lr=1e-3, start="alexnet", each=10),
    "vqa-resnet": Telling("vqa-resnet", epochs=5, lr=2e-3, start="coattention", each=10),
    "coattention": Telling("coattention", epochs=4, lr=2e-3, start="resnet", each=4),
}


class Run(Resumable):
    """The training of a network with words; ``start`` is the sha256 of the weights that its CNN begins with."""

    def __init__(self, recipe: Telling, net: nn.Module, device: str | None = None, start: str | None = None) -> None:
        self.recipe = recipe
        groups: dict[tuple[bool, bool], list[Tensor]] = {}
        for name, weight in net.named_parameters():
            groups.setdefault((name.startswith("cnn."), weight.ndim > 1), []).append(weight)
        # Biases and norms do not decay; the CNN, which knows something already, learns more slowly.
        shares = [(params, recipe.cnn if of_cnn else 1.0, decays) for (of_cnn, decays), params in groups.items()]
        optimizer = torch.optim.AdamW(
            [
                {"params": params, "share": share, "weight_decay": recipe.weight_decay * decays}
                for params, share, decays in shares
                if share
            ],
            lr=recipe.lr,
        )
        super().__init__(net, optimizer, [recipe.settings, recipe.seed, recipe.source, start], device)


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


def built(recipe: Telling, folder: Path) -> tuple[nn.Module, str]:
    """The network with its first weights: its words' random, its CNN's those of another, whose sha256 comes with it."""
    torch.manual_seed(recipe.seed)
    network = WORDED[recipe.network]
    if network.asks:
        vocabulary, answers = asked(recipe.mix, f"scenes:{recipe.network}")
        net: nn.Module = network.build(vocabulary, len(answers))
    else:
        vocabulary, answers = spoken(recipe.mix, f"scenes:{recipe.network}"), ()
        net = network.build(vocabulary)
        net.bag = nn.Linear(net.image.in_features, len(vocabulary))
    net.answers = answers  # type: ignore[assignment]
    own = folder / f"{recipe.start}.safetensors"
    first = load(f"scenes:{recipe.start}", weights=own if own.is_file() else "default")
    state = first.net.state_dict()
    trunk = {k: v for k, v in net.state_dict().items() if k.startswith("cnn.")}
    begun = {k: state.get(k, state.get(k.removeprefix("cnn."))) for k in trunk}
    lacking = [k for k, v in begun.items() if v is None or v.shape != trunk[k].shape]
    if lacking:
        raise Error(f"the CNN of {recipe.network} cannot begin as that of {recipe.start}: it lacks {lacking[0]}.")
    net.load_state_dict({**net.state_dict(), **begun})
    return net, first.weights_sha256


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
        net.cnn.eval()
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
        value = loss_of(net, x, *texts.drawn(rows, recipe.each, dice), recipe)
        run.optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(net.parameters(), LARGEST_STEP)
        run.optimizer.step()
        total += value.detach()
    if not math.isfinite(mean := float(total) / steps):
        raise Error(f"the training of {recipe.network} has come to no number: take a smaller learning rate.")
    return mean


def loss_of(net: nn.Module, images: Tensor, texts: Tensor, truth: Tensor, recipe: Telling) -> Tensor:
    """Cross-entropy: of the answers, or of all words of captions and their ends."""
    texts, truth = texts.to(images.device), truth.to(images.device)
    each = len(texts) // len(images)
    if isinstance(net, captioning.Captioner):
        with torch.set_grad_enabled(torch.is_grad_enabled() and not (not recipe.cnn)):
            seen = net.cnn(images)
        scores = net.decode(net.rectify(net.image(seen)).repeat_interleave(each, 0), texts)
        wanted = torch.cat([texts, torch.full_like(texts[:, :1], net.vocabulary.end)], 1)
        value = F.cross_entropy(scores[truth], wanted[truth])
        return value + recipe.bag * bag_loss(net.bag(seen), texts) if net.training and recipe.bag else value
    with torch.set_grad_enabled(torch.is_grad_enabled() and not (not recipe.cnn)):
        seen = net.places(images) if isinstance(net, answering.CoAttention) else net.cnn(images)
    seen = seen.repeat_interleave(each, 0)
    if isinstance(net, answering.CoAttention):
        return F.cross_entropy(net.answered(seen, texts), truth)
    return F.cross_entropy(net.answered(seen, net.asked(texts)), truth)


def bag_loss(scores: Tensor, texts: Tensor) -> Tensor:
    """Binary cross-entropy of which words ``(B, V)`` occur in the captions of each picture, summed over the words."""
    words = torch.zeros_like(scores).scatter_(1, texts.reshape(len(scores), -1), 1.0)
    return F.binary_cross_entropy_with_logits(scores, words, reduction="none").sum(1).mean()


@torch.no_grad()
def held_out_loss(run: Run, pictures: Pictures, texts: Captions | Questions) -> float:
    """The mean loss over the pictures of the dev split, the same texts each time."""
    net, dice, recipe = run.net.eval(), np.random.default_rng(0), run.recipe
    still = replace(recipe, shift=0, brightness=0.0)
    losses = []
    for rows in np.array_split(np.arange(len(pictures)), max(1, len(pictures) // 100)):
        x = normalised(pictures.take(rows), dice, still).to(run.device)
        losses.append(float(loss_of(net, x, *texts.drawn(rows, recipe.each, dice), recipe)))
    return float(np.mean(losses))


def train(name: str, out: str | Path = "trained", say: Say = print, resume: bool = True) -> Run:
    """Trains a network with words."""
    recipe, folder = TELLING[name], made(out)
    checkpoint = folder / f"{name}.checkpoint.pt"
    net, start = built(recipe, folder)
    run = Run(recipe, net, None, start)
    if resume and checkpoint.is_file():
        run.read(checkpoint)
        say(f"going on after epoch {run.epoch} of {recipe.epochs} ({checkpoint})")
    fit(run, checkpoint, say)
    return run


_unused = read_state, Vocabulary
