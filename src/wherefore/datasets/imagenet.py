"""ILSVRC, classification and localization: one label per picture, boxes of things of that class.

Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 2015, and its development kits
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from wherefore.datasets.annotations import annotation
from wherefore.datasets.files import (
    Said,
    Unreadable,
    below,
    files_in,
    first,
    folder_of,
    four,
    held,
    lines,
    picture,
    size_of,
    stored,
    table,
)
from wherefore.datasets.sample import Dataset, Sample
from wherefore.datasets.synsets import are_real, ids, named
from wherefore.errors import Error
from wherefore.registry import DATASETS

PARTS = {"test": "val", "dev": "train_loc", "train": "train_cls"}  # splits, and their lists; or val and train at once
ENDINGS = (".JPEG", ".jpg", ".jpeg", ".png", ".JPG", ".PNG")


@dataclass(frozen=True)
class Layout:
    """Where the things of one part lie; None for what is not there."""

    pictures: Path
    annotations: Path | None  # XML files, as far as they are there, below a folder
    solution: Path | None  # LOC_val_solution.csv
    listed: Path | None  # which pictures there are, ImageSets/CLS-LOC/val.txt; else those in the folder
    kit: Path | None  # the data of the development kit

    def names(self) -> list[str]:
        """The pictures, without ending; with their folder where they lie in one for each class."""
        if self.listed is not None:
            return [line.split()[0] for line in lines(self.listed)]
        classes = [f.name for f in sorted(self.pictures.glob("n????????")) if f.is_dir()]
        found = [f for name in ["", *classes] for f in files_in(self.pictures / name)]
        return [f.relative_to(self.pictures).with_suffix("").as_posix() for f in found]

    def picture(self, name: str) -> Path:
        """The file of a picture; that of ILSVRC's ending where there is none."""
        return stored(below(self.pictures, name, self.listed or self.pictures), ENDINGS)


class ImageNet(Dataset):
    """Pictures with one label each, and boxes where they were drawn."""

    name = "imagenet"

    def __init__(self, layout: Layout, synsets: Mapping[str, str], spec: str, split: str) -> None:
        self.layout, self.spec, self.split = layout, spec, split
        self.names = layout.names()
        self.boxes = {row["ImageId"].strip(): row["PredictionString"] for row in _solution(layout.solution)}
        self.truth = _truth(layout.kit)
        self.blacklist = _blacklist(layout.kit)
        self.synsets = dict(synsets) or {synset: synset for synset in sorted(self._mentioned())}
        self.classes = tuple(self.synsets.values())
        self.comparable = are_real(self.synsets)

    def __len__(self) -> int:
        return len(self.names)

    def sample(self, number: int) -> Sample:
        name = self.names[number]
        path = self.layout.picture(name)
        size = size_of(path)
        said_by, things, notes = self._said(name, size)
        label, more = self._label(name, things, said_by)
        known = [Said(self.synsets.get(each.category, each.category), each.box) for each in things]
        instances, mended = held(known, size, self._numbers)
        return Sample(
            Path(name).name,
            partial(picture, path),
            (label,),
            instances,
            boxed=bool(instances) and _number(name) not in self.blacklist,
            notes=(*notes, *more, *mended),
            known_size=size,
        )

    def _said(self, name: str, size: tuple[int, int]) -> tuple[Path, tuple[Said, ...], list[str]]:
        """The boxes of a picture, with synsets for categories: those of its XML file, else those of the CSV file."""
        path = (self.layout.annotations or self.layout.pictures) / f"{name}.xml"
        if path.exists():
            said = annotation(path, 0)
            return path, said.things, said.notes(size)
        row = self.boxes.get(Path(name).name)
        if row is None or self.layout.solution is None:
            return path, (), []
        return self.layout.solution, _row(row, self.layout.solution, name), []

    def _label(self, name: str, things: tuple[Said, ...], said_by: Path) -> tuple[str, list[str]]:
        """The class of a picture: that of its boxes, else what its folder or the development kit says."""
        boxed = dict.fromkeys(each.category for each in things)
        listed = Path(name).parent.name or self.truth.get(_number(name), "")
        synset = next(iter(boxed), listed)
        if not synset:
            raise Unreadable(said_by, f"does not exist or says nothing of a picture ({name}), and no list does")
        if synset not in self.synsets:
            raise Unreadable(said_by, f"names a class that is unknown ({synset})")
        notes = (
            [f"boxes of another class than that of the list, {listed}"] if boxed and listed not in ("", *boxed) else []
        )
        if listed in boxed:
            synset = listed
        return self.synsets[synset], notes

    def _mentioned(self) -> set[str]:
        """The synsets that occur, where no list names all."""
        found = {row.split()[0] for row in self.boxes.values() if row.strip()} | {*self.truth.values()}
        found |= {Path(name).parent.name for name in self.names} - {""}
        if found or self.layout.annotations is None:
            return found
        for path in files_in(self.layout.annotations, {".xml"}):
            try:
                found.update(each.category for each in annotation(path, 0).things)
            except Unreadable:
                continue  # whoever asks for that picture is told
        return found


