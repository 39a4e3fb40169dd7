"""The tokens of a library's tokenizer as the language of a network that reads questions or says captions."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wherefore.errors import Error
from wherefore.registry import unknown
from wherefore.vocabulary import Piece

SPACES = ("\u0120", "\u2581")  # what stands for the space before a word, of bytes (GPT-2) and of sentencepiece
ROOM = 16  # questions are filled up to a multiple of so many tokens: a layer that was found serves all as long


@dataclass(frozen=True)
class Tokens:
    """The `wherefore.speech.Language` of one of transformers' tokenizers.

    ``end`` is the token that ends a caption, ``longest`` how many tokens one may have, ``name`` whose they are.
    """

    tokenizer: Any
    end: int
    longest: int
    name: str

    def numbers(self, text: str) -> list[int]:
        """The tokens of a text, without those that stand before and behind it.

        Raises `Error` for a text without words, of too many tokens, or with a word that there are no tokens for.
        """
        found = known(text, self.tokenizer, self.name)
        if len(found) > self.longest:
            raise Error(f"{self.name} says {self.longest} tokens at most, not {len(found)}: shorten the text.")
        return found

    def text(self, numbers: Sequence[int]) -> str:
        """The text that tokens make."""
        made = self.tokenizer.decode(numbers, skip_special_tokens=True, clean_up_tokenization_spaces=False).strip()
        if any(token.startswith(SPACES) for token in self.tokenizer.convert_ids_to_tokens(numbers)):
            return str(made)
        # Word pieces come with a space before every mark: "a dog ' s bowl ."
        return re.sub(r" ([.,!?;:])", r"\1", re.sub(r"(\w) (['-]) (?=\w)", r"\1\2", str(made)))

    def pieces(self, numbers: Sequence[int]) -> list[Piece]:
        """The words of the text, as spaces part them, each with its tokens; marks around a word are none of it."""
        # A token belongs to the word that the text ends with once it is there; to an earlier one where a later token
        # joins them: "don", "'", "t".
        ends = [len(self.text(numbers[: i + 1]).split()) - 1 for i in range(len(numbers))]
        of = [max(0, min(ends[i:])) for i in range(len(ends))]
        return [
            Piece(word, *self._within(numbers, of.index(number), of.index(number) + of.count(number)))
            for number, word in enumerate(self.text(numbers).split())
            if number in of
        ]

    def _within(self, numbers: Sequence[int], start: int, stop: int) -> tuple[int, int]:
        """Where a word of some tokens begins and ends, without the marks and spaces before it and behind it."""
        while stop > start + 1 and _is_mark(self.text(numbers[stop - 1 : stop])):
            stop -= 1
        while stop > start + 1 and _is_mark(self.text(numbers[start : start + 1])):
            start += 1
        return start, stop


@dataclass(frozen=True)
class Questions:
    """What a network is fed of a question: ``questions(text)`` is ``{"input_ids": (L,), "attention_mask": (L,)}``.

    ``read`` makes the tokens of a question, of which there may be ``most``; all behind them has the mask 0. ``name`` is
    whose they are. Raises `Error` for a question that is too long, or with a word that there are no tokens for.
    """

    tokenizer: Any
    read: Callable[[str], Sequence[int]]
    most: int
    name: str

    def __call__(self, text: str) -> dict[str, Tensor]:
        known(text, self.tokenizer, self.name)
        numbers = torch.tensor(self.read(text))
        if len(numbers) > self.most:
            raise Error(f"{self.name} reads {self.most} tokens at most, not {len(numbers)}: ask a shorter question.")
        filled = min(-(-len(numbers) // ROOM) * ROOM, self.most)
        ids, mask = torch.zeros(2, filled, dtype=torch.long)
        ids[: len(numbers)], mask[: len(numbers)] = numbers, 1
        return {"input_ids": ids, "attention_mask": mask}


def known(text: str, tokenizer: Any, name: str) -> list[int]:
    """The tokens of a text alone; an `Error` for a word that there are none for, naming the near ones."""
    if not text.strip():
        raise Error("there are no words in an empty text: write some.")
    found, other = _plain(text, tokenizer), tokenizer.unk_token_id
    for word in text.split() if other in found else ():
        if other in _plain(word, tokenizer):
            raise Error(unknown(f"word of {name}", word, [entry for entry in tokenizer.get_vocab() if entry.isalpha()]))
    return found


def _plain(text: str, tokenizer: Any) -> list[int]:
    return [int(number) for number in tokenizer(text, add_special_tokens=False)["input_ids"]]


def _is_mark(token: str) -> bool:
    """Whether a token says nothing, or no more than a full stop does."""
    return all(unicodedata.category(letter).startswith("P") for letter in token)
