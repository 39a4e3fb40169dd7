"""Answers as VQA compares them: cases worked out by hand from its published rules."""

from __future__ import annotations

from itertools import combinations
from statistics import fmean

import pytest

from wherefore.errors import Error
from wherefore.metrics.answers import CONTRACTIONS, accuracy, normalised


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        ("Yes", "yes"),
        ("The two dogs.", "2 dogs"),
        ("an apple, a pear", "apple pear"),
        ("none", "0"),
        ("Zero", "0"),
        ("ten", "10"),
        ("eleven", "eleven"),
        ("dont know", "don't know"),
        ("don't know", "don't know"),
        ("Its", "its"),
        ("the girl's", "girl's"),
        ("2:50 p.m.", "2:50 pm"),
        ("100,978", "100978"),
        ("1,000,000", "1000000"),
        ("red,green", "red green"),
        ("3.5 ft.", "3.5 ft"),
        (".5", ".5"),
        ("U.S.A.", "usa"),
        ("black/white", "black white"),
        ("t-shirt", "t shirt"),
        ("red-and-the-blue", "red and blue"),
        ("what?!", "what"),
        ("$5", "$5"),
        ("50%", "50%"),
        ("  on\nthe\ttable ", "on table"),
        ("someone", "someone"),
        ("A", "a"),
        ("the", "the"),
        ("", ""),
        ("...", ""),
    ],
)
def test_normalised(answer: str, form: str) -> None:
    assert normalised(answer) == form
    assert normalised(form) == form, "once is enough"


def test_contractions_are_the_words_without_their_apostrophe() -> None:
    assert all(word == whole.replace("'", "") != whole for word, whole in CONTRACTIONS.items())
    words = {"its", "were", "well", "hell", "shell", "shed", "wed", "ill", "id", "whose", "won", "as", "is", "here"}
    assert not words & set(CONTRACTIONS), "what is a word of its own stays"
    assert normalised("cant wont isnt arent thats shes im youre") == "can't won't isn't aren't that's she's i'm you're"


@pytest.mark.parametrize(("agree", "share"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (5, 1.0), (10, 1.0)])
def test_accuracy_with_ten_people(agree: int, share: float) -> None:
    """One of ten agrees: left out once (0 / 3), there nine times (1 / 3): 0.3."""
    people = ["Red."] * agree + [f"colour {i}" for i in range(10 - agree)]
    assert accuracy("the red", people) == pytest.approx(share)


@pytest.mark.parametrize("agree", range(8))
def test_accuracy_is_the_mean_over_the_groups_of_all_but_one(agree: int) -> None:
    people = ["yes"] * agree + ["no"] * (7 - agree)
    groups = combinations(people, 6)
    assert accuracy("yes", people) == pytest.approx(fmean(min(group.count("yes") / 3, 1) for group in groups))


def test_accuracy_with_few_people() -> None:
    assert accuracy("red", ["red"]) == 1 and accuracy("red", ["blue"]) == 0
    assert accuracy("red", ["red", "blue"]) == 0.5 and accuracy("red", ["red"] * 3) == 1
    assert accuracy("red", ["red", "red", "blue"]) == pytest.approx((0.5 + 0.5 + 1) / 3)
    with pytest.raises(Error, match="nobody answered"):
        accuracy("red", [])
