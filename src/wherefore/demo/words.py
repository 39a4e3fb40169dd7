"""Networks that put scenes into words: what they say, whether it is true, and where they looked for it."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from wherefore.demo.cast import Cast
from wherefore.demo.measures import peaked_on, share
from wherefore.demo.networks import classes
from wherefore.demo.pictures import known_figure, map_figure
from wherefore.explainer import explain
from wherefore.explanation import Explanation
from wherefore.models.scenes import shipped
from wherefore.pages import Figure, Figures, Section, Share, Table, Verdict
from wherefore.saying import answers, captions
from wherefore.scenes import Scene
from wherefore.scenes.language import Question
from wherefore.scenes.truth import Checked, checked
from wherefore.training.judging import Row, of_captions
from wherefore.types import Model
from wherefore.worded import Answer, Caption, Word

SILENT = {"a", "an", "the", "and", "with", "of", "is", "are", "there", "to", "under", "on", "in", "at"}  # show nothing
ANSWERING = ("vqa-alexnet", "vqa", "coattention")
FINE = "Guided Grad-CAM"
WHERE = ("peak on what it names", "on the other thing")
CLAIMS = {"things": "things", "counts": "numbers", "looks": "colours and textures", "where": "places and relations"}
NO_BREAK = "\N{NO-BREAK SPACE}"
EVERY, COLOUR = "all questions, as in training", "colour, as in training"  # rows of the cards
Found = tuple[list[float], list[float]]  # of the scenes: the share of peaks on the right thing, on the other one


def caption(cast: Cast) -> Section:
    """What the captioner says of scenes, whether that is true, and where it looked for words that show something."""
    model = cast.network("captioner")
    found = of_words(model, cast.pairs)
    named, other = map(share, found)
    return Section(
        "A caption, word by word",
        "`scenes:captioner` shows a picture to an LSTM once, and then says one word after the other (NeuralTalk2, "
        "scaled down). What is explained is the logarithm of how likely the whole caption is, or the score of one "
        "word, given the words before it. The scenes are those from above. A program holds each caption against what "
        "it knows to be in the scene.",
        *[part for each, text in _said(model, cast.shown) if text for part in _word_by_word(model, each, text)],
        _true_captions(model, cast.pairs),
        Table(
            ("a word of scenes:captioner", *WHERE),
            [("the name of a thing", named, other)],
            f"The first {cast.count} test scenes with two objects, as far as the captions name them "
            f"({len(found[0])} scenes); in parentheses the 95 % interval over scenes. Just beside is a miss.",
        ),
        Verdict(
            "The map of a word lies on what the word names rather than on the other thing.",
            named.low > other.high,
            f"Its peak lies there for {named} of the names in captions, on the other thing for {other}.",
        ),
    )


def _said(model: Model, scenes: Sequence[Scene]) -> list[tuple[Scene, str]]:
    return list(zip(scenes, captions(model, list(scenes)), strict=True))


def _word_by_word(model: Model, scene: Scene, text: str) -> list[Figures]:
    """The maps of a caption, whether it is true, and the maps of its words that show something, on one scale."""
    whole = explain(model, scene, Caption(text))
    fine = explain(model, scene, Caption(text), method="guided-grad-cam")
    spoken = [word for word in Caption(text).words() if word.word not in SILENT]
    words = explain(model, scene, spoken or Caption(text).words())
    shown = zip(words.overlays(0, scale="common", legend=False), words.targets[0], words.probabilities[0], strict=True)
    strip = [Figure(drawn, word, f"p {float(p):.2f}", f"the word {word}, over {text}") for drawn, word, p in shown]
    maps = [map_figure(e, 0, 0, scene, name, "the whole caption") for e, name in ((whole, "Grad-CAM"), (fine, FINE))]
    # As few rows as can be, and of these with the fullest last one.
    columns = min(6, 5, key=lambda n: (ceil(len(strip) / n), -len(strip) % n))
    return [
        Figures([known_figure(scene), *maps], 3, f"{scene.name}: {text}", in_truth(checked(text, scene.world))),
        Figures(strip, columns, words="All words on one scale: a faint map is little evidence."),
    ]


def in_truth(found: Checked) -> str:
    """Whether a caption is true, and if not how much of what it says is right."""
    if found.true:
        return "The caption is true in all it says."
    tallies = [(name, getattr(found, of)) for of, name in CLAIMS.items()]
    right = [f"{tally.right} of {tally.claimed} {name}" for name, tally in tallies if tally.claimed]
    said = f"right are {', '.join(right)}" if right else "it names nothing"
    return f"The caption is not true as a whole: {said}{'' if found.understood else '; it is no whole sentence'}."


def _true_captions(model: Model, scenes: Sequence[Scene]) -> Table:
    """How much of captions is true: of these scenes, and of all that the network's card is about."""
    here = _rows(of_captions([(text, scene.world) for scene, text in _said(model, scenes)]))
    card = _rows(shipped("captioner").get("accuracy", []))
    return Table(
        (f"said by {model.name}", f"of these {len(scenes)} scenes", "of all test scenes", "n"),
        [
            (name, _share(here.get(name)), _share(card.get(name)), f"{card[name]['n']:,}" if name in card else "")
            for name in {**card, **here}
        ],
        f"These are the first {len(scenes)} test scenes with two objects; of all test scenes, n captions, the "
        "network's card tells. A caption is true only if all that it says is, its colours and textures too. In "
        "parentheses the 95 % interval.",
    )


