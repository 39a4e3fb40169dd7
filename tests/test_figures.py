"""The paper's figures: contracts of all of them, what they refuse, and maps worked out by hand."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import wherefore as wf
from page_reader import check
from test_cli import picture, wherefore  # noqa: F401
from wherefore.diagnosis.attacks import probabilities, scores
from wherefore.errors import Error
from wherefore.figures import Settings, draw, in_order, seeded, units
from wherefore.figures.choice import OPTIONS, Choice
from wherefore.figures.sheets import Made
from wherefore.registry import FIGURES
from wherefore.told import answered

FEW = {"6": 2, "8": 2}  # pictures: as few as show all that a figure shows
KEYS = {
    "figure", "title", "section", "version", "model", "weights_sha256", "method", "layer", "targets", "data",
    "comparable", "seed", "settings", "notice", "images",
}  # fmt: skip
OF_RUN = {"name", "model", "weights_sha256", "method", "layer", "version", "fit", "options", "targets"}


def few(number: str, out: Path, **settings: Any) -> Made:
    return draw(number, Settings(count=FEW.get(number, 1), **settings), out)


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "DISSECTED", 24)


def test_all_figures_of_the_paper_are_there() -> None:
    assert in_order() == ["1", "3", "4", *map(str, range(6, 23)), "C"]
    for number, entry in FIGURES.items():
        assert entry.summary and len(entry.summary) < 121 and entry.summary.endswith("."), number
        assert entry.about["title"] and entry.about["section"] and entry.about["seconds"] > 0
        assert set(entry.about["takes"]) <= set(OPTIONS)


@pytest.mark.parametrize("number", in_order())
def test_contract(number: str, tmp_path: Path) -> None:
    made = few(number, tmp_path)
    files = made.save(tmp_path / number)
    assert {path.name for path in map(Path, files.values())} == {f"figure-{number}.jpg", "index.html", "manifest.json"}
    sheet = Image.open(files["sheet"])
    assert min(sheet.size) > 400 and np.asarray(sheet).std() > 20, "something is drawn"
    told = json.loads(Path(files["manifest"]).read_text(), parse_constant=lambda name: pytest.fail(name))
    assert set(told) >= KEYS and told["figure"] == number and told["images"] and not told["comparable"]
    shipped = {name: wf.load(name).weights_sha256 for name in told["model"]}
    assert told["weights_sha256"] == list(shipped.values())
    for run in (run for image in told["images"] for run in image["runs"]):
        assert set(run) >= OF_RUN and run["weights_sha256"] == shipped[run["model"]], "nothing shipped is refused"
        for target in run["targets"]:
            assert target["score"] is not None and target["name"] and len(target["peak"]) == 2
    page = check(Path(files["page"]))
    assert "Numbers on scenes are not the paper's numbers" in page.words
    alts = [image["alt"] or "" for image in page.all("img")]
    assert len(alts) == len(told["images"])
    for alt, image in zip(alts, told["images"], strict=True):
        assert image["image"] in alt and image["runs"][0]["targets"][0]["name"] in alt


@pytest.mark.slow
@pytest.mark.parametrize("number", in_order())
def test_figures_are_the_same_at_every_run(number: str, tmp_path: Path) -> None:
    one, other = few(number, tmp_path), few(number, tmp_path)
    assert one.json() == other.json()
    assert one.sheet().tobytes() == other.sheet().tobytes()
    assert few(number, tmp_path, seed=1).json()["settings"]["pictures"] != one.json()["settings"]["pictures"]


# -------------------------------------------------------------------------------------------- what is chosen


def pictures(number: str, out: Path, **settings: Any) -> list[str]:
    return list(draw(number, Settings(**settings), out).json()["settings"]["pictures"])


def test_pictures_are_drawn_by_the_seed_and_fewer_are_the_first_of_more(tmp_path: Path) -> None:
    more = pictures("17", tmp_path, count=3)
    assert pictures("17", tmp_path, count=2) == more[:2] and len({*more}) == 3
    assert pictures("17", tmp_path, count=2) == pictures("17", tmp_path, count=2)
    assert pictures("17", tmp_path, count=2, seed=1) != more[:2]


@pytest.mark.parametrize("number", in_order())
def test_options_that_a_figure_cannot_take_are_refused(number: str, tmp_path: Path) -> None:
    given = {"images": ("a.png",), "question": "what is it?", "words": "units.csv", "targets": ("dog",)}
    refused = [key for key in given if key not in FIGURES[number].about["takes"]]
    assert ("question" in refused) is (number not in ("12", "19"))
    assert ("words" in refused) is (number not in ("9", "21"))
    for key in refused:
        with pytest.raises(Error, match=f"^figure {number} takes no {OPTIONS[key]}: leave it out.$"):
            draw(number, Settings(**{key: given[key]}), tmp_path)
    most = FIGURES[number].about["networks"]
    with pytest.raises(Error, match=f"^figure {number} shows {len(most)} network.*, not {len(most) + 1}: name fewer.$"):
        draw(number, Settings(models=("scenes:vgg",) * (len(most) + 1)), tmp_path)


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"images": ("scenes:1",), "data": "scenes"}, "pictures are named"),
        ({"images": ("scenes:1",), "count": 3}, "pictures are named"),
        ({"weights": ("w.pth",)}, "say which one with --model"),
        ({"models": ("scenes:vgg",), "weights": ("a", "b")}, "too many"),
        ({"images": ("nowhere.png",)}, "does not exist"),
        ({"data": "scenes:people"}, "none is among|no picture"),
    ],
)
def test_what_does_not_go_together_is_refused(settings: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(Error, match=sentence):
        draw("13", Settings(**settings), tmp_path)


def test_a_pair_of_networks_is_wanted_where_two_are_compared(tmp_path: Path) -> None:
    with pytest.raises(Error, match="figure 8 compares 2 networks: give --model as often"):
        draw("8", Settings(models=("scenes:people-biased",)), tmp_path)


def test_what_is_true_of_a_picture_must_be_said(picture: Path, tmp_path: Path) -> None:  # noqa: F811
    with pytest.raises(Error, match="Give its class with --target"):
        draw("6", Settings(images=(str(picture),)), tmp_path)
    with pytest.raises(Error, match="give --question"):
        draw("12", Settings(images=(str(picture),)), tmp_path)
    with pytest.raises(Error, match="names of the units of scenes:vgg are wanted"):
        draw("9", Settings(images=(str(picture),), models=("scenes:vgg",)), tmp_path)


def test_a_figure_of_one_s_own_picture_class_and_network(picture: Path, tmp_path: Path) -> None:  # noqa: F811
    """The picture is larger than high; the network is another one than the figure's."""
    own = Settings(images=(str(picture),), models=("scenes:resnet",), targets=("dog", "5"))
    told = draw("C", own, tmp_path).json()
    assert told["model"] == ["scenes:resnet"] and told["data"] is None
    [image] = told["images"]
    assert image["image"] == picture.name and image["size"] == [301, 203]
    assert [run["name"] for run in image["runs"]][:2] == ["Guided backprop", "Deconvolution"]
    model = wf.load("scenes:resnet")
    e = wf.explain(model, picture, ["dog", 5], fit="squash")
    [grad_cam] = [run for run in image["runs"] if run["method"] == "grad-cam"]
    assert [t["name"] for t in grad_cam["targets"]] == e.targets[0]
    assert [t["score"] for t in grad_cam["targets"]] == pytest.approx(e.scores[0].tolist(), rel=1e-4)
    assert [t["peak"] for t in grad_cam["targets"]] == e.peaks()[0].tolist()


