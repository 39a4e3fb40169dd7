"""Videos, volumes, signals and texts: planted truth is found where it lies, drawn where it belongs, and saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import wherefore as wf
from conftest import images, pooled, untouched
from wherefore import cli, drawing, sequences
from wherefore.errors import Error
from wherefore.imaging import Frames, box, peak, read_frames, stretched


def fitted(net: nn.Module, x: Tensor, labels: Tensor, steps: int = 150) -> nn.Module:
    """The network, trained until it tells the planted thing."""
    optimiser = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(steps):
        loss = F.cross_entropy(net(x), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float((net(x).argmax(1) == labels).float().mean()) > 0.95
    net.zero_grad()
    return net.eval()


class TextCNN(nn.Module):
    """Words, a convolution over them, the strongest answer of each filter."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.conv, self.fc = nn.Embedding(30, 12), nn.Conv1d(12, 16, 3, padding=1), nn.Linear(16, 2)

    def forward(self, ids: Tensor) -> Tensor:
        return self.fc(F.relu(self.conv(self.words(ids).transpose(1, 2))).amax(2))


def test_the_word_that_decides_is_found() -> None:
    """Texts of 12 words are of class 1 where word 7 stands in them, once, anywhere."""
    ids = torch.randint(8, 30, (200, 12), generator=torch.Generator().manual_seed(0))
    where = torch.arange(200) % 12
    ids[:100].scatter_(1, where[:100, None], 7)
    net = fitted(TextCNN(), ids, (torch.arange(200) < 100).long())
    with untouched(net):
        e = wf.explain(net, ids[:60], 1)
    assert e.layer == "conv+relu" and e.maps.shape == (60, 1, 12) and e.heatmaps().shape == (60, 1, 12)
    assert float(((e.peaks()[:, 0, 0] - where[:60]).abs() <= 1).float().mean()) > 0.9
    frozen = wf.explain(net.requires_grad_(False), ids[:60], 1)
    torch.testing.assert_close(frozen.maps, e.maps)


def test_the_place_in_a_signal_is_found() -> None:
    x = 0.3 * torch.randn(120, 2, 80, generator=torch.Generator().manual_seed(0))
    where = 10 + torch.arange(120) % 60
    for i in range(60):
        x[i, 0, where[i] - 3 : where[i] + 4] += 2
    net = nn.Sequential(
        nn.Conv1d(2, 8, 7, padding=3), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(8, 8, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 2),
    )  # fmt: skip
    net = fitted(net, x, (torch.arange(120) < 60).long())
    e = wf.explain(net, x[:60], 1)
    assert e.maps.shape == (60, 1, 40) and e.heatmaps().shape == (60, 1, 80)
    assert float(((e.peaks()[:, 0, 0] - where[:60]).abs() <= 4).float().mean()) > 0.9
    first, last = e.boxes()[:, 0].unbind(1)
    assert float(((first <= where[:60]) & (where[:60] <= last)).float().mean()) > 0.9


def planted_video() -> tuple[Tensor, Tensor]:
    """Videos of 8 frames of 16x24; in half of them a bright square is seen in two frames."""
    x = 0.2 * torch.rand(64, 1, 8, 16, 24, generator=torch.Generator().manual_seed(0))
    places = torch.stack([torch.arange(64) % 3 * 2 + 1, torch.arange(64) % 11 + 2, torch.arange(64) % 19 + 2], 1)
    for i in range(32):
        t, row, column = places[i].tolist()
        x[i, 0, t : t + 2, row - 1 : row + 3, column - 1 : column + 3] += 1
    return x, places


@pytest.mark.parametrize("time_first", [False, True])
def test_the_frames_that_decide_are_found(time_first: bool) -> None:
    """Also where the network wants time before channels."""
    x, places = planted_video()

    class Video(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv3d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv3d(8, 8, 3, stride=(1, 2, 2), padding=1), nn.ReLU()
            )
            self.fc = nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.features(x.transpose(1, 2) if time_first else x).mean((2, 3, 4)))

    x = x.transpose(1, 2).contiguous() if time_first else x
    net = fitted(Video(), x, (torch.arange(64) < 32).long())
    e = wf.explain(net, x[:32], 1)
    assert e.maps.shape == (32, 1, 8, 8, 12) and e.heatmaps().shape == (32, 1, 8, 16, 24)
    column, row, frame = e.peaks()[:, 0].unbind(1)
    assert float(((frame - places[:32, 0] - 0.5).abs() <= 1).float().mean()) > 0.9
    assert float((((row - places[:32, 1]).abs() <= 3) & ((column - places[:32, 2]).abs() <= 3)).float().mean()) > 0.9
    boxes = e.boxes()[:, 0]
    assert boxes.shape == (32, 6) and bool((boxes[:, :3] <= boxes[:, 3:]).all())


# -------------------------------------------------------------------------------------------- geometry