def _rows(rows: Sequence[Row]) -> dict[str, Row]:
    return {row["name"]: row for row in rows}


def _share(row: Row | None) -> Share | str:
    """A share that a card holds, with its interval; nothing where it holds none."""
    return Share(row["value"], row["low"], row["high"]) if row else ""


def of_words(model: Model, scenes: Sequence[Scene]) -> Found:
    """Where the peaks of the maps of words lie that name a thing, of those scenes whose captions name one."""
    right, wrong = [], []
    for scene, text in _said(model, scenes):
        names = [name for name in scene.labels if name in text.split()]
        if names:
            e = explain(model, scene, [Word(name, text) for name in names])
            on, beside = _on(e, 0, scene, names)
            right.append(on)
            wrong.append(beside)
    return right, wrong


def _on(e: Explanation, image: int, scene: Scene, names: Sequence[str]) -> tuple[float, float]:
    """The shares of the maps of a scene whose peaks lie on what they are about, and on another thing."""
    peaks = [peaked_on(heat, scene) for heat in e.placed(image)]
    hits = [found == name for found, name in zip(peaks, names, strict=True)]
    others = [found not in (None, name) for found, name in zip(peaks, names, strict=True)]
    return sum(hits) / len(hits), sum(others) / len(others)


# -------------------------------------------------------------------------------------------- answers


def answer(cast: Cast) -> Section:
    """Answers to a question by three networks, and how the map goes where another answer would be true."""
    model = cast.network("vqa")
    scenes = [each for each in cast.pairs if two_coloured(model, each)]
    found = of_answers(model, scenes)
    right, wrong = map(share, found)
    both = share([float(on == 1) for on in found[0]])
    return Section(
        "Questions, and other answers",
        "`scenes:vqa` reads a question by an LSTM and multiplies what it read with what it sees (Lu et al. 2015). "
        "Asked for the colour of one thing, it is explained for that colour, and for the colour of the other thing: "
        "the question and the picture are the same, and the answer is another.",
        *[_two_answers(model, each) for each in cast.shown if two_coloured(model, each)],
        _three_networks(cast, cast.shown[0]),
        _right_answers(cast, scenes),
        Table(
            ("an answer of scenes:vqa", "peak on the thing of that colour", WHERE[1], "right for both answers"),
            [("a colour", right, wrong, both)],
            f"{len(scenes)} of the first {cast.count} test scenes with two objects: those of two colours. Each is "
            "asked for the colour of one thing, and explained for both; in parentheses the 95 % interval over scenes. "
            "Just beside is a miss.",
        ),
        Verdict(
            "Another answer, another map: it goes to the thing that has that colour.",
            right.low > wrong.high,
            f"Its peak lies there for {right} of the answers, on the other thing for {wrong}; for {both} of the "
            "scenes it goes right for both answers.",
        ),
    )