SPOKEN = {"10": "a dog", "11": "bicycle", "12": "red", "18": "a dog", "19": "red"}  # else a class
CLASSES = {"8": "nurse", "9": "forest", "21": "forest"}


@pytest.mark.parametrize("number", in_order())
def test_what_is_asked_for_is_what_is_explained(number: str, tmp_path: Path) -> None:
    """Or it is refused: nothing that a figure takes is dropped."""
    asked = SPOKEN.get(number) or CLASSES.get(number, "lamp")
    if number == "6":
        with pytest.raises(Error, match="leave --target out"):
            few(number, tmp_path, targets=(asked,))
        told = draw(number, Settings(images=("scenes:single/3",), targets=(asked,)), tmp_path).json()
    else:
        told = few(number, tmp_path, targets=(asked,)).json()
    assert any(asked in target for target in told["targets"]) and told["settings"]["targets"] == (asked,)


@pytest.mark.parametrize("number", ["6", "8"])
def test_one_class_is_asked_for_where_one_is_shown(number: str, tmp_path: Path) -> None:
    with pytest.raises(Error, match=f"^figure {number} asks for 1 class, not 2: give --target once.$"):
        draw(number, Settings(images=("scenes:1",), targets=("dog", "cat")), tmp_path)


@pytest.mark.parametrize("number", ["12", "19"])
def test_the_question_is_the_one_that_is_given(number: str, tmp_path: Path) -> None:
    told = few(number, tmp_path, question="is there a dog?").json()
    assert {image["question"] for image in told["images"]} == {"is there a dog?"}


