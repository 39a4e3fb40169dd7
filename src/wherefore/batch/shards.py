"""The shards of a run, made on this machine: decoding, the network, measuring and writing overlap.

However long the run is, there are in memory the slice that the network works on, the one that is being decoded (and
copied to the GPU, where the network is on one), a few that are being measured, and the finished rows of one shard.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from wherefore.batch.rows import SLICE, sliced
from wherefore.batch.run import Run
from wherefore.batch.store import Row, parquet
from wherefore.copying import Coming, Copier
from wherefore.datasets import Unreadable
from wherefore.errors import Error
from wherefore.explainer import Explainer
from wherefore.explanation import Explanation
from wherefore.inputs import NOT_YET, Input
from wherefore.saving import write_whole
from wherefore.subjects import Picture

LEAST, MOST = 2.0**-4, 2.0**15  # largest values of maps that float16 holds to its own precision in all that counts
MEASURED = 4  # slices whose maps are being measured while the network goes on
TYPES = {
    "path": "string",
    "width": "int32",
    "height": "int32",
    "target": "int32",
    "name": "string",
    "score": "float32",
    "probability": "float32",
    "evidence": "float32",
    "peak_x": "int32",
    "peak_y": "int32",
    "box_x0": "int32",
    "box_y0": "int32",
    "box_x1": "int32",
    "box_y1": "int32",
    "grid_h": "int32",
    "grid_w": "int32",
    "map": "map",
    "scale": "float32",
    "error": "string",
    "region": "floats",
    "input": "ints",
    "filled": "floats",
    "patches": "ints",
    "number": "int64",
}


@dataclass(frozen=True)
class Ready:
    """A picture that was read and prepared, or what is wrong with it."""

    name: str
    input: Input | None
    error: str = ""
    notes: tuple[str, ...] = ()
    coming: Coming | None = None  # the input's tensors, on their way to the network

    def arrived(self) -> Input | None:
        """The picture with its tensors where the network is."""
        if self.input is None or self.coming is None:
            return self.input
        tensor, others = self.coming.get()
        return replace(self.input, tensor=tensor, others=others)


def made(run: Run, why: Explainer, shards: Sequence[int]) -> Iterator[tuple[int, list[str]]]:
    """Makes shards one after the other; says of each slice of pictures how many it was, and what was wrong with some.

    A shard is there, whole, once all of its slices are through and the next shard has begun, or there is none.
    """
    cores, step = os.cpu_count() or 1, max(SLICE, why.at_once)
    copier = Copier(why.device) if why.device is not None else None
    waiting: deque[tuple[list[Row], Future[Any]]] = deque()
    with ThreadPoolExecutor(cores) as measurers, _Shards(run) as kept:
        for rows in sliced(
            _Numbers(run, shards), partial(_ready, run, why, copier), _Asking(why, run), None, step, cores
        ):
            waiting.append((rows, measurers.submit(_measured, rows)))
            if len(waiting) > MEASURED:
                yield kept.add(*waiting.popleft())
        while waiting:
            yield kept.add(*waiting.popleft())


class _Numbers(Sequence[int]):
    """The numbers of the pictures of shards, one after the other; only the last shard of a run may be a shorter one."""

    def __init__(self, run: Run, shards: Sequence[int]) -> None:
        self.shards, self.size, self.total = shards, run.size, sum(len(run.numbers(shard)) for shard in shards)

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(self.total))]
        return self.shards[place // self.size] * self.size + place % self.size


class _Shards:
    """What keeps rows: those of one shard are gathered, and written while those of the next come."""

    def __init__(self, run: Run) -> None:
        self.run, self.writer = run, ThreadPoolExecutor(1)
        self.number, self.tables = -1, list[Any]()
        self.writing: Future[None] | None = None

    def __enter__(self) -> _Shards:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:  # what was being made when something failed is not whole
            self._write()
        self.writer.shutdown()
        if kind is None and self.writing:
            self.writing.result()

    def add(self, rows: list[Row], measured: Future[Any]) -> tuple[int, list[str]]:
        number = rows[0]["number"] // self.run.size
        if number != self.number:
            self._write()
            self.number = number
        self.tables.append(measured.result())
        wrong = [_nameless(self.run, row["error"], row["sample"]) for row in rows if "error" in row]
        return len({row["number"] for row in rows}), wrong

    def _write(self) -> None:
        if self.writing:
            self.writing.result()  # raises where the last one could not be written
        if self.tables:
            self.writing = self.writer.submit(_written, self.run, self.number, self.tables)
            self.tables = []


def there(run: Run, shard: int) -> tuple[int, list[str]]:
    """How many pictures a shard is that is there, and what was wrong with some."""
    _, file = parquet("batch")
    errors = file.read_table(run.path(shard), columns=["path", "error"]).drop_null().to_pylist()
    return len(run.numbers(shard)), [_nameless(run, row["error"], row["path"]) for row in errors]


def _nameless(run: Run, error: str, name: str) -> str:
    """What is wrong, without the name of the picture, so that it can be counted."""
    opened = str(Path(run.said["listing"]["root"]) / name)  # as it was read, from wherever
    return error.replace(opened, "a picture").replace(name, "a picture")


def _written(run: Run, number: int, tables: list[Any]) -> None:
    pyarrow, file = parquet("batch")
    buffer = BytesIO()
    about = {"wherefore": json.dumps({name: run.said[name] for name in ("version", "settings", "weights_sha256")})}
    file.write_table(pyarrow.Table.from_batches(tables).replace_schema_metadata(about), buffer, compression="zstd")
    write_whole(run.path(number), buffer.getvalue())


# -------------------------------------------------------------------------------------------- pictures


def _ready(run: Run, why: Explainer, copier: Copier | None, number: int) -> Ready:
    """A picture that was read; on a GPU it is copied while the pictures before it are explained."""
    name = f"picture {number} of {run.dataset.spec}"
    try:
        sample = run.dataset[number]
        name = sample.name
        found = why.prepare(Picture(name, sample.image, NOT_YET))
    except Unreadable as error:
        return Ready(error.args[0].name, None, str(error))
    except Error as error:
        return Ready(name, None, str(error))
    except Exception as error:  # one picture that upsets a decoder does not end a run over millions
        return Ready(name, None, f"{name} cannot be prepared: {error}")
    # A copy that fails is no fault of the picture: it ends the run, which goes on later.
    return Ready(name, found, coming=copier.start((found.tensor, dict(found.others))) if copier else None)


class _Asking:
    """What turns pictures into rows with their explanation, or their error; they are measured elsewhere."""

    def __init__(self, why: Explainer, run: Run) -> None:
        self.why, self.asked = why, run.settings.asked

    def __call__(self, ready: Sequence[Ready]) -> list[list[Row]]:
        good = [found for each in ready if (found := each.arrived())]
        e = self.why.on(good, self.asked) if good else None
        places = count()
        return [[{"explained": (e, next(places))} if each.input else {"error": each.error}] for each in ready]


def _measured(rows: Sequence[Row]) -> Any:
    """The rows of pictures and targets as a piece of a table."""
    return _table([each for row in rows for each in _columns(row)])


def _columns(row: Row) -> Iterator[Row]:
    """What is kept of a picture: a row for each target, or one that says what is wrong with it."""
    found = _of(*row["explained"]) if "explained" in row else [{"path": row["sample"], "error": row["error"]}]
    yield from ({**each, "number": row["number"]} for each in found)


def _of(e: Explanation, image: int) -> list[Row]:
    """The rows of one picture's targets."""
    report = e.report(image)
    width, height = report["size"]
    picture = e.pictures[image]
    assert isinstance(picture, Picture)  # what reads them makes no others
    where = {  # by which `wherefore.open_results` puts the map back without the network
        "region": picture.region,
        "input": e.input_sizes[image],
        "filled": e.filled[image] if e.filled else (1.0, 1.0),
        "patches": (e.patches.size, e.patches.stride) if e.patches else None,
    }
    return [
        {
            "path": report["image"],
            "width": width,
            "height": height,
            "target": said["index"],
            **{name: said[name] for name in ("name", "score", "probability", "evidence")},
            **dict(zip(("peak_x", "peak_y"), said["peak"], strict=True)),
            **dict(zip(("box_x0", "box_y0", "box_x1", "box_y1"), said["box"], strict=True)),
            **_map(e.maps[image][target]),
            **where,
        }
        for target, said in enumerate(report["targets"])
    ]


