"""`wherefore caption` and `wherefore ask`, run in this process with networks of random weights, and their pages."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import wherefore as wf
from fixtures_doors import photo, squeezenet  # noqa: F401
from test_cli import files, refused, wherefore  # noqa: F401
from test_panels import places
from wherefore import strips, tiling, told
from wherefore.models.scenes import WORDED
from wherefore.saving import write_tensors
from wherefore.vocabulary import Vocabulary

WORDS = ("<end>", "a", "red", "dog", "cat", "on", "the", "grass", "what", "colour", "is", "there", "blue")
ANSWERS = ("red", "blue", "yes", "no", "green", "two")
KEYS = {"index", "name", "score", "probability", "evidence", "peak", "box", "files"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Random weights of one of the networks with words, of few of them."""
    folder = tmp_path_factory.mktemp("words")

    def written(name: str) -> Path:
        path = folder / f"{name}.safetensors"
        if not path.is_file():
            torch.manual_seed(7)
            vocabulary, asks = Vocabulary(WORDS, 12), WORDED[name].asks
            net = WORDED[name].build(vocabulary, len(ANSWERS)) if asks else WORDED[name].build(vocabulary)
            about = {
                "task": "single-label",
                "classes": list(ANSWERS) if asks else [],
                "vocabulary": list(WORDS),
                "longest": 12,
            }
            write_tensors(path, {k: v.contiguous() for k, v in net.state_dict().items()}, about)
        return path

    return written


@pytest.fixture
def caption(wherefore, weights):  # noqa: F811
    return lambda *words: wherefore("caption", "--weights", weights("captioner"), *words)


@pytest.fixture
def ask(wherefore, weights):  # noqa: F811
    return lambda *words: wherefore("ask", "--weights", weights("vqa"), *words)


@pytest.fixture
def captioner(weights) -> wf.Model:
    return wf.load("scenes:captioner", weights=weights("captioner"))


@pytest.fixture
def vqa(weights) -> wf.Model:
    return wf.load("scenes:vqa", weights=weights("vqa"))


def likely(model: wf.Model, scene: int, text: str) -> list[float]:
    """log p of each word of a caption, written out: one step of the LSTM after the other."""
    net, log = model.net, []
    with torch.no_grad():
        image = model.preprocess(wf.scenes.scene(scene).image)[None]
        state = net.lstm(net.rectify(net.image(net.cnn(image)))[:, None])[1]
        number = net.vocabulary.end
        for word in text.split():
            hidden, state = net.lstm(net.embedding(torch.tensor([[number]])), state)
            number = WORDS.index(word)
            log.append(float(net.scores(hidden)[0, 0].double().log_softmax(0)[number]))
    return log


# -------------------------------------------------------------------------------------------- caption


def test_json_of_a_caption(caption, captioner: wf.Model, weights) -> None:
    done = caption("scenes:3", "--json")
    assert (done.status, done.err, files()) == (0, "", [])  # nothing is written without --out
    result = done.json
    assert (result["model"], result["method"]) == ("scenes:captioner", "grad-cam")
    assert result["weights_sha256"] == captioner.weights_sha256 and "target" not in result
    (image,) = result["images"]
    assert set(image) == {"image", "size", "caption", "whole", "targets"} and image["size"] == [128, 128]
    text = image["caption"]
    assert [text] == wf.captions(captioner, "scenes:3")
    assert [t["name"] for t in image["targets"]] == text.split()
    log = likely(captioner, 3, text)
    assert image["whole"]["score"] == pytest.approx(sum(log), rel=1e-4)
    e = wf.explain(captioner, "scenes:3", wf.Caption(text).words())
    for t, target in enumerate(image["targets"]):
        assert set(target) == KEYS and target["index"] is None and target["files"] == {}
        assert target["probability"] == pytest.approx(np.exp(log[t]), rel=1e-4)
        assert target["score"] == pytest.approx(e.scores[0, t].item(), rel=1e-4)
        assert target["peak"] == e.peaks()[0, t].tolist()


def test_a_caption_that_is_given_and_some_of_its_words(caption, captioner: wf.Model) -> None:
    done = caption("scenes:3", "--caption", "A red cat, on the grass.", "--word", "cat", "--word", "Red", "--json")
    (image,) = done.json["images"]
    assert image["caption"] == "a red cat on the grass"
    assert [t["name"].lower() for t in image["targets"]] == ["cat", "red"]
    log = likely(captioner, 3, image["caption"])
    assert [t["probability"] for t in image["targets"]] == pytest.approx([np.exp(log[2]), np.exp(log[1])], rel=1e-4)


