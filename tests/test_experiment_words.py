"""Captions, words, questions and answers: experiments against planted maps, and against what is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

import wherefore as wf
from fixtures_metrics import explained, rectangle, sampled, thing
from wherefore.batch.asking import Ask, Asks, language
from wherefore.batch.maps import Seen
from wherefore.datasets import Sample, opened
from wherefore.datasets.sample import Asked
from wherefore.errors import Error
from wherefore.experiments import Lab, Settings, answers, captions, looking, questions, words
from wherefore.experiments.pointing import CENTRE
from wherefore.experiments.tables import kind, paper_of, where
from wherefore.metrics.energy import ratio
from wherefore.metrics.occluding import occlusion_correlation
from wherefore.models.answering import LstmAnswerer, read
from wherefore.models.captioning import Captioner
from wherefore.scenes.annotated import Region
from wherefore.vocabulary import Vocabulary
from wherefore.worded import Answer, Caption, Word

SIZE = (40, 30)
DOG, CAT = rectangle(SIZE, (4, 4, 11, 13)), rectangle(SIZE, (25, 15, 34, 24))
SOME = "a red dog. a blue striped cat in the snow. two dogs and cats"
ASKED = "what colour is the dog? what colour is the cat? what object is there? how many are there?"


def photo(**known: Any) -> Sample:
    """A dog and a cat, and what else is known of them."""
    things = thing("dog", (4, 4, 11, 13), DOG), thing("cat", (25, 15, 34, 24), CAT)
    return replace(sampled(SIZE, *things), **known)


def about(sample: Sample, heats: Sequence[Any], targets: Sequence[str], rows: Sequence[dict[str, Any]]) -> Seen:
    """Planted maps ``(H, W)`` of a sample."""
    maps = torch.stack([torch.as_tensor(np.asarray(heat), dtype=torch.float32) for heat in heats])[None]
    return Seen(sample, list(rows), explained(maps, [sample], [list(targets)]))


def small_cnn() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 6, 5, 4, 2), nn.ReLU(), nn.Conv2d(6, 8, 3, 1, 1), nn.ReLU(), Pooled())


class Pooled(nn.Module):
    """The mean of each half of the picture: where something is makes a difference."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)


def seeing() -> wf.Preprocess:
    return wf.Preprocess(resize=32, crop=32, mean=(0.5,) * 3, std=(0.25,) * 3)


@pytest.fixture(scope="module")
def teller() -> wf.Model:
    torch.manual_seed(0)
    net = Captioner(small_cnn(), 32, Vocabulary.of([SOME], longest=10, name="toy"), 12, 16, 0.0)
    return wf.Model(net.eval(), None, seeing(), name="teller")


@pytest.fixture(scope="module")
def answerer() -> wf.Model:
    torch.manual_seed(1)
    known = Vocabulary.of([ASKED], longest=8, name="toy")
    net = LstmAnswerer(small_cnn(), 32, known, 4, 8, 8, 16, 0.0)
    names = ["red", "blue", "dog", "cat"]
    return wf.Model(net.eval(), names, seeing(), name="answerer", question=lambda text: read(known, text))


class Given:
    """Samples as a data set."""

    name, spec, split, classes, drawn, comparable = "given", "given", "test", ("dog", "cat"), True, False

    def __init__(self, *samples: Sample) -> None:
        self.samples = [replace(each, name=f"photo {i}") for i, each in enumerate(samples)]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, number: int) -> Sample:
        return self.samples[number]


def lab(folder: Path, dataset: Any) -> Lab:
    found = Lab(Settings(), folder)
    found.dataset = lambda *_: dataset  # type: ignore[method-assign]
    return found


# -------------------------------------------------------------------------------------------- what is asked


