"""A folder of photographs, end to end: files in, overlays out, against the network's forward pass alone."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wherefore import imaging
from wherefore.batch.local import FileRun
from wherefore.below import COMPILED
from wherefore.bench.contestants import FORWARD, OURS, field, pytorch_grad_cam_loop
from wherefore.bench.measure import Result, Turn, figures, interleaved
from wherefore.bench.rows import Row
from wherefore.explainer import Explainer
from wherefore.subjects import Picture

SIZE = (500, 375)


def timed(row: Row, seconds: float) -> Result:
    """The figures of one ``folder`` row."""
    torch.manual_seed(0)
    model = row.subject.model()
    below = COMPILED if row.compile else row.below
    explainer = Explainer(model, layer=row.subject.layer, below=below, batch_size=row.batch)
    peers, notes = field(replace(row, peers=tuple(p for p in row.peers if p == "pytorch-grad-cam")))
    with tempfile.TemporaryDirectory() as folder:
        paths, out = photographs(Path(folder) / "in", row.count), Path(folder) / "out"
        out.mkdir()
        images = torch.stack(
            [explainer.prepare(Picture(str(path), imaging.read(path), (0, 0, 0, 0))).tensor for path in paths]
        )
        loops: dict[str, Callable[[], object]] = {
            FORWARD: partial(forward, model.net, torch.split(images, row.batch)),
            OURS: partial(explain_folder, paths, explainer, row.batch, out),
        }
        if "pytorch-grad-cam" in peers:
            loops["pytorch-grad-cam"] = partial(pytorch_grad_cam_loop, model.net, row.subject.layer, paths, out)
        turns: dict[str, Turn] = {name: partial(_turn, loop) for name, loop in loops.items()}
        return Result(row, figures(interleaved(turns, seconds, notes)), notes)


def _turn(loop: Callable[[], object]) -> AbstractContextManager[Callable[[], object]]:
    return nullcontext(loop)


def forward(net: torch.nn.Module, batches: Sequence[Tensor]) -> None:
    """The forward pass over batches that are decoded and prepared already."""
    with torch.inference_mode():
        for images in batches:
            net(images)


def explain_folder(paths: Sequence[Path], explainer: Explainer, batch: int, out: Path) -> None:
    """Writes overlays and maps of each photograph's first class into ``out``, as ``wherefore explain`` does."""
    for _ in FileRun(explainer, paths, out=out, batch_size=batch):
        pass


# -------------------------------------------------------------------------------------------- photographs


def photographs(folder: Path, count: int) -> list[Path]:
    """JPEG files of 500x375 in ``folder``: crops of scikit-image's photographs, smooth noise where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    sources, rng, paths = _sources(), np.random.default_rng(0), []
    for number in range(count):
        picture = _crop(sources[number % len(sources)], rng)
        paths.append(folder / f"photo-{number:03}.jpg")
        picture.save(paths[-1], quality=92)
    return paths


def _sources() -> list[Image.Image]:
    try:
        from skimage import data
    except ImportError:
        noise = np.random.default_rng(0).integers(0, 256, (4, 24, 32, 3), np.uint8)
        return [Image.fromarray(pixels).resize((640, 480), Image.Resampling.BICUBIC) for pixels in noise]
    names = ("chelsea", "astronaut", "coffee", "rocket")
    return [Image.fromarray(getattr(data, name)()) for name in names]


def _crop(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A part of a picture of the wanted shape, at random place and size, every other time mirrored."""
    largest = min(picture.width / SIZE[0], picture.height / SIZE[1])
    width, height = (round(side * largest * rng.uniform(0.7, 1)) for side in SIZE)
    x, y = rng.integers(0, picture.width - width + 1), rng.integers(0, picture.height - height + 1)
    part = picture.crop((int(x), int(y), int(x) + width, int(y) + height)).resize(SIZE, Image.Resampling.LANCZOS)
    return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else part