def test_the_caption_of_a_beam_search(caption, captioner: wf.Model) -> None:
    found = caption("scenes:3", "--beam", "4", "--json").json["images"][0]
    assert [found["caption"]] == wf.captions(captioner, "scenes:3", beam=4)


def test_out_of_a_caption(caption, captioner: wf.Model) -> None:
    done = caption("scenes:3", "--caption", "a red dog", "--out", "o", "--json")
    (image,) = done.json["images"]
    assert json.loads(Path("o/manifest.json").read_text()) == done.json
    overlays = ["o/scenes-3.a.jpg", "o/scenes-3.red.jpg", "o/scenes-3.dog.jpg"]
    assert [t["files"]["overlay"] for t in image["targets"]] == overlays
    assert image["files"] == {"page": "o/scenes-3.caption.page.jpg", "maps": "o/scenes-3.safetensors"}
    assert len(files(Path("o"))) == 6
    saved = load_file("o/scenes-3.safetensors")
    e = wf.explain(captioner, "scenes:3", [wf.Caption("a red dog"), *wf.Caption("a red dog").words()])
    torch.testing.assert_close(torch.cat([saved["whole"], saved["maps"]]), e.maps[0])


def test_a_caption_on_a_terminal(caption) -> None:
    lines = caption("scenes:3", "--caption", "a red dog", "--out", "o").out.splitlines()
    assert lines[0] == "scenes:3  128x128" and lines[1].startswith("  a red dog  (log p -")
    assert [line.split()[0] for line in lines[2:5]] == ["a", "red", "dog"] and " p 0." in lines[2]
    assert lines[5] == "  o/scenes-3.caption.page.jpg" and len(lines) == 6


def test_one_bad_file_among_captioned_ones(caption, tmp_path: Path) -> None:
    photo(70, 60).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("text")
    done = caption(tmp_path, "--caption", "a dog", "--json")
    assert done.status == 1 and done.err.count("\n") == 1 and "b.png is not a picture" in done.err
    assert [set(r) for r in done.json["images"]][1] == {"image", "error"}
    assert [t["name"] for t in done.json["images"][0]["targets"]] == ["a", "dog"]


@pytest.mark.parametrize(
    "words, said",
    [
        (["--caption", "a red dgo"], "no word of scenes:captioner is called 'dgo': did you mean dog"),
        (["--caption", ""], "empty"),
        (["--caption", " ".join("a" * 13)], "takes 12 words at most, not 13"),
        (["--caption", "a dog", "--word", "cat"], "the word 'cat' is not in the caption 'a dog'"),
        (["--method", "gradcam"], "no method is called 'gradcam'"),
        (["--layer", "cnn.nothing"], "cnn.nothing"),
        (["--scale", "both"], "scale is 'each' or 'common'"),
        (["--beam", "0"], "a beam holds one beginning or more"),
    ],
)
def test_captions_that_cannot_be_had(caption, words: list[str], said: str) -> None:
    refused(caption("scenes:3", *words), said)


def test_no_image_and_models_that_say_nothing(wherefore, weights, squeezenet: Path) -> None:  # noqa: F811
    refused(wherefore("caption"), "Missing argument")
    refused(wherefore("caption", "none.jpg"), "none.jpg does not exist")
    refused(wherefore("caption", "scenes:3", "--model", "squeezenet1_1", "-w", squeezenet), "scores classes")
    refused(wherefore("caption", "scenes:3", "--model", "scenes:vqa", "-w", weights("vqa")), "wherefore ask IMAGE")
    refused(wherefore("ask", "scenes:3"), "Missing argument")
    for name, file in (("squeezenet1_1", squeezenet), ("scenes:captioner", weights("captioner"))):
        refused(wherefore("ask", "scenes:3", "a dog?", "--model", name, "-w", file), f"{name} answers no questions")


# -------------------------------------------------------------------------------------------- ask


def test_json_of_an_answer(ask, vqa: wf.Model) -> None:
    done = ask("scenes:3", "What colour is the dog?", "--top", "3", "--json")
    assert (done.status, done.err, files()) == (0, "", [])
    (image,) = done.json["images"]
    assert set(image) == {"image", "size", "question", "answer", "targets"}
    assert image["question"] == "What colour is the dog?"
    with torch.no_grad():
        fed = {"question": torch.tensor([[8, 9, 10, 6, 3]])}
        scores = vqa.net(vqa.preprocess(wf.scenes.scene(3).image)[None], **fed)[0]
    order = scores.argsort(descending=True)[:3].tolist()
    assert image["answer"] == ANSWERS[order[0]]
    assert [t["index"] for t in image["targets"]] == order
    assert [t["score"] for t in image["targets"]] == pytest.approx(scores[order].tolist(), rel=1e-4)
    e = wf.explain(vqa, "scenes:3", wf.Answer(image["answer"]), question="what colour is the dog?")
    assert image["targets"][0]["peak"] == e.peaks()[0, 0].tolist() and set(image["targets"][0]) == KEYS


