"""The report of a study: JSON, page and command line; what is simulated says so everywhere."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from answered import study
from studies import drawn
from wherefore.cli import main
from wherefore.errors import Error
from wherefore.study.plan import Plan, Rating
from wherefore.study.report import report
from wherefore.study.store import opened

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in words])
    said = capsys.readouterr()
    return int(stopped.value.code or 0), said.out, said.err


@pytest.fixture(scope="module", params=["class-discrimination", "trust"])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def whole(kind: Any) -> Any:
    plan, ratings = study(kind)
    return report(ratings, plan)


def test_rows_are_those_of_an_experiment(whole: Any, kind: Any) -> None:
    found = whole.json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["experiment"], found["kind"], found["comparable"], found["simulated"]) == ("study", kind, False, True)
    assert found["n"] == (3240 if kind == "class-discrimination" else 1620)
    wanted = found["n"]
    assert found["progress"] == {
        "ratings": wanted, "wanted": wanted, "items_short": 0, "complete": True,
        "says": f"{wanted:,} of {wanted:,} ratings",
    }  # fmt: skip
    for row in found["rows"]:
        assert {"name", "measure", "value", "low", "high", "paper", "n"} <= row.keys()
        assert row["low"] < row["value"] < row["high"] and row["n"] == 810
    measure = "accuracy" if kind == "class-discrimination" else "reliability"
    papers = {row["name"]: row["paper"] for row in found["rows"] if row["measure"] == measure}
    assert (
        papers
        == {
            "class-discrimination": {
                "deconvnet": 0.5333,
                "guided-backprop": 0.4444,
                "deconv-grad-cam": 0.6037,
                "guided-grad-cam": 0.6123,
            },
            "trust": {"guided-backprop": 1.0, "guided-grad-cam": 1.27},
        }[kind]
    )
    assert found["model"]["converged"] and found["model"]["assumes"]
    for each in found["contrasts"]:
        assert each["low"] < each["value"] < each["high"] and 0 < each["p"] <= 1


def test_what_is_simulated_says_so_everywhere(whole: Any, tmp_path: Path) -> None:
    page = whole.save(tmp_path).read_text()
    assert "<title>SIMULATED: A study of maps</title>" in page and "SIMULATED: nobody was asked" in page
    assert f"As Table 2 of the paper, {whole.scores.measure}." in page
    captions = page.split('<figure class="table">')[1:]
    assert len(captions) >= 4
    assert all("SIMULATED workers, not people" in each.split("</figure>")[0] for each in captions)
    assert 'class="badge' not in page, "no claim of the paper is judged by simulated workers"
    kept = json.loads((tmp_path / "analysis.json").read_text())
    assert kept["simulated"] and kept["notice"].startswith("SIMULATED")


def test_of_people_nothing_is_simulated_and_claims_are_judged(kind: Any, tmp_path: Path) -> None:
    plan, ratings = study(kind, items=12, simulated=False)
    found = report(ratings, plan)
    page = found.save(tmp_path).read_text()
    assert "SIMULATED" not in page and "notice" not in found.json() and not found.json()["simulated"]
    assert "Guided Grad-CAM" in page and "What people answered" in page
    assert page.count('class="verdict') == (2 if kind == "class-discrimination" else 1)
    assert "Numbers on scenes are not the paper" in page


def test_only_people_about_the_papers_data_are_comparable() -> None:
    plan, people = study(items=12, simulated=False)
    _, simulated = study(items=12)
    voc = replace(plan, source={"data": "voc:VOC2007", "comparable": True})
    assert report(people, voc).comparable and not report(simulated, voc).comparable
    assert not report(people, plan).comparable


def test_simulated_workers_among_people_are_counted_and_left_out() -> None:
    plan, ratings = study(items=12)
    mixed = [replace(each, simulated=each.worker[:2] > "20") for each in ratings]
    found = report(mixed, plan)
    assert not found.simulated and found.sifted.workers == 21
    assert found.json()["settings"]["answers of simulated workers left out"] == sum(each.simulated for each in mixed)


def _of_little() -> dict[str, tuple[Plan, Sequence[Rating]]]:
    plan, ratings = study(items=12)
    trust, preferred = study("trust", items=12)
    answers = [each for each in ratings if not each.catch]
    return {
        "a method without ratings": (plan, [each for each in ratings if each.method != "deconvnet"]),
        "all right": (plan, [replace(each, value=1.0) for each in ratings]),
        "one method all right": (plan, [replace(r, value=1.0) if r.method == "deconvnet" else r for r in ratings]),
        "one worker": (plan, [each for each in ratings if each.worker == ratings[0].worker]),
        "one item": (plan, [each for each in ratings if each.item == ratings[0].item]),
        "one picture": (plan, [each for each in ratings if each.picture == ratings[0].picture]),
        "one rating": (plan, answers[:1]),
        "two ratings": (plan, answers[:2]),
        "no catch trials": (plan, answers),
        "trust, one method": (trust, [each for each in preferred if each.method != "guided-backprop"]),
        "trust, all the same": (trust, [replace(each, value=1.0) for each in preferred]),
        "trust, one rating": (trust, [each for each in preferred if not each.catch][:1]),
    }


@pytest.mark.parametrize("name", _of_little())
def test_a_study_of_little_says_what_it_can(name: str, tmp_path: Path) -> None:
    plan, ratings = _of_little()[name]
    found = report(ratings, plan)
    said = found.json()
    json.dumps(said, allow_nan=False)
    assert found.save(tmp_path).exists()
    rows = {row["name"]: row for row in said["rows"] if row["measure"] in ("accuracy", "reliability")}
    first = rows[plan.methods[0]]
    if name in ("a method without ratings", "trust, one method"):
        assert (first["value"], first["low"], first["n"]) == (None, None, 0)
    if name in ("all right", "one method all right", "trust, all the same", "one worker", "one picture"):
        assert first["value"] is not None and first["low"] is None, "an interval cannot be given"
    if name == "one rating":
        assert said["says"].startswith(
            "1 answer by 1 simulated worker. Not complete: 1 of 432 ratings; 48 items short."
        )
    if name == "no catch trials":
        assert first["low"] < first["value"] < first["high"]


# -------------------------------------------------------------------------------------------- command line


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study's folder, half of it answered by simulated workers in a real database: always rightly."""
    plan = drawn(pictures=6, methods=2, ratings=3, workers=6)
    plan.write(tmp_path)
    store = opened(tmp_path, plan)
    for number in range(3):
        token = store.enter("local", f"worker {number}", simulated=True).token
        store.consent(token)
        while trial := store.next(token):
            options = trial.item.options[::-1] if trial.flipped else trial.item.options
            store.answer(token, trial.id, options.index(trial.item.truth), 2000)
        store.finish(token)
    store.close()
    return tmp_path