def test_boxes_and_peaks_of_any_number_of_axes() -> None:
    heat = torch.zeros(5, 6, 7)
    heat[1:3, 2:5, 4] = 1.0
    heat[4, 5, 0] = 3.0  # higher, and smaller
    assert peak(heat) == (0, 5, 4)
    assert box(heat, 0.15) == (4, 2, 1, 4, 4, 2)
    assert box(torch.tensor([0.0, 1, 1, 0, 1])) == (1, 2)
    assert box(torch.zeros(4)) == (0, 3) and box(-torch.ones(2, 3, 4)) == (0, 0, 0, 3, 2, 1)


def along(values: np.ndarray, axis: int, count: int) -> np.ndarray:
    """Values at ``count`` places along an axis, half-pixel centres, by numpy's own interpolation."""
    cells = values.shape[axis]
    places = (np.arange(count) + 0.5) * cells / count - 0.5
    return np.apply_along_axis(lambda line: np.interp(places, np.arange(cells), line), axis, values)


def test_maps_are_stretched_linearly_along_every_axis() -> None:
    for size, large in (((3,), (8,)), ((2, 3, 4), (4, 6, 10)), ((3, 4), (5, 9))):
        maps = torch.rand(2, *size, dtype=torch.float64)
        expected = maps.numpy()
        for axis, count in enumerate(large):
            expected = along(expected, axis + 1, count)
        torch.testing.assert_close(stretched(maps, large), torch.tensor(expected), rtol=1e-6, atol=1e-7)


# -------------------------------------------------------------------------------------------- drawing


def test_the_words_are_coloured_that_count() -> None:
    """The strongest is the darkest, one without evidence stays on paper, and spaces stand where they stood."""
    pieces = ["[CLS]", "a", " quiet", " film", "s", "[SEP]"]
    heat = torch.tensor([0, 0, 1.0, 0.25, 0, 0])
    drawn = np.asarray(sequences.text(pieces, heat, None, "heat")).astype(int)
    plain = np.asarray(sequences.text(pieces, None, None, "heat")).astype(int)
    changed = (np.abs(drawn - plain).sum(2) > 0).any(0).nonzero()[0]
    letters = drawing.font(sequences.LETTERS)
    start = 12 + sum(letters.getlength(p) + 4 for p in pieces[:2]) + letters.getlength(" ")
    middle = start + letters.getlength("quiet") + 4
    stop = middle + letters.getlength(" ") + letters.getlength("film") + 4
    assert abs(changed.min() - start) < 2 and abs(changed.max() - stop) < 2
    strong, weak = (drawn[13, round(x)].sum() for x in (start + 1, middle + letters.getlength(" ") + 1))
    assert strong < weak < np.array(drawing.PAPER).sum() - 20
    long = sequences.text(["a long line"] * 40 + ["\nnext"], None, None, "heat")
    assert long.width == sequences.TEXT_WIDTH and long.height > 200


def test_a_signal_is_coloured_where_the_map_is() -> None:
    heat = torch.zeros(50)
    heat[30:35] = 1
    drawn = np.asarray(sequences.signal(torch.zeros(1, 50), heat, None, "heat")).astype(int)
    shaded = (np.abs(drawn[5] - drawing.PAPER).sum(1) > 30).nonzero()[0]
    assert abs(shaded.min() - 30 * sequences.WIDE / 50) <= 1 and abs(shaded.max() + 1 - 35 * sequences.WIDE / 50) <= 1


def clips() -> wf.Model:
    net = nn.Sequential(
        nn.Conv3d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(8, 3)
    )
    return wf.Model(net.eval(), preprocess=Frames(wf.Preprocess(resize=32, crop=24), 4), name="clips")


def gif(path: Path, frames: int = 10) -> list[Image.Image]:
    shades = [Image.new("RGB", (60, 40), (20 * i, 255 - 20 * i, 90)) for i in range(frames)]
    shades[0].save(path, save_all=True, append_images=shades[1:], duration=50)
    return shades


def test_a_clip_is_read_placed_drawn_and_saved(tmp_path: Path) -> None:
    shades = gif(tmp_path / "shades.gif")
    model = clips()
    e = wf.explain(model, tmp_path / "shades.gif", [0, 1])
    by_list = wf.explain(model, shades, [0, 1])
    by_array = wf.explain(model, np.stack([np.asarray(frame) for frame in shades]), [0, 1])
    torch.testing.assert_close(by_array.maps, by_list.maps)
    assert e.maps.shape == by_list.maps.shape == (1, 2, 4, 24, 24)
    clip = e.pictures[0]
    assert clip.size == (60, 40, 4) and clip.region == (15.0, 5.0, 45.0, 35.0)
    heat = next(e.placed(0))
    assert heat.shape == (4, 40, 60) and float(heat[:, :, :15].abs().max()) == 0
    assert float(heat[:, :5].abs().max()) == 0 < float(heat[:, 5:35, 15:45].max())
    report = e.save(tmp_path / "out")
    target = json.loads(report.read_text())["images"][0]["targets"][0]
    with Image.open(target["files"]["animation"]) as animation:
        assert animation.n_frames == 4
    assert len(target["peak"]) == 3 and len(target["box"]) == 6
    assert len(e.animation()) == 4 and e.sheet().width > 0 and "<img" in e._repr_html_()
    with pytest.raises(Error, match="is no clip"):
        wf.explain(
            nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(2)), torch.rand(1, 3, 8, 8), lambda o: o.sum((1, 2))
        ).animation()