def _map(heat: Tensor) -> Row:
    """A map in float16 as it is; where it is too large or too small for that, so are its values over ``scale``."""
    if heat.ndim != 2:
        raise Error("`wherefore batch` keeps the maps of pictures: give a network that looks at these.")
    values = heat.detach().float().cpu().numpy()
    top = float(np.abs(values).max(initial=0.0))
    scale = 1.0 if not top or LEAST <= top <= MOST else 2.0 ** (np.frexp(top)[1])
    shares = (values / np.float32(scale)).astype(np.float16)
    return {"grid_h": values.shape[0], "grid_w": values.shape[1], "map": shares.ravel(), "scale": scale}


def _table(rows: Sequence[Row]) -> Any:
    import pyarrow

    arrays = [
        pyarrow.array([row.get(name) for row in rows], kind) for name, kind in zip(TYPES, schema().types, strict=True)
    ]
    return pyarrow.RecordBatch.from_arrays(arrays, schema=schema())


@cache
def schema() -> Any:
    """The columns of a run's rows, as pyarrow has them."""
    import pyarrow

    kinds = {"map": pyarrow.float16(), "floats": pyarrow.float32(), "ints": pyarrow.int32()}
    lists = {name: pyarrow.list_(kind) for name, kind in kinds.items()}
    return pyarrow.schema([(name, lists.get(kind) or getattr(pyarrow, kind)()) for name, kind in TYPES.items()])
