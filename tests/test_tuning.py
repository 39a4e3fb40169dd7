"""tune: what is chosen is fast, says the same, is told, and is what a run that goes on uses again."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import wherefore as wf
from conftest import hidden, images, pooled, untouched
from wherefore import tuning
from wherefore.batch import run as runs
from wherefore.batch.engines import run
from wherefore.batch.run import TUNE, Settings, reopened
from wherefore.below import PLAIN
from wherefore.cli import main

CPU = torch.device("cpu")
WAYS = ["plain", "channels-last", "folded", "folded+channels-last", "compiled", "folded+channels-last+bfloat16"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Seconds that each way is said to take, in place of a clock; what is not said takes one."""
    seconds: dict[str, float] = {}

    def rounds(turns: Any, floor: str, *_: Any) -> dict[str, tuning.Taken]:
        for turn in turns.values():
            turn()
        base = seconds.get(floor, 1.0)
        return {
            name: tuning.Taken(1000 * seconds.get(name, 1.0), [seconds.get(name, 1.0) / base] * 5) for name in turns
        }

    monkeypatch.setattr(tuning, "rounds", rounds)
    return seconds


@pytest.fixture
def halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processor is said to have bfloat16, whatever it has."""
    monkeypatch.setattr(tuning, "_has_bfloat16", lambda device: True)


def chosen(tuned: tuning.Tuned) -> str:
    below: str = tuned.explainer.below
    return below


@pytest.mark.usefixtures("halves")
def test_the_fastest_that_says_the_same_is_chosen(clock: dict[str, float]) -> None:
    net, x = pooled(), images(2)
    clock.update({"folded": 0.8, "channels-last": 0.9, "folded+channels-last+bfloat16": 0.1})
    with untouched(net):
        tuned = wf.tune(wf.Explainer(net), x, count=10)
        e = tuned.explainer(x, "all")
    assert [way.below for way in tuned.ways] == WAYS
    assert chosen(tuned) == "folded" == e.origin()["below"], "half precision is faster, and never chosen"
    assert "would take 0.10, and is not exact" in tuned.sentence() and "0.80 of plain's time" in tuned.sentence()
    assert torch.allclose(e.maps, wf.explain(net, x, "all").maps, rtol=1e-4, atol=1e-6)
    report = json.loads(json.dumps(tuned.report()))
    again = wf.Explainer(net, below=report["chosen"])(x, "all")
    assert torch.equal(again.maps, e.maps), "the record says all that is needed to have the same again"
    assert report["batch"] == 2 and report["size"] == [16, 16] and report["layer"] == "features"
    assert all(way["difference"] < 1e-5 for way in report["ways"][:4])
    assert 1e-5 < report["ways"][-1]["difference"] < 5e-2


def test_noise_chooses_nothing(clock: dict[str, float]) -> None:
    clock.update({"folded": 0.96, "channels-last": 0.99})
    tuned = wf.tune(wf.Explainer(pooled()), images(), count=10)
    assert chosen(tuned) == PLAIN and "below=plain was chosen" in tuned.sentence()


def test_what_is_faster_in_some_rounds_only_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    def rounds(turns: Any, *_: Any) -> dict[str, tuning.Taken]:
        ratios = {"folded": [0.7, 0.7, 0.7, 0.7, 1.01], "channels-last": [0.8] * 5}
        return {name: tuning.Taken(1.0, ratios.get(name, [1.0] * 5)) for name in turns}

    monkeypatch.setattr(tuning, "rounds", rounds)
    tuned = wf.tune(wf.Explainer(pooled()), images(), count=10)
    assert chosen(tuned) == "channels-last"
    assert {way.below: way.note for way in tuned.ways}["folded"] == "not steady: plain was faster in some rounds"


@pytest.mark.usefixtures("clock")
def test_targets_of_each_image_are_those_of_the_first_batch() -> None:
    net, x, targets = pooled(), images(4), torch.tensor([3, 1, 2, 0])
    why = wf.Explainer(net, batch_size=2)
    found = tuning.tries(why, x, targets, 1)
    assert found.reference.classes.flatten().tolist() == [3, 1]
    assert all(turn().classes.flatten().tolist() == [3, 1] for turn in found.turns.values())


def test_the_tolerance_that_held_is_recorded(clock: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    assert wf.tune(wf.Explainer(pooled()), images(), count=1).report()["tolerance"] == 1e-4
    monkeypatch.setattr(tuning, "_rounding", lambda found, device: 3e-3)
    assert wf.tune(wf.Explainer(pooled()), images(), count=1).report()["tolerance"] == 6e-3


@pytest.mark.parametrize("before", ["tf32", "ieee"])
def test_tf32_is_put_back_as_it_was(before: str) -> None:
    """The older setting cannot even be read where the newer one was used."""
    if not hasattr(torch.backends.cudnn, "conv"):
        pytest.skip("this torch has the older setting alone")
    conv = torch.backends.cudnn.conv
    own = conv.fp32_precision
    try:
        conv.fp32_precision = before
        with tuning.in_full() as rounds_numbers:
            assert conv.fp32_precision == "ieee" and rounds_numbers == (before == "tf32")
        assert conv.fp32_precision == before
    finally:
        conv.fp32_precision = own


def test_what_says_something_else_is_refused(clock: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    from wherefore import below

    class Wrong(below.Eager):
        def __call__(self, *inputs: Any) -> Any:
            cut, *others = super().__call__(*inputs)
            return (cut * 1.001, *others)

    monkeypatch.setattr(below, "Eager", Wrong)
    clock.update({"folded": 0.1, "channels-last": 0.1, "folded+channels-last": 0.1})
    tuned = wf.tune(wf.Explainer(pooled()), images(2), count=10)
    assert chosen(tuned) == PLAIN
    assert [way.note for way in tuned.ways[1:4]] == ["refused: it differs by more than 0.0001"] * 3


def test_hooks_of_the_users_own_leave_it_plain(clock: dict[str, float]) -> None:
    net = pooled()
    net.features[0].register_forward_hook(lambda module, inputs, output: output * 2)
    clock.update({"folded": 0.1})
    with untouched(net):
        tuned = wf.tune(wf.Explainer(net), images(), count=10)
    assert chosen(tuned) == PLAIN and {way.ratio for way in tuned.ways[1:]} == {None}
    assert "features.0 has a hook, which below='folded' would leave out" in tuned.ways[2].note


@pytest.mark.usefixtures("clock")
def test_what_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "_has_bfloat16", lambda device: False)
    ways = {way.below: way.note for way in wf.tune(wf.Explainer(pooled()), images(), count=999).ways}
    assert "pays off from about 1,000 pictures" in ways["compiled"]
    assert "no bfloat16 of its own" in ways["folded+channels-last+bfloat16"]
    assert "graph" in tuning.candidates(torch.device("cuda")) and "graph" not in tuning.candidates(CPU)


def test_compiling_is_tried_for_many(clock: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda part, dynamic: part)
    clock.update({"compiled": 0.5})
    assert chosen(wf.tune(wf.Explainer(pooled()), images(), count=1000)) == "compiled"


def test_refusals() -> None:
    with pytest.raises(wf.Error, match="occlusion cannot be tuned: that serves methods"):
        wf.tune(wf.Explainer(pooled(), "occlusion"), images())
    with pytest.raises(wf.Error, match="cannot be tuned: that serves networks that are fed pictures alone"):
        wf.tune(wf.Explainer(nn.Conv1d(3, 4, 3)), torch.rand(1, 3, 9))


def test_rounds_are_ratios_of_one_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine that gets ten times slower half way the ratios stay what they are."""
    now, turns = [0.0], [0]

    def turn(seconds: float) -> None:
        turns[0] += 1
        now[0] += seconds * (10 if turns[0] > 8 else 1)  # the fifth round of two

    def clock() -> float:
        return now[0]

    monkeypatch.setattr(tuning.time, "perf_counter", clock)
    floor, other = partial(turn, 2.0), partial(turn, 1.0)
    found = tuning.rounds({"floor": floor, "other": other}, "floor", 0.0, CPU, clock)
    assert found["floor"].ratios == [1.0] * 5 and found["other"].ratios == pytest.approx([0.5] * 5)
    assert turns == [12] and [found["floor"].ms, found["other"].ms] == pytest.approx([2000, 1000]), "the median"
    many = tuning.rounds({"floor": floor}, "floor", 1e9, CPU, clock)
    assert len(many["floor"].ratios) == tuning.MOST


