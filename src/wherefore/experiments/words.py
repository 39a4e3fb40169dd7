"""Words of captions: does the map of a word point at what it names? Section 8.1 of the paper, Show and Tell.

A word's score is its logit at its place in a caption that people wrote, given the words before it. Asked for are the
words that name a category which is annotated in the picture, by our own list (`datasets.words`; the paper's 830 words
were never released). Of a form of several words it is
the last ("hot dog": the dog), but before "of" and "in" ("glass of wine": the glass).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from wherefore.batch.asking import Ask, Asks, language
from wherefore.batch.maps import Seen
from wherefore.datasets import Dataset, Sample
from wherefore.datasets.words import FORMS, visual
from wherefore.experiments.captions import UNKNOWN, says
from wherefore.experiments.charts import dots
from wherefore.experiments.lab import Lab
from wherefore.experiments.pointing import CENTRE, TOLERANCES, Shot, headline_of, middle, shot
from wherefore.experiments.result import Result
from wherefore.experiments.showing import drawn
from wherefore.experiments.tables import Row, claim, need, paper_of, row, table, where
from wherefore.imaging import peak
from wherefore.metrics.measuring import cases
from wherefore.metrics.pointing import region
from wherefore.metrics.summary import Summary, pooled
from wherefore.pages import Figure, Figures, Section, Verdict
from wherefore.registry import EXPERIMENTS
from wherefore.scenes.world import COLOURS, TEXTURES
from wherefore.types import Model
from wherefore.vocabulary import tokens
from wherefore.worded import Word

NETWORKS = ("show-and-tell", "captioner")
METHOD, RANDOM = "grad-cam", "random"
PAPER = {("show-and-tell", METHOD): 0.30}
THINGS, COLOURED = "things", "colours"
EXACT = "on the thing"  # the tolerance that the paper's words mean: within
ABSENT = "a word whose category is not annotated in the picture"
DRAWN = 8
LOOKS = {*COLOURS, *TEXTURES}


class Point(NamedTuple):
    """Where the map of one word points, where the middle of the picture, and which share of the picture is right."""

    map: Shot
    centre: Shot
    area: float
    kind: str  # of word


@EXPERIMENTS("words", title="Words that point", section="8.1, words", minutes=1)
def words(lab: Lab) -> Result:
    """How often the map of a caption's word is highest on what the word names, beside a point that knows nothing."""
    dataset = lab.dataset()
    numbers = lab.numbers(dataset, 120, 8, lambda sample: bool(sample.captions and sample.instances))
    need(numbers, f"{dataset.spec} has no captions, or says nowhere what is where: give scenes or coco:DIR.")
    rows: list[Row] = []
    verdicts: list[Verdict] = []
    shown: dict[str, list[Seen]] = {}
    for model in lab.networks(*NETWORKS):
        lab.fitting(model, [METHOD], dataset, None)
        kept = list(lab.seen(model, METHOD, dataset, numbers, named(model, dataset, lab.on_scenes)))
        need(kept, f"{model.name} knows no caption of {dataset.spec} that names what is there: give another network.")
        figures = _figures(points(kept))
        rows += [_row(model, *key, figure) for key, figure in figures.items()]
        verdicts += _verdicts(model, figures)
        shown[model.name] = kept
    listed = {"forms of words": len(FORMS)} if dataset.name != "scenes" else {}
    settings = {"headline tolerance": EXACT, "tolerance beside it": headline_of(lab), **listed}
    return Result(rows, verdicts, _sections(rows, verdicts, shown, lab), settings)


def named(model: Model, dataset: Dataset, looks: bool) -> Asks:
    """The words of each picture's captions that name things, as a network is asked for them.

    With ``looks`` also the colours that stand right before such a word.
    """
    known = language(model)

    def of(sample: Sample) -> list[Ask]:
        return [ask for i in range(len(sample.captions)) for ask in _of_caption(sample, i)]

    def _of_caption(sample: Sample, number: int) -> Iterator[Ask]:
        caption = sample.captions[number]
        listed, can = tokens(caption), says(known, caption)
        for place, category in _places(listed, caption, dataset.classes, looks):
            left = UNKNOWN if not can else "" if sample.of(category) else ABSENT
            yield Ask(Word(listed[place], caption, place), number, category, left=left)

    return Asks(f"words of captions{', colours' if looks else ''}", of)


