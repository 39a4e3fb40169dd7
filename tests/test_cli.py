"""The command line, run in this process, and a few times in its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import wherefore as wf
from fixtures_doors import photo, squeezenet  # noqa: F401
from wherefore.cli import main

NAME = "squeezenet1_1"


class Done:
    """What a command printed and how it ended."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def json(self) -> dict:
        def refuse(name: str) -> None:
            raise AssertionError(f"{name} is not JSON")

        return json.loads(self.out, parse_constant=refuse)


@pytest.fixture
def wherefore(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs a command in an empty folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*words: object) -> Done:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        said = capsys.readouterr()
        return Done(ended.value.code or 0, said.out, said.err)

    return run


@pytest.fixture
def explain(wherefore, squeezenet: Path):  # noqa: F811
    """`wherefore explain` with a network of random weights."""
    return lambda *words: wherefore("explain", "--model", NAME, "--weights", squeezenet, *words)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "cat.png"
    photo(301, 203).save(path)
    return path


def files(folder: Path = Path(".")) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


# -------------------------------------------------------------------------------------------- explain


def test_json_is_as_designed(explain, picture: Path, squeezenet: Path) -> None:  # noqa: F811
    done = explain(picture, "--target", "tiger cat", "--target", "242", "--json")
    assert (done.status, done.err, files()) == (0, "", [])  # nothing is written without --out
    result, model = done.json, wf.load(NAME, squeezenet)
    e = wf.explain(model, picture, target=[282, 242])
    assert {"model", "weights_sha256", "method", "layer", "grid", "images", "version"} <= set(result)
    assert (result["model"], result["method"], result["layer"]) == (NAME, "grad-cam", e.layer)
    assert result["grid"] == list(e.maps.shape[2:]) and result["weights_sha256"] == model.weights_sha256
    (image,) = result["images"]
    assert set(image) == {"image", "size", "targets"}
    assert image["image"] == str(picture) and image["size"] == [301, 203]
    keys = {"index", "name", "score", "probability", "evidence", "peak", "box", "files"}
    for t, target in enumerate(image["targets"]):
        assert set(target) == keys and target["files"] == {}
        assert (target["index"], target["name"]) == ([282, 242][t], ["tiger cat", "boxer"][t])
        assert target["score"] == pytest.approx(e.scores[0, t].item(), rel=1e-5)
        assert target["probability"] == pytest.approx(e.probabilities[0, t].item(), rel=1e-5)
        assert target["evidence"] == pytest.approx(e.evidence[0, t].item(), rel=1e-4)
        assert target["peak"] == e.peaks()[0, t].tolist() and target["box"] == e.boxes()[0, t].tolist()
        assert all(isinstance(v, int) for v in target["peak"] + target["box"])


def test_out_holds_maps_pictures_and_manifest(explain, picture: Path, squeezenet: Path) -> None:  # noqa: F811
    done = explain(picture, "--target", "top2", "--out", "a/b", "--json")
    saved, e = load_file("a/b/cat.safetensors"), wf.explain(wf.load(NAME, squeezenet), picture, target="top2")
    assert list(saved) == ["maps"] and saved["maps"].dtype == torch.float32
    torch.testing.assert_close(saved["maps"], e.maps[0])
    assert json.loads(Path("a/b/manifest.json").read_text()) == done.json
    written = [t["files"] for t in done.json["images"][0]["targets"]]
    assert {f["maps"] for f in written} == {"a/b/cat.safetensors"}
    with Image.open(written[1]["overlay"]) as drawn:
        assert drawn.width == 301
    assert len(files(Path("a/b"))) == 4


def test_without_json_a_table_and_the_folder_explained(explain, picture: Path) -> None:
    done = explain(picture, "-t", "281")
    assert done.status == 0 and done.err == ""
    assert "cat.png  301x203" in done.out and "tabby (281)" in done.out and "explained/cat.tabby.jpg" in done.out
    assert files(Path("explained")) == ["cat.safetensors", "cat.tabby.jpg", "manifest.json"]


