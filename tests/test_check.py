"""Verdicts on planted maps, true and untrue, and how they are told."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn
from typer.testing import CliRunner

import wherefore as wf
from conftest import images, pooled, untouched
from wherefore.checking import MOST, Check, Verdict, _middle, _moved, marked
from wherefore.cli import app
from wherefore.registry import METHODS, Entry
from wherefore.types import Query, Raw

SPOT = (slice(3, 12), slice(16, 26))  # what the network looks at


class Looking(nn.Module):
    """Scores of two classes from a part of the picture, through weights that can be drawn anew."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Linear(3 * 28 * 28, 2)
        with torch.no_grad():
            seen = torch.zeros(3, 28, 28)
            seen[:, *SPOT] = 1
            self.weights.weight.copy_(torch.stack([seen.flatten(), -seen.flatten()]))
            self.weights.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.weights(x.flatten(1))


def bright() -> Tensor:
    """A picture that is dark but where the network looks and, less so, in the middle."""
    x = 0.1 * torch.rand(1, 3, 28, 28)
    x[..., *SPOT] += 1
    return x


def smooth(x: Tensor) -> Tensor:
    return torch.from_numpy(ndimage.gaussian_filter(x.detach().numpy(), (0, 0, 1, 1)))


def attribution(query: Query) -> Raw:
    """What each pixel adds to the score: true of a linear network."""
    chosen = query.choose(query.net(query.images))
    weights = query.net.weights.weight.view(2, 3, 28, 28)[chosen.classes[0]].detach()
    return Raw(smooth((weights * query.images).sum(1)[None]), chosen.detached())


def opposite(query: Query) -> Raw:
    """The pixels that add least."""
    raw = attribution(query)
    return raw._replace(maps=raw.maps.max() - raw.maps)


def picture(query: Query) -> Raw:
    """The picture itself, whatever the network."""
    chosen = query.choose(query.net(query.images))
    return Raw(query.images.mean(1, keepdim=True).expand(-1, chosen.scores.shape[1], -1, -1), chosen.detached())


def nothing(query: Query) -> Raw:
    """No evidence at all."""
    raw = attribution(query)
    return raw._replace(maps=torch.zeros_like(raw.maps))


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    for method in (attribution, opposite, picture, nothing):
        monkeypatch.setitem(METHODS, method.__name__, Entry(method, "", {"at": "input"}))


@pytest.mark.parametrize(
    ("method", "lowers", "depends", "says"),
    [
        ("attribution", True, True, "Verdict: faithful here."),
        ("opposite", False, True, "removing other parts lowers the score as much."),
        ("picture", True, False, "not shown to be faithful here: the map hardly depends on what the network learned."),
    ],
)
def test_planted_maps_get_the_verdict_that_they_deserve(method: str, lowers: bool, depends: bool, says: str) -> None:
    net = Looking()
    e = wf.explain(net, bright(), 0, method=method)
    with untouched(net):
        found = e.check()
    one = found.verdicts[0][0]
    assert (one.lowers, one.depends, found.holds) == (lowers, depends, lowers and depends), str(found)
    assert str(one).endswith(says) and found.verdict == one.verdict
    assert repr(e.check()) == repr(found), "equal at every run"


def test_a_map_without_evidence_leaves_nothing_to_check() -> None:
    found = wf.explain(Looking(), bright(), 0, method="nothing").check()
    assert not found.holds and found.verdict == "nothing to check"
    assert str(found.verdicts[0][0]) == "class 0: the map has no positive evidence. Verdict: nothing to check."


def test_the_numbers_are_those_of_the_network() -> None:
    net, x = Looking(), bright()
    e = wf.explain(net, x, 0, method="attribution")
    one, mark = e.check().verdicts[0][0], marked(e.maps[0, 0])
    assert one.score == pytest.approx(float(net(x)[0, 0].detach())) and one.share == float(mark.float().mean())
    mean = x[0].mean((1, 2), keepdim=True)
    for mask, score in zip(
        [mark, _middle(mark), *_moved(mark)], [one.removed, one.centre, *one.elsewhere], strict=True
    ):
        covered = net(torch.where(mask, mean, x[0])[None])
        assert float(covered[0, 0].detach()) == pytest.approx(score, abs=1e-3)


def test_what_is_marked_in_the_middle_and_moved() -> None:
    heat = torch.zeros(20, 30)
    heat[2:6, 3:9] = 1
    mark = marked(heat)
    assert int(mark.sum()) == 24 and bool(mark[2:6, 3:9].all()), "the positive part, where that is less"
    assert int(marked(torch.rand(20, 30) + 1).sum()) == MOST * 600
    middle = _middle(mark)
    rows, columns = middle.nonzero().float().mean(0).tolist()
    assert int(middle.sum()) == 24 and rows == pytest.approx(9.5, abs=0.5) and columns == pytest.approx(14.5, abs=0.5)
    for moved in _moved(mark):
        assert int(moved.sum()) == 24 and int((moved & mark).sum()) <= 12


