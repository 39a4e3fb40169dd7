"""What networks with words are trained on: what was said or asked of a data set's pictures, and what a CNN sees."""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from wherefore.datasets import Array, Dataset
from wherefore.errors import Error
from wherefore.preparing import Preprocess
from wherefore.progress import track
from wherefore.saving import write_json
from wherefore.types import Model

T = TypeVar("T")
AHEAD = 2  # batches that are read while one is computed
BATCH = 32  # pictures that a CNN sees at once


class Text(NamedTuple):
    """What was said of a picture, which has this number; or asked, with the answer that most gave and those of all."""

    picture: int
    text: str
    answer: str = ""
    answers: tuple[str, ...] = ()


def texts_of(data: Dataset, count: int, asked: bool, say: Callable[[str], None]) -> list[Text]:
    """The captions of the first ``count`` pictures, or the questions; ``say`` hears of pictures that cannot be read.

    Raises `Error` where nothing was said or asked.
    """
    found: list[Text] = []
    unread: list[str] = []
    for number in track(range(count), count, f"reading {data.split}"):
        try:
            sample = data[number]
        except Error as error:
            unread.append(str(error))
            continue
        if asked:
            found += [Text(number, each.text, each.answer, each.answers) for each in sample.questions]
        else:
            found += [Text(number, caption) for caption in sample.captions]
    if unread:
        say(f"left out, for they cannot be read: {len(unread)} of {count} ({data.split}): {unread[0]}")
    if not found:
        what = ("questions", "vqa:DIR") if asked else ("captions", "coco:DIR, with captions_train2014.json")
        raise Error(f"{data.spec} has no {what[0]} in its part {data.split!r}: give --data {what[1]}.")
    return found


# -------------------------------------------------------------------------------------------- what a CNN sees


@dataclass(frozen=True)
class Seen:
    """What a CNN that does not learn makes of pictures: computed once, and kept in a file of float16.

    ``unread`` says of the pictures that could not be read why not.
    """

    array: Array
    rows: dict[int, int]
    unread: dict[int, str]

    def take(self, pictures: Sequence[int]) -> Tensor:
        """That of pictures of these numbers, float32."""
        return torch.from_numpy(self.array[[self.rows[number] for number in pictures]].astype(np.float32))


def seen(
    cnn: nn.Module, preprocess: Preprocess, data: Dataset, pictures: Sequence[int], folder: Path, device: torch.device
) -> Seen:
    """What a CNN makes of pictures of these numbers: read from the file in the folder that has it, or put there.

    Raises `Error` where there are none, and where the disk is full: of VQA's training pictures the maps of ResNet-200
    take 66 GB.
    """
    if not pictures:
        raise Error(f"nothing in the part {data.split!r} of {data.spec} is said in words that the network knows.")
    about = [data.spec, data.split, data.fingerprint, list(pictures), asdict(preprocess)]
    about.append(Model(cnn).weights_sha256)
    key = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
    path = folder / f"seen-{key}.npy"
    listed = path.with_suffix(".json")  # written last: without it the other is not whole
    if not listed.is_file():
        unread: dict[int, str] = {}
        try:
            with path.open("wb") as file:
                _write(cnn.eval(), preprocess, data, pictures, unread, file, device)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise Error(f"{path} cannot be written ({error.strerror}): make room, or give another folder.") from None
        write_json(listed, unread)
    found = {int(number): why for number, why in json.loads(listed.read_text(encoding="utf-8")).items()}
    return Seen(np.load(path, mmap_mode="r"), {number: row for row, number in enumerate(pictures)}, found)


@torch.inference_mode()
def _write(
    cnn: nn.Module,
    preprocess: Preprocess,
    data: Dataset,
    pictures: Sequence[int],
    unread: dict[int, str],
    file: IO[bytes],
    device: torch.device,
) -> None:
    """Appends batch after batch to a file of numpy's; of what cannot be read there are zeros."""
    assert isinstance(preprocess.crop, int)
    nothing = torch.zeros(3, preprocess.crop, preprocess.crop)

    def read(number: int) -> Tensor:
        try:
            return preprocess(data[number].image)
        except Error as error:
            unread[number] = str(error)
            return nothing

    batches = [pictures[start : start + BATCH] for start in range(0, len(pictures), BATCH)]
    for number, images in enumerate(track(ahead(read, batches), len(batches), f"seeing {data.split}")):
        made = cnn(torch.stack(images).to(device)).half().cpu().numpy()
        if number == 0:
            header: dict[str, Any] = {"descr": "<f2", "fortran_order": False, "shape": (len(pictures), *made.shape[1:])}
            np.lib.format.write_array_header_1_0(file, header)
        file.write(made.tobytes())


def cropped(preprocess: Preprocess, data: Dataset, seed: tuple[int, ...]) -> Callable[[int], Tensor]:
    """What reads the picture of a number and crops it somewhere, as the seed decides, before its middle is cropped."""
    whole, crop = replace(preprocess, crop=None), preprocess.crop
    assert isinstance(crop, int)

    def read(number: int) -> Tensor:
        x = whole(data[number].image)
        dice = np.random.default_rng((*seed, number))
        top, left = (int(dice.integers(side - crop + 1)) for side in x.shape[1:])
        return x[:, top : top + crop, left : left + crop]

    return read


def ahead(read: Callable[[int], T], batches: Iterable[Sequence[int]]) -> Iterator[list[T]]:
    """What is read of the numbers of each batch, while others compute."""
    waiting: deque[list[Future[T]]] = deque()
    with ThreadPoolExecutor(os.cpu_count()) as readers:
        for numbers in batches:
            waiting.append([readers.submit(read, number) for number in numbers])
            if len(waiting) > AHEAD:
                yield [future.result() for future in waiting.popleft()]
        while waiting:
            yield [future.result() for future in waiting.popleft()]
