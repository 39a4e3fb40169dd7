"""Localization and pointing of every method on real photographs: the table of docs/methods.md.

    python benchmarks/real_pictures.py                  # goes on where it stopped; hours with every picture
    python benchmarks/real_pictures.py --table-only     # writes the table from what is finished

Every finished (model, method, task, picture) is a line of a JSON-lines file; what is there is not done again, so delete
the file (or its lines) after a change of a method. Needs the folder of real weights and pictures, and OpenCV.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from real_table import write_table

import wherefore as wf
import wherefore.methods  # fills METHODS
from wherefore.datasets.kinds import KINDS
from wherefore.explanation import Explanation
from wherefore.imaging import box, peak
from wherefore.metrics import grabcut_box, hits, iou, smoothed

HERE = Path(__file__).parent
PIXEL_METHODS = {name for name, entry in wf.METHODS.items() if entry.about.get("graph") == "whole"}
PIXEL_METHODS -= {"winsor-cam", "fullgrad"}  # whose maps are sums of coarse ones
SLOW = {  # which methods run on --slow pictures, or on that share of them
    "occlusion": 0.6, "score-cam": 0.1, "ablation-cam": 1, "integrated-grad-cam": 1, "rsi-grad-cam": 1,
    "score-cam masks=layer": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A method with its options, in the order of the table."""

    method: str
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """As it stands in the results and in the table."""
        return " ".join([self.method, *(f"{key}={value}" for key, value in self.options)])


def rows() -> list[Row]:
    """Every registered method as it comes, and Score-CAM's cheap form."""
    every = [Row(name) for name in wf.METHODS]
    return [*every, Row("score-cam", (("masks", "layer"),))]


class Pictures:
    """The two sets, each in one shuffled order: who takes fewer takes the first."""

    def __init__(self, data: Path, seed: int) -> None:
        self.val, self.coco = data / "imagenet" / "val", data / "coco_like" / "coco128"
        self.boxes: dict[str, Any] = json.loads((data / "imagenet" / "val_boxes.json").read_text())
        names = json.loads((self.coco / "classes.json").read_text())["polygons"]
        self.classes = {name: KINDS[name] for name in names.values() if KINDS.get(name)}
        self.ids = {name: int(number) for number, name in names.items() if name in self.classes}
        self.labelled = sorted(self.boxes)
        self.masked = [p.stem for p in sorted((self.coco / "semantic_masks").glob("*.png")) if self.present(p.stem)]
        for order in (self.labelled, self.masked):
            random.Random(seed).shuffle(order)

    def present(self, name: str) -> list[str]:
        """The categories in a picture that ImageNet has classes for, by their polygons."""
        lines = (self.coco / "polygons" / f"{name}.txt").read_text().splitlines()
        seen = {int(line.split()[0]) for line in lines if line.strip()}
        return [category for category, number in self.ids.items() if number in seen]

    def mask(self, name: str, category: str) -> Any:
        """Where a category is, ``(H, W)``."""
        return np.asarray(Image.open(self.coco / "semantic_masks" / f"{name}.png")) == self.ids[category]

    def path(self, task: str, name: str) -> Path:
        """The file of a picture."""
        return self.coco / "images" / f"{name}.jpg" if task == "points" else self.val / name


@dataclass(frozen=True)
class Subject:
    """A network with its weights, and what it is asked about the pictures."""

    name: str
    model: wf.Model
    pictures: Pictures

    @cached_property
    def targets(self) -> dict[str, list[int]]:
        """For each masked picture the best class of each present category, as the network scores it."""
        found = {}
        assert isinstance(self.model.preprocess, wf.Preprocess)
        squash = replace(self.model.preprocess, squash=True)
        for name in self.pictures.masked:
            image = wf.imaging.read(self.pictures.path("points", name))
            with torch.inference_mode():
                scores = self.model.net.eval()(squash(image)[None])[0]
            kinds = [self.pictures.classes[category] for category in self.pictures.present(name)]
            found[name] = [max(classes, key=lambda c: float(scores[c])) for classes in kinds]
        return found

    def measured(self, row: Row, task: str, names: list[str]) -> Iterator[dict[str, Any]]:
        """What is recorded of each picture."""
        why = wf.Explainer(self.model, row.method, fit="squash", **dict(row.options))
        smooth = row.method in PIXEL_METHODS
        if task == "points":
            for name in names:
                e = why(self.pictures.path(task, name), [self.targets[name]])
                yield {"picture": name, "outcomes": self._pointed(e, name, smooth)}
            return
        labels = torch.tensor([self.pictures.boxes[name]["label"] for name in names])
        e = why([self.pictures.path(task, name) for name in names], labels)
        for i, name in enumerate(names):
            found = self._box(e, i, task, smooth)
            overlap = max(iou(found, truth) for truth in self.pictures.boxes[name]["boxes"])
            yield {"picture": name, "box": found, "iou": round(overlap, 4), "empty": float(e.evidence[i, 0]) <= 0}

    def _box(self, e: Explanation, i: int, task: str, smooth: bool) -> list[int]:
        heat = next(e.placed(i))
        if task == "grabcut":
            return list(grabcut_box(e.pictures[i].image, heat))
        return list(box(smoothed(heat))) if smooth else e.boxes()[i, 0].tolist()

    def _pointed(self, e: Explanation, name: str, smooth: bool) -> list[dict[str, Any]]:
        peaks = [list(peak(smoothed(heat))) for heat in e.placed(0)] if smooth else e.peaks()[0].tolist()
        outcomes = []
        for t, category in enumerate(self.pictures.present(name)):
            mask = self.pictures.mask(name, category)
            near, exact = (hits(peaks[t], mask, tolerance) for tolerance in (15, 0))
            empty = float(e.evidence[0, t]) <= 0
            outcomes.append({"category": category, "class": int(e.classes[0, t]), "point": peaks[t]})
            outcomes[-1] |= {"near": near, "exact": exact, "empty": empty}
        return outcomes


