"""Samples of a data set as a network is fine-tuned on them: cropped at random, with their labels, read ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wherefore.datasets import Dataset
from wherefore.errors import Error
from wherefore.preparing import Preprocess

LARGER = 8 / 7  # than its crop a picture is before it is cropped: 256 for 224
AHEAD = 2  # batches that are read while one is computed


class Batch(NamedTuple):
    """Pictures ``(n, 3, H, W)``, what is in them ``(n, C)`` of bool, and which of that is counted ``(n, C)``."""

    x: Tensor
    labels: Tensor
    counted: Tensor


@dataclass(frozen=True)
class Samples:
    """The first ``count`` samples of a data set; ``preprocess`` is the network's own, with a crop.

    ``unread`` says of the pictures that could not be read why not; they are left out.
    """

    data: Dataset
    count: int
    preprocess: Preprocess
    unread: dict[int, str] = field(default_factory=dict)

    def batches(self, rows: Iterable[Sequence[int]], seed: tuple[int, ...] | None = None) -> Iterator[Batch]:
        """The samples of these numbers, a batch for each; whole, or cropped and mirrored as a seed decides.

        A batch of which nothing can be read has no pictures.
        """
        waiting: deque[list[Future[Batch | None]]] = deque()
        with ThreadPoolExecutor(2) as readers:
            for numbers in rows:
                waiting.append([readers.submit(self._read, int(number), seed) for number in numbers])
                if len(waiting) > AHEAD:
                    yield self._together(waiting.popleft())
            while waiting:
                yield self._together(waiting.popleft())

    def _together(self, found: list[Future[Batch | None]]) -> Batch:
        batch = [each for each in (future.result() for future in found) if each is not None]
        if not batch:
            none = torch.zeros(0, len(self.data.classes), dtype=torch.bool)
            return Batch(torch.zeros(0, 3, 1, 1), none, none)
        return Batch(*(torch.stack(parts) for parts in zip(*batch, strict=True)))

    def _read(self, number: int, seed: tuple[int, ...] | None) -> Batch | None:
        try:
            sample = self.data[number]
            x = self._seen(sample.image, seed and np.random.default_rng((*seed, number)))
        except Error as error:
            self.unread[number] = str(error)
            return None
        present = torch.zeros(len(self.data.classes), dtype=torch.bool)
        counted = torch.ones_like(present)
        for label in sample.labels:
            present[self.data.number(label)] = True
            counted[self.data.number(label)] = not sample.only_difficult(label)
        return Batch(x, present, counted)

    def _seen(self, image: Image.Image, dice: Any) -> Tensor:
        """The whole picture, squashed; with dice a crop of a larger one, mirrored or not."""
        crop = self.preprocess.crop
        assert crop is not None
        height, width = (crop, crop) if isinstance(crop, int) else crop
        if dice is None:
            return replace(self.preprocess, squash=True)(image)
        larger = round(height * LARGER), round(width * LARGER)
        x = replace(self.preprocess, squash=True, crop=larger)(image)
        top, left = dice.integers(0, (larger[0] - height + 1, larger[1] - width + 1))
        x = x[:, top : top + height, left : left + width]
        return x.flip(-1) if dice.random() < 0.5 else x
