"""Pictures of scenes as networks see them, drawn once by all cores and kept on disk."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache as once
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.lib.format import open_memmap

from wherefore.errors import Error
from wherefore.preparing import Preprocess
from wherefore.progress import track
from wherefore.saving import made
from wherefore.scenes import world
from wherefore.scenes.annotated import scene
from wherefore.scenes.world import CATEGORIES, PLACES, VERSION

Array = np.ndarray[Any, Any]
DRAWN = 128  # the side at which scenes are drawn, before a network's own preprocessing makes them smaller
CHUNK = 100  # pictures that a worker draws before it hands them over


@dataclass(frozen=True)
class Pictures:
    """Pictures ``(N, S, S, 3)`` of uint8 in one or several arrays, and what is in them, ``(N, C)`` of 0 and 1."""

    arrays: Sequence[Array]
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Array) -> Array:
        """The pictures of these numbers, ``(n, S, S, 3)``."""
        ends = np.cumsum([len(array) for array in self.arrays])
        which = np.searchsorted(ends, rows, side="right")
        starts = ends - [len(array) for array in self.arrays]
        return np.stack([self.arrays[w][row - starts[w]] for w, row in zip(which, rows, strict=True)])


def together(sets: Sequence[Pictures]) -> Pictures:
    """Several sets of pictures as one."""
    return Pictures([a for each in sets for a in each.arrays], np.concatenate([each.labels for each in sets]))


@dataclass(frozen=True)
class Wanted:
    """Which scenes: the first ``count`` of a split with so many objects (None: any number), as a network sees them."""

    split: str
    objects: int | None
    count: int
    preprocess: Preprocess

    @property
    def key(self) -> str:
        """The name of the folder that they are kept in; another one where the code that draws has changed."""
        seen = replace(self.preprocess, mean=(), std=())
        drawn = hashlib.sha256(_code() + repr((DRAWN, seen, PIL.__version__)).encode()).hexdigest()[:8]
        return f"{self.split}-{self.objects or 'any'}-{self.count}-{drawn}"

    def range(self, start: int) -> tuple[Array, Array, Array]:
        """Pictures, categories and places of a chunk that starts there."""
        seen = replace(self.preprocess, mean=(0.0,) * 3, std=(1.0,) * 3)  # times 255: the 8 bits that it was given
        pictures, categories, places = [], [], []
        for number in range(start, min(start + CHUNK, self.count)):
            shown = scene(number, self.split, self.objects, DRAWN)
            pictures.append((seen(shown.image) * 255).round().byte().permute(1, 2, 0).numpy())
            categories.append([category in shown.labels for category in CATEGORIES])
            places.append(PLACES.index(shown.place))
        return np.stack(pictures), np.array(categories, np.uint8), np.array(places, np.int64)


@once
def _code() -> bytes:
    """The code that scenes are drawn by."""
    home = Path(world.__file__).parent
    files = [home / f"{name}.py" for name in ("world", "draw", "strokes", "backdrops")]
    return b"".join(path.read_bytes() for path in [*files, *sorted((home / "shapes").glob("*.py"))])


def cache() -> Path:
    """The folder for pictures of this version of the world; ``$XDG_CACHE_HOME`` moves it."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "wherefore" / f"scenes-{VERSION}"


def drawn(wanted: Wanted) -> tuple[Array, Array, Array]:
    """Pictures ``(N, S, S, 3)``, categories ``(N, 20)`` and places ``(N,)``: read from the cache, or drawn into it."""
    folder = cache() / wanted.key
    if not folder.is_dir():
        _draw_into(folder, wanted)
    labels = np.load(folder / "labels.npz")
    return np.load(folder / "pictures.npy", mmap_mode="r"), labels["categories"], labels["places"]


def _draw_into(folder: Path, wanted: Wanted) -> None:
    """Draws into a folder that is whole or not there."""
    part = made(folder.parent) / f"{folder.name}.{os.getpid()}.part"
    side = wanted.preprocess.crop
    assert isinstance(side, int)
    try:
        part.mkdir(exist_ok=True)
        pictures = open_memmap(part / "pictures.npy", "w+", np.uint8, (wanted.count, side, side, 3))
        categories, places = np.empty((wanted.count, len(CATEGORIES)), np.uint8), np.empty(wanted.count, np.int64)
        for start, chunk in zip(range(0, wanted.count, CHUNK), _chunks(wanted), strict=True):
            here = slice(start, start + CHUNK)
            pictures[here], categories[here], places[here] = chunk
        pictures.flush()
        np.savez(part / "labels.npz", categories=categories, places=places)
        part.rename(folder)
    except OSError as error:
        if not folder.is_dir():  # else another process was faster
            raise Error(
                f"{folder} cannot be written ({error.strerror}): set XDG_CACHE_HOME to another folder."
            ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _chunks(wanted: Wanted) -> Iterator[tuple[Array, Array, Array]]:
    """The chunks in order; where there are several, worker processes draw them, one per core."""
    starts = range(0, wanted.count, CHUNK)
    what = f"drawing {wanted.count:,} scenes"
    if len(starts) < 4:
        yield from track(map(wanted.range, starts), len(starts), what)
        return
    # An interruption is for the process that waits for them: it ends them.
    ignoring = (signal.SIGINT, signal.SIG_IGN)
    with ProcessPoolExecutor(min(_cores(), len(starts)), get_context("spawn"), signal.signal, ignoring) as pool:
        yield from track(pool.map(wanted.range, starts), len(starts), what)


def _cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
