"""Data sets as they lie on disk: scenes read back from every format, other libraries' readers, and every damage."""

from __future__ import annotations

import csv
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from wherefore.cli import main
from wherefore.datasets import VOID, Dataset, Sample, opened, report
from wherefore.datasets.files import Unreadable
from wherefore.datasets.scenes import of_scene
from wherefore.datasets.synsets import are_real
from wherefore.errors import Error
from wherefore.registry import DATASETS
from wherefore.scenes import Scene, scene
from wherefore.scenes.formats import write
from wherefore.scenes.formats.imagenet import BAD, SYNSETS
from wherefore.scenes.formats.voc import rim

SIZE = 72
MIXED = [scene(i, size=SIZE) for i in range(5)]
SINGLE = [scene(i, objects=1, size=SIZE) for i in range(BAD + 1)]
TRAIN = [scene(i, "train", objects=1, size=SIZE) for i in range(4)]
CORNERS = ("xmin", "ymin", "xmax", "ymax")
VOC, ILSVRC = "VOCdevkit/VOC2012", "ILSVRC"


def shown(format: str) -> list[Scene]:
    return SINGLE if format == "imagenet" else MIXED


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scenes as ILSVRC, VOC and COCO, VQA with COCO's files, and some of them as a folder of one's own."""
    root = tmp_path_factory.mktemp("datasets")
    for format in ("imagenet", "voc", "coco", "vqa"):
        write([*shown(format), *TRAIN], root / format, format)
    write(MIXED, root / "six", "broden")
    (root / "six" / f"broden1_{SIZE}").rename(root / "broden")
    shutil.copytree(root / "coco", root / "genome")  # which has the descriptions of regions
    shutil.copytree(root / "coco" / "annotations", root / "vqa" / "annotations")
    own = root / "folder"
    rows = [("path", "label", "x0", "y0", "x1", "y1")]
    for i, one in enumerate(MIXED):
        (own / "pictures").mkdir(parents=True, exist_ok=True)
        one.image.save(own / "pictures" / f"{i}.png")
        rows += [(f"pictures/{i}.png", t.category, *box) for t, box in zip(one.things, one.boxes.tolist(), strict=True)]
    with (own / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    shutil.copytree(own / "pictures", root / "manifest" / "pictures")
    regions = [json.dumps({"thing": one.boxes[0].tolist()}) for one in MIXED]
    rows = [("path", "label", "group", "split", "regions")]
    rows += [(f"pictures/{i}.png", one.labels[0], "all", "test", regions[i]) for i, one in enumerate(MIXED)]
    with (root / "manifest" / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return root


def spec_of(name: str, root: Path) -> str:
    """What opens one of them."""
    return "scenes" if name == "scenes" else f"{name}:{root / name}" + "/list.csv" * (name == "manifest")


@pytest.fixture
def copied(written: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of one of them, to be damaged."""
    return lambda format: Path(shutil.copytree(written / format, tmp_path / format))


# ------------------------------------------------------------------------------------------------ of every data set


@pytest.fixture(scope="module", params=list(DATASETS))
def dataset(request: pytest.FixtureRequest, written: Path) -> Dataset:
    name = str(request.param)
    return opened(spec_of(name, written))


def test_every_data_set_is_a_sequence_that_says_what_it_is(dataset: Dataset) -> None:
    count = len(dataset)
    assert dataset.classes or dataset.name in ("genome", "broden")
    assert dataset.name == dataset.spec.partition(":")[0] and dataset.split == "test" and not dataset.comparable
    assert isinstance(dataset[0], Sample) and dataset[-1] == dataset[count - 1] and dataset[:2] == [*dataset[0:2]]
    with pytest.raises(IndexError):
        dataset[count]
    assert len({each.name for each in dataset[:5]}) == 5
    assert [dataset.number(name) for name in dataset.classes] == [*range(len(dataset.classes))]
    assert dataset.drawn == (dataset.name == "scenes")
    with pytest.raises(Error, match=r"no class of .* is called 'tyger'"):
        dataset.number("tyger")


def test_every_sample_is_the_same_again_and_whole(dataset: Dataset) -> None:
    """Also in another process, which opens it by its spec."""
    spec, split = pickle.loads(pickle.dumps((dataset.spec, dataset.split)))
    again = opened(spec, split)
    for one, other in zip(dataset[:5], again[:5], strict=True):
        assert one == other and one.image.tobytes() == other.image.tobytes()
        assert one.size == one.image.size and one.image.mode == "RGB" and not one.notes
        assert one.labels == tuple(name for name in dataset.classes if name in one.labels)
        assert bool(one.labels) == bool(dataset.classes)
        assert {each.category for each in one.instances} <= set(one.labels)
        width, height = one.size
        for each in one.instances:
            x0, y0, x1, y1 = each.box
            assert all(type(v) is int for v in each.box) and 0 <= x0 <= x1 < width and 0 <= y0 <= y1 < height
            if each.mask is not None:
                assert each.mask.shape == (height, width) and each.mask.dtype == bool and each.mask.any()
                ys, xs = np.nonzero(each.mask)
                assert x0 <= xs.min() and xs.max() <= x1 and y0 <= ys.min() and ys.max() <= y1
        if one.segmentation is not None:
            assert one.segmentation.shape == (height, width)