def plan(arguments: argparse.Namespace, pictures: Pictures) -> Iterator[tuple[Row, str, list[str]]]:
    """What is to be measured on which pictures, the cheap first."""
    every = [row for row in rows() if not arguments.methods or row.method in arguments.methods]
    cheap, slow = [r for r in every if r.name not in SLOW], [r for r in every if r.name in SLOW]
    for row in cheap:
        yield row, "boxes", pictures.labelled[: arguments.boxes]
        yield row, "points", pictures.masked[: arguments.points]
    for row in cheap:
        if row.method in PIXEL_METHODS:
            yield row, "grabcut", pictures.labelled[: arguments.grabcut]
    for row in sorted(slow, key=lambda r: -SLOW[r.name]):
        count = round(arguments.slow * SLOW[row.name])
        yield row, "boxes", pictures.labelled[: min(arguments.boxes, count)]
        yield row, "points", pictures.masked[: min(arguments.points, count)]


def done(results: Path) -> dict[tuple[str, str, str], set[str]]:
    """The pictures that are finished, by model, row and task; None among them where the method refuses the model."""
    text = results.read_text() if results.exists() else ""
    if not text.endswith("\n"):  # stopped while it wrote
        text = text[: text.rfind("\n") + 1]
        results.write_text(text)
    finished: dict[tuple[str, str, str], set[str]] = {}
    for line in text.splitlines():
        one = json.loads(line)
        finished.setdefault((one["model"], one["row"], one["task"]), set()).add(one.get("picture"))
    return finished


def run(subject: Subject, arguments: argparse.Namespace) -> None:
    """Measures what is not there yet, a few pictures at a time."""
    finished = done(arguments.results)
    with arguments.results.open("a") as file:
        for row, task, names in plan(arguments, subject.pictures):
            key = {"model": subject.name, "row": row.name, "task": task}
            there = finished.get((subject.name, row.name, task), set())
            left = [] if None in there else [name for name in names if name not in there]
            started, size = time.monotonic(), 2 if row.name in SLOW else 16
            for start in range(0, len(left), size):
                try:
                    for found in subject.measured(row, task, left[start : start + size]):
                        file.write(json.dumps(key | found) + "\n")
                except wf.Error as error:
                    file.write(json.dumps(key | {"picture": None, "refused": str(error)}) + "\n")
                    break
                finally:
                    file.flush()
                seconds = time.monotonic() - started
                count = min(start + size, len(left))
                print(f"\r{' '.join(key.values())}: {count} of {len(left)}, {seconds:.0f} s  ", end="", file=sys.stderr)
            if left:
                print(file=sys.stderr, flush=True)


def main(argv: list[str] | None = None) -> None:
    """Runs and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--models", nargs="*", default=["mobilenet_v2", "squeezenet1_1"])
    parser.add_argument("--methods", nargs="*", help="all by default")
    parser.add_argument("--boxes", type=int, default=650, help="pictures for localization")
    parser.add_argument("--points", type=int, default=100, help="pictures for pointing")
    parser.add_argument("--grabcut", type=int, default=100, help="pictures whose boxes GrabCut finds")
    parser.add_argument("--slow", type=int, default=100, help="pictures for slow methods; the slowest take a part")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the pictures")
    parser.add_argument("--results", type=Path, default=HERE.parent / "build" / "real_pictures.jsonl")
    parser.add_argument("--table", type=Path, default=HERE.parent / "docs" / "methods.md")
    parser.add_argument("--table-only", action="store_true")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    pictures = Pictures(arguments.data, arguments.seed)
    weights = {}
    for name in arguments.models:
        model = wf.load(name, weights=arguments.data / "weights" / f"{name}_imagenet.safetensors")
        weights[name] = str(model.weights_sha256)
        if not arguments.table_only:
            run(Subject(name, model, pictures), arguments)
    order = [row.name for row in rows()]
    write_table(arguments.table, arguments.results, weights, order, PIXEL_METHODS, pictures)


if __name__ == "__main__":
    main()
