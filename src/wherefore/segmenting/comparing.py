"""Weakly supervised segmentation (section 4.2): SEC with seeds from Grad-CAM, from CAM, and full supervision beside.

Selvaraju et al., Grad-CAM, IJCV 2020, section 4.2; Kolesnikov & Lampert, Seed, Expand and Constrain, ECCV 2016
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from wherefore.datasets import Array, Dataset, Sample, opened
from wherefore.drawing import sheet
from wherefore.errors import Error
from wherefore.metrics.resampling import interval
from wherefore.metrics.segmentation import mean_iou_interval, mean_over_runs
from wherefore.models.zoo import Weights, file_sha256, load
from wherefore.saving import jpeg, made, write_json, write_whole
from wherefore.segmenting.cues import METHODS, Cues, cue_networks, seeded
from wherefore.segmenting.figures import compared
from wherefore.segmenting.networks import LargeFov, begun
from wherefore.segmenting.pictures import gathered, true_cells
from wherefore.segmenting.predicting import Counted, counted, predicted
from wherefore.segmenting.published import read_seeds
from wherefore.segmenting.recipes import FULL, QUICK, SCENES, Recipe
from wherefore.segmenting.seeds import Tally, precision, recall, tallies, unseeded
from wherefore.segmenting.training import fit, fully, weakly
from wherefore.training.data import Pictures
from wherefore.types import Model

SUPERVISED = "full supervision"
SOURCES = (*METHODS, SUPERVISED)
PUBLISHED = "published seeds"
PAPER = {"grad-cam": 49.6, "cam": 44.6}  # mean IoU in per cent on VOC 2012; which split and which CRF it does not say
Row = dict[str, Any]


def run_segmentation(
    data: str = "scenes",
    out: str | Path = "segmentation",
    *,
    quick: bool = False,
    runs: int = 3,
    sources: Sequence[str] = SOURCES,
    published: str | Path | None = None,
    weights: Weights = "default",
    device: str | None = None,
    say: Callable[[str], None] = print,
) -> list[Row]:
    """Rows ``{"name", "measure", "crf", "value", "low", "high", "n", "paper", ...}``, in per cent.

    Mean IoU of networks trained with seeds of Grad-CAM, of CAM, and on true masks (``runs`` of each; value and 95 %
    interval over pictures are those of the mean over runs, ``runs`` lists them), without and with the CRF at test
    time; the difference between Grad-CAM and CAM; precision and recall of the seeds on the test pictures' labels.

    On ``scenes`` with small networks, on ``voc:DIR`` at the paper's size. Everything lies in ``out``: a stopped run
    goes on from there. Masks of training pictures are read for full supervision alone. ``quick`` runs in seconds and
    means nothing. ``published`` is a file with the seeds of SEC's authors, which are trained on as one more source.
    Raises `Error` for a folder of other settings.
    """
    recipe = (QUICK if quick else SCENES) if data.partition(":")[0] == "scenes" else FULL
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    work = Work(data, recipe, made(out), weights, device, say, published)
    work.check()
    sources = [*sources, *([PUBLISHED] if published is not None else [])]
    found = {source: work.counted(source, runs) for source in sources}
    write_whole(work.folder / "segmentation.jpg", jpeg(figure(work, sources)))
    rows = [row for source, each in found.items() for row in iou_rows(source, each)]
    if set(METHODS) <= set(found):
        rows += difference_rows(*(found[method] for method in METHODS))
    return rows + [row for method in METHODS if method in sources for row in seed_rows(method, work)]


@dataclass
class Work:
    """What is to be done, in which folder; everything is made when it is first asked for, and kept."""

    spec: str
    recipe: Recipe
    folder: Path
    weights: Weights
    device: str
    say: Callable[[str], None]
    published: str | Path | None = None

    def check(self) -> None:
        """Writes the settings into the folder, or an `Error` where it holds others."""
        path = self.folder / "settings.json"
        seeds = {} if self.published is None else {"published": file_sha256(Path(self.published))}
        about = {"data": self.spec, "weights": str(self.weights), **seeds, **asdict(self.recipe)}
        settings = json.loads(json.dumps(about))
        if path.is_file() and json.loads(path.read_text()) != settings:
            raise Error(f"{self.folder} holds a run with other settings: give another folder, or remove it.")
        write_json(path, settings)

    @cached_property
    def train(self) -> Dataset:
        try:
            return opened(self.spec, self.recipe.splits[0])
        except Error:
            if self.recipe.splits[0] == "train":
                raise
            self.say(f"{self.spec} has no list {self.recipe.splits[0]}: trained on its list train, which is shorter.")
            return opened(self.spec, "train")

    @cached_property
    def samples(self) -> Sequence[Sample]:
        """What is trained on."""
        return self.train[: self.recipe.pictures]

    @cached_property
    def pictures(self) -> Pictures:
        return gathered(self.train, self.samples, self.recipe.shape.side, self.folder / "train")

    @cached_property
    def tested(self) -> Sequence[Sample]:
        """What is measured on."""
        return opened(self.spec, self.recipe.splits[1])[: self.recipe.tested]

    @cached_property
    def start(self) -> Model:
        """The network that all others begin with."""
        model = load(self.recipe.start, weights=self.weights)
        model.net.to(self.device)
        return model

    @cached_property
    def cues(self) -> Cues:
        return cue_networks(self.recipe, self.pictures, self.train.classes, self.start, self.folder, self.say)

    @cached_property
    def seeds(self) -> dict[str, Array]:
        """The seeds of the training pictures by method."""
        return self.kept("seeds", lambda: seeded(self.cues, self.pictures, self.recipe))

    @cached_property
    def published_seeds(self) -> Array:
        assert self.published is not None
        return read_seeds(self.published, len(self.pictures), self.recipe.shape.grid)

    @cached_property
    def truth(self) -> Array:
        """The true cells of the training pictures: for full supervision alone."""
        grid = self.recipe.shape.grid
        return self.kept("truth", lambda: {"cells": np.stack([true_cells(s, grid) for s in self.samples])})["cells"]

    @cached_property
    def test_pictures(self) -> Pictures:
        return gathered(self.train, self.tested, self.recipe.shape.side, self.folder / "test")

    @cached_property
    def test_seeds(self) -> dict[str, Array]:
        """The seeds of the test pictures by method: for measuring seeds, never for training."""
        return self.kept("test-seeds", lambda: seeded(self.cues, self.test_pictures, self.recipe))

    @cached_property
    def tallies(self) -> dict[str, list[dict[str, Tally]]]:
        """How good the seeds are on the test pictures, by method and picture."""
        truth = [true_cells(sample, self.recipe.shape.grid) for sample in self.tested]
        return {m: [tallies(s, t) for s, t in zip(self.test_seeds[m], truth, strict=True)] for m in METHODS}

    def trained(self, source: str, run: int) -> nn.Module:
        """The segmentation network of a source of supervision and a seed."""
        recipe, path = self.recipe, self.folder / f"{source.replace(' ', '-')}-{run}.checkpoint.pt"
        if source == SUPERVISED:
            schedule, objective = recipe.supervised, fully(self.pictures, self.truth, recipe)
        else:
            seeds = self.published_seeds if source == PUBLISHED else self.seeds[source]
            schedule, objective = recipe.schedule, weakly(self.pictures, seeds, recipe)
        torch.manual_seed(run)
        net = begun(LargeFov(recipe.shape, 1 + len(self.train.classes), recipe.dropout), self.start.net).to(self.device)
        return fit(net, objective, len(self.pictures), schedule, path, run, self.say)

    def counted(self, source: str, runs: int) -> Counted:
        """The confusion matrices of a source's networks on the test pictures."""

        def count() -> dict[str, Array]:
            nets = [self.trained(source, run) for run in range(runs)]
            return counted(nets, self.tested, 1 + len(self.train.classes), self.recipe)._asdict()

        found = self.kept(f"{source.replace(' ', '-')}-{runs}", count)
        return Counted(found["plain"], found["crf"], found["by"].tolist())

    def kept(self, name: str, make: Callable[[], dict[str, Array]]) -> dict[str, Array]:
        """Arrays that are read from the folder, or made and kept there."""
        path = self.folder / f"{name}.npz"
        if not path.is_file():
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **make())  # type: ignore[arg-type]
            write_whole(path, buffer.getvalue())
        with np.load(path) as found:
            return dict(found)


