"""Pages of one picture explained in several ways, from Python and from the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

import wherefore as wf
from conftest import hidden, pooled, untouched
from fixtures_doors import photo, squeezenet  # noqa: F401
from test_cli import explain, files, picture, wherefore  # noqa: F401
from wherefore import panels, tiling
from wherefore.layers import find_layers
from wherefore.registry import METHODS
from wherefore.subjects import Picture
from wherefore.targets import choose
from wherefore.ways import asked, by_layer, by_method


@pytest.fixture
def model() -> wf.Model:
    return wf.Model(pooled(), ["a", "b", "c", "d", "e"], wf.Preprocess(resize=18, crop=16), name="toy")


def shown(width: int = 60, height: int = 40) -> Picture:
    return Picture("photo.png", photo(width, height), (0, 0, 0, 0))


def places(page: Image.Image, part: Image.Image) -> list[tuple[int, int]]:
    """Where on a page a picture stands, pixel by pixel: its left upper corners as row, column."""
    large, small = np.asarray(page), np.asarray(part)
    height, width = small.shape[:2]
    rows, columns = np.nonzero((large[: 1 - height or None, : 1 - width or None] == small[0, 0]).all(2))
    found = zip(rows.tolist(), columns.tolist(), strict=True)
    return [(y, x) for y, x in found if (large[y : y + height, x : x + width] == small).all()]


def overlays(e: wf.Explanation, on: Picture, scale: str = "each") -> list[Image.Image]:
    """The overlays of an explanation on a copy of its picture."""
    small = replace(e, pictures=[replace(e.pictures[0], source=on.image, region=on.region)])
    return list(small.overlays(0, legend=False, scale=scale))


def test_every_method_on_one_page(model: wf.Model) -> None:
    with untouched(model.net):
        done = panels.panel(by_method(model, ["all", "cam"]), shown(), ["a", "d"])
    assert list(done.explanations) == list(METHODS) and not done.failures
    for name, e in done.explanations.items():
        alone = wf.explain(model, shown().image, ["a", "d"], method=name)
        torch.testing.assert_close(e.maps, alone.maps)
    page = done.page()
    assert len(places(page, shown().image)) >= 2  # a small picture is not enlarged; beside it maps without evidence
    spots = [[places(page, drawn) for drawn in overlays(e, done.picture)] for e in done.explanations.values()]
    assert all(at for target in spots for at in target)
    alike = [len(one) > 1 or len(other) > 1 for one, other in spots]  # maps without evidence, and that of eigen-cam
    clear = [(one[0], other[0]) for (one, other), same in zip(spots, alike, strict=True) if not same]
    first, second = zip(*clear, strict=True)
    assert len(clear) > 12 and max(first) < min(second)  # row by row
    assert list(first) == sorted(first) and list(second) == sorted(second)


def test_a_tile_is_the_overlay_made_small(model: wf.Model) -> None:
    """Region and colours of a shrunk copy fit those of the picture itself."""
    large = shown(960, 640)
    done = panels.panel(by_method(model, ["grad-cam", "guided-backprop"]), large, ["b"])
    for e in done.explanations.values():
        small = e.within(240)
        assert small.pictures[0].size == (240, 160) and e.pictures[0].size == (960, 640)
        tile = np.asarray(next(small.overlays(0, legend=False)), float)
        whole = np.asarray(e.overlay(legend=False).resize((240, 160), Image.Resampling.BOX), float)
        assert np.abs(tile - whole).mean() < 12
    page = done.page()  # of three tiles, which are larger
    (e, _) = done.explanations.values()
    assert places(page, next(e.within(320).overlays(0, legend=False)))
    assert not places(page, next(e.within(240).overlays(0, legend=False)))


def test_a_page_of_many_tiles_has_small_ones(model: wf.Model) -> None:
    names = ["grad-cam", "cam", "layer-cam", "eigen-cam", "xgrad-cam", "grad-cam++"]
    done = panels.panel(by_method(model, names), shown(960, 640), ["b"])
    assert places(done.page(), done.picture.within(240).image)


def test_what_cannot_be_done_says_why_on_its_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    model = wf.Model(hidden(), preprocess=wf.Preprocess(resize=18, crop=16))
    done = panels.panel(by_method(model, ["cam", "grad-cam"]), shown(), 0)
    assert list(done.ways) == ["cam", "grad-cam"] and list(done.explanations) == ["grad-cam"]
    assert "average pooling and one linear" in done.failures["cam"]
    first, second = done.report()
    assert (first["name"], second["name"]) == ("cam", "grad-cam")
    assert "pooling" in first["error"] and "error" not in second
    said: list[tuple[object, ...]] = []
    monkeypatch.setattr(tiling, "excused", lambda *words: said.append(words) or shown().image)
    page = done.page()
    assert said == [((60, 40), "cam", done.failures["cam"], 20)]
    (_, column) = places(page, overlays(done.first, done.picture)[0])[0]
    assert column == max(x for _, x in [*places(page, shown().image), (0, column)])  # the failure keeps its place
    with pytest.raises(wf.Error, match="average pooling and one linear"):
        panels.panel(by_method(model, ["cam"]), shown(), 0)


@pytest.mark.parametrize("error", [RuntimeError, TypeError, IndexError, MemoryError, torch.OutOfMemoryError])
def test_a_method_that_breaks_has_its_tile(model: wf.Model, error: type[Exception]) -> None:
    def breaks(*_: object, **__: object) -> None:
        raise error("went wrong here\nand there")

    ways = by_method(model, ["grad-cam", "layer-cam", "gradient"])
    ways["grad-cam"].run = breaks
    done = panels.panel(ways, shown(), 1)
    assert done.failures == {"grad-cam": "went wrong here"} and list(done.ways) == ["grad-cam", "layer-cam", "gradient"]
    assert done.first is done.explanations["layer-cam"]
    done.page()


def test_a_picture_that_overflows_does_not_end_the_run(tmp_path: Path) -> None:
    class Overflows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = pooled()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x * (torch.inf if float(x.detach().max()) < 0 else 1))  # black, after normalisation

    paths = [tmp_path / "black.png", tmp_path / "photo.png"]
    Image.new("RGB", (30, 30)).save(paths[0])
    shown().image.save(paths[1])
    net = wf.Model(Overflows(), preprocess=wf.Preprocess(resize=18, crop=16))
    black, good = panels.PanelRun(by_method(net, ["grad-cam", "gradient"], "net.features.3"), paths, 1)
    assert set(black) == {"image", "error"} and f"{paths[0]}: " in black["error"] and "not finite" in black["error"]
    assert [run["name"] for run in good["runs"]] == ["grad-cam", "gradient"]


def test_a_wrong_target_is_said_at_once(model: wf.Model) -> None:
    ways, tried = by_method(model, ["all"]), []
    for name, explainer in ways.items():
        explainer.run = lambda *_, name=name, run=explainer.run, **more: tried.append(name) or run(*_, **more)
    with pytest.raises(wf.Error, match="class 77 is out of range: the model has 5 classes"):
        panels.panel(ways, shown(), 77)
    assert len(tried) <= 1


def test_at_most_fifteen_targets_are_drawn_once_each(model: wf.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    own = wf.Explanation._overlay
    monkeypatch.setattr(wf.Explanation, "_overlay", lambda e, b, t, *more: drawn.append(t) or own(e, b, t, *more))
    said = foot(monkeypatch)
    wide = wf.Model(pooled(classes=40), preprocess=wf.Preprocess(resize=18, crop=16))
    panels.panel(by_method(wide, ["grad-cam", "gradient"]), shown(), "all").page()
    assert drawn == [*range(15), *range(15)] and "25 more targets are not drawn" in said[0]


def foot(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The words below the pages that are drawn from now on."""
    said: list[str] = []
    own = tiling.page
    monkeypatch.setattr(
        tiling, "page", lambda blocks, columns, words, size: said.append(words) or own(blocks, columns, words, size)
    )
    return said


