"""Explanations in words: units' weights against finite differences, what is said of them, and the command line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import wherefore as wf
from conftest import Hidden
from page_reader import check
from test_cli import refused, wherefore  # noqa: F401
from test_dissect import SIDE, Channels, network
from wherefore.concepts import Named, names
from wherefore.concepts.units import weighed
from wherefore.errors import Error

UNITS = [
    Named(0, "red-c", "color", 0.3, 0.9), Named(1, "grass", "object", 0.2, 0.9),
    Named(2, "sky", "object", 0.05, 0.9), Named(3, "street-s", "scene", 0.1, 0.9),
]  # fmt: skip
WEIGHTS = [[3.0, 1.0, 2.0, 4.0], [1.0, 2.0, -1.0, -2.0], [-1.0, -2.0, -3.0, 5.0]]


def model() -> wf.Model:
    found = network()
    assert isinstance(found.net, Channels)
    with torch.no_grad():
        found.net.fc.weight.copy_(torch.tensor(WEIGHTS))
        found.net.fc.bias.zero_()
    return found


PICTURE = Image.new("RGB", (SIDE, SIDE), (250, 130, 60))


def test_weights_are_those_of_finite_differences() -> None:
    """alpha_k is the mean gradient: what the score gains where all of the unit's map grows by the same."""
    net, images = Hidden().eval().double(), torch.rand(2, 3, 16, 16, dtype=torch.float64)
    e = wf.explain(net, images, [[1, 4], [0, 2]], layer="conv2")
    for image, found in enumerate(weighed(e)):
        shape = (1, *found.maps.shape)
        assert shape[1] == 8 and found.alphas.shape == (2, 8)
        for t, target in enumerate(e.classes[image].tolist()):
            for unit in (0, 5):
                ends = []
                for step in (1e-5, -1e-5):
                    added = torch.zeros(shape, dtype=torch.float64)
                    added[:, unit] = step
                    hook = net.conv2.register_forward_hook(lambda m, i, o, a=added: o + a)
                    ends.append(float(net(images[image : image + 1])[0, target].detach()))
                    hook.remove()
                positions = shape[2] * shape[3]
                assert float(found.alphas[t, unit]) == pytest.approx((ends[0] - ends[1]) / 2e-5 / positions, rel=1e-4)
            scores = net(images[image : image + 1])[0].detach()
            rival, found_rival = max((float(s), i) for i, s in enumerate(scores) if i != target), found.rivals[t]
            assert found_rival is not None and found_rival.name == f"class {rival[1]}"[-len(found_rival.name) :]
            assert found_rival.ahead == (rival[0] > float(scores[target]))


def test_what_is_said_by_hand() -> None:
    [[one]] = wf.words(wf.explain(model(), PICTURE), UNITS)
    assert [each.unit.unit for each in one.reasons] == [3, 0, 2, 1] and one.target == "one"
    assert [each.alpha * SIDE**2 for each in one.reasons] == pytest.approx([4, 3, 2, 1], rel=1e-5)
    assert [each.active for each in one.reasons] == [False, True, True, True] and not one.doubts
    assert one.turn is not None and one.turn.rival.name == "two"  # 1 red + 2 green - 1 blue
    assert [each.unit.unit for each in one.turn.less] == [2], "of what fires; the fourth unit does not"
    assert (
        str(one)
        == "It says 'one' because of units for red, sky and grass. With less sky it would rather have said 'two'."
    )


def test_of_what_it_does_not_say() -> None:
    [[one]] = wf.words(wf.explain(model(), PICTURE, "two"), UNITS)
    assert [each.unit.plain for each in one.reasons] == ["grass", "red"]
    assert [each.unit.plain for each in one.doubts] == ["street", "sky"], "the strongest first"
    assert (
        str(one) == "For 'two' speak units for grass and red. With less sky it would rather have said 'two' than 'one'."
    )
    [[third]] = wf.words(wf.explain(model(), PICTURE, "three"), UNITS)
    assert str(third) == "No unit with a name that fires here speaks strongly for 'three'."


def test_units_without_a_name_do_not_appear_and_ranks_are_those_of_all() -> None:
    some = [UNITS[0], UNITS[1]._replace(iou=0.049), UNITS[2], UNITS[3]._replace(iou=0.0)]
    [[one]] = wf.words(wf.explain(model(), PICTURE, "one"), some)
    assert [(each.unit.unit, each.rank) for each in one.reasons] == [(0, 1), (2, 2)]
    [[most]] = wf.words(wf.explain(model(), PICTURE, "one"), UNITS, most=1)
    assert [each.unit.unit for each in most.reasons] == [3]


def test_names_by_text_are_said_to_be() -> None:
    by_text = [each._replace(category=names.TEXT, iou=math.nan) for each in UNITS]
    [[one]] = wf.words(wf.explain(model(), PICTURE), by_text)
    assert str(one).endswith("(Units named by text.)") and one.report()["reasons"][0]["iou"] is None
    json.dumps(one.report(), allow_nan=False)


def test_targets_that_are_no_classes() -> None:
    [[one]] = wf.words(wf.explain(model(), PICTURE, wf.Difference("two", "one")), UNITS)
    assert one.turn is None and [each.unit.plain for each in one.reasons] == ["grass"]
    assert "With more street and sky and less grass it would rather have said something else." in str(one)
    other = lambda output: output[:, 1]  # noqa: E731
    two = wf.explain(model(), [PICTURE, PICTURE.rotate(90)], other)
    assert len(wf.words(two, UNITS)) == 2


def test_what_cannot_be_told() -> None:
    with pytest.raises(Error, match="the names are of 1 units, and features has 4: dissect that layer"):
        wf.words(wf.explain(model(), PICTURE), UNITS[:1])
    with pytest.raises(Error, match="explains no layer, and so no units: take grad-cam"):
        wf.words(wf.explain(model(), PICTURE, method="gradient"), UNITS)


