"""Captions, words and answers, and where the network looked for them: figures 10, 11, 12, 18 and 19."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from wherefore.batch.asking import language
from wherefore.datasets import Asked, Sample
from wherefore.datasets.words import visual
from wherefore.drawing import known
from wherefore.errors import Error
from wherefore.experiments.captions import says
from wherefore.experiments.questions import reads
from wherefore.explanation import Explanation
from wherefore.figures.choice import Choice, Taken, fit
from wherefore.figures.classes import FINE, methods
from wherefore.figures.sheets import ACROSS, EACH, SIZE, Drawing, Sheet, laid, of_panel, photo
from wherefore.panels import Panel, panel
from wherefore.registry import FIGURES
from wherefore.saying import answers, captions, spoken
from wherefore.speech import Language
from wherefore.strips import Fine
from wherefore.tiling import Block, tile
from wherefore.told import answered, captioned, compared, listed
from wherefore.types import Model, Target
from wherefore.vocabulary import tokens
from wherefore.ways import by_layer
from wherefore.worded import Answer, Caption, Word

TAKES = ("images", "models", "weights", "targets", "data")
REGIONS = 3  # captions of parts of a picture
ANSWERS = 3  # the network's own, and the next likeliest
COMMON = "The maps of one picture share a scale, up to their highest maximum: a faint map is little evidence."


# -------------------------------------------------------------------------------------------- captions


@FIGURES(
    "10", title="captions of pictures, and of their parts", section="8.1", networks=("scenes:captioner",), count=2,
    seconds=2, takes=TAKES,
)  # fmt: skip
def figure_10(choice: Choice) -> Drawing:
    """Where a captioner looked for the whole caption and for each word; and for captions of parts, with their boxes."""
    model, sheets = choice.network, []
    why, known_words = choice.why(model), language(model)
    for taken in choice.pictures(lambda sample: bool(_regions(known_words, sample) or choice.settings.targets)):
        title, texts = taken.picture.title, choice.settings.targets
        told = captioned(why, taken.picture)
        ways = {"the caption": told.whole, "its words": told.words, **_fine("Guided Grad-CAM", told.fine)}
        sheets.append(Sheet(f"{title}, the whole", told.page(), ways, taken.sample, told.says, {"caption": told.says}))
        regions = _regions(known_words, taken.sample)[:REGIONS] if taken.sample else []
        if texts or regions:
            parts = listed(why, taken.picture, texts, regions=() if texts else regions)
            name = "captions that are given" if texts else "parts"
            sheets.append(Sheet(f"{title}, {name}", parts.page(), {"captions": parts.captions}, taken.sample))
    words = (
        "Explained is log p(caption | picture). Captions of parts are those that the data have, with the boxes that "
        "they are about; the paper's are DenseCap's. `--target` gives captions of your own."
    )
    return Drawing(sheets, [words], "")


def _regions(words: Language, sample: Sample) -> list[Any]:
    """The parts of a picture whose captions a network can say, each part once."""
    return [*{each.box: each for each in sample.regions[::-1] if says(words, each.caption)}.values()][::-1]


def _fine(name: str, fine: Fine) -> dict[str, Explanation | str]:
    return {} if fine is None else {name: fine}


@FIGURES(
    "11", title="words of a caption, beside what they name", section="8.1", networks=("scenes:show-and-tell",),
    data="pair", count=2, seconds=1, takes=TAKES,
)  # fmt: skip
def figure_11(choice: Choice) -> Drawing:
    """Grad-CAM of the words of a caption that name a thing, and where that thing is annotated."""
    listed_ = language(choice.network)
    taken = choice.pictures(lambda sample: bool(_naming(listed_, sample)), "be described in words that it knows")
    words = (
        "A word's score is its logit at its place in the caption, given the words before it. Captions are those that "
        "the data have; of a picture without one the network's own. `--target` names words of it."
    )
    return Drawing([_pointing(choice, each, _naming(listed_, each.sample)) for each in taken], [words], COMMON)


class Naming(NamedTuple):
    """A caption, and of its words that name something the place and the category."""

    caption: str
    places: list[tuple[int, str]]


def _naming(words: Language, sample: Sample | None) -> Naming | None:
    """The first caption of a picture that a network can say, with most names of what is annotated in it."""
    found = []
    for caption in sample.captions if sample else ():
        if sample and says(words, caption):
            named = [(each.stop - 1, each.category) for each in visual(caption, sample.labels)]
            found.append(Naming(caption, [each for each in named if sample.of(each[1])]))
    best = max(found, key=lambda each: len(each.places), default=None)
    return best if best and best.places else None


def _pointing(choice: Choice, taken: Taken, found: Naming | None) -> Sheet:
    """The picture, and for each word its map and what it names."""
    model = choice.network
    why = choice.why(model)
    one = why.prepare(taken.picture)
    caption, places = found or Naming(captions(model, one.tensor[None])[0], [])
    categories: dict[int, str] = dict(places)
    listed_ = tokens(caption)
    if choice.settings.targets:
        asked = [Word(word, caption) for word in choice.settings.targets]
    else:
        asked = [Word(listed_[i], caption, i) for i in categories] or list(Caption(caption).words())
    e = why.on([one], asked)
    small, tiles = e.within(ACROSS), [photo(taken.picture)]
    overlays = small.overlays(0, scale="common", legend=False)
    for t, (word, drawn) in enumerate(zip(asked, overlays, strict=True)):
        tiles.append(tile(drawn, e.targets[0][t], _likely(e, t), SIZE))
        category = categories.get(word.step if word.step is not None else -1) or _category(word.word, taken)
        if taken.sample and category:
            true = known(small.pictures[0].image, [(category, taken.sample.mask(category))])
            tiles.append(tile(true, "annotated", category, SIZE))
    top = float(e.evidence[0].max())
    block = Block(caption, f"{model.name}, {e.method}, {e.layer}", tiles, ("heat", f"{top:.3g}") if top > 0 else None)
    columns = len(tiles) if len(tiles) <= 5 else 4
    return Sheet(
        taken.picture.title, laid([block], columns), {"Grad-CAM": e}, taken.sample, caption, {"caption": caption}
    )


def _likely(e: Explanation, target: int) -> str:
    return f"p {float(e.probabilities[0, target]):.3f}, {e.evidence_text(0, target)}"


def _category(word: str, taken: Taken) -> str:
    return word if taken.sample and taken.sample.of(word) else ""


@FIGURES(
    "18", title="captions by three methods", section="C.2", networks=("scenes:captioner",), count=3, seconds=2,
    takes=TAKES,
)  # fmt: skip
def figure_18(choice: Choice) -> Drawing:
    """Guided backprop, Grad-CAM and Guided Grad-CAM of the captions that a captioner says of random pictures."""
    model, sheets = choice.network, []
    for taken in choice.pictures():
        one = choice.why(model).prepare(taken.picture)
        asked = [Caption(text) for text in choice.settings.targets] or [Caption(spoken(model, [one]))]
        sheets.append(of_panel(_by_three(choice, model, taken, asked), taken.sample))
    return Drawing(sheets, ["The score of a caption is log p(caption | picture). `--target` gives other captions."])


def _by_three(
    choice: Choice, model: Model, taken: Taken, asked: Sequence[Target], question: str | None = None
) -> Panel:
    """A panel of guided backprop, Grad-CAM and Guided Grad-CAM."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"the \w+ rule changes")  # tanh keeps its gradient, as in the paper
        return panel(methods(choice, model, FINE), taken.picture, asked, question)


