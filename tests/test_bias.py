"""The bias audit as an experiment and on the command line: planted bias, the planted clothing, a list of one's own."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures_experiments import enlarged, grad_cam_by_hand, kept_again, squashed
from page_reader import check
from wherefore import cli
from wherefore.datasets import opened
from wherefore.diagnosis.audit import THING, Audit, look
from wherefore.errors import Error
from wherefore.experiments import Lab, Settings, run
from wherefore.experiments.bias import BALANCED, BIASED, PART, alarms
from wherefore.explainer import Explainer
from wherefore.models.zoo import load
from wherefore.saving import write_tensors


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        cli.main(list(arguments))
    return int(stopped.value.code or 0)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bias")


def test_a_look_beside_slow_sums(kept: Path) -> None:
    lab, model = Lab(Settings(), kept), load(BIASED)
    data = lab.dataset("people")
    for seen in lab.seen(lab.network(BIASED), "grad-cam", data, [1, 2], "first"):
        found, sample = look(seen), seen.sample
        x = squashed(model, sample)
        number = int(model.net(x)[0].argmax())
        assert found.said == model.classes[number] and found.label == sample.labels[0]  # type: ignore[index]
        heat = enlarged(grad_cam_by_hand(model.net, x, Explainer(model)(sample.image).layer, number), 64)
        for name, mask in sample.parts.items():
            inside = sum(float(heat[y, x]) for y in range(64) for x in range(64) if mask[y, x])
            assert found.energy[name] == pytest.approx(inside / heat.sum(), abs=2e-3), name
            assert found.area[name] == mask.sum() / 64**2


@pytest.mark.slow
def test_the_planted_bias_is_found_and_none_on_the_balanced_network(kept: Path) -> None:
    report = run("bias", Settings(limit=200), kept)
    found = report.json()
    assert found["comparable"] is False and found["n"] == 200
    assert found["settings"]["findings"][BALANCED] == []
    first = found["settings"]["findings"][BIASED][0]
    assert first.startswith("Where it says `nurse`") and ("`hair`" in first or "`face`" in first)
    assert "`nurse` is recognised" in first and "less often with short hair than with long hair" in first
    assert [each["holds"] for each in found["verdicts"]] == [True] * 5
    page = check(report.save(kept / "page"))
    assert "not the paper's numbers" in page.words and "Where it says nurse" in page.words.replace("`", "")
    truth = opened("scenes:people")
    rows = [r for r in found["rows"] if r["network"] == BIASED and r["measure"] == "accuracy" and r["group"]]
    assert {(r["label"], r["group"]) for r in rows} == {(truth[i].labels[0], truth[i].group) for i in range(200)}
    assert sum(r["n"] for r in rows) == 200


def test_what_was_kept_is_not_done_again(tmp_path: Path) -> None:
    kept_again("bias", Settings(data="scenes:people", model=BIASED, limit=20), tmp_path)


@pytest.mark.slow
def test_networks_of_all_seeds_are_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped networks stand in for trained ones, and each for the other in one seed."""
    asked: list[tuple[str, int]] = []

    def train(name: str, out: Path, seed: int, **options: Any) -> None:
        asked.append((name, seed))
        other = {"people-biased": "people-balanced", "people-balanced": "people-biased"}[name] if seed == 1 else name
        out.mkdir(parents=True, exist_ok=True)
        write_tensors(out / f"{name}.safetensors", load(f"scenes:{other}").net.state_dict(), {})

    monkeypatch.setattr("wherefore.experiments.retraining.train", train)
    monkeypatch.setattr("wherefore.experiments.retraining.SEEDS", range(3))
    for _ in range(2):
        found = run("bias", Settings(limit=60), tmp_path, retrain=True).json()
    assert asked == [(name, seed) for seed in range(3) for name in ("people-biased", "people-balanced")]
    top, _, none = found["verdicts"][5:]
    assert top["numbers"].startswith("In 2 of 3 seeds") and none["numbers"].startswith("In 2 of 3 seeds")
    rows = [r for r in found["rows"] if r["measure"] == "accuracy" and r["label"] == "all"]
    right = {r["network"]: r["value"] for r in rows}
    assert len(right) == 8 and right[f"{BIASED}, seed 1"] == right[BALANCED] != right[f"{BIASED}, seed 2"]
    with pytest.raises(Error, match="leave --model out"):
        run("bias", Settings(model=BIASED, limit=4), tmp_path, retrain=True)


def test_alarms_are_counted_over_parts(kept: Path) -> None:
    lab = Lab(Settings(), kept)
    data = lab.dataset("people")
    looks = [look(s) for s in lab.seen(lab.network(BIASED), "grad-cam", data, range(PART + 5), "first")]
    found = alarms(Audit(looks))
    assert found.n == 1 and found.value == float(bool(Audit(looks[:PART]).findings)) and found.low < found.high


def test_a_list_of_one_s_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = opened("scenes:people")
    rows: list[tuple[Any, ...]] = [("path", "label", "group", "split", "regions")]
    for i in range(12):
        sample = data[i]
        sample.image.save(tmp_path / f"{i}.png")
        ys, xs = np.nonzero(sample.parts["hair"])
        box = [int(v) for v in (xs.min(), ys.min(), xs.max(), ys.max())]
        rows.append((f"{i}.png", sample.labels[0], sample.group, "test", json.dumps({"hair": box})))
    rows.append(("lost.png", "nurse", "long hair", "test", ""))
    with (tmp_path / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    line = ["audit", "--model", BIASED, "--data", f"manifest:{tmp_path / 'list.csv'}", "--out", str(tmp_path / "out")]
    assert command(*line, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((tmp_path / "out" / "bias.json").read_text())
    assert found["settings"]["findings"] == {BIASED: []} and found["verdicts"] == [], "of others nothing is known"
    assert {r["region"] for r in found["rows"]} == {"", "hair"} and found["comparable"] is False
    assert [each["count"] for each in found["problems"].values()] == [1]
    assert "no bias is claimed" in check(tmp_path / "out" / "bias" / "index.html").words


def test_things_are_regions_where_no_parts_are_named(tmp_path: Path) -> None:
    report = run("bias", Settings(data="scenes:single", model="scenes:alexnet", limit=4), tmp_path)
    assert {row["region"] for row in report.json()["rows"]} == {"", THING}


def test_what_cannot_be_audited_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = opened("scenes:people")
    for label in data.classes:
        (tmp_path / "photos" / label).mkdir(parents=True)
        data[0].image.save(tmp_path / "photos" / label / "1.png")
    out = ["--out", str(tmp_path / "out")]
    for line, sentence in (
        (["--data", f"folder:{tmp_path / 'photos'}"], "has one label, and a group or regions"),
        (["--data", "manifest:none.csv"], "does not exist: expected is manifest:FILE"),
        (["--data", "scenes:people", "--words", "units.csv"], "give both"),
    ):
        assert command("audit", "--model", BIASED, *line, *out) == 2
        said = capsys.readouterr().err
        assert sentence in said and said.count("\n") == 1, said