def test_names_of_another_network_are_refused(tmp_path: Path) -> None:
    own, e = model(), wf.explain(model(), PICTURE)
    of = {"model": "mine", "weights_sha256": own.weights_sha256, "layer": "features", "data": "toy"}
    path = names.write(UNITS, tmp_path / "units.csv", of)
    assert json.loads((tmp_path / "units.json").read_text()) == {key: of[key] for key in names.OF}
    assert len(wf.words(e, path)) == len(wf.words(e, names.read(path))) == 1
    for other, said in (
        ({"layer": "features.0"}, "the names are of features.0 of mine: dissect features of"),
        ({"weights_sha256": "another"}, "the names are of features of mine with other weights: dissect features of"),
    ):
        names.write(UNITS, path, {**of, **other})
        with pytest.raises(Error, match=said):
            wf.words(e, path)
    (tmp_path / "units.json").write_text('{"model": "mine"}')
    with pytest.raises(Error, match="does not say model, weights_sha256, layer of the names beside it"):
        names.read(path)
    (tmp_path / "units.json").unlink()
    assert len(wf.words(e, path)) == 1, "nobody knows what they are of"


def test_the_figure_shows_the_units(tmp_path: Path) -> None:
    pictures = [PICTURE, PICTURE.resize((90, 40))]
    for [one] in wf.words(wf.explain(model(), pictures, "two"), UNITS):
        drawn = one.figure()
        assert drawn.width == 2 * 446 + 3 * 12 and drawn.height > drawn.width / 2
    [[bare]] = wf.words(wf.explain(model(), PICTURE, "three"), [each._replace(iou=0.0) for each in UNITS])
    assert not bare.reasons and bare.figure().height > 0, "nothing to draw but the picture"


# -------------------------------------------------------------------------------------------- the command line


@pytest.mark.slow
def test_dissect_and_explain_on_the_command_line(wherefore: Any, tmp_path: Path) -> None:  # noqa: F811
    out = tmp_path / "names" / "units.csv"
    done = wherefore("dissect", "--model", "scenes:places", "--limit", "20", "--out", out)
    assert done.status == 0 and "units of features.20 have a name" in done.out and str(out) in done.out
    again = wherefore("dissect", "--model", "scenes:places", "--limit", "20", "--out", out, "--json")
    report = json.loads(again.out)
    assert report["pictures"] == 20 and not report["by_text"] and len(report["units"]) == len(names.read(out))
    assert report["named"] == sum(each.has_name for each in names.read(out)) > 0
    assert names.read(out).of["model"] == "scenes:places" and names.read(out).of["layer"] == "features.20"
    assert "unit" in check(Path(report["page"])).words
    told = wherefore(
        "explain", "scenes:17", "--model", "scenes:places", "-t", "top5", "--words", out, "--out", tmp_path, "--json"
    )
    targets = json.loads(told.out)["images"][0]["targets"]
    assert len(targets) == 5 and targets[0]["words"]["text"].startswith("It says 'beach' because of units for")
    for each in targets[0]["words"]["reasons"]:
        assert set(each) == {"unit", "name", "category", "iou", "alpha", "rank", "active"} and each["alpha"] > 0
    assert Path(targets[0]["files"]["words"]).name == "scenes-17.beach.words.jpg"
    with Image.open(targets[0]["files"]["words"]) as drawn:
        assert drawn.width > 500


@pytest.mark.slow
def test_names_by_text_on_the_command_line(wherefore: Any, tmp_path: Path) -> None:  # noqa: F811
    from fixtures_transformers import SIDES, clip, hf, saved, wordpiece

    processor = hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SIDES)
    namer, out = saved(tmp_path / "clip", clip(), processor, wordpiece()), tmp_path / "units.csv"
    done = wherefore(
        "dissect", "--limit", "6", "--prompts", "the cat, dogs sat on", "--namer", namer, "--out", out, "--json"
    )
    report = json.loads(done.out)
    assert report["by_text"] and all(each["iou"] is None for each in report["units"])
    assert {each.category for each in names.read(out)} == {"text"}
    assert "another method than Network Dissection" in check(Path(report["page"])).words
    told = wherefore("explain", "scenes:17", "--model", "scenes:places", "--words", out, "--json")
    said = json.loads(told.out)["images"][0]["targets"][0]["words"]
    assert said["text"].endswith("(Units named by text.)") and said["reasons"][0]["iou"] is None


def test_bad_input_on_the_command_line(wherefore: Any, tmp_path: Path) -> None:  # noqa: F811
    few = names.write(UNITS, tmp_path / "few.csv")
    for arguments, sentence in (
        (["explain", "scenes:1", "--model", "scenes:places", "--words", few], "the names are of 4 units"),
        (["explain", "scenes:1", "--model", "scenes:places", "--words", few, "--layer", "all"], "give one --method"),
        (["dissect", "--out", "units.txt"], "--out is a CSV file"),
        (["dissect", "--prompts", "dog", "--out", tmp_path / "units.csv"], "--prompts takes two at least"),
        (
            ["dissect", "--prompts", "dog, cat", "--namer", "resnet50", "--out", tmp_path / "units.csv"],
            "and not resnet50",
        ),
        (["dissect", "--data", "broden:nowhere", "--out", tmp_path / "units.csv"], "nowhere does not exist"),
        (["explain", "scenes:1", "--model", "scenes:places", "--words", "none.csv"], "none.csv does not exist"),
    ):
        refused(wherefore(*arguments), sentence)
    assert not (tmp_path / "units.maps").exists() and not (tmp_path / "units.csv").exists()
