"""How right an answer to a question is, as VQA counts it (Antol et al. 2015, section 3; visualqa.org/evaluation)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import fmean

from wherefore.errors import Error

ENOUGH = 3  # people who have to agree
NUMBERS = dict.fromkeys(("none", "zero"), "0") | {
    word: str(i) for i, word in enumerate("one two three four five six seven eight nine ten".split(), 1)
}
ARTICLES = ("a", "an", "the")
# Apostrophes stay (a girl's is no girls), colons as well (it is 2:50), and signs that say what is counted ($, %).
PUNCTUATION = re.compile(r"[;/\[\]\"{}()=+\\_\-<>@`,?!]")
_NOT = "ai are ca could did do does had has have is might must need sha should was were wo would".split()
_HAVE = "could might must should they we what who would you".split()
_IS = "he here how it she someone something that there what when where who".split()
CONTRACTIONS = {
    **{f"{word}nt": f"{word}n't" for word in _NOT},
    **{f"{word}ve": f"{word}'ve" for word in [*_HAVE, "i"]},
    **{f"{word}s": f"{word}'s" for word in _IS if word != "it"},  # its is a word of its own
    **{f"{word}re": f"{word}'re" for word in ("they", "you", "who")},
    **{f"{word}d": f"{word}'d" for word in ("they", "you", "who", "it")},
    **{f"{word}ll": f"{word}'ll" for word in ("they", "you", "that", "it")},
    "im": "i'm", "lets": "let's", "maam": "ma'am", "oclock": "o'clock", "yall": "y'all",
}  # fmt: skip


def normalised(answer: str) -> str:
    """An answer in the form in which VQA compares them: ``"The two dogs."`` is ``2 dogs``.

    Lower case; no comma between digits, no full stop but before one; no article; zero to ten as digits; the apostrophe
    of a contraction that lacks it; other punctuation is a space. An answer of articles alone, as a letter that was
    asked for, stays. This is the published rule; VQA's program joins some words that it would part by hyphens.
    """
    text = re.sub(r"(?<=\d),(?=\d)", "", answer.lower())
    words = PUNCTUATION.sub(" ", re.sub(r"\.(?!\d)", "", text)).split()
    kept = [word for word in words if word not in ARTICLES] or words
    return " ".join(CONTRACTIONS.get(word, NUMBERS.get(word, word)) for word in kept)


def accuracy(answer: str, answers: Sequence[str]) -> float:
    """The share of right that an answer has, 0 to 1: the mean over all people but one of min(those who agree / 3, 1).

    ``answers`` are those of all people, ten in VQA. Of fewer than four, all but one have to agree; with one person it
    is whether the two answers are the same. Raises `Error` where nobody answered.
    """
    if not answers:
        raise Error("nobody answered this question: give at least one person's answer.")
    said, own = [normalised(each) for each in answers], normalised(answer)
    agreeing = said.count(own)
    if len(said) == 1:
        return float(agreeing)
    enough = min(ENOUGH, len(said) - 1)
    return fmean(min((agreeing - (each == own)) / enough, 1) for each in said)
