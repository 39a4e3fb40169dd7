"""Networks that put scenes into words: a caption word by word, answers to questions, and where they looked."""

from __future__ import annotations

from collections.abc import Sequence

from wherefore.demo.cast import Cast
from wherefore.demo.measures import peaked_on, share
from wherefore.demo.networks import classes
from wherefore.demo.pictures import known_figure, map_figure
from wherefore.explainer import explain
from wherefore.explanation import Explanation
from wherefore.pages import Figure, Figures, Section, Table, Verdict
from wherefore.saying import answers, captions
from wherefore.scenes import Scene
from wherefore.types import Model
from wherefore.worded import Answer, Caption, Word

SILENT = {"a", "an", "the", "and", "with", "of", "is", "are", "there", "to", "under", "on", "in", "at"}  # show nothing
ANSWERING = ("vqa-alexnet", "vqa", "coattention")
WHERE = ("peak on what it names", "on the other thing")
Found = tuple[list[float], list[float]]  # of the scenes: the share of peaks on the right thing, on the other one


def caption(cast: Cast) -> Section:
    """What the captioner says of scenes, and where it looked for the words that name something."""
    model = cast.network("captioner")
    told = [(each, text) for each, text in _said(model, cast.shown) if text]
    found = of_words(model, cast.pairs)
    named, other = map(share, found)
    return Section(
        "A caption, word by word",
        "`scenes:captioner` shows a picture to an LSTM once, and then says one word after the other (NeuralTalk2, "
        "scaled down). What is explained is the logarithm of how likely the whole caption is, or the score of one "
        "word, given the words before it. The scenes are those from above.",
        *[part for each, text in told for part in _word_by_word(model, each, text)],
        Table(
            ("a word of scenes:captioner", *WHERE),
            [("the name of a thing", named, other)],
            f"The first {cast.count} test scenes with two objects, as far as the captions name them "
            f"({len(found[0])} scenes); in parentheses the 95 % interval over scenes. Just beside is a miss.",
        ),
        Verdict(
            "The map of a word lies on what the word names.",
            named.low > other.high,
            f"Its peak lies there for {named} of the names in captions, on the other thing for {other}.",
        ),
    )


def _said(model: Model, scenes: Sequence[Scene]) -> list[tuple[Scene, str]]:
    return list(zip(scenes, captions(model, list(scenes)), strict=True))


def _word_by_word(model: Model, scene: Scene, text: str) -> list[Figures]:
    """The maps of a caption, and those of its words that name something, on one scale."""
    whole = explain(model, scene, Caption(text))
    fine = explain(model, scene, Caption(text), method="guided-grad-cam")
    spoken = [word for word in Caption(text).words() if word.word not in SILENT]
    words = explain(model, scene, spoken)
    shown = zip(words.overlays(0, scale="common", legend=False), words.targets[0], words.probabilities[0], strict=True)
    strip = [Figure(drawn, word, f"p {float(p):.2f}", f"the word {word}, over {text}") for drawn, word, p in shown]
    maps = [map_figure(e, 0, 0, scene, name, "the whole caption") for e, name in ((whole, "Grad-CAM"), (fine, FINE))]
    return [
        Figures([known_figure(scene), *maps], 3, f"{scene.name}: {text}"),
        Figures(strip, 6, words="All words on one scale: a faint map is little evidence."),
    ]


FINE = "Guided Grad-CAM"


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
    right, wrong = map(share, of_answers(model, scenes))
    return Section(
        "Questions, and other answers",
        "`scenes:vqa` reads a question by an LSTM and multiplies what it read with what it sees (Lu et al. 2015). "
        "Asked for the colour of one thing, it is explained for that colour, and for the colour of the other thing: "
        "the question and the picture are the same, and the answer is another.",
        *[_two_answers(model, each) for each in cast.shown if two_coloured(model, each)],
        _three_networks(cast, cast.shown[0]),
        Table(
            ("an answer of scenes:vqa", "peak on the thing of that colour", WHERE[1]),
            [("a colour", right, wrong)],
            f"{len(scenes)} of the first {cast.count} test scenes with two objects: those of two colours. Each is "
            "asked for the colour of one thing; in parentheses the 95 % interval over scenes. Just beside is a "
            "miss.",
        ),
        Verdict(
            "Another answer, another map: it goes to the thing that has that colour.",
            right.low > wrong.high,
            f"Its peak lies there for {right} of the answers, on the other thing for {wrong}.",
        ),
    )


def colours(model: Model, scene: Scene) -> dict[str, str]:
    """The things of a scene by their colours, as far as these are answers."""
    return {thing.colour: thing.category for thing in scene.things if thing.colour in classes(model)}


def two_coloured(model: Model, scene: Scene) -> bool:
    """Whether the things of a scene have two colours, and one of them can be asked for."""
    return len(colours(model, scene)) == 2 and any(question.kind == "colour" for question in scene.questions)


def question_of(scene: Scene) -> str:
    """The first question about a scene, if possible for a colour."""
    return next((q.text for q in scene.questions if q.kind == "colour"), scene.questions[0].text)


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
    return explain(model, scene, [Answer(colour) for colour in colours(model, scene)], question=question_of(scene))


def _two_answers(model: Model, scene: Scene) -> Figures:
    """A scene and the maps of two answers to one question."""
    e = _of_colours(model, scene)
    maps = [map_figure(e, 0, t, scene, name) for t, name in enumerate(e.targets[0])]
    (best,) = answers(model, scene, question_of(scene), most=1)[0]
    return Figures([known_figure(scene), *maps], 3, f"{question_of(scene)} It says {best.text}.")


def _three_networks(cast: Cast, scene: Scene) -> Figures:
    """The answers of three networks to one question, and their maps."""
    figures = [known_figure(scene)]
    for name in ANSWERING:
        e = explain(cast.network(name), scene, question=question_of(scene))
        figures.append(map_figure(e, 0, 0, scene, f"{name}: {e.targets[0][0]}"))
    return Figures(figures, 4, f"Three networks: {question_of(scene)}")
