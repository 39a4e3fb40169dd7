"""Visual Genome: sentences about regions of pictures, half of which are COCO's.

Krishna et al., Visual Genome: Connecting Language and Vision Using Crowdsourced Dense Image Annotations, IJCV 2017
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from wherefore.datasets.files import (
    Row,
    Unreadable,
    below,
    first,
    folder_of,
    four,
    json_of,
    picture,
    rows,
    size_of,
    touched,
)
from wherefore.datasets.sample import Dataset, Sample, clipped
from wherefore.errors import Error
from wherefore.registry import DATASETS
from wherefore.scenes.annotated import Region

DESCRIBED, DATA = "region_descriptions.json", "image_data.json"
WHERE = ("x", "y", "width", "height")


class Descriptions:
    """What Visual Genome says of the regions of pictures, and of the pictures; nothing where its files are not there.

    ``of_coco`` gives its number of a picture by COCO's. Raises `Error` for damaged files.
    """

    def __init__(self, folder: Path) -> None:
        self.path, self.data_path = folder / DESCRIBED, folder / DATA
        described = rows(json_of(self.path), "pictures", self.path, "id") if self.path.exists() else []
        data = rows(json_of(self.data_path), "pictures", self.data_path, "image_id") if self.data_path.exists() else []
        self.regions: dict[Any, Any] = {row["id"]: row.get("regions") for row in described}
        self.data: dict[Any, Row] = {row["image_id"]: row for row in data}
        self.of_coco = {row.get("coco_id"): row["image_id"] for row in data if row["image_id"] in self.regions}
        self.of_coco.pop(None, None)  # of the pictures that are not COCO's

    def of(self, image: Any, size: tuple[int, int]) -> tuple[tuple[Region, ...], list[str]]:
        """The regions of a picture of that size, and what had to be mended; none for a number that is not there."""
        if image not in self.regions:
            return (), []
        across, down = self._scale(image, size)
        found, notes = [], []
        for row in rows(self.regions[image], "regions", self.path, *WHERE, "phrase"):
            x, y, width, height = four((row[key] for key in WHERE), self.path)
            box, cut = clipped(touched((x * across, y * down, width * across, height * down)), size)
            caption = " ".join(str(row["phrase"]).split())
            if not caption or min(width, height) <= 0:
                notes.append("region without words or extent left out")
            elif box is None:
                notes.append("region outside of the picture left out")
            else:
                found.append(Region(caption, box))
                notes += ["region clipped to the picture"] * cut
        return tuple(found), list(dict.fromkeys(notes))

    def _scale(self, image: Any, size: tuple[int, int]) -> tuple[float, float]:
        """How much larger a picture is than the one that the boxes were drawn in, which may be another copy of it."""
        row = self.data.get(image, {})
        if "width" not in row or "height" not in row:
            return 1.0, 1.0
        try:
            return size[0] / row["width"], size[1] / row["height"]
        except (TypeError, ZeroDivisionError):
            raise Unreadable(self.data_path, f"says a size that is none (picture {image})") from None


class Genome(Dataset):
    """Pictures with captions of their regions; no classes."""

    name = "genome"
    classes = ()

    def __init__(self, folder: Path, spec: str) -> None:
        self.folder, self.spec, self.split = folder, spec, "test"
        self.described = Descriptions(folder)
        self.images = [*self.described.regions]

    def __len__(self) -> int:
        return len(self.images)

    def sample(self, number: int) -> Sample:
        image = self.images[number]
        path = self._picture(image)
        size = size_of(path)
        regions, notes = self.described.of(image, size)
        return Sample(str(image), partial(picture, path), notes=tuple(notes), known_size=size, regions=regions)

    def _picture(self, image: Any) -> Path:
        """Where a picture lies: as the end of its address says, or in one of the two folders that they come in."""
        url = str(self.described.data.get(image, {}).get("url") or "")
        named = [f"{folder}/{image}.jpg" for folder in ("VG_100K", "VG_100K_2", "images")]
        tail = ["/".join(url.split("/")[-2:])] if "/" in url else []
        paths = [below(self.folder, name, self.described.path) for name in (*tail, *named)]
        return first(paths) or paths[0]


@DATASETS("genome", names="genome:DIR")
def genome(where: str, split: str = "test") -> Genome:
    """Visual Genome: captions of regions with their boxes.

    ``where`` holds region_descriptions.json, and may hold image_data.json, which says in which size of a picture its
    boxes lie; pictures are VG_100K/1.jpg or VG_100K_2/1.jpg. All of it is ``test``: it has no parts. A box holds every
    pixel that theirs touches. All of Visual Genome takes some GB of memory. Raises `Error` for a folder without such a
    file, and damaged ones.
    """
    folder, spec = folder_of("genome", where), f"genome:{where}"
    if not (folder / DESCRIBED).exists():
        raise Error(f"{folder} holds no Visual Genome: {DESCRIBED} is expected.")
    if split != "test":
        raise Error(f"{spec} has no parts, so there is no {split!r}: all of it is 'test'.")
    return Genome(folder, spec)
