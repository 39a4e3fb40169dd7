"""Training of the networks with words at full size, on COCO's captions and VQA's questions: from data to files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wherefore.datasets import Dataset, opened
from wherefore.datasets.scenes import ENDLESS
from wherefore.errors import Error
from wherefore.metrics.answers import accuracy
from wherefore.metrics.resampling import interval
from wherefore.models import paper
from wherefore.models.scenes import WORDED
from wherefore.models.zoo import SINGLE, Weights, file_sha256
from wherefore.progress import track
from wherefore.saving import made, write_json, write_tensors
from wherefore.speech import padded
from wherefore.training.lessons import Lesson, Run, Say, fit, recipe_for
from wherefore.training.losses import scores_of
from wherefore.training.photographs import Text, seen, texts_of
from wherefore.training.shipping import machine

RESAMPLES = 200  # of a hundred thousand questions


def train(
    name: str,
    data: str,
    *,
    out: str | Path = "trained",
    weights: Weights = "default",
    epochs: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    resume: bool = True,
    device: str | None = None,
    say: Say = print,
) -> dict[str, Any]:
    """The card of a network with words, trained at full size; ``NAME.safetensors`` and ``NAME.json`` lie in ``out``.

    ``wf.load("paper:NAME", weights="NAME.safetensors")`` loads it. ``data`` is ``coco:DIR`` for captions, ``vqa:DIR``
    for questions. ``weights`` are those that its CNN begins with: by default torchvision's, which are downloaded; or a
    file of torchvision's or of Caffe's, with which it sees pictures as Caffe's VGG does. It is trained on the split
    ``train`` and measured on ``test``; ``limit``: the first so many pictures of both. After every epoch a checkpoint is
    kept, from which a stopped run goes on to the same weights, unless ``resume`` is False.

    Raises `Error` for an unknown name, data without captions or questions, and weights that do not fit.
    """
    recipe, folder = recipe_for(name, epochs, seed), made(out)
    asks = paper.known(recipe.network).asks
    sets = {split: opened(data, split) for split in ("train", "test")}
    texts = {split: texts_of(each, count_of(each, limit), asks, say) for split, each in sets.items()}
    run = Run(recipe, texts["train"], weights, {"data": data, "texts": len(texts["train"])}, device=device)
    lesson = Lesson.of(run, texts["train"], sets["train"], folder)
    checkpoint = folder / f"{recipe.network}.checkpoint.pt"
    if resume and checkpoint.is_file():
        run.read(checkpoint)
        say(f"going on after epoch {run.epoch} of {recipe.epochs} ({checkpoint})")
    try:
        fit(run, lesson, checkpoint, say)
    except KeyboardInterrupt:
        say(f"stopped: the same command goes on after epoch {run.epoch} of {recipe.epochs}")
        raise
    return finished(run, data, measured(run, texts["test"], sets["test"], folder), folder)


def finished(run: Run, data: str, rows: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    """The card of a network that is trained; its weights and the card are written."""
    told = {
        "name": f"paper:{run.recipe.network}",
        "architecture": type(run.net).__name__,
        "task": SINGLE,
        "classes": list(run.answers),
        "preprocess": asdict(run.preprocess),
        "vocabulary": list(run.vocabulary.words),
        "longest": run.vocabulary.longest,
        "data": data,
        "recipe": {**asdict(run.recipe), "start sha256": run.start},
    }
    state = {key: value.detach().cpu().clone().contiguous() for key, value in run.net.state_dict().items()}
    path = write_tensors(folder / f"{run.recipe.network}.safetensors", state, told)
    training = {"seconds": round(run.seconds), "epochs": run.rows, **machine(run.net)}
    card = {**told, "accuracy": rows, "training": training, "file": path.name, "sha256": file_sha256(path)}
    write_json(path.with_suffix(".json"), card)
    return card


@torch.inference_mode()
def measured(run: Run, texts: Sequence[Text], data: Dataset, folder: Path, batch: int = 100) -> list[dict[str, Any]]:
    """How good a network is on texts: the accuracy of its answers as VQA counts it, or its loss at a word of a caption.

    With a 95 % interval over questions or captions. Questions of unknown words alone count as answered wrongly.
    """
    run.net.eval()
    read = [(text, run.vocabulary.numbers(text.text, strict=False)) for text in texts]
    known = [(text, numbers) for text, numbers in read if numbers]
    pictures = sorted({text.picture for text, _ in known})
    features = seen(run.cnn, run.preprocess, data, pictures, folder, run.device)
    values = [0.0] * (len(read) - len(known)) if run.answers else []
    known = [each for each in known if each[0].picture not in features.unread]
    for start in track(range(0, len(known), batch), math.ceil(len(known) / batch), "measuring"):
        some = known[start : start + batch]
        found = features.take([text.picture for text, _ in some]).to(run.device)
        values += _values(run, found, some)
    low, high = interval(values, RESAMPLES)
    what = "accuracy" if run.answers else "loss per word"
    return [{"name": what, "value": float(np.mean(values)), "low": low, "high": high, "n": len(values)}]


def _values(run: Run, found: Tensor, some: Sequence[tuple[Text, list[int]]]) -> list[float]:
    """The accuracy of each answer, or the loss per word of each caption."""
    tokens = padded([numbers for _, numbers in some], 0, run.device)
    scores = scores_of(run.net, found, tokens)
    if run.answers:
        given = [run.answers[number] for number in scores.argmax(1).tolist()]
        return [accuracy(said, text.answers or (text.answer,)) for said, (text, _) in zip(given, some, strict=True)]
    each = scores.log_softmax(2)
    return [
        -float(each[row, torch.arange(len(numbers) + 1), [*numbers, 0]].mean()) for row, (_, numbers) in enumerate(some)
    ]


def count_of(data: Dataset, limit: int | None) -> int:
    """How many pictures of a data set are taken."""
    if limit is None and len(data) == ENDLESS:
        raise Error(f"{data.spec} have no end: say how many with limit= (--limit 2000).")
    count = len(data) if limit is None else min(limit, len(data))
    if count < 1:
        raise Error(f"{data.spec} has no picture in the split {data.split!r} to learn from, or --limit is below 1.")
    return count


def refuse(name: str, weights: Weights, limit: int | None) -> None:
    """An `Error` where what is to be trained on scenes is a network of photographs, or has what belongs to those."""
    if name.removeprefix("paper:") in set(paper.NETWORKS) - set(WORDED):
        data = "vqa:DIR" if paper.known(name.removeprefix("paper:")).asks else "coco:DIR"
        raise Error(f"{name} learns from photographs: say which with --data {data}.")
    if weights is not None or limit is not None:
        raise Error("--weights and --limit go with --data: networks of scenes are trained by their recipe.")