def test_rows_are_the_maps_of_each_caption(teller: wf.Model, tmp_path: Path) -> None:
    texts = "a red dog", "two cats", "a purple dog"
    asks = Asks(
        "three", lambda s: [Ask(Caption(t), i, left="no" if "purple" in t else "") for i, t in enumerate(texts)]
    )
    dataset = Given(photo(), photo())
    here = lab(tmp_path, dataset)
    for method, summed in (("grad-cam", False), ("guided-backprop", True)):
        kept = list(here.seen(teller, method, dataset, [0, 1], replace(asks, summed=summed)))  # type: ignore[arg-type]
        assert len(kept) == 2 and [row["about"] for row in kept[0].rows] == [0, 1]
        for t, text in enumerate(texts[:2]):
            e = wf.explain(teller, dataset[0].image, Caption(text), method=method, fit="squash")
            heat = e.pixels[0, 0].abs().sum(0) if summed else e.maps[0, 0]  # type: ignore[index]
            found = kept[0].explanation.maps[0][t]
            assert torch.allclose(found, heat, atol=float(heat.abs().max()) * 1e-3 + 1e-12), "kept in 16 bits"
            assert kept[0].explanation.targets[0][t] == text
    assert here.left == {"teller, three: no": 2}, "counted once, whatever the methods"
    again = Lab(Settings(), tmp_path)
    assert list(again.seen(teller, "grad-cam", dataset, [0, 1], asks)) and again.left == here.left  # type: ignore[arg-type]


def test_each_question_has_its_own_maps(answerer: wf.Model, tmp_path: Path) -> None:
    texts = "what colour is the dog?", "what object is there?", "what colour is the dog?"
    asks = Asks("q", lambda s: [Ask(Answer(a), i, question=t) for i, t in enumerate(texts) for a in (None, "cat")])
    dataset = Given(photo())
    kept = list(lab(tmp_path, dataset).seen(answerer, "grad-cam", dataset, [0], asks))  # type: ignore[arg-type]
    assert [each.rows[0]["about"] for each in kept] == [0, 1, 2], "also where the words are the same"
    for text, each in zip(texts, kept, strict=True):
        e = wf.explain(answerer, dataset[0].image, [Answer(), Answer("cat")], question=text, fit="squash")
        assert each.explanation.targets == e.targets and each.explanation.settings["question"] == text
        assert torch.allclose(each.explanation.maps, e.maps, atol=float(e.maps.max()) * 1e-3)
    assert not torch.allclose(kept[0].explanation.scores, kept[1].explanation.scores)


def test_networks_without_words_and_answers_are_refused(answerer: wf.Model, teller: wf.Model, tmp_path: Path) -> None:
    with pytest.raises(Error, match="answerer says no words"):
        language(answerer)
    with pytest.raises(Error, match="teller answers no questions"):
        questions.reads(teller, "how many?")
    assert language(teller).numbers("a red dog")
    for name in ("caption-boxes", "words", "vqa-human", "vqa-occlusion", "vqa-answers"):
        with pytest.raises(Error, match=r"scenes:vgg (says no words|answers no questions)"):
            wf.registry.EXPERIMENTS[name].run(Lab(Settings(model="scenes:vgg", limit=1), tmp_path))


# -------------------------------------------------------------------------------------------- captions and boxes


def test_the_ratio_by_hand() -> None:
    heat = torch.zeros(3, 4)
    heat[0, 1], heat[2, 3] = 6.0, 3.0
    assert ratio(heat, (1, 0, 2, 1)) == pytest.approx((6 / 4) / (3 / 8))
    assert ratio(torch.full((3, 4), 0.3), (1, 0, 2, 1)) == pytest.approx(1)
    heat[2, 3] = 0
    assert ratio(heat, (1, 0, 2, 1)) == pytest.approx((6 / 4) / (6e-8))
    assert np.isnan(ratio(torch.zeros(3, 4), (1, 0, 2, 1))) and np.isnan(ratio(heat, (0, 0, 3, 2)))


