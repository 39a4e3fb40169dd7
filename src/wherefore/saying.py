"""What a model says of pictures by itself: captions, and answers to questions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from wherefore.classes import class_scores
from wherefore.errors import Error
from wherefore.explainer import Explainer
from wherefore.guard import prepared
from wherefore.outputs import select
from wherefore.speech import Language, Speech, Spoken, said, searched
from wherefore.types import Model

Asked = str | Sequence[str] | None


class Said(NamedTuple):
    """An answer, its score and its probability; of a model that says answers word by word the score is its logarithm.

    A class's score is the one before softmax.
    """

    text: str
    score: float
    probability: float


def captions(model: Model | nn.Module, images: Any, question: Asked = None, *, beam: int = 1) -> list[str]:
    """The caption of each image: the likeliest next word each time, with ``beam`` the likeliest that a search finds.

        wf.captions(wf.load("scenes:captioner"), "scenes:17")

    ``images`` as in `wherefore.explain`; ``question`` is for models that are asked something. Raises `Error` for a
    model that says no words.
    """
    return spoken(model, images, question, beam=beam).texts


def spoken(
    model: Model | nn.Module, images: Any, question: Asked = None, text: str | None = None, *, beam: int = 1
) -> Spoken:
    """The captions of images as `captions` tells them, or ``text`` for each, in the tokens that the model reads it in.

    To be explained, ``wf.Caption(spoken)``: of a library's tokenizer a text that was said may be read in other tokens.
    """
    found: list[tuple[int, ...]] = []
    language: Language | None = None
    for output in _outputs(model, images, question):
        if not isinstance(output, Speech):
            raise Error(f"{_name(model)} says no words: take a model that does, such as scenes:captioner.")
        language = output.language
        rows = said(output, beam) if text is None else [language.numbers(text)] * len(output)
        found += [tuple(row) for row in rows]
    assert language is not None, "there are no images"
    return Spoken(language, tuple(found))


def says_words(model: Model | nn.Module, images: Any, question: Asked = None) -> bool:
    """Whether the model says something of these images, word by word."""
    return all(isinstance(output, Speech) for output in _outputs(model, images, question))


def answers(model: Model | nn.Module, images: Any, question: Asked = None, *, most: int = 5) -> list[list[Said]]:
    """The likeliest answers for each image, the first the model's own: up to ``most`` `Said`.

        wf.answers(wf.load("scenes:vqa"), "scenes:17", "what colour is the dog?")[0][0].text

    ``question``: one for all images, or one for each. Raises `Error` for a model that answers none, and where none is
    asked.
    """
    if not isinstance(most, int) or most < 1:
        raise Error(f"one answer or more is wanted, not {most!r}.")
    model = model if isinstance(model, Model) else Model(model)
    if model.question is None:
        raise Error(f"{model.name} answers no questions: take a model that does, such as scenes:vqa.")
    return [row for output in _outputs(model, images, question) for row in _answers(model, output, most)]


def _answers(model: Model, output: Any, most: int) -> list[list[Said]]:
    if isinstance(output, Speech):
        return [
            _likeliest(output.part(torch.tensor([i], device=output.pictures.device)), most) for i in range(len(output))
        ]
    values = class_scores(select(output, model.output), model.classes).float()
    likely = values.sigmoid() if model.multilabel else values.softmax(1)
    names = model.classes or [f"answer {i}" for i in range(values.shape[1])]
    best = values.topk(min(most, values.shape[1]), 1).indices.tolist()
    return [
        [Said(names[c], float(v[c]), float(p[c])) for c in row] for row, v, p in zip(best, values, likely, strict=True)
    ]


def _likeliest(speech: Speech, most: int) -> list[Said]:
    """What a model that says its answers says of one picture, and what else a search of so many beginnings finds."""
    own = said(speech)[0]
    likely = speech.scores([own])[0].log_softmax(-1)
    value = float(sum(likely[step, token] for step, token in enumerate([*own, speech.language.end])))
    found = {speech.language.text(own): value}  # several tokens may make the same text: the likeliest counts
    for likelihood, tokens in searched(speech, most)[0]:
        found.setdefault(speech.language.text(tokens), likelihood)
    return [Said(text, v, math.exp(v)) for text, v in [*found.items()][:most]]


def _outputs(model: Model | nn.Module, images: Any, question: Asked) -> Iterator[Any]:
    """What the network returns for batches of images with their questions; it is left as it was found."""
    why = Explainer(model)
    batches = why.reader.asked(why.reader.batches(images, 8), question)
    with prepared(why.net), torch.no_grad():
        for batch in batches:
            net, given = why.fed(batch)
            yield net(given)


def _name(model: Model | nn.Module) -> str:
    return model.name if isinstance(model, Model) else type(model).__name__