def _right_answers(cast: Cast, scenes: Sequence[Scene]) -> Table:
    """How many answers are right: about the colours of these scenes, and of all that the networks' cards are about."""
    rows: list[tuple[str | Share, ...]] = []
    for name in ANSWERING:
        card = _rows(shipped(name).get("accuracy", []))
        colour, every = card.get(COLOUR), card.get(EVERY)
        here = share([float(right) for right in are_right(cast.network(name), scenes)])
        rows.append((f"scenes:{name}: a colour", here, *_on_card(colour)))
        rows.append((f"scenes:{name}: any question", "", *_on_card(every)))
    return Table(
        ("right answers of", f"of these {len(scenes)} scenes", "of all test scenes", "without looking", "n"),
        rows,
        "These scenes are those of the table below, each asked for the colour of one thing; of all test scenes, n "
        "questions, the networks' cards tell. Without looking: so many are right of a network that learned the same "
        "and was given the question alone. In parentheses the 95 % interval.",
    )


def _on_card(row: Row | None) -> tuple[Share | str, str, str]:
    """A share that a card holds, that of the question alone, and of how many; nothing where it holds none."""
    if row is None:
        return "", "", ""
    alone = f"{100 * row['question only']:.0f}{NO_BREAK}%" if "question only" in row else ""
    return _share(row), alone, f"{row['n']:,}"


def are_right(model: Model, scenes: Sequence[Scene]) -> list[bool]:
    """Whether a network answers the question about each scene right."""
    asked = [question_of(each) for each in scenes]
    said = answers(model, list(scenes), [question.text for question in asked], most=1)
    return [best.text == question.answer for (best,), question in zip(said, asked, strict=True)]


def colours(model: Model, scene: Scene) -> dict[str, str]:
    """The things of a scene by their colours, as far as these are answers."""
    return {thing.colour: thing.category for thing in scene.things if thing.colour in classes(model)}


def two_coloured(model: Model, scene: Scene) -> bool:
    """Whether the things of a scene have two colours, and one of them can be asked for."""
    return len(colours(model, scene)) == 2 and any(question.kind == "colour" for question in scene.questions)


def question_of(scene: Scene) -> Question:
    """The first question about a scene, if possible for a colour."""
    return next((q for q in scene.questions if q.kind == "colour"), scene.questions[0])


def of_answers(model: Model, scenes: Sequence[Scene]) -> Found:
    """Where the peaks of the maps of colours lie, of scenes with two things of two colours."""
    right, wrong = [], []
    for scene in scenes:
        e = _of_colours(model, scene)
        on, beside = _on(e, 0, scene, list(colours(model, scene).values()))
        right.append(on)
        wrong.append(beside)
    return right, wrong


def _of_colours(model: Model, scene: Scene) -> Explanation:
    return explain(model, scene, [Answer(colour) for colour in colours(model, scene)], question=question_of(scene).text)


def _two_answers(model: Model, scene: Scene) -> Figures:
    """A scene and the maps of two answers to one question."""
    e, question = _of_colours(model, scene), question_of(scene)
    maps = [map_figure(e, 0, t, scene, name) for t, name in enumerate(e.targets[0])]
    (best,) = answers(model, scene, question.text, most=1)[0]
    right = "right" if best.text == question.answer else f"wrong: {question.answer}"
    return Figures([known_figure(scene), *maps], 3, f"{question.text} It says {best.text}, which is {right}.")


def _three_networks(cast: Cast, scene: Scene) -> Figures:
    """The answers of three networks to one question, and their maps."""
    figures, question = [known_figure(scene)], question_of(scene)
    for name in ANSWERING:
        e = explain(cast.network(name), scene, question=question.text)
        (said,) = e.targets[0]
        right = "right" if said == question.answer else "wrong"
        figures.append(map_figure(e, 0, 0, scene, f"{name}: {said}, {right}"))
    return Figures(figures, 4, f"Three networks: {question.text} {question.answer.capitalize()}.")
