"""What to explain of networks that say words: a caption, a word of it, an answer.

Of a network with words a plain string is a `Word`, or a `Caption` where it has several; None is what it says itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from typing import Any

import torch
from torch import Tensor

from wherefore.classes import Names, class_scores
from wherefore.errors import Error
from wherefore.registry import unknown
from wherefore.speech import Language, Speech, Spoken, said
from wherefore.types import Block, Score, Target
from wherefore.vocabulary import Piece, tokens

Tokens = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Caption(Target):
    """The logarithm of how likely a caption is: ``wf.Caption("a dog on a beach")``; None: the network's own.

    y = sum_t log p(w_t | w_1 ... w_{t-1}, I), over its words; with ``end`` also over its end (Selvaraju et al. 2020,
    section 8.1, whose code leaves the end out). ``beam`` is that of the search for the network's own. Binding it raises
    `Error` for words that the network does not know and for more of them than it takes. What `wherefore.saying.spoken`
    tells stands for a text: the captions of several pictures, in the tokens that were said.
    """

    text: str | Spoken | None = None
    end: bool = False
    beam: int = 1

    def __post_init__(self) -> None:
        _check(self.text, "Caption", Spoken)

    def bind(self, output: Any, names: Names) -> Block:
        speech = _speech(output, "Caption")
        tokens = _captions(speech, self.text, self.beam)
        read = partial(_sum, tokens, [range(len(row) + self.end) for row in tokens], True)
        return Score(read, [speech.language.text(row) for row in tokens], likely=lambda output: read(output).exp())

    def part(self, start: int, stop: int, images: int) -> Caption:
        return replace(self, text=_part(self.text, start, stop, images))

    def words(self) -> list[Word]:
        """A target for each word of the caption, in their order. Raises `Error` where it is the network's own.

        Those of what was said are its own, of one picture.
        """
        if self.text is None:
            raise Error("the words of a caption that is not known yet: wf.captions(model, image) tells it.")
        if isinstance(self.text, str):
            words = [word for word in self.text.split() if _plain(word)]
        elif len(self.text.tokens) == 1:
            words = [piece.word for piece in _words(self.text.language, self.text.tokens[0])]
        else:
            raise Error(f"the words of captions of {len(self.text.tokens)} pictures differ: take those of one.")
        return [Word(word, self.text, step) for step, word in enumerate(words)]


@dataclass(frozen=True)
class Word(Target):
    """The score of a word, before softmax, at its place in a caption, given the words before it: ``wf.Word("dog")``.

    ``caption``: None is the network's own. ``step``: which word of the caption it is, from 0, where it stands there
    several times; by default its first. Of a word of several tokens it is the sum of their scores. What comes behind
    the word plays no part (Selvaraju et al. 2020, section 8.1). Binding it raises `Error` for a word that is not in the
    caption.
    """

    word: str
    caption: str | Spoken | None = None
    step: int | None = None

    def __post_init__(self) -> None:
        _check(self.word, "Word")
        _check(self.caption, "Word", Spoken)

    def bind(self, output: Any, names: Names) -> Block:
        speech = _speech(output, "Word")
        tokens = _captions(speech, self.caption, 1)
        places = [self._place(speech, row) for row in tokens]
        score, logarithm = (partial(_sum, tokens, places, logarithms) for logarithms in (False, True))
        return Score(score, self.word, likely=lambda output: logarithm(output).exp())

    def part(self, start: int, stop: int, images: int) -> Word:
        return replace(self, caption=_part(self.caption, start, stop, images))

    def _place(self, speech: Speech, said: Sequence[int]) -> range:
        """Where the tokens of the word are in a caption."""
        language, wanted = speech.language, _plain(self.word)
        pieces = _words(language, said)
        if self.step is not None and not 0 <= self.step < len(pieces):
            raise Error(f"the caption {language.text(said)!r} has {len(pieces)} words, so none at step {self.step}.")
        found = [p for i, p in enumerate(pieces) if _plain(p.word) == wanted and self.step in (None, i)]
        if not found:
            where = "" if self.step is None else f" at step {self.step}"
            language.numbers(self.word)  # raises where the network does not know it at all
            near = get_close_matches(
                wanted, dict.fromkeys(_plain(p.word) for p in pieces if _plain(p.word) != wanted), 2
            )
            hint = f"did you mean {' or '.join(near)}?" if near else "take one that is, or give a caption that has it."
            raise Error(f"the word {self.word!r} is not in the caption {language.text(said)!r}{where}: {hint}")
        return range(found[0].start, found[0].stop)


@dataclass(frozen=True)
class Answer(Target):
    """The score of an answer: ``wf.Answer("red")``; None: the answer that is given.

    Of a network that scores a list of answers it is that score before softmax; of one that says its answers word by
    word the logarithm of how likely it is to say this one, its end included. Binding it raises `Error` for an answer
    that is not in the list, naming the near ones.
    """

    answer: str | None = None

    def __post_init__(self) -> None:
        _check(self.answer, "Answer")

    def bind(self, output: Any, names: Names) -> Block:
        if isinstance(output, Speech):
            return replace(Caption(self.answer), end=True).bind(output, names)
        values = class_scores(output, names)
        if self.answer is None:
            return values.detach().argmax(1, keepdim=True)
        if not names:
            raise Error("this network names no answers: give the number of one as the target.")
        return torch.full((len(values), 1), _number(self.answer, names), device=values.device)


def blocks(target: Any, output: Speech) -> list[Block]:
    """What None and plain strings mean for a network that says words."""
    found = _meant(target)
    if not isinstance(found, Target):
        raise Error(
            f"{output.language.name} says words: give wf.Caption(text), wf.Word(word) or a str, for all pictures, "
            f"not {target!r}."
        )
    return [found.bind(output, None)]


def settled(target: Any, own: Callable[[int], Spoken]) -> Any:
    """The same target for a network that says something else: about what was said, where that was the network's own.

    ``own(beam)`` is what was said of the pictures.
    """
    if isinstance(target, (list, tuple)):
        return [settled(each, own) for each in target]
    found = _meant(target)
    if isinstance(found, Answer):
        found = Caption(found.answer, end=True)
    if isinstance(found, Caption) and found.text is None:
        return replace(found, text=own(found.beam))
    if isinstance(found, Word) and found.caption is None:
        return replace(found, caption=own(1))
    return found


def _meant(target: Any) -> Any:
    """The target that None and plain strings are; others as they are."""
    if isinstance(target, str):
        return Caption(target) if len(target.split()) > 1 else Word(target)
    return Caption() if target is None else target


def _number(answer: str, names: Sequence[str]) -> int:
    """Which of the answers is meant: the one that is written so, or the only one but for case, marks and spaces."""
    if answer in names:
        return list(names).index(answer)
    alike = [number for number, name in enumerate(names) if _plain(name) == _plain(answer)]
    if len(alike) > 1:
        raise Error(f"several answers are like {answer!r}: write {' or '.join(repr(names[i]) for i in alike)}.")
    if not alike:
        raise Error(unknown("answer", answer, names))
    return alike[0]


def _check(text: Any, target: str, *others: type) -> None:
    if text is not None and not isinstance(text, (str, *others)):
        raise Error(f"wf.{target} takes words, not {text!r}.")


def _speech(output: Any, target: str) -> Speech:
    if not isinstance(output, Speech):
        raise Error(f"{target} explains networks that say words, such as scenes:captioner: this one scores classes.")
    return output


def _captions(speech: Speech, text: str | Spoken | None, beam: int) -> Tokens:
    """The tokens of the caption of each picture: of the one that is given, of what was said, or of what it says now."""
    if isinstance(text, str):
        return [speech.language.numbers(text)] * len(speech)
    found = said(speech, beam) if text is None else text.tokens
    if not all(found):
        raise Error(f"{speech.language.name} says nothing of the picture: give a caption.")
    return found


def _part(text: str | Spoken | None, start: int, stop: int, images: int) -> str | Spoken | None:
    return text.part(start, stop, images) if isinstance(text, Spoken) else text


def _words(language: Language, said: Sequence[int]) -> list[Piece]:
    """The words of a caption; marks that stand alone are none."""
    return [piece for piece in language.pieces(said) if _plain(piece.word)]


def _sum(tokens: Tokens, places: Sequence[range], logarithms: bool, speech: Speech) -> Tensor:
    """The sum ``(B,)`` of scores of captions' tokens at some places, or of ``logarithms`` of their probabilities."""
    scores = speech.scores(tokens)  # of the whole captions: all targets of one share them
    scores = scores.log_softmax(-1) if logarithms else scores
    copies = len(speech) // len(tokens)
    every = [[*row, speech.language.end] for row in tokens] * copies
    picked = [
        scores[image, place, row[place.start : place.stop]].sum()
        for image, (row, place) in enumerate(zip(every, [*places] * copies, strict=True))
    ]
    return torch.stack(picked)


def _plain(word: str) -> str:
    """A word as it is compared: in lower case, without marks and spaces."""
    return "".join(tokens(word))
