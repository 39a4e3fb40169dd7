"""Stimuli: counts by hand, pictures of exactly two categories, names that tell nothing, catch trials, seeds."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import wherefore as wf
from wherefore.datasets import opened
from wherefore.errors import Error
from wherefore.scenes.formats import export
from wherefore.study import choosing
from wherefore.study.design import Design
from wherefore.study.plan import LIKERT, Item
from wherefore.study.rendering import SIDE
from wherefore.study.stimuli import Stimuli, stimuli

METHODS = ("deconvnet", "guided-backprop", "deconv-grad-cam", "guided-grad-cam")
SMALL = Design("class-discrimination", pairs=6, ratings=2, workers=8)
TRUST = Design("trust", pairs=4, ratings=2, workers=8)


@pytest.fixture(scope="module")
def discrimination() -> Stimuli:
    return stimuli(SMALL)


@pytest.fixture(scope="module")
def trust() -> Stimuli:
    before, choosing.MEASURED = choosing.MEASURED, 40
    try:
        return stimuli(TRUST)
    finally:
        choosing.MEASURED = before


def labels_of(scene: str) -> set[str]:
    """What is in a scene, by the world it was drawn from."""
    return {thing.category for thing in wf.scenes.scene(int(scene.split(":")[1])).things}


def test_every_method_shows_both_categories_of_every_picture(discrimination: Stimuli) -> None:
    plan = discrimination.plan
    pictures = {item.picture for item in plan.items}
    assert len(pictures) == 3 and len(plan.items) == 3 * 2 * 4 and plan.methods == METHODS
    asked = Counter((item.picture, item.method, item.truth) for item in plan.items)
    assert asked == {(p, m, c): 1 for p in pictures for m in METHODS for c in labels_of(p)}
    for item in plan.items:
        assert set(item.options) == labels_of(item.picture) and item.truth == item.category and not item.catch
        assert len(item.files) == 1 and item.models == ()
    # 24 items x 2 ratings over 8 people; the true category stands first as often as second
    assert plan.trials == 6 and plan.ratings == 2 and plan.workers == 8
    assert sum(item.options[0] == item.truth for item in plan.items) == 12


def test_the_paper_s_numbers_are_the_usual_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    from wherefore.study import stimuli as module

    monkeypatch.setattr(module, "drawn", lambda pixels: b"")
    monkeypatch.setattr("wherefore.study.networks.Network.map", lambda self, *asked: np.zeros((3, 2, 2)))
    plan = stimuli(Design("class-discrimination")).plan
    assert (len(plan.items), plan.ratings, plan.workers, plan.trials) == (360, 9, 43, 76)
    assert len({(item.picture, item.category) for item in plan.items}) == 90
    monkeypatch.setattr(choosing, "MEASURED", 1)
    plan = stimuli(Design("trust")).plan
    assert (len(plan.items), plan.ratings, plan.workers, plan.trials) == (180, 9, 54, 30)
    assert Counter(item.method for item in plan.items) == {"guided-backprop": 90, "guided-grad-cam": 90}


def test_pictures_are_those_that_a_plain_loop_finds(tmp_path: Path) -> None:
    """Of 60 scenes as a VOC folder all with exactly two names in their XML are found, and no other."""
    export("voc", tmp_path, 60)
    twos = set()
    for path in tmp_path.rglob("Annotations/*.xml"):
        names = set(re.findall(r"<object>\s*<name>(.*?)</name>", path.read_text()))
        if len(names) == 2:
            twos.add(path.stem)
    data = opened(f"voc:{tmp_path}")
    design = replace(SMALL, data=f"voc:{tmp_path}", methods=("guided-backprop",), pairs=2 * len(twos))
    made = stimuli(design)
    assert {item.picture for item in made.plan.items} == twos and len(twos) > 5
    assert made.plan.source["pictures"]["looked at"] <= len(data)
    with pytest.raises(Error, match=rf"has {len(twos)} pictures with exactly two .* {len(twos) + 1} are needed"):
        stimuli(replace(design, pairs=design.pairs + 2))
    next(tmp_path.rglob(f"JPEGImages/{min(twos)}.*")).write_bytes(b"no picture")
    with pytest.raises(Error, match=f"has {len(twos) - 1} pictures with exactly two"):
        stimuli(design)


def test_categories_that_the_network_does_not_know_are_left_out() -> None:
    from wherefore.study.networks import Network

    model = wf.load("scenes:vgg")
    known = {name: (i,) for i, name in enumerate(model.classes or ()) if i % 2}
    chosen = choosing.of_two_categories(opened("scenes"), Network(model, known), 4, 0)
    for sample in (*chosen.shown, *chosen.catches):
        assert labels_of(sample.name) <= set(known)


def test_a_category_of_several_outputs_is_said_by_any_and_explained_by_its_best() -> None:
    from conftest import pooled
    from wherefore.datasets import Sample
    from wherefore.study.networks import Network

    net = pooled(classes=5)
    seen = wf.Preprocess(16, 16, (0.5,) * 3, (0.5,) * 3)
    model = wf.Model(net, list("abcde"), seen)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
    x = seen(picture)[None]
    scores = net(x)[0].tolist()
    best, second, third = sorted(range(5), key=lambda i: -scores[i])[:3]
    own = Network(model, {"dog": (third, best), "cat": (second,)})
    assert own.said(Sample("one", lambda: picture, ("cat", "dog"))) == "dog"
    assert own.said(Sample("two", lambda: picture, ("cat",))) == "", "its first is none of the labels"
    sample = Sample("three", lambda: picture, ("dog", "cat"))
    x.requires_grad_()
    gradient = torch.autograd.grad(net(x)[0, best], x)[0][0].numpy()
    assert np.allclose(own.map("gradient", sample, "dog"), gradient, atol=1e-6)
    # a network that is fed blue first: the map is turned, so that red comes first
    turned = Network(wf.Model(net, list("abcde"), replace(seen, bgr=True)), {"dog": (best,), "cat": (second,)})
    y = seen(picture)[None].flip(1).requires_grad_()
    gradient = torch.autograd.grad(net(y)[0, best], y)[0][0].numpy()
    assert np.allclose(turned.map("gradient", sample, "dog"), gradient[::-1], atol=1e-6)


def test_names_tell_nothing(discrimination: Stimuli, trust: Stimuli) -> None:
    for made in (discrimination, trust):
        items = (*made.plan.items, *made.plan.catches)
        names = [name for item in items for name in (item.id, *item.files)]
        assert len({*names}) == len(names) == len({name.removesuffix(".png") for name in names})
        assert all(re.fullmatch(r"[0-9a-f]{16}(\.png)?", name) for name in names)
        assert set(made.files) == {file for item in items for file in item.files}
        # their order is not that of the items: not even nearly
        order = np.argsort([item.files[0] for item in items])
        assert abs(np.corrcoef(order, np.arange(len(items)))[0, 1]) < 0.9
        for content in made.files.values():
            assert chunks(content) == {"IHDR", "IDAT", "IEND"}, "no metadata"
            assert Image.open(io.BytesIO(content)).size == (SIDE, SIDE), "sizes tell nothing"


def chunks(png: bytes) -> set[str]:
    """The kinds of chunks in a PNG file, read by hand."""
    found, at = set(), 8
    while at < len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        found.add(png[at + 4 : at + 8].decode())
        at += 12 + length
    return found


def test_photographs_catch(discrimination: Stimuli) -> None:
    plan = discrimination.plan
    assert len(plan.catches) == 2 and not {c.picture for c in plan.catches} & {item.picture for item in plan.items}
    for item in plan.catches:
        assert item.catch and labels_of(item.picture) == {item.truth} and item.truth in item.options
        [other] = {*item.options} - {item.truth}
        assert other not in labels_of(item.picture)
        shown = np.asarray(Image.open(io.BytesIO(discrimination.files[item.files[0]])), float)
        scene = wf.scenes.scene(int(item.picture.split(":")[1])).image.resize((SIDE, SIDE))
        assert np.abs(shown - np.asarray(scene, float)).mean() < 4, "it is the photograph itself"


def test_noise_catches(trust: Stimuli) -> None:
    for item in trust.plan.catches:
        assert item.truth == LIKERT[0] and item.options == LIKERT and item.catch and len(labels_of(item.picture)) == 1
        clear, noise = (
            np.asarray(Image.open(io.BytesIO(trust.files[file])).resize((96, 96), Image.Resampling.NEAREST)) - 128.0
            for file in item.files
        )
        # the same colours in other places: neighbours are no longer alike
        assert sorted(clear.reshape(-1, 3).tolist()) == sorted(noise.reshape(-1, 3).tolist())
        like = [
            np.corrcoef(np.abs(m).sum(2)[:, 1:].ravel(), np.abs(m).sum(2)[:, :-1].ravel())[0, 1] for m in (clear, noise)
        ]
        assert like[0] > 0.4 and abs(like[1]) < 0.1


def test_trust_is_about_what_both_networks_recognise(trust: Stimuli) -> None:
    """Against a forward pass of our own, and which is better against a count of our own."""
    plan, names = trust.plan, ("scenes:vgg", "scenes:alexnet")
    nets = {name: wf.load(name) for name in names}

    def first(name: str, picture: Image.Image) -> str:
        model = nets[name]
        x = np.asarray(picture.resize((96, 96), Image.Resampling.BILINEAR), np.float32) / 255
        with torch.no_grad():
            scores = model.net((torch.from_numpy(x).permute(2, 0, 1)[None] - 0.5) / 0.25)
        return (model.classes or ())[int(scores.argmax())]

    assert len(plan.items) == 8 and plan.methods == ("guided-backprop", "guided-grad-cam")
    for item in (*plan.items, *plan.catches):
        picture = wf.scenes.scene(int(item.picture.split(":")[1])).image
        assert [first(name, picture) for name in names] == [item.category] * 2
        assert item.category in labels_of(item.picture)
    for item in plan.items:
        assert item.models == names and item.options == LIKERT and item.truth == "" and len(item.files) == 2
    accuracy = plan.source["accuracy"]
    assert accuracy["scenes:vgg"] > accuracy["scenes:alexnet"]
    assert all(
        share * plan.source["pictures"]["looked at"] == pytest.approx(round(share * 40)) for share in accuracy.values()
    )


def test_the_better_network_is_first_whichever_is_named_first(monkeypatch: pytest.MonkeyPatch, trust: Stimuli) -> None:
    monkeypatch.setattr(choosing, "MEASURED", 40)
    other = stimuli(replace(TRUST, models=("scenes:alexnet", "scenes:vgg")))
    assert other.plan.items == trust.plan.items and other.files == trust.files


def test_the_first_file_is_the_better_network_s_map(trust: Stimuli) -> None:
    from wherefore.study.rendering import drawn

    item = trust.plan.items[0]
    for name, file in zip(item.models, item.files, strict=True):
        picture = wf.scenes.scene(int(item.picture.split(":")[1])).image
        e = wf.explain(wf.load(name), picture, item.category, method=item.method)
        assert e.pixels is not None and trust.files[file] == drawn(e.pixels[0][0].numpy())


def test_the_same_seed_is_the_same_study(discrimination: Stimuli) -> None:
    again, other = stimuli(SMALL), stimuli(replace(SMALL, seed=1))
    assert again.plan == discrimination.plan and again.files == discrimination.files
    assert again.plan.digest == discrimination.plan.digest != other.plan.digest
    assert not {*other.files} & {*again.files}
    assert {item.picture for item in other.plan.items} != {item.picture for item in again.plan.items}


def test_the_plan_says_where_it_is_from(discrimination: Stimuli) -> None:
    source = discrimination.plan.source
    assert source["comparable"] is False and source["data"] == "scenes" and source["wherefore"] == wf.__version__
    assert source["networks"] == {"scenes:vgg": wf.load("scenes:vgg").weights_sha256}
    assert source["layers"]["scenes:vgg"]["guided-grad-cam"] == "features.20"
    assert source["empty maps"] == dict.fromkeys(METHODS, 0)
    json.dumps(source, allow_nan=False)


def test_two_networks_of_one_name_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "MEASURED", 1)
    model = wf.load("scenes:vgg")
    state = {name: value * 1.001 for name, value in model.net.state_dict().items()}
    torch.save(state, tmp_path / "other.pth")
    torch.save(model.net.state_dict(), tmp_path / "same.pth")
    one, other = str(tmp_path / "same.pth"), str(tmp_path / "other.pth")
    design = replace(TRUST, models=("scenes:vgg", "scenes:vgg"), pairs=1, methods=("guided-backprop",))
    made = stimuli(replace(design, weights=(one, other), workers=2))
    assert len(made.plan.source["networks"]) == 2 and len({*made.plan.items[0].models}) == 2
    with pytest.raises(Error, match="given twice with the same weights"):
        stimuli(design)


@pytest.mark.parametrize(
    ("design", "words"),
    [
        (Design("discrimination"), "kind of study"),  # type: ignore[arg-type]
        (replace(SMALL, pairs=5), "--pairs is at least 2, and even: both categories of each picture; not 5"),
        (replace(TRUST, pairs=0), "--pairs is at least 1; not 0"),
        (replace(SMALL, models=("scenes:vgg", "scenes:alexnet")), "about 1 network, not 2"),
        (replace(TRUST, models=("scenes:vgg",)), "about 2 networks, not 1"),
        (replace(SMALL, weights=("a", "b")), "2 files of weights for 1"),
        (replace(SMALL, methods=("guided",)), "guided-backprop"),
        (replace(SMALL, methods=("grad-cam",)), "grad-cam draws no picture of its own"),
        (replace(SMALL, models=("scenes:places",)), "give a network for these classes"),
        (replace(SMALL, models=("scenes:vqa",)), "take a network that classifies"),
        (replace(SMALL, workers=3), "2 ratings of each item need 4 workers"),
        (replace(SMALL, workers=0), "a rating of each and a worker at least"),
        (replace(SMALL, data="scenes:pair"), "has 0 pictures with one category"),
        (replace(SMALL, data="scenes:single", pairs=2), "has 0 pictures with exactly two categories"),
        (replace(TRUST, data="scenes:people"), "among the network's"),
    ],
)
def test_what_cannot_be_made_is_one_sentence(design: Design, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "SOUGHT", 10)
    with pytest.raises(Error, match=re.escape(words)) as raised:
        stimuli(design)
    assert "\n" not in str(raised.value)


def test_items_are_what_the_plan_s_contract_says(discrimination: Stimuli, trust: Stimuli) -> None:
    for made in (discrimination, trust):
        for item in (*made.plan.items, *made.plan.catches):
            assert isinstance(item, Item) and made.plan.by_id[item.id] is item and item.picture in made.samples
