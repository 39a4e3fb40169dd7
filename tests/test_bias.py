"""The bias audit as an experiment and on the command line: planted bias, the planted clothing, a list of one's own."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fixtures_experiments import enlarged, grad_cam_by_hand, kept_again, squashed
from page_reader import check
from wherefore import cli
from wherefore.datasets import opened
from wherefore.datasets.scenes import Scenes
from wherefore.diagnosis.audit import PART, THING, Audit, look
from wherefore.errors import Error
from wherefore.experiments import Lab, Settings, run
from wherefore.experiments.auditing import alarms
from wherefore.experiments.bias import BALANCED, BIASED, _turned
from wherefore.explainer import Explainer
from wherefore.models.zoo import load
from wherefore.saving import write_tensors
from wherefore.scenes.people import figure
from wherefore.training import Recipe


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
    assert first.startswith("For `nurse`") and ("`hair`" in first or "`face`" in first)
    assert "`nurse` is recognised" in first and "less often in the group `short hair` than in `long hair`" in first
    holds = {each["claim"]: each["holds"] for each in found["verdicts"]}
    assert len(holds) == 8 and all(so for claim, so in holds.items() if "most like" not in claim)
    page = check(report.save(kept / "page"))
    assert "not the paper's numbers" in page.words and "Not comparable with the paper: its photographs" in page.words
    assert "For nurse" in page.words and "Region 1: " in page.words
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

    def train(recipe: Recipe, out: Path, **options: Any) -> None:
        kind = recipe.data.kind  # type: ignore[union-attr]
        asked.append((kind, recipe.seed))
        assert recipe.network == ("people-biased" if kind == "biased" else "people-balanced")
        planted = (kind == "biased") != (recipe.seed == 1)
        out.mkdir(parents=True, exist_ok=True)
        state = load(BIASED if planted else BALANCED).net.state_dict()
        write_tensors(out / f"{recipe.network}.safetensors", state, {})

    monkeypatch.setattr("wherefore.experiments.retraining.train", train)
    monkeypatch.setattr("wherefore.experiments.retraining.SEEDS", range(3))
    for _ in range(2):
        found = run("bias", Settings(limit=200), tmp_path, retrain=True).json()
    assert asked == [(kind, seed) for seed in range(3) for kind in ("biased", "balanced", "unbiased")]
    top, _, none, pure, groups, power, false = found["verdicts"][8:]
    assert all(each["numbers"].startswith("In 2 of 3 seeds") for each in (top, none, pure))
    assert groups["numbers"].startswith("4 of 6 audits of 3 networks, 67 % (30 to 90 %; ") and groups["holds"]
    one, other = (int(each["numbers"].split()[0]) for each in (power, false))
    assert power["numbers"].split()[2] == "6" and one == other, "the one that stands in has as many"
    assert false["numbers"].split()[2] == "12" and false["holds"] == (other == 0)
    rows = [r for r in found["rows"] if r["measure"] == "accuracy" and r["label"] == "all"]
    right = {r["network"]: r["value"] for r in rows}
    assert len(right) == 13 and right[f"{BIASED}, seed 1"] == right[BALANCED] != right[f"{BIASED}, seed 2"]
    for settings in (Settings(model=BIASED, limit=4), Settings("scenes:single", limit=4)):
        with pytest.raises(Error, match="leave --model and --data out"):
            run("bias", settings, tmp_path, retrain=True)


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


def folder_of_people(root: Path, count: int) -> None:
    data = opened("scenes:people")
    for i in range(count):
        path = root / data[i].labels[0] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        data[i].image.save(path)


def test_a_folder_has_neither_groups_nor_regions(tmp_path: Path) -> None:
    folder_of_people(tmp_path / "photos", 12)
    report = kept_again("bias", Settings(f"folder:{tmp_path / 'photos'}", model=BIASED), tmp_path / "out")
    found = report.json()
    assert found["settings"]["findings"] == {BIASED: []} and found["comparable"] is False and found["n"] == 12
    names = {row["region"] for row in found["rows"]} - {""}
    assert len(names) == 8 and all(name.startswith("region ") for name in names)
    for said in ("doctor", "nurse"):
        rows = [r for r in found["rows"] if r["label"] == said and r["measure"] == "share of the evidence"]
        for name in ("grad-cam", "even map"):
            shares = [row["value"] for row in rows if row["name"] == name]
            assert len(shares) in (0, 8) and (not shares or sum(shares) == pytest.approx(1, abs=1e-4))
    words = check(report.save(tmp_path / "page")).words
    for said in ("comes in several groups of", "what the network itself tells apart", "same activations"):
        assert said in " ".join(words.split())
    assert words.count("of all places, in") == 8


def test_a_list_without_regions_is_audited_by_those_found(tmp_path: Path) -> None:
    """The groups are those of people, so that a gap is measured; what lies on which region is found."""
    folder_of_people(tmp_path, 80)
    data = opened("scenes:people")
    lines = [f"{data[i].labels[0]}/{i}.png,{data[i].labels[0]},{data[i].group},test" for i in range(80)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,group,split", *lines]))
    found = run("bias", Settings(f"manifest:{tmp_path / 'list.csv'}", model=BIASED), tmp_path / "out").json()
    own = run("bias", Settings("scenes:people", model=BIASED, limit=80), tmp_path / "out").json()
    assert {row["measure"] for row in found["rows"]} == {row["measure"] for row in own["rows"]} >= {"swap gap"}
    assert len({row["region"] for row in found["rows"]}) == 9 and len({row["region"] for row in own["rows"]}) == 4


def test_other_hair_turns_what_it_turns(kept: Path) -> None:
    lab, model = Lab(Settings(), kept), load(BALANCED)
    data = lab.dataset("people")
    audit = Audit([look(seen) for seen in lab.seen(lab.network(BALANCED), "grad-cam", data, range(30), "first")])
    turned = 0
    for i in range(30):
        x = torch.stack([model.preprocess(each.image) for each in (figure(i), figure(i).swapped)])  # type: ignore[misc]
        one, other = model.net(x).argmax(1).tolist()
        turned += one != other
    assert _turned(lab, lab.network(BALANCED), range(30), audit).value == pytest.approx(turned / 30)


def test_photographs_are_not_comparable_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scenes, "comparable", True)
    assert (
        run("bias", Settings("scenes:single", model="scenes:alexnet", limit=2), tmp_path).json()["comparable"] is False
    )


def test_what_cannot_be_audited_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "out")]
    for model, line, sentence in (
        ("scenes:alexnet", ["--data", "scenes:pair", "--limit", "2"], "no picture with one label, as an audit needs"),
        (BIASED, ["--data", "manifest:none.csv"], "does not exist: expected is manifest:FILE"),
        (BIASED, ["--data", "scenes:people", "--words", "units.csv"], "give both"),
    ):
        assert command("audit", "--model", model, *line, *out) == 2
        said = capsys.readouterr().err
        assert sentence in said and said.count("\n") == 1, said
