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
from wherefore import drawing, strips, telling, tiling, told
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
    assert result["weights_sha256"] == captioner.weights_sha256 and "target" not in result and result["beam"] == 1
    (image,) = result["images"]
    assert set(image) == {"image", "size", "caption", "given", "says", "whole", "targets"} and image["size"] == [
        128,
        128,
    ]
    text = image["caption"]
    assert image["says"] == text and image["given"] is False
    assert [text] == wf.captions(captioner, "scenes:3")
    assert [t["name"] for t in image["targets"]] == text.split()
    log = likely(captioner, 3, text)
    assert image["whole"]["score"] == pytest.approx(sum(log), rel=1e-4)
    e = wf.explain(captioner, "scenes:3", wf.Caption(text).words())
    for t, target in enumerate(image["targets"]):
        assert set(target) == KEYS | {"step"} and target["index"] is None and target["files"] == {}
        assert target["step"] == t
        assert target["probability"] == pytest.approx(np.exp(log[t]), rel=1e-4)
        assert target["score"] == pytest.approx(e.scores[0, t].item(), rel=1e-4)
        assert target["peak"] == e.peaks()[0, t].tolist()


def test_a_caption_that_is_given_and_some_of_its_words(caption, captioner: wf.Model) -> None:
    done = caption("scenes:3", "--caption", "A red cat, on the grass.", "--word", "cat", "--word", "Red", "--json")
    (image,) = done.json["images"]
    assert image["caption"] == "a red cat on the grass" and image["given"] is True
    assert [image["says"]] == wf.captions(captioner, "scenes:3") != [image["caption"]]
    assert [(t["name"], t["step"]) for t in image["targets"]] == [("cat", 2), ("red", 1)]
    log = likely(captioner, 3, image["caption"])
    assert [t["probability"] for t in image["targets"]] == pytest.approx([np.exp(log[2]), np.exp(log[1])], rel=1e-4)


def test_the_caption_of_a_beam_search(caption, captioner: wf.Model) -> None:
    done = caption("scenes:3", "--beam", "4", "--json").json
    (found,) = done["images"]
    assert done["beam"] == 4 and found["given"] is False
    assert [found["caption"]] == [found["says"]] == wf.captions(captioner, "scenes:3", beam=4)


def test_out_of_a_caption(caption, captioner: wf.Model) -> None:
    done = caption("scenes:3", "--caption", "a red dog", "--out", "o", "--json")
    (image,) = done.json["images"]
    assert json.loads(Path("o/manifest.json").read_text()) == done.json
    assert json.loads(Path("o/caption.manifest.json").read_text()) == done.json
    overlays = [f"o/scenes-3.caption.{word}.jpg" for word in ("a", "red", "dog")]
    assert [t["files"]["overlay"] for t in image["targets"]] == overlays
    assert image["files"] == {"page": "o/scenes-3.caption.jpg", "maps": "o/scenes-3.caption.safetensors"}
    drawn = {
        kind: f"o/scenes-3.caption.{name}.a-red-dog.jpg" for kind, name in (("overlay", "whole"), ("fine", "fine"))
    }
    assert image["whole"]["files"] == drawn
    assert len(files(Path("o"))) == 2 + 2 + 1 + 3 + 2  # manifests, maps, the page, words, the whole caption
    saved = load_file("o/scenes-3.caption.safetensors")
    assert Path("o/scenes-3.safetensors").read_bytes() == Path("o/scenes-3.caption.safetensors").read_bytes()
    targets = [wf.Caption("a red dog"), *wf.Caption("a red dog").words()]
    e = wf.explain(captioner, "scenes:3", targets)
    torch.testing.assert_close(torch.cat([saved["whole"], saved["maps"]]), e.maps[0])
    for method, folder in (("grad-cam", "e"), ("guided-grad-cam", "f")):
        wf.explain(captioner, "scenes:3", targets[0], method=method).save(folder, scale="common")
    same = {"e/scenes-3.a-red-dog.jpg": drawn["overlay"], "f/scenes-3.a-red-dog.jpg": drawn["fine"]}
    assert all(Path(ours).read_bytes() == Path(theirs).read_bytes() for theirs, ours in same.items())


