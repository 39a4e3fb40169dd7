"""What a run found, read back: rows as tables, maps as explanations, statistics, and a page of any selection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wherefore.batch.run import Run, reopened
from wherefore.batch.store import Row, parquet
from wherefore.errors import Error
from wherefore.explanation import Explanation
from wherefore.pages import Card, Cards, Figure, Section, Table, write
from wherefore.progress import track
from wherefore.subjects import Picture
from wherefore.types import Model, Patches

LIGHT = ("path", "width", "height", "target", "name", "score", "probability", "evidence", "error")


@dataclass(frozen=True)
class Results:
    """The rows of a run, as far as it is: one for each picture and target, or for each picture that went wrong.

        results = wf.open_results("out")
        results.select("name = 'dog' AND probability < 0.5")      # pandas
        results["photos/1.jpg"].overlay()

    Columns: ``path``, ``width``, ``height``; ``target`` (index), ``name``, ``score``, ``probability``, ``evidence``
    (the largest positive value of the map); ``peak_x``, ``peak_y`` and ``box_x0`` to ``box_y1`` in the picture's pixels
    (inclusive corners, 15 % threshold); ``map`` (float16, ``grid_h * grid_w`` values row by row, to be multiplied by
    ``scale``, which is 1 unless float16 could not hold them); ``error``, and all else empty, of a bad picture;
    ``region`` (what the network saw, in the picture's pixels), ``input``, ``filled``, ``patches``: how the map lies;
    ``number``: the picture's place in the listing.
    """

    run: Run

    @property
    def files(self) -> list[Path]:
        """The shards that are there."""
        return [path for path in map(self.run.path, self.run.shards) if path.exists()]

    @property
    def complete(self) -> bool:
        """Whether no shard is missing."""
        return not self.run.missing()

    @cached_property
    def dataset(self) -> Any:
        """All rows as a ``pyarrow.dataset``, read as they are used."""
        from pyarrow.dataset import dataset

        if not self.files:
            raise Error(f"the run in {self.run.folder} has no finished shard yet: go on with it.")
        return dataset([str(path) for path in self.files], format="parquet")

    def select(self, where: str = "TRUE", columns: Sequence[str] = LIGHT, tail: str = "") -> Any:
        """Rows as a pandas table: those that fulfil an SQL condition, and what is to follow it ("ORDER BY evidence").

        Needs duckdb and pandas: pip install 'wherefore[batch]'. Raises `Error` for a condition that is none.
        """
        try:
            import duckdb
        except ImportError:
            raise Error("selecting rows needs duckdb: pip install 'wherefore[batch]'") from None
        _ = self.dataset  # an `Error` where there is nothing
        files = [str(path) for path in self.files]
        try:
            query = f"SELECT {', '.join(columns)} FROM read_parquet($files) WHERE {where} {tail}"
            return duckdb.execute(query, {"files": files}).df()
        except duckdb.Error as error:
            raise Error(f"these rows cannot be selected: {str(error).splitlines()[0]}") from None

    def rows(self, paths: Sequence[str]) -> dict[str, list[Row]]:
        """The rows of pictures by their paths."""
        from pyarrow.compute import field

        found: dict[str, list[Row]] = {path: [] for path in paths}
        for row in self.dataset.to_table(filter=field("path").isin([*paths])).to_pylist():
            found[row["path"]].append(row)
        return found

    def __getitem__(self, path: str) -> Explanation:
        """The explanation of a picture, all of its targets. Raises `Error` for one that is not there, or went wrong."""
        rows = self.rows([path])[path]
        if not rows:
            raise Error(f"the run in {self.run.folder} has no picture {path}.")
        return self._explained(rows)

    def explanations(self, paths: Sequence[str]) -> Iterator[Explanation]:
        """The explanations of pictures that went well, in their order."""
        found = self.rows(paths)
        yield from (self._explained(found[path]) for path in paths if found[path] and not found[path][0]["error"])

    def statistics(self) -> dict[str, Any]:
        """What was found, in numbers.

        ``pictures`` and ``rows``, ``errors`` by what went wrong; of each name that was a target, ``targets``: how
        often, with the means of probability and evidence and the share of maps without any.
        """
        table = self.dataset.to_table(columns=["number", "name", "probability", "evidence", "error"])
        errors = Counter(table["error"].drop_null().to_pylist())
        good = table.filter(table["error"].is_null())
        grouped = good.append_column("empty", _empty(good["evidence"])).group_by("name")
        means = grouped.aggregate(
            [("number", "count"), ("probability", "mean"), ("evidence", "mean"), ("empty", "mean")]
        )
        names = ("number_count", "probability_mean", "evidence_mean", "empty_mean")
        rows = sorted(means.to_pylist(), key=lambda row: (-row["number_count"], row["name"]))
        keys = ("count", "probability", "evidence", "without_evidence")
        return {
            "pictures": len(table["number"].unique()),
            "of": self.run.count,
            "rows": table.num_rows,
            "errors": dict(errors.most_common()),
            "targets": {row["name"]: dict(zip(keys, (row[name] for name in names), strict=True)) for row in rows},
        }

    def page(self, out: str | Path, where: str = "TRUE", order: str = "path", limit: int = 60) -> Path:
        """Writes a page of the rows that fulfil an SQL condition, each with its picture and map; its path.

        Pictures that went wrong follow, each with the reason.
        """
        chosen, count = self._chosen(f"({where}) AND error IS NULL", order, limit)
        wrong, failed = self._chosen(f"({where}) AND error IS NOT NULL", "path", limit)
        if not count + failed:
            raise Error(f"no picture of the run in {self.run.folder} fulfils {where}.")
        found = self.rows([*chosen["path"].unique()]) if count else {}
        cards = [self._card(row, found) for row in track(chosen.to_dict("records"), len(chosen), "drawing")]
        said = self.run.said["settings"]
        selected = "" if where == "TRUE" else f" where {where}"
        shown = f"{_of(len(cards), count)} rows of {self.run.folder}{selected}, by {order}"
        lead = f"{shown}: {said['method']} on {said['model']}."
        facts = {"source": self.run.said["source"], "weights": str(self.run.said["weights_sha256"])}
        sections = [Section("Selection", "", Cards(cards))] if count else []
        if failed:
            table = Table(
                ["Picture", "What went wrong"], [*wrong[["path", "error"]].itertuples(index=False, name=None)]
            )
            sections.append(Section("Not explained", f"{_of(len(wrong), failed)} pictures.", table))
        return write(out, "What was found", lead, sections, facts, notice="")

    def _chosen(self, where: str, order: str, limit: int) -> tuple[Any, int]:
        """The first rows that fulfil a condition, and how many do."""
        count = int(self.select(where, ["count(*) AS count"])["count"][0])
        return self.select(where, LIGHT, f"ORDER BY {order} LIMIT {int(limit)}"), count

    def _card(self, row: Row, found: dict[str, list[Row]]) -> Card:
        own = [each for each in found[row["path"]] if each["name"] == row["name"]]
        e = self._explained(own).within(480)
        numbers = {name: round(float(row[name]), 4) for name in ("probability", "evidence", "score")}
        said = f"score {row['score']:.2f}, evidence up to {row['evidence']:.3g}"  # the map's brightest
        figure = Figure(next(e.overlays(0, legend=False)), f"{row['name']}, p {row['probability']:.3f}", said)
        return Card(Path(row["path"]).name, [figure], {"target": row["name"], **numbers}, row["path"])

    def _explained(self, rows: Sequence[Row]) -> Explanation:
        first = rows[0]
        if first["error"]:
            raise Error(first["error"])
        said, sample = self.run.said, self.run.dataset[first["number"]]
        return Explanation(
            maps=torch.stack([unpacked(row) for row in rows])[None],
            scores=torch.tensor([[row["score"] for row in rows]]),
            targets=[[row["name"] for row in rows]],
            classes=torch.tensor([[-1 if row["target"] is None else row["target"] for row in rows]]),
            probabilities=torch.tensor([[row["probability"] for row in rows]], dtype=torch.float32),
            pictures=[Picture(first["path"], lambda: sample.image, tuple(first["region"]))],
            input_sizes=[tuple(first["input"])],
            model=Model(nn.Identity(), name=said["settings"]["model"]),
            settings={**said["settings"], "version": said["version"], "weights_sha256": said["weights_sha256"]},
            patches=Patches(*first["patches"]) if first["patches"] else None,
            filled=[(first["filled"][0], first["filled"][1])],
        )


def unpacked(row: Row) -> Tensor:
    """The map ``(h, w)`` of a row."""
    values = np.asarray(row["map"], np.float32).reshape(row["grid_h"], row["grid_w"])
    return torch.from_numpy(values * np.float32(row["scale"]))


def _of(shown: int, count: int) -> str:
    return f"{shown:,} of {count:,}" if shown < count else f"{count:,}"


def _empty(evidence: Any) -> Any:
    from pyarrow import compute

    return compute.cast(compute.equal(evidence, 0.0), "float64")


def open_results(folder: str | Path) -> Results:
    """What a run of `wherefore batch` has found so far. Raises `Error` where the folder holds no run."""
    parquet("batch")
    return Results(reopened(Path(folder)))