# -------------------------------------------------------------------------------------------- rows


def iou_rows(source: str, found: Counted) -> list[Row]:
    """Mean IoU of a source, without and with the CRF."""
    rows = []
    for crf, matrices in ((False, found.plain), (True, found.crf)):
        low, high = mean_iou_interval(list(matrices))
        each = [100 * mean_over_runs(run) for run in matrices.sum(0)]
        rows.append(
            {
                **_row(source, "mean IoU", float(np.mean(each)), 100 * low, 100 * high, len(matrices)),
                "crf": "; ".join(found.by) if crf else None,
                "runs": each,
                "paper": PAPER.get(source) if crf else None,
            }
        )
    return rows


def difference_rows(first: Counted, second: Counted) -> list[Row]:
    """Mean IoU with seeds of Grad-CAM less that with seeds of CAM, of the same pictures; whether it is above 0."""

    def difference(pairs: Any) -> float:
        one, other = np.sum(np.asarray(pairs), 0)
        return 100 * (mean_over_runs(one) - mean_over_runs(other))

    rows = []
    for crf in (False, True):
        pairs = [*zip(first.crf, second.crf, strict=True)] if crf else [*zip(first.plain, second.plain, strict=True)]
        low, high = interval(pairs, statistic=difference)
        row = _row("grad-cam - cam", "mean IoU", difference(pairs), low, high, len(pairs))
        rows.append({**row, "crf": "; ".join(first.by) if crf else None, "paper": 5.0 if crf else None})
    return rows


