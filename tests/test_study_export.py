"""Answers as tables: what pandas and Arrow read is what the store holds."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from studies import drawn
from wherefore.cli import main
from wherefore.errors import Error
from wherefore.study.export import COLUMNS, export
from wherefore.study.plan import Plan, Rating
from wherefore.study.store import opened


@pytest.fixture
def asked(tmp_path: Path) -> tuple[Plan, list[Rating]]:
    """A study in a folder that two simulated workers began; the first is shown as a person, who cannot be beside."""
    plan = drawn("trust", pictures=3, methods=2)
    plan.write(tmp_path)
    store = opened(tmp_path, plan)
    for name in ("first", "second"):
        who = store.consent(store.enter("local", name, simulated=True).token)
        for n in range(5):
            trial = store.next(who.token)
            assert trial
            store.answer(who.token, trial.id, n, 900 + n)
    ratings = store.ratings()
    store.close()
    first = ratings[0].worker
    ratings = [replace(each, simulated=each.worker != first) for each in ratings]
    return plan, ratings


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["study", *arguments])
    return int(ended.value.code or 0)


def test_every_column_is_told() -> None:
    assert list(COLUMNS) == [field.name for field in fields(Rating)]


@pytest.mark.parametrize("name", ["ratings.csv", "ratings.PARQUET"])
def test_what_pandas_reads_is_what_the_store_holds(asked: tuple[Plan, list[Rating]], tmp_path: Path, name: str) -> None:
    plan, ratings = asked
    path = export(plan, ratings, tmp_path / name)
    frame = pd.read_csv(path) if name.endswith("csv") else pd.read_parquet(path)
    assert frame.to_dict("records") == [asdict(rating) for rating in ratings]
    assert {str(frame[name].dtype) for name in ("catch", "surplus", "simulated", "flipped", "finished")} == {"bool"}
    assert frame["simulated"].sum() == 5 and len(frame) == 10


def test_parquet_says_what_it_is(asked: tuple[Plan, list[Rating]], tmp_path: Path) -> None:
    plan, ratings = asked
    schema = pq.read_schema(export(plan, ratings, tmp_path / "r.parquet"))
    assert schema.metadata[b"plan"].decode() == plan.digest and schema.metadata[b"kind"] == b"trust"
    assert {field.name: field.metadata[b"is"].decode() for field in schema} == COLUMNS


def test_other_files_and_no_answers_are_refused(asked: tuple[Plan, list[Rating]], tmp_path: Path) -> None:
    plan, ratings = asked
    with pytest.raises(Error, match=r"r\.xlsx is neither \.csv nor \.parquet"):
        export(plan, ratings, tmp_path / "r.xlsx")
    with pytest.raises(Error, match="Nobody has answered yet: ask people by `wherefore study serve` first"):
        export(plan, [], tmp_path / "r.csv")
    assert not list(tmp_path.glob("r.*"))


def test_the_command(
    asked: tuple[Plan, list[Rating]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run("export", str(tmp_path), "--out", str(tmp_path / "r.csv")) == 0
    said = capsys.readouterr()
    assert said.out == f"{tmp_path / 'r.csv'}\n"
    assert said.err == "wherefore: 10 of 10 answers are of simulated workers, who are not people.\n"
    assert len(pd.read_csv(tmp_path / "r.csv")) == 10
    monkeypatch.setenv("WHEREFORE_DATABASE", f"sqlite:///{tmp_path / 'other.sqlite'}")
    assert run("export", str(tmp_path), "--out", str(tmp_path / "s.csv")) == 2
    assert "Nobody has answered yet" in capsys.readouterr().err and not (tmp_path / "s.csv").exists()
    assert run("export", str(tmp_path), "--database", "sqlite:////nowhere/x", "--out", "s.csv") == 2
    assert "Nobody has answered yet" in capsys.readouterr().err
    assert not (tmp_path / "other.sqlite").exists(), "who reads makes no database"
    assert run("export", str(tmp_path), "--database", "nonsense", "--out", "s.xlsx") == 2
    assert "s.xlsx is neither" in capsys.readouterr().err
    assert run("export", str(tmp_path / "none"), "--out", "s.csv") == 2
    assert "holds no study" in capsys.readouterr().err
