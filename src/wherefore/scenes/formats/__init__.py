"""Scenes on disk in the formats of real data sets, so that whatever reads those reads them.

Where the real one has a training and a validation part, scenes of the training split go to ``train`` and those of
development and test to ``val``: what the paper's experiments measure on. Names of files, numbers of pictures and
everything else that a reader relies on are as in the real one; only the categories are those of the scenes.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import length_hint
from pathlib import Path

from wherefore.errors import Error
from wherefore.progress import track
from wherefore.saving import can_be_made
from wherefore.scenes.annotated import Scene, scene
from wherefore.scenes.formats import broden, coco, imagenet, pictures, voc, vqa
from wherefore.scenes.formats.files import FORMATS

__all__ = ["FORMATS", "broden", "coco", "export", "imagenet", "pictures", "voc", "vqa", "write"]


def write(scenes: Iterable[Scene], folder: str | Path, format: str, count: int | None = None) -> Path:
    """Writes scenes into a folder in the format of a real data set; the folder.

        write([scene(17)], "out", "voc")          # then torchvision.datasets.VOCDetection("out", image_set="val")

    Scenes are taken one by one and not kept. Pictures are written as they come, the lists that readers open first are
    written last: where a run was stopped there is no list, and the same call writes all of it anew. ``count`` is how
    many there are, for the bar, where ``scenes`` has no length. ``scenes_FORMAT_SPLIT.csv`` says which picture shows
    which scene; no real data set has it.

    ``format``: pictures (to look at), imagenet, voc, coco, vqa or broden. Raises `Error` for another one, a folder that
    cannot be written or holds such lists already, and scenes that the format has no place for.
    """
    writer = FORMATS[format].run(can_be_made(folder))
    for each in track(scenes, count or length_hint(scenes), f"scenes as {format}"):
        writer.add(each)
    writer.finish()
    return writer.folder


def export(
    format: str, out: str | Path, count: int = 100, split: str = "test", objects: int | None = None, size: int = 128
) -> Path:
    """Writes the first ``count`` scenes of a split (train, dev, test) into a folder; the folder.

    ``objects``: 1 to 4 of them; by default any number, and 1 for imagenet, where a picture has one label. ``size``:
    the side in pixels. Raises `Error` as `write` and `wherefore.scenes.scene` do, and for a count below 1.
    """
    if count < 1:
        raise Error(f"at least 1 scene is written, not {count}.")
    if objects is None and format == "imagenet":
        objects = 1
    return write((scene(number, split, objects, size) for number in range(count)), out, format, count)