@pytest.mark.parametrize("number", ["12", "19"])
def test_an_answer_stands_beside_the_true_one(number: str, tmp_path: Path) -> None:
    """By hand: in picture 50494 stand a blue bicycle and a yellow cactus."""
    asked = "what colour is the bicycle?"
    drawn = draw(number, Settings(images=("scenes:pair/50494",), question=asked), tmp_path)
    assert {(image["question"], image["true"]) for image in drawn.json()["images"]} == {(asked, "blue")}
    assert {each.words for each in drawn.drawing.sheets} == {f"{asked} True is blue."}
    other = draw(number, Settings(images=("scenes:pair/50494",), question="is there a dog?"), tmp_path)
    assert {image["true"] for image in other.json()["images"]} <= {None, "no"}


def test_each_network_has_its_own_answer(tmp_path: Path) -> None:
    told = draw("12", Settings(images=("scenes:pair/50494",), question="what colour is the bicycle?"), tmp_path).json()
    for image in told["images"]:
        name = "scenes:coattention" if "coattention" in image["image"] else "scenes:vqa"
        said = answered(wf.Explainer(wf.load(name)), "scenes:pair/50494", image["question"]).said
        assert image["answer"] == said[0].text


def test_the_data_are_those_that_are_named(tmp_path: Path) -> None:
    told = few("17", tmp_path, data="scenes:single").json()
    assert told["data"] == "scenes:single" and told["settings"]["pictures"][0].startswith("scenes:single/")


@pytest.mark.parametrize("models", [("scenes:places", "scenes:vgg"), ("scenes:vgg", "scenes:places")])
@pytest.mark.parametrize("number", ["1", "20"])
def test_a_number_is_not_another_class_of_the_next_network(number: str, models: Any, tmp_path: Path) -> None:
    own = Settings(images=("scenes:pair/3",), models=models)
    with pytest.raises(Error, match=f"^{models[1]} has no '.*', which {models[0]} is asked for: name a --target"):
        draw(number, own, tmp_path)
    with pytest.raises(Error, match=f"^{models[1]} has no '{wf.load(models[0]).classes[7]}'"):  # type: ignore[index]
        draw(number, Settings(images=("scenes:pair/3",), models=models, targets=("7",)), tmp_path)


def test_a_class_that_both_networks_have_is_asked_for_by_name(tmp_path: Path) -> None:
    """Number 5 of the one is "dog", number 5 of the other an airplane."""
    first, other = wf.load("scenes:vgg"), wf.load("scenes:vqa")
    assert first.classes and other.classes and first.classes[5] == "dog" and other.classes[5] == "airplane"
    choice = Choice("1", FIGURES["1"], Settings(targets=("5", "dog")), tmp_path)
    choice.networks = [first, other]
    [taken] = choice.pictures()
    assert choice.shared(taken, 2) == ["dog", "dog"]
    choice.networks = [first, first]
    assert choice.shared(taken, 2) == ["5", "dog"]


