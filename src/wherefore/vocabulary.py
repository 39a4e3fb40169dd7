"""The words that a network reads or says, and their numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from wherefore.errors import Error
from wherefore.registry import unknown

END, UNKNOWN = "<end>", "<unk>"


def tokens(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation: ``"A man's dog."`` is ``a, mans, dog``.

    What stands between letters is left out, as NeuralTalk does it (Karpathy and Fei-Fei 2015, prepro.py).
    """
    return re.sub(r"[^\w\s]|_", "", text.lower()).split()


class Piece(NamedTuple):
    """A word of a text, and which of the text's tokens it is made of: ``start`` to ``stop``, the last excluded."""

    word: str
    start: int
    stop: int


@dataclass(frozen=True)
class Vocabulary:
    """Words by their numbers: number 0 is the end of a sentence (where it is said, also its start).

    ``longest`` is how many words a sentence may have. ``name`` is whose vocabulary it is, for errors.
    """

    words: tuple[str, ...]
    longest: int = 16
    name: str = "this network"

    @classmethod
    def of(cls, texts: Iterable[str], least: int = 1, longest: int = 16, name: str = "this network") -> Vocabulary:
        """The words that occur ``least`` times or more in texts, the most frequent first; others are `UNKNOWN`.

        That one is a word of the vocabulary only where there are such others.
        """
        counts = Counter(word for text in texts for word in tokens(text))
        kept = sorted((word for word, count in counts.items() if count >= least), key=lambda w: (-counts[w], w))
        others = (UNKNOWN,) if len(kept) < len(counts) else ()
        return cls((END, *others, *kept), longest, name)

    def __len__(self) -> int:
        return len(self.words)

    @property
    def end(self) -> int:
        """The number that ends a sentence."""
        return 0

    @cached_property
    def numbers_of(self) -> dict[str, int]:
        """The number of each word."""
        return {word: number for number, word in enumerate(self.words)}

    def numbers(self, text: str, strict: bool = True) -> list[int]:
        """The numbers of the words of a text, without an end.

        Raises `Error` for a text without words, of too many words, or with a word that is not known, naming the near
        ones; unless ``strict``, such words are the unknown one, or left out, and what is too long is cut off.
        """
        found = [word for part in text.split() for word in ([part] if part == UNKNOWN else tokens(part))]
        if not strict:
            other = self.numbers_of.get(UNKNOWN)
            numbers = [self.numbers_of.get(word, other) for word in found]
            return [n for n in numbers if n is not None][: self.longest]
        if not found:
            raise Error("there are no words in an empty text: write some.")
        for word in found:
            if word not in self.numbers_of:
                raise Error(unknown(f"word of {self.name}", word, [w for w in self.words if w not in (END, UNKNOWN)]))
        if len(found) > self.longest:
            raise Error(f"{self.name} takes {self.longest} words at most, not {len(found)}: shorten the text.")
        return [self.numbers_of[word] for word in found]

    def text(self, numbers: Sequence[int]) -> str:
        """The words of these numbers."""
        return " ".join(self.words[n] for n in numbers)

    def pieces(self, numbers: Sequence[int]) -> list[Piece]:
        """The words of a sentence: here every token is one."""
        return [Piece(self.words[n], i, i + 1) for i, n in enumerate(numbers)]
