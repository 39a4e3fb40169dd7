"""COCO 2014: instances and captions as JSON; and region descriptions as Visual Genome has them, for dense captions.

Numbers of categories have gaps, as the real ones have. Numbers of pictures lie beyond the real ones, so that both can
lie in one folder.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from wherefore.scenes.annotated import Scene
from wherefore.scenes.formats.files import FORMATS, Writer, dense, jpeg, seen
from wherefore.scenes.formats.polygons import polygons
from wherefore.scenes.world import CATEGORIES, KINDS, VERSION

NUMBERS = {category: i + 1 + i // 6 for i, category in enumerate(CATEGORIES)}  # 7, 14, 21 are missing
FIRST = {"val": 1_000_000, "train": 2_000_000}  # numbers of pictures follow these
INFO = {
    "description": "Scenes drawn by wherefore, in the format of COCO 2014",
    "url": "",
    "version": str(VERSION),
    "year": 2014,
    "contributor": "wherefore",
    "date_created": "",
}
LICENSE = {"id": 1, "name": "Apache License 2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"}
Row = dict[str, Any]


def picture_of(split: str, number: int) -> tuple[int, str]:
    """The number that COCO would give a picture, and its path."""
    found = FIRST[split] + number
    return found, f"{split}2014/COCO_{split}2014_{found:012d}.jpg"


@FORMATS("coco")
class Coco(Writer):
    """COCO 2014: instances (polygons that fill to the very masks), five captions each, captions of regions."""

    name = "coco"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.rows: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))  # split -> kind -> rows

    def index(self, split: str) -> str:
        return f"annotations/instances_{split}2014.json"

    def picture(self, scene: Scene, split: str, number: int) -> str:
        image, path = picture_of(split, number)
        self.put(path, jpeg(scene))
        rows, size = self.rows[split], {"width": scene.size, "height": scene.size}
        name = path.rpartition("/")[-1]
        rows["images"].append({"id": image, "file_name": name, **size, "license": 1})
        rows["instances"] += [_instance(scene, i, image) for i in seen(scene)]
        rows["captions"] += [
            {"id": 10 * image + i, "image_id": image, "caption": caption} for i, caption in enumerate(scene.captions)
        ]
        rows["regions"].append({"id": image, "regions": _regions(scene, image)})
        rows["sizes"].append({"image_id": image, **size, "url": path, "coco_id": image, "flickr_id": None})
        return path

    def lists(self, split: str) -> None:
        rows = self.rows[split]
        shared = {"info": INFO, "licenses": [LICENSE], "images": rows["images"]}
        categories = [{"supercategory": KINDS[c].group, "id": NUMBERS[c], "name": c} for c in CATEGORIES]
        self._join("region_descriptions.json", "id", rows["regions"])
        self._join("image_data.json", "image_id", rows["sizes"])
        captions = {**shared, "annotations": rows["captions"]}
        self.put(f"annotations/captions_{split}2014.json", dense(captions))
        self.put(self.index(split), dense({**shared, "annotations": rows["instances"], "categories": categories}))

    def _join(self, path: str, key: str, rows: list[Row]) -> None:
        """Writes a list that is about both splits; what it said of other pictures stays."""
        file, own = self.folder / path, {row[key] for row in rows}
        others = json.loads(file.read_text()) if file.exists() else []
        kept = [row for row in others if row[key] not in own]
        self.put(path, dense(sorted(kept + rows, key=lambda row: row[key])))


def _instance(scene: Scene, i: int, picture: int) -> Row:
    """What is said of a thing: where it is as x, y, width, height and as polygons along its pixels' edges."""
    x0, y0, x1, y1 = scene.boxes[i].tolist()
    return {
        "id": 10 * picture + i,
        "image_id": picture,
        "category_id": NUMBERS[scene.things[i].category],
        "segmentation": polygons(scene.masks[i]),
        "area": float(scene.masks[i].sum()),
        "bbox": [float(x0), float(y0), float(x1 - x0 + 1), float(y1 - y0 + 1)],
        "iscrowd": 0,
    }


def _regions(scene: Scene, picture: int) -> list[Row]:
    """The captions of regions with their boxes, as Visual Genome writes them."""
    found = []
    for i, region in enumerate(scene.regions):
        x0, y0, x1, y1 = region.box
        where = {"x": x0, "y": y0, "width": x1 - x0 + 1, "height": y1 - y0 + 1}
        found.append({"region_id": 100 * picture + i, "image_id": picture, **where, "phrase": region.caption})
    return found