def test_an_mp4_is_read(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed: pip install 'wherefore[models]'")
    with av.open(str(tmp_path / "v.mp4"), "w") as video:
        stream = video.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(12):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * i, np.uint8), format="rgb24")
            video.mux(stream.encode(frame))
        video.mux(stream.encode())
    frames = read_frames(tmp_path / "v.mp4")
    assert len(frames) == 12 and frames[0].size == (64, 48)
    brightness = [float(np.asarray(frame).mean()) for frame in frames]
    assert brightness == sorted(brightness) and abs(brightness[6] - 120) < 8


@pytest.mark.parametrize("name", ["none.mp4", "text.mp4", "text.gif", "folder"])
def test_what_is_no_video(name: str, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("words")
    (tmp_path / "text.gif").write_text("words")
    (tmp_path / "folder").mkdir()
    with pytest.raises(Error, match=r"does not exist|cannot be read|is a folder"):
        wf.explain(clips(), tmp_path / name)


def test_what_speaks_against_is_drawn_beside(tmp_path: Path) -> None:
    """Asked for with counter=True; equal to the method counterfactual."""
    net, x = pooled(), images(2)
    e = wf.explain(net, x, "all", counter=True)
    torch.testing.assert_close(e.maps, wf.explain(net, x, "all").maps)
    torch.testing.assert_close(e.against, wf.explain(net, x, "all", method="counterfactual").maps)
    assert len(list(e.counter(0))) == 5
    targets = json.loads(e.save(tmp_path).read_text())["images"][0]["targets"]
    assert all(Path(target["files"]["against"]).is_file() for target in targets)
    assert e.sheet().height > wf.explain(net, x, "all").sheet().height  # a row for each target
    with pytest.raises(Error, match="counter=True"):
        list(wf.explain(net, x).counter(0))
    with pytest.raises(Error, match="it leaves out nothing"):
        wf.explain(net, x, method="cam", counter=True)


# -------------------------------------------------------------------------------------------- the command line


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        cli.main(list(arguments))
    return int(end.value.code or 0)


def test_texts_and_videos_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed: pip install 'wherefore[models]'")
    from fixtures_transformers import TEXT, hf, saved, videomae, wordpiece

    options: dict[str, Any] = {**TEXT, "num_labels": 2}
    name = saved(tmp_path / "bert", hf.BertForSequenceClassification(hf.BertConfig(**options)), wordpiece())
    (tmp_path / "two.txt").write_text("the dog sat")
    out = tmp_path / "out"
    given = ["the cats wasn't playing", str(tmp_path / "two.txt")]
    assert run("explain", *given, "--model", name, "--out", str(out), "--json") == 0
    reports = json.loads(capsys.readouterr().out)["images"]
    assert reports[0]["image"] == given[0] and reports[0]["size"] == [10]
    assert run("explain", *given, "--model", name, "--out", str(out)) == 0
    assert "evidence in" in capsys.readouterr().out
    assert run("explain", given[0], "--model", name, "--out", str(out), "--method", "all") == 0
    capsys.readouterr()
    for wrong in ("photo.png", "missing.txt", " "):
        assert run("explain", wrong, "--model", name, "--out", str(tmp_path / "none")) == 2
    assert not (tmp_path / "none").exists() and "reads texts" in capsys.readouterr().err
    with Image.open(reports[1]["targets"][0]["files"]["overlay"]) as drawn:
        assert drawn.width == sequences.TEXT_WIDTH
    assert run("layers", "--model", name, "--no-pretrained") == 0
    assert "default: bert.encoder.layer.0" in capsys.readouterr().out
    assert run("explain", "the cat", "--model", name, "--method", "gradient") == 2
    assert "numbers of tokens" in capsys.readouterr().err

    assert run("layers", "--model", "r3d_18", "--no-pretrained") == 0
    assert "default: layer4" in capsys.readouterr().out
    processor = hf.VideoMAEImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    name = saved(tmp_path / "video", videomae(), processor)
    gif(tmp_path / "shades.gif")
    assert run("explain", str(tmp_path / "shades.gif"), "--model", name, "--out", str(out), "--counter") == 0
    assert list(out.glob("shades.*.gif")) and list(out.glob("shades.*.against.jpg"))
