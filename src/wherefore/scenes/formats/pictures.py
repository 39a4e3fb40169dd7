"""Scenes to look at: pictures, what is known of each as one JSON object on a line, and a sheet of the first hundred."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from wherefore.scenes.annotated import Array, Scene
from wherefore.scenes.formats.files import FORMATS, Writer, png

MOST = 100  # pictures on a sheet


@FORMATS("pictures")
class Pictures(Writer):
    """PNG files to look at, all of them on a sheet, and their annotations in words and boxes as JSON lines."""

    name = "pictures"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.shown: dict[str, list[Array]] = defaultdict(list)
        self.known: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def index(self, split: str) -> str:
        return f"annotations_{split}.jsonl"

    def picture(self, scene: Scene, split: str, number: int) -> str:
        path = f"{split}/{number:06d}.png"
        self.put(path, png(scene.drawing.pixels))
        if len(self.shown[split]) < MOST:
            self.shown[split].append(scene.drawing.pixels)
        self.known[split].append({"picture": path, **known(scene)})
        return path

    def lists(self, split: str) -> None:
        self.put(f"sheet_{split}.png", png(sheet(self.shown[split])))
        self.put(self.index(split), "".join(json.dumps(row) + "\n" for row in self.known[split]))


def known(scene: Scene) -> dict[str, Any]:
    """What is known of a scene as plain values; masks and parts are left to the other formats."""
    things = zip(scene.things, scene.boxes.tolist(), scene.flags, strict=True)
    looks = ("category", "colour", "texture")
    return {
        "scene": scene.name,
        "place": scene.place,
        "things": [{**{k: getattr(t, k) for k in looks}, "box": box, **asdict(flags)} for t, box, flags in things],
        "captions": scene.captions,
        "regions": [asdict(region) for region in scene.regions],
        "questions": [asdict(question) for question in scene.questions],
    }


def sheet(pictures: list[Array]) -> Array:
    """Pictures side by side in a square or nearly; smaller ones stand in the corner of their place."""
    columns, side = ceil(sqrt(len(pictures))), max(len(p) for p in pictures)
    page = np.full((ceil(len(pictures) / columns) * side, columns * side, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        top, left = i // columns * side, i % columns * side
        page[top : top + len(picture), left : left + len(picture)] = picture
    return page
