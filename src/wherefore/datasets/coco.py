"""COCO: instances with polygons, run lengths and crowds, and captions, as JSON files beside folders of pictures.

Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014; https://cocodataset.org/#format-data
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from wherefore.datasets.files import (
    Row,
    Said,
    Unreadable,
    below,
    by_image,
    fitted,
    folder_of,
    four,
    held,
    in_order,
    json_of,
    picture,
    pictures_in,
    rows_of,
    size_of,
    touched,
)
from wherefore.datasets.genome import Descriptions
from wherefore.datasets.sample import Array, Dataset, Sample
from wherefore.errors import Error
from wherefore.registry import DATASETS

PARTS = {"test": "val", "dev": "train", "train": "train"}  # splits, and what the names of the files begin with
CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip


class Coco(Dataset):
    """Pictures with boxes, masks, crowds; captions, and those of regions, where there are files of them."""

    name = "coco"

    def __init__(self, instances: Path, spec: str, split: str) -> None:
        self.path, self.spec, self.split = instances, spec, split
        found = json_of(instances)
        self.images = rows_of(found, "images", instances, "id", "file_name")
        categories = rows_of(found, "categories", instances, "id", "name")
        self.categories = {row["id"]: str(row["name"]) for row in sorted(categories, key=_by_id)}
        self.classes = tuple(dict.fromkeys(self.categories.values()))
        self.comparable = self.classes == CLASSES
        self.things = by_image(rows_of(found, "annotations", instances, "image_id", "category_id"))
        self.captions = _captions(instances)
        roots = [*[instances.parents[1]] * (instances.parent.name == "annotations"), instances.parent]
        part = instances.stem.removeprefix("instances").removeprefix("_")
        self.pictures = pictures_in(roots, part, [str(row["file_name"]) for row in self.images[:20]])
        self.described = Descriptions(roots[0])

    def __len__(self) -> int:
        return len(self.images)

    def sample(self, number: int) -> Sample:
        row = self.images[number]
        path = below(self.pictures, str(row["file_name"]), self.path)
        size = size_of(path)
        things = [self._said(each, size) for each in self.things.get(row["id"], ())]
        instances, notes = held(things, size, self._numbers)
        if (row.get("width", size[0]), row.get("height", size[1])) != tuple(size):
            notes.insert(0, "size in the annotation is not the picture's")
        regions, mended = self.described.of(self.described.of_coco.get(row["id"]), size)
        return Sample(
            PurePosixPath(row["file_name"]).with_suffix("").as_posix(),
            partial(picture, path),
            in_order((each.category for each in instances), self._numbers),
            instances,
            captions=tuple(self.captions.get(row["id"], ())),
            notes=(*notes, *mended),
            known_size=size,
            regions=regions,
        )

    def _said(self, row: Row, size: tuple[int, int]) -> Said:
        category = self.categories.get(row["category_id"], f"number {row['category_id']}")
        drawn = row.get("segmentation")
        outline = partial(mask, drawn, size, self.path) if drawn else None
        return Said(category, _corners(row.get("bbox"), self.path), crowd=bool(row.get("iscrowd")), outline=outline)


def mask(drawn: Any, size: tuple[int, int], path: Path) -> Array:
    """Which pixels ``(H, W)`` polygons or run lengths mean, in a picture of that size (width, height).

    Raises `Error` for what is neither, and where pycocotools, which fills polygons, is missing.
    """
    try:
        from pycocotools import mask as codec
    except ImportError:
        raise Error("the masks of COCO need pycocotools: pip install 'wherefore[eval]'") from None
    width, height = size
    try:
        if isinstance(drawn, list):
            runs = codec.merge(codec.frPyObjects(drawn, height, width))
        elif isinstance(drawn["counts"], list):
            runs = codec.frPyObjects(drawn, *drawn["size"])
        else:
            runs = drawn
        with warnings.catch_warnings():  # pycocotools 2.0.11 makes arrays in a way that numpy warns of
            warnings.simplefilter("ignore", DeprecationWarning)
            return fitted(np.asarray(codec.decode(runs)).astype(bool), size)
    except Exception:  # pycocotools raises bare ones
        raise Unreadable(
            path, f"has a segmentation that is no polygons and no run lengths ({str(drawn)[:40]})"
        ) from None


def _corners(box: Any, path: Path) -> tuple[int, int, int, int]:
    """The first and the last pixels of a box of COCO."""
    return touched(four(box if isinstance(box, list) else [box], path))


def _by_id(row: Row) -> tuple[bool, Any]:
    return isinstance(row["id"], str), row["id"]


def _captions(instances: Path) -> dict[Any, list[str]]:
    """The captions of pictures, from the file of that name beside the instances."""
    path = instances.with_name(instances.name.replace("instances", "captions", 1))
    if path == instances or not path.exists():
        return {}
    rows = rows_of(json_of(path), "annotations", path, "image_id", "caption")
    return {image: [str(row["caption"]).strip() for row in own] for image, own in by_image(rows).items()}


def part_of(names: Sequence[str], split: str, spec: str) -> str:
    """The part of a data set that serves a split, or has its name; an `Error` that names all where there is none."""
    wanted = PARTS.get(split, split)
    found = [n for n in names if n == split or (split in PARTS and n.removeprefix("v2_").startswith(wanted))]
    if not found and split == "test":
        found = [name for name in names if not name]
    if not found:
        have = ", ".join(name or "one without a name (test)" for name in names)
        raise Error(f"{spec} has no part for {split!r}: there is {have}.")
    return found[0]


def parts_of(folder: Path) -> dict[str, Path]:
    """The files of instances in a folder, by the part that each is about."""
    files = sorted(folder.glob("annotations/instances*.json")) or sorted(folder.glob("instances*.json"))
    return {f.stem.removeprefix("instances").removeprefix("_"): f for f in files}


@DATASETS("coco", names="coco:DIR")
def coco(where: str, split: str = "test") -> Coco:
    """COCO: boxes, masks, crowds, captions; or an instances.json alone.

    ``where`` holds annotations/instances_val2014.json, or instances.json beside images; classes are ordered by their
    ids, which have gaps. ``split``: ``test`` is val, of 2014 where both years are there, or the only file where its
    name says no part; ``dev`` and ``train`` are train; or a part by its name (val2017). Masks need pycocotools.
    A box holds every pixel that COCO's touches. Captions of regions come from Visual Genome's region_descriptions.json
    and image_data.json, where these are in the folder too. Raises `Error` for a folder without such files, and damaged
    ones.
    """
    folder, spec = folder_of("coco", where), f"coco:{where}"
    parts = parts_of(folder)
    if not parts:
        raise Error(f"{folder} holds no COCO: annotations/instances_val2014.json is expected, or instances.json.")
    return Coco(parts[part_of([*parts], split, spec)], spec, split)