def test_one_bad_file_among_good_ones(explain, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(3):
        photo(70, 60, seed=i).save(folder / f"{i}.png")
    (folder / "1-bad.jpg").write_text("text")
    done = explain(folder, "--json", "--out", "out")
    assert done.status == 1
    assert done.err == f"wherefore: {folder / '1-bad.jpg'} is not a picture, or of a kind that cannot be read.\n"
    assert [Path(r["image"]).name for r in done.json["images"]] == ["0.png", "1-bad.jpg", "1.png", "2.png"]
    assert set(done.json["images"][1]) == {"image", "error"}
    assert [f for f in files(Path("out")) if f.endswith("tensors")] == [f"{i}.safetensors" for i in range(3)]


def test_a_second_run_does_not_explain_the_first_ones_results(explain, tmp_path: Path) -> None:
    photo(70, 60).save("a.png")
    for _ in range(2):
        done = explain(".", "--target", "1", "--out", "out", "--json")
        assert [r["image"] for r in done.json["images"]] == ["a.png"]


def test_two_inputs_of_one_name(explain, picture: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "cat.jpg"
    other.parent.mkdir()
    photo(80, 60, seed=5).save(other)
    explain(picture, other, "--target", "1", "--out", "out")
    assert [f for f in files(Path("out")) if f.endswith("tensors")] == ["cat-2.safetensors", "cat.safetensors"]
    one, two = (load_file(f"out/{name}.safetensors")["maps"] for name in ("cat", "cat-2"))
    assert not torch.equal(one, two)


def test_squash_looks_at_the_whole(explain, picture: Path, squeezenet: Path) -> None:  # noqa: F811
    done = explain(picture, "--fit", "squash", "--target", "5", "--json")
    e = wf.explain(wf.load(NAME, squeezenet), picture, target=5, fit="squash")
    assert e.pictures[0].region == (0, 0, 301, 203)
    assert done.json["images"][0]["targets"][0]["box"] == e.boxes()[0, 0].tolist()
    assert done.json["fit"] == "squash"


# -------------------------------------------------------------------------------------------- what goes wrong


def refused(done: Done, *words: str) -> None:
    """One line on stderr, nothing on stdout, status 2, nothing written."""
    assert done.status == 2 and done.out == "" and files() == []
    assert done.err.startswith("wherefore: ") and done.err.count("\n") == 1 and done.err.endswith("\n")
    assert "Traceback" not in done.err and "Warning" not in done.err
    for word in words:
        assert word in done.err


@pytest.mark.parametrize(
    "words, said",
    [
        (["--target", "tigr cat"], "no class is called 'tigr cat': did you mean tiger cat"),
        (["--target", "1000"], "class 1000 is out of range: the model has 1000 classes, 0 to 999"),
        (["--target", "-1"], "class -1 is out of range"),
        (["--target", "shark"], "'shark' fits 2 classes: great white shark (2), tiger shark (3); give the index"),
        (["--target", "top0"], "'top0' asks for no class"),
        (["--layer", "featurs.12"], "no layer is called 'featurs.12': did you mean features.12"),
        (["--method", "gradcam"], "no method is called 'gradcam': did you mean grad-cam"),
        (["--fit", "stretch"], "fit is 'model'"),
        (["--device", "cuda:99"], "device 'cuda:99' cannot be used"),
        (["--device", "gpu"], "device 'gpu' cannot be used"),
        (["--out", "out", "--colours", "viridis"], "no colour map is called 'viridis': there are heat, jet"),
        (["--out", "out", "--scale", "both"], "scale is 'each' or 'common'"),
        (["--nonsense"], "No such option"),
        (["--scale"], "requires an argument"),
    ],
)
def test_wrong_options(explain, picture: Path, words: list[str], said: str) -> None:
    refused(explain(picture, *words), said)


@pytest.mark.parametrize(
    "name, said",
    [
        ("text.jpg", "is not a picture"),
        ("cut.jpg", "damaged or cut off"),
        ("cut.tiff", ""),
        ("empty.png", "is empty"),
        ("none.png", "does not exist"),
        ("folder", "holds no pictures"),
    ],
)
def test_bad_pictures(explain, tmp_path: Path, name: str, said: str) -> None:
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
    elif name.startswith("cut"):
        photo(100, 80).save(path)
        path.write_bytes(path.read_bytes()[:1500])
    elif name != "none.png":
        path.write_text("text" if name == "text.jpg" else "")
    refused(explain(path), str(path), said)


def test_a_name_of_several_lines_is_said_on_one(explain) -> None:
    refused(explain("two\nlines.jpg"), "two lines.jpg does not exist")


def test_nothing_but_bad_pictures(explain, tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_text("text")
    refused(explain(tmp_path / "a.jpg", tmp_path / "b.jpg"), "no picture could be read", "a.jpg", "b.jpg")
    refused(explain("c.jpg", "d.jpg"), "c.jpg does not exist. d.jpg does not exist.")


def test_a_folder_that_cannot_be_written(explain, picture: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file" / "out", tmp_path / "file"):
        refused(explain(picture, "--out", out), "cannot be written", "give another folder")


def test_unknown_models_and_wrong_weights(wherefore, picture: Path, squeezenet: Path, tmp_path: Path) -> None:  # noqa: F811
    refused(wherefore("explain", picture, "--model", "resnet5"), "did you mean resnet50")
    refused(
        wherefore("explain", picture, "--model", "resnet18", "--weights", squeezenet),
        "do not fit resnet18: missing conv1.weight",
        "unexpected classifier.1.bias",
    )
    for name in ("text.pth", "text.safetensors"):
        (tmp_path / name).write_text("no weights")
        refused(wherefore("explain", picture, "--model", NAME, "--weights", tmp_path / name), "a state dict is wanted")
    refused(wherefore("explain", picture, "--weights", tmp_path / "none.pth"), "none.pth does not exist")


def test_a_failed_download(wherefore, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        print("Downloading: as torch.hub says it")  # must not come between the user and the JSON
        raise URLError("Temporary failure in name resolution")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    refused(
        wherefore("explain", picture, "--model", NAME),
        "the weights of squeezenet1_1 could not be downloaded (Temporary failure in name resolution)",
        "--weights FILE",
    )


@pytest.mark.parametrize(
    "words, said",
    [
        (["explain"], "Missing argument"),
        (["explian"], "No such command"),
        (["models", "zzz"], "no model's name has 'zzz' in it"),
        (["layers", "--model", "alexnt"], "did you mean alexnet"),
    ],
)
def test_wrong_commands(wherefore, words: list[str], said: str) -> None:
    refused(wherefore(*words), said)


def test_a_disk_that_fails_leaves_no_half_written_file(explain, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, content: bytes) -> None:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    done = explain(picture, "--out", "out")
    assert done.status == 2 and "No space left on device" in done.err and done.err.count("\n") == 1
    assert files(Path("out")) == []


# -------------------------------------------------------------------------------------------- what there is


def test_methods_models_and_layers(wherefore) -> None:
    assert "grad-cam" in wherefore("methods").out
    rows = {row["method"]: row for row in wherefore("methods", "--json").json}
    assert rows["grad-cam"]["what"] and rows["grad-cam"]["cost"] == "1 forward"
    assert wherefore("models", "squeeze").out.split() == ["squeezenet1_0", "squeezenet1_1"]
    assert "resnet50" in wherefore("models", "--json").json
    result = wherefore("layers", "--model", NAME, "--no-pretrained", "--json").json
    defaults = [row["layer"] for row in result["layers"] if row["default"]]
    assert defaults == [result["default"]] and "features.0" in [row["layer"] for row in result["layers"]]
    table = wherefore("layers", "--model", NAME, "--no-pretrained").out
    assert f"* {result['default']}" in table and f"default: {result['default']} (" in table


def test_the_table_of_methods_is_no_wider_than_a_terminal(wherefore) -> None:
    lines = wherefore("methods").out.splitlines()
    assert max(map(len, lines)) <= 132 and len(lines) == 1 + len(wf.METHODS)
    assert lines[0].split() == ["method", "cost", "source", "what", "comes", "out"]
    for line, (name, entry) in zip(lines[1:], wf.METHODS.items(), strict=True):
        start, what = line.index(entry.about["cost"]), line[lines[0].index("what") :]
        assert line.split()[0] == name and start == lines[0].index("cost")
        assert entry.summary.startswith(what.removesuffix(" ...")) and len(what) > 20


def test_metrics(wherefore) -> None:
    from wherefore.metrics import METRICS

    rows = {row["metric"]: row for row in wherefore("metrics", "--json").json}
    assert list(rows) == list(METRICS)
    assert rows["pointing"]["better"] == "higher" and rows["pointing"]["bounds"] == [0, 1]
    assert rows["pointing"]["paper"] == "Zhang et al. 2016, section 4.1"
    lines = wherefore("metrics").out.splitlines()
    assert lines[0].split() == ["metric", "better", "source", "what", "comes", "out"]
    assert max(map(len, lines)) <= 132 and [line.split()[0] for line in lines[1:]] == list(METRICS)
    told = wherefore("metrics", "pointing").out
    assert "Closer than tolerance" in told and "better: higher\nbounds: 0 to 1" in told
    done = wherefore("metrics", "pointin")
    assert done.status == 2 and done.err.startswith("wherefore: no metric is called 'pointin': did you mean pointing")


def test_help_and_version(wherefore) -> None:
    assert wherefore("--version").out == f"wherefore {wf.__version__}\n"
    for words in (["--help"], ["-h"], ["explain", "--help"], ["layers", "--help"]):
        done = wherefore(*words)
        assert done.status == 0 and "Usage" in done.out and done.err == ""
    for command in ("explain", "layers", "models", "methods", "metrics"):
        assert command in wherefore("--help").out
    assert wherefore().status == 2


@pytest.mark.parametrize(
    "code",
    [
        "import wherefore",
        "from wherefore.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass",
        "from wherefore.cli import main\ntry: main(['explain', '--help'])\nexcept SystemExit: pass",
    ],
)
def test_light_things_import_no_torch(code: str) -> None:
    heavy = "{'torch', 'torchvision', 'numpy', 'scipy', 'PIL'}"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print('heavy:', sorted({heavy} & set(sys.modules)))"],
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1] == "heavy: []", done.stderr


def test_python_m_wherefore(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "wherefore", "explain", str(tmp_path / "none.jpg")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("wherefore: ")


def test_a_head_of_ones_own(wherefore, picture: Path, tmp_path: Path) -> None:
    import torchvision
    from safetensors.torch import save_file

    net = torchvision.models.get_model(NAME, weights=None, num_classes=3)
    save_file(net.state_dict(), tmp_path / "mine.safetensors")
    (tmp_path / "names.txt").write_text("crack\n\nscratch\ngood\n")
    words = ("explain", picture, "--model", NAME, "--weights", tmp_path / "mine.safetensors")
    refused(wherefore(*words), "--classes FILE")
    ran = wherefore(*words, "--classes", tmp_path / "names.txt", "--target", "scratch", "--json")
    assert ran.json["images"][0]["targets"][0]["index"] == 1
    refused(wherefore(*words, "--classes", tmp_path / "none.txt"), "cannot be read as text")


def test_a_folder_that_is_its_own_output(explain, picture: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(picture, folder)
    for _ in range(2):  # the second time the overlays of the first lie there too
        ran = explain(folder, "--out", folder, "--json")
        assert len(ran.json["images"]) == 1