# -------------------------------------------------------------------------------------------- answers


@FIGURES(
    "12", title="answers to a question, and an answerer layer by layer", section="8.2",
    networks=("scenes:vqa", "scenes:coattention"), data="pair", count=1, seconds=2, takes=(*TAKES, "question"),
)  # fmt: skip
def figure_12(choice: Choice) -> Drawing:
    """Grad-CAM and Guided Grad-CAM for several answers to a question; and the co-attention model at every block."""
    first, *others = choice.networks
    sheets = []
    for taken, question, true in _asked(choice):
        title, wanted = taken.picture.title, choice.settings.targets
        told = answered(choice.why(first), taken.picture, question, wanted, ANSWERS)
        ways = {"answers": told.answers, **_fine("Guided Grad-CAM", told.fine)}
        facts = {"question": question, "answer": told.said[0].text, "true": true}
        words = _with(question, true)
        sheets.append(Sheet(f"{title}, answers", told.page(), ways, taken.sample, words, facts))
        for model in others:
            swept = by_layer(model, taken.picture, "sweep", question=question, fit=fit(model))
            deep = compared(swept, taken.picture, question, wanted[:1], fine=False)
            found = {name: each if isinstance(each, str) else each.answers for name, each in deep.ways.items()}
            facts = {"question": question, "answer": next(iter(deep.found.values())).said[0].text, "true": true}
            sheets.append(Sheet(f"{title}, {model.name}", deep.page(), found, taken.sample, words, facts))
    return Drawing(sheets, [ASKED], "")