@pytest.mark.parametrize("asked", ["dog", "lamp"])
def test_figure_4_names_and_paints_the_class_that_is_asked_for(
    asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The colour of its seeds is that of the class where it is annotated, and the legend gives it that name."""
    legends: list[dict[str, int]] = []
    painted: list[set[int]] = []
    keyed, paint = seeded._keyed, seeded.painted
    monkeypatch.setattr(seeded, "_keyed", lambda drawn, names: legends.append(names) or keyed(drawn, names))
    monkeypatch.setattr(
        seeded, "painted", lambda image, of: painted.append({int(n) for n in np.unique(of)}) or paint(image, of)
    )
    made = draw("4", Settings(images=("scenes:pair/3",), targets=(asked,)), tmp_path)
    [sheet], classes = made.drawing.sheets, wf.load("scenes:vgg").classes
    assert sheet.sample and classes
    names = {label: 1 + classes.index(label) for label in {asked, *sheet.sample.labels}}
    assert legends == [{"background": 0, **names}]
    seeds, _, true = painted
    assert seeds - {0, 255} == {1 + classes.index(asked)}
    assert true - {0, 255} == {1 + classes.index(label) for label in sheet.sample.labels}


# -------------------------------------------------------------------------------------------- maps by hand


def at_layer(model: wf.Model, image: Image.Image, layer: str, number: int) -> tuple[Tensor, Tensor]:
    """Activations and gradients ``(K, h, w)`` of a score at a layer, by a hook."""
    kept: list[Tensor] = []
    handle = model.net.get_submodule(layer).register_forward_hook(lambda m, given, output: kept.append(output))
    for module in model.net.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    assert model.preprocess is not None
    score = model.net(model.preprocess(image)[None])[0, number]
    handle.remove()
    (gradient,) = torch.autograd.grad(score, kept[0])
    return kept[0][0].detach(), gradient[0]


def only(made: Made) -> dict[str, wf.Explanation]:
    [sheet] = made.drawing.sheets
    return sheet.explanations


def image_of(e: wf.Explanation) -> Image.Image:
    return e.pictures[0].image


def close(found: Any, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max() + 1e-12))


def test_figure_3_is_what_speaks_for_a_class_and_what_speaks_against_it(tmp_path: Path) -> None:
    ways = only(few("3", tmp_path))
    e, against = ways["Grad-CAM"], ways["Counterfactual"]
    for t, number in enumerate(e.classes[0].tolist()):
        a, g = at_layer(wf.load("scenes:vgg"), image_of(e), e.layer, number)
        total = (g.mean((1, 2))[:, None, None] * a).sum(0)
        close(e.maps[0][t], total.clamp(min=0))
        close(against.maps[0][t], (-total).clamp(min=0))


def test_figures_13_and_15_are_of_other_layers_and_other_pooling(tmp_path: Path) -> None:
    swept = only(few("13", tmp_path))
    relus = [n for n, m in wf.load("scenes:vgg").net.named_modules() if "features" in n and isinstance(m, nn.ReLU)]
    assert [e.layer for e in swept.values()] == relus
    for e in swept.values():
        a, g = at_layer(wf.load("scenes:vgg"), image_of(e), e.layer, int(e.classes[0, 0]))
        close(e.maps[0][0], (g.mean((1, 2))[:, None, None] * a).sum(0).clamp(min=0))
    pooled = only(few("15", tmp_path))["Global max pooling"]
    a, g = at_layer(wf.load("scenes:vgg"), image_of(pooled), pooled.layer, int(pooled.classes[0, 0]))
    close(pooled.maps[0][0], (g.amax((1, 2))[:, None, None] * a).sum(0).clamp(min=0))


def test_figure_7_shows_a_picture_that_fools_the_network(tmp_path: Path) -> None:
    made = few("7", tmp_path)
    [sheet], model = made.drawing.sheets, wf.load("scenes:vgg")
    e = only(made)["Grad-CAM"]
    assert sheet.facts["fooled"]
    there, (seen, after) = e.targets[0][:2], (e.targets[0][2], e.probabilities[0])
    likely = probabilities(model, scores(model, [image_of(e)]))[0]
    assert model.classes is not None
    assert float(likely[model.classes.index(seen)]) > 0.9999 and float(after[2]) > 0.9999
    assert sheet.facts["before"][seen] < 1e-3 and {*there} == {*sheet_labels(made)} and seen not in there


def sheet_labels(made: Made) -> Sequence[str]:
    [name] = made.choice.taken
    return wf.scenes.named(name).labels


def test_figures_6_and_8_show_what_they_say(tmp_path: Path) -> None:
    for sheet in few("6", tmp_path).drawing.sheets:
        e = sheet.explanations["Grad-CAM"]
        assert sheet.sample is not None
        said, true = e.targets[0]
        assert said not in sheet.sample.labels and true in sheet.sample.labels
        assert e.scores[0, 0] > e.scores[0, 1]
    both, one = few("8", tmp_path).drawing.sheets
    answers = [[e.targets[0][0] for e in sheet.explanations.values()] for sheet in (both, one)]
    labels = [sheet.sample.labels[0] for sheet in (both, one) if sheet.sample]
    assert answers[0] == [labels[0]] * 2 and answers[1][1] == labels[1] != answers[1][0]


def test_figure_11_shows_words_that_name_what_is_annotated(tmp_path: Path) -> None:
    [sheet] = few("11", tmp_path).drawing.sheets
    e, sample = sheet.explanations["Grad-CAM"], sheet.sample
    assert sample is not None and sheet.facts["caption"] in sample.captions
    assert e.targets[0] and {*e.targets[0]} <= {*sample.labels}


def test_figure_22_has_a_row_for_each_class_in_every_stage(tmp_path: Path) -> None:
    ways = only(few("22", tmp_path))
    grids = [e.maps[0].shape[-1] for e in ways.values()]
    assert grids == sorted(grids, reverse=True) and len({*grids}) == 3
    assert all(len(e.targets[0]) == 2 for e in ways.values())


def test_a_trained_network_of_segmentation_takes_the_place_of_the_crf(tmp_path: Path) -> None:
    from wherefore.segmenting.networks import LargeFov
    from wherefore.segmenting.recipes import SCENES

    count = len(Choice("4", FIGURES["4"], Settings(), tmp_path).data.classes)
    net = LargeFov(SCENES.shape, 1 + count)
    torch.save({"net": net.state_dict(), "step": 1}, tmp_path / "net.checkpoint.pt")
    made = few("4", tmp_path, weights=(str(tmp_path / "net.checkpoint.pt"),))
    assert "learned from seeds" in made.drawing.words[1]
    (tmp_path / "other.checkpoint.pt").write_bytes(b"no weights")
    with pytest.raises(Error, match="is no checkpoint of a segmentation"):
        few("4", tmp_path, weights=(str(tmp_path / "other.checkpoint.pt"),))


# -------------------------------------------------------------------------------------------- the command


def test_the_list(wherefore) -> None:  # noqa: F811
    plain, same, told = wherefore("figures"), wherefore("figure"), wherefore("figures", "--json")
    assert plain.out == same.out and [row["figure"] for row in told.json] == in_order()
    assert all(re.search(rf"^{number} ", plain.out, re.M) for number in in_order())
    assert max(map(len, plain.out.splitlines())) <= 132


def test_the_command_writes_and_prints(wherefore) -> None:  # noqa: F811
    done = wherefore("figure", "15", "--count", "1", "--json")
    assert done.status == 0 and done.json["figure"] == "15"
    assert all(Path(path).is_file() for path in done.json["files"].values())
    kept = json.loads(Path(done.json["files"]["manifest"]).read_text())
    assert kept == done.json
    plain = wherefore("figure", "15", "scenes:pair/3", "--target", "dog", "--out", "mine")
    assert plain.status == 0 and "scenes:pair/3" in plain.out and "mine/figure-15/index.html" in plain.out


@pytest.mark.parametrize("words", [["2"], ["99"], ["13", "--question", "what?"], ["13", "--count", "0"]])
def test_what_is_wrong_is_one_line(wherefore, words: list[str]) -> None:  # noqa: F811
    done = wherefore("figure", *words)
    assert done.status == 2 and not done.out and len(done.err.strip().splitlines()) == 1
    assert not Path("figures").exists()


@pytest.mark.parametrize(("number", "why"), [("2", "a diagram"), ("5", "a screen"), ("23", "there are 1, 3, 4, 6")])
def test_figures_that_there_are_not(number: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(Error, match=f"no figure is called '{number}': .*{why}.*22, C"):
        draw(number, Settings(), tmp_path)


def test_figures_are_not_loaded_with_the_command_line() -> None:
    code = "import atexit, sys; atexit.register(lambda: print('wherefore.figures' in sys.modules)); "
    code += "from wherefore.cli import main; main(['--help'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "figures" in done.stdout and done.stdout.endswith("\nFalse\n")


@pytest.mark.slow
def test_a_photograph_by_a_real_network(data: Path, tmp_path: Path) -> None:
    weights = str(data / "weights" / "squeezenet1_1_imagenet.safetensors")
    photo = str(data / "images" / "cat_dog.jpg")
    own = Settings(
        images=(photo,), models=("squeezenet1_1",), weights=(weights,), targets=("tiger cat", "boxer")
    )  # fmt: skip
    for number in ("1", "3", "4", "7", "13", "16", "C"):
        made = draw(number, own, tmp_path)
        assert "not the paper's" in made.notice and made.json()["images"][0]["size"]
        check(Path(made.save(tmp_path / number)["page"]))