def test_five_captions_by_chance_and_what_is_left_out(teller: wf.Model) -> None:
    regions = [Region("a red dog", (4, 4, 11, 13))] * 4 + [Region("a purple dog", (0, 0, 3, 3))] * 4
    sample = photo(regions=(*regions, Region("two cats", (0, 0, 39, 28))))
    found = captions.described(teller, 0).of(sample)
    assert len(found) == 5 and [each.about for each in found] == sorted({each.about for each in found})
    assert found == captions.described(teller, 0).of(sample) != captions.described(teller, 1).of(sample)
    every = {each.about: each.left for seed in range(9) for each in captions.described(teller, seed).of(sample)}
    assert every == {
        **dict.fromkeys(range(4), ""),
        **dict.fromkeys(range(4, 8), captions.UNKNOWN),
        8: captions.TOO_LARGE,
    }
    assert len(captions.described(teller, 0).of(photo(regions=tuple(regions[:3])))) == 3


def test_ratios_are_means_over_pictures_of_means_over_captions() -> None:
    regions = Region("a", (4, 4, 11, 13)), Region("b", (25, 15, 34, 24))
    sample, even = photo(regions=regions), np.full(SIZE[::-1], 0.2)
    rows = [{"about": 0}, {"about": 1}]
    kept = [
        about(sample, [even + DOG, even + CAT], "ab", rows),
        about(sample, [even + DOG], "a", rows[1:]),
        about(sample, [np.zeros(SIZE[::-1])], "a", rows),
    ]
    found = captions.ratios(kept)
    outside = (0.2 * (1200 - 100) + 80) / (1200 - 100)
    assert found[0] == pytest.approx([6, 6], rel=1e-5) and found[1] == pytest.approx([0.2 / outside], rel=1e-5)
    figures = captions._figures(found, captions._evidence(kept))
    assert figures[captions.MEAN].value == pytest.approx((6 + 0.2 / outside) / 2, rel=1e-5)
    assert figures[captions.MEAN].degenerate == 1 and figures[captions.MEAN].n == 2
    assert figures[captions.MEDIAN].value == pytest.approx(np.median([6, 0.2 / outside]), rel=1e-5)
    assert figures[captions.NOTHING].value == 0
    empty = captions._figures(captions.ratios([about(sample, [DOG], "a", rows)]), [1.0])
    assert empty[captions.NOTHING].value == 1


def test_the_median_is_drawn_by_picture() -> None:
    dice = np.random.default_rng(0)
    found = [[float(v)] for v in dice.exponential(size=40)]
    figure = captions._figures(found, [1.0])[captions.MEDIAN]
    values = np.array(found)[:, 0]
    drawn = [np.median(values[dice.integers(40, size=40)]) for _ in range(2000)]
    assert figure.value == np.median(values)
    assert [figure.low, figure.high] == pytest.approx(np.percentile(drawn, (2.5, 97.5)), abs=0.08)


# -------------------------------------------------------------------------------------------- words


def test_words_that_are_asked_for(teller: wf.Model) -> None:
    sample = photo(captions=("a red dog.", "A blue, striped cat in the snow.", "two dogs", "a purple dog"))
    dataset: Any = Given(sample)
    found = words.named(teller, dataset, False).of(sample)
    assert [each.target for each in found] == [
        Word("dog", "a red dog.", 2),
        Word("cat", "A blue, striped cat in the snow.", 3),
        Word("dogs", "two dogs", 1),
        Word("dog", "a purple dog", 2),
    ]
    assert [(each.about, each.category, each.left) for each in found] == [
        (0, "dog", ""), (1, "cat", ""), (2, "dog", ""), (3, "dog", words.UNKNOWN)
    ]  # fmt: skip
    looks = words.named(teller, dataset, True).of(sample)
    assert [each.target.word for each in looks] == ["red", "dog", "blue", "cat", "dogs", "purple", "dog"]
    alone = words.named(teller, dataset, False).of(replace(sample, instances=sample.instances[:1]))
    assert [each.left for each in alone] == ["", words.ABSENT, "", words.UNKNOWN]


def test_words_of_scenes_name_what_is_there(teller: wf.Model) -> None:
    dataset = opened("scenes")
    for number in range(12):
        sample = dataset[number]
        for ask in words.named(teller, dataset, True).of(sample):
            assert ask.left in ("", words.UNKNOWN), "captions are true"
            assert ask.target.caption.replace(".", "").replace(",", "").split()[ask.target.step] == ask.target.word