def test_a_whole_data_set_has_no_problems(dataset: Dataset) -> None:
    found = report(dataset)
    assert found["problems"] == [] and found["usable"] == found["pictures"] == len(dataset)
    assert found["classes"] == [*dataset.classes]


@pytest.mark.parametrize("name", [name for name in DATASETS if name not in ("scenes", "manifest")])
def test_a_folder_that_is_none(name: str, tmp_path: Path) -> None:
    with pytest.raises(Error, match=f"lies in a folder: give {name}:DIR"):
        opened(name)
    with pytest.raises(Error, match="does not exist"):
        opened(f"{name}:{tmp_path / 'none'}")
    (tmp_path / "file").write_text("")
    with pytest.raises(Error, match="is no folder"):
        opened(f"{name}:{tmp_path / 'file'}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(Error, match=r"holds no .*expected|holds no pictures"):
        opened(f"{name}:{tmp_path / 'empty'}")


def test_unknown_data_sets_and_splits(written: Path) -> None:
    with pytest.raises(Error, match="no data set is called 'vocc': did you mean voc"):
        opened("vocc:x")
    for name in ("imagenet", "voc", "coco", "vqa", "genome", "broden", "folder", "manifest"):
        with pytest.raises(Error, match=r"(has|have|holds|there is) no?.* 'nonsense'|not 'nonsense'"):
            opened(spec_of(name, written), "nonsense")


# ------------------------------------------------------------------------------------------------ scenes read back


@pytest.mark.parametrize("format", ["imagenet", "voc", "coco", "vqa", "folder"])
def test_scenes_read_back_are_the_scenes(format: str, written: Path) -> None:
    found = opened(f"{format}:{written / format}")
    assert len(found) == len(shown(format))
    for sample, one in zip(found, shown(format), strict=True):
        true = of_scene(one)
        assert set(sample.labels) == set(true.labels)
        assert [(i.category, i.box) for i in sample.instances] == [(i.category, i.box) for i in true.instances]
        difference = np.abs(np.asarray(sample.image, float) - np.asarray(true.image, float))
        assert difference.mean() < 6, "the picture is that of the scene"
        if format == "voc":
            assert [i.difficult for i in sample.instances] == [i.difficult for i in true.instances]
        if format == "vqa":
            assert len(sample.questions) == len(true.questions) > 0
        if format == "coco":
            assert sample.captions == true.captions
            assert all((i.mask == j.mask).all() for i, j in zip(sample.instances, true.instances, strict=True))
            assert sample.regions == true.regions != ()


def test_voc_segmentation_is_that_of_the_scenes_but_for_the_void_rim(written: Path) -> None:
    found = opened(f"voc:{written / 'voc'}")
    for sample, one in zip(found, MIXED, strict=True):
        true = of_scene(one)
        owners = np.zeros((SIZE, SIZE), np.uint8)
        for i, each in enumerate(true.instances, 1):
            owners[each.mask] = i
        sure = ~rim(owners)
        names = np.array(["", *found.classes], object)
        true_names = np.array(["", *(each.category for each in true.instances)], object)[owners]
        assert sample.segmentation is not None and (sample.segmentation[~sure] == VOID).all()
        assert (names[sample.segmentation[sure]] == true_names[sure]).all()
        for i, each in enumerate(sample.instances, 1):
            assert each.mask is not None and (each.mask == ((owners == i) & sure)).all()


def test_splits_of_scenes(written: Path) -> None:
    for format in ("imagenet", "voc", "coco", "vqa"):
        for split in ("dev", "train"):
            found = opened(f"{format}:{written / format}", split)
            assert [sample.labels for sample in found] == [one.labels for one in TRAIN] and found.split == split
    assert len(opened(f"voc:{written / 'voc'}", "trainval")) == len(MIXED) + len(TRAIN)
    assert len(opened(f"coco:{written / 'coco'}", "val2014")) == len(MIXED)
    assert len(opened(f"imagenet:{written / 'imagenet'}", "train_loc")) == len(TRAIN)


def test_torchvision_reads_the_same_of_voc(written: Path) -> None:
    from torchvision.datasets import VOCDetection, VOCSegmentation

    ours = opened(f"voc:{written / 'voc'}")
    for sample, (picture, target) in zip(ours, VOCDetection(written / "voc", image_set="val"), strict=True):
        assert np.array_equal(np.asarray(sample.image), np.asarray(picture))
        objects = target["annotation"]["object"]
        theirs = [[int(o["bndbox"][c]) - 1 for c in ("xmin", "ymin", "xmax", "ymax")] for o in objects]
        assert [list(i.box) for i in sample.instances] == theirs
        assert [i.difficult for i in sample.instances] == [o["difficult"] == "1" for o in objects]
    for sample, (_, classes) in zip(ours, VOCSegmentation(written / "voc", image_set="val"), strict=True):
        assert np.array_equal(sample.segmentation, np.asarray(classes))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_pycocotools_reads_the_same_of_coco(written: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools, which reads COCO, is not installed")
    theirs = coco.COCO(str(written / "coco/annotations/instances_val2014.json"))
    ours = opened(f"coco:{written / 'coco'}")
    assert ours.classes == tuple(each["name"] for each in theirs.loadCats(sorted(theirs.getCatIds())))
    for sample, number in zip(ours, theirs.getImgIds(), strict=True):
        rows = theirs.loadAnns(theirs.getAnnIds(imgIds=number))
        assert [i.category for i in sample.instances] == [theirs.cats[row["category_id"]]["name"] for row in rows]
        for each, row in zip(sample.instances, rows, strict=True):
            assert np.array_equal(each.mask, theirs.annToMask(row).astype(bool))


# ------------------------------------------------------------------------------------------------ ILSVRC


def test_the_blacklist_has_labels_but_no_boxes_that_count(written: Path) -> None:
    found = opened(f"imagenet:{written / 'imagenet'}")
    assert [sample.boxed for sample in found] == [number != BAD for number in range(1, len(SINGLE) + 1)]
    assert found[BAD - 1].labels == SINGLE[BAD - 1].labels and found[BAD - 1].instances


def test_boxes_of_the_csv_file_are_those_of_the_xml_files(copied: Callable[[str], Path]) -> None:
    folder = copied("imagenet")
    by_xml = [*opened(f"imagenet:{folder}")]
    shutil.rmtree(folder / ILSVRC / "Annotations")
    assert [*opened(f"imagenet:{folder}")] == by_xml


def kit_only(folder: Path) -> Path:
    """Without boxes: what is left to say of a picture is said by the development kit."""
    shutil.rmtree(folder / ILSVRC / "Annotations")
    (folder / "LOC_val_solution.csv").unlink()
    return folder / ILSVRC / "devkit/data"


@pytest.mark.parametrize("matlab", [False, True])
def test_the_other_order_of_the_development_kit(matlab: bool, copied: Callable[[str], Path]) -> None:
    folder = copied("imagenet")
    kit = kit_only(folder)
    if matlab:
        rows = [line.split(None, 2) for line in (kit / "map_clsloc.txt").read_text().splitlines()]
        (kit / "map_clsloc.txt").unlink()
        kinds = [("ILSVRC2014_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
        values = [(int(number), synset, name, 0) for synset, number, name in rows]
        savemat(kit / "meta_clsloc.mat", {"synsets": np.array([*values, (1001, "n90", "all of them", 20)], kinds)})
    for mapping in (True, False):
        if not mapping:
            (folder / "LOC_synset_mapping.txt").unlink()
        found = opened(f"imagenet:{folder}")
        assert found.classes == tuple(SYNSETS), "in the order of the synsets, also by the kit's own names"
        assert [sample.labels for sample in found] == [one.labels for one in SINGLE]
        assert not any(sample.instances or sample.boxed for sample in found)


def test_plain_folders_of_ilsvrc(written: Path, tmp_path: Path) -> None:
    """Pictures in val, in a folder for each class, or beside the CSV file; classes are the synsets that occur."""
    source, csv_file = written / "imagenet/ILSVRC/Data/CLS-LOC/val", written / "imagenet/LOC_val_solution.csv"
    names = [f"ILSVRC2012_val_{i:08d}.JPEG" for i in range(1, 4)]
    synsets = [SYNSETS[one.labels[0]] for one in SINGLE[:3]]
    for place in ("flat/val", "beside", "classes/val"):
        for name, synset in zip(names, synsets, strict=True):
            at = tmp_path / place / (synset if "classes" in place else "")
            at.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / name, at)
    shutil.copy(csv_file, tmp_path / "flat/val_solution.csv")
    shutil.copy(csv_file, tmp_path / "beside")
    for place in ("flat", "beside", "classes"):
        found = opened(f"imagenet:{tmp_path / place}")
        by_name = {sample.name: sample.labels for sample in found}
        assert by_name == {Path(n).stem: (s,) for n, s in zip(names, synsets, strict=True)}
        assert list(found.classes) == sorted(found.classes) and found[0].boxed == (place != "classes")


def test_of_boxes_of_two_classes_the_list_says_which_is_the_label(copied: Callable[[str], Path]) -> None:
    folder, (label,) = copied("imagenet"), SINGLE[0].labels
    path = folder / ILSVRC / "Annotations/CLS-LOC/val/ILSVRC2012_val_00000001.xml"
    other = next(name for name in SYNSETS if name != label)
    tree = ElementTree.parse(path)
    (thing,) = tree.getroot().findall("object")
    stranger = ElementTree.fromstring(
        ElementTree.tostring(thing).replace(SYNSETS[label].encode(), SYNSETS[other].encode())
    )
    tree.getroot().insert(0, stranger)
    tree.write(path)
    sample = opened(f"imagenet:{folder}")[0]
    assert [each.category for each in sample.instances] == [other, label]
    assert sample.labels == (label,) and not sample.notes


def test_names_of_synsets_are_made_different(copied: Callable[[str], Path]) -> None:
    folder, (first, second, third, fourth) = copied("imagenet"), [*SYNSETS.values()][:4]
    path = folder / "LOC_synset_mapping.txt"
    rest = "".join(path.read_text().splitlines(keepends=True)[4:])
    path.write_text(f"{fourth} maillot, tank suit\n{third} maillot\n{second} crane\n{first} crane\n{rest}")
    classes = opened(f"imagenet:{folder}").classes
    assert classes[:4] == (f"crane ({first})", f"crane ({second})", "maillot", "maillot, tank suit")
    assert len(set(classes)) == len(classes)


def test_real_synsets_are_told_from_made_up_ones() -> None:
    assert not are_real(SYNSETS.values()) and not are_real(f"n{i:08d}" for i in range(1000))


# ------------------------------------------------------------------------------------------------ VOC


def test_lists_of_voc(copied: Callable[[str], Path]) -> None:
    folder = copied("voc")
    root = folder / VOC
    names = [sample.name for sample in opened(f"voc:{folder}")]
    assert [s.name for s in opened(f"voc:{root}")] == names == [s.name for s in opened(f"voc:{root.parent}")]
    category = opened(f"voc:{folder}")[0].labels[0]
    own = opened(f"voc:{folder}", f"{category}_val")
    assert [s.name for s in own] == [s.name for s in opened(f"voc:{folder}") if category in s.labels]
    (root / "ImageSets/Segmentation/val.txt").write_text(f"{names[1]}\n")
    assert len(opened(f"voc:{folder}", "val")) == len(names) and len(opened(f"voc:{folder}", "Segmentation/val")) == 1
    (root / "ImageSets/Main/test.txt").write_text("2012_999999\n")
    assert [s.name for s in opened(f"voc:{folder}")] == names, "a list without annotations is not measured on"
    (root / "ImageSets/Main/test.txt").write_text(f"{names[2]}\n")
    assert [s.name for s in opened(f"voc:{folder}")] == [names[2]]
    shutil.copytree(root, root.parent / "VOC2007")
    with pytest.raises(Error, match=r"holds (VOC2007 and VOC2012|VOC2012 and VOC2007)"):
        opened(f"voc:{folder}")


def test_trainaug(copied: Callable[[str], Path]) -> None:
    """Its lists come in two forms; its masks lie in a folder of their own, and VOC's go first."""
    folder = copied("voc")
    root, names = folder / VOC, [sample.name for sample in opened(f"voc:{folder}")]
    (root / "SegmentationClassAug").mkdir()
    for name in names[:2]:
        Image.fromarray(np.full((SIZE, SIZE), 2, np.uint8)).save(root / "SegmentationClassAug" / f"{name}.png")
    (root / "SegmentationClass" / f"{names[0]}.png").unlink()
    lines = [f"/JPEGImages/{name}.jpg /SegmentationClassAug/{name}.png" for name in names[:2]]
    for text in ("\n".join(lines), "\n".join(names[:2])):
        (root / "ImageSets/Segmentation/trainaug.txt").write_text(text)
        first, second = opened(f"voc:{folder}", "trainaug")
        assert first.segmentation is not None and (first.segmentation == 2).all()
        assert all(each.mask is None for each in first.instances if each.category != opened(f"voc:{folder}").classes[1])
        assert second.segmentation is not None and (second.segmentation == 0).any()


def test_pictures_with_xml_files_beside_them(written: Path, tmp_path: Path) -> None:
    """No lists, no segmentation: classes are those that occur."""
    whole = opened(f"voc:{written / 'voc'}")
    for kind, source in (("images", "JPEGImages"), ("annots", "Annotations")):
        shutil.copytree(written / "voc" / VOC / source, tmp_path / kind, ignore=shutil.ignore_patterns("2011*"))
    (tmp_path / "annots" / "._2012_000001.xml").write_bytes(b"\0")  # left by another system
    found = opened(f"voc:{tmp_path}")
    assert [(s.name, s.labels) for s in found] == [(s.name, s.labels) for s in whole]
    assert found.classes == tuple(sorted({name for s in whole for name in s.labels}))
    assert found[0].segmentation is None and found[0].instances[0].mask is None
    with pytest.raises(Error, match="no lists of pictures"):
        opened(f"voc:{tmp_path}", "train")


def test_the_real_classes_of_voc(copied: Callable[[str], Path]) -> None:
    """A part of VOC in which not all classes occur still numbers them as VOC does."""
    folder = copied("voc")
    shutil.rmtree(folder / VOC / "ImageSets")
    for path in (folder / VOC / "Annotations").glob("*.xml"):
        tree = ElementTree.parse(path)
        for name in tree.getroot().iter("name"):
            name.text = "dog"
        tree.write(path)
    (folder / VOC / "ImageSets/Main").mkdir(parents=True)
    (folder / VOC / "ImageSets/Main/val.txt").write_text("2012_000001\n")
    found = opened(f"voc:{folder}")
    assert found.comparable and found.number("dog") == 11 and len(found.classes) == 20 and found[0].labels == ("dog",)


# ------------------------------------------------------------------------------------------------ COCO


def coco_by_hand(folder: Path, *things: dict[str, Any], **image: Any) -> Dataset:
    """A picture of 8x6 pixels with things in it; categories 7 and 3 are listed in that order."""
    Image.new("RGB", (8, 6)).save(folder / "a.png")
    rows = [
        {"id": i, "image_id": 5, "category_id": 3, "iscrowd": 0, "bbox": [1, 1, 2, 2]} | t for i, t in enumerate(things)
    ]
    found = {
        "images": [{"id": 5, "file_name": "a.png", "width": 8, "height": 6} | image],
        "annotations": rows,
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
    }
    (folder / "instances.json").write_text(json.dumps(found))
    return opened(f"coco:{folder}")


def test_classes_of_coco_are_ordered_by_their_ids(tmp_path: Path) -> None:
    found = coco_by_hand(tmp_path, {"category_id": 7}, {})
    assert found.classes == ("cat", "dog") and found[0].labels == ("cat", "dog") and found[0].name == "a"


@pytest.mark.parametrize(
    ("bbox", "box"),
    [
        ([0, 0, 8, 6], (0, 0, 7, 5)),
        ([1, 2, 1, 1], (1, 2, 1, 2)),
        ([1.5, 2.5, 1.0, 1.0], (1, 2, 2, 3)),
        ([0.1, 0, 0.2, 1], (0, 0, 0, 0)),
        ([2.0, 1.0, 2.9999, 2.0001], (2, 1, 4, 2)),
    ],
)
def test_boxes_of_coco_hold_the_pixels_that_they_touch(bbox: list[float], box: tuple[int, ...], tmp_path: Path) -> None:
    assert coco_by_hand(tmp_path, {"bbox": bbox})[0].instances[0].box == box


def test_crowds_run_lengths_and_polygons(tmp_path: Path) -> None:
    """The same two columns, by hand: run lengths go down the columns, first outside."""
    codec = pytest.importorskip("pycocotools.mask", reason="pycocotools, which fills polygons, is not installed")
    true = np.zeros((6, 8), bool)
    true[1:4, 2:4] = True
    counts = [13, 3, 3, 3, 26]
    packed = codec.frPyObjects({"size": [6, 8], "counts": counts}, 6, 8)["counts"].decode()
    two = [[2, 1, 3, 1, 3, 4, 2, 4], [3, 1, 4, 1, 4, 4, 3, 4]]
    drawn = [{"size": [6, 8], "counts": counts}, {"size": [6, 8], "counts": packed}, [[2, 1, 4, 1, 4, 4, 2, 4]], two]
    things = [{"segmentation": each, "iscrowd": int(i == 0), "bbox": [2, 1, 2, 3]} for i, each in enumerate(drawn)]
    sample = coco_by_hand(tmp_path, *things)[0]
    assert [each.crowd for each in sample.instances] == [True, False, False, False]
    for each in sample.instances:
        assert each.mask is not None and np.array_equal(each.mask, true)
    assert np.array_equal(sample.mask("cat"), true) and sample.labels == ("cat",)


def test_masks_of_another_size_are_fitted_to_the_picture(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools", reason="pycocotools, which fills polygons, is not installed")
    runs = {"size": [10, 4], "counts": [0, 40]}
    sample = coco_by_hand(tmp_path, {"segmentation": runs}, width=4, height=10)[0]
    assert sample.notes == ("size in the annotation is not the picture's",)
    expected = np.zeros((6, 8), bool)
    expected[:, :4] = True
    assert np.array_equal(sample.instances[0].mask, expected)


def test_masks_need_pycocotools_but_boxes_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pycocotools", None)
    sample = coco_by_hand(tmp_path, {"segmentation": [[0, 0, 2, 0, 2, 2]]})[0]
    assert sample.instances[0].box == (1, 1, 2, 2)
    with pytest.raises(Error, match=r"pip install 'wherefore\[eval\]'"):
        _ = sample.instances[0].mask


# ------------------------------------------------------------------------------------------------ folders


def test_a_folder_for_each_class_and_parts(tmp_path: Path) -> None:
    for place in ("train/cat", "train/dog", "val/dog"):
        (tmp_path / place).mkdir(parents=True)
        Image.new("RGB", (5, 4)).save(tmp_path / place / "1.png")
    spec = f"folder:{tmp_path}"
    assert [(s.name, s.labels) for s in opened(spec)] == [("dog/1.png", ("dog",))]
    assert [(s.name, s.labels) for s in opened(spec, "dev")] == [("cat/1.png", ("cat",)), ("dog/1.png", ("dog",))]
    assert opened(spec, "train").classes == ("cat", "dog") and not opened(spec)[0].boxed
    flat = opened(f"folder:{tmp_path / 'train/cat'}")
    assert [(s.name, s.labels, s.size) for s in flat] == [("1.png", (), (5, 4))] and flat.classes == ()
    with pytest.raises(Error, match="has no parts, so there is no 'train'"):
        opened(f"folder:{tmp_path / 'train/cat'}", "train")


def test_labels_with_and_without_boxes(tmp_path: Path) -> None:
    Image.new("L", (10, 10), 7).save(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text(
        "path,label,x0,y0,x1,y1\na.png,dog,1,2,3,4\na.png,cat,,,,\na.png,dog,5,5,99,9\n"
    )
    (sample,) = opened(f"folder:{tmp_path}")
    assert sample.labels == ("cat", "dog") and sample.boxes("dog") == [(1, 2, 3, 4), (5, 5, 9, 9)]
    assert sample.notes == ("box clipped to the picture",) and sample.image.getpixel((0, 0)) == (7, 7, 7)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,label\na.png,x\n", "labels.csv has no column path: its first line names them"),
        ("", "labels.csv has no column path and no column label"),
        ('path,label\n"a.png,dog\n', "labels.csv is a damaged CSV file"),
    ],
)
def test_labels_that_cannot_be_read(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(Error, match=said):
        opened(f"folder:{tmp_path}")


# ------------------------------------------------------------------------------------------------ damage


def voc_with(tmp_path: Path, *corners: str, said: tuple[str, str] = ("20", "10")) -> Sample:
    """The one sample of a folder with a picture of 20x10 pixels, a dog in it, and what is said of the size."""
    (tmp_path / "images").mkdir()
    (tmp_path / "annots").mkdir()
    Image.new("RGB", (20, 10)).save(tmp_path / "images/a.jpg")
    box = "".join(f"<{tag}>{value}</{tag}>" for tag, value in zip(CORNERS, corners, strict=True))
    head = f"<size><width>{said[0]}</width><height>{said[1]}</height></size>"
    thing = f"<object><name>dog</name><bndbox>{box}</bndbox></object>"
    (tmp_path / "annots/a.xml").write_text(f"<annotation>{head}{thing}</annotation>")
    return opened(f"voc:{tmp_path}")[0]


@pytest.mark.parametrize(
    ("box", "expected", "note"),
    [
        ("1 1 20 10", (0, 0, 19, 9), None),
        ("3.4 2 5.6 4", (2, 1, 5, 3), None),
        ("0 1 21 10", (0, 0, 19, 9), "box clipped to the picture"),
        ("8 9 3 2", (2, 1, 7, 8), "corners of a box exchanged"),
        ("30 1 40 5", None, "box outside of the picture left out"),
        ("-9 -9 0 0", None, "box outside of the picture left out"),
    ],
)
def test_boxes_are_held_against_the_picture(
    box: str, expected: tuple[int, ...] | None, note: str | None, tmp_path: Path
) -> None:
    sample = voc_with(tmp_path, *box.split())
    assert [each.box for each in sample.instances] == ([] if expected is None else [expected])
    assert sample.notes == (() if note is None else (note,))


def test_the_decoded_picture_decides_and_boxes_stay_as_they_are(tmp_path: Path) -> None:
    sample = voc_with(tmp_path, *"2 2 15 9".split(), said=("40", "20"))
    assert sample.size == (20, 10) and sample.instances[0].box == (1, 1, 14, 8)
    assert sample.notes == ("size in the annotation is not the picture's",)


@pytest.mark.parametrize("said", [("20", "10"), ("0", "0"), ("wide", "high")])
def test_sizes_that_agree_or_say_nothing(said: tuple[str, str], tmp_path: Path) -> None:
    assert voc_with(tmp_path, *"2 2 15 9".split(), said=said).notes == ()


@pytest.mark.parametrize("box", ["nan 1 2 3", "1 1 inf 3", "one 1 2 3"])
def test_boxes_that_are_no_numbers(box: str, tmp_path: Path) -> None:
    with pytest.raises(Error, match=r"a.xml has a box that is not four numbers"):
        voc_with(tmp_path, *box.split())


def damage(kind: str, folder: Path) -> str:
    """Damages the second sample of VOC and says what is to be said of it."""
    root, name = folder / VOC, "2012_000002"
    picture, xml, regions = (
        root / f"JPEGImages/{name}.jpg",
        root / f"Annotations/{name}.xml",
        root / "SegmentationClass",
    )
    if kind == "no annotation":
        xml.unlink()
        return "2012_000002.xml does not exist: the picture has no annotation"
    if kind == "cut annotation":
        xml.write_bytes(xml.read_bytes()[:100])
        return "2012_000002.xml is a damaged XML file"
    if kind == "no picture":
        picture.unlink()
        return "2012_000002.jpg does not exist"
    if kind == "empty picture":
        picture.write_bytes(b"")
        return "2012_000002.jpg is not a picture"
    if kind == "cut picture":
        picture.write_bytes(picture.read_bytes()[:900])
        return "2012_000002.jpg cannot be read, it seems damaged or cut off"
    if kind == "text for a picture":
        picture.write_text("not a picture")
        return "2012_000002.jpg is not a picture"
    if kind == "coloured segmentation":
        Image.new("RGB", (SIZE, SIZE)).save(regions / f"{name}.png")
        return "2012_000002.png has colours, not numbers of classes"
    if kind == "numbers beyond the classes":
        Image.fromarray(np.full((SIZE, SIZE), 99, np.uint8)).save(regions / f"{name}.png")
        return "2012_000002.png shows numbers that are no class's"
    path = root / "ImageSets/Main/val.txt"
    path.write_text(path.read_text().replace(name, "../../secret"))
    return r"val.txt names a file outside of its folder \('../../secret'\)"


DAMAGE = [
    "no annotation", "cut annotation", "no picture", "empty picture", "cut picture", "text for a picture",
    "coloured segmentation", "numbers beyond the classes", "a name that leads out",
]  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_one_damaged_sample_is_named_and_the_others_are_read(kind: str, copied: Callable[[str], Path]) -> None:
    folder = copied("voc")
    message = damage(kind, folder)
    found = opened(f"voc:{folder}")
    with pytest.raises(Unreadable, match=message) as caught:
        sample = found[1]
        _ = sample.image, sample.segmentation
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value) and again.kind == caught.value.kind
    assert "\n" not in str(again) and str(again).endswith(".")
    (problem,) = report(found)["problems"]
    assert problem["count"] == 1 and not problem["mended"] and report(found)["usable"] == len(MIXED) - 1
    assert problem["kind"] in str(again) and problem["names"][0] in str(again)


def test_unknown_classes_and_segmentations_of_another_size_are_left_out(copied: Callable[[str], Path]) -> None:
    folder = copied("voc")
    path = folder / VOC / "Annotations/2012_000001.xml"
    first = opened(f"voc:{folder}")[0].instances[0].category
    path.write_text(path.read_text().replace(f"<name>{first}<", "<name>unicorn<"))
    Image.new("L", (SIZE, 9)).save(folder / VOC / "SegmentationClass/2012_000001.png")
    sample = opened(f"voc:{folder}")[0]
    assert sample.notes == ("segmentation of another size left out", "unknown class 'unicorn' left out")
    assert first not in sample.labels and sample.segmentation is None
    kinds = {problem["kind"]: problem for problem in report(opened(f"voc:{folder}"))["problems"]}
    assert set(kinds) == set(sample.notes) and all(
        p["mended"] and p["names"] == ["2012_000001"] for p in kinds.values()
    )


def test_damage_to_ilsvrc(copied: Callable[[str], Path]) -> None:
    folder = copied("imagenet")
    boxes = folder / ILSVRC / "Annotations/CLS-LOC/val"
    (boxes / "ILSVRC2012_val_00000001.xml").unlink()  # its row of the CSV file is there
    second = boxes / "ILSVRC2012_val_00000002.xml"
    second.write_text(second.read_text().replace("<name>n9", "<name>n7"))
    other = "n90000001" if SINGLE[2].labels != ("car",) else "n90000002"
    third = boxes / "ILSVRC2012_val_00000003.xml"
    third.write_text(third.read_text().replace(SYNSETS[SINGLE[2].labels[0]], other))
    (folder / ILSVRC / "Data/CLS-LOC/val/ILSVRC2012_val_00000004.JPEG").unlink()
    found = opened(f"imagenet:{folder}")
    assert not found[0].notes and found[0].instances
    with pytest.raises(Error, match=r"00000002.xml names a class that is unknown \(n7"):
        found[1]
    assert found[2].notes[0].startswith("boxes of another class than that of the list")
    with pytest.raises(Error, match=r"00000004.JPEG does not exist"):
        found[3]
    kit_only(folder)
    shutil.rmtree(folder / ILSVRC / "devkit")
    with pytest.raises(Error, match=r"00000001.* says nothing of a picture"):
        opened(f"imagenet:{folder}")[0]


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("LOC_val_solution.csv", "ImageId\nx\n", "has no column PredictionString"),
        ("LOC_synset_mapping.txt", "n90000001\n", "has a line without a name"),
        ("ILSVRC/devkit/data/ILSVRC2015_clsloc_validation_ground_truth.txt", "1\nx\n", "no number of a class"),
        ("ILSVRC/devkit/data/ILSVRC2015_clsloc_validation_blacklist.txt", "1\n-3\n", "no number of a picture"),
        ("ILSVRC/devkit/data/map_clsloc.txt", "n90000001\n", "not synset, number and name"),
    ],
)
def test_damaged_lists_of_ilsvrc(file: str, text: str, said: str, copied: Callable[[str], Path]) -> None:
    folder = copied("imagenet")
    (folder / file).write_text(text)
    with pytest.raises(Error, match=f"{Path(file).name} .*{said}"):
        opened(f"imagenet:{folder}")


def test_rows_of_the_csv_file_that_are_cut_off(copied: Callable[[str], Path]) -> None:
    folder = copied("imagenet")
    shutil.rmtree(folder / ILSVRC / "Annotations")
    (folder / "LOC_val_solution.csv").write_text("ImageId,PredictionString\nILSVRC2012_val_00000001,n90000001 1 2 3\n")
    with pytest.raises(Error, match=r"not made of synsets with four corners \(ILSVRC2012_val_00000001\)"):
        opened(f"imagenet:{folder}")[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"images": [', "is a damaged JSON file"),
        ("[]", "has no list of images"),
        ('{"images": [], "annotations": []}', "has no list of categories"),
        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', "has images without id or file_name"),
    ],
)
def test_damaged_json(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "instances.json").write_text(text)
    with pytest.raises(Error, match=f"instances.json {said}"):
        opened(f"coco:{tmp_path}")


@pytest.mark.parametrize(
    ("thing", "said"),
    [
        ({"bbox": [1, 2, 3]}, "a box that is not four numbers"),
        ({"bbox": None}, "a box that is not four numbers"),
        ({"bbox": [0, 0, float("nan"), 1]}, "a box that is not four numbers"),
        ({"segmentation": [["x"]]}, "no polygons and no run lengths"),
        ({"segmentation": {"size": [6, 8]}}, "no polygons and no run lengths"),
    ],
)
def test_damaged_things_of_coco(thing: dict[str, Any], said: str, tmp_path: Path) -> None:
    found = coco_by_hand(tmp_path, thing)
    with pytest.raises(Error, match=f"instances.json has .*{said}"):
        _ = found[0].instances[0].mask


def test_mended_things_of_coco(tmp_path: Path) -> None:
    sample = coco_by_hand(tmp_path, {"category_id": 99}, {"bbox": [6, 4, 9, 9]}, {"bbox": [50, 50, 9, 9]})[0]
    assert [each.box for each in sample.instances] == [(6, 4, 7, 5)] and len(sample.notes) == 3
    assert "unknown class 'number 99' left out" in sample.notes
    with pytest.raises(Error, match="names a file outside of its folder"):
        coco_by_hand(tmp_path, file_name="../a.png")[0]
    with pytest.raises(Error, match="names a file outside of its folder"):
        coco_by_hand(tmp_path, file_name="/etc/hosts")[0]


def test_pictures_of_every_kind_and_as_they_are_stored(tmp_path: Path) -> None:
    """Grey and CMYK JPEGs become RGB; what EXIF says of turning them is not heeded where pixels are annotated."""
    for mode, colour, expected in (("L", 99, (99, 99, 99)), ("CMYK", (255, 255, 0, 0), (0, 0, 255))):
        (tmp_path / mode / "cat").mkdir(parents=True)
        Image.new(mode, (9, 5), colour).save(tmp_path / mode / "cat/a.jpg")
        pixel = opened(f"folder:{tmp_path / mode}")[0].image.getpixel((4, 2))
        assert np.abs(np.subtract(pixel, expected)).max() < 8
    sample = voc_with(tmp_path, *"15 1 20 4".split())
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "images/a.jpg", exif=exif)
    turned = opened(f"voc:{tmp_path}")[0]
    assert turned == sample and turned.image.size == turned.size == (20, 10) and not turned.notes
    upright = opened(f"folder:{tmp_path / 'images'}")[0]
    assert upright.image.size == upright.size == (10, 20)


