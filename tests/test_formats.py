"""Scenes on disk, read back by what reads the real data sets: torchvision, pycocotools, XML and CSV readers."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from wherefore.errors import Error
from wherefore.scenes import Scene, scene
from wherefore.scenes.annotated import CONCEPTS
from wherefore.scenes.formats import FORMATS, export, write
from wherefore.scenes.formats.polygons import polygons
from wherefore.scenes.language import Question
from wherefore.scenes.world import CATEGORIES, Light, Thing, World

SIZE = 72
# pycocotools decodes masks by way of something that numpy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def made(name: str, *things: Thing) -> Scene:
    """A scene of things that are where we say."""
    return Scene(World(f"made {name}", "room", things, Light(), "test", 900), SIZE)


# A car cut by the border; two dogs, of which the nearer hides some of the farther, and a small bicycle.
CUT = made("cut", Thing("car", "red", "striped", 0.05, 0.6, 0.3))
TWINS = made(
    "twins",
    Thing("dog", "brown", "plain", 0.4, 0.55, 0.25),
    Thing("dog", "white", "dotted", 0.55, 0.62, 0.25),
    Thing("bicycle", "blue", "plain", 0.75, 0.25, 0.1),
)
SCENES = [*(scene(i, size=SIZE) for i in range(4)), CUT, TWINS]
SINGLES = [*(scene(i, objects=1, size=SIZE) for i in range(12)), CUT]
TRAIN = [scene(i, "train", size=SIZE) for i in range(3)]


def scenes_for(format: str) -> list[Scene]:
    return SINGLES if format == "imagenet" else SCENES


@pytest.fixture(scope="module", params=list(FORMATS))
def any_format(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The scenes in every format, once."""
    root = tmp_path_factory.mktemp("formats")
    return {name: write(scenes_for(name), root / name, name) for name in FORMATS}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def close_to(picture: Image.Image, one: Scene) -> bool:
    """Whether a JPEG file shows the scene: noise costs some grey levels, another scene is off by 20."""
    return float(np.abs(np.asarray(picture.convert("RGB"), float) - np.asarray(one.image, float)).mean()) < 6


def test_the_made_scenes_are_what_the_other_tests_need() -> None:
    assert CUT.flags[0].truncated and CUT.boxes[0][0] == 0
    assert Counter(thing.category for thing in TWINS.things)["dog"] == 2 and TWINS.flags[0].occluded
    assert not TWINS.flags[1].difficult and TWINS.flags[2].small


# ------------------------------------------------------------------------------------------------ of every format


def test_same_scenes_same_bytes(any_format: str, written: dict[str, Path], tmp_path: Path) -> None:
    again = write(iter(scenes_for(any_format)), tmp_path / "again", any_format)
    assert contents(again) == contents(written[any_format])
    assert not list(again.rglob("*.part"))


def test_which_picture_shows_which_scene(any_format: str, written: dict[str, Path]) -> None:
    found = rows(written[any_format] / f"scenes_{any_format}_val.csv")
    assert [row["seed"] for row in found] == [one.world.seed for one in scenes_for(any_format)]
    for row, one in zip(found, scenes_for(any_format), strict=True):
        assert row["number"] == str(one.world.number)
        with Image.open(written[any_format] / row["picture"]) as picture:
            assert picture.format == ("PNG" if any_format == "pictures" else "JPEG") and close_to(picture, one)