@pytest.mark.parametrize(
    ("removed", "elsewhere", "centre", "lowers"),
    [
        (1.0, (2.0,) * 20, 3.0, True),
        (1.0, (0.5, *[2.0] * 19), 3.0, True),
        (1.0, (0.5, 1.0, *[2.0] * 18), 3.0, False),
        (1.0, (2.0,) * 20, 1.0, False),
        (6.0, (7.0,) * 20, 8.0, False),
    ],
)
def test_lower_than_nearly_everywhere(
    removed: float, elsewhere: tuple[float, ...], centre: float, lowers: bool
) -> None:
    one = Verdict("cat", "cat.jpg", 0.2, 5.0, removed, elsewhere, centre, 0.1)
    assert one.lowers == lowers and one.holds == lowers
    assert not replace(one, likeness=-0.8).holds, "the same map with its sign turned depends on as little"


def test_the_sentence_and_the_plain_values() -> None:
    one = Verdict("cat <b>", "cat.jpg", 0.2, 9.1, 3.2, (7.1, 8.5), 5.0, 0.12)
    assert str(one) == (
        "cat <b>: removing the 20 % of the picture that the map marks lowers the score from 9.1 to 3.2; removing as "
        "much elsewhere, to 7.8 (7.1 to 8.5 in 2 places); in the middle, to 5.0. With the weights of the upper half of "
        "the layers drawn anew the map changes (rank correlation 0.12): it depends on what the network learned. "
        "Verdict: faithful here."
    )
    report = json.loads(json.dumps(one.report()))
    assert report["elsewhere"] == {"mean": pytest.approx(7.8), "low": 7.1, "high": 8.5}
    assert report["holds"] and report["text"] == str(one) and report["removed"] == 3.2
    assert "cat &lt;b&gt;: removing" in Check([[one]])._repr_html_()


def test_several_pictures_and_targets_of_any_kind() -> None:
    net = pooled()
    e = wf.explain(net, [images(1)[0], images(1, 20)[0]], [wf.Difference(0, 1), wf.ClassScore(2), wf.ClassScore(3)])
    found = e.check()
    assert [len(row) for row in found.verdicts] == [3, 3]
    assert found.verdict == f"{sum(v.holds for row in found.verdicts for v in row)} of 6 maps are faithful here"
    assert [[each["score"] for each in row] for row in found.report()] == [
        pytest.approx(row, abs=1e-4) for row in e.scores.tolist()
    ]
    page = found._repr_html_()
    assert page.count("<p>") == 8 and "class 0 rather than class 1" in page and "image 1\n" in repr(found)


def test_signals_are_refused_in_a_sentence() -> None:
    flat = nn.Sequential(nn.Conv1d(1, 3, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    e = wf.explain(flat, torch.rand(1, 1, 9), method="gradient")
    with pytest.raises(wf.Error, match="is no picture: parts of pictures are removed, not of clips"):
        e.check()


def test_grad_cam_is_faithful_on_scenes_and_the_map_of_another_class_is_not() -> None:
    model = wf.load("scenes:vgg")
    names = [f"scenes:{i}" for i in range(1, 4)]
    right = wf.explain(model, names)
    assert sum(row[0].holds for row in right.check().verdicts) >= 2
    last = wf.explain(model, names, "top5")
    wrong = replace(right, maps=last.maps[:, 4:])  # of the fifth class, passed off as those of the first
    assert sum(row[0].holds for row in wrong.check().verdicts) <= 1


def test_the_command_line_prints_it_and_puts_it_into_the_json() -> None:
    run = ["explain", "scenes:3", "--model", "scenes:vgg", "--check", "--json", "-t", "bus", "-t", "fish"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = CliRunner().invoke(app, run)
        plain = CliRunner().invoke(app, ["explain", "scenes:3", "-m", "scenes:vgg", "--check", "-o", "/dev/null/none"])
    assert result.exit_code == 0, result.output
    targets = json.loads(result.stdout)["images"][0]["targets"]
    want = wf.explain(wf.load("scenes:vgg"), "scenes:3", ["bus", "fish"]).check().report()[0]
    assert [t["check"]["text"] for t in targets] == [each["text"] for each in want]
    assert plain.exit_code != 0


def test_the_command_line_prints_sentences(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["explain", "scenes:3", "-m", "scenes:vgg", "--check", "-o", str(tmp_path)])
    assert result.exit_code == 0 and "Verdict: faithful here." in " ".join(result.stdout.split())
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["images"][0]["targets"][0]["check"]["holds"] is True
    two = CliRunner().invoke(app, ["explain", "scenes:3", "-m", "scenes:vgg", "--check", "--method", "all"])
    assert isinstance(two.exception, wf.Error) and "one --method" in str(two.exception)
    assert np.isfinite(manifest["images"][0]["targets"][0]["check"]["rank_correlation"])


@pytest.mark.slow
def test_a_real_network_on_a_photograph(data: Path) -> None:
    model = wf.load("mobilenet_v2", weights=data / "weights" / "mobilenet_v2_imagenet.safetensors")
    found = wf.explain(model, data / "images" / "cat_dog.jpg").check()
    assert found.holds, str(found)