# ------------------------------------------------------------------------------------------------ the command


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs `wherefore datasets`: its exit status, and what it printed on both streams."""

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(["datasets", *words])
        out, err = capsys.readouterr()
        return int(str(end.value.code or 0)), out, err

    return run


def test_the_command_lists_data_sets(said: Callable[..., tuple[int, str, str]]) -> None:
    status, out, _ = said()
    assert status == 0 and len(out.splitlines()) == len(DATASETS) and "voc:DIR" in out
    assert max(map(len, out.splitlines())) <= 132
    rows = json.loads(said("--json")[1])
    assert [row["data"].partition(":")[0].partition(",")[0] for row in rows] == sorted(DATASETS)
    assert all(row["what"] for row in rows)


def test_the_command_checks_a_folder(
    copied: Callable[[str], Path], said: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    folder = copied("voc")
    status, out, _ = said(f"voc:{folder}")
    assert status == 0 and "5 pictures, 5 usable" in out and "nothing is wrong with it" in out and "20 classes" in out
    assert "questions" not in out and "captions" not in out
    damage("no picture", folder)
    status, out, _ = said(f"voc:{folder}", "--split", "val")
    assert status == 0 and "5 pictures, 4 usable" in out and "2012_000002.jpg" in out and "does not exist" in out
    found = json.loads(said(f"voc:{folder}", "--json")[1])
    assert found["pictures"] == 5 and found["usable"] == 4 and not found["comparable"]
    assert found["problems"] == [{"kind": "does not exist", "count": 1, "mended": False, "names": ["2012_000002.jpg"]}]
    shutil.rmtree(folder / VOC / "JPEGImages")
    assert said(f"voc:{folder}")[0] == 1, "nothing is usable"
    status, out, err = said(f"voc:{tmp_path / 'none'}")
    assert (status, out) == (2, "") and err.count("\n") == 1 and "does not exist: voc:DIR is wanted" in err
    assert "drawn" not in said("scenes")[2] and said("scenes")[0] == 0