def test_the_command_line_prints_what_the_database_holds(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, _ = run(capsys, "study", "analyze", folder, "--json")
    found = json.loads(out)
    assert status == 0 and found["simulated"] and found["workers"] == 3
    wanted = 6 * 2 * 2 * 3  # pictures, categories, methods, ratings; three of six workers, 12 trials each
    progress = {"ratings": 36, "wanted": wanted, "complete": False}
    assert progress.items() <= found["progress"].items()
    assert found["says"].startswith("36 answers by 3 simulated workers. Not complete: 36 of 72 ratings; ")
    assert found["says"] in (folder / "analysis" / "index.html").read_text()
    rows = {row["name"]: row for row in found["rows"] if row["measure"] == "accuracy"}
    assert {name: row["value"] for name, row in rows.items()} == {"m0": 1.0, "m1": 1.0}
    assert json.loads((folder / "analysis" / "analysis.json").read_text()) == found
    status, out, _ = run(capsys, "study", "analyze", folder, "--out", tmp_path / "elsewhere")
    assert status == 0 and out.startswith("SIMULATED: nobody was asked") and found["says"] in out
    assert (tmp_path / "elsewhere" / "index.html").exists()


def test_what_cannot_be_analysed_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "study", "analyze", tmp_path / "none")
    assert (status, out) == (2, "") and "holds no study" in err and len(err.splitlines()) == 1
    drawn().write(tmp_path)
    status, out, err = run(capsys, "study", "analyze", tmp_path)
    assert (status, out) == (2, "") and "Nobody has answered yet" in err and len(err.splitlines()) == 1
    assert not (tmp_path / "study.sqlite").exists() and not (tmp_path / "analysis").exists()
    with pytest.raises(Error, match="Nobody has answered"):
        report([], drawn())


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_the_page_in_a_browser(tmp_path: Path) -> None:
    """SIMULATED is seen before anything is scrolled; nothing is asked of any host; nothing is wider than the screen."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    plan, ratings = study(items=12)
    page_file = report(ratings, plan).save(tmp_path)
    asked: list[str] = []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for width in (390, 1200):
            page = browser.new_page(viewport={"width": width, "height": 844})
            page.on("request", lambda each: asked.append(each.url))
            page.goto(page_file.as_uri())
            assert asked and all(url.startswith(("file:", "data:")) for url in asked)
            notice = page.get_by_role("note").bounding_box()
            assert notice["y"] + 20 < 844 and page.get_by_role("heading", level=1).inner_text().startswith("SIMULATED")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.locator("section").count() == 9 and page.locator("img").count() == 6
        browser.close()
