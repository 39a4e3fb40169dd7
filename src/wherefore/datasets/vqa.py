"""VQA: questions about the pictures of COCO, ten answers each; and VQA-HAT: where people looked to answer.

Antol et al., VQA: Visual Question Answering, ICCV 2015
Goyal et al., Making the V in VQA Matter, CVPR 2017: version 2
Das et al., Human Attention in Visual Question Answering, EMNLP 2016: maps for some questions of version 1
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wherefore.datasets.coco import Coco, part_of, parts_of
from wherefore.datasets.files import (
    Row,
    Unreadable,
    files_in,
    first,
    folder_of,
    json_of,
    picture,
    pictures_in,
    rows,
    rows_of,
    size_of,
)
from wherefore.datasets.sample import Array, Asked, Dataset, Sample
from wherefore.errors import Error
from wherefore.registry import DATASETS

REAL = {"train2014": 248_349, "val2014": 121_512}  # questions of version 1
PLACES = (".", "Questions", "questions", "Annotations", "annotations")  # of the files, as people unpack them
Asks = dict[Any, list[Asked]]  # by the number of the picture


@dataclass(frozen=True)
class Layout:
    """Where the files of a part lie: ``part`` is val2014, ``version`` empty or v2_."""

    folder: Path
    questions: Path
    version: str
    part: str

    @property
    def answers(self) -> Path:
        """The file of the answers; an `Error` where there is none."""
        name = f"{self.version}mscoco_{self.part}_annotations.json"
        found = first(self.folder / place / name for place in PLACES)
        if found is None:
            raise Unreadable(self.folder / name, "does not exist: the questions have no answers")
        return found

    @property
    def roots(self) -> list[Path]:
        """Where the pictures may be: in the folder, or in COCO's own beside it."""
        beside = [self.folder.parent / name for name in ("coco", "COCO", ".")]
        return [self.folder, self.folder / "Images/mscoco", *beside]

    def coco(self, spec: str, split: str) -> Coco | None:
        """What COCO says of the pictures, where its instances are in the folder too."""
        instances = parts_of(self.folder).get(self.part)
        return Coco(instances, spec, split) if instances else None

    def maps(self) -> dict[str, list[Path]]:
        """The files of the maps by the number of the question; only version 1 has any, whose numbers are its own."""
        name = f"vqahat_{self.part.rstrip('0123456789')}"
        folder = first(root / name for root in (self.folder, self.folder / "vqahat", self.folder.parent / "vqahat"))
        found = defaultdict(list)
        for path in files_in(folder, {".png"}) if folder and not self.version else ():
            found[path.stem.rpartition("_")[0]].append(path)
        return found


class Vqa(Dataset):
    """Pictures with all their questions; with categories, boxes and captions where COCO's files are there too."""

    name = "vqa"

    def __init__(self, layout: Layout, spec: str, split: str) -> None:
        self.layout, self.spec, self.split = layout, spec, split
        self.asked, self.unanswered = _asked(layout)
        self.images, self.maps = [*self.asked], layout.maps()
        self.comparable = not layout.version and sum(map(len, self.asked.values())) == REAL.get(layout.part)
        self.coco = layout.coco(spec, split)
        self.classes = self.coco.classes if self.coco else ()
        self.known = {row["id"]: i for i, row in enumerate(self.coco.images)} if self.coco else {}
        self.pictures = pictures_in(layout.roots, layout.part, [self._file(image) for image in self.images[:20]])
        if self.coco:
            self.coco.pictures = self.pictures

    def __len__(self) -> int:
        return len(self.images)

    def sample(self, number: int) -> Sample:
        image = self.images[number]
        if self.coco and image in self.known:
            plain = self.coco.sample(self.known[image])
        else:
            path = self.pictures / self._file(image)
            plain = Sample(path.stem, partial(picture, path), known_size=size_of(path))
        notes = ["question without words or answer left out"] * (image in self.unanswered)
        questions = tuple(self._with_maps(each, plain.size) for each in self.asked[image])
        return replace(plain, questions=questions, notes=(*plain.notes, *notes))

    def _file(self, image: int) -> str:
        return f"COCO_{self.layout.part}_{image:012d}.jpg"

    def _with_maps(self, asked: Asked, size: tuple[int, int]) -> Asked:
        paths = self.maps.get(asked.id)
        return replace(asked, looked=partial(_looked, paths, size)) if paths else asked


def _looked(paths: list[Path], size: tuple[int, int]) -> tuple[Array, ...]:
    """The maps in some files ``(H, W)``, 0 to 1, in a picture of that size."""
    grey = [picture(path).convert("L").convert("F").resize(size, Image.Resampling.BILINEAR) for path in paths]
    return tuple(np.asarray(each, np.float32) / np.float32(255) for each in grey)


def _asked(layout: Layout) -> tuple[Asks, set[Any]]:
    """The questions about each picture, and the pictures of which some were left out."""
    path = layout.answers
    listed = rows_of(json_of(path), "annotations", path, "question_id", "question_type", "multiple_choice_answer")
    answers = {row["question_id"]: row for row in listed}
    found, unanswered = defaultdict(list), set()
    asked = rows_of(json_of(layout.questions), "questions", layout.questions, "question_id", "image_id", "question")
    for row in asked:
        image, answer = row["image_id"], answers.get(row["question_id"])
        if not isinstance(image, int):
            raise Unreadable(layout.questions, f"has a number of a picture that is none ({image!r})")
        if answer and str(row["question"]).strip():
            found[image].append(_answered(row, answer, path))
        else:
            unanswered.add(image)
            found[image] += []
    return dict(found), unanswered


def _answered(question: Row, answer: Row, path: Path) -> Asked:
    people = rows(answer.get("answers"), "answers", path, "answer")
    return Asked(
        str(question["question"]).strip(),
        str(answer["multiple_choice_answer"]),
        str(answer["question_type"]),
        tuple(sys.intern(str(each["answer"])) for each in people),  # there are millions of them, mostly the same
        str(question["question_id"]),
    )


@DATASETS("vqa", names="vqa:DIR")
def vqa(where: str, split: str = "test") -> Vqa:
    """VQA and VQA-HAT: questions, answers, where people looked.

    ``where`` holds OpenEnded_mscoco_val2014_questions.json and mscoco_val2014_annotations.json (those of version 2
    begin with v2_), may hold vqahat_val and COCO's annotations/instances_val2014.json, and val2014 with the pictures,
    which may also be beside it. A sample is a picture with all questions about it. ``split``: ``test`` is val, ``dev``
    and ``train`` are train, of version 1 where both are there; or a part by its name (v2_val2014). Raises `Error` for
    a folder without such files, and damaged ones.
    """
    folder, spec = folder_of("vqa", where), f"vqa:{where}"
    layouts = {}
    for path in sorted(
        (f for p in PLACES for f in (folder / p).glob("*OpenEnded_mscoco_*_questions.json")), key=_order
    ):
        match = re.fullmatch("(v2_)?OpenEnded_mscoco_(.+)_questions", path.stem)
        if match:
            layouts[f"{match[1] or ''}{match[2]}"] = Layout(folder, path, match[1] or "", match[2])
    if not layouts:
        raise Error(f"{folder} holds no VQA: OpenEnded_mscoco_val2014_questions.json is expected.")
    return Vqa(layouts[part_of([*layouts], split, spec)], spec, split)


def _order(path: Path) -> tuple[bool, str]:
    """Version 1 before version 2."""
    return path.name.startswith("v2_"), path.name
