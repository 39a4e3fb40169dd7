"""What a run goes over: pictures by number, listed once when it begins; what is added to a folder later is not in it.

A source is a folder, a list (a text file with a path on each line), a data set as `wherefore datasets` has them, or a
pattern of tar files, of which every picture is a member that is read where it lies (WebDataset).
"""

from __future__ import annotations

import glob
import hashlib
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

from wherefore import imaging
from wherefore.batch.local import find_pictures
from wherefore.batch.store import parquet
from wherefore.datasets import Dataset, Sample, opened
from wherefore.errors import Error
from wherefore.progress import track
from wherefore.registry import DATASETS
from wherefore.saving import write_whole

FILE = "listing.arrow"


class Files(Dataset):
    """Pictures in files of their own, each called by its path as it was found."""

    name, split = "files", ""

    def __init__(self, spec: str, columns: Mapping[str, Sequence[Any]], root: Path) -> None:
        self.spec, self.classes, self.root, self.paths = spec, (), root, columns["path"]

    def __len__(self) -> int:
        return len(self.paths)

    def sample(self, number: int) -> Sample:
        path = str(self.paths[number])
        return Sample(path, lambda: imaging.read(self.root / path))


class Members(Dataset):
    """Pictures in tar files, each called by its tar file and its name there; read from its place, without unpacking."""

    name, split = "tars", ""

    def __init__(self, spec: str, columns: Mapping[str, Sequence[Any]], root: Path) -> None:
        self.spec, self.classes, self.root, self.columns = spec, (), root, columns

    def __len__(self) -> int:
        return len(self.columns["path"])

    def sample(self, number: int) -> Sample:
        tar, path, offset, size = (self.columns[name][number] for name in ("tar", "path", "offset", "size"))
        return Sample(str(path), lambda: imaging.decoded(BytesIO(self._bytes(str(tar), offset, size)), str(path)))

    def _bytes(self, tar: str, offset: int, size: int) -> bytes:
        try:
            with (self.root / tar).open("rb") as file:
                file.seek(offset)
                return file.read(size)
        except OSError as error:
            raise Error(f"{tar} cannot be read ({error.strerror}).") from None


DATASET = "dataset"
KINDS = {kind.name: kind for kind in (Files, Members)}
Listed = tuple[str, dict[str, list[Any]] | None]  # the kind of dataset, and what it is made from


def listed(source: str, limit: int | None, out: Path) -> Listed:
    """What a source holds: the kind of its pictures and their columns, None for a data set, which lists them itself.

    Raises `Error` where there is nothing of the kind, or no picture.
    """
    if source.partition(":")[0] in DATASETS:
        return DATASET, None
    if source.endswith(".tar"):
        return Members.name, _columns(_members(source, limit), ("tar", "path", "offset", "size"), source)
    path = Path(source)
    if path.is_file() and path.suffix == ".txt":
        names = [line.strip() for line in path.read_text(errors="surrogateescape").splitlines()]
        found: list[str | Path] = [path.parent / name for name in names if name]
    else:
        found = [*find_pictures([source], out)]
    return Files.name, _columns([(str(each),) for each in found[:limit]], ("path",), source)


def _columns(rows: Sequence[tuple[Any, ...]], names: Sequence[str], source: str) -> dict[str, list[Any]]:
    if not rows:
        raise Error(f"{source} lists no pictures.")
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}


def _members(pattern: str, limit: int | None) -> list[tuple[str, str, int, int]]:
    """Tar file, name, place and size of each picture in the tar files of a pattern."""
    tars = sorted(glob.glob(pattern))
    if not tars:
        raise Error(f"there is no file {pattern}.")
    found: list[tuple[str, str, int, int]] = []
    for tar in track(tars, len(tars), "listing"):
        found += _inside(tar)
        if limit is not None and len(found) >= limit:
            break
    return found[:limit]


def _inside(tar: str) -> Iterator[tuple[str, str, int, int]]:
    try:
        with tarfile.open(tar, "r:") as archive:
            for member in archive:
                if member.isfile() and PurePosixPath(member.name).suffix.lower() in imaging.SUFFIXES:
                    yield tar, f"{tar}/{member.name}", member.offset_data, member.size
    except (tarfile.TarError, OSError) as error:
        raise Error(f"{tar} is no tar file that can be read, or is compressed: unpack it to .tar ({error}).") from None


def frozen(folder: Path, columns: Mapping[str, Sequence[Any]]) -> str:
    """Writes the listing into a run's folder; the sha256 of it."""
    pyarrow, _ = parquet("batch")
    table, buffer = pyarrow.table(dict(columns)), BytesIO()
    with pyarrow.ipc.new_file(buffer, table.schema) as file:
        file.write(table)
    write_whole(folder / FILE, buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def reopened(folder: Path, kind: str, source: str, root: Path) -> Dataset:
    """The pictures that a run's folder lists; of a data set those that it lists itself."""
    if kind == DATASET:
        return opened(source)
    pyarrow, _ = parquet("batch")
    try:
        table = pyarrow.ipc.open_file(pyarrow.memory_map(str(folder / FILE))).read_all()
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise Error(f"{folder / FILE} cannot be read, the run cannot go on: give another folder ({error}).") from None
    return KINDS[kind](source, {name: _Column(table[name]) for name in table.column_names}, root)


class _Column(Sequence[Any]):
    """A column that stays in its file, of which a value becomes an object when it is asked for."""

    def __init__(self, column: Any) -> None:
        self.column = column

    def __len__(self) -> int:
        return len(self.column)

    def __getitem__(self, number: Any) -> Any:
        return self.column[number].as_py()