@pytest.mark.parametrize(
    ("caption", "asked"),
    [
        ("a hot dog", ["dog"]),
        ("a glass of wine", ["glass"]),
        ("a plant in a pot", ["plant"]),
        ("two pieces of luggage", ["pieces"]),
    ],
)
def test_of_several_words_the_one_that_is_the_thing_is_asked(caption: str, asked: list[str]) -> None:
    categories = ["hot dog", "wine glass", "potted plant", "suitcase"]
    listed = caption.split()
    assert [listed[place] for place, _ in words._places(listed, caption, categories, False)] == asked


def test_an_orange_is_a_thing_and_orange_a_colour() -> None:
    assert words._kind("orange", "orange") == words._kind("car", "car") == words.THINGS
    assert words._kind("orange", "car") == words.COLOURED


def test_points_of_words_by_hand() -> None:
    sample = photo()
    rows = [{"name": name} for name in ("dog", "cat", "red", "cat")]
    heats = [DOG, ~CAT, DOG, np.zeros(SIZE[::-1])]
    kept = [about(sample, heats, ("dog", "cat", "dog", "cat"), rows), about(sample, [CAT], ("cat",), rows[1:2])]
    figures = words._figures(words.points(kept))
    exact = {
        name: f for (name, which, tolerance), f in figures.items() if (which, tolerance) == ("things", words.EXACT)
    }
    assert exact["grad-cam"].value == pytest.approx(2 / 4), "the dog, and the cat of the second picture"
    assert exact["grad-cam"].degenerate == 1 and exact["grad-cam"].n == 2
    assert exact["random"].value == pytest.approx((80 + 100 + 100 + 100) / 4 / 1200)
    assert exact[CENTRE].value == 0, "(20, 15) is on neither"
    assert figures[CENTRE, "things", "15 px"].value == 1
    assert figures["grad-cam", "colours", words.EXACT].value == 1 and figures["random", "colours", words.EXACT].n == 1


# -------------------------------------------------------------------------------------------- questions


def asked(*texts: str, answer: str = "red", looked: Any = None, kind: str = "colour") -> tuple[Asked, ...]:
    return tuple(Asked(text, answer, kind, (answer,), looked=looked) for text in texts)


def test_questions_by_chance_and_what_is_left_out(answerer: wf.Model) -> None:
    texts = "what colour is the dog?", "what colour is the cat?", "what object is there?", "why is the dog?"
    sample = photo(questions=asked(*texts))
    one = {questions.questions(answerer, seed, 1).of(sample)[0].question for seed in range(30)}
    assert one == set(texts)
    every = questions.questions(answerer, 0, None).of(sample)
    assert [each.left for each in every] == ["", "", "", questions.UNKNOWN] and [e.about for e in every] == [0, 1, 2, 3]
    some = questions.questions(answerer, 0, None, lambda q: "dog" in q.text, true=True).of(sample)
    assert [each.target for each in some] == [Answer(), Answer("red"), Answer()]
    known = questions.questions(answerer, 0, None, true=True).of(photo(questions=asked(texts[0], answer="green")))
    assert known[1].left and not known[0].left


def test_occlusion_asks_the_same_question_by_hand(answerer: wf.Model) -> None:
    image, text = opened("scenes")[3].image, "what colour is the cat?"
    e = wf.explain(answerer, image, [Answer(), Answer("dog")], question=text, fit="squash")
    x, patch, stride = seeing()(image)[None], 5, 2
    given = read(answerer.net.vocabulary, text)["question"][None]  # type: ignore[arg-type]
    corners = [(y, left) for y in range(0, 28, stride) for left in range(0, 28, stride)]
    with torch.no_grad():
        plain, falls = answerer.net(x, given)[0], []
        for y, left in corners:
            covered = x.clone()
            covered[..., y : y + patch, left : left + patch] = 0
            falls.append(plain - answerer.net(covered, given)[0])
    for t, heat in enumerate(e.heats(0)):
        means = [float(heat[y : y + patch, left : left + patch].mean()) for y, left in corners]
        expected = spearmanr(means, [float(each[int(e.classes[0, t])]) for each in falls]).statistic
        assert float(occlusion_correlation(e)[0, t]) == pytest.approx(expected, abs=1e-3)
    rows = list(questions.held({"a": Seen(photo(), [], e), "b": Seen(photo(), [], e)}))
    assert rows[0]["correlation"] == rows[1]["correlation"] == pytest.approx(float(occlusion_correlation(e)[0, 0]))