def test_nothing_fine_is_computed_for_nobody(caption, ask, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    own = wf.Explainer.__init__
    monkeypatch.setattr(
        wf.Explainer,
        "__init__",
        lambda e, model, method="grad-cam", *a, **k: asked.append(method) or own(e, model, method, *a, **k),
    )
    assert caption("scenes:3", "--json").status == ask("scenes:3", "is there a dog?", "--json").status == 0
    assert "grad-cam" in asked and "guided-grad-cam" not in asked


def test_runs_do_not_overwrite_each_other(caption, ask) -> None:
    runs = [lambda: caption("scenes:3", "--caption", "a dog", "--out", "o", "--json")]
    runs += [lambda q=q: ask("scenes:3", q, "--top", "1", "--out", "o", "--json") for q in ("a dog?", "a red dog?")]
    written: dict[str, bytes] = {}
    for run in runs:
        done = run()
        kept = {name: Path(name).read_bytes() for name in written}
        assert kept == written  # what the runs before have left is as it was
        last = {"o/manifest.json", "o/scenes-3.safetensors"}
        assert json.loads(Path("o/manifest.json").read_text()) == done.json
        written = {f: Path(f).read_bytes() for f in map(str, Path("o").iterdir()) if f not in last}
    assert {"o/caption.manifest.json", "o/a-dog.manifest.json", "o/a-red-dog.manifest.json"} <= set(written)
    assert Path("o/scenes-3.safetensors").read_bytes() == written["o/scenes-3.a-red-dog.safetensors"]


def test_several_captions(caption, captioner: wf.Model) -> None:
    texts = ["a red dog", "the cat on the grass"]
    done = caption("scenes:3", *(word for text in texts for word in ("--caption", text)), "--out", "o", "--json")
    (image,) = done.json["images"]
    assert set(image) == {"image", "size", "given", "says", "targets", "files"} and image["given"] is True
    assert [t["name"] for t in image["targets"]] == texts and "asked" not in image["targets"][0]
    assert [image["says"]] == wf.captions(captioner, "scenes:3")
    assert [t["score"] for t in image["targets"]] == pytest.approx(
        [sum(likely(captioner, 3, x)) for x in texts], rel=1e-4
    )
    e = wf.explain(captioner, "scenes:3", [wf.Caption(text) for text in texts])
    torch.testing.assert_close(load_file("o/scenes-3.captions.safetensors")["maps"], e.maps[0])


def test_captions_of_regions_and_their_boxes(
    captioner: wf.Model, whole_words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told_of = (
        wf.scenes.annotated.Region("a red dog", (30, 20, 69, 99)),
        wf.scenes.annotated.Region("what is there on the grass is a red dog on grass", (0, 0, 127, 127)),
    )
    monkeypatch.setattr("wherefore.scenes.annotated.Scene.regions", told_of)
    done = told.listed(wf.Explainer(captioner), "scenes:3")
    report = done.report(telling.plain)
    assert [t["asked"] for t in report["targets"]] == [[30, 20, 70, 100], [0, 0, 128, 128]]
    (heat, _) = done.captions.placed(0)
    inside, outside = [], []
    for y in range(128):
        for x in range(128):
            (inside if 30 <= x <= 69 and 20 <= y <= 99 else outside).append(float(heat[y, x]))
    assert report["targets"][0]["ratio"] == pytest.approx(np.mean(inside) / np.mean(outside), rel=1e-4)
    assert report["targets"][1]["ratio"] is None  # there is no outside
    bare = wf.explain(captioner, "scenes:3", [wf.Caption(region.caption) for region in told_of])
    torch.testing.assert_close(done.captions.maps, bare.maps)
    page = done.page()
    boxed = [*done.captions.within(strips.LARGE).overlays(0, scale="common", legend=False)]
    plain = next(bare.within(strips.LARGE).overlays(0, scale="common", legend=False))
    assert all(places(page, each) for each in boxed) and not places(page, plain)
    assert "a red dog" in whole_words and any("inside/outside" in words for words in whole_words)
    assert f'the network says "{done.says}"' in " ".join(whole_words)


def test_regions_from_the_command_line(wherefore) -> None:  # noqa: F811
    done = wherefore("caption", "scenes:17", "--regions", "--out", "o", "--json")
    (image,) = done.json["images"]
    regions = wf.scenes.scene(17).regions
    assert [t["name"] for t in image["targets"]] == [region.caption for region in regions]
    assert Path("o/scenes-17.regions.jpg").is_file() and image["files"]["page"] == "o/scenes-17.regions.jpg"


def test_photographs_come_without_regions(wherefore, tmp_path: Path) -> None:  # noqa: F811
    photo(70, 60).save(tmp_path / "a.png")
    refused(wherefore("caption", tmp_path / "a.png", "--regions"), "a.png comes without captions of its regions")


def test_a_caption_on_a_terminal(caption, captioner: wf.Model) -> None:
    lines = caption("scenes:3", "--caption", "a red dog", "--out", "o").out.splitlines()
    (own,) = wf.captions(captioner, "scenes:3")
    assert lines[0] == "scenes:3  128x128" and lines[1].startswith("  a red dog  (log p -")
    assert lines[2] == f"  given; the network says: {own}"
    assert [line.split()[0] for line in lines[3:6]] == ["a", "red", "dog"] and " p 0." in lines[3]
    assert lines[6] == "  o/scenes-3.caption.jpg" and len(lines) == 7
    assert lines[2] == caption("scenes:3", "--caption", own).out.splitlines()[2]  # given, if it is what it says
    assert "given" not in caption("scenes:3").out


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
        (["--caption", "a dog", "--caption", "a cat", "--word", "cat"], "--word is a word of one caption"),
        (["--regions", "--word", "cat"], "--word is a word of one caption"),
        (["--regions", "--caption", "a cat"], "give one of the two"),
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
    refused(
        wherefore("caption", "scenes:3", "--model", "squeezenet1_1", "-w", squeezenet),
        "says no words: take a model that does",
    )
    refused(wherefore("caption", "scenes:3", "--model", "scenes:vqa", "-w", weights("vqa")), "wherefore ask IMAGE")
    refused(wherefore("ask", "scenes:3"), "Missing argument")
    for name, file in (("squeezenet1_1", squeezenet), ("scenes:captioner", weights("captioner"))):
        refused(wherefore("ask", "scenes:3", "a dog?", "--model", name, "-w", file), f"{name} answers no questions")


# -------------------------------------------------------------------------------------------- ask


def test_json_of_an_answer(ask, vqa: wf.Model) -> None:
    done = ask("scenes:3", "What colour is the dog?", "--top", "3", "--json")
    assert (done.status, done.err, files()) == (0, "", [])
    (image,) = done.json["images"]
    assert set(image) == {"image", "size", "question", "answer", "probability", "targets"}
    assert image["probability"] == pytest.approx(image["targets"][0]["probability"], rel=1e-4)
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
    own = "scenes-3.is-there-a-dog"
    pages = [
        "is-there-a-dog.manifest.json",
        "manifest.json",
        f"{own}.jpg",
        f"{own}.safetensors",
        "scenes-3.safetensors",
    ]
    drawn = [f"{own}{kind}.{name}.jpg" for name in names for kind in ("", ".fine")]
    assert files(Path("o")) == sorted([*pages, *drawn])
    assert [[Path(f).name for k, f in t["files"].items() if k != "maps"] for t in report["targets"]] == [
        drawn[:2],
        drawn[2:],
    ]
    assert load_file("o/scenes-3.safetensors")["maps"].shape[0] == 2


def test_several_networks_in_columns(wherefore, weights) -> None:  # noqa: F811
    own = wf.load
    names = ["scenes:vqa-alexnet", "scenes:vqa"]
    models = [word for name in names for word in ("-m", name)]
    held = [word for name in names for word in ("-w", weights(name.split(":")[1]))]
    refused(wherefore("ask", "scenes:3", "a dog?", *models, *held[:2]), "1 --weights do not fit 2 --model")
    refused(wherefore("ask", "scenes:3", "a dog?", *models, "--layer", "cnn"), "--layer belongs to one network")
    done = wherefore("ask", "scenes:3", "is there a dog?", *models, *held, "--out", "o", "--json")
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


def test_a_sweep_over_layers(wherefore, weights) -> None:  # noqa: F811
    words = ("ask", "scenes:3", "is there a dog?", "--model", "scenes:coattention", "-w", weights("coattention"))
    runs = wherefore(*words, "--layer", "cnn.layer?.0", "--json").json["images"][0]["runs"]
    assert [run["name"] for run in runs] == ["cnn.layer1.0", "cnn.layer2.0", "cnn.layer3.0"]
    assert [run["grid"] for run in runs] == [[48, 48], [24, 24], [12, 12]]
    swept = [run["name"] for run in wherefore(*words, "--layer", "sweep", "--json").json["images"][0]["runs"]]
    assert swept == [f"cnn.layer{i}{block}" for i in (1, 2, 3) for block in (".0", ".1", "")]  # the last its own
    stages = [run["name"] for run in wherefore(*words, "--layer", "cnn.layer?", "--json").json["images"][0]["runs"]]
    assert stages == ["cnn.layer1", "cnn.layer2", "cnn.layer3"]
    assert "no layer's name fits" in wherefore(*words, "--layer", "x*").err


def test_a_sweep_where_the_first_picture_is_bad(wherefore, weights, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "a.png").write_text("text")
    photo(70, 60).save(tmp_path / "b.png")
    words = ("ask", tmp_path, "is there a dog?", "-m", "scenes:coattention", "-w", weights("coattention"))
    done = wherefore(*words, "--layer", "cnn.layer1.?", "--json")
    assert done.status == 1 and "a.png is not a picture" in done.err
    assert [len(image.get("runs", ())) for image in done.json["images"]] == [0, 2]


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


def test_pages_say_whose_words_they_are(captioner: wf.Model, whole_words: list[str]) -> None:
    given = told.captioned(wf.Explainer(captioner), "scenes:3", "a red dog")
    given.page()
    assert f'given; the network says "{given.says}"' in " ".join(whole_words)
    whole_words.clear()
    told.captioned(wf.Explainer(captioner), "scenes:3").page()
    assert whole_words and not any("given" in words for words in whole_words)


def test_maps_of_scales_of_their_own_say_how_much(captioner: wf.Model, vqa: wf.Model, whole_words: list[str]) -> None:
    amounts = lambda e: {f"up to {v:.3g}" if v > 0 else "no evidence" for v in e.evidence[0].tolist()}  # noqa: E731
    done = told.captioned(wf.Explainer(captioner), "scenes:3", "a red dog", fine=False)
    done.page()
    assert not any(words.startswith("p ") and "up to" in words for words in whole_words)
    done.page(scale="each")
    said = {words.partition(", ")[2] for words in whole_words if words.startswith("p 0")}
    assert amounts(done.words) <= said
    whole_words.clear()
    ways = {layer: wf.Explainer(vqa, layer=layer) for layer in ("cnn.features.2", "cnn.features.20")}
    swept = told.compared(ways, "scenes:3", "is there a dog?", fine=False)
    swept.page()
    for each in swept.found.values():
        assert amounts(each.answers) <= set(whole_words)


def test_columns_name_the_answer(vqa: wf.Model, whole_words: list[str]) -> None:
    ways = {layer: wf.Explainer(vqa, layer=layer) for layer in ("cnn.features.2", "cnn.features.20")}
    done = told.compared(ways, "scenes:3", "is there a dog?", fine=False)
    done.page()
    own = next(iter(done.found.values())).said[0]
    evidence = f"evidence for {own.text}, p {own.probability:.3f}"
    assert any(words.startswith(evidence) for words in whole_words) and not any("it says" in w for w in whole_words)
    other = next(answer for answer in ANSWERS if answer != own.text)
    told.compared(ways, "scenes:3", "is there a dog?", [other], fine=False).page()
    assert any(
        w.startswith(f"it says {own.text}, p {own.probability:.3f}; evidence for {other}, p ") for w in whole_words
    )


def test_sheets_show_what_was_asked(vqa: wf.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    titles: list[str] = []
    own = drawing.captioned
    monkeypatch.setattr(drawing, "captioned", lambda *words: titles.append(words[1]) or own(*words))
    asked = ["is there a dog?", "is there a cat?"]
    e = wf.explain(vqa, ["scenes:3", "scenes:4"], question=asked)
    e.sheet(1)
    wf.explain(vqa, "scenes:3", question=asked[0]).sheet()
    assert [title for title in titles if title.startswith("scenes")] == [
        "scenes:4: is there a cat?",
        "scenes:3: is there a dog?",
    ]


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
    assert done.report(telling.plain)["runs"][1] == {"name": "there", "error": done.ways["there"]}
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
