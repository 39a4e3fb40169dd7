"""What every method costs: what is timed, and what is made of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import wherefore as wf
from wherefore.datasets import opened
from wherefore.experiments import Settings, run
from wherefore.experiments.timing import FORWARD, Timing, _verdict, median
from wherefore.registry import METHODS

MODEL = "scenes:alexnet"


def test_what_is_timed_runs_the_network_anew_every_time() -> None:
    model, sample = wf.load(MODEL), opened("scenes:single")[0]
    calls = Timing(model, ["grad-cam", "occlusion", "gradient"])._calls(sample)
    seen: list[int] = []
    counting = model.net.register_forward_hook(lambda *call: seen.append(len(call[2])))
    found = {}
    for name, call in calls.items():
        counts = []
        for _ in range(2):
            seen.clear()
            call()
            counts.append(sum(seen))
        assert counts[0] == counts[1] or name == "grad-cam", "the first finds the layer"
        found[name] = counts[1]
    counting.remove()
    # Patches of 14 pixels every 7 of 96: 12 x 12 of them.
    assert found == {FORWARD: 1, "grad-cam": 1, "occlusion": 1 + 12 * 12, "gradient": 1}


def test_every_round_has_each_once() -> None:
    rows = Timing(wf.load(MODEL), ["grad-cam", "gradient"])(opened("scenes:single")[:3])
    assert len(rows) == 3
    for each in rows:
        assert sorted(row["method"] for row in each) == sorted([FORWARD, "grad-cam", "gradient"])
        assert all(row["cpu"] > 0 and row["wall"] > 0 for row in each)


def test_the_median_by_hand() -> None:
    figure = median(np.array([4.0, 1.0, 2.0]))
    assert figure.value == 2.0 and figure.n == 3
    # Of 27 draws of three 7 have two ones or more, as many two fours or more: both ends are reached.
    assert (figure.low, figure.high) == (1.0, 4.0)
    assert median(np.full(5, 3.0)).low == 3.0


def test_an_order_of_magnitude_is_ten_times() -> None:
    model = wf.load(MODEL)
    near = _verdict(model, {"grad-cam": np.ones(5), "occlusion": np.full(5, 9.9)})
    far = _verdict(model, {"grad-cam": np.ones(5), "occlusion": np.full(5, 10.1)})
    assert not near.holds and far.holds and "10.1 times" in far.numbers


def test_times_are_those_of_the_cpu(tmp_path: Path) -> None:
    with pytest.raises(wf.Error, match="times are those of the CPU, not of cuda:1"):
        run("timing", Settings(model=MODEL, limit=1, device="cuda:1"), tmp_path)


@pytest.mark.slow
def test_rows(tmp_path: Path) -> None:
    settings = Settings(model=MODEL, limit=3)
    report = run("timing", settings, tmp_path)
    rows = report.json()["rows"]
    refused = {"cam"}  # AlexNet has fully connected layers
    assert {each["name"] for each in rows} == set(METHODS) - refused
    assert [each["value"] for each in rows] == sorted(each["value"] for each in rows)
    assert all(each["cost"] == METHODS[each["name"]].about["cost"] and each["n"] == 3 for each in rows)
    [verdict] = report.result.verdicts
    assert verdict.holds, "145 forwards against one"
    assert run("timing", settings, tmp_path).json() == report.json(), "times that were taken are kept"
    assert report.save(tmp_path).is_file()
