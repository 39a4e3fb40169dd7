"""Contracts of all experiments, and of what they share: rows, claims, pages, and runs that are killed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest

from page_reader import check
from wherefore import cli
from wherefore.batch.maps import Seen
from wherefore.cli.measuring import experiment
from wherefore.errors import Error
from wherefore.experiments import Lab, Report, Settings, run
from wherefore.experiments.everything import evaluations, run_all, write_index
from wherefore.experiments.lab import said_once
from wherefore.experiments.localization import PAPER, SHARE, best_threshold, classification, errors
from wherefore.experiments.tables import claim, kind, paper_of, row, table, unchanged
from wherefore.metrics.localization import share_box
from wherefore.metrics.summary import summary
from wherefore.registry import DATASETS, EXPERIMENTS

FEW = 3
TRAINS = [name for name, entry in EXPERIMENTS.items() if entry.about.get("trains")]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


def few(name: str, folder: Path) -> Report:
    return run(name, Settings(quick=True, limit=FEW), folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name not in TRAINS])
def test_contract(name: str, kept: Path) -> None:
    report = few(name, kept)
    found = json.loads(json.dumps(report.json(), allow_nan=False))
    assert list(found)[:1] == ["experiment"] and found["experiment"] == name
    assert {"data", "n", "comparable", "settings", "rows", "verdicts", "problems"} <= set(found)
    assert found["comparable"] is False, "scenes are no photographs"
    assert found["rows"]
    for each in found["rows"]:
        assert {"name", "value", "low", "high", "paper", "n", "degenerate"} <= set(each), each
        if None not in (each["value"], each["low"]):
            assert each["low"] <= each["value"] + 1e-9 and each["value"] <= each["high"] + 1e-9, each
    assert all(each["claim"] and each["numbers"] for each in found["verdicts"])
    again = few(name, kept)
    assert again.json() == report.json(), "what is kept gives the same"
    assert "not the paper's numbers" in check(report.save(kept)).words


@pytest.mark.parametrize("name", list(EXPERIMENTS))
def test_what_is_said_of_an_experiment(name: str) -> None:
    entry = EXPERIMENTS[name]
    assert entry.summary and len(entry.summary) < 160
    assert entry.about["title"] and entry.about["section"] and entry.about["minutes"] > 0


def test_pictures_are_taken_by_the_seed_and_fewer_are_the_first_of_more(tmp_path: Path) -> None:
    def numbers(**settings: Any) -> list[int]:
        lab = Lab(Settings(**settings), tmp_path)
        return lab.numbers(lab.dataset("pair"), 40, 8)

    assert len(numbers()) == 40 and numbers(quick=True) == numbers()[:8] and numbers(limit=5) == numbers()[:5]
    assert numbers(seed=1) != numbers()


def test_warnings_of_one_kind_are_said_once() -> None:
    with pytest.warns(UserWarning) as said:
        with said_once():
            for lost in (1.04, 2.33, -0.5):
                warnings.warn(f"lost {lost} of a signal", stacklevel=1)
            warnings.warn("another", stacklevel=1)
    assert [str(each.message) for each in said] == ["lost 1.04 of a signal (And 2 more of the kind.)", "another"]


def test_a_claim_is_judged_as_it_falls() -> None:
    dice = np.random.default_rng(0)
    low, high = dice.normal(0.2, 0.1, 200), dice.normal(0.6, 0.1, 200)
    figures = {"a": summary(list(high)), "b": summary(list(low))}
    assert claim("a before b", figures, ["a", "b"]).holds
    assert not claim("b before a", figures, ["b", "a"]).holds
    assert claim("b errs less", figures, ["b", "a"], "lower").holds
    assert "chance" not in claim("a before b", figures, ["a", "b"]).numbers
    same = {"a": summary(list(high)), "b": summary(list(dice.normal(0.6, 0.1, 200)))}
    assert "chance" in claim("a before b", same, ["a", "b"]).numbers


def test_the_paper_s_figure_is_that_of_the_closest_name() -> None:
    assert paper_of(PAPER, "scenes:vgg", "grad-cam", "top-1") == 0.5651
    assert paper_of(PAPER, "scenes:vgg-cam", "cam", "top-1") == 0.5720
    assert paper_of(PAPER, "vgg16", "c-mwp", "top-5") == 0.6304
    assert paper_of(PAPER, "scenes:vgg-cam", "grad-cam", "top-1") is None, "not that of vgg"
    assert paper_of(PAPER, "caffe:googlenet", "cam", "top-5") == 0.4934
    assert paper_of(PAPER, "resnet50", "grad-cam", "top-1") is None
    assert paper_of(PAPER, "timm:vgg16.tv_in1k", "grad-cam", "top-1") == 0.5651
    assert paper_of(PAPER, "caffe:vgg16-cam", "cam", "top-1") == 0.5720
    for name in ("vgg11", "vgg13", "vgg19", "timm:vgg19.tv_in1k", "caffe:vgg19", "vgg16_bn", "vgg", ""):
        assert paper_of(PAPER, name, "grad-cam", "top-1") is None, name
    assert kind("resnet50") == kind("timm:resnet50.a1_in1k") == kind("scenes:resnet") == "resnet"
    assert not any(
        map(kind, ("resnet18", "resnet101", "preact:resnet200", "wide_resnet50_2", "timm:resnet50d.ra2_in1k"))
    )


def test_what_changes_nothing_says_so() -> None:
    values = {"a": summary([0.2, 0.4, 0.6]), "b": summary([0.2, 0.4, 0.6]), "c": summary([0.4, 0.2, 0.6])}
    same = unchanged("b changes nothing", values, "a", "b")
    assert same is not None and same.holds and same.claim == "b changes nothing" and "0.400" in same.numbers
    assert unchanged("c changes nothing", values, "a", "c") is None, "the same mean, of other values"


def test_a_table_says_whose_figures_stand_in_it() -> None:
    rows = [row("grad-cam", summary([0.0, 1.0, 1.0]), 0.5, network="n"), row("cam", summary([np.nan] * 3), network="n")]
    found = table(rows, {"name": "method"}, "error")
    assert found.header == ["method", "error", "n", "paper, on its own data"]
    assert found.rows[1][1] == "undefined" and str(found.rows[0][3]).startswith("50.0")
    assert rows[1]["value"] is None and rows[1]["n"] == 0


# -------------------------------------------------------------------------------------------- localization


@pytest.fixture(scope="module")
def seen(kept: Path) -> list[Seen]:
    lab = Lab(Settings(), kept)
    dataset = lab.dataset("single")
    return list(lab.seen(lab.network("scenes:alexnet"), "grad-cam", dataset, lab.numbers(dataset, 12, 12)))


def slow_iou(a: Any, b: Any) -> float:
    one = {(x, y) for x in range(a[0], a[2] + 1) for y in range(a[1], a[3] + 1)}
    other = {(x, y) for x in range(b[0], b[2] + 1) for y in range(b[1], b[3] + 1)}
    return len(one & other) / len(one | other)


def test_errors_of_localization_by_hand(seen: list[Seen]) -> None:
    known, first, five = [], [], []
    for each in seen:
        [label] = each.sample.labels
        e = each.explanation
        overlap = slow_iou(e.boxes()[0, 0].tolist(), each.sample.boxes(label)[0])
        scores = e.model.net(e.model.preprocess(each.sample.image)[None])[0]  # type: ignore[misc]
        place = scores.argsort(descending=True).tolist().index(int(e.classes[0, 0]))
        assert each.rows[0]["place"] == place
        known.append(overlap < 0.5)
        first.append(overlap < 0.5 or place > 0)
        five.append(overlap < 0.5 or place > 4)
    found = errors(seen, share_box)
    assert found["GT-known error"].value == pytest.approx(np.mean(known))
    assert found["top-1"].value == pytest.approx(np.mean(first))
    assert found["top-5"].value == pytest.approx(np.mean(five))
    assert classification(seen)["top-1"].value == pytest.approx(np.mean([e.rows[0]["place"] > 0 for e in seen]))
    at_15 = 1 - found["GT-known error"].value
    assert best_threshold(seen)["MaxBoxAcc"].value >= at_15, "the best threshold is no worse than one of them"
    assert SHARE[0].rule is share_box


# -------------------------------------------------------------------------------------------- the command line


def command(*arguments: str) -> tuple[int, Any]:
    with pytest.raises(SystemExit) as stopped:
        cli.main(list(arguments))
    return int(stopped.value.code or 0), stopped


def test_what_goes_wrong_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "out")]
    for arguments, sentence in (
        (["localisation"], "did you mean localization"),
        (["localization", "--limit", "0"], "at least 1 picture"),
        (["localization", "--data", "voc:nowhere"], "nowhere"),
        (["localization", "--data", "vox:nowhere"], "no data set is called"),
        (["localization", "--weights", "x.pth"], "say which one"),
        (["localization", "--device", "tpu"], "device"),
    ):
        status, _ = command("experiment", *arguments, *out)
        printed = capsys.readouterr()
        assert status == 2 and sentence in printed.err and printed.err.count("\n") == 1, printed.err
    assert not (tmp_path / "out").exists(), "nothing was written"


def test_help_names_every_data_set() -> None:
    option = get_type_hints(experiment, include_extras=True)["data"].__metadata__[0]
    named = {name for name in DATASETS if re.search(rf"\b{name}\b", option.help)}
    assert named == set(DATASETS)


def test_experiments_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert command("experiments", "--json")[0] == 0
    listed = json.loads(capsys.readouterr().out)
    assert {each["experiment"] for each in listed} == set(EXPERIMENTS)
    assert [each["section"] for each in listed] == sorted(each["section"] for each in listed), "as in the paper"


def test_a_run_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["experiment", "localization", "--limit", "2", "--model", "scenes:googlenet", "--out", str(tmp_path)]
    assert command(*arguments, "--json")[0] == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "localization.json").read_text())
    assert printed["settings"]["networks"].keys() == {"scenes:googlenet"} and printed["n"] == 2
    assert command(*arguments)[0] == 0
    printed = capsys.readouterr().out
    assert "not the paper's numbers" in printed and str(tmp_path / "localization" / "index.html") in printed
    assert "localization/index.html" in (tmp_path / "index.html").read_text()


@pytest.mark.slow
def test_a_killed_experiment_ends_with_the_same_json(tmp_path: Path) -> None:
    def start(folder: str) -> subprocess.Popen[bytes]:
        line = ["experiment", "localization", "--limit", "40", "--model", "scenes:vgg", "--json"]
        argv = [sys.executable, "-m", "wherefore", *line, "--out", str(tmp_path / folder)]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    whole = start("whole").communicate()[0]
    killed = start("killed")
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "killed").rglob("*.parquet"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    there = len(list((tmp_path / "killed").rglob("*.parquet")))
    assert 4 <= there < len(list((tmp_path / "whole").rglob("*.parquet"))), "it was killed amidst"
    assert not (tmp_path / "killed" / "localization.json").exists()
    assert start("killed").communicate()[0] == whole


@pytest.mark.slow
def test_all_of_them(tmp_path: Path) -> None:
    lines: list[str] = []
    found = run_all(Settings(quick=True, limit=FEW), tmp_path, lines.append)
    assert sorted(each["experiment"] for each in found) == sorted(evaluations()) and not set(TRAINS) & set(
        evaluations()
    )
    assert not [each for each in found if "error" in each] and len(lines) == len(found)
    addresses = [each.get("href") for each in check(tmp_path / "index.html").all("a")]
    for name in evaluations():
        assert (tmp_path / name / "index.html").is_file() and f"{name}/index.html" in addresses
        assert json.loads((tmp_path / f"{name}.json").read_text())["experiment"] == name


def test_the_index_is_made_of_what_is_there(tmp_path: Path) -> None:
    run("localization", Settings(model="scenes:googlenet", limit=2), tmp_path).save(tmp_path)
    assert "localization/index.html" in write_index(tmp_path).read_text()
    shutil.rmtree(tmp_path / "maps")
    with pytest.raises(Error, match="no experiment is called"):
        few("nothing", tmp_path)
