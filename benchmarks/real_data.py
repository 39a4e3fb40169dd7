"""The folder of real pictures in the formats of the real data sets, so that experiments can run on them.

    python benchmarks/real_data.py --data ../shared/data --out real
    wherefore datasets imagenet:real/imagenet
    wherefore datasets coco:real/coco
    wherefore datasets voc:real/voc
    wherefore audit --data manifest:real/people/list.csv --model mobilenet_v2 ...
    wherefore audit --data manifest:real/sizes/list.csv --model mobilenet_v2 ...

- ``imagenet``: 650 validation pictures of ILSVRC, squashed to 227x227, with boxes and the 1,000 synsets; part val.
- ``coco``: part val2017 is 100 pictures with a polygon for each thing (crowds are not marked there), part train2017 50
  others with all annotations and captions. All of them are of COCO's own train2017.
- ``voc``: 82 pictures of kangaroos with boxes; every fourth is part train, the others are val.
- ``people``: a manifest of the pictures of COCO. The label is the category that takes most of the picture of those that
  ILSVRC has kinds of, the group whether a person is there too, the regions are the masks of both.
- ``sizes``: a manifest of those pictures of ILSVRC whose class is a kind of a category of COCO: that is the label, the
  group is whether its boxes take half of the picture, the region is these.

Pictures are linked to, and copied where that is impossible; lists and annotations are written anew.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image

from wherefore.datasets import Sample, opened
from wherefore.datasets.kinds import KINDS
from wherefore.saving import made, write_whole

HERE = Path(__file__).parent
THING, PERSON = "thing", "person"


def put(path: Path, text: str) -> None:
    """Writes a file, and the folders above it."""
    made(path.parent)
    write_whole(path, text.encode())


def link(sources: Iterable[Path], folder: Path, ending: str | None = None) -> None:
    """Links to files in a folder, with another ending where one is given."""
    made(folder)
    for source in sources:
        target = folder / (source.name if ending is None else source.stem + ending)
        with suppress(FileNotFoundError):
            target.unlink()
        try:
            target.symlink_to(source.resolve())
        except OSError:
            shutil.copyfile(source, target)


# -------------------------------------------------------------------------------------------- ILSVRC


def imagenet(data: Path, out: Path) -> None:
    """The validation pictures with their boxes as the CSV file of ILSVRC, and the names of the synsets."""
    link(sorted((data / "val").iterdir()), out / "ILSVRC/Data/CLS-LOC/val")
    classes = json.loads((data / "imagenet_class_index.json").read_text()).values()
    put(out / "LOC_synset_mapping.txt", "".join(f"{synset} {name}\n" for synset, _, name in classes))
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(("ImageId", "PredictionString"))
    for name, said in json.loads((data / "val_boxes.json").read_text()).items():
        with Image.open(data / "val" / name) as picture:
            boxes = [scaled(box, said["original_size"], picture.size) for box in said["boxes_original"]]
        rows.writerow((Path(name).stem, "".join(f"{said['wnid']} {' '.join(map(str, box))} " for box in boxes)))
    put(out / "LOC_val_solution.csv", table.getvalue())


def scaled(box: list[int], size: list[int], to: tuple[int, int]) -> list[int]:
    """A box with inclusive corners in a picture that was squashed: edges of pixels go to the nearest ones."""
    x0, y0, x1, y1 = box
    first = [round(v * new / old) for v, old, new in zip((x0, y0), size, to, strict=True)]
    last = [round((v + 1) * new / old) - 1 for v, old, new in zip((x1, y1), size, to, strict=True)]
    return [*first, *(max(a, b) for a, b in zip(first, last, strict=True))]


# -------------------------------------------------------------------------------------------- COCO


def coco(data: Path, out: Path) -> None:
    """Two parts: polygons of one folder turned into instances, and the other as it is."""
    tiny, polygons = data / "tiny_coco", data / "coco128"
    for kind in ("instances", "captions"):
        put(out / f"annotations/{kind}_train2017.json", (tiny / f"{kind}.json").read_text())
    link(sorted((tiny / "images").iterdir()), out / "train2017")
    images, things = [], []
    for path in sorted((polygons / "polygons").glob("*.txt")):
        file = polygons / "images" / f"{path.stem}.jpg"
        with Image.open(file) as picture:
            width, height = picture.size
        images.append({"id": int(path.stem), "file_name": file.name, "width": width, "height": height})
        rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
        things += [thing(row, 1000 * int(path.stem) + i, int(path.stem), (width, height)) for i, row in enumerate(rows)]
    link((polygons / "images" / image["file_name"] for image in images), out / "val2017")
    categories = json.loads((tiny / "instances.json").read_text())["categories"]
    found = {"images": images, "annotations": things, "categories": categories}
    put(out / "annotations/instances_val2017.json", json.dumps(found) + "\n")


def thing(row: list[str], number: int, image: int, size: tuple[int, int]) -> dict[str, Any]:
    """A line of category and relative corners as an instance."""
    points = [float(value) * size[i % 2] for i, value in enumerate(row[1:])]
    x0, y0, x1, y1 = min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])
    box = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "iscrowd": 0}
    return {"id": number, "image_id": image, "category_id": int(row[0]), "segmentation": [points], **box}


# -------------------------------------------------------------------------------------------- VOC


def voc(data: Path, out: Path) -> None:
    """The kangaroos in the folders of VOC, with the lists of VOC."""
    root = out / "VOCdevkit/VOC2007"
    link(sorted((data / "images").iterdir()), root / "JPEGImages")
    link(sorted((data / "annots").iterdir()), root / "Annotations")
    names = sorted(path.stem for path in (data / "annots").glob("*.xml"))
    for part, own in (("train", names[::4]), ("val", [name for i, name in enumerate(names) if i % 4])):
        put(root / f"ImageSets/Main/{part}.txt", "".join(f"{name}\n" for name in own))
        put(root / f"ImageSets/Main/kangaroo_{part}.txt", "".join(f"{name}  1\n" for name in own))


# -------------------------------------------------------------------------------------------- manifests


def people(out: Path) -> None:
    """The pictures of COCO by what is the largest thing in them, with and without people."""
    found = []
    for split, part in (("test", "val2017"), ("dev", "train2017")):
        samples = opened(f"coco:{out / 'coco'}", split)
        link((out / "coco" / part).iterdir(), out / "people/pictures")
        for sample in samples:
            sizes = {name: float(sample.mask(name).mean()) for name in sample.labels if KINDS.get(name)}
            if sizes:
                label = max(sizes, key=lambda name: sizes[name])
                found.append((sample, label, "people" if sample.of(PERSON) else "no people"))
    listed(
        out / "people", [(f"{s.name}.jpg", label, group, masks(out / "people", s, label)) for s, label, group in found]
    )


def sizes(out: Path) -> None:
    """The pictures of ILSVRC by the category of COCO that their class is a kind of, large and small."""
    samples = opened(f"imagenet:{out / 'imagenet'}")
    link((out / "imagenet/ILSVRC/Data/CLS-LOC/val").iterdir(), out / "sizes/pictures")
    category, rows = {number: name for name, numbers in KINDS.items() for number in numbers}, []
    for sample, path in zip(samples, sorted((out / "sizes/pictures").iterdir()), strict=True):
        [synset] = sample.labels
        label, large = category.get(samples.number(synset)), sample.mask(synset).mean() >= 0.5
        if label:
            rows.append((path.name, label, "large" if large else "small", {THING: sample.boxes(synset)}))
    listed(out / "sizes", rows)


def masks(out: Path, sample: Sample, label: str) -> dict[str, str]:
    """The masks of a thing and of people, as files below a folder."""
    found = {}
    for region, category in ((THING, label), (PERSON, PERSON)):
        if sample.of(category):
            found[region] = f"masks/{Path(sample.name).stem}-{region}.png"
            made(out / "masks")
            Image.fromarray(sample.mask(category)).save(out / found[region])
    return found


def listed(out: Path, rows: Iterable[tuple[str, str, str, Any]]) -> None:
    """Writes a manifest, all of it of the part test."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("path", "label", "group", "split", "regions"))
    writer.writerows((f"pictures/{name}", label, group, "test", json.dumps(said)) for name, label, group, said in rows)
    put(out / "list.csv", table.getvalue())


def main(argv: list[str] | None = None) -> None:
    """Writes all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--out", type=Path, default=Path("real"))
    arguments = parser.parse_args(argv)
    imagenet(arguments.data / "imagenet", arguments.out / "imagenet")
    coco(arguments.data / "coco_like", arguments.out / "coco")
    voc(arguments.data / "voc_like" / "kangaroo", arguments.out / "voc")
    people(arguments.out)
    sizes(arguments.out)
    print(*(os.fspath(arguments.out / name) for name in ("imagenet", "coco", "voc", "people", "sizes")), sep="\n")


if __name__ == "__main__":
    main()
