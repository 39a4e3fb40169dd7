"""Questions: are an answer's maps true to the network? Section 8.2 of the paper (protocols: sections H and L).

Of each picture a question by chance; explained is the answer that the network gives. The paper names neither its
pictures nor patches: ours are those of `faithfulness`.
"""

from __future__ import annotations

import random
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from wherefore.batch.asking import Ask, Asks
from wherefore.batch.maps import Seen
from wherefore.batch.store import Row as Kept
from wherefore.datasets import Sample
from wherefore.datasets.sample import Asked
from wherefore.errors import Error
from wherefore.experiments.charts import dots
from wherefore.experiments.lab import Lab
from wherefore.experiments.result import Result
from wherefore.experiments.showing import drawn, gallery
from wherefore.experiments.tables import Row, claim, need, paper_of, refused, row, table
from wherefore.metrics.occluding import correlation, drops
from wherefore.metrics.summary import Summary, summary
from wherefore.pages import Figure, Figures, Section, Verdict
from wherefore.registry import EXPERIMENTS
from wherefore.types import Model
from wherefore.worded import Answer

NETWORKS = ("vqa", "vqa-alexnet", "coattention")
METHODS = ("grad-cam", "guided-grad-cam")
PAPER = {("vqa", "grad-cam"): 0.60, ("vqa", "guided-grad-cam"): 0.42}
UNKNOWN = "a question with words that the network does not know, or too many"
WORDS = (
    "Spearman's correlation, over patches of 32 of 224 pixels every 16, of a map's mean in each with how much the "
    "score of the answer falls when it shows the mean colour. The paper's intervals are 0.038 either way, of an "
    "unnamed kind over an unnamed number of questions. All networks but the first were asked fewer questions."
)
Maps = Mapping[str, Seen]  # of one question, by method


@EXPERIMENTS("vqa-occlusion", title="Answers held against occlusion", section="8.2, occlusion", minutes=1)
def vqa_occlusion(lab: Lab) -> Result:
    """Whether the map of an answer is high where covering the picture costs the answer most."""
    dataset = lab.dataset()
    few, numbers = (lab.numbers(dataset, *sizes, lambda each: bool(each.questions)) for sizes in ((30, 2), (80, 4)))
    need(numbers, f"{dataset.spec} asks no questions: give scenes or vqa:DIR.")
    rows: list[Row] = []
    verdicts: list[Verdict] = []
    shown: dict[str, dict[str, list[Seen]]] = {}
    for i, model in enumerate(lab.networks(*NETWORKS)):
        asks, some = questions(model, lab.settings.seed, 1), few if i else numbers
        seen = seen_by(lab, model, METHODS, some, asks)
        work = Measuring(seen, held)
        kept = lab.measured(f"questions {model.name}", about(model, seen, asks), dataset, some, work)
        figures = {method: _figure(kept, seen[method], method) for method in seen}
        rows += [row(m, f, paper_of(PAPER, model.name, m), network=model.name) for m, f in figures.items()]
        if len(figures) == len(METHODS):
            words = f"On {model.name} Grad-CAM agrees with occlusion better than guided Grad-CAM"
            verdicts.append(claim(words, figures, METHODS))
        shown[model.name] = {method: maps[:12] for method, maps in seen.items()}
    settings = {
        "questions": "one of a picture, by chance",
        "patch": "32 of 224 pixels, every 16",
        "fill": "mean colour",
    }
    return Result(rows, verdicts, _sections(rows, verdicts, shown, lab), settings)


def questions(
    model: Model, seed: int, most: int | None, fits: Callable[[Asked], bool] = lambda asked: True, true: bool = False
) -> Asks:
    """Questions of each picture, ``most`` of those that fit by chance, and the answer that a network gives to them.

    ``true``: also the answer that people gave, where the network knows it.
    """
    answers = set(model.classes or ())

    def of(sample: Sample) -> Iterator[Ask]:
        fitting = [(i, each) for i, each in enumerate(sample.questions) if fits(each)]
        dice = random.Random(f"{seed} {sample.name}")
        for i, each in sorted(dice.sample(fitting, min(most or len(fitting), len(fitting))), key=lambda one: one[0]):
            unknown = "" if reads(model, each.text) else UNKNOWN
            yield Ask(Answer(), i, question=each.text, left=unknown)
            if true and not unknown:
                left = "" if each.answer in answers or not answers else "a true answer that the network does not know"
                yield Ask(Answer(each.answer), i, question=each.text, left=left)

    return Asks(f"{most or 'all'} questions, seed {seed}{', true answers' if true else ''}", lambda s: list(of(s)))