def people(*masks: Any) -> Any:
    return lambda: tuple(mask.astype(np.float32) for mask in masks)


def slow_cells(heat: Any) -> Any:
    """The mean over the pixels that a cell touches."""
    height, width = heat.shape
    found = np.zeros((14, 14))
    for i in range(14):
        for j in range(14):
            rows = range(i * height // 14, -(-(i + 1) * height // 14))
            columns = range(j * width // 14, -(-(j + 1) * width // 14))
            found[i, j] = np.mean([heat[r, c] for r in rows for c in columns])
    return found


def test_agreement_with_people_by_hand() -> None:
    dice = np.random.default_rng(0)
    looked = [np.clip(DOG + 0.2 * dice.random(DOG.shape), 0, 1) for _ in range(3)]
    sample = photo(questions=asked("what colour is the dog?", looked=people(*looked)))
    heat = DOG + 0.1 * dice.random(DOG.shape)
    seen = about(sample, [heat, CAT], ("red", "blue"), [{"about": 0}, {"about": 0}])
    found = {(row["method"], row["answer"]): row for row in looking.held({"grad-cam": seen})}
    cells = [slow_cells(each.astype(np.float32)) for each in looked]

    def rho(a: Any, b: Any) -> float:
        return float(spearmanr(a.ravel(), b.ravel()).statistic)

    own = found["grad-cam", "predicted"]
    assert own[looking.EACH] == pytest.approx(np.mean([rho(slow_cells(heat), each) for each in cells]), abs=1e-4)
    assert own[looking.TOGETHER] == pytest.approx(rho(slow_cells(heat), np.mean(cells, 0)), abs=1e-4)
    assert found["grad-cam", "true"][looking.EACH] < own[looking.EACH]
    across, down = np.meshgrid(np.arange(14) - 6.5, np.arange(14) - 6.5)
    middle = [rho(-np.round(across**2 + down**2, 6), each) for each in cells]
    assert found[CENTRE, "predicted"][looking.EACH] == pytest.approx(np.mean(middle), abs=1e-4)
    assert own["away"] == (np.mean(middle) <= 0)
    between = [rho(cells[a], cells[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert found["people", "predicted"][looking.EACH] == pytest.approx(np.mean(between), abs=1e-4)
    assert abs(found["random", "predicted"][looking.EACH]) < 0.2


def test_noise_agrees_with_nobody_on_average() -> None:
    rows = []
    for number in range(60):
        sample = replace(photo(questions=asked("what colour is the dog?", looked=people(DOG))), name=f"photo {number}")
        seen = about(sample, [DOG], ("red",), [{"about": 0}])
        rows += [{"number": number, **row} for row in looking.held({"grad-cam": seen})]
    figures = looking._figures(rows)
    random = figures["random", "predicted", looking.EACH, looking.ALL]
    assert random.low < 0 < random.high and random.high - random.low < 0.06
    assert ("people", "predicted", looking.EACH, looking.ALL) not in figures, "one person has no other"


def test_questions_are_pooled_and_drawn_by_picture() -> None:
    values = {0: [0.5, 0.1], 1: [-0.3], 2: [0.0]}
    rows: list[Any] = [
        {
            "number": n,
            "method": "grad-cam",
            "answer": "predicted",
            "away": n == 1,
            looking.EACH: v,
            "varies": float(v != 0),
        }
        for n, some in values.items()
        for v in some
    ]
    figures = looking._figures(rows)
    every = figures["grad-cam", "predicted", looking.EACH, looking.ALL]
    assert every.value == pytest.approx(0.3 / 4) and every.n == 3 and every.degenerate == 1
    away = figures["grad-cam", "predicted", looking.EACH, looking.AWAY]
    assert away.value == pytest.approx(-0.3) and away.n == 1
    above, below = looking._verdicts(wf.Model(nn.Identity(), name="n"), {"grad-cam": every, CENTRE: away})
    assert above.holds and not above.clear and not below.holds


def test_a_map_of_14_cells_is_held_as_it_is() -> None:
    sample = photo()
    fine, coarse = torch.rand(14, 14), torch.rand(5, 5)
    assert torch.equal(looking.heat_of(about(sample, [fine], ("red",), [{}]), 0), fine)
    assert looking.heat_of(about(sample, [coarse], ("red",), [{}]), 0).shape == SIZE[::-1]
    assert np.array_equal(looking.cells(fine), fine.double().numpy())


# -------------------------------------------------------------------------------------------- another answer


def test_pairs_of_unlike_colours(answerer: wf.Model) -> None:
    sample = photo(
        questions=(*asked("what colour is the cat?", answer="blue"), *asked("what colour is the dog?", answer="red"))
    )
    assert sorted(answers.unlike(sample)) == [("cat", "blue"), ("dog", "red")]
    for one, other in (("red", "red"), ("red", "brown"), ("white", "grey")):
        alike = asked("what colour is the cat?", answer=one), asked("what colour is the dog?", answer=other)
        assert not answers.unlike(replace(sample, questions=(*alike[0], *alike[1])))
    for seed in range(6):
        one, other = answers.colours(answerer, seed).of(sample)
        assert one.question == other.question == f"what colour is the {one.category}?" and not one.left
        assert {(each.target.answer, each.category) for each in (one, other)} == {("red", "dog"), ("blue", "cat")}
        assert sample.questions[one.about].text == one.question
    assert {answers.colours(answerer, seed).of(sample)[0].category for seed in range(9)} == {"dog", "cat"}
    assert [each.target.answer for each in answers.objects(answerer).of(sample)] == ["cat", "dog"]
    unknown = replace(sample, questions=(sample.questions[0], *asked("what colour is the dog?", answer="green")))
    assert [each.left for each in answers.colours(answerer, 1).of(unknown)] == [answers.UNKNOWN] * 2


def test_pairs_by_hand() -> None:
    sample, rows = photo(), [{"name": "red"}, {"name": "blue"}]
    both = about(sample, [DOG, CAT], ("dog", "cat"), rows)
    swapped = about(sample, [CAT, DOG], ("dog", "cat"), rows)
    stuck = about(sample, [DOG, DOG], ("dog", "cat"), rows)
    area = (80 + 100) / 2 / 1200
    assert answers.pairs([both, swapped, stuck]) == [
        (True, True, 0.0, pytest.approx(area)), (False, False, 1.0, pytest.approx(area)),
        (True, False, 0.5, pytest.approx(area)),
    ]  # fmt: skip
    figures = {name: f.value for name, f in answers._figures([both, swapped, stuck], True).items()}
    assert figures == {
        answers.OWN: pytest.approx(2 / 3), answers.OTHER: pytest.approx(1 / 3), answers.EITHER: pytest.approx(0.5),
        answers.BOTH: pytest.approx(1 / 3), answers.SWAPPED: pytest.approx(0.5), answers.CHANCE: pytest.approx(area),
    }  # fmt: skip
    assert answers.OWN not in answers._figures([both], False)


def test_the_paper_s_figures() -> None:
    assert captions.PAPER == {
        ("captioner", "grad-cam"): 3.27, ("captioner", "guided-backprop"): 2.32, ("captioner", "guided-grad-cam"): 6.38
    }  # fmt: skip
    assert paper_of(words.PAPER, "scenes:show-and-tell", "grad-cam") == 0.30
    assert paper_of(words.PAPER, "scenes:captioner", "grad-cam") is None
    assert paper_of(questions.PAPER, "paper:lu2015", "guided-grad-cam") == 0.42
    assert paper_of(looking.PAPER, "scenes:vqa", "grad-cam") == 0.136
    assert paper_of(looking.PAPER, "scenes:coattention", "grad-cam") is None
    assert kind("paper:neuraltalk2") == "captioner" and not where([], name="")