def test_answers_that_are_given(ask) -> None:
    done = ask("scenes:3", "is there a dog", "--answer", "two", "--answer", "Green", "--json")
    (image,) = done.json["images"]
    assert [t["name"] for t in image["targets"]] == ["two", "green"] and image["answer"] in ANSWERS


def test_out_of_an_answer(ask) -> None:
    done = ask("scenes:3", "is there a dog?", "--top", "2", "--out", "o")
    assert done.out.splitlines()[1].startswith("  is there a dog? ")
    report = json.loads(Path("o/manifest.json").read_text())["images"][0]
    names = [t["name"] for t in report["targets"]]
    pages = ["manifest.json", "scenes-3.answer.page.jpg", "scenes-3.safetensors"]
    assert files(Path("o")) == sorted([*pages, *[f"scenes-3.{name}.jpg" for name in names]])
    assert load_file("o/scenes-3.safetensors")["maps"].shape[0] == 2


def test_several_networks_in_columns(wherefore, weights, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    own = wf.load
    names = ["scenes:vqa-alexnet", "scenes:vqa"]
    monkeypatch.setattr("wherefore.models.zoo.load", lambda name, *_, **__: own(name, weights(name.split(":")[1])))
    models = [word for name in names for word in ("-m", name)]
    done = wherefore("ask", "scenes:3", "is there a dog?", *models, "--out", "o", "--json")
    (image,) = done.json["images"]
    assert [run["name"] for run in image["runs"]] == names and [run["model"] for run in image["runs"]] == names
    for run in image["runs"]:
        model = own(run["name"], weights(run["name"].split(":")[1]))
        (best,) = wf.answers(model, "scenes:3", "is there a dog?", most=1)[0]
        (target,) = run["targets"]
        assert run["answer"] == target["name"] == best.text and run["weights_sha256"] == model.weights_sha256
        assert run["layer"] == wf.explain(model, "scenes:3", question="is there a dog?").layer
    assert set(load_file("o/scenes-3.safetensors")) == set(names) and "model" not in done.json
    assert done.json["method"] == "grad-cam" and Path(image["files"]["page"]).is_file()
    refused_words = wherefore("ask", "scenes:3", "a dog?", *models, "--layer", "cnn")
    assert refused_words.status == 2 and "--layer belongs to one network" in refused_words.err


def test_a_sweep_over_layers(wherefore, weights) -> None:  # noqa: F811
    words = ("ask", "scenes:3", "is there a dog?", "--model", "scenes:coattention", "-w", weights("coattention"))
    runs = wherefore(*words, "--layer", "cnn.layer?.0", "--json").json["images"][0]["runs"]
    assert [run["name"] for run in runs] == ["cnn.layer1.0", "cnn.layer2.0", "cnn.layer3.0"]
    assert [run["grid"] for run in runs] == [[48, 48], [24, 24], [12, 12]]
    swept = [run["name"] for run in wherefore(*words, "--layer", "sweep", "--json").json["images"][0]["runs"]]
    assert len(swept) >= 9 and swept[:3] == ["cnn.layer1.0", "cnn.layer1.1", "cnn.layer1"]
    assert "no layer's name fits" in wherefore(*words, "--layer", "x*").err


@pytest.mark.parametrize(
    "words, said",
    [
        ([""], "the question is empty"),
        (["?"], "empty"),
        (["what clour is the dog?"], "no word of scenes:vqa is called 'clour': did you mean colour"),
        (["is there a dog?", "--answer", "bleu"], "no answer is called 'bleu': did you mean blue"),
        (["is there a dog?", "--answer", "purple"], "there are red, blue, yes, no, green, two"),
        (["is there a dog?", "--top", "0"], "one answer or more is wanted"),
        (["a dog " * 6 + "a?"], "takes 12 words at most, not 13"),
    ],
)
def test_questions_that_cannot_be_asked(ask, words: list[str], said: str) -> None:
    refused(ask("scenes:3", *words), said)


def test_help_teaches(wherefore) -> None:  # noqa: F811
    for command, examples in (("caption", 4), ("ask", 4)):
        done = wherefore(command, "--help")
        assert done.status == 0 and done.out.count(f"wherefore {command} ") >= examples


# -------------------------------------------------------------------------------------------- pages


@pytest.fixture
def whole_words(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written on pages from now on; none of it may be cut."""
    said: list[str] = []
    own = tiling.fitted

    def kept(text: str, width: int, size: int) -> str:
        said.append(text)
        assert own(text, width, size) == text
        return text

    monkeypatch.setattr(tiling, "fitted", kept)
    return said


def test_the_page_of_a_caption(captioner: wf.Model, whole_words: list[str]) -> None:
    done = told.captioned(wf.Explainer(captioner), "scenes:3", "a red dog on the grass the cat")
    page = done.page()
    assert isinstance(done.fine, wf.Explanation) and done.fine.method == "guided-grad-cam"
    strip = [*done.words.within(strips.SMALL).overlays(0, scale="common", legend=False)]
    corners = [places(page, each) for each in strip]
    assert all(corners) and all(a[0] < b[-1] for a, b in pairwise(corners)), "in reading order"
    assert places(page, next(done.whole.within(strips.LARGE).overlays(0, legend=False)))
    assert places(page, next(done.fine.within(strips.LARGE).overlays(0, legend=False)))
    assert [w for w in whole_words if w in WORDS] == "a red dog on the grass the cat".split()
    top = float(done.words.evidence.max())
    assert "The words share one scale" in " ".join(whole_words) and top > 0
    assert done.page(scale="each").tobytes() != page.tobytes()


def test_long_captions_wrap_and_narrow_pictures_have_room(
    captioner: wf.Model, tmp_path: Path, whole_words: list[str]
) -> None:
    photo(40, 200).save(tmp_path / "tall.png")
    text = "the colour there is what the colour there is on the grass"
    page = told.captioned(wf.Explainer(captioner), tmp_path / "tall.png", text).page()
    assert any(" ".join(pair) == text for pair in pairwise(whole_words)) and text not in whole_words
    assert page.width == 3 * (strips.NARROW + 12) + 12


def test_the_page_of_an_answer(vqa: wf.Model, whole_words: list[str]) -> None:
    done = told.answered(wf.Explainer(vqa), "scenes:3", "is there a dog?", most=3)
    page = done.page()
    e = done.answers
    large = [*e.within(strips.LARGE).overlays(0, scale="common", legend=False)]
    small = [*e.within(strips.MIDDLE).overlays(0, scale="common", legend=False)]
    assert places(page, large[0]) and all(places(page, each) for each in small[1:]) and not places(page, large[1])
    assert "is there a dog?" in whole_words and any(
        f"it says {done.said[0].text}, p " in words for words in whole_words
    )
    assert set(e.targets[0]) <= set(whole_words)


def test_columns_say_why_one_is_lacking(vqa: wf.Model, whole_words: list[str]) -> None:
    lacking = wf.Explainer(vqa, layer="cnn.classifier.0")
    done = told.compared({"here": wf.Explainer(vqa), "there": lacking}, "scenes:3", "is there a dog?")
    assert isinstance(done.ways["there"], str) and "cnn.classifier.0" in done.ways["there"]
    assert done.page().width == 3 * (strips.LARGE + 12) + 12 and {"here", "there"} <= set(whole_words)
    assert done.report(lambda e: e.report(0))["runs"][1] == {"name": "there", "error": done.ways["there"]}
    with pytest.raises(wf.Error, match=r"cnn\.classifier\.0"):
        told.compared({"there": lacking}, "scenes:3", "is there a dog?")


def test_maps_of_guided_grad_cam_are_not_repeated(captioner: wf.Model) -> None:
    done = told.captioned(wf.Explainer(captioner, "guided-grad-cam"), "scenes:3", "a dog")
    assert done.fine is None
    assert isinstance(done.page(), Image.Image)


def test_the_network_sees_what_its_maps_are_of(vqa: wf.Model, tmp_path: Path) -> None:
    photo(200, 100, seed=3).save(tmp_path / "wide.png")
    done = told.answered(wf.Explainer(vqa, fit="squash"), tmp_path / "wide.png", "is there a dog?", most=6)
    found = dict(zip(done.answers.targets[0], done.answers.scores[0].tolist(), strict=True))
    assert [each.score for each in done.said] == pytest.approx([found[each.text] for each in done.said], abs=1e-5)
