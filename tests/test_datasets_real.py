"""The readers on real photographs and annotations, against what the annotations themselves say."""

from __future__ import annotations

import json
import runpy
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wherefore.datasets import matched, opened, report

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "real_data.py"


@pytest.fixture
def real(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """The data sets that the benchmark makes of them."""
    runpy.run_path(str(SCRIPT))["main"](["--data", str(data), "--out", str(tmp_path)])
    made = ("imagenet", "coco", "voc", "people", "sizes")
    assert capsys.readouterr().out.split() == [str(tmp_path / name) for name in made]
    return tmp_path


def test_tiny_coco_as_it_is(data: Path) -> None:
    folder = data / "coco_like" / "tiny_coco"
    found = opened(f"coco:{folder}")
    said = json.loads((folder / "instances.json").read_text())
    assert found.comparable and len(found) == 50 and len(found.classes) == 80
    names = {each["id"]: each["name"] for each in said["categories"]}
    captions = json.loads((folder / "captions.json").read_text())["annotations"]
    for sample, image in zip(found, said["images"], strict=True):
        rows = [row for row in said["annotations"] if row["image_id"] == image["id"]]
        assert [i.category for i in sample.instances] == [names[row["category_id"]] for row in rows]
        assert [i.crowd for i in sample.instances] == [bool(row["iscrowd"]) for row in rows]
        assert sample.captions == tuple(c["caption"].strip() for c in captions if c["image_id"] == image["id"])
        assert sample.size == sample.image.size and not sample.notes
        for each, row in zip(sample.instances, rows, strict=True):
            x, y, width, height = row["bbox"]
            assert np.abs(np.subtract(each.box, (x, y, x + width - 1, y + height - 1))).max() < 1.001
    assert sum(each.crowd for sample in found for each in sample.instances) == 5


def test_masks_of_tiny_coco_are_those_of_pycocotools(data: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools, which reads COCO, is not installed")
    folder = data / "coco_like" / "tiny_coco"
    theirs = coco.COCO(str(folder / "instances.json"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of some releases, about __array__
        for sample, number in zip(opened(f"coco:{folder}")[:12], theirs.getImgIds(), strict=False):
            rows = theirs.loadAnns(theirs.getAnnIds(imgIds=number))
            for each, row in zip(sample.instances, rows, strict=True):
                assert each.mask is not None and np.array_equal(each.mask, theirs.annToMask(row).astype(bool))
                assert abs(float(each.mask.sum()) - row["area"]) <= 3 + 0.15 * row["area"], "COCO's own figure"


def test_kangaroos_beside_their_xml_files(data: Path) -> None:
    """One of the pictures is cut off by 20 bytes: it is named, the others are whole."""
    found = report(opened(f"voc:{data / 'voc_like' / 'kangaroo'}"))
    assert found["pictures"] == 82 and found["classes"] == ["kangaroo"] and not found["comparable"]
    assert [(p["count"], p["names"], p["mended"]) for p in found["problems"]] == [(1, ["00090.jpg"], False)]


def test_polygons_as_coco_agree_with_the_drawn_masks(data: Path, real: Path) -> None:
    """The masks that came with the pictures as PNG files are another drawing, in which nearer things cover others."""
    pytest.importorskip("pycocotools", reason="pycocotools, which fills polygons, is not installed")
    ids = {
        name: int(i)
        for i, name in json.loads((data / "coco_like/coco128/classes.json").read_text())["polygons"].items()
    }
    found, overlaps = opened(f"coco:{real / 'coco'}"), []
    assert found.comparable and len(found) == 100 and len(opened(f"coco:{real / 'coco'}", "dev")) == 50
    for sample in found[:40]:
        with Image.open(data / "coco_like/coco128/semantic_masks" / f"{sample.name}.png") as picture:
            drawn = np.asarray(picture)
        for label in sample.labels:
            ours, theirs = sample.mask(label), drawn == ids[label]
            if theirs.sum() > 2000:
                overlaps.append((ours & theirs).sum() / theirs.sum())
    assert len(overlaps) > 40 and np.median(overlaps) > 0.95


def test_boxes_of_ilsvrc_in_squashed_pictures(data: Path, real: Path) -> None:
    found = opened(f"imagenet:{real / 'imagenet'}")
    index = json.loads((data / "imagenet/imagenet_class_index.json").read_text())
    said = json.loads((data / "imagenet/val_boxes.json").read_text())
    assert found.comparable and len(found) == 650 and len(found.classes) == 1000
    assert list(found.synsets) == [index[str(i)][0] for i in range(1000)]
    for sample in found[:100]:
        own = said[f"{sample.name}.JPEG"]
        assert found.number(sample.labels[0]) == own["label"] and sample.boxed and not sample.notes
        off = np.subtract([each.box for each in sample.instances], own["boxes"])  # theirs: corners scaled as points
        pixel = np.divide(227, own["original_size"])
        assert (np.abs(off[:, :2]) < 0.51).all() and (np.abs(off[:, 2:] - (pixel - 1)) < 0.51).all()
    from torchvision.models import ResNet18_Weights

    outputs = list(ResNet18_Weights.DEFAULT.meta["categories"])
    assert matched(found.classes, outputs) == {name: (i,) for i, name in enumerate(found.classes)}


def test_kangaroos_as_voc(real: Path) -> None:
    test, train = (opened(f"voc:{real / 'voc'}", split) for split in ("test", "train"))
    assert (len(test), len(train)) == (61, 21) and test.classes == ("kangaroo",)
    assert not {each.name for each in train} & {name for name in test.names}
    assert all(sample.labels == ("kangaroo",) for sample in test)
