"""Networks with words learn on scenes: what they are shown and told, how they are judged, and that they go on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import wherefore as wf
from wherefore.errors import Error
from wherefore.models.scenes import CARD, WORDED, card, shipped
from wherefore.models.zoo import file_sha256
from wherefore.scenes import scene
from wherefore.scenes.language import captions, questions
from wherefore.scenes.phrasing import phrasings
from wherefore.scenes.world import CATEGORIES, COLOURS, imagine
from wherefore.training import TELLING, judging, teaching, telling, texts, train, worded
from wherefore.training.telling import BLIND, Run, built
from wherefore.training.texts import Captions, Questions, all_parts, asked, parts, spoken

FEW = ((1, 5), (2, 4))
NAMES = list(TELLING)


@pytest.fixture()
def few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, and few pictures."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(teaching, "DEV", FEW)
    monkeypatch.setattr(judging, "TEST", FEW)
    monkeypatch.setattr(texts, "SAMPLED", 300)
    for name, recipe in TELLING.items():
        small = replace(recipe, mix=FEW, batch=4, epochs=2, sight=min(recipe.sight, 1))
        monkeypatch.setitem(TELLING, name, small)


def silent(_: str) -> None:
    pass


# ---------------------------------------------------------------------------------------- what they are told


def test_parts_lie_on_the_things_that_they_name() -> None:
    cells = right = 0
    for number in range(60):
        shown = scene(number, "train", size=96)
        category, colour, _ = parts(shown.world)
        for row, column in np.argwhere(category >= 0):
            cells += 1
            place = slice(8 * row, 8 * row + 8), slice(8 * column, 8 * column + 8)
            here = [t for t, mask in zip(shown.things, shown.masks, strict=True) if mask[place].any()]
            named = CATEGORIES[category[row, column]], [*COLOURS][colour[row, column]]
            right += named in [(t.category, t.colour) for t in here]
    assert cells > 300 and right / cells > 0.85  # thin things have holes, and some are turned


def test_captions_are_drawn_with_their_ends() -> None:
    worlds = [imagine(number, "train", 2) for number in range(6)]
    vocabulary = spoken(((2, 200),), "it")
    texts, _ = Captions.read(worlds, vocabulary).drawn([1, 4], 3, np.random.default_rng(0))
    assert len(texts) == 6
    for row, words in enumerate(texts):
        said = vocabulary.text(words[words != 0].tolist())
        assert said in [c.rstrip(".").replace(",", "") for c in captions(worlds[[1, 4][row // 3]])]


def test_questions_are_drawn_in_trained_ways_alone() -> None:
    worlds = [imagine(number, "train", 2) for number in range(6)]
    vocabulary, answers = asked(((2, 300), (1, 300)), "it")
    texts, truth = Questions.read(worlds, vocabulary, answers).drawn([2], 60, np.random.default_rng(0))
    known = {
        (vocabulary.text(vocabulary.numbers(way)), question.answer)
        for question in questions(worlds[2])
        for way in phrasings(question).trained
    }
    drawn = {(vocabulary.text([n for n in t if n]), answers[a]) for t, a in zip(texts.tolist(), truth, strict=True)}
    assert drawn <= known and len(drawn) > 10


def test_held_out_ways_are_read_by_the_shipped_networks() -> None:
    for name in (name for name in NAMES if WORDED[name].asks):
        read = wf.load(f"scenes:{name}").question
        assert read is not None
        for number in range(40):
            for question in questions(imagine(number)):
                assert read(phrasings(question).held_out)["question"].any()


# ---------------------------------------------------------------------------------------- how they learn


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("name", ["captioner", "coattention"])
def test_a_stopped_run_ends_with_the_same_weights(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = (
        worded._fitted(TELLING[name], tmp_path / "whole", True, "cpu", silent) if _made(tmp_path / "whole") else None
    )
    write = Run.write

    def stop(self: Run, path: Path) -> None:
        write(self, path)
        raise KeyboardInterrupt

    folder = tmp_path / "stopped"
    folder.mkdir()
    for _ in range(TELLING[name].passes):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Run, "write", stop)
            worded._fitted(TELLING[name], folder, True, "cpu", silent)
    again = worded._fitted(TELLING[name], folder, True, "cpu", silent)
    assert whole is not None and again.epoch == whole.epoch == TELLING[name].passes
    for key, value in whole.net.state_dict().items():
        torch.testing.assert_close(again.net.state_dict()[key], value, rtol=0, atol=0)


def _made(folder: Path) -> bool:
    folder.mkdir()
    return True


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_a_network_that_learned_to_see_is_shipped_at_once(tmp_path: Path) -> None:
    made = train("captioner", tmp_path, device="cpu", say=silent)
    assert made["accuracy"] and wf.captions(
        wf.load("scenes:captioner", weights=tmp_path / "captioner.safetensors"), "scenes:3"
    )


@pytest.mark.usefixtures("few")
def test_the_eye_learns_first_and_then_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[dict[str, torch.Tensor]] = []
    write = Run.write

    def keep(self: Run, path: Path) -> None:
        states.append({key: value.clone() for key, value in self.net.state_dict().items()})
        write(self, path)

    monkeypatch.setattr(Run, "write", keep)
    worded._fitted(TELLING["captioner"], tmp_path, True, "cpu", silent)
    begun = built(TELLING["captioner"], tmp_path)[0].state_dict()
    seen = [key for key in begun if key.startswith("cnn.") and begun[key].is_floating_point()]
    assert all(torch.equal(states[0][key], states[-1][key]) for key in seen)
    assert not all(torch.equal(begun[key], states[0][key]) for key in seen)
    said = [key for key in begun if key.startswith(("lstm", "scores", "image"))]
    assert all(torch.equal(begun[key], states[0][key]) and not torch.equal(begun[key], states[-1][key]) for key in said)


@pytest.mark.usefixtures("few")
def test_a_blind_network_is_given_nothing(tmp_path: Path) -> None:
    recipe = replace(TELLING["vqa"], **BLIND)
    run = Run(recipe, built(recipe, tmp_path)[0], "cpu")
    seen = teaching.looked_at(run, teaching.Pictures.of("dev", FEW, "vqa"))
    assert seen.shape == (9, 192) and not seen.any()


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_the_card_is_complete_and_the_file_loads(tmp_path: Path) -> None:
    said = train("vqa-alexnet", tmp_path, device="cpu", say=silent)
    assert set(CARD) <= set(said) and said["sha256"] == file_sha256(tmp_path / "vqa-alexnet.safetensors")
    model = wf.load("scenes:vqa-alexnet", weights=tmp_path / "vqa-alexnet.safetensors")
    assert [*(model.classes or ())] == said["classes"] and not any(k.startswith("aim") for k in model.net.state_dict())
    (row,) = wf.answers(model, "scenes:17", "how many dogs are there?", most=2)
    assert {each.text for each in row} <= set(said["classes"])


def test_names_and_numbers_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(Error, match="captioner"):
        train("captoner", tmp_path)
    with pytest.raises(Error, match="one epoch or more"):
        telling.changed(TELLING["vqa"], 0, None)


# ---------------------------------------------------------------------------------------- how they are judged


def test_true_captions_are_judged_true_and_others_not() -> None:
    worlds = [imagine(number, "test", 1 + number % 2) for number in range(40)]
    true = {r["name"]: r["value"] for r in judging.of_captions([(captions(w)[1], w) for w in worlds])}
    assert set(true.values()) == {1.0}
    false = judging.of_captions([(captions(w)[1], o) for w, o in zip(worlds, worlds[2:] + worlds[:2], strict=True)])
    assert {r["name"]: r["value"] for r in false}["captions that are true"] < 0.1


def test_answers_are_counted_by_kind_and_way() -> None:
    hits = {("as in training", "colour"): [True, True, False, True], ("in new words", "colour"): [False, True]}
    blind: Any = {("as in training", "colour"): [False, True, False, False], ("in new words", "colour"): [False, False]}
    rows = {row["name"]: row for row in judging.of_answers(hits, blind)}
    assert rows["colour, as in training"]["value"] == 0.75 and rows["colour, as in training"]["question only"] == 0.25
    assert rows["all questions, in new words"]["value"] == 0.5 and rows["colour, in new words"]["n"] == 2


# ---------------------------------------------------------------------------------------- what is shipped


@pytest.mark.parametrize("name", NAMES)
def test_a_card_has_the_recipe_that_trains_it(name: str) -> None:
    said = card(name)
    own = {key: value for key, value in said["recipe"].items() if key != "start sha256"}
    assert own == json.loads(json.dumps(TELLING[name].settings)) and said["seed"] == TELLING[name].seed
    assert said["recipe"]["start sha256"] == card(TELLING[name].start)["sha256"]
    assert {*CARD, "vocabulary", "longest"} <= set(said)


@pytest.mark.parametrize("name", [name for name in NAMES if not WORDED[name].asks])
def test_captions_name_what_is_there(name: str) -> None:
    rows = {row["name"]: row for row in shipped(name)["accuracy"]}
    assert rows["objects said that are right"]["low"] > 0.9  # by chance 0.27
    model = wf.load(f"scenes:{name}")
    some = [scene(number, objects=1 + number % 2) for number in range(60)]
    said = list(zip(wf.captions(model, some), [each.world for each in some], strict=True))
    now = {row["name"]: row for row in judging.of_captions(said)}["objects said that are right"]
    assert abs(now["value"] - rows["objects said that are right"]["value"]) < 0.1


@pytest.mark.parametrize("name", [name for name in NAMES if WORDED[name].asks])
def test_answers_need_the_picture(name: str) -> None:
    for row in shipped(name)["accuracy"]:
        if row["name"].startswith("all questions"):
            assert row["low"] > row["question only"] + 0.05


def test_all_parts_are_those_of_each_world() -> None:
    worlds = [imagine(number) for number in range(3)]
    assert np.array_equal(all_parts(worlds)[2], parts(worlds[2]))