def _solution(path: Path | None) -> list[dict[str, str]]:
    return [] if path is None else table(path, "ImageId", "PredictionString")


def _row(text: str, path: Path, name: str) -> tuple[Said, ...]:
    """The boxes in a row of the CSV file: synset and four corners, one after the other."""
    words = text.split()
    if not words or len(words) % 5:
        raise Unreadable(path, f"has a row that is not made of synsets with four corners ({name})")
    return tuple(Said(words[i], four(words[i + 1 : i + 5], path)) for i in range(0, len(words), 5))


def _number(name: str) -> int:
    """The number of a picture of the validation part, by which the development kit lists it; 0 for others."""
    found = re.search(r"_val_(\d+)$", name)
    return int(found[1]) if found else 0


def _truth(kit: Path | None) -> dict[int, str]:
    """The synset of each picture of the validation part, by its number."""
    path = None if kit is None else first(sorted(kit.glob("*validation_ground_truth.txt"), key=_clsloc))
    if kit is None or path is None:
        return {}
    synsets, found = ids(kit), lines(path)
    if any(not line.isdecimal() or (synsets and int(line) not in synsets) for line in found):
        raise Unreadable(path, "has a line that is no number of a class")
    return {number: synsets[int(line)] for number, line in enumerate(found, 1)} if synsets else {}


def _blacklist(kit: Path | None) -> frozenset[int]:
    """The numbers of the pictures whose boxes are not counted."""
    path = None if kit is None else first(sorted(kit.glob("*validation_blacklist.txt"), key=_clsloc))
    found = [] if path is None else lines(path)
    if path is not None and not all(line.isdecimal() for line in found):
        raise Unreadable(path, "has a line that is no number of a picture")
    return frozenset(map(int, found))


def _clsloc(path: Path) -> bool:
    return "clsloc" not in path.name  # the kits also have lists for detection


@DATASETS("imagenet", names="imagenet:DIR")
def imagenet(where: str, split: str = "test") -> ImageNet:
    """ILSVRC, localization: one label per picture, boxes, the blacklist.

    ``where`` holds ILSVRC/Data/CLS-LOC/val as it is downloaded, or val, or the pictures themselves. Boxes are those of
    XML files below Annotations, else of LOC_val_solution.csv; they are taken as they are, with inclusive corners.
    Classes are in the order of their synsets, by which networks are trained, named by LOC_synset_mapping.txt or the
    development kit, whose own order is another one. Pictures are those of ImageSets/CLS-LOC/val.txt, else those that
    are there. ``split``: ``test`` is val; ``dev`` the training pictures with boxes (train_loc), ``train`` all of them
    (train_cls); or val, train_loc and train_cls by name. Raises `Error` for a folder that is none of these.
    """
    folder, spec = folder_of("imagenet", where), f"imagenet:{where}"
    wanted = PARTS.get(split, split)
    part = wanted.partition("_")[0]
    if part not in ("val", "train"):
        raise Error(f"imagenet has the splits test (val), dev (train_loc) and train (train_cls), not {split!r}.")
    layout = _layout(folder, part, wanted)
    kits = [layout.kit] if layout.kit else []
    found = ImageNet(layout, named([folder, folder.parent, *kits], layout.kit), spec, split)
    if not found.names:
        raise Error(f"{layout.pictures} holds no pictures of ILSVRC.")
    if not found.classes:
        raise Error(
            f"nothing in {folder} says what its pictures show: LOC_{part}_solution.csv or XML files are expected."
        )
    return found


def _layout(folder: Path, part: str, wanted: str) -> Layout:
    """Where the things of a part lie."""
    roots = [folder, folder / "ILSVRC"]

    def found(*names: str) -> Path | None:
        return first(root / name for root in roots for name in names)

    pictures = found(f"Data/CLS-LOC/{part}", part)
    if pictures is None and part == "val" and files_in(folder):
        pictures = folder
    if pictures is None:
        raise Error(f"{folder} holds no ILSVRC: ILSVRC/Data/CLS-LOC/{part} is expected, or {part}.")
    kits = [kit for root in roots for kit in (*sorted(root.glob("*devkit*/data")), root)]
    marks = ("*validation_ground_truth.txt", "*validation_blacklist.txt", "map_clsloc.txt", "meta*.mat")
    return Layout(
        pictures,
        found(f"Annotations/CLS-LOC/{part}", f"Annotations/{part}"),
        found(f"LOC_{part}_solution.csv", f"{part}_solution.csv"),
        found(f"ImageSets/CLS-LOC/{wanted}.txt"),
        next((kit for kit in kits if any(any(kit.glob(mark)) for mark in marks)), None),
    )
