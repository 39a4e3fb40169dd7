"""Rows on disk: a Parquet file for each slice of a run, whole or not there, beside what the run was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from wherefore.errors import Error
from wherefore.saving import file_name, made, write_whole

Row = dict[str, Any]


class Store:
    """The rows of a run by the samples of their slice, in a folder of their own under ``root``.

    The folder is named by ``about``, all that the rows depend on: other settings have another folder, and what is there
    is of no other run, however many samples that has. A slice that was being written when the run ended, or is damaged,
    is not there; nor is one with a row that is not ``whole``: a file that it names may be gone. Needs pyarrow.
    """

    def __init__(
        self, root: str | Path, name: str, about: Mapping[str, Any], whole: Callable[[Row], bool] | None = None
    ) -> None:
        self.whole = whole
        self.about = json.dumps(about, sort_keys=True, default=str)
        self.folder = Path(root) / f"{file_name(name)}-{hashlib.sha256(self.about.encode()).hexdigest()[:12]}"
        parquet()

    def read(self, numbers: Sequence[int]) -> list[Row] | None:
        """The rows of the samples of these numbers, None where they are not there."""
        path = self._path(numbers)
        if not path.is_file():
            return None
        pyarrow, file = parquet()
        try:
            rows: list[Row] = file.read_table(path).to_pylist()
        except (pyarrow.ArrowException, OSError):
            return None
        return rows if self.whole is None or all(map(self.whole, rows)) else None

    def write(self, numbers: Sequence[int], rows: Sequence[Row]) -> None:
        """Keeps the rows of the samples of these numbers."""
        pyarrow, file = parquet()
        names = list(dict.fromkeys(name for row in rows for name in row))
        table = pyarrow.table({name: [row.get(name) for row in rows] for name in names})
        buffer = BytesIO()
        file.write_table(table.replace_schema_metadata({"wherefore": self.about}), buffer, compression="zstd")
        made(self.folder)
        write_whole(self._path(numbers), buffer.getvalue())

    def _path(self, numbers: Sequence[int]) -> Path:
        return self.folder / f"{numbers[0]}-{hashlib.sha256(repr(list(numbers)).encode()).hexdigest()[:12]}.parquet"


def parquet(extra: str = "eval") -> tuple[Any, Any]:
    """pyarrow, and its reader and writer of Parquet. Raises `Error`, which names the ``extra``, where it is missing."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise Error(f"keeping rows needs pyarrow: pip install 'wherefore[{extra}]'") from None
    return pyarrow, parquet
