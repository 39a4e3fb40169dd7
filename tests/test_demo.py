"""The demonstration: its numbers are recomputed here one by one, and its page must hold what it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import wherefore as wf
from page_reader import check
from wherefore import demo
from wherefore.cli import app
from wherefore.demo import bias, comparing, measures, pictures, telling, words
from wherefore.demo import cast as casting
from wherefore.demo.cast import Cast
from wherefore.demo.networks import classes, indices, names_first, scores
from wherefore.metrics import interval
from wherefore.metrics.covering import covered
from wherefore.models.scenes import WORDED, shipped
from wherefore.models.zoo import load
from wherefore.pages import Figures, Section, Share, Table
from wherefore.scenes import Scene, people, scene
from wherefore.scenes.truth import checked
from wherefore.scenes.words import looking, plural
from wherefore.scenes.world import CATEGORIES, COLOURS

COUNT = 3


def untrained(name: str) -> wf.Model:
    torch.manual_seed(len(name))
    network = name.removeprefix("scenes:")
    if network in WORDED:
        if not shipped(network):
            pytest.skip(f"{name} is not shipped yet")
        return load(name, None)
    return load(name, None, classes=list(people.LABELS if "people" in name else CATEGORIES))


@pytest.fixture
def cast(monkeypatch: pytest.MonkeyPatch) -> Cast:
    """Networks that are not trained, and few scenes: what is tested is the counting."""
    monkeypatch.setattr(casting, "load", untrained)
    monkeypatch.setattr(casting, "SEARCHED", 6)
    return Cast(COUNT)


def parts(section: Section, kind: type) -> list[Any]:
    return [part for part in section.parts if isinstance(part, kind)]


def one_by_one(model: wf.Model, method: str = "grad-cam", layer: str | None = None) -> list[list[str | None]]:
    """Where the peak lies for each name of the first scenes, by single calls of the public API."""
    found = []
    for number in range(COUNT):
        each, row = scene(number, objects=2), []
        for name in each.labels:
            e = wf.explain(model, each.image, name, method=method, layer=layer)
            x, y = e.peaks()[0, 0].tolist()
            on = [t.category for t, mask in zip(each.things, each.masks, strict=True) if mask[y, x]]
            row.append(on[0] if on and float(e.evidence[0, 0]) > 0 else None)
        found.append(row)
    return found


@pytest.mark.parametrize("method", ["grad-cam", "guided-backprop", "guided-grad-cam"])
def test_peaks_are_counted_as_single_calls_count_them(cast: Cast, method: str) -> None:
    found = measures.pointing(cast.vgg, cast.pairs, method)
    asked = [scene(number, objects=2).labels for number in range(COUNT)]
    peaks = one_by_one(cast.vgg, method)
    pairs = list(zip(peaks, asked, strict=True))
    assert found.named == [fmean(p == n for p, n in zip(*both, strict=True)) for both in pairs]
    assert found.other == [
        fmean(p in set(names) - {n} for p, n in zip(row, names, strict=True)) for row, names in pairs
    ]
    assert found.both == [float(row == list(names)) for row, names in pairs]


def test_shares_have_the_bootstrap_interval_over_scenes() -> None:
    values = [0.0, 0.5, 1.0, 1.0, 0.5]
    assert measures.share(values) == Share(0.6, *interval(values))
    assert measures.gap([1.0, 1.0], [0.5, 0.0]).value == 0.75
    assert all(np.isnan(v) for v in measures.share([]))


def test_likeness_is_the_correlation_of_the_two_maps(cast: Cast) -> None:
    found = measures.pointing(cast.vgg, cast.pairs, "guided-backprop")
    e = wf.explain(cast.vgg, cast.pairs[0].image, list(cast.pairs[0].labels), method="guided-backprop")
    expected = np.corrcoef(*[m.numpy().ravel() for m in e.maps[0]])[0, 1]
    assert found.alike[0] == pytest.approx(expected, abs=1e-4)


def test_a_peak_lies_on_the_thing_whose_pixel_it_is() -> None:
    each = scene(1, objects=2)
    for thing, mask in zip(each.things, each.masks, strict=True):
        heat = torch.zeros(each.size, each.size)
        y, x = np.argwhere(mask)[7]
        heat[y, x] = 1
        assert measures.peaked_on(heat, each) == thing.category
    y, x = np.argwhere(~each.masks.any(0))[7]
    heat = torch.zeros(each.size, each.size)
    assert measures.peaked_on(heat, each) is None, "no evidence"
    heat[y, x] = 1
    assert measures.peaked_on(heat, each) is None, "beside both"


def test_covering_is_measured_as_by_hand(cast: Cast) -> None:
    speaks, counters, control = measures.covering(cast.vgg, cast.pairs)
    assert len(control.raises) == len(counters.raises)
    each = cast.pairs[1]
    e = wf.explain(cast.vgg, each.image, list(each.labels), counter=True)
    assert e.against is not None
    for found, maps in ((speaks, e.maps), (counters, e.against)):
        lowers = []
        for name, heat in zip(each.labels, e.placed(0, maps), strict=True):
            number = list(CATEGORIES).index(name)
            after = scores(cast.vgg, [covered(each.image, heat)])[0, number]
            lowers.append(float(after) < float(scores(cast.vgg, [each.image])[0, number]))
        assert all(float(heat.max()) > 0 for heat in e.placed(0, maps)), "else a value is left out"
        assert found.lowers[1] == fmean(lowers) and found.raises[1] == 1 - fmean(lowers)


def test_shares_of_nothing_but_ones_have_an_interval() -> None:
    assert measures.share([1.0] * 200) == pytest.approx((1.0, 0.981, 1.0), abs=1e-3)
    assert measures.share([0.0] * 200) == pytest.approx((0.0, 0.0, 0.019), abs=1e-3)
    assert measures.share([0.0, 1.0] * 50).low > 0.3


def test_cam_and_grad_cam_differ_by_nothing_but_a_constant(cast: Cast) -> None:
    model = cast.network("googlenet")
    assert 0 < comparing.difference(model, cast.pairs) < 1e-3
    section = comparing.generalises(cast)
    assert [v.holds for v in section.verdicts] == [True]


def test_scenes_are_chosen_by_the_rules_that_the_page_states(cast: Cast) -> None:
    fitting = [n for n in range(6) if named(cast, n, 2)]
    assert [each.world.number for each in cast.shown] == (fitting[:3] or [0])
    wrong = [n for n in range(6) if not named(cast, n, None)]
    assert cast.mistaken is not None and cast.mistaken.world.number == wrong[0]


def named(cast: Cast, number: int, objects: int | None) -> bool:
    each = scene(number, objects=objects, size=384)
    e = wf.explain(cast.vgg, each.image, "top5")
    return set(e.targets[0][: len(each.labels)]) == set(each.labels)


def test_a_mistake_is_told_of_what_is_not_there_and_of_what_is(cast: Cast) -> None:
    assert cast.mistaken is not None
    (figures,) = parts(comparing.mistake(cast), Figures)
    said, missed = (figure.caption.rstrip("?").split()[-1] for figure in figures.figures[1:])
    assert said not in cast.mistaken.labels and missed in cast.mistaken.labels
    order = wf.explain(cast.vgg, cast.mistaken.image, "all")
    assert order.scores[0, CATEGORIES.index(said)] > order.scores[0, CATEGORIES.index(missed)]


def test_names_and_probabilities_are_those_of_the_api(cast: Cast) -> None:
    each = scene(2, size=384)
    e = wf.explain(cast.vgg, each.image, "top5")
    names = names_first(cast.vgg, each.image, 5)
    assert [name for name, _ in names] == e.targets[0]
    assert [p for _, p in names] == pytest.approx(e.scores[0].sigmoid().tolist(), abs=1e-5)
    assert indices(cast.vgg, [each]) == [[classes(cast.vgg).index(label) for label in each.labels]]


@pytest.mark.parametrize(
    "chapter", [telling.apart, telling.detail, telling.against, bias.bias, words.caption, words.answer]
)
def test_claims_say_what_the_tables_hold(cast: Cast, chapter: Callable[[Cast], Section]) -> None:
    section = chapter(cast)
    cells = {str(cell) for table in parts(section, Table) for row in table.rows for cell in row}
    said = [share for v in section.verdicts for share in re.findall(SHARE, v.numbers)]
    assert said and set(said) <= cells


@pytest.mark.slow
def test_layers_are_measured_one_by_one(cast: Cast) -> None:
    (table,) = parts(comparing.layers(cast), Table)
    names = [("vgg", name) for name in comparing.rectified(cast.vgg)] + [("resnet", name) for name in comparing.RESNET]
    assert len(names) == 10
    for (network, name), row in zip(names, table.rows, strict=True):
        found = measures.pointing(cast.network(network), cast.pairs, layer=name)
        assert row == (f"`{network}` {name}", *found.shares)


SHARE = "[0-9]+\N{NO-BREAK SPACE}% \\([0-9]+\N{EN DASH}[0-9]+\\)"


def test_verdicts_follow_the_numbers() -> None:
    good = measures.Pointing([1.0] * 9, [0.0] * 9, [1.0] * 9, [0.0] * 9)
    bad = measures.Pointing([0.5] * 9, [0.5] * 9, [0.0] * 9, [1.0] * 9)
    assert [v.holds for v in telling._fine_verdicts(good, bad, good)] == [True] * 4
    assert [v.holds for v in telling._fine_verdicts(bad, good, bad)] == [False] * 4
    fair, unfair = (
        bias.Looks([1.0] * 9, [0.0] * 9, [0.1] * 9, [0.5] * 9, []),
        bias.Looks([0.0] * 9, [1.0] * 9, [0.9] * 9, [], []),
    )
    assert [v.holds for v in bias._verdicts(biased=unfair, balanced=fair)] == [True, True, True]
    assert [v.holds for v in bias._verdicts(biased=fair, balanced=fair)] == [False, False, False]
    assert telling.points(Share(-0.125, -0.3, 0.05)) == "\N{MINUS SIGN}12.5 points (\N{MINUS SIGN}30.0 to +5.0)"


def test_looks_are_counted_as_single_calls_count_them(cast: Cast) -> None:
    figures = [people.figure(number) for number in range(6)]
    found = bias.looks(cast.network("people-biased"), figures)
    for i, each in enumerate(figures):
        e = wf.explain(cast.network("people-biased"), each.image)
        other = wf.explain(cast.network("people-biased"), each.swapped.image)
        heat = next(e.placed(0)).double().numpy()
        parts = {name: heat[mask].sum() / heat.sum() for name, mask in each.masks.items()}
        assert found.right[i] == (e.targets[0][0] == each.label)
        assert found.turned[i] == (e.targets != other.targets)
        assert found.head[i] == pytest.approx(parts["hair"] + parts["face"], abs=1e-5, nan_ok=True)
        told = parts["clothes"] + parts["arms"] + parts["stethoscope"]
        assert found.clothes[i] == pytest.approx(told, abs=1e-5, nan_ok=True)
        assert found.wall[i] == pytest.approx(parts["background"], abs=1e-5, nan_ok=True)


def test_peaks_of_words_are_counted_as_single_calls_count_them(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    model, scenes = cast.network("captioner"), cast.pairs
    texts = [f"a {each.labels[1]} and a {each.labels[0]}" for each in scenes[:2]] + ["a plain thing"]
    monkeypatch.setattr(words, "captions", lambda *_: texts)
    right, wrong = words.of_words(model, scenes)
    assert len(right) == len(wrong) == 2, "the last caption names nothing"
    for each, text, on, beside in zip(scenes, texts, right, wrong, strict=False):
        found = []
        for name in each.labels:
            x, y = wf.explain(model, each, wf.Word(name, text)).peaks()[0, 0].tolist()
            found += [(name, [t.category for t, m in zip(each.things, each.masks, strict=True) if m[y, x]])]
        assert on == fmean(name in there for name, there in found)
        assert beside == fmean(bool(there) and name not in there for name, there in found)


def test_peaks_of_answers_are_counted_as_single_calls_count_them(cast: Cast) -> None:
    model = cast.network("vqa")
    each = next(s for s in cast.pairs if len({t.colour for t in s.things}) == 2)
    ((on,), (beside,)) = words.of_answers(model, [each])
    hits, misses = [], []
    for thing, mask in zip(each.things, each.masks, strict=True):
        question = next(q.text for q in each.questions if "what colour is" in q.text)
        e = wf.explain(model, each, wf.Answer(thing.colour), question=question)
        x, y = e.peaks()[0, 0].tolist()
        hits.append(bool(mask[y, x]))
        misses.append(bool(each.masks[:, y, x].any()) and not mask[y, x])
    assert (on, beside) == (fmean(hits), fmean(misses))


def test_what_is_said_of_a_caption_follows_the_scene() -> None:
    each = next(s for s in map(pair, range(50)) if "person" not in s.labels)
    one, other = each.things
    wrong = next(c for c in CATEGORIES if c not in each.labels and c != "person")
    colour = next(c for c in COLOURS if c not in (one.colour, other.colour))
    said = {
        "The caption is true in all it says.": each.captions[0],
        "right are 0 of 1 things.": looking(1, wrong, ()),
        "right are 1 of 1 things, 0 of 1 colours and textures.": looking(1, one.category, (colour,)),
        "right are 1 of 3 things, 0 of 1 numbers.": f"there are three {plural(one.category)}",
        "it names nothing; it is no whole sentence.": "of of",
    }
    for words_of_it, text in said.items():
        assert words.in_truth(checked(text, each.world)).endswith(words_of_it), text


def pair(number: int) -> Scene:
    return scene(number, objects=2)


def test_shares_of_true_captions_are_counted_by_hand(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [cast.pairs[0].captions[0], "a plain thing", cast.pairs[2].captions[0]]
    monkeypatch.setattr(words, "captions", lambda *_: texts)
    card = {row["name"]: row for row in shipped("captioner")["accuracy"]}
    rows = {row[0]: row[1:] for row in words._true_captions(cast.network("captioner"), cast.pairs).rows}
    true = rows["captions that are true"]
    assert isinstance(true[0], Share) and true[0].value == pytest.approx(2 / 3)
    assert true[1:] == (Share(*(card["captions that are true"][k] for k in ("value", "low", "high"))), "1,500")
    assert rows["captions that are true, 1 object"][0] == "", "there are none of these"


def test_shares_of_right_answers_are_counted_by_single_calls(cast: Cast) -> None:
    scenes = [each for each in cast.pairs if words.two_coloured(cast.network("vqa"), each)]
    table = words._right_answers(cast, scenes)
    for name, row in zip(words.ANSWERING, table.rows[::2], strict=True):
        right = []
        for each in scenes:
            question = next(q for q in each.questions if "what colour is" in q.text)
            said = wf.explain(cast.network(name), each, question=question.text).targets[0][0]
            right.append(said == question.answer)
        card = {r["name"]: r for r in shipped(name)["accuracy"]}["colour, as in training"]
        assert isinstance(row[1], Share) and row[1].value == fmean(right)
        assert row[4] == f"{card['n']:,}" and str(row[3]).startswith(f"{100 * card['question only']:.0f}")


def test_people_are_shown_whom_the_biased_network_alone_gets_wrong(cast: Cast) -> None:
    models = {"biased": cast.network("people-biased"), "balanced": cast.network("people-balanced")}
    first = next(bias._telling(models), None)
    for number in range(first.number if first else casting.SEARCHED):
        answers = [wf.explain(model, people.figure(number, size=384).image).targets[0][0] for model in models.values()]
        assert answers[0] == people.figure(number).label or answers[1] != people.figure(number).label


def test_a_mistake_that_cannot_be_found_is_said(cast: Cast) -> None:
    cast.__dict__["mistaken"] = None
    assert "named every scene right" in comparing.mistake(cast).parts[0]


@pytest.mark.slow
def test_every_method_is_shown_or_excused(cast: Cast) -> None:
    (figures,) = parts(comparing.everything(cast), Figures)
    shown = {figure.caption for figure in figures.figures}
    missing = set(wf.METHODS) - shown
    assert missing == {"cam"} and "cam: cam needs a network" in figures.words
    assert len({figure.picture.tobytes() for figure in figures.figures}) > 20, "they differ"


def test_pictures_say_where_the_peak_lies(cast: Cast) -> None:
    each = cast.shown[0]
    e = wf.explain(cast.vgg, each, indices(cast.vgg, [each]))
    figure = pictures.map_figure(e, 0, 0, each)
    heat = next(e.placed(0))
    assert figure.note.endswith(pictures.peak_text(heat, each)) and each.labels[0] in figure.caption
    assert figure.picture.size == each.image.size and figure.alt
    assert figure.picture.tobytes() != next(e.overlays(0, legend=False)).tobytes(), "outline and ring"


def test_a_caption_names_all_that_is_shown() -> None:
    for number in range(20):
        each = scene(number, objects=2)
        assert all(label in pictures.in_words(each) for label in each.labels)


def test_the_command_prints_the_path_of_the_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "CHAPTERS", (comparing.onward,))
    monkeypatch.setattr(casting, "load", untrained)
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "d")])
    assert result.exit_code == 0 and result.stdout == f"{tmp_path / 'd' / 'index.html'}\n"
    page = check(tmp_path / "d" / "index.html")
    assert "wherefore explain photo.jpg" in page.words and "a stand-in for photographs" in page.words


def test_a_folder_that_cannot_be_made_is_said_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(wf.Error, match="give another folder"):
        demo.run(tmp_path / "file")


def test_commands_on_the_page_exist(cast: Cast) -> None:
    for command in comparing.COMMANDS:
        name = command.line.split()[1]
        assert CliRunner().invoke(app, [name, "--help"]).exit_code == 0, command.line


@pytest.mark.slow
def test_the_page_is_whole_and_the_same_each_time(cast: Cast, tmp_path: Path) -> None:
    first, second = (demo.run(tmp_path / name, COUNT) for name in "ab")
    page = check(first)
    assert first.read_bytes() == second.read_bytes()
    assert len(page.all("section")) == len(demo.CHAPTERS)
    assert len(page.all("img")) == len(list(first.parent.glob("*.png"))) > 40
