"""A study's answers as a table for other tools: CSV or Parquet, one row for each answer in the order they came."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import astuple, fields
from pathlib import Path

from wherefore.errors import Error
from wherefore.saving import write_whole
from wherefore.study.exclusions import NOBODY
from wherefore.study.plan import Plan, Rating

COLUMNS = {
    "worker": "who answered: the platform's id, hashed with the study's salt",
    "item": "what was asked, by its id in study.json",
    "picture": "what the item was made from; together with the category, a pair",
    "method": "the condition",
    "category": "the category that is explained",
    "choice": "what was chosen, in the words on the screen",
    "value": "1 or 0 for right or wrong; in trust -2 to 2, plus for the first of the item's models wherever shown",
    "side": "the place of the choice on the screen, from the left or the top, from 0",
    "flipped": "whether the two options, in trust the two pictures, were shown the other way round",
    "position": "the place of the trial in this worker's order, from 0",
    "rt_ms": "milliseconds from seeing the trial to the answer",
    "answered_at": "UTC, ISO 8601",
    "platform": "local, mturk or prolific",
    "catch": "a catch trial, which counts for nothing but exclusion",
    "surplus": "came after its slot was given to somebody else, and counts for nothing",
    "simulated": "from a simulated worker, who is not a person",
    "finished": "whether this worker went through to the end",
}


def export(plan: Plan, ratings: Sequence[Rating], out: Path) -> Path:
    """Writes all answers, and returns the path; `COLUMNS` says what each column is.

    Answers of simulated workers, surplus ones and those to catch trials are in it, marked in columns. The suffix of
    ``out`` says as what: .csv (truth as TRUE and FALSE, which pandas and R read alike) or .parquet (typed, with the
    study's name, the plan's digest and `COLUMNS` in its metadata). Raises `Error` for another, or without answers.
    """
    write = writer(out)
    if not ratings:
        raise Error(NOBODY)
    return write_whole(out, write(plan, ratings))


def writer(out: Path) -> Callable[[Plan, Sequence[Rating]], bytes]:
    """What writes a file of this suffix. Raises `Error` for another."""
    found = {".csv": _csv, ".parquet": _parquet}.get(out.suffix.lower())
    if found is None:
        raise Error(f"{out.name} is neither .csv nor .parquet: end the file's name in one of them.")
    return found


def _csv(plan: Plan, ratings: Sequence[Rating]) -> bytes:
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for rating in ratings:
        rows.writerow([str(value).upper() if isinstance(value, bool) else value for value in astuple(rating)])
    return text.getvalue().encode()


def _parquet(plan: Plan, ratings: Sequence[Rating]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    types = {"str": pyarrow.string(), "float": pyarrow.float64(), "int": pyarrow.int32(), "bool": pyarrow.bool_()}
    columns = [pyarrow.field(f.name, types[str(f.type)], metadata={"is": COLUMNS[f.name]}) for f in fields(Rating)]
    schema = pyarrow.schema(columns, metadata={"study": plan.name, "kind": plan.kind, "plan": plan.digest})
    rows = [dict(zip(COLUMNS, astuple(rating), strict=True)) for rating in ratings]
    content = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema), content)
    return content.getvalue()