def reads(model: Model, question: str) -> bool:
    """Whether a network can be asked a question. Raises `Error` for one that answers none."""
    need(model.question, f"{model.name} answers no questions: give a network that does, such as scenes:vqa.")
    assert model.question is not None
    try:
        model.question(question)
    except Error:
        return False
    return True


def seen_by(
    lab: Lab, model: Model, methods: Sequence[str], numbers: Sequence[int], asks: Asks, kind: str = ""
) -> dict[str, list[Seen]]:
    """The maps of all questions by the methods that apply."""
    dataset = lab.dataset(kind)
    need(model.question, f"{model.name} answers no questions: give a network that does, such as scenes:vqa.")
    with warnings.catch_warnings():
        # The tanh of these networks are not in their CNN: in the paper too they keep their plain gradient.
        warnings.filterwarnings("ignore", "the guided rule", UserWarning)
        seen = {m: list(lab.seen(model, m, dataset, numbers, asks)) for m in lab.fitting(model, methods, dataset, None)}
    need(all(seen.values()), f"{model.name} knows the words of no question of {dataset.spec}: give another network.")
    return seen


def about(model: Model, seen: Mapping[str, Sequence[Seen]], asks: Asks) -> dict[str, object]:
    """All that what is measured of maps depends on, but the data."""
    own = {"model": model.name, "weights_sha256": model.weights_sha256, "preprocess": repr(model.preprocess)}
    return {**own, **asks.about, "methods": list(seen)}


class Measuring:
    """What measures the maps of each question by all methods, for `wherefore.batch.rows.rows`."""

    def __init__(self, seen: Mapping[str, Sequence[Seen]], measure: Callable[[Maps], Iterator[Kept]]) -> None:
        self.measure = measure
        self.maps: dict[str, dict[int, dict[str, Seen]]] = defaultdict(lambda: defaultdict(dict))
        for method, kept in seen.items():
            for each in kept:
                self.maps[each.sample.name][each.rows[0]["about"]][method] = each

    def __call__(self, samples: Sequence[Sample]) -> list[list[Kept]]:
        return [[row for maps in self.maps[each.name].values() for row in self.measure(maps)] for each in samples]


def held(maps: Maps) -> Iterator[Kept]:
    """The correlation of the maps of one answer with occlusion, whose sweep they share."""
    e = next(iter(maps.values())).explanation
    # Of networks that say their answers these are no classes, and must be named.
    falls, patches = drops(replace(e, target=[Answer(name) for name in e.targets[0]]), 0)
    for method, each in maps.items():
        yield {"method": method, "correlation": correlation(each.explanation.heats(0)[0], falls[0], patches)}


def _figure(kept: Sequence[Kept], seen: Sequence[Seen], method: str) -> Summary:
    values = [each["correlation"] for each in kept if each["method"] == method]
    return summary(values, [float(each.explanation.evidence[0, 0]) for each in seen])


def _sections(
    rows: Sequence[Row], verdicts: Sequence[Verdict], shown: Mapping[str, Mapping[str, Sequence[Seen]]], lab: Lab
) -> list[Section]:
    names = [f"{each['network'].removeprefix('scenes:')}: {each['name']}" for each in rows]
    chart = Figures([Figure(dots(rows, "rank correlation with occlusion", names), "Answers")], 1)
    found = table(rows, {"name": "method", "network": "network"}, "correlation", share=False)
    return [
        Section("What the paper claims, here", *verdicts),
        Section("Pictures", *(gallery(seen, draw, 2, name) for name, seen in shown.items())),
        Section("Rank correlation with occlusion", WORDS, chart, found),
        *([Section("What does not go together", *refused(lab.refused))] if lab.refused else []),
    ]


def draw(method: str, each: Seen) -> Figure:
    """The map of an answer on its picture, under the question."""
    asked = each.sample.questions[each.rows[0]["about"]]
    answer, true = each.rows[0]["name"], asked.answer
    note = "the true answer" if answer == true else f"the true answer is {true}"
    return drawn(each, 0, None, (), note, f"{method}: {asked.text} {answer}")