def test_measured_for_real() -> None:
    net, x = hidden(), images(2)
    with untouched(net):
        tuned = wf.tune(wf.Explainer(net), x, count=1, seconds=0)
    assert all(way.ratio is not None and way.low <= way.ratio <= way.high for way in tuned.ways[:4])
    assert all(way.difference < 1e-5 for way in tuned.ways[:4])


# ------------------------------------------------------------------------------------------ the command line


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")
    monkeypatch.setattr(runs, "SHARD", 16)


@pytest.mark.usefixtures("small")
def test_a_run_measures_once(
    clock: dict[str, float], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.update({"folded": 0.5})
    tuned = Settings("scenes:vgg", below=TUNE)
    for part in ("2/2", "1/2"):
        run("scenes", tmp_path, tuned, limit=40, part=part)
        said = capsys.readouterr().err
        assert ("below=folded was chosen" in said) == (part == "2/2")
        assert ("below=folded, as measured when the run began" in said) == (part == "1/2")
        monkeypatch.setattr(tuning, "tune", None)  # whoever goes on does not measure
    (tmp_path / "shard-000001.parquet").unlink()
    assert run("scenes", tmp_path, tuned, limit=40).pictures == 16
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["settings"]["below"] == "folded" == manifest["tuned"]["chosen"] == reopened(tmp_path).settings.below
    assert manifest["tuned"]["batch"] == tuned.at_once == 16 and manifest["tuned"]["ways"][0]["below"] == PLAIN
    with pytest.raises(wf.Error, match="other settings"):
        run("scenes", tmp_path, Settings("scenes:vgg"), limit=40)
    assert run("scenes", tmp_path, Settings("scenes:vgg", below="folded"), limit=40).pictures == 0
    import pyarrow.parquet as parquet

    about = json.loads(parquet.read_schema(tmp_path / "shard-000001.parquet").metadata[b"wherefore"])
    assert about["settings"]["below"] == "folded", "every shard says how it was made"


@pytest.mark.usefixtures("small")
def test_rows_of_a_tuned_run_are_the_plain_ones(clock: dict[str, float], tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    clock.update({"folded+channels-last": 0.5})
    for name, below in (("tuned", TUNE), ("plain", PLAIN)):
        run("scenes", tmp_path / name, Settings("scenes:vgg", below=below), limit=16)
    tuned, plain = (parquet.read_table(tmp_path / n / "shard-000000.parquet").to_pylist() for n in ("tuned", "plain"))
    for a, b in zip(tuned, plain, strict=True):
        assert (a["path"], a["target"]) == (b["path"], b["target"])
        assert a["score"] == pytest.approx(b["score"], rel=1e-4) and a["evidence"] == pytest.approx(
            b["evidence"], rel=1e-4
        )


def test_a_run_that_began_otherwise(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")
    run("scenes", tmp_path, Settings("scenes:vgg"), limit=4)
    with pytest.raises(wf.Error, match=r"other settings \(below: plain, not tune\)"):
        run("scenes", tmp_path, Settings("scenes:vgg", below=TUNE), limit=4)
    with pytest.raises(wf.Error, match="not those of a cluster"):
        run("scenes", tmp_path, Settings("scenes:vgg", below=TUNE), limit=4, engine="ray")


def told(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main([*argv])
    said = capsys.readouterr()
    return int(end.value.code or 0), said.out, said.err


def test_the_command(clock: dict[str, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clock.update({"folded": 0.5})
    given = ("explain", "scenes:1", "scenes:2", "--model", "scenes:vgg", "--json", "--out", str(tmp_path))
    code, out, err = told(capsys, *given, "--tune")
    assert code == 0 and "of plain" in err and "folded+channels-last" in err and "below=folded was chosen" in err
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert json.loads(out) == manifest
    assert manifest["below"] == "folded" == manifest["tuned"]["chosen"] and manifest["tuned"]["batch"] == 2
    code, out, err = told(capsys, *given, "--below", "channels-last+folded")
    assert code == 0 and json.loads(out)["below"] == "folded+channels-last" and "tuned" not in json.loads(out)
    for wrong, words in {
        ("--tune", "--below", "folded"): "leave one of them out",
        ("--tune", "--compile"): "leave one of them out",
        ("--below", "fast"): "joined by",
        ("--tune", "--method", "all"): "one method at one layer",
        ("--tune", "--method", "occlusion"): "cannot be tuned",
    }.items():
        code, _, err = told(capsys, *given, *wrong)
        assert code == 2 and words in err and err.count("\n") == 1


def test_pictures_that_cannot_be_read_are_passed_over(
    clock: dict[str, float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "0.png").write_text("no picture")
    wf.scenes.scene(1).image.save(tmp_path / "1.png")
    code, _, err = told(
        capsys, "explain", str(tmp_path), "--model", "scenes:vgg", "--out", str(tmp_path / "o"), "--tune"
    )
    assert code == 1 and "at batch 1" in err
    (tmp_path / "1.png").write_text("none either")
    code, _, err = told(
        capsys, "explain", str(tmp_path), "--model", "scenes:vgg", "--out", str(tmp_path / "o"), "--tune"
    )
    assert code == 2 and "none of these can be read" in err
