"""Which words of captions name things: forms of all categories, cases by hand, and captions of drawn worlds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from wherefore.datasets.coco import CLASSES
from wherefore.datasets.words import FORMS, HEADS, NOUNS, OTHERWISE, PLAIN, visual
from wherefore.scenes import scene
from wherefore.scenes.world import CATEGORIES
from wherefore.vocabulary import tokens

PLURALS = {
    "person": "people", "bus": "buses", "bench": "benches", "sheep": "sheep", "skis": "skis",
    "wine glass": "wine glasses", "knife": "knives", "sandwich": "sandwiches", "broccoli": "broccoli",
    "couch": "couches", "mouse": "mice", "scissors": "scissors", "toothbrush": "toothbrushes",
}  # fmt: skip


def named(caption: str) -> list[tuple[str, str]]:
    words = tokens(caption)
    return [(" ".join(words[start:stop]), category) for start, stop, category in visual(caption, CLASSES)]


def test_there_are_forms_of_all_categories() -> None:
    assert tuple(NOUNS) == CLASSES and len(FORMS) > 1000
    assert min(Counter(name.category for name in FORMS.values()).values()) >= 2
    nouns = [(noun.partition("/")[0], category) for category, said in NOUNS.items() for noun in said.split(", ")]
    assert len(nouns) == len(dict(nouns)) and [*dict(nouns).values()] == [category for _, category in nouns]
    assert all(form == tuple(tokens(" ".join(form))) for form in FORMS), "as captions are taken apart"
    assert not {(phrase,) for phrase in HEADS} & {tuple(tokens(c)) for c in CLASSES if c not in ("bowl", "toy")}
    assert not {tuple(phrase.split()) for phrase in OTHERWISE.split(", ")} & set(FORMS)


@pytest.mark.parametrize("category", CLASSES)
def test_every_category_is_found_by_its_name_and_its_plural(category: str) -> None:
    many = PLURALS.get(category, f"{category}s")
    article = "a " if category in PLAIN else ""
    assert named(f"{article}{category} by the road") == [(category, category)]
    assert named(f"two {many}, in a field.") == [(many, category)]


@pytest.mark.parametrize(
    ("caption", "found"),
    [
        ("A hot dog next to a dog.", [("hot dog", "hot dog"), ("dog", "dog")]),
        ("a corn dog", []),
        ("a fire truck and a pick-up truck", [("fire truck", "truck"), ("pickup truck", "truck")]),
        ("a double-decker bus at the bus stop", [("doubledecker bus", "bus")]),
        ("The bus stops for two women", [("bus", "bus"), ("women", "person")]),
        ("people in a train station", [("people", "person")]),
        ("cows stand by the cow barn", [("cows", "cow"), ("cow", "cow")]),
        ("a dog house and a house cat", [("house cat", "cat")]),
        ("a glass vase, glasses and a glass of wine", [("vase", "vase"), ("glass of wine", "wine glass")]),
        ("two teddy bears watch bears", [("teddy bears", "teddy bear"), ("bears", "bear")]),
        ("an orange cat", [("cat", "cat")]),
        ("an orange and white cat", [("cat", "cat")]),
        ("an orange and a knife", [("orange", "orange"), ("knife", "knife")]),
        ("a cat that is orange", [("cat", "cat")]),
        ("orange juice and oranges", [("oranges", "orange")]),
        ("a remote beach with a remote", [("remote", "remote")]),
        ("a man skis on skis", [("man", "person"), ("skis", "skis")]),
        ("men carry skis to the ski lift", [("men", "person"), ("skis", "skis")]),
        ("a boy at bat with a bat", [("boy", "person"), ("bat", "baseball bat")]),
        ("kids play ball", [("kids", "person"), ("ball", "sports ball")]),
        ("a man learns to tie a tie", [("man", "person"), ("tie", "tie")]),
        ("a mother elephant with a baby elephant", [("elephant", "elephant"), ("elephant", "elephant")]),
        ("a mother with a baby", [("mother", "person"), ("baby", "person")]),
        ("a couple of couches", [("couches", "couch")]),
        ("a couple on a couch", [("couple", "person"), ("couch", "couch")]),
        ("carrot cake with baby carrots", [("carrot cake", "cake"), ("baby carrots", "carrot")]),
        ("an apple computer, an apple and a mouse", [("apple", "apple"), ("mouse", "mouse")]),
        ("a man's dog", [("mans", "person"), ("dog", "dog")]),
        ("a street light by the traffic light", [("traffic light", "traffic light")]),
        ("", []),
        ("!?", []),
        ("dog", [("dog", "dog")]),
    ],
)
def test_words_of_captions(caption: str, found: list[tuple[str, str]]) -> None:
    assert named(caption) == found


def test_only_asked_categories_are_found_but_others_still_stand_in_the_way() -> None:
    assert visual("a hot dog and a dog", ["dog"]) == [(5, 6, "dog")]
    assert visual("a baby cow", ["person"]) == []
    assert visual("a man on a sofa", []) == []


def test_categories_of_others_are_found_by_their_own_names() -> None:
    assert visual("three butterflies and cacti near a table", CATEGORIES) == [
        (1, 2, "butterfly"),
        (3, 4, "cactus"),
        (6, 7, "table"),
    ]
    assert visual("a table", CLASSES) == [(1, 2, "dining table")]
    assert visual("two animals and a piece of furniture", CATEGORIES) == [], "groups are no categories"


@pytest.mark.parametrize("number", range(40))
def test_captions_of_scenes_name_what_is_there(number: int) -> None:
    """One caption of each names all things and another counts groups; the planted truth is the world's."""
    one = scene(number)
    found = [{mention.category for mention in visual(caption, CATEGORIES)} for caption in one.captions]
    assert set().union(*found) == set(one.labels) and set(one.labels) in found


def test_words_of_people_are_about_what_others_annotated(data: Path, figure: Callable[[str], None]) -> None:
    """Captions and categories of COCO come from different people; a wrong list would name what is not there."""
    folder = data / "coco_like" / "tiny_coco"
    said, things = (json.loads((folder / name).read_text()) for name in ("captions.json", "instances.json"))
    names = {each["id"]: each["name"] for each in things["categories"]}
    there = {(each["image_id"], names[each["category_id"]]) for each in things["annotations"]}
    hits = [
        (each["image_id"], mention.category) in there
        for each in said["annotations"]
        for mention in visual(each["caption"], CLASSES)
    ]
    figure(f"visual words about annotated categories: {sum(hits)} of {len(hits)} (50 pictures of COCO)")
    assert len(hits) > 300 and sum(hits) / len(hits) > 0.95