ASKED = (
    "Explained is the score of an answer. The question is one that the data ask, about a colour if there is such a "
    "one, the answers are the network's likeliest; `--question` and `--target` give others."
)


def _asked(choice: Choice) -> list[tuple[Taken, str, str | None]]:
    """Pictures, the question about each, and its answer where the data have it."""
    models, given = choice.networks, choice.settings.question
    if given and not all(reads(model, given) for model in models):
        for model in models:
            assert model.question is not None
            model.question(given)  # says which word it does not know
    taken = choice.pictures(lambda sample: bool(given or _question(models, sample)), "be asked a question about")
    if given:
        return [(each, given, _answer(each.sample, given)) for each in taken]
    pairs = [(each, _question(models, each.sample)) for each in taken]
    unasked = [each.picture.name for each, question in pairs if not question]
    if unasked:
        raise Error(f'nobody asked anything about {unasked[0]}: give --question "what colour is the car?".')
    return [(each, asked.text, asked.answer) for each, asked in pairs if asked]


def _question(models: Sequence[Model], sample: Sample | None) -> Asked | None:
    """A question about a picture that all networks can read, the first for a colour or the first of all."""
    listed_ = [each for each in (sample.questions if sample else ()) if all(reads(m, each.text) for m in models)]
    colours = [each for each in listed_ if each.kind == "colour"]
    return next(iter([*colours, *listed_]), None)


def _answer(sample: Sample | None, question: str) -> str | None:
    """What the data answer to a question, if they ask it."""
    return next((each.answer for each in (sample.questions if sample else ()) if each.text == question), None)


def _with(question: str, true: str | None) -> str:
    return question if true is None else f"{question} True is {true}."


@FIGURES(
    "19", title="answers of three networks, and other answers", section="C.3",
    networks=("scenes:vqa-alexnet", "scenes:vqa", "scenes:coattention"), data="pair", count=1, seconds=3,
    takes=(*TAKES, "question"),
)  # fmt: skip
def figure_19(choice: Choice) -> Drawing:
    """Guided backprop, Grad-CAM and Guided Grad-CAM for what each network answers, and for another answer."""
    sheets = [_by_network(choice, *each) for each in _asked(choice)]
    words = "Below what a network says stands its next likeliest answer: how the map goes as the answer is changed."
    return Drawing(sheets, [ASKED, words], EACH)


def _by_network(choice: Choice, taken: Taken, question: str, true: str | None) -> Sheet:
    """A block for each network and answer."""
    blocks, ways = [], dict[str, Explanation | str]()
    for model in choice.networks:
        why = choice.why(model)
        said = answers(model, why.prepare(taken.picture).tensor[None], question, most=2)[0]
        asked = [Answer(text) for text in choice.settings.targets or [each.text for each in said]]
        found = _by_three(choice, model, taken, asked, question)
        name = model.name.removeprefix("scenes:")
        for block in found.blocks():
            own = "says" if block.heading == said[0].text else "might say"
            blocks.append(replace(block, heading=f"{question} {name} {own} {block.heading}"))
        ways |= {f"{model.name}: {way}": e for way, e in found.ways.items()}
    facts = {"question": question, "true": true}
    return Sheet(taken.picture.title, laid(blocks), ways, taken.sample, _with(question, true), facts)
