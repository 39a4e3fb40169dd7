"""What a network returns that puts pictures into words, and what it would say by itself.

A `Speech` holds what the network knows of the pictures, attached to the graph, and scores any words given them. So one
forward pass serves any number of captions and words, and what explains a word never sees those behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from wherefore.errors import Error
from wherefore.vocabulary import Piece


class Language(Protocol):
    """How words become numbers of tokens and tokens words: a `Vocabulary`, or the tokenizer of a library."""

    longest: int  # tokens in a caption
    name: str  # whose language it is, for errors

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

    ``pictures`` ``(B, ...)`` is all that the words know of them. ``decode(pictures, tokens)`` is ``(B, L + 1, V)`` for
    tokens ``(B, L)``: the scores, before softmax, of the first token and of the one behind each.
    """

    pictures: Tensor
    decode: Callable[[Tensor, Tensor], Tensor] = field(repr=False)
    language: Language
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
            self._decoded[key] = self.decode(self.pictures, rows)
        return self._decoded[key]

    def part(self, rows: Tensor) -> Speech:
        """The same of some of the pictures, perhaps of one several times."""
        return Speech(self.pictures[rows], self.decode, self.language)


def padded(tokens: Sequence[Sequence[int]], filler: int, device: torch.device | None = None) -> Tensor:
    """Captions of several lengths as one tensor ``(B, L)``, filled up at their ends."""
    longest = max(map(len, tokens))
    rows = [[*row, *[filler] * (longest - len(row))] for row in tokens]
    return torch.tensor(rows, dtype=torch.long, device=device).reshape(len(rows), longest)


# -------------------------------------------------------------------------------------------- what it would say


@torch.no_grad()
def said(speech: Speech, beam: int = 1) -> list[list[int]]:
    """The tokens of the caption of each picture, without the end: the likeliest next one each time, or a beam search.

    With ``beam`` so many beginnings are kept, and the likeliest finished one is the caption, by the sum of its
    logarithms of probabilities and that of its end. A caption that does not end by itself ends at the longest.
    """
    if beam < 1:
        raise Error(f"a beam holds one beginning or more, not {beam}.")
    pictures = torch.arange(len(speech), device=speech.pictures.device)
    return [_searched(speech.part(row[None]), beam) for row in pictures] if beam > 1 else _greedy(speech)


def _greedy(speech: Speech) -> list[list[int]]:
    """The likeliest next token each time."""
    end, captions = speech.language.end, [[] for _ in range(len(speech))]  # type: list[list[int]]
    ended = [False] * len(speech)
    for _ in range(speech.language.longest):
        last = speech.decode(speech.pictures, padded(captions, end, speech.pictures.device))[:, -1]
        for i, token in enumerate(last.argmax(1).tolist()):
            ended[i] |= token == end
            captions[i].append(token)
        if all(ended):
            break
    return [row[: row.index(end)] if end in row else row for row in captions]


def _searched(speech: Speech, beam: int) -> list[int]:
    """The likeliest caption of one picture among those that a beam search finishes."""
    end = speech.language.end
    open_: list[tuple[float, list[int]]] = [(0.0, [])]
    finished: list[tuple[float, list[int]]] = []
    for _ in range(speech.language.longest):
        rows = torch.zeros(len(open_), dtype=torch.long, device=speech.pictures.device)
        tokens = padded([words for _, words in open_], end, speech.pictures.device)
        likely = speech.part(rows).decode(speech.pictures[rows], tokens)[:, -1].log_softmax(1)
        best = likely.topk(min(beam, likely.shape[1]), 1)
        longer = [
            (so_far + float(value), [*words, int(token)])
            for (so_far, words), values, indices in zip(open_, best.values, best.indices, strict=True)
            for value, token in zip(values, indices, strict=True)
        ]
        longer = sorted(longer, key=lambda each: -each[0])[:beam]
        finished += [(value, words[:-1]) for value, words in longer if words[-1] == end]
        open_ = [(value, words) for value, words in longer if words[-1] != end]
        # Every further token makes a beginning less likely: nothing can overtake what is likelier already.
        if not open_ or (finished and max(finished)[0] >= open_[0][0]):
            break
    return max(finished + (open_ if not finished else []), key=lambda each: each[0])[1]
