"""PASCAL VOC 2007 to 2012, and folders of pictures with XML files of that kind.

    Everingham et al., The PASCAL Visual Object Classes (VOC) Challenge, IJCV 2010, and its development kits

What is trained on as ``trainaug`` is VOC 2012 with the regions of Hariharan et al., Semantic Contours from Inverse
Detectors, ICCV 2011: a list of that name, and their masks as pictures in ``SegmentationClassAug``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from PIL import Image

from wherefore.datasets.annotations import annotation
from wherefore.datasets.files import (
    Said,
    Unreadable,
    below,
    files_in,
    first,
    folder_of,
    held,
    in_order,
    lines,
    picture,
    size_of,
    stored,
)
from wherefore.datasets.sample import VOID, Array, Dataset, Sample
from wherefore.errors import Error
from wherefore.registry import DATASETS

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
PARTS = {"test": ("test", "val"), "dev": ("train",), "train": ("train",)}  # splits, and the lists that serve them
ENDINGS = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")


@dataclass(frozen=True)
class Layout:
    """Where things lie: pictures, XML files, and in VOC itself lists and segmentations below ``root``."""

    root: Path
    pictures: Path
    annotations: Path

    def picture(self, name: str, named_by: Path) -> Path:
        """The file of a picture; that of VOC's ending where there is none."""
        return stored(below(self.pictures, name, named_by), ENDINGS)

    def annotation(self, name: str) -> Path:
        """The XML file of a picture."""
        return self.annotations / f"{name}.xml"

    def annotated(self, names: list[str]) -> bool:
        """Whether there are XML files for a list; VOC 2012 has none for its test pictures, and some may be missing."""
        return any(self.annotation(name).exists() for name in names[:20])

    def regions(self, name: str) -> Path | None:
        """The picture of its segmentation."""
        return first(self.root / f"SegmentationClass{kind}" / f"{name}.png" for kind in ("", "Aug"))

    def lists(self) -> dict[str, Path]:
        """The lists of pictures by name; where Main and Segmentation have one of that name it is that of Main."""
        files = [f for kind in ("Segmentation", "Main") for f in (self.root / "ImageSets" / kind).glob("*.txt")]
        return {f"{f.parent.name}/{f.stem}": f for f in files} | {f.stem: f for f in files}

    def classes(self) -> tuple[str, ...]:
        """The names of the classes in alphabetical order, by which they are numbered.

        From the lists that each of them has, else from all annotations; in a part of VOC not all may be left of these.
        """
        own = [re.fullmatch("(.+)_(train|val|trainval|test)", f.stem) for f in (self.root / "ImageSets/Main").glob("*")]
        listed = {match[1] for match in own if match}
        names = listed or self._named()
        is_part = not listed and re.fullmatch(r"VOC20\d\d", self.root.name) and names <= {*CLASSES}
        return CLASSES if is_part else tuple(sorted(names))

    def _named(self) -> set[str]:
        names: set[str] = set()
        for path in files_in(self.annotations, {".xml"}):
            try:
                names.update(each.category for each in annotation(path, 1).things)
            except Unreadable:
                continue  # whoever asks for that picture is told
        return names


class Voc(Dataset):
    """Pictures with boxes and flags; where they have been segmented, also with classes of pixels and masks."""

    name = "voc"

    def __init__(self, layout: Layout, spec: str, split: str, names: list[str], named_by: Path) -> None:
        self.layout, self.spec, self.split, self.names, self.named_by = layout, spec, split, names, named_by
        self.classes = layout.classes()
        self.comparable = self.classes == CLASSES

    def __len__(self) -> int:
        return len(self.names)

    def sample(self, number: int) -> Sample:
        name = self.names[number]
        path = self.layout.picture(name, self.named_by)
        size, said = size_of(path), annotation(self.layout.annotation(name), 1)
        notes, regions = said.notes(size), self._regions(name, said.things)
        if regions and size_of(regions.path) != size:
            regions, notes = None, [*notes, "segmentation of another size left out"]
        things = regions.outlined() if regions else said.things
        instances, mended = held(things, size, self._numbers)
        return Sample(
            name,
            partial(picture, path),
            in_order((each.category for each in instances), self._numbers),
            instances,
            regions.classes_of_pixels if regions else None,
            notes=(*notes, *mended),
            known_size=size,
        )

    def _regions(self, name: str, things: tuple[Said, ...]) -> Regions | None:
        path = self.layout.regions(name)
        return None if path is None else Regions(path, things, self.classes)


