"""What is said and asked of a world is true: every sentence is parsed here again and held against the world's state."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest

from wherefore.scenes.language import Question, captions, phrases, questions
from wherefore.scenes.world import CATEGORIES, COLOURS, NEVER, PLACES, SPLITS, TEXTURES, Light, Thing, World, imagine

WORLDS = [imagine(n, split, objects) for n, split, objects in product(range(50), SPLITS, (None, 1, 2, 3, 4))]

# The grammar, written down once more.
ODD = {"bus": "buses", "butterfly": "butterflies", "cactus": "cacti", "fish": "fish", "person": "people"}
GROUPS = {"animal": "animals", "vehicle": "vehicles", "plant": "plants", "building": "buildings"}
SINGULAR = {c: c for c in CATEGORIES} | {g: g for g in GROUPS} | {"piece of furniture": "furniture", "object": "object"}
MANY = {ODD.get(c, f"{c}s"): c for c in CATEGORIES} | {many: one for one, many in GROUPS.items()}
MANY |= {"pieces of furniture": "furniture", "objects": "object"}
NUMBERS = {"a": 1, "an": 1, "another": 1, "two": 2, "three": 3, "four": 4}
ON = {
    "on a street": "street",
    "at sea": "sea",
    "under water": "underwater",
    "on a beach": "beach",
    "in a forest": "forest",
    "in a meadow": "meadow",
    "in the mountains": "mountain",
    "in the desert": "desert",
    "in the snow": "snow",
    "in a room": "room",
}
OVER = {"over a street": "street", "over the sea": "sea", "over a beach": "beach", "over a meadow": "meadow"}
OVER |= {"over the desert": "desert", "over the snow": "snow"}
HORIZONS = {"street": 0.5, "sea": 0.3, "beach": 0.26, "meadow": 0.31, "desert": 0.31, "snow": 0.34}  # the highest drawn
VIEWS = {
    "a street": "street",
    "a view of the sea": "sea",
    "an underwater scene": "underwater",
    "a beach": "beach",
    "a forest": "forest",
    "a meadow": "meadow",
    "a mountain landscape": "mountain",
    "a desert": "desert",
    "a snowy landscape": "snow",
    "a room": "room",
}
SPOTS = {"on the left": "left", "on the right": "right", "at the top": "top", "at the bottom": "bottom"}
SPOTS |= {"in the middle": "middle"}
# What is no ground for a "no": these are taken for each other.
ALIKE = [{"red", "orange"}, {"red", "brown"}, {"pink", "purple"}, {"blue", "purple"}, {"white", "grey"}]
ALIKE += [{"orange", "brown"}, {"orange", "yellow"}, {"red", "pink"}, {"striped", "zigzag"}]


def among(words: object) -> str:
    return "(" + "|".join(sorted(map(re.escape, words), key=len, reverse=True)) + ")"  # type: ignore[call-overload]


LOOKS = f"(?:{among(TEXTURES)} )?(?:{among(COLOURS)} )?"
NOUN = re.compile(f"{among(NUMBERS)} {LOOKS}{among(SINGULAR | MANY)}(?: in (an? )?{LOOKS}shirt(s)?)?")


def clearly(word: str, right: float, down: float) -> bool:
    """Whether what is that far to the right and down lies on that side, and not nearly as much on another."""
    ahead, aside = {
        "left": (-right, down),
        "right": (right, down),
        "top": (-down, right),
        "bottom": (down, right),
        "middle": (0.3 - max(abs(right), abs(down)), 0),
    }[word]
    return ahead >= 0.2 - 1e-9 and abs(aside) <= 0.5 * ahead


def related(one: Thing, words: str, other: Thing) -> bool:
    side = {"to the left of": "left", "to the right of": "right", "above": "top", "below": "bottom"}[words]
    return clearly(side, one.x - other.x, one.y - other.y)


def meant(words: str, things: list[Thing], fits: Callable[[Thing], bool] = lambda _: True) -> list[Thing]:
    """The things that a noun with its adjectives may mean; as many as its number says, or the sentence is false."""
    match = NOUN.fullmatch(words)
    assert match, f"not understood: {words}"
    number, texture, colour, noun, a_shirt, worn_texture, worn_colour, shirts = match.groups()
    if "shirt" in words:
        assert (bool(a_shirt), bool(shirts)) == {"person": (True, False), "people": (False, True)}[noun], words
        assert worn_texture or worn_colour, words
        texture, colour = worn_texture, worn_colour
    assert noun in (SINGULAR if NUMBERS[number] == 1 else MANY), f"number and noun do not agree: {words}"
    assert noun not in ("person", "people") or match[2] is match[3] is None, f"nobody is {match[2]} or {match[3]}"
    category = (SINGULAR if NUMBERS[number] == 1 else MANY)[noun]
    found = [t for t in things if category in (t.category, t.kind.group, "object") and fits(t)]
    found = [t for t in found if texture in (None, t.texture) and colour in (None, t.colour)]
    assert len(found) >= NUMBERS[number] and (NUMBERS[number] == 1 or len(found) == NUMBERS[number]), f"false: {words}"
    return found


def told(words: str, things: list[Thing], fits: Callable[[Thing], bool] = lambda _: True) -> int:
    """How many things a list of nouns names; it must be true of each noun."""
    nouns = re.split(", | and ", words)
    for noun in nouns:
        meant(noun, things, fits)
    return sum(NUMBERS[noun.split()[0]] for noun in nouns)


def check(text: str, things: list[Thing], place: str) -> int:
    """Raises AssertionError unless the sentence or phrase is understood and true; how many things it names."""
    assert all((word[0] in "aeiou") == (a == "an") for a, word in re.findall(r"\b(an?) (\w+)", text)), (
        f"a or an: {text}"
    )

    def fits(thing: Thing) -> bool:
        return True

    if match := re.fullmatch(f"the (shirt of the person|[a-z]+) is {among(COLOURS)}(?: and {among(TEXTURES)})?", text):
        category = "person" if "shirt" in text else match[1]
        assert match[1] != "person", text
        bare = category in ("bicycle", "butterfly", "flower")  # nothing is said of their texture
        looks = [(t.colour, "plain" if bare else t.texture) for t in things if t.category == category]
        assert looks == [(match[2], match[3] or "plain")], f"false: {text}"
        return 1
    if match := re.fullmatch(f"{among(VIEWS)} with (.+)", text):
        assert VIEWS[match[1]] == place, f"elsewhere: {text}"
        text = match[2]
    elif match := re.fullmatch("a picture of (.+)", text):
        text = match[1]
    elif match := re.fullmatch(f"(.+) {among(ON | OVER)}", text):
        assert (ON | OVER)[match[2]] == place, f"elsewhere: {text}"
        text, low = match[1], match[2] in ON
        if place in OVER.values():

            def fits(thing: Thing) -> bool:
                end = thing.y + thing.kind.extent[1] * thing.size
                return end >= 0.66 if low else end <= HORIZONS[place]

    elif match := re.fullmatch(f"(.+) {among(SPOTS)}(?: of the picture)?", text):
        text, spot = match[1], SPOTS[match[2]]

        def fits(thing: Thing) -> bool:
            return clearly(spot, thing.x - 0.5, thing.y - 0.5)

    if match := re.fullmatch("there (is|are) (.+?)(?: in the picture)?", text):
        text = match[2]
        assert (match[1] == "is") == text.startswith(("a ", "an ")), f"is or are: {text}"
    if match := re.fullmatch("(.+) (to the left of|to the right of|above|below) (.+)", text):
        ones, others = meant(match[1], things, fits), meant(match[3], things, fits)
        pairs = [(a, b) for a in ones for b in others if a is not b and related(a, match[2], b)]
        assert pairs, f"false: {text}"
        assert ("another" in match[3]) == all(a.category == b.category for a, b in pairs), f"another: {text}"
        return 2
    return told(text, things, fits)


def holds(text: str, world: World) -> bool:
    try:
        check(text, list(world.things), world.place)
    except AssertionError:
        return False
    return True


def expected(text: str, world: World) -> tuple[str, tuple[int, ...] | None]:
    """The answer to a question, and the numbers of the things to look at; AssertionError if it has no clear answer."""
    things, everything = world.things, tuple(range(len(world.things)))

    def of(noun: str) -> tuple[int, ...]:
        return tuple(i for i, t in enumerate(things) if noun in (t.category, t.kind.group, "object"))

    def the(noun: str) -> int:
        (i,) = of("person" if noun == "shirt of the person" else noun)  # raises where "the" is not clear
        return i

    if text == "what place is this?":
        return world.place, None
    if match := re.fullmatch(r"how many (.+) are there\?", text):
        found = of(MANY[match[1]])
        return str(len(found)), found or everything
    if match := re.fullmatch(r"is there (an?) (.+)\?", text):
        assert (match[1] == "an") == (match[2][0] in "aeiou") and (match[2], world.place) not in NEVER
        return ("yes", of(match[2])) if of(match[2]) else ("no", everything)
    if match := re.fullmatch(r"what kind of (\w+) is there\?", text):
        (category,) = {things[i].category for i in of(match[1])}
        return category, of(match[1])
    if text == "what object is there?":
        (thing,) = things
        return thing.category, (0,)
    if match := re.fullmatch(f"what object is {among(SPOTS)}\\?", text):
        (i,) = [i for i, t in enumerate(things) if clearly(SPOTS[match[1]], t.x - 0.5, t.y - 0.5)]
        return things[i].category, (i,)
    if match := re.fullmatch(r"what colour is the (.+)\?", text):
        assert match[1] != "person", text
        return things[the(match[1])].colour, (the(match[1]),)
    if match := re.fullmatch(r"what pattern does the (.+) have\?", text):
        assert match[1] != "person", text
        return things[the(match[1])].texture, (the(match[1]),)
    if match := re.fullmatch(r"where is the (\w+)\?", text):
        thing = things[the(match[1])]
        (spot,) = [s for s in SPOTS.values() if clearly(s, thing.x - 0.5, thing.y - 0.5)]
        return spot, (the(match[1]),)
    if match := re.fullmatch(f"is the (.+) {among([*COLOURS, *TEXTURES])}\\?", text):
        i = the(match[1])
        assert match[1] != "person", text
        looks = {things[i].colour, things[i].texture}
        assert not any(match[2] in pair and match[2] not in looks and pair & looks for pair in ALIKE), text
        return "yes" if match[2] in looks else "no", (i,)
    match = re.fullmatch(r"is the (\w+) (to the left of|to the right of|above|below) the (\w+)\?", text)
    assert match, f"not understood: {text}"
    i, j = the(match[1]), the(match[3])
    assert related(things[i], match[2], things[j]) != related(things[j], match[2], things[i]), f"disputable: {text}"
    return "yes" if related(things[i], match[2], things[j]) else "no", (i, j)


def right(question: Question, world: World) -> bool:
    answer, about = expected(question.text, world)
    return question.answer == answer and (question.about and sorted(question.about)) == (about and sorted(about))


def a_world(*things: Thing, place: str = "street") -> World:
    return World("by hand", place, things, Light())


CAR = Thing("car", "red", "striped", x=0.2, y=0.8, size=0.18)
DOG = Thing("dog", "blue", "plain", x=0.7, y=0.8, size=0.18)
MAN = Thing("person", "green", "dotted", x=0.7, y=0.25, size=0.18)


# ------------------------------------------------------------------------------------------------ the checker


TRUE = (
    "a striped red car on a street",
    "a person in a dotted green shirt over a street",
    "a street with a car, a dog and a person in a green shirt",
    "a red car to the left of a blue dog on a street",
    "a person above a plain dog",
    "there is a vehicle, an animal and a person in the picture",
    "there are three objects in the picture",
    "the dog is blue",
    "the shirt of the person is green and dotted",
)
FALSE = (
    "a blue car on a street",
    "a dotted car on a street",
    "a red car over a street",
    "a red car in a room",
    "a room with a red car",
    "a red car to the right of a blue dog",
    "a red car above a blue dog",
    "a car to the left of a person",  # as much below as to the left
    "a car to the left of another car",
    "two dogs",
    "a person in green shirt",
    "a person in a shirt",
    "a person in shirts",
    "a cat",
    "a animal",
    "an car",
    "a dogs",
    "a green person",
    "there are an animal",
    "there are four objects in the picture",
    "there are two vehicles in the picture",
    "a red car on the right of the picture",
    "a red car in the middle of the picture",
    "the dog is blue and striped",
    "the car is red",
    "a red car, honestly",
)


@pytest.mark.parametrize("text", TRUE)
def test_the_checker_agrees_with_what_is_true(text: str) -> None:
    assert holds(text, a_world(CAR, DOG, MAN))


@pytest.mark.parametrize("text", FALSE)
def test_the_checker_objects_to_what_is_false(text: str) -> None:
    assert not holds(text, a_world(CAR, DOG, MAN))


def test_the_checker_objects_to_captions_of_a_world_that_was_changed() -> None:
    def objected(change: Callable[[Thing], Thing]) -> float:
        said = [(c[:-1], w) for w in WORLDS[:150] for c in captions(w)]
        changed = [not holds(c, replace(w, things=tuple(map(change, w.things)))) for c, w in said]
        return sum(changed) / len(changed)

    def next_colour(thing: Thing) -> Thing:
        return replace(thing, colour=list(COLOURS)[(list(COLOURS).index(thing.colour) + 1) % 10])

    assert objected(lambda thing: thing) == 0
    assert objected(next_colour) > 0.4  # a third and more of them name no colour
    assert objected(lambda t: replace(t, x=1 - t.x, y=1 - t.y)) > 0.25  # few say where
    assert objected(lambda t: replace(t, category="lamp" if t.category != "lamp" else "boat")) > 0.85


# ------------------------------------------------------------------------------------------------ what is said


def test_captions_are_five_and_true() -> None:
    for world in WORLDS:
        said = captions(world)
        assert len(set(said)) == 5
        named = []
        for caption in said:
            assert re.fullmatch(r"[a-z, ]+\.", caption)
            named.append(check(caption[:-1], list(world.things), world.place))
        assert named[0] == 1  # the short one
        assert named[1] == named[3] == named[4] == len(world.things)  # those that name or count all of them
        assert all(re.search(rf"\b({c}|{many})\b", said[1]) for many, c in MANY.items() if c in world.categories)


def test_phrases_are_true_of_what_they_are_about() -> None:
    for world in WORLDS:
        said = phrases(world)
        assert len(set(said)) == len(said) >= (2 if len(world.things) == 1 else 5)
        assert {i for _, about in said for i in about} == set(range(len(world.things)))
        for phrase, about in said:
            assert check(phrase, [world.things[i] for i in about], world.place) == len(about)


def test_phrases_of_pairs_and_groups() -> None:
    other = replace(DOG, category="bird", x=0.45)
    said = dict(phrases(a_world(CAR, DOG, other)))
    assert said["two animals"] == (1, 2)
    assert {"a blue dog to the right of a blue bird", "a blue bird to the left of a blue dog"} & set(said)
    assert said["a red car on a street"] == (0,)
    assert not any(phrase.startswith("a car ") for phrase in said)  # it is on the left, or at the bottom


def test_answers_are_right_and_about_what_must_be_seen() -> None:
    for world in WORLDS:
        asked = questions(world)
        assert len({question.text for question in asked}) == len(asked)
        for question in asked:
            assert right(question, world), (question, world)
            assert re.fullmatch(r"[a-z]+|[0-4]", question.answer)


def test_false_answers_are_noticed() -> None:
    world = a_world(CAR, DOG, MAN)
    for question in questions(world):
        assert right(question, world)
        assert not right(replace(question, answer="wrong"), world)
        assert not right(replace(question, about=(0, 1, 2, 3)), world)


def test_questions_of_every_kind() -> None:
    asked = {q.text: q for q in questions(a_world(CAR, DOG, MAN))}
    assert asked["what colour is the dog?"] == Question("what colour is the dog?", "blue", "colour", (1,))
    assert asked["what pattern does the car have?"].answer == "striped"
    assert asked["what colour is the shirt of the person?"].answer == "green"
    assert asked["what kind of animal is there?"].answer == "dog"
    assert asked["how many objects are there?"].answer == "3"
    assert asked["what place is this?"].about is None
    assert "where is the car?" not in asked  # on the left, or at the bottom
    kinds = {q.kind for world in WORLDS[:30] for q in questions(world)}
    assert kinds == {"kind", "colour", "texture", "count", "where", "place", "exists", "check", "relation"}


def test_nothing_is_asked_of_the_one_where_there_are_two() -> None:
    texts = [q.text for q in questions(a_world(CAR, replace(CAR, x=0.7), DOG))]
    assert not any("the car" in text for text in texts)
    assert "how many cars are there?" in texts and "what kind of vehicle is there?" in texts


@pytest.mark.parametrize("category", ["bicycle", "butterfly", "flower"])
def test_no_texture_is_told_that_cannot_be_seen(category: str) -> None:
    world = a_world(replace(CAR, category=category), place="room")
    said = [*captions(world), *(p for p, _ in phrases(world)), *(q.text for q in questions(world))]
    assert not re.search(f"pattern|{'|'.join(TEXTURES)}", " ".join(said))


def test_nothing_is_asked_of_what_the_backdrop_shows() -> None:
    asked = {place: [q.text for q in questions(a_world(CAR, DOG, place=place))] for place in PLACES}
    assert not any("tree" in text for text in asked["forest"]) and not any("house?" in t for t in asked["street"])
    in_a_wood = a_world(replace(DOG, category="flower"), place="forest")
    assert not any("plant" in text for text in (*captions(in_a_wood), *[q.text for q in questions(in_a_wood)]))


def test_a_lighthouse_is_a_house_of_a_kind() -> None:
    for world in (w for w in WORLDS if "lighthouse" in w.categories and "house" not in w.categories):
        assert not any(re.search(r"\bhouses?\b", q.text) for q in questions(world))


def test_as_many_yes_as_no() -> None:
    answers = Counter((q.kind, q.answer) for world in WORLDS for q in questions(world) if q.answer in ("yes", "no"))
    assert answers["exists", "yes"] == answers["exists", "no"]
    assert answers["check", "yes"] == answers["check", "no"]
    related = answers["relation", "yes"] + answers["relation", "no"]
    assert related > 300 and 0.45 < answers["relation", "yes"] / related < 0.55


def test_no_word_gives_the_answer_of_a_check_away() -> None:
    answers = Counter((q.text.split()[-1], q.answer) for w in WORLDS for q in questions(w) if q.kind == "check")
    for word in (*COLOURS, *TEXTURES[1:]):
        assert 0.2 < answers[f"{word}?", "yes"] / (answers[f"{word}?", "yes"] + answers[f"{word}?", "no"]) < 0.8


def test_the_words_are_few() -> None:
    said = [text for world in WORLDS for text in (*captions(world), *(p for p, _ in phrases(world)))]
    assert len(set(re.findall(r"\w+", " ".join(said)))) < 125
    assert len({q.answer for world in WORLDS for q in questions(world)}) < 60


def test_the_same_everywhere() -> None:
    digest = hashlib.sha256()
    for world in map(imagine, range(200)):
        digest.update(repr((captions(world), phrases(world), questions(world))).encode())
    assert digest.hexdigest()[:16] == "5d0fa786913edea8"
