"""The same question in other words: ways that networks are trained with, and one of each kind that they never see.

A held-out way has no word that the others lack: what is new is how they stand together.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from wherefore.scenes.language import Question

TRUE = "is it true that"
# How each kind of question is asked in `language`, how else in training, and how only when networks are tested.
WAYS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        r"what kind of (?P<g>.+) is there",
        ("which kind of {g} is this", "what {g} is in the picture"),
        "what kind of {g} is in the picture",
    ),
    (
        r"what object is there",
        ("what is there", "what is in the picture", "which object is this"),
        "what object is this",
    ),
    (
        r"what object is (?P<s>on .+|at .+|in the middle)",
        ("which object is {s}", "what is {s}", "what is there {s}"),
        "what object is there {s}",
    ),
    (
        r"what colour is (?P<x>.+)",
        ("what color is {x}", "what is the colour of {x}", "which colour is {x}", "which colour does {x} have"),
        "what colour does {x} have",
    ),
    (
        r"what pattern does (?P<x>.+) have",
        ("what is the pattern of {x}", "what pattern is on {x}", "which pattern is on {x}"),
        "which pattern does {x} have",
    ),
    (
        r"where is the (?P<c>.+)",
        ("where in the picture is the {c}", "in what part of the picture is the {c}"),
        "in which part of the picture is the {c}",
    ),
    (
        r"how many (?P<p>.+) are there",
        ("how many {p} can be seen", "what is the number of {p}", "how many {p} does the picture have"),
        "how many {p} are in the picture",
    ),
    (
        r"is there (?P<c>an? .+)",
        ("is there {c} in the picture", "can {c} be seen", TRUE + " there is {c}"),
        "is {c} in the picture",
    ),
    (
        r"is the (?P<a>.+) (?P<r>to the left of|to the right of|above|below) the (?P<b>.+)",
        ("can the {a} be seen {r} the {b}", TRUE + " the {a} is {r} the {b}"),
        "the {a} is {r} the {b}, is that true",
    ),
    (
        r"is (?P<x>the .+) (?P<l>\w+)",
        ("does {x} look {l}", TRUE + " {x} is {l}"),
        "{x} is {l}, is that true",
    ),
    (
        r"what place is this",
        ("which place is this", "what place is in the picture", "where is this"),
        "which place is in the picture",
    ),
)


class Phrasings(NamedTuple):
    """A question as it may be asked of a network in training, its own words first, and as it is only tested."""

    trained: tuple[str, ...]
    held_out: str


def phrasings(question: Question | str) -> Phrasings:
    """The question in all of its ways, each with a question mark; its answer is the same.

    One that is none of those that scenes are asked has its own words alone.
    """
    text = question if isinstance(question, str) else question.text
    for asked, others, held_out in WAYS:
        match = re.fullmatch(asked + r"\?", text)
        if match:
            parts = match.groupdict()
            ways = tuple(way.format(**parts) + "?" for way in others)
            return Phrasings((text, *ways), held_out.format(**parts) + "?")
    return Phrasings((text,), text)
