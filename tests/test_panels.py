"""Pages of one picture explained in several ways, from Python and from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

import wherefore as wf
from conftest import hidden, pooled, untouched
from fixtures_doors import photo, squeezenet  # noqa: F401
from test_cli import explain, files, picture, wherefore  # noqa: F401
from wherefore import drawing, panels
from wherefore.explanation import Picture
from wherefore.layers import find_layers
from wherefore.registry import METHODS
from wherefore.targets import choose


@pytest.fixture
def model() -> wf.Model:
    return wf.Model(pooled(), ["a", "b", "c", "d", "e"], wf.Preprocess(resize=18, crop=16), name="toy")


def shown(width: int = 60, height: int = 40) -> Picture:
    return Picture("photo.png", photo(width, height), (0, 0, 0, 0))


def test_every_method_on_one_page(model: wf.Model) -> None:
    with untouched(model.net):
        done = panels.panel(panels.by_method(model, ["all"]), shown(), ["a", "d"])
    assert list(done.explanations) == list(METHODS) and not done.failures
    for name, e in done.explanations.items():
        alone = wf.explain(model, shown().image, ["a", "d"], method=name)
        torch.testing.assert_close(e.maps, alone.maps)
    page = done.page()
    tiles = len(METHODS) + 1
    columns = panels._columns(tiles)
    assert page.width == columns * (60 + 12) + 12  # a small picture is not enlarged
    assert page.height == 2 * (54 + -(-tiles // columns) * (40 + 40 + 12)) + 12


def test_a_tile_is_the_overlay_made_small(model: wf.Model) -> None:
    """Region and colours of a shrunk copy fit those of the picture itself."""
    large = shown(960, 640)
    done = panels.panel(panels.by_method(model, ["grad-cam", "guided-backprop"]), large, ["b"])
    small = large.within(panels.TILE)
    for e in done.explanations.values():
        tile = np.asarray(e.drawn_on(small, 0), float)
        whole = np.asarray(e.overlay(legend=False).resize(small.size, Image.Resampling.BOX), float)
        assert tile.shape == whole.shape and np.abs(tile - whole).mean() < 12


def test_what_cannot_be_done_says_why_on_its_tile() -> None:
    model = wf.Model(hidden(), preprocess=wf.Preprocess(resize=18, crop=16))
    done = panels.panel(panels.by_method(model, ["grad-cam", "cam"]), shown(), 0)
    assert list(done.explanations) == ["grad-cam"] and "average pooling and one linear" in done.failures["cam"]
    first, second = done.report()
    assert "error" not in first and "pooling" in second["error"]
    assert done.page().size == (3 * 72 + 12, 54 + 92 + 12)
    with pytest.raises(wf.Error, match="average pooling and one linear"):
        panels.panel(panels.by_method(model, ["cam"]), shown(), 0)


def test_reasons_are_wrapped_and_cut() -> None:
    tile = drawing.excused(
        (100, 60), "x-cam", "a long sentence that goes over several lines and then over the end " * 5
    )
    assert tile.size == (100, 100)
    assert drawing._wrapped("aa bb", 1, 12) == ["aa", "bb"] and drawing._wrapped("aa bb", 500, 12) == ["aa bb"]


def test_rows_of_tiles() -> None:
    assert [panels._columns(n) for n in (1, 3, 6, 7, 12, 25, 64)] == [1, 3, 6, 7, 6, 9, 8]


def test_options_and_layers_go_to_those_that_take_them(model: wf.Model) -> None:
    ways = panels.by_method(model, ["grad-cam", "gradient", "occlusion"], "features.0", pooling="max", patch=4)
    assert ways["grad-cam"].options == {"pooling": "max"} and ways["grad-cam"].layer == "features.0"
    assert ways["gradient"].options == {} and ways["gradient"].layer is None
    assert ways["occlusion"].options == {"patch": 4}
    with pytest.raises(wf.Error, match="'patch' is an option of none of grad-cam, cam"):
        panels.by_method(model, ["grad-cam", "cam"], patch=4)


def test_every_layer(model: wf.Model, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    shown().image.save(path)
    images = torch.zeros(1, 3, 16, 16)
    every = [layer.name for layer in find_layers(model.net, images, lambda out: choose(None, out)).every]
    ways = panels.by_layer(model, path, "all")
    assert list(ways) == every and len(every) > 3
    assert list(panels.by_layer(model, path, "features.*")) == [n for n in every if n.startswith("features.")]
    done = panels.panel(ways, shown(), 1)
    for name, e in done.explanations.items():
        assert e.layer == name
        torch.testing.assert_close(e.maps, wf.explain(model, shown().image, 1, layer=name).maps)
    with pytest.raises(wf.Error, match="no layer's name fits 'nothing\\*'"):
        panels.by_layer(model, path, "nothing*")


def test_a_sweep_traces_the_network_once(model: wf.Model, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    shown().image.save(path)
    passes: list[nn.Module] = []
    model.net.register_forward_hook(lambda *_: passes.append(model.net))
    ways = panels.by_layer(model, path, "all")
    panels.panel(ways, shown(), 1)
    assert len(passes) == 1 + len(ways)


# -------------------------------------------------------------------------------------------- command line


def test_page_from_the_command_line(explain, picture: Path) -> None:  # noqa: F811
    done = explain(picture, "--method", "grad-cam", "--method", "gradient", "-t", 3, "-t", 5, "--out", "o", "--json")
    assert done.status == 0 and files() == ["o", "o/cat.page.jpg", "o/cat.safetensors", "o/manifest.json"]
    assert done.json["method"] == ["grad-cam", "gradient"] and len(done.json["weights_sha256"]) == 64
    (image,) = done.json["images"]
    assert image["size"] == [301, 203] and image["files"]["page"] == "o/cat.page.jpg"
    assert [(run["name"], len(run["targets"])) for run in image["runs"]] == [("grad-cam", 2), ("gradient", 2)]
    maps = load_file("o/cat.safetensors")
    assert {name: m.shape[0] for name, m in maps.items()} == {"grad-cam": 2, "gradient": 2}
    assert maps["gradient"].shape[1:] == (224, 224)
    assert json.loads(Path("o/manifest.json").read_text()) == done.json
    text = explain(picture, "--method", "grad-cam", "--method", "gradient", "-t", 3).out
    assert "cat.png  301x203" in text and "gradient  looked hardest at " in text and "cat.page.jpg" in text


def test_layers_from_the_command_line(explain, picture: Path) -> None:  # noqa: F811
    done = explain(picture, "--layer", "features.12*", "-t", 3, "--json")
    names = [run["name"] for run in done.json["images"][0]["runs"]]
    assert len(names) >= 5 and all(name.startswith("features.12") for name in names) and files() == []


def test_a_folder_of_pages_survives_bad_pictures(explain, picture: Path) -> None:  # noqa: F811
    (picture.parent / "broken.png").write_bytes(b"no picture")
    done = explain(picture, picture.parent / "broken.png", "--method", "grad-cam", "--method", "cam", "--out", "o")
    assert done.status == 1 and "broken.png is not a picture" in done.err and "o/cat.page.jpg" in files()


def test_wrong_ways_are_one_sentence(explain, picture: Path) -> None:  # noqa: F811
    both = explain(picture, "--method", "all", "--layer", "all")
    assert both.status == 2 and "several methods or several layers, not both" in both.err
    for words, said in [
        (("-O", "pool=max"), "did you mean pooling?"),
        (("-O", "pooling"), "give NAME=VALUE"),
        (("-O", "relu=maybe"), "give true or false"),
        (("--method", "occlusion", "-O", "patch=wide"), "'wide' is no number"),
        (("--method", "occlusion", "-O", "patch=900"), "a patch of 900 pixels"),
        (("--method", "gradient", "--layer", "features"), "takes no layer"),
        (("--method", "grad-cam", "--method", "graad-cam"), "did you mean grad-cam"),
        (("--method", "gradient", "--flips"), "serves methods that explain a layer"),
    ]:
        done = explain(picture, *words)
        assert done.status == 2 and said in done.err and done.err.count("\n") == 1, done.err
    assert files() == []


def test_options_reach_the_method(explain, picture: Path) -> None:  # noqa: F811
    plain, largest = (explain(picture, "-t", 3, "--json", *more).json for more in ((), ("-O", "pooling=max")))
    assert largest["options"] == {"pooling": "max"} and plain["options"] == {}
    assert plain["images"][0]["targets"][0]["evidence"] != largest["images"][0]["targets"][0]["evidence"]
    occluded = explain(picture, "--method", "occlusion", "-O", "patch=100", "-O", "stride=62", "-t", 3, "--json").json
    assert occluded["grid"] == [3, 3] and occluded["layer"] == "input"


def test_one_method_told(wherefore) -> None:  # noqa: F811
    said = wherefore("methods", "occlusion").out
    assert "y(x with patch p set to fill)" in said and "patch=None" in said and "Zeiler" in said
    assert wherefore("methods", "oclusion").status == 2
    assert wherefore("methods", "grad-cam", "--json").json[0]["options"]["pooling"] == "mean"
