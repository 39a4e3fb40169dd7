"""Pictures that are named one by one, and scenes among them: of these alone it is known what is there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path

from wherefore.datasets.files import picture, size_of
from wherefore.datasets.sample import Dataset, Sample
from wherefore.datasets.scenes import of_scene
from wherefore.scenes import named
from wherefore.scenes.world import CATEGORIES


class Pictures(Dataset):
    """Files of pictures, and scenes (``scenes:17``), in the order in which they are given."""

    name = "pictures"
    split = "test"

    def __init__(self, sources: Sequence[str | Path]) -> None:
        self.sources = [str(source) for source in sources]
        # Of scenes alone its pages say, as of other scenes, that they are drawn.
        more = f" and {len(self.sources) - 1} more" if len(self.sources) > 1 else ""
        self.spec = f"{self.sources[0]}{more}" if self.sources and all(map(_is_scene, self.sources)) else self.name
        self.classes = CATEGORIES if any(map(_is_scene, self.sources)) else ()

    def __len__(self) -> int:
        return len(self.sources)

    @cached_property
    def fingerprint(self) -> str:
        """What differs when another picture is named, or a file changes."""
        digest = hashlib.sha256()
        for source in self.sources:
            state = os.stat(source) if os.path.isfile(source) else None
            digest.update(f"{source} {state and (state.st_size, state.st_mtime_ns)}\n".encode())
        return digest.hexdigest()

    def sample(self, number: int) -> Sample:
        source = self.sources[number]
        if _is_scene(source):
            return of_scene(named(source))
        path = Path(source)
        return Sample(source, partial(picture, path, upright=True), boxed=False, known_size=size_of(path, upright=True))


def _is_scene(source: str) -> bool:
    return source.startswith("scenes:") and not os.path.isfile(source)
