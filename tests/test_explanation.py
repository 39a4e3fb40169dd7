"""What an explanation says, draws and saves; its geometry; what the one door refuses."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torchvision import transforms as T

import wherefore as wf
from fixtures_doors import Brightness, photo, spot
from wherefore.errors import Error
from wherefore.explanation import Explanation
from wherefore.saving import can_be_made, file_name, made, unique_names, write_json, write_tensors, write_whole
from wherefore.subjects import Picture

ORIGIN = {"version": "0", "method": "grad-cam", "layer": "cells", "grid": [2, 3], "fit": "model", "options": {}}


def made_of(maps, sizes=((60, 40),), region=None, targets=None, **more) -> Explanation:
    """An explanation of given maps ``(B, T, h, w)``."""
    count = maps[0].shape[0]
    pictures = [
        Picture(f"dir/photo{i}.jpg", photo(*size, seed=i), region or (0.0, 0.0, float(size[0]), float(size[1])))
        for i, size in enumerate(sizes)
    ]
    values = {
        "scores": torch.arange(len(pictures) * count).reshape(len(pictures), count).float(),
        "targets": [targets or [f"class {t}" for t in range(count)]] * len(pictures),
        "classes": torch.arange(count).expand(len(pictures), -1),
        "probabilities": torch.full((len(pictures), count), 0.25),
        "input_sizes": [(32, 48)] * len(maps),
        "model": wf.Model(Brightness(), name="toy"),
        "settings": ORIGIN,
    }
    return Explanation(maps=maps, pictures=pictures, **(values | more))


# -------------------------------------------------------------------------------------------- numbers


def test_evidence_is_the_highest_positive_value() -> None:
    e = made_of(torch.tensor([[[[1.0, 3, -9]], [[-1.0, -2, -3]], [[0.0, 0, 0]]]]))
    assert e.evidence.tolist() == [[3, 0, 0]]


def test_heatmaps_have_the_size_of_the_input_and_stay_raw() -> None:
    maps = torch.randn(2, 3, 2, 3) * 50
    expected = torch.nn.functional.interpolate(maps, (32, 48), mode="bilinear", align_corners=False)
    torch.testing.assert_close(made_of(maps, [(60, 40)] * 2).heatmaps(), expected)
    several = made_of([maps[0], torch.randn(3, 5, 5)], [(60, 40)] * 2).heatmaps()
    assert [m.shape for m in several] == [(3, 32, 48)] * 2


def test_boxes_and_peaks_lie_in_each_pictures_own_pixels() -> None:
    maps = torch.zeros(2, 1, 4, 4)
    maps[:, 0, 1, 3] = 1
    e = made_of(maps, [(40, 80), (200, 100)])
    assert e.boxes().shape == (2, 1, 4) and e.peaks().shape == (2, 1, 2)
    (tall,), (wide,) = e.peaks().tolist()
    assert 30 <= tall[0] < 40 and 20 <= tall[1] < 40
    assert 150 <= wide[0] < 200 and 25 <= wide[1] < 50
    for b, (x, y) in enumerate((tall, wide)):
        x0, y0, x1, y1 = e.boxes()[b, 0].tolist()
        assert x0 <= x <= x1 and y0 <= y <= y1
    assert e.boxes(0.9)[1, 0, 0] > e.boxes(0.15)[1, 0, 0]
    with pytest.raises(Error, match="0 to 1"):
        e.boxes(15)


@pytest.mark.parametrize("shift", [0.0, -100.0, 5.0])
def test_nothing_is_measured_where_the_network_did_not_see(shift: float) -> None:
    """The border of a placed map is 0, more than what a map of negative values holds."""
    maps = torch.rand(1, 4, 3, 3, generator=torch.Generator().manual_seed(1)) + shift
    e = made_of(maps, [(60, 40)], region=(10.0, 5.0, 50.0, 35.0))
    for placed in e.placed(0):
        assert (placed[:5] == 0).all() and (placed[:, 50:] == 0).all()
    for threshold in (0.0, 0.15, 1.0):
        for x0, y0, x1, y1 in e.boxes(threshold)[0].tolist():
            assert 10 <= x0 <= x1 <= 49 and 5 <= y0 <= y1 <= 34
    for t, (x, y) in enumerate(e.peaks()[0].tolist()):
        row, column = divmod(int(maps[0, t].argmax()), 3)
        assert 10 + column * 40 / 3 - 1 <= x <= 10 + (column + 1) * 40 / 3
        assert 5 + row * 10 - 1 <= y <= 5 + (row + 1) * 10
    assert [t["peak"] for t in e.report(0)["targets"]] == e.peaks()[0].tolist()
    assert [t["box"] for t in e.report(0)["targets"]] == e.boxes()[0].tolist()


# -------------------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize("images, targets", [(1, 1), (1, 3), (2, 1), (2, 3)])
def test_what_overlay_returns(images: int, targets: int) -> None:
    drawn = made_of(torch.rand(images, targets, 2, 3), [(60, 40)] * images).overlay()
    if images == targets == 1:
        assert isinstance(drawn, Image.Image) and drawn.width == 60 and drawn.height > 40
    elif images == 1 or targets == 1:
        assert [type(d) for d in drawn] == [Image.Image] * (images * targets)
    else:
        assert [len(row) for row in drawn] == [targets] * images and drawn[1][2].width == 60
    bare = made_of(torch.rand(images, targets, 2, 3), [(60, 40)] * images).overlays(0, legend=False)
    assert [d.size for d in bare] == [(60, 40)] * targets


def test_a_common_scale_makes_weak_maps_pale() -> None:
    maps = torch.stack([torch.ones(2, 3), torch.full((2, 3), 0.1)])[None]
    each = list(made_of(maps).overlays(0, legend=False))
    common = list(made_of(maps).overlays(0, legend=False, scale="common"))
    plain = np.asarray(made_of(maps).pictures[0].image).astype(int)
    assert each[0] == each[1] == common[0]
    assert np.abs(np.asarray(common[1]) - plain).mean() < 0.5 * np.abs(np.asarray(common[0]) - plain).mean()
    with pytest.raises(Error, match="scale is"):
        made_of(maps).overlay(scale="shared")
    with pytest.raises(Error, match="no colour map is called"):
        made_of(maps).overlay(colours="hot")


def test_a_common_scale_of_signed_pixels_is_that_of_the_strongest() -> None:
    strong, weak = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(1))
    e = made_of(torch.rand(1, 2, 2, 3), pixels=torch.stack([strong, weak * 0.1])[None])
    each = [np.asarray(d).astype(int) for d in e.overlays(0, legend=False)]
    common = [np.asarray(d).astype(int) for d in e.overlays(0, legend=False, scale="common")]
    np.testing.assert_array_equal(common[0], each[0])
    ratio = np.abs(common[1] - 127.5).mean() / np.abs(each[1] - 127.5).mean()
    assert 0.05 < ratio < 0.2


def test_a_map_without_evidence_is_bare_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    e = made_of(torch.zeros(1, 1, 2, 3))
    assert next(e.overlays(0, legend=False)) == e.pictures[0].image
    said = []
    monkeypatch.setattr("wherefore.drawing.captioned", lambda image, *words: said.append(words) or image)
    e.overlay()
    title, detail, ramp, _ = said[0]
    assert title == "class 0" and "no positive evidence" in detail and ramp is None


def test_notebooks_get_small_sheets_with_words_escaped() -> None:
    sizes = [(3000, 2000)] + [(60, 40)] * 9
    e = made_of(torch.rand(10, 2, 2, 3), sizes, targets=['<b>"cat"', "dog"])
    page = e._repr_html_()
    pictures = re.findall(r'<img alt="([^"]*)" src="data:image/jpeg;base64,([^"]+)">', page)
    assert len(pictures) == 8 and "and 2 more" in page and "<b>" not in page
    assert "&lt;b&gt;" in pictures[0][0]
    for _, content in pictures:
        assert max(Image.open(io.BytesIO(base64.b64decode(content))).size) <= 1200


def test_the_sheet_of_a_large_picture_is_no_larger_than_needed() -> None:
    e = made_of(torch.rand(1, 5, 2, 3), [(4000, 1000)], region=(1000.0, 0.0, 3000.0, 1000.0))
    assert e.sheet().width < 4 * 1024 + 100
    small = e.pictures[0].within(400)
    assert small.size == (400, 100) and small.region == (100, 0, 300, 100)
    assert e.pictures[0].size == (4000, 1000) and e.pictures[0].within(4000) is e.pictures[0]


# -------------------------------------------------------------------------------------------- files


def test_save_writes_what_the_explanation_holds(tmp_path: Path) -> None:
    e = made_of(torch.randn(2, 2, 2, 3), [(60, 40), (30, 50)], targets=["tiger cat", "boxer"])
    manifest = json.loads(e.save(tmp_path / "a" / "b").read_text())
    folder = tmp_path / "a" / "b"
    assert torch.equal(load_file(folder / "maps.safetensors")["maps"], e.maps)
    assert sorted(p.name for p in folder.iterdir()) == [
        "manifest.json",
        "maps.safetensors",
        *(f"photo{i}.{name}.jpg" for i in (0, 1) for name in ("boxer", "tiger-cat")),
    ]
    assert manifest["weights_sha256"] == e.model.weights_sha256 and manifest["model"] == "toy"
    assert manifest | ORIGIN == manifest
    for b, entry in enumerate(manifest["images"]):
        assert entry["size"] == list(e.pictures[b].size)
        for t, target in enumerate(entry["targets"]):
            with Image.open(target["files"]["overlay"]) as drawn:
                assert drawn.width == e.pictures[b].size[0]
            assert target["peak"] == e.peaks()[b, t].tolist() and target["box"] == e.boxes()[b, t].tolist()


def test_save_of_different_grids_and_of_pixels(tmp_path: Path) -> None:
    maps, pixels = [torch.rand(1, 2, 3), torch.rand(1, 4, 4)], torch.randn(2, 1, 3, 8, 8)
    made_of(maps, [(60, 40)] * 2, pixels=pixels).save(tmp_path)
    saved = load_file(tmp_path / "maps.safetensors")
    assert torch.equal(saved["maps.0"], maps[0]) and torch.equal(saved["maps.1"], maps[1])
    assert torch.equal(saved["pixels"], pixels)


def test_names_that_repeat_overwrite_nothing(tmp_path: Path) -> None:
    e = made_of(torch.rand(1, 4, 2, 3), targets=["a b", "a-b", "a b 2", "??"])
    manifest = json.loads(e.save(tmp_path).read_text())
    files = [t["files"]["overlay"] for t in manifest["images"][0]["targets"]]
    assert len(set(files)) == 4 and all(Path(f).is_file() for f in files)


def test_json_has_no_nan(tmp_path: Path) -> None:
    odd = torch.tensor([[math.nan, math.inf]])
    e = made_of(torch.rand(1, 2, 2, 3), scores=odd, probabilities=odd, classes=torch.tensor([[-1, 1]]))
    report = e.report(0)["targets"]
    assert [(t["index"], t["score"], t["probability"]) for t in report] == [(None, None, None), (1, None, None)]
    assert json.loads(e.save(tmp_path).read_text())["images"][0]["targets"][0]["score"] is None


def test_a_picture_longer_than_jpeg_allows_is_saved_smaller(tmp_path: Path) -> None:
    made_of(torch.rand(1, 1, 2, 3), [(1, 70_000)]).save(tmp_path)
    with Image.open(tmp_path / "photo0.class-0.jpg") as drawn:
        assert drawn.height == 65500


def test_folders_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file" / "out", tmp_path / "file"):
        for check in (made, can_be_made, made_of(torch.rand(1, 1, 2, 3)).save):
            with pytest.raises(Error, match=r"cannot be written .*: give another folder"):
                check(folder)
    assert can_be_made(tmp_path / "a" / "b") == tmp_path / "a" / "b" and not (tmp_path / "a").exists()
    with pytest.raises(Error, match="cannot be written"):
        write_whole(tmp_path / "file" / "x", b"")


def test_a_file_that_fails_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_json(tmp_path / "x.json", {"a": 1, "b": math.nan})
    (tmp_path / "folder").mkdir()
    with pytest.raises(Error):  # a folder is in its place
        write_whole(tmp_path / "folder", b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_names_for_files() -> None:
    assert file_name("tiger cat, Felis (282)") == "tiger-cat-felis-282"
    assert file_name("猫/../..") == "target" and len(file_name("x" * 300)) == 60
    assert unique_names(["a/cat.jpg", "b/cat.png", "cat-2.jpg", "Cat.gif", "x", ""]) == [
        "cat",
        "cat-2",
        "cat-2-2",
        "Cat-3",
        "x",
        "picture",
    ]
    many = unique_names(["a.jpg", "a-2.jpg", "a.jpg", "a.jpg", "A-2.jpg"] * 50)
    assert len({name.lower() for name in many}) == 250
    long = unique_names(["é" * 125 + ".jpg"] * 2)
    assert all(len(name.encode()) < 130 for name in long) and long[0] != long[1]


# -------------------------------------------------------------------------------------------- the door

PREPROCESS = wf.Preprocess(resize=112, crop=96, mean=(0, 0, 0), std=(1, 1, 1))  # black is no evidence
TOY = wf.Model(Brightness(), ["none", "bright", "brighter"], PREPROCESS, layer="cells", name="toy")


@pytest.mark.parametrize("size", [(301, 203), (203, 301), (64, 64), (61, 400)])
@pytest.mark.parametrize("kind", ["crop", "squash", "torchvision"])
def test_a_bright_spot_is_explained_where_it_is(size: tuple[int, int], kind: str) -> None:
    """From a picture through a network and back: the peak lies within a cell of the spot."""
    model = TOY
    if kind == "torchvision":
        steps = [T.Resize(112), T.CenterCrop(96), T.ToTensor(), T.Normalize(PREPROCESS.mean, PREPROCESS.std)]
        model = wf.Model(TOY.net, TOY.classes, T.Compose(steps), layer="cells")
    middle, short = (size[0] / 2, size[1] / 2), min(size)
    for dx, dy in ((-0.25, -0.25), (0.3, 0.1), (0, 0.3)):
        x, y = int(middle[0] + dx * short), int(middle[1] + dy * short)
        image = spot(*size, x, y, max(2, short // 24))
        e = wf.explain(model, image, target=1, fit="squash" if kind == "squash" else "model")
        assert e.maps.shape == (1, 1, 6, 6) and e.evidence[0, 0] > 0
        region = e.pictures[0].region
        px, py = e.peaks()[0, 0].tolist()
        assert abs(px - x) <= (region[2] - region[0]) / 6 + 1 and abs(py - y) <= (region[3] - region[1]) / 6 + 1


def test_a_turned_photograph_is_explained_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    spot(300, 200, 150, 30, 10).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    e = wf.explain(TOY, str(tmp_path / "turned.png"), target=1)
    assert e.pictures[0].size == (300, 200)
    assert abs(e.peaks()[0, 0, 0] - 150) < 40 and abs(e.peaks()[0, 0, 1] - 30) < 40


def test_all_kinds_of_pictures_give_the_same(tmp_path: Path) -> None:
    image = photo(130, 120)
    image.save(tmp_path / "a.png")
    path = tmp_path / "a.png"
    kinds = [image, path, str(path), np.asarray(image), np.asarray(image) / 255.0, PREPROCESS(image)]
    maps = [wf.explain(TOY, kind, target=2).maps for kind in kinds]
    assert all(torch.equal(m, maps[0]) for m in maps)
    e = wf.explain(TOY, kinds, target=2)
    assert torch.allclose(e.maps, maps[0].expand_as(e.maps)) and len(e) == 6
    assert e.pictures[1].name == str(path)


@pytest.mark.parametrize("size", [(1, 1), (1, 20000), (20000, 1), (8000, 6000)])
def test_odd_sizes_go_all_the_way(tmp_path: Path, size: tuple[int, int]) -> None:
    e = wf.explain(TOY, Image.new("RGB", size, "white"), target=1)
    e.save(tmp_path)
    x0, y0, x1, y1 = e.boxes()[0, 0].tolist()
    assert 0 <= x0 <= x1 < size[0] and 0 <= y0 <= y1 < size[1]


def test_a_picture_that_pillow_has_not_decoded_yet(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    photo(200, 150).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    with Image.open(path) as image, pytest.raises(Error, match=r"cut\.jpg cannot be read as a picture"):
        wf.explain(TOY, image)


@pytest.mark.parametrize(
    "images, words",
    [
        ([], "there is no picture"),
        (7, "int is no picture"),
        (iter([1]), "is no picture"),
        (torch.zeros(3), r"\(B, C, H, W\), not \(3,\)"),
        (torch.zeros(0, 3, 8, 8), r"\(B, C, H, W\)"),
        (torch.zeros(1, 3, 96, 96, dtype=torch.uint8), "fed to the network as it is"),
        ([torch.zeros(2, 3, 96, 96)], "image 0 is a tensor of 2 images"),
        (np.zeros((3, 50, 50)), "is not a picture"),
        ("nowhere.jpg", "nowhere.jpg does not exist"),
    ],
)
def test_what_is_no_picture(images: object, words: str) -> None:
    with pytest.raises(Error, match=words):
        wf.explain(TOY, images)


@pytest.mark.parametrize("result, got", [([1], "list"), (torch.zeros(1, 3, 8, 8), "torch.float32"), (None, "NoneType")])
def test_a_preprocess_that_gives_no_tensor(result: object, got: str) -> None:
    model = wf.Model(Brightness(), preprocess=lambda image: result)
    with pytest.raises(Error, match=rf"preprocess must turn a picture into a tensor \(C, H, W\).* not {got}"):
        wf.explain(model, photo(20, 20))


@pytest.mark.parametrize(
    "options, words",
    [
        ({"method": "grad-cm"}, "no method is called 'grad-cm': did you mean"),
        ({"layer": "cels"}, "no layer is called 'cels': did you mean cells"),
        ({"fit": "whole"}, "fit is 'model'"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"target": "brigt"}, "no class is called 'brigt': did you mean bright"),
        ({"target": 3}, "class 3 is out of range: the model has 3 classes, 0 to 2"),
        ({"target": [[1], [2]]}, "targets for 2 images do not fit 1"),
        ({"target": torch.tensor([1, 2])}, "targets for 2 images do not fit 1"),
    ],
)
def test_what_the_door_refuses(options: dict, words: str) -> None:
    with pytest.raises(Error, match=words):
        wf.explain(TOY, photo(50, 40), **options)


def test_a_ragged_nested_list_is_refused_also_in_batches_of_one() -> None:
    for size in (1, 2):
        with pytest.raises(Error, match=r"one list per image|give each as many"):
            wf.explain(TOY, [photo(50, 40)] * 2, target=[[1], [1, 2]], batch_size=size)


def test_a_flat_list_as_long_as_the_batch_warns_once() -> None:
    why = wf.Explainer(TOY)
    with pytest.warns(UserWarning) as said:
        e = why([photo(50, 40)] * 3, target=[0, 1, 2])
    assert len(said) == 1 and e.maps.shape[:2] == (3, 3)


def test_squash_needs_a_preprocess_that_can() -> None:
    model = wf.Model(Brightness(), preprocess=T.ToTensor())
    with pytest.raises(Error, match="fit='squash' needs a preprocess"):
        wf.explain(model, photo(50, 40), fit="squash")


def test_a_network_without_preprocess_says_what_it_assumes() -> None:
    with pytest.warns(UserWarning, match="Brightness has no preprocess"):
        wf.explain(Brightness(), photo(50, 40), target=1, layer="cells")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wf.explain(Brightness(), torch.rand(1, 3, 32, 32), target=1, layer="cells")


def test_the_region_is_probed_once_for_each_size_of_picture() -> None:
    calls = []
    why = wf.Explainer(
        wf.Model(TOY.net, preprocess=lambda image: calls.append(1) or T.ToTensor()(image)), layer="cells"
    )
    why([photo(64, 48)] * 4, target=1)
    assert len(calls) == 4 + 4  # each once; black, white and two ramps


def test_the_same_tensors_are_the_same_file(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(5.0), "a": torch.ones(3, 3, dtype=torch.float16), "ä": torch.zeros(0)}
    origin = {key: f"value {key} «ü»" for key in "zyxwvutsrq"}
    contents = {write_tensors(tmp_path / f"{i}.safetensors", tensors, origin).read_bytes() for i in range(8)}
    assert len(contents) == 1
    with safe_open(tmp_path / "0.safetensors", "pt") as file:
        assert file.metadata() == origin
        assert all(file.get_tensor(name).equal(value) for name, value in tensors.items())
