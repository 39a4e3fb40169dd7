"""Other ways to ask: enough of them, each once, and held-out ones that are new only in their order."""

from __future__ import annotations

import re
from itertools import product

import pytest

from wherefore.scenes.language import Question, questions
from wherefore.scenes.phrasing import Phrasings, phrasings
from wherefore.scenes.words import article
from wherefore.scenes.world import CATEGORIES, SPLITS, imagine
from wherefore.vocabulary import tokens

# Texts with the questions that they are other ways of.
ASKED = {q.text: q for n, split, objects in product(range(30), SPLITS, (1, 2, 3, 4))
         for q in questions(imagine(n, split, objects))}  # fmt: skip
WAYS = {text: phrasings(question) for text, question in ASKED.items()}


def test_every_question_has_three_trained_ways_and_a_held_out_one() -> None:
    assert {q.kind for q in ASKED.values()} == {
        "kind", "colour", "texture", "count", "where", "place", "exists", "check", "relation",
    }  # fmt: skip
    for text, (trained, held_out) in WAYS.items():
        assert trained[0] == text and len(trained) >= 3
        assert len({tuple(tokens(way)) for way in (*trained, held_out)}) == len(trained) + 1, text


def test_no_two_questions_are_asked_alike() -> None:
    """Or one of them would have the answer of the other."""
    ways = [tuple(tokens(way)) for trained, held_out in WAYS.values() for way in (*trained, held_out)]
    assert len(set(ways)) == len(ways)


def test_held_out_ways_are_new_but_their_words_are_not() -> None:
    trained = {tuple(tokens(way)) for ways in WAYS.values() for way in ways.trained}
    known = {word for way in trained for word in way}
    for text, (_, held_out) in WAYS.items():
        assert tuple(tokens(held_out)) not in trained, held_out
        assert set(tokens(held_out)) <= known, (held_out, text)


def test_nothing_that_is_asked_for_gets_lost() -> None:
    """Whatever is in a question by its scene, not by its kind, is in all of its ways, and nothing else is."""
    asides = {word for text in WAYS for word in tokens(text)} & {
        *CATEGORIES, "left", "right", "top", "bottom", "middle", "above", "below", "shirt", "pieces", "furniture",
        "animal", "vehicle", "plant", "building", "animals", "vehicles", "plants", "buildings", "people", "dogs",
        "red", "blue", "striped", "dotted",
    }  # fmt: skip
    for text, (trained, held_out) in WAYS.items():
        for way in (*trained, held_out):
            assert [w for w in tokens(way) if w in asides] == [w for w in tokens(text) if w in asides], (way, text)


def test_a_and_an_is_and_are() -> None:
    for trained, held_out in WAYS.values():
        for way in (*trained, held_out):
            assert re.fullmatch(r"[a-z, ]+\?", way) and "  " not in way
            for before, noun in re.findall(r"\b(an?) (\w+)", way):
                assert article(noun) == f"{before} {noun}", way
            many = way.startswith(("how many", "what is the number"))
            assert not re.search(r"\bare\b" if not many else r"\b(a|an|is there)\b", way), way


@pytest.mark.parametrize(
    ("text", "trained", "held_out"),
    [
        ("what object is on the left?", "which object is on the left?", "what object is there on the left?"),
        ("is the dog red?", "does the dog look red?", "the dog is red, is that true?"),
        (
            "is the shirt of the person striped?",
            "is it true that the shirt of the person is striped?",
            "the shirt of the person is striped, is that true?",
        ),
        (
            "is the cat to the left of the bus?",
            "is it true that the cat is to the left of the bus?",
            "the cat is to the left of the bus, is that true?",
        ),
        ("is there an airplane?", "can an airplane be seen?", "is an airplane in the picture?"),
        (
            "how many pieces of furniture are there?",
            "what is the number of pieces of furniture?",
            "how many pieces of furniture are in the picture?",
        ),
    ],
)
def test_ways_by_hand(text: str, trained: str, held_out: str) -> None:
    found = phrasings(text)
    assert found == phrasings(Question(text, "any", "any", None))
    assert trained in found.trained and found.held_out == held_out


def test_what_scenes_are_not_asked_has_its_own_words_alone() -> None:
    assert phrasings("why?") == Phrasings(("why?",), "why?")