def test_the_words_of_a_page(model: wf.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    heads, notes = [], []
    own, tile = tiling.page, tiling.tile
    monkeypatch.setattr(tiling, "page", lambda blocks, *more: heads.extend(blocks) or own(blocks, *more))
    monkeypatch.setattr(tiling, "tile", lambda *words, **more: notes.append(words[1:3]) or tile(*words, **more))
    done = panels.panel(by_method(model, ["grad-cam", "counterfactual"], fit="squash"), shown(), ["a", "d"])
    done.ways["counterfactual"].maps[0, 1] = 0
    images = wf.Explainer(model, fit="squash").prepare(shown()).tensor[None]
    done.page()
    for t, block in enumerate(heads):
        p = torch.softmax(model.net(images), 1)[0, (0, 3)[t]]
        assert block.heading == "ad"[t] and f"p {p:.3f}" in block.detail and block.detail.endswith("toy, squash")
    (a, b), (c, _) = (e.evidence[0].tolist() for e in done.explanations.values())
    assert min(a, b, c) > 0 and notes[:2] == [("photo.png",)] * 2
    assert notes[2:4] == [("grad-cam", f"up to {a:.3g}"), ("grad-cam", f"up to {b:.3g}")]
    assert notes[4:] == [("counterfactual", f"up to {c:.3g}"), ("counterfactual", "no positive evidence")]
    said = foot(monkeypatch)
    done.page()
    done.page(scale="common")
    assert "to its own maximum" in said[0] and "share a scale over all targets" in said[1]


def test_one_scale_for_all_targets_of_a_method(model: wf.Model) -> None:
    done = panels.panel(by_method(model, ["grad-cam", "gradient"]), shown(), [0, 1, 2, 3, 4])
    each, common = done.page(), done.page(scale="common")
    for e in done.explanations.values():
        pairs = list(zip(overlays(e, done.picture), overlays(e, done.picture, "common"), strict=True))
        assert all(places(each, one) and places(common, other) for one, other in pairs)
        same = [one == other for one, other in pairs]
        assert any(same) and not all(same)  # that with the highest is as before


def test_reasons_are_wrapped_and_cut() -> None:
    long = "a long sentence that goes over several lines and then over the end " * 5
    tile = tiling.excused((100, 60), "x-cam", long)
    assert tile.width == 100 and tile.height > 60
    assert tiling.wrapped("aa bb", 1, 12) == ["aa", "bb"] and tiling.wrapped("aa bb", 500, 12) == ["aa bb"]


def test_rows_of_tiles() -> None:
    assert [panels._columns(n) for n in (1, 3, 6, 7, 12, 25, 64)] == [1, 3, 6, 7, 6, 9, 8]


def test_options_and_layers_go_to_those_that_take_them(model: wf.Model) -> None:
    ways = by_method(model, ["grad-cam", "gradient", "occlusion"], "features.0", pooling="max", patch=4)
    assert ways["grad-cam"].options == {"pooling": "max"} and ways["grad-cam"].layer == "features.0"
    assert ways["gradient"].options == {} and ways["gradient"].layer is None
    assert ways["occlusion"].options == {"patch": 4}
    with pytest.raises(wf.Error, match="'patch' is an option of none of grad-cam, cam"):
        by_method(model, ["grad-cam", "cam"], patch=4)


def test_flips_go_to_the_methods_that_look_at_a_layer(model: wf.Model) -> None:
    ways = by_method(model, ["all"], flips=True)
    assert list(ways) == list(METHODS)
    pixels = {"gradient", "deconvnet", "guided-backprop", "guided-grad-cam", "deconv-grad-cam", "occlusion"}
    assert {name for name, w in ways.items() if not w.flips} == pixels | {"winsor-cam", "fullgrad"}
    done = panels.panel(ways, shown(), 1)
    assert not done.failures
    torch.testing.assert_close(done.explanations["grad-cam"].maps, wf.explain(model, shown().image, 1, flips=True).maps)
    with pytest.raises(wf.Error, match="none of gradient, deconvnet takes flips: they smooth"):
        by_method(model, ["gradient", "deconvnet"], flips=True)


def test_a_wrong_layer_is_said_before_anything_runs(model: wf.Model) -> None:
    with pytest.raises(wf.Error, match=r"'featurs.0': did you mean features"):
        by_method(model, ["gradient", "grad-cam"], "featurs.0")
    assert by_method(model, ["grad-cam"], "features.2:0")["grad-cam"].layer == "features.2:0"


@pytest.mark.parametrize(
    "layer, several",
    [
        ("all", 4),
        ("features.*", 4),
        ("features.?", 4),
        ("features.[0-1]", 2),
        ("features.[!0]", 3),
        ("features.0", 1),
        ("features[out]", 1),
    ],
)
def test_what_is_a_pattern(model: wf.Model, tmp_path: Path, layer: str, several: int) -> None:
    paths = [tmp_path / "bad.txt", tmp_path / "photo.png"]
    paths[0].write_text("no picture")
    shown().image.save(paths[1])
    ways = asked(model, paths, ["grad-cam"], layer)
    assert isinstance(ways, wf.Explainer) if several == 1 else len(ways) >= several
    if several > 1:
        with pytest.raises(wf.Error, match="not both"):
            asked(model, paths, ["all"], layer)
        with pytest.raises(wf.Error, match="is not a picture"):
            asked(model, paths[:1], ["grad-cam"], layer)


def test_every_layer(model: wf.Model) -> None:
    images = torch.zeros(1, 3, 16, 16)
    every = [layer.name for layer in find_layers(model.net, images, lambda out: choose(None, out)).every]
    ways = by_layer(model, shown(), "all")
    assert list(ways) == every and len(every) > 3
    assert list(by_layer(model, shown(), "features.*")) == [n for n in every if n.startswith("features.")]
    done = panels.panel(ways, shown(), 1)
    for name, e in done.explanations.items():
        assert e.layer == name
        torch.testing.assert_close(e.maps, wf.explain(model, shown().image, 1, layer=name).maps)
    with pytest.raises(wf.Error, match="no layer's name fits 'nothing\\*'"):
        by_layer(model, shown(), "nothing*")


def test_a_sweep_traces_the_network_once(model: wf.Model) -> None:
    passes: list[nn.Module] = []
    model.net.register_forward_hook(lambda *_: passes.append(model.net))
    ways = by_layer(model, shown(), "all")
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
    assert "cat.png  301x203" in text and "  gradient  tiger shark peak " in text and "cat.page.jpg" in text


def test_layers_from_the_command_line(explain, picture: Path) -> None:  # noqa: F811
    done = explain(picture, "--layer", "features.12*", "-t", 3, "--json")
    names = [run["name"] for run in done.json["images"][0]["runs"]]
    assert len(names) >= 5 and all(name.startswith("features.12") for name in names) and files() == []


def test_pages_say_how_each_way_was_made(explain, picture: Path) -> None:  # noqa: F811
    ways = ("--method", "grad-cam", "--method", "occlusion", "--layer", "features.9")
    done = explain(
        picture, *ways, "-O", "pooling=max", "-O", "patch=100", "-O", "stride=62", "-t", 3, "--out", "o", "--json"
    )
    with safe_open("o/cat.safetensors", "pt") as file:
        stored = file.metadata()
    for runs in (done.json["images"][0]["runs"], json.loads(stored["runs"])):
        cam, covered = runs
        assert (cam["name"], cam["method"], cam["layer"]) == ("grad-cam", "grad-cam", "features.9")
        assert cam["options"] == {"pooling": "max"} and cam["grid"] == [13, 13]
        assert covered["options"] == {"patch": 100, "stride": 62} and covered["grid"] == [3, 3]
        assert covered["patches"] == {"size": 100, "stride": 62} and "patches" not in cam
    assert stored["weights_sha256"] == done.json["weights_sha256"] and stored["model"] == "squeezenet1_1"
    assert json.loads(stored["method"]) == ["grad-cam", "occlusion"]


def test_the_picture_that_reads_need_not_be_the_first(explain, picture: Path) -> None:  # noqa: F811
    bad = picture.parent / "bad.txt"
    bad.write_text("no picture")
    for paths in ((bad, picture), (picture, bad)):
        done = explain(*paths, "--layer", "features.1[12]", "-t", 3, "--json")
        assert done.status == 1 and "bad.txt is not a picture" in done.err
        assert {"error" in image for image in done.json["images"]} == {True, False}


def test_a_map_without_evidence_says_so(explain, picture: Path) -> None:  # noqa: F811
    words = (picture, "--method", "grad-cam", "--method", "counterfactual", *(f"-t{c}" for c in range(8)))
    images = explain(*words, "--json").json["images"]
    empty = sum(not t["evidence"] for run in images[0]["runs"] for t in run["targets"])
    assert empty and explain(*words).out.count("no positive evidence") == empty


def test_a_folder_of_pages_survives_bad_pictures(explain, picture: Path) -> None:  # noqa: F811
    (picture.parent / "broken.png").write_bytes(b"no picture")
    done = explain(picture, picture.parent / "broken.png", "--method", "grad-cam", "--method", "cam", "--out", "o")
    assert done.status == 1 and "broken.png is not a picture" in done.err and "o/cat.page.jpg" in files()


def test_wrong_ways_are_one_sentence(explain, picture: Path) -> None:  # noqa: F811
    both = explain(picture, "--method", "all", "--layer", "all")
    assert both.status == 2 and "several methods or several layers, not both" in both.err
    for words, said in [
        (("-O", "pool=max"), "--option pool=max: no option of grad-cam is called 'pool': did you mean pooling?"),
        (("-O", "pooling"), "wherefore: --option pooling: give NAME=VALUE.\n"),
        (("--method", "gradient", "--method", "cam", "-O", "x"), "give NAME=VALUE.\n"),
        (("--method", "cam", "-O", "x=1"), "wherefore: --option x=1: cam has no options.\n"),
        (("--method", "cam", "--method", "deconvnet", "-O", "x"), "--option x: cam, deconvnet have no options.\n"),
        (("--method", "all", "--layer", "featurs.9"), "no layer is called 'featurs.9': did you mean features.9"),
        (("--method", "all", "-t", "tigr cat"), "no class is called 'tigr cat': did you mean tiger cat"),
        (("--layer", "features.*", "-t", "1000"), "class 1000 is out of range"),
        (("-O", "relu=maybe"), "give true or false"),
        (("--method", "occlusion", "-O", "patch=wide"), "'wide' is no number"),
        (("--method", "occlusion", "-O", "patch=900"), "a patch of 900 pixels"),
        (("--method", "gradient", "--layer", "features"), "takes no layer"),
        (("--method", "grad-cam", "--method", "graad-cam"), "did you mean grad-cam"),
        (("--method", "gradient", "--flips"), "takes no flips: they smooth maps of a layer"),
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
    assert "y(x with patch p set to fill)" in said and "patch is by default a seventh" in said and "Zeiler" in said
    assert "``" not in said and "  fill=0.0  what covers" in said and "\n  stride " in said
    rows = wherefore("methods", "grad-cam").out.partition("options (with -O):\n")[2].splitlines()
    assert [row.split()[0] for row in rows] == ["relu=true", "component=false", "backward=plain", "pooling=mean"]
    assert "plain, guided or deconv" in rows[2]
    assert "options: none" in wherefore("methods", "cam").out
    assert wherefore("methods", "oclusion").status == 2
    assert wherefore("methods", "grad-cam", "--json").json[0]["options"]["pooling"] == "mean"
