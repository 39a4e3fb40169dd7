"""What a network returns that puts pictures into words, and what it would say by itself.

A `Speech` holds what the network knows of the pictures, attached to the graph, and scores any words given them. So one
forward pass serves any number of captions and words, and what explains a word never sees those behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from wherefore.errors import Error
from wherefore.vocabulary import Piece


class Language(Protocol):
    """How words become numbers of tokens and tokens words: a `Vocabulary`, or the tokenizer of a library."""

    @property
    def name(self) -> str:
        """Whose language it is, for errors."""

    @property
    def longest(self) -> int:
        """How many tokens a caption may have."""

    @property
    def end(self) -> int:
        """The token that ends a caption."""

    def numbers(self, text: str) -> list[int]:
        """The tokens of a caption, without the end; an `Error` for words that the network does not know."""

    def text(self, numbers: Sequence[int]) -> str:
        """The caption that tokens make."""

    def pieces(self, numbers: Sequence[int]) -> list[Piece]:
        """The words of a caption, each with its tokens."""


@dataclass(frozen=True)
class Speech:
    """The scores of all words, given ``B`` pictures.

    ``pictures`` ``(B, ...)`` is all that the words know of them, ``given`` what else each comes with: the question
    that was asked. ``decode(pictures, tokens, **given)`` is ``(B, L + 1, V)`` for tokens ``(B, L)``: the scores,
    before softmax, of the first token and of the one behind each.
    """

    pictures: Tensor
    decode: Callable[..., Tensor] = field(repr=False)
    language: Language
    given: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    _decoded: dict[bytes, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.pictures)

    def scores(self, tokens: Sequence[Sequence[int]]) -> Tensor:
        """The scores ``(B, L + 1, V)`` along one caption for each picture; behind a shorter one they mean nothing.

        Copies of the batch, ``n B`` pictures, go with ``B`` captions. The same captions are decoded once.
        """
        rows = padded(tokens, self.language.end, self.pictures.device).repeat(len(self) // len(tokens), 1)
        key = rows.cpu().numpy().tobytes()
        if key not in self._decoded or torch.is_grad_enabled() > self._decoded[key].requires_grad:
            self._decoded[key] = self.after(rows)
        return self._decoded[key]

    def after(self, tokens: Tensor) -> Tensor:
        """The scores ``(B, L + 1, V)`` along the tokens ``(B, L)``."""
        return self.decode(self.pictures, tokens, **self.given)

    def part(self, rows: Tensor) -> Speech:
        """The same of some of the pictures, perhaps of one several times."""
        given = {name: value[rows] for name, value in self.given.items()}
        return Speech(self.pictures[rows], self.decode, self.language, given)


@dataclass(frozen=True, repr=False)
class Spoken:
    """Captions in the tokens that they were said in, one for each picture; read again, their texts may be others.

    It stands for the text of a `wherefore.worded.Caption` or a `Word`.
    """

    language: Language
    tokens: tuple[tuple[int, ...], ...]

    @property
    def texts(self) -> list[str]:
        """The captions."""
        return [self.language.text(row) for row in self.tokens]

    def __repr__(self) -> str:
        return repr(self.texts[0] if len(self.tokens) == 1 else self.texts)

    def part(self, start: int, stop: int, images: int) -> Spoken:
        """Those of the pictures ``start`` to ``stop`` of so many. Raises `Error` where there is not one for each."""
        if len(self.tokens) != images:
            raise Error(f"captions of {len(self.tokens)} pictures do not fit {images}: take those of the same ones.")
        return Spoken(self.language, self.tokens[start:stop])


def padded(tokens: Sequence[Sequence[int]], filler: int, device: torch.device | None = None) -> Tensor:
    """Captions of several lengths as one tensor ``(B, L)``, filled up at their ends."""
    longest = max(map(len, tokens))
    rows = [[*row, *[filler] * (longest - len(row))] for row in tokens]
    return torch.tensor(rows, dtype=torch.long, device=device).reshape(len(rows), longest)


# -------------------------------------------------------------------------------------------- what it would say


@torch.no_grad()
def said(speech: Speech, beam: int = 1) -> list[list[int]]:
    """The tokens of the caption of each picture, without the end: the likeliest next one each time, or a beam search.

    A caption that does not end by itself ends at the longest. Raises `Error` for a beam below 1.
    """
    return [found[0][1] for found in searched(speech, beam)] if beam != 1 else _greedy(speech)


@torch.no_grad()
def searched(speech: Speech, beam: int) -> list[list[tuple[float, list[int]]]]:
    """The captions of each picture that a beam search finds, the likeliest first, with the logarithm of how likely.

    So many beginnings are kept; the likelihood is that of all tokens and the end.
    """
    if not isinstance(beam, int) or beam < 1:
        raise Error(f"a beam holds one beginning or more, not {beam!r}.")
    pictures = torch.arange(len(speech), device=speech.pictures.device)
    return [_searched(speech.part(row[None]), beam) for row in pictures]


def _greedy(speech: Speech) -> list[list[int]]:
    """The likeliest next token each time."""
    end, captions = speech.language.end, [list[int]() for _ in range(len(speech))]
    for _ in range(speech.language.longest):
        last = speech.after(padded(captions, end, speech.pictures.device))[:, -1]
        captions = [[*words, token] for words, token in zip(captions, last.argmax(1).tolist(), strict=True)]
        if all(end in words for words in captions):
            break
    return [words[: words.index(end)] if end in words else words for words in captions]


def _searched(speech: Speech, beam: int) -> list[tuple[float, list[int]]]:
    """What a beam search finds for one picture."""
    end = speech.language.end
    begun: list[tuple[float, list[int]]] = [(0.0, [])]
    finished: list[tuple[float, list[int]]] = []
    for length in range(speech.language.longest + 1):
        copies = speech.part(torch.zeros(len(begun), dtype=torch.long, device=speech.pictures.device))
        tokens = padded([words for _, words in begun], end, speech.pictures.device)
        likely = copies.after(tokens)[:, -1].log_softmax(1)
        if length == speech.language.longest:  # there is room for the end alone
            likely[:, torch.arange(likely.shape[1], device=likely.device) != end] = -torch.inf
        best = likely.topk(min(beam, likely.shape[1]), 1)
        longer = [
            (so_far + value, [*words, token])
            for (so_far, words), values, indices in zip(begun, best.values.tolist(), best.indices.tolist(), strict=True)
            for value, token in zip(values, indices, strict=True)
        ]
        longer = sorted(longer, key=lambda each: -each[0])[:beam]
        finished += [(value, words[:-1]) for value, words in longer if words[-1] == end]
        begun = [(value, words) for value, words in longer if words[-1] != end]
        # Every further token makes a beginning less likely: it cannot overtake so many as are wanted.
        if not begun or (len(finished) >= beam and sorted(finished)[-beam][0] >= begun[0][0]):
            break
    return sorted(finished, key=lambda each: -each[0])[:beam]
