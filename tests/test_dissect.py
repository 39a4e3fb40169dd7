"""Network Dissection on a toy Broden, against IoU by hand and by slow loops; and what names units by text."""

from __future__ import annotations

import csv
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import wherefore as wf
from wherefore.batch import rows as looping
from wherefore.batch.store import Store
from wherefore.concepts import Named, dissect, names, recording, sheets, texts
from wherefore.concepts.dissect import Counting, iou_of, overlaps
from wherefore.concepts.quantiles import High
from wherefore.concepts.recording import Recorded, Recording, record
from wherefore.datasets import Concepts, Unreadable, opened
from wherefore.errors import Error
from wherefore.scenes import scene
from wherefore.scenes.annotated import CONCEPTS, ENDINGS
from wherefore.scenes.formats import write
from wherefore.scenes.formats.broden import encoded, halved

SIDE, COUNT = 24, 6
LABELS = {1: "cat", 2: "wing", 3: "red-c", 4: "wood", 5: "street-s", 6: "tail"}


class Channels(nn.Module):
    """A network whose units are red, green, blue, and one that never fires."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.ReLU())
        self.fc = nn.Linear(4, 3)
        with torch.no_grad():
            self.features[0].weight.copy_(torch.eye(4, 3)[..., None, None])  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.fc(self.features(x).mean((2, 3)))
        return scores


def network() -> wf.Model:
    seen = wf.Preprocess(resize=SIDE, crop=SIDE, mean=(0.0,) * 3, std=(1.0,) * 3)
    torch.manual_seed(0)
    return wf.Model(Channels().eval(), classes=["one", "two", "three"], preprocess=seen, layer="features")


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """Six noisy pictures; cells with several maps and labels of whole pictures; wing is a part and a material."""
    folder, dice = tmp_path / "toy", np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    rows = []
    for i in range(COUNT):
        pixels = dice.normal(75, 20, (SIDE, SIDE, 3)).clip(0, 155)
        cat, wing = np.zeros((2, SIDE, SIDE), int)
        x, y = dice.integers(2, 14, 2)
        cat[y : y + 8, x : x + 8] = 1
        pixels[cat > 0, 0] += 100
        wing[y : y + 3, x : x + 3] = 2
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"images/{i}.png")
        cell = {"image": f"{i}.png", "split": "val" if i % 2 else "train", "sh": SIDE, "sw": SIDE}
        maps = {f"{i}_cat": cat, f"{i}_wing": wing, f"{i}_tail": np.where(cat.T > 0, 6, 0), f"{i}_wood": wing * 2}
        maps[f"{i}_wood"][:, -4:] = 2  # wing, as a material, of more pixels
        for name, each in maps.items():
            Image.fromarray(encoded(each)).save(folder / f"images/{name}.png")
        cell |= {"object": f"{i}_cat.png"} if i < 4 else {}
        cell |= {"part": f"{i}_wing.png;{i}_tail.png" if i else f"{i}_wing.png"} if i < 5 else {}
        cell |= {"material": f"{i}_wood.png"} if i in (1, 5) else {}
        cell |= {"color": "3;4", "scene": "5"} if i == 2 else {}
        rows.append(cell)
    with (folder / "index.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["image", "split", "sh", "sw", *CONCEPTS])
        writer.writeheader()
        writer.writerows(rows)
    lines = ["number,name,category", *(f"{number},{name},object(1)" for number, name in LABELS.items())]
    (folder / "label.csv").write_text("\n".join(lines) + "\n")
    return folder


def slow(toy: Path) -> tuple[np.ndarray[Any, Any], dict[tuple[str, str], list[float]]]:
    """Thresholds and IoU by loops over pixels, from the files themselves."""
    with (toy / "index.csv").open() as file:
        index = list(csv.DictReader(file))
    pictures = [np.asarray(Image.open(toy / "images" / row["image"]), np.float32) / np.float32(255) for row in index]
    values = np.stack([each.astype(np.float16).astype(float) for each in pictures])
    values = np.concatenate([values, np.zeros((*values.shape[:3], 1))], 3)
    thresholds = np.quantile(values.reshape(-1, 4), 0.995, axis=0)
    covered: dict[str, Counter[str]] = defaultdict(Counter)
    shown: list[dict[str, set[tuple[int, int]]]] = []
    bears: list[set[str]] = []
    every = {(y, x) for y in range(SIDE) for x in range(SIDE)}
    for row in index:
        here: dict[str, set[tuple[int, int]]] = defaultdict(set)
        for kind in CONCEPTS:
            for entry in filter(None, row[kind].split(";")):
                if entry.isdigit():
                    places = {LABELS[int(entry)]: every}
                else:
                    pixels = np.asarray(Image.open(toy / "images" / entry), int)
                    places = defaultdict(set)
                    for y, x in every:
                        number = pixels[y, x, 0] + 256 * pixels[y, x, 1]
                        if number:
                            places[LABELS[number]].add((y, x))
                for label, some in places.items():
                    here[label] |= some
                    covered[label][kind] += len(some)
        shown.append(here)
        bears.append({kind for kind in CONCEPTS if row[kind]})
    found = {}
    for label, kinds in covered.items():
        [(mostly, _)] = kinds.most_common(1)
        overlap = []
        for unit in range(4):
            both = masked = pixels_of = 0
            for one, here, kinds_here in zip(values, shown, bears, strict=True):
                mask = {(y, x) for y, x in every if one[y, x, unit] > thresholds[unit]}
                both += len(mask & here[label])
                pixels_of += len(here[label])
                masked += len(mask) if mostly in kinds_here else 0
            overlap.append(both / (masked + pixels_of - both))
        found[mostly, label] = overlap
    return thresholds, found


def test_a_toy_by_slow_loops(toy: Path, tmp_path: Path) -> None:
    found = dissect(network(), opened(f"broden:{toy}"), range(COUNT), tmp_path / "maps")
    thresholds, iou = slow(toy)
    assert np.allclose(found.recorded.thresholds, thresholds, rtol=1e-6) and found.recorded.layer == "features"
    assert set(found.iou) == set(iou) and ("material", "wing") in iou, "wing is a material by most of its pixels"
    for key, values in iou.items():
        assert np.allclose(found.iou[key], values, rtol=1e-12), key
    for unit in range(3):
        best = max(iou, key=lambda key: iou[key][unit])
        assert (found.units[unit].category, found.units[unit].name) == best and iou[best][unit] > 0
        assert found.units[unit].iou == pytest.approx(iou[best][unit])
    assert [each.unit for each in found.units] == [0, 1, 2, 3] and not found.recorded.tops[3], "it never fires"
    highest = [np.asarray(Image.open(toy / f"images/{i}.png"))[..., 0].max() for i in range(COUNT)]
    order = [f"{i}.png" for i in np.argsort(-np.array(highest), kind="stable")]
    assert found.recorded.tops[0] == order[:5]


def test_the_union_rule_by_hand() -> None:
    """One unit, three pictures of 2 x 2: wing is a part of 1 pixel in the first and a material of 3 in the second."""

    def concepts(*kinds: tuple[str, str, Sequence[int]]) -> list[Concepts]:
        return [Concepts(kind, (name,), np.array(where).reshape(2, 2)) for kind, name, where in kinds]

    pictures = [
        ([1, 1, 0, 0], concepts(("part", "wing", [1, 0, 0, 0]))),  # no material here: its mask does not count
        ([0, 1, 1, 1], concepts(("material", "wing", [1, 1, 1, 0]), ("object", "cat", [0, 0, 0, 1]))),
        ([1, 0, 0, 0], concepts(("material", "wood", [1, 0, 0, 0]), ("object", "cat", [1, 1, 0, 0]))),
        ([1, 1, 1, 1], []),
    ]
    threshold = torch.tensor([0.5])
    rows = [overlaps(torch.tensor(m).reshape(1, 2, 2).float(), threshold, c) for m, c in pictures]
    found = {key: float(value[0]) for key, value in iou_of(rows).items()}
    assert found == {
        ("material", "wing"): 3 / (3 + 1 + 4 - 3),  # both 1 + 2; masks of the second and third; labels 1 + 3
        ("material", "wood"): 1 / (3 + 1 + 1 - 1),
        ("object", "cat"): 2 / (3 + 1 + 3 - 2),
    }


@pytest.mark.parametrize("announced", [1, 1.5])
def test_high_quantiles_are_numpy_s(announced: float) -> None:
    dice = np.random.default_rng(1)
    for count in (1, 2, 7, 199, 200, 201, 5000):
        values = dice.normal(size=(3, count)).round(2).astype(np.float32)  # rounded: with ties
        high = High(3, int(count * announced), 0.005)
        cuts = np.sort(dice.integers(0, count + 1, 4))
        for piece in np.split(values, cuts, axis=1):
            high.add(torch.from_numpy(piece))
        assert np.allclose(high.value(), np.quantile(values.astype(float), 0.995, axis=1), rtol=1e-12, atol=1e-12)
        assert high.largest.shape[1] <= 0.005 * announced * count + 3, "memory is bounded"


def test_what_was_stopped_goes_on(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looping, "SLICE", 2)
    monkeypatch.setattr(recording, "SLICE", 2)
    data, done = opened(f"broden:{toy}"), Counter[str]()

    def counted(kind: Any, stop: float) -> Callable[..., Any]:
        original = kind.__call__

        def run(self: Any, samples: Any) -> Any:
            if done[kind.__name__] >= stop:
                raise KeyboardInterrupt
            done[kind.__name__] += 1
            return original(self, samples)

        return run

    whole = dissect(network(), data, range(COUNT), tmp_path / "whole")
    for kind, stop in ((Recording, 1), (Counting, 2), (Counting, math.inf)):
        with monkeypatch.context() as patch:
            patch.setattr(Recording, "__call__", counted(Recording, stop if kind is Recording else math.inf))
            patch.setattr(Counting, "__call__", counted(Counting, stop if kind is Counting else math.inf))
            if stop != math.inf:
                with pytest.raises(KeyboardInterrupt):
                    dissect(network(), data, range(COUNT), tmp_path / "stopped")
            else:
                again = dissect(network(), data, range(COUNT), tmp_path / "stopped")
    assert done == {"Recording": 3, "Counting": 3}, "every slice once"
    assert again.units == whole.units and again.recorded.tops == whole.recorded.tops
    assert again.recorded.layer == "features", "also where nothing was run"


def test_scenes_come_back_from_broden(tmp_path: Path) -> None:
    shown = [scene(i, size=48) for i in range(3)]
    write(shown, tmp_path, "broden")
    for sample, one in zip(opened(f"broden:{tmp_path / 'broden1_48'}"), shown, strict=True):
        found = {each.kind: each for each in sample.concepts}
        for kind in CONCEPTS:
            names, where = one.concepts(kind)
            true = np.array(["", *(name + ENDINGS.get(kind, "") for name in names)], object)[halved(where)]
            if not names:
                assert kind not in found or not found[kind].names
                continue
            back = np.array(["", *found[kind].names], object)[found[kind].where]
            assert (back == true).all(), kind


def test_bad_data_is_one_sentence(toy: Path, tmp_path: Path) -> None:
    def run(spec: str, layer: str | None = None) -> None:
        dissect(network(), opened(spec), range(2), tmp_path / "maps", layer)

    with pytest.raises(Error, match=r"no layer|never ran|has no|fc"):
        run(f"broden:{toy}", "fc")
    (tmp_path / "own").mkdir()
    for i in range(2):
        Image.new("RGB", (SIDE, SIDE), (i, 9, 200)).save(tmp_path / f"own/{i}.png")
    with pytest.raises(Error, match="has no labelled concepts: give scenes or broden:DIR"):
        run(f"folder:{tmp_path / 'own'}")
    assert not (tmp_path / "maps").exists(), "said before anything is done"
    (toy / "label.csv").write_text("number,name\n2,wing\n3,red-c\n")
    with pytest.raises(Unreadable, match=r"label.csv has no label number 1, which the index uses"):
        _ = opened(f"broden:{toy}")[0].concepts
    (toy / "index.csv").unlink()
    with pytest.raises(Error, match=r"holds no Broden: index.csv is expected"):
        opened(f"broden:{toy}")


def test_a_damaged_picture_is_left_out(toy: Path, tmp_path: Path) -> None:
    (toy / "images/0.png").write_bytes(b"no picture")
    found = dissect(network(), opened(f"broden:{toy}"), range(COUNT), tmp_path / "maps")
    assert "0.png" not in found.recorded.places and len(found.recorded.places) == COUNT - 1


def test_labels_of_several_sizes_leave_out_their_picture_alone(toy: Path, tmp_path: Path) -> None:
    with Image.open(toy / "images/1_cat.png") as image:
        image.resize((SIDE // 2, SIDE // 2)).save(toy / "images/1_cat.png")
    found = dissect(network(), opened(f"broden:{toy}"), range(COUNT), tmp_path / "maps")
    kept = [row for row in _kept(tmp_path / "maps", "overlaps") if row.get("error")]
    assert [row["error"] for row in kept] == ["1.png has labels of several sizes, where one is needed."]
    assert len(found.recorded.places) == COUNT and found.iou


def test_other_preprocessing_has_maps_of_its_own(toy: Path, tmp_path: Path) -> None:
    data, darker = opened(f"broden:{toy}"), wf.Preprocess(resize=SIDE, crop=SIDE, mean=(0.0,) * 3, std=(2.0,) * 3)
    first = record(network(), data, range(COUNT), tmp_path / "maps")
    second = record(replace(network(), preprocess=darker), data, range(COUNT), tmp_path / "maps")
    assert torch.allclose(second.maps("1.png").float() * 2, first.maps("1.png").float(), rtol=1e-2)


def test_values_beyond_float16_have_thresholds(toy: Path, tmp_path: Path) -> None:
    loud = network()
    with torch.no_grad():
        loud.net.features[0].weight.mul_(1e6)  # type: ignore[operator,union-attr,index]
    found = record(loud, opened(f"broden:{toy}"), range(COUNT), tmp_path / "maps")
    assert torch.isfinite(found.thresholds).all() and torch.isfinite(found.maps("1.png")).all()


def test_a_unit_that_fires_at_one_place_alone_has_a_mask() -> None:
    maps = torch.zeros(1, 4, 4)
    maps[0, 1, 2] = 1.01  # enlarged bilinearly it is below 1 everywhere
    row = {"shape": [1, 4, 4], "values": maps.half().numpy().tobytes()}
    found = Recorded(opened("scenes"), "layer", {}, torch.tensor([1.0]), [["a"]], {}, Store("x", "y", {}), {"a": row})
    mask = found.mask("a", 0, (16, 12))
    assert mask[4:8, 6:9].all() and int(mask.sum()) == 12, "its place: a sixteenth"
    assert texts.crop(Image.new("RGB", (12, 16)), mask).size < (12, 16)
    assert found.mask("a", 0, (2, 2)).sum() == 1


# -------------------------------------------------------------------------------------------- names


def test_names_are_written_and_read(tmp_path: Path) -> None:
    units = [Named(0, "red-c", "color", 0.123456, 0.5), Named(1, "a dog, here", names.TEXT, math.nan, 1e-3)]
    path = names.write(units, tmp_path / "units.csv")
    assert path.read_text().splitlines()[0] == "unit,name,category,iou,threshold"
    back = names.read(path)
    assert back[0] == units[0] and back[1][:3] == units[1][:3] and math.isnan(back[1].iou)
    assert units[0].plain == "red" and units[0].has_name and units[1].has_name
    assert not Named(0, "red-c", "color", 0.04, 0.5).has_name and not Named(0, "", names.TEXT, math.nan, 0.5).has_name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("unit,name\n0,cat\n", "does not hold the columns unit, name, category, iou, threshold"),
        ("unit,name,category,iou,threshold\n0,cat,object,high,1\n", "does not hold the columns"),
        ("unit,name,category,iou,threshold\n1,cat,object,0.1,1\n", "must list every unit of the layer"),
        ("unit,name,category,iou,threshold\n", "must list every unit"),
        ("\xff", "does not hold the columns"),
    ],
)
def test_files_that_hold_no_names(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "units.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(Error, match=said):
        names.read(path)
    with pytest.raises(Error, match="does not exist: `wherefore dissect"):
        names.read(tmp_path / "none.csv")


def test_names_by_text_are_what_stands_out() -> None:
    """b has the highest score everywhere; beside its mean, a stands out on the crops of the first unit."""
    scored = [(0, [3.0, 9.0]), (0, [5.0, 8.0]), (2, [1.0, 9.0])]
    assert texts.best(scored, ["a", "b"], 4) == ["a", "", "b", ""]
    assert texts.best([], ["a", "b"], 2) == ["", ""]


def test_a_crop_is_around_the_largest_part() -> None:
    picture, mask = Image.new("RGB", (40, 30)), torch.zeros(30, 40)
    mask[10:14, 20:26] = 1
    mask[0, 0] = 1
    assert texts.crop(picture, mask.bool()).size == (12, 12), "6 pixels, and half of that on each side"
    mask[10:14, 30:40] = 1
    assert texts.crop(picture, mask.bool()).size == (15, 20), "as far as the picture reaches"


@pytest.mark.slow
def test_units_of_a_transformer(toy: Path, tmp_path: Path) -> None:
    """Its tokens are folded to a grid; any of its layers can be named."""
    from fixtures_transformers import SIDES, hf, saved, vit

    model = wf.load(saved(tmp_path / "vit", vit(), hf.ViTImageProcessor(size=SIDES)))
    first = next(name for name, _ in model.net.named_modules() if name.endswith((".layer.0", ".layers.0")))
    for layer in (None, first):
        found = dissect(model, opened(f"broden:{toy}"), range(COUNT), tmp_path / "maps", layer)
        assert len(found.units) == 32 and found.recorded.maps("1.png").shape == (32, 4, 4)


@pytest.mark.slow
def test_units_are_named_by_text(toy: Path, tmp_path: Path) -> None:
    from fixtures_transformers import SIDES, clip, hf, saved, wordpiece

    name = saved(
        tmp_path / "clip", clip(), hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SIDES), wordpiece()
    )
    namer = wf.load(name, classes=["the cat", "dogs sat on"])
    recorded = record(network(), opened(f"broden:{toy}"), range(COUNT), tmp_path / "maps")
    found = texts.by_text(recorded, namer)
    assert all(each.category == "text" and math.isnan(each.iou) for each in found.units)
    assert {each.name for each in found.units[:3]} <= {"the cat", "dogs sat on"} and found.units[3].name == ""
    assert found.report()["by_text"] and found.report()["named"] == 3
    scored = []
    for unit, tops in enumerate(recorded.tops):  # one by one, by the network itself
        for top in tops:
            image = recorded.sample(top).image
            crop = texts.crop(image, recorded.mask(top, unit, (SIDE, SIDE)))
            pixels = namer.preprocess(crop.resize((32, 32), Image.Resampling.BICUBIC))  # type: ignore[misc]
            with torch.no_grad():
                scores = namer.net(pixel_values=pixels[None], **namer.inputs).logits_per_image[0]
            scored.append((unit, scores.tolist()))
    ours = {(r["unit"], r["sample"]): r["scores"] for r in _kept(tmp_path / "maps", "texts")}
    assert len(ours) == len(scored) == 15
    for (unit, scores), top in zip(scored, [t for tops in recorded.tops for t in tops], strict=True):
        assert ours[unit, top] == pytest.approx(scores, abs=0.05)
    assert texts.best(scored, namer.classes, 4) == [each.name for each in found.units]
    texts.by_text(recorded, replace(namer, sha256="of other weights"))
    assert len(list((tmp_path / "maps").glob("texts-*"))) == 2, "scores are those of one namer"
    with pytest.raises(Error, match="compares nothing with words"):
        texts.by_text(recorded, wf.Model(Channels()))


def _kept(folder: Path, name: str) -> list[dict[str, Any]]:
    from pyarrow import parquet

    return [row for path in folder.glob(f"{name}-*/*.parquet") for row in parquet.read_table(path).to_pylist()]


# -------------------------------------------------------------------------------------------- sheets


def test_contact_sheets_are_bright_where_units_fire(toy: Path, tmp_path: Path) -> None:
    found = dissect(network(), opened(f"broden:{toy}"), range(COUNT), tmp_path / "maps")
    drawn = sheets.sheets(found.recorded, [found.units[0]])
    assert list(drawn) == [0] and drawn[0].size == (5 * 120 + 4 * 4, 120)
    recorded, top = found.recorded, found.recorded.tops[0][2]
    picture = np.asarray(recorded.sample(top).image.resize((120, 120)), float)
    mask = recorded.mask(top, 0, (120, 120)).numpy()
    tile = np.asarray(drawn[0], float)[:, 2 * 124 : 2 * 124 + 120]
    assert mask.any() and np.array_equal(tile[mask], picture[mask])
    assert np.abs(tile[~mask] - sheets.DIMMED * picture[~mask]).max() <= 0.5


def test_all_units_are_on_the_page(toy: Path, tmp_path: Path) -> None:
    """Red has a name here, green and blue have none, and the last one never fires."""
    found = dissect(network(), opened(f"broden:{toy}"), range(COUNT), tmp_path / "maps")
    units = [each._replace(iou=0.01 if each.unit else 0.3) for each in found.units]
    *_, last = sheets.sections(replace(found, units=units))
    words, shown = last.parts
    assert last.title == "Without a name" and "the 2 units" in words and "fire in no picture: 1." in words
    assert [each.caption for each in shown.figures] == ["unit 1", "unit 2"]
    assert {each.picture.size for each in shown.figures} == {
        (5 * (sheets.SMALL + sheets.GAP) - sheets.GAP, sheets.SMALL)
    }
    assert shown.figures[0].note.startswith("no name; nearest ") and shown.figures[0].note.endswith("IoU 0.01")