def seed_rows(method: str, work: Work) -> list[Row]:
    """Precision and recall of a method's seeds, over all cells of the test pictures; ``degenerate`` is how many classes
    that are in a picture have no seed there."""
    found = work.tallies[method]
    lost = sum(map(unseeded, work.test_seeds[method], work.test_pictures.labels))
    rows = []
    for side in ("foreground", "background"):
        counts = [each[side] for each in found]
        for name, measure in (("precision", precision), ("recall", recall)):
            low, high = interval(counts, statistic=measure)
            row = _row(method, f"{name} of {side} seeds", 100 * measure(counts), 100 * low, 100 * high, len(counts))
            rows.append({**row, "crf": None, "paper": None, "degenerate": lost if side == "foreground" else 0})
    return rows


def figure(work: Work, sources: Sequence[str], count: int = 3) -> Image.Image:
    """The first test pictures: seeds of each method, what the first network of each source predicts, and the truth."""
    nets = [work.trained(source, 0) for source in sources]
    methods = [method for method in METHODS if method in sources]
    tiles = []
    for i, sample in enumerate(work.tested[:count]):
        found = predicted(nets, sample.image, work.recipe).crf
        assert sample.segmentation is not None
        panels = {f"{method} seeds": work.test_seeds[method][i] for method in methods}
        panels |= dict(zip(sources, found, strict=True)) | {"truth": sample.segmentation}
        tiles += compared(sample.image, panels, ", ".join(sample.labels))
    return sheet(tiles, len(methods) + len(sources) + 2)


def _row(name: str, measure: str, value: float, low: float, high: float, n: int) -> Row:
    return {"name": name, "measure": measure, "value": value, "low": low, "high": high, "n": n}
