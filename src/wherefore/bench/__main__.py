"""A fresh process that measures: ``python -m wherefore.bench JOB`` prints one JSON object for each row."""

from __future__ import annotations

import contextlib
import json
import sys
import warnings
from typing import Any

from wherefore.bench import folder, measure
from wherefore.bench.rows import Row


def main(job: dict[str, Any]) -> None:
    """Measures a job's rows; peers that print do so on stderr."""
    warnings.simplefilter("ignore")
    for values in job["rows"]:
        row = Row.from_json(values)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                result = one(row, job)
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), flush=True)


def one(row: Row, job: dict[str, Any]) -> dict[str, Any]:
    """The result of a row, or the peaks of one contestant of a ``memory`` row, as plain values."""
    if row.kind == "memory":
        return dict(measure.peak(row, job["contestant"]))
    timed = folder.timed if row.kind == "folder" else measure.timed
    return timed(row, job["seconds"]).to_json()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
