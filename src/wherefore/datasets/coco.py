"""COCO: instances with polygons, run lengths and crowds, and captions, as JSON files beside folders of pictures.

Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014; https://cocodataset.org/#format-data
"""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from wherefore.datasets.files import (
    Said,
    Unreadable,
    below,
    first,
    fitted,
    folder_of,
    four,
    held,
    in_order,
    json_of,
    picture,
    size_of,
)
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
Row = dict[str, Any]


class Coco(Dataset):
    """Pictures with boxes, masks, crowds, and captions where there is a file of them."""

    name = "coco"

    def __init__(self, instances: Path, spec: str, split: str) -> None:
        self.path, self.spec, self.split = instances, spec, split
        found = json_of(instances)
        self.images = _rows(found, "images", instances, "id", "file_name")
        categories = _rows(found, "categories", instances, "id", "name")
        self.categories = {row["id"]: str(row["name"]) for row in sorted(categories, key=_by_id)}
        self.classes = tuple(dict.fromkeys(self.categories.values()))
        self.comparable = self.classes == CLASSES
        self.things = _by_image(_rows(found, "annotations", instances, "image_id", "category_id"))
        self.captions = _captions(instances)
        self.pictures = _pictures(instances, self.images)

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
        return Sample(
            PurePosixPath(row["file_name"]).with_suffix("").as_posix(),
            partial(picture, path),
            in_order((each.category for each in instances), self._numbers),
            instances,
            captions=tuple(self.captions.get(row["id"], ())),
            notes=tuple(notes),
            known_size=size,
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


def _corners(box: Any, path: Path) -> tuple[float, ...]:
    """The first and the last pixels that x, y, width and height touch."""
    x, y, width, height = four(box if isinstance(box, list) else [box], path)
    # Rounded first: 0.1 + 0.2 touches no further pixel than 0.3 does.
    return math.floor(x), math.floor(y), math.ceil(round(x + width, 3)) - 1, math.ceil(round(y + height, 3)) - 1


def _rows(found: Any, kind: str, path: Path, *keys: str) -> list[Row]:
    """A list of the file, every row of which has those keys."""
    rows = found.get(kind) if isinstance(found, dict) else None
    if not isinstance(rows, list):
        raise Unreadable(path, f"has no list of {kind}, which COCO's have")
    for i, row in enumerate(rows):
        if not isinstance(row, dict) or any(isinstance(row.get(key), (type(None), list, dict)) for key in keys):
            raise Unreadable(path, f"has {kind} without {' or '.join(keys)} (number {i})")
    return rows


def _by_id(row: Row) -> tuple[bool, Any]:
    return isinstance(row["id"], str), row["id"]


def _by_image(rows: list[Row]) -> dict[Any, list[Row]]:
    found = defaultdict(list)
    for row in rows:
        found[row["image_id"]].append(row)
    return dict(found)


def _captions(instances: Path) -> dict[Any, list[str]]:
    """The captions of pictures, from the file of that name beside the instances."""
    path = instances.with_name(instances.name.replace("instances", "captions", 1))
    if path == instances or not path.exists():
        return {}
    rows = _rows(json_of(path), "annotations", path, "image_id", "caption")
    return {image: [str(row["caption"]).strip() for row in own] for image, own in _by_image(rows).items()}


def _pictures(instances: Path, images: list[Row]) -> Path:
    """The folder of the pictures: val2014 beside annotations, or images, with or without val2014 in it."""
    part = instances.stem.removeprefix("instances").removeprefix("_")
    roots = [instances.parent] + [instances.parents[1]] * (instances.parent.name == "annotations")
    folders = [root / name for root in reversed(roots) for name in (part, f"images/{part}", "images", ".")]
    names = [str(row["file_name"]) for row in images[:20]]  # some may be absent
    return next((f for f in folders if any((f / name).is_file() for name in names)), first(folders) or folders[0])


@DATASETS("coco", names="coco:DIR")
def coco(where: str, split: str = "test") -> Coco:
    """COCO: boxes, masks, crowds, captions; or an instances.json alone.

    ``where`` holds annotations/instances_val2014.json, or instances.json beside images; classes are ordered by their
    ids, which have gaps. ``split``: ``test`` is val, of 2014 where both years are there, or the only file where its
    name says no part; ``dev`` and ``train`` are train; or a part by its name (val2017). Masks need pycocotools.
    A box holds every pixel that COCO's touches. Raises `Error` for a folder without such files, and damaged ones.
    """
    folder, spec = folder_of("coco", where), f"coco:{where}"
    files = sorted(folder.glob("annotations/instances*.json")) or sorted(folder.glob("instances*.json"))
    if not files:
        raise Error(f"{folder} holds no COCO: annotations/instances_val2014.json is expected, or instances.json.")
    parts = {f.stem.removeprefix("instances").removeprefix("_"): f for f in files}
    wanted = PARTS.get(split, split)
    found = [name for name in parts if name == split or (split in PARTS and name.startswith(wanted))]
    if not found and split == "test":
        found = [name for name in parts if not name]
    if not found:
        have = ", ".join(name or "one without a name (test)" for name in parts)
        raise Error(f"{spec} has no part for {split!r}: there is {have}.")
    return Coco(parts[found[0]], spec, split)