def _places(listed: Sequence[str], caption: str, categories: Collection[str], looks: bool) -> Iterator[tuple[int, str]]:
    """Where words stand that name something, and its category; colours that belong to it before it."""
    for start, stop, category in visual(caption, categories):
        first = start
        while looks and first and listed[first - 1] in LOOKS:
            first -= 1
        yield from ((place, category) for place in range(first, start) if listed[place] in COLOURS)
        within = [i for i in range(start + 1, stop) if listed[i] in ("of", "in")]
        yield min([stop, *within]) - 1, category


def points(kept: Sequence[Seen]) -> list[list[Point]]:
    """Where the maps of the words of each picture point."""
    return [
        [
            Point(
                shot(case, peak),
                shot(case, middle),
                float(region(each.sample, case.category).mean()),
                _kind(each.rows[t]["name"], case.category),
            )
            for _, t, case in cases(each.explanation, [each.sample])
        ]
        for each in kept
    ]


def _kind(word: str, category: str) -> str:
    """What a word says of a thing; an orange is one."""
    return COLOURED if word in COLOURS and word != category else THINGS


def _figures(game: Sequence[Sequence[Point]]) -> dict[tuple[str, str, str], Summary]:
    """The accuracies by what points, kind of word and tolerance, of all words together."""
    found = {}
    for kind in (THINGS, COLOURED):
        some = [[each for each in one if each.kind == kind] for one in game]
        if not any(some):
            continue
        counts = [len(one) for one in some]
        for tolerance in TOLERANCES:
            for name in (METHOD, CENTRE):
                shots = [[each.map if name == METHOD else each.centre for each in one] for one in some]
                evidence = [each.evidence for one in shots for each in one] if name == METHOD else ()
                hits = [sum(each.hits[tolerance] for each in one) for one in shots]
                found[name, kind, tolerance] = pooled(hits, counts, evidence)
        found[RANDOM, kind, EXACT] = pooled([sum(each.area for each in one) for one in some], counts)
    return found


def _row(model: Model, name: str, kind: str, tolerance: str, figure: Summary) -> Row:
    headline = (kind, tolerance) == (THINGS, EXACT)
    of_paper = paper_of(PAPER, model.name, name) if headline else None
    return row(name, figure, of_paper, network=model.name, words=kind, tolerance=tolerance)


def _verdicts(model: Model, figures: Mapping[tuple[str, str, str], Summary]) -> list[Verdict]:
    """Nobody claims more than its 30 %: what knows nothing is what that has to be held against."""
    own = {name: figure for (name, kind, tolerance), figure in figures.items() if (kind, tolerance) == (THINGS, EXACT)}
    return [
        claim(f"On {model.name} a word's map points at what it names more often than {words}", own, [METHOD, name])
        for name, words in ((RANDOM, "a random point"), (CENTRE, "the middle of the picture"))
    ]


def _sections(
    rows: Sequence[Row], verdicts: Sequence[Verdict], shown: Mapping[str, Sequence[Seen]], lab: Lab
) -> list[Section]:
    columns = {"name": "method", "network": "network", "words": "words"}
    main = where(rows, tolerance=EXACT)
    names = [f"{r['network'].removeprefix('scenes:')}, {r['words']}: {r['name']}" for r in main]
    chart = Figures([Figure(dots(main, "words whose map points at the thing", names), "Words")], 1)
    beside = table(where(rows, tolerance=headline_of(lab)), columns, "accuracy", f"Tolerance: {headline_of(lab)}.")
    words = (
        "All words together. `center` is the middle of the picture, `random` a point anywhere, which hits as often as "
        "the thing is large. The paper gives no such figures beside its own."
    )
    return [
        Section("Held against what knows nothing", *verdicts),
        Section("Pictures", *(_gallery(name, kept) for name, kept in shown.items())),
        Section("Words that point", words, chart, table(main, columns, "accuracy", "On the thing."), beside),
    ]


def _gallery(network: str, kept: Sequence[Seen]) -> Figures:
    figures = []
    for each in kept[:DRAWN]:
        t, case = next((t, case) for _, t, case in cases(each.explanation, [each.sample]))
        caption = each.sample.captions[each.rows[t]["about"]]
        note = "hit" if shot(case, peak).hits[EXACT] else "miss"
        true = each.sample.boxes(case.category)
        figures.append(drawn(each, t, None, true, note, f"{each.rows[t]['name']}: {caption}"))
    return Figures(figures, 4, network, "The ring is the highest point of the word's map; the boxes are the things.")