@dataclass(frozen=True)
class Regions:
    """The segmentation of a picture, decoded when it is asked for: classes, and beside it the things one by one."""

    path: Path
    things: tuple[Said, ...]
    classes: tuple[str, ...]

    @cached_property
    def numbers(self) -> Array:
        found = numbers(self.path)
        beyond = set(np.unique(found).tolist()) - {*range(len(self.classes) + 1), VOID}
        if beyond:
            raise Unreadable(self.path, f"shows numbers that are no class's ({min(beyond)})")
        return found

    @cached_property
    def owners(self) -> Array | None:
        """The number of the thing that each pixel belongs to, in the order of the annotation, from 1."""
        path = self.path.parents[1] / "SegmentationObject" / self.path.name
        found = numbers(path) if path.exists() else None
        return found if found is not None and found.shape == self.numbers.shape else None

    def classes_of_pixels(self) -> Array:
        """``(H, W)``: 0 background, 1 + the place of the class, 255 unknown."""
        return self.numbers

    def mask(self, number: int) -> Array | None:
        """The pixels of a thing, which must be of its class; None where they are not told apart."""
        if self.owners is None:
            return None
        found = self.owners == number
        category = self.things[number - 1].category
        own = self.numbers == 1 + self.classes.index(category)
        return found if (found & own).sum() * 2 > found.sum() else None

    def outlined(self) -> tuple[Said, ...]:
        """The things with their masks."""
        return tuple(
            Said(each.category, each.box, each.difficult, each.crowd, partial(self.mask, i))
            for i, each in enumerate(self.things, 1)
        )


def numbers(path: Path) -> Array:
    """The numbers ``(H, W)`` in a picture with a palette, or in a grey one."""
    try:
        with Image.open(path) as image:
            found, mode = np.array(image), image.mode
    except (OSError, SyntaxError, ValueError) as error:
        raise Unreadable(path, f"cannot be read as a picture ({error})") from None
    if mode not in ("P", "L"):
        raise Unreadable(path, f"has colours, not numbers of classes ({mode})")
    return found


@DATASETS("voc", names="voc:DIR")
def voc(where: str, split: str = "test") -> Voc:
    """PASCAL VOC: boxes, flags, segmentation; or pictures with such XML.

    ``where`` is VOCdevkit, what holds it, or one year of it (VOC2007). ``split``: ``test`` is the list test where that
    is annotated (VOC 2007), else val; ``dev`` and ``train`` are train; or a list by its name (trainval, trainaug,
    dog_val), those of segmentation as Segmentation/val where Main has the same. Without lists all is test.
    Corners are counted from 1 there, and from 0 here. Raises `Error` for a folder that is none of these.
    """
    folder = folder_of("voc", where)
    layout, spec = _layout(folder), f"voc:{where}"
    lists = layout.lists()
    if not lists:
        return Voc(layout, spec, split, _unlisted(layout, spec, split), layout.annotations)
    for part in PARTS.get(split, (split,)):
        names = _listed(lists[part]) if part in lists else []
        if names and (part != "test" or layout.annotated(names)):
            return Voc(layout, spec, split, names, lists[part])
    have = ", ".join(sorted(name for name in lists if "/" not in name and not re.search("._(train|val|test)", name)))
    raise Error(f"{spec} has no annotated list for {split!r}: there are {have}.")


def _layout(folder: Path) -> Layout:
    """Where things lie in a folder of VOC, or in one of pictures and XML files."""
    years = [f for f in (folder, *folder.glob("VOC*"), *folder.glob("VOCdevkit/VOC*")) if (f / "ImageSets").is_dir()]
    if len(years) > 1:
        raise Error(f"{folder} holds {' and '.join(f.name for f in years)}: give one of them, {years[0]}.")
    if years:
        return Layout(years[0], years[0] / "JPEGImages", years[0] / "Annotations")
    pictures = [folder / name for name in ("JPEGImages", "images", ".") if (folder / name).is_dir()]
    files = [folder / name for name in ("Annotations", "annotations", "annots", ".")]
    annotated = [f for f in files if f.is_dir() and files_in(f, {".xml"})]
    if not annotated:
        raise Error(f"{folder} holds no VOC: VOCdevkit/VOC2007 is expected, or images and annots with XML files.")
    return Layout(folder, pictures[0], annotated[0])


def _listed(path: Path) -> list[str]:
    """The names in a list; of one that says of each whether it shows a class, those that do."""
    rows = [line.split() for line in lines(path)]
    names = [row[0] for row in rows if row[1:] != ["-1"]]
    return [Path(name).stem if name.startswith("/JPEGImages/") else name for name in names]


def _unlisted(layout: Layout, spec: str, split: str) -> list[str]:
    if split != "test":
        raise Error(f"{spec} has no lists of pictures (ImageSets), so there is no {split!r}: all of it is 'test'.")
    return sorted({f.stem for f in (*files_in(layout.annotations, {".xml"}), *files_in(layout.pictures))})