def test_a_stopped_run_leaves_no_list_and_is_mended_by_another(
    any_format: str, written: dict[str, Path], tmp_path: Path
) -> None:
    def stopped() -> Iterator[Scene]:
        yield from scenes_for(any_format)[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(stopped(), tmp_path, any_format)
    assert {Path(name).suffix for name in contents(tmp_path)} <= {".jpg", ".JPEG", ".xml", ".png"}
    write(scenes_for(any_format), tmp_path, any_format)
    assert contents(tmp_path) == contents(written[any_format])


def test_what_is_there_already_stays(any_format: str, written: dict[str, Path]) -> None:
    before = contents(written[any_format])
    with pytest.raises(Error, match="is there already: give another folder"):
        write(scenes_for(any_format)[:1], written[any_format], any_format)
    assert contents(written[any_format]) == before


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(Error, match=r"no format of scenes is called 'vocc': did you mean voc\?"):
        write([CUT], tmp_path / "out", "vocc")
    with pytest.raises(Error, match="there is no scene to write"):
        write([], tmp_path / "out", "voc")
    with pytest.raises(Error, match="at least 1 scene is written, not 0"):
        export("voc", tmp_path / "out", count=0)
    with pytest.raises(Error, match="no split of scenes is called 'val'"):
        export("voc", tmp_path / "out", split="val")
    (tmp_path / "file").write_text("")
    with pytest.raises(Error, match="file is no folder"):
        write([CUT], tmp_path / "file", "voc")
    with pytest.raises(Error, match=r"one label, and scenes:900 shows dog, bicycle|one label.*bicycle, dog"):
        write([TWINS], tmp_path / "out", "imagenet")
    with pytest.raises(Error, match="pictures of one size"):
        write([CUT, replace(CUT, size=64)], tmp_path / "out", "broden")
    assert not [name for name in contents(tmp_path) if name.endswith((".csv", ".txt", ".json"))]


def test_export(tmp_path: Path) -> None:
    assert export("imagenet", tmp_path / "a", count=2, size=64) == tmp_path / "a"
    assert contents(tmp_path / "a") == contents(
        write([scene(i, objects=1, size=64) for i in range(2)], tmp_path / "b", "imagenet")
    )
    export("coco", tmp_path / "c", count=1, split="dev", objects=3, size=64)
    (row,) = rows(tmp_path / "c" / "scenes_coco_val.csv")
    assert (row["split"], row["seed"]) == ("dev", "scenes 1 dev 3 0")


# ------------------------------------------------------------------------------------------------ ILSVRC


def test_imagenet_boxes(written: dict[str, Path]) -> None:
    """XML and CSV say the same boxes, 0-based and inclusive."""
    folder = written["imagenet"]
    listed = {row["ImageId"]: row["PredictionString"] for row in rows(folder / "LOC_val_solution.csv")}
    assert list(listed) != sorted(listed), "rows come in no order"
    for i, one in enumerate(SINGLES, 1):
        name = f"ILSVRC2012_val_{i:08d}"
        tree = ElementTree.parse(folder / f"ILSVRC/Annotations/CLS-LOC/val/{name}.xml").getroot()
        boxes = [[int(edge.text) for edge in box] for box in tree.iter("bndbox")]
        assert boxes == one.boxes.tolist()
        assert [tree.findtext("size/width"), tree.findtext("size/height")] == [str(SIZE)] * 2
        words = listed[name].split()
        assert [list(map(int, words[k + 1 : k + 5])) for k in range(0, len(words), 5)] == boxes
        assert words[::5] == [tree.findtext("object/name")] * len(boxes)
        assert tree.findtext("filename") == name


def test_imagenet_labels_by_synset_and_by_id_of_the_kit(written: dict[str, Path]) -> None:
    folder = written["imagenet"]
    synsets = dict(line.split(" ", 1) for line in (folder / "LOC_synset_mapping.txt").read_text().splitlines())
    assert [synsets[s] for s in sorted(synsets)] == list(CATEGORIES)
    kit = folder / "ILSVRC/devkit/data"
    ids = {int(i): (s, name) for s, i, name in map(str.split, (kit / "map_clsloc.txt").read_text().splitlines())}
    assert sorted(ids) == list(range(1, 21)) and {s: name for s, name in ids.values()} == synsets
    assert [s for _, (s, _) in sorted(ids.items())] != sorted(synsets), "their order is another one"
    truth = (kit / "ILSVRC2015_clsloc_validation_ground_truth.txt").read_text().split()
    assert [ids[int(i)][1] for i in truth] == [one.labels[0] for one in SINGLES]
    listed = dict(line.split() for line in (folder / "ILSVRC/ImageSets/CLS-LOC/val.txt").read_text().splitlines())
    assert listed == {p.stem: str(int(p.stem[-8:])) for p in (folder / "ILSVRC/Data/CLS-LOC/val").iterdir()}
    assert (kit / "ILSVRC2015_clsloc_validation_blacklist.txt").read_text() == ""


def test_imagenet_training_pictures_lie_in_folders_of_their_class(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    singles = [scene(i, "train", objects=1, size=32) for i in range(30)]
    write(singles, tmp_path, "imagenet")
    found = ImageFolder(tmp_path / "ILSVRC/Data/CLS-LOC/train")
    here = [c for c in CATEGORIES if any(one.labels == (c,) for one in singles)]
    assert len(found.classes) == len(here) < 20
    of = {Path(path).stem: here[label] for path, label in found.samples}
    listed = (tmp_path / "ILSVRC/ImageSets/CLS-LOC/train_cls.txt").read_text().splitlines()
    assert [of[Path(line.split()[0]).name] for line in listed] == [one.labels[0] for one in singles]
    write(singles_of_test := [scene(i, objects=1, size=32) for i in range(30)], tmp_path, "imagenet")
    kit = tmp_path / "ILSVRC/devkit/data"
    assert (kit / "ILSVRC2015_clsloc_validation_blacklist.txt").read_text() == "29\n"
    assert len(rows(tmp_path / "LOC_val_solution.csv")) == len(singles_of_test)


# ------------------------------------------------------------------------------------------------ VOC


def test_voc_detection(written: dict[str, Path]) -> None:
    from torchvision.datasets import VOCDetection

    found = VOCDetection(str(written["voc"]), year="2012", image_set="val")
    assert len(found) == len(SCENES)
    for (picture, target), one in zip(found, SCENES, strict=True):
        objects = target["annotation"]["object"]
        assert close_to(picture, one)
        assert [o["name"] for o in objects] == [thing.category for thing in one.things]
        edges = [[int(o["bndbox"][k]) - 1 for k in ("xmin", "ymin", "xmax", "ymax")] for o in objects]
        assert edges == one.boxes.tolist()
        for flag in ("truncated", "occluded", "difficult"):
            assert [o[flag] == "1" for o in objects] == [getattr(f, flag) for f in one.flags]


def test_voc_segmentation(written: dict[str, Path]) -> None:
    """Outside of the void every pixel has its class and its instance; void lies outside things, one pixel wide."""
    from torchvision.datasets import VOCSegmentation

    numbers = {category: i for i, category in enumerate(sorted(CATEGORIES), 1)}
    cross = ndimage.generate_binary_structure(2, 1)
    found = VOCSegmentation(str(written["voc"]), year="2012", image_set="val")
    for (_, classes), path, one in zip(found, found.masks, SCENES, strict=True):
        assert classes.mode == "P"
        classes = np.asarray(classes)
        with Image.open(str(path).replace("SegmentationClass", "SegmentationObject")) as picture:
            owners = np.asarray(picture)
        void = classes == 255
        assert ((owners == 255) == void).all()
        expected = np.zeros_like(void)
        for i, mask in enumerate(one.masks):
            nearer_or_none = ~one.masks[i:].any(0)
            expected |= ndimage.binary_dilation(mask, cross) & nearer_or_none
            assert ((owners == i + 1) == (mask & ~void)).all()
            assert (classes[mask & ~void] == numbers[one.things[i].category]).all()
        assert (void == expected).all() and void.any()
        assert not classes[~one.masks.any(0) & ~void].any()
        assert (one.masks[-1] & void).sum() == 0, "the nearest thing is whole"


def test_voc_colours(written: dict[str, Path]) -> None:
    path = next((written["voc"] / "VOCdevkit/VOC2012/SegmentationClass").iterdir())
    with Image.open(path) as picture:
        colours = np.reshape(picture.getpalette(), (-1, 3)).tolist()
    known = {0: [0, 0, 0], 1: [128, 0, 0], 2: [0, 128, 0], 15: [192, 128, 128], 20: [0, 64, 128], 255: [224, 224, 192]}
    assert {i: colours[i] for i in known} == known


def test_voc_lists(tmp_path: Path) -> None:
    """1 where a class is shown, 0 where all of it is difficult, -1 elsewhere; both parts in two calls."""
    from torchvision.datasets import VOCDetection

    write(SCENES, tmp_path, "voc")
    write(TRAIN, tmp_path, "voc")
    sets = tmp_path / "VOCdevkit/VOC2012/ImageSets"
    for split, scenes in (("val", SCENES), ("train", TRAIN), ("trainval", TRAIN + SCENES)):
        names = (sets / f"Main/{split}.txt").read_text().split()
        assert len(names) == len(set(names)) == len(scenes)
        assert (sets / f"Segmentation/{split}.txt").read_text().split() == names
        for category in CATEGORIES:
            marks = [line.split() for line in (sets / f"Main/{category}_{split}.txt").read_text().splitlines()]
            assert [name for name, _ in marks] == names
            for (_, mark), one in zip(marks, scenes, strict=True):
                hard = [f.difficult for f, t in zip(one.flags, one.things, strict=True) if t.category == category]
                assert int(mark) == (-1 if not hard else 0 if all(hard) else 1)
    marks = "".join(path.read_text() for path in (sets / "Main").glob("*_val.txt"))
    assert {line[12:] for line in marks.splitlines()} == {"-1", " 0", " 1"}
    both = VOCDetection(str(tmp_path), year="2012", image_set="trainval")
    assert all(close_to(picture, one) for (picture, _), one in zip(both, TRAIN + SCENES, strict=True))


# ------------------------------------------------------------------------------------------------ COCO


def test_coco_instances(written: dict[str, Path]) -> None:
    """Polygons fill to the very masks; boxes are x, y, width, height; areas are numbers of pixels."""
    pytest.importorskip("pycocotools", reason="pycocotools, which reads COCO, is not installed")
    from torchvision.datasets import CocoDetection

    folder = written["coco"]
    found = CocoDetection(folder / "val2014", str(folder / "annotations/instances_val2014.json"))
    names = {c["id"]: c["name"] for c in found.coco.loadCats(found.coco.getCatIds())}
    assert list(names.values()) == list(CATEGORIES) and max(names) > 20, "numbers of categories have gaps"
    for (picture, target), one in zip(found, SCENES, strict=True):
        assert close_to(picture, one)
        assert [names[a["category_id"]] for a in target] == [thing.category for thing in one.things]
        for annotation, mask, (x0, y0, x1, y1) in zip(target, one.masks, one.boxes, strict=True):
            assert (found.coco.annToMask(annotation) == mask).all()
            assert isinstance(annotation["segmentation"], list) and annotation["iscrowd"] == 0
            assert annotation["area"] == mask.sum()
            assert annotation["bbox"] == [x0, y0, x1 - x0 + 1, y1 - y0 + 1]


def test_coco_evaluation_of_the_truth_is_perfect(written: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pycocotools", reason="pycocotools, which reads COCO, is not installed")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = COCO(str(written["coco"] / "annotations/instances_val2014.json"))
    guesses = [{**a, "score": 0.9} for a in truth.loadAnns(truth.getAnnIds())]
    for kind in ("segm", "bbox"):
        evaluation = COCOeval(truth, truth.loadRes([dict(g) for g in guesses]), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        assert evaluation.stats[0] == pytest.approx(1), kind


@pytest.mark.parametrize("density", [0.1, 0.5, 0.8, 0.97])
def test_polygons_of_any_mask(density: float) -> None:
    """Also with holes, holes at holes, islands in them, and pixels that touch by their corners."""
    mask = pytest.importorskip("pycocotools.mask", reason="pycocotools, which reads COCO, is not installed")
    random = np.random.default_rng(0)
    for high, wide in ((1, 1), (1, 9), (13, 17), (30, 21)):
        for _ in range(10):
            inside = random.random((high, wide)) < density
            inside[0, 0] = True
            decoded = mask.decode(mask.merge(mask.frPyObjects(polygons(inside), high, wide)))
            assert (decoded == inside).all()


def test_polygons_by_hand() -> None:
    """A ring of eight pixels is cut where its hole begins."""
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    left, right = polygons(ring)
    assert sorted(zip(left[::2], left[1::2], strict=True)) == [(0, 0), (0, 3), (1, 0), (1, 3)]
    assert len(right) == 16 and max(right) == 3 and min(right[::2]) == 1
    assert len(polygons(np.eye(2, dtype=bool))) == 2, "pixels that touch by a corner are apart"


def test_coco_captions_and_regions_of_both_parts(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools", reason="pycocotools, which reads COCO, is not installed")
    from torchvision.datasets import CocoCaptions

    write(SCENES, tmp_path, "coco")
    write(TRAIN, tmp_path, "coco")
    ids: list[int] = []
    described = {
        each["id"]: each["regions"] for each in json.loads((tmp_path / "region_descriptions.json").read_text())
    }
    sizes = {each["image_id"]: each for each in json.loads((tmp_path / "image_data.json").read_text())}
    for split, scenes in (("val", SCENES), ("train", TRAIN)):
        found = CocoCaptions(tmp_path / f"{split}2014", str(tmp_path / f"annotations/captions_{split}2014.json"))
        assert [captions for _, captions in found] == [list(one.captions) for one in scenes]
        assert all(len(one.captions) == 5 for one in scenes)
        ids += found.ids
        for number, one in zip(found.ids, scenes, strict=True):
            regions = described[number]
            assert [(r["phrase"], r["image_id"]) for r in regions] == [(r.caption, number) for r in one.regions]
            boxes = [(r["x"], r["y"], r["x"] + r["width"] - 1, r["y"] + r["height"] - 1) for r in regions]
            assert boxes == [r.box for r in one.regions] and boxes
            assert sizes[number]["width"] == SIZE and (tmp_path / sizes[number]["url"]).exists()
    assert len(set(ids)) == len(SCENES) + len(TRAIN) == len(described) == len(sizes)


# ------------------------------------------------------------------------------------------------ VQA


def test_vqa(written: dict[str, Path]) -> None:
    """Every question of every scene once, with its picture, ten answers, and what the answer is."""
    folder = written["vqa"]
    asked = json.loads((folder / "OpenEnded_mscoco_val2014_questions.json").read_text())
    answered = json.loads((folder / "mscoco_val2014_annotations.json").read_text())
    assert asked["task_type"] == "Open-Ended" and asked["data_subtype"] == answered["data_subtype"] == "val2014"
    of = {a["question_id"]: a for a in answered["annotations"]}
    pairs = [(q, of[q["question_id"]]) for q in asked["questions"]]
    truth = [(i, question) for i, one in enumerate(SCENES, 1) for question in one.questions]
    assert len(pairs) == len(of) == len(truth) > 50
    for (question, answer), (i, true) in zip(pairs, truth, strict=True):
        assert question["question"] == true.text and question["image_id"] == answer["image_id"] == 1_000_000 + i
        assert (folder / f"val2014/COCO_val2014_{question['image_id']:012d}.jpg").exists()
        assert answer["multiple_choice_answer"] == true.answer
        assert [(a["answer"], a["answer_id"]) for a in answer["answers"]] == [(true.answer, k) for k in range(1, 11)]
    types = {(a["question_type"], a["answer_type"]) for a in of.values()}
    assert {("how many", "number"), ("is there a", "yes/no"), ("what color is the", "other")} <= types


def test_vqa_hat(written: dict[str, Path]) -> None:
    """Three grey maps for each question, brightest where it is to be looked, like a Gaussian around it."""
    folder = written["vqa"] / "vqahat_val"
    truth = {
        100 * (1_000_000 + i) + k: (one, q) for i, one in enumerate(SCENES, 1) for k, q in enumerate(one.questions)
    }
    assert {p.name for p in folder.iterdir()} == {f"{q}_{person}.png" for q in truth for person in (1, 2, 3)}
    for number, (one, question) in list(truth.items())[::7]:
        looked = one.looked_at(question)
        for person, width in ((1, 0.04), (2, 0.02), (3, 0.08)):
            with Image.open(folder / f"{number}_{person}.png") as picture:
                assert picture.mode == "L" and picture.size == (SIZE, SIZE)
                values = np.asarray(picture, float)
            blurred = ndimage.gaussian_filter(looked.astype(float), width * SIZE, mode="nearest")
            assert values.max() == 255
            assert np.corrcoef(values.ravel(), blurred.ravel())[0, 1] > 0.99


def test_vqa_hat_has_no_map_where_nothing_is_looked_at(tmp_path: Path) -> None:
    one = replace(CUT)
    one.__dict__["questions"] = (
        Question("is it art?", "no", "check", ()),
        Question("what is it?", "car", "kind", (0,)),
    )
    write([one], tmp_path, "vqa")
    assert {p.name[-7:] for p in (tmp_path / "vqahat_val").iterdir()} == {"1_1.png", "1_2.png", "1_3.png"}
    write(TRAIN[:1], tmp_path, "vqa")
    assert {p.name[-6:] for p in (tmp_path / "vqahat_train").iterdir()} == {"_1.png"}, "one person in training"


# ------------------------------------------------------------------------------------------------ Broden


def decoded(folder: Path, cell: str, side: int) -> np.ndarray[Any, Any]:
    """The numbers of labels ``(H, W)`` that a cell of the index means."""
    if cell.isdigit():
        return np.full((side, side), int(cell))
    with Image.open(folder / "images" / cell) as picture:
        values = np.asarray(picture).astype(int)
    return values[:, :, 0] + 256 * values[:, :, 1]


def test_broden_maps(written: dict[str, Path]) -> None:
    """Every other pixel has the name that the scene gives it."""
    folder, half = written["broden"] / f"broden1_{SIZE}", SIZE // 2
    names = {0: ""} | {int(row["number"]): row["name"] for row in rows(folder / "label.csv")}
    assert sorted(names) == list(range(len(names))) and len(set(names.values())) == len(names)
    found = rows(folder / "index.csv")
    assert list(found[0]) == ["image", "split", "ih", "iw", "sh", "sw", *CONCEPTS]
    for row, one in zip(found, SCENES, strict=True):
        assert [row[k] for k in ("split", "ih", "iw", "sh", "sw")] == ["val", *[str(SIZE)] * 2, *[str(half)] * 2]
        assert row["scene"].isdigit() and names[int(row["scene"])] == f"{one.place}-s"
        for kind in CONCEPTS:
            labels, where = one.concepts(kind)
            ending = {"color": "-c", "scene": "-s"}.get(kind, "")
            true = np.array(["", *(label + ending for label in labels)], object)[where[1::2, 1::2]]
            assert (
                np.array([names[i] for i in range(len(names))], object)[decoded(folder, row[kind], half)] == true
            ).all()


def test_broden_tables(written: dict[str, Path]) -> None:
    """Frequencies and coverages as counted from the scenes; dense codes, the most frequent first."""
    folder = written["broden"] / f"broden1_{SIZE}"
    frequency: Counter[tuple[str, str]] = Counter()
    coverage: Counter[tuple[str, str]] = Counter()
    for one in SCENES:
        for kind in CONCEPTS:
            for i, label in enumerate(one.concepts(kind)[0], 1):
                key = kind, label + {"color": "-c", "scene": "-s"}.get(kind, "")
                frequency[key] += 1
                coverage[key] += (one.concepts(kind)[1] == i).mean()
    labels = {row["name"]: row for row in rows(folder / "label.csv")}
    for row in labels.values():
        own = {kind: n for (kind, name), n in frequency.items() if name == row["name"]}
        assert dict(part[:-1].split("(") for part in row["category"].split(";")) == {k: str(n) for k, n in own.items()}
        assert int(row["frequency"]) == sum(own.values())
        shares = sum(share for (_, name), share in coverage.items() if name == row["name"])
        assert float(row["coverage"]) == pytest.approx(shares, abs=1e-5)
    assert any(";" in row["category"] for row in labels.values()), "a label of two kinds has one number"
    kinds = {row["name"]: row for row in rows(folder / "category.csv")}
    assert list(kinds) == list(CONCEPTS)
    for kind, row in kinds.items():
        codes = rows(folder / f"c_{kind}.csv")
        assert {c["name"]: (int(c["frequency"]), c["number"]) for c in codes} == {
            name: (n, labels[name]["number"]) for (k, name), n in frequency.items() if k == kind
        }
        assert [int(c["code"]) for c in codes] == list(range(1, len(codes) + 1))
        assert [int(c["frequency"]) for c in codes] == sorted((int(c["frequency"]) for c in codes), reverse=True)
        numbers = [int(c["number"]) for c in codes]
        assert [int(row[k]) for k in ("first", "last", "count")] == [min(numbers), max(numbers), len(numbers)]
        assert int(row["frequency"]) == sum(int(c["frequency"]) for c in codes)


def test_broden_holds_both_parts_in_one_index(tmp_path: Path) -> None:
    write([*TRAIN, *SCENES[:2]], tmp_path, "broden")
    found = rows(tmp_path / f"broden1_{SIZE}" / "index.csv")
    assert [row["split"] for row in found] == ["train"] * 3 + ["val"] * 2
    assert len({row["image"] for row in found}) == 5


def test_labels_beyond_a_byte_are_encoded_in_two() -> None:
    from wherefore.scenes.formats.broden import encoded

    assert encoded(np.array([[0, 255, 256, 1197]])).tolist() == [[[0, 0, 0], [255, 0, 0], [0, 1, 0], [173, 4, 0]]]


def test_pictures_to_look_at_say_what_they_show(written: dict[str, Path]) -> None:
    folder, shown = written["pictures"], scenes_for("pictures")
    lines = [json.loads(line) for line in (folder / "annotations_val.jsonl").read_text().splitlines()]
    assert len(lines) == len(shown)
    for said, one in zip(lines, shown, strict=True):
        with Image.open(folder / said["picture"]) as picture:
            assert (np.asarray(picture) == np.asarray(one.image)).all()
        assert said["place"] == one.place and said["captions"] == list(one.captions) and said["scene"] == one.name
        assert [(t["category"], t["box"]) for t in said["things"]] == [
            (thing.category, box.tolist()) for thing, box in zip(one.things, one.boxes, strict=True)
        ]
        assert [q["answer"] for q in said["questions"]] == [q.answer for q in one.questions]
    with Image.open(folder / "sheet_val.png") as sheet:
        assert sheet.width >= 2 * shown[0].size and sheet.crop((0, 0, shown[0].size, shown[0].size)) == shown[0].image
