"""Failures: what is measured of them by hand, groups beside slow loops, and planted causes that are found again."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import wherefore as wf
from fixtures_experiments import kept_again
from page_reader import check
from wherefore import cli
from wherefore.concepts.names import Named, write
from wherefore.datasets import Sample
from wherefore.diagnosis.failures import Answering, Contributing, Failure, overlap, stories
from wherefore.diagnosis.stories import groups, silhouettes
from wherefore.experiments import Settings
from wherefore.experiments.failures import CLOSE, FAR, FOUND, MISLED, OVERLAP, figures, lists
from wherefore.explainer import Explainer

NAN = float("nan")

# -------------------------------------------------------------------------------------------- measured


def failure(number: int = 0, label: str = "cat", said: str = "dog", **about: Any) -> Failure:
    known: dict[str, Any] = {"probability": 0.6, "true_probability": 0.2, "place": 1}
    known |= {"overlap": 0.5, "found": 0.7, "misled": 0.2, **about}
    return Failure(number, f"picture {number}", label, said, **known)


def test_overlap_is_what_two_maps_mark_in_common() -> None:
    one, other = torch.zeros(4, 4), torch.zeros(4, 4)
    one[0], other[:, 0] = 1.0, 3.0
    one[1, 1] = 0.14  # below 15 % of the maximum
    one[1, 2] = 0.15
    assert overlap(one, other) == pytest.approx(1 / 8)
    assert overlap(one, one) == 1 and np.isnan(overlap(one, torch.zeros(4, 4)))


def test_figures_of_failures_by_hand() -> None:
    some = [
        failure(0, found=0.5, misled=0.49, overlap=0.2),
        failure(1, found=0.1, misled=0.9, overlap=NAN, place=7),
        failure(2, found=NAN, misled=NAN, overlap=0.4, place=4),
    ]
    found = figures(some)
    assert found[OVERLAP].value == pytest.approx(0.3) and (found[OVERLAP].n, found[OVERLAP].degenerate) == (2, 1)
    assert found[FOUND].value == found[MISLED].value == 0.5 and found[FOUND].n == 2
    assert [len(each) for each in lists(some).values()] == [3, 2, 1]
    assert CLOSE not in lists(some[1:2]) and FAR in lists(some[1:2])
    assert set(figures([some[2]])) == {OVERLAP}, "no box is known"


# -------------------------------------------------------------------------------------------- groups


def test_silhouettes_beside_the_definition() -> None:
    dice = np.random.default_rng(0)
    points, of = dice.normal(size=(15, 3)), np.array([0] * 6 + [1] * 8 + [2])
    apart = np.linalg.norm(points[:, None] - points, axis=2)
    expected = []
    for i in range(15):
        own = [apart[i, j] for j in range(15) if of[j] == of[i] and j != i]
        beyond = min(np.mean([apart[i, j] for j in range(15) if of[j] == g]) for g in range(3) if g != of[i])
        expected.append((beyond - np.mean(own)) / max(beyond, np.mean(own)) if own else 0.0)
    np.testing.assert_allclose(silhouettes(apart, of), expected)
    assert not silhouettes(apart, np.zeros(15, int)).any()


def test_groups_are_those_of_directions_the_largest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = np.random.default_rng(0)
    means, truth = np.eye(5)[:3], np.repeat([0, 1, 2], [5, 9, 16])
    vectors = (means[truth] + dice.normal(0, 0.05, (30, 5))) * dice.uniform(0.1, 10, (30, 1))
    found = groups(vectors)
    assert found.count == 3 and found.silhouette > 0.8
    assert found.of.tolist() == [2] * 5 + [1] * 9 + [0] * 16
    monkeypatch.setattr("wherefore.diagnosis.stories.CLUSTERED", 18)
    assert groups(vectors).of.tolist() == found.of.tolist(), "the others join the closest"
    assert (
        groups(vectors[:5]).count == 1 and groups(np.ones((20, 4))).count == 1 and groups(np.zeros((9, 4))).count == 1
    )


def test_a_story_is_one_sentence() -> None:
    some = [failure(i, "cat", "dog" if i < 2 else "car") for i in range(3)] + [failure(3, "car", "boat")]
    vectors = np.array([[1.0, 0, 0, 2], [2, 0, 0, 4], [1, 0, -1, 2], [0, 3, 0, 0]])
    first, second = stories(some, vectors, np.array([0, 0, 0, 1]))
    assert first.confusion == ("cat", "dog", 2) and first.units == (3, 0) and second.units == (1,)
    assert first.told() == (
        "3 of 4 failures (75 %): most often cat is taken for dog (2 times); what spoke for it was units 3, 0."
    )
    names = [Named(i, name, "object", iou, 0.0) for i, (name, iou) in enumerate([("sky", 0.3), ("sea", 0.01)] * 2)]
    assert first.told(names).endswith("it looked at sky (units 3, 0).")
    assert second.told(names) == "1 of 4 failures (25 %): car taken for boat; what spoke for it was unit 1."
    three = [failure(i, name, said) for i, (name, said) in enumerate([("a", "y"), ("b", "x"), ("c", "x"), ("b", "x")])]
    for some, words in (
        (three, "most often b is taken for x (2 times, and x is the answer to 3)"),
        (three[:3], "2 are taken for x, such as b"),
        (three[:2], "a taken for y, and others"),
    ):
        [story] = stories(some, np.zeros((len(some), 2)), np.zeros(len(some), int))
        assert story.told() == f"{len(some)} of {len(some)} failures (100 %): {words}.", "and no unit spoke for it"
    assert stories([], np.zeros((0, 4)), np.zeros(0, int)) == []


# -------------------------------------------------------------------------------------------- planted causes

COLOURS = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 0.0), (0.0, 1.0, 1.0), (1.0, 0.0, 1.0)]
CLASSES = ("one", "two", "three")  # shown by the colours 0, 1, 2
CAUSES = {3: 0, 4: 0, 5: 1}  # the colours 3 and 4 both mislead to class 0, the colour 5 to class 1


class Misled(nn.Module):
    """A unit for each colour, exact; each of the last three speaks louder for a class than the right one can."""

    def __init__(self) -> None:
        super().__init__()
        signs = 2 * torch.tensor(COLOURS) - 1
        self.features = nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU())
        self.features[0].weight.data = signs[:, :, None, None]  # type: ignore[union-attr]
        self.features[0].bias.data = 0.5 - torch.tensor(COLOURS).sum(1)  # type: ignore[union-attr]
        self.head = nn.Linear(6, 3, bias=False)
        self.head.weight.data = torch.zeros(3, 6)
        for colour in range(3):
            self.head.weight.data[colour, colour] = 1.0
        for colour, said in CAUSES.items():
            self.head.weight.data[said, colour] = 4.0

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.features(x).mean((2, 3)))
        return found


def planted(count: int) -> tuple[list[Sample], list[int]]:
    """Pictures of a thing of class three beside something of a misleading colour, and which colour that is."""
    dice = np.random.default_rng(0)
    samples, causes = [], []
    for i in range(count):
        cause = int(dice.choice([3, 4, 5], p=[0.5, 0.3, 0.2]))
        pixels = dice.uniform(0, 0.2, (32, 32, 3))
        for colour in (2, cause):
            y, x, side = *dice.integers(0, 22, 2).tolist(), int(dice.integers(6, 10))
            pixels[y : y + side, x : x + side] = COLOURS[colour]
        for other in {3, 4, 5} - {cause}:  # as clutter
            y, x, side = *dice.integers(0, 26, 2).tolist(), int(dice.integers(0, 7))
            pixels[y : y + side, x : x + side] = COLOURS[other]
        pixels[8:12, 8:12] = COLOURS[cause]  # wherever the thing came to lie
        picture = Image.fromarray((255 * pixels).astype(np.uint8))
        samples.append(Sample(f"picture {i}", lambda picture=picture: picture, ("three",)))  # type: ignore[misc]
        causes.append(cause)
    return samples, causes


def adjusted_rand(a: Any, b: Any) -> float:
    """The adjusted Rand index (Hubert & Arabie 1985), counted over all pairs."""
    same = [(a[i] == a[j], b[i] == b[j]) for i, j in combinations(range(len(a)), 2)]
    both, one, other = (sum(f(x, y) for x, y in same) for f in (lambda x, y: x and y, lambda x, y: x, lambda x, y: y))
    chance = one * other / len(same)
    return 1.0 if (one + other) / 2 == chance else (both - chance) / ((one + other) / 2 - chance)


def jackknifed(a: Any, b: Any) -> tuple[float, float]:
    """The 95 % interval of the index by leaving out one at a time (Tukey 1958).

    Drawn with repetition, a picture would agree with itself, and the index be too high.
    """
    n, whole = len(a), adjusted_rand(a, b)
    without = [adjusted_rand(np.delete(a, i), np.delete(b, i)) for i in range(n)]
    error = np.sqrt((n - 1) / n * np.sum((without - np.mean(without)) ** 2))
    return whole - 1.96 * float(error), min(1.0, whole + 1.96 * float(error))


def test_the_interval_of_the_index() -> None:
    assert jackknifed([0, 0, 1, 1], [5, 5, 3, 3]) == (1.0, 1.0)
    dice = np.random.default_rng(0)
    a, b = dice.integers(0, 3, (2, 40))
    low, high = jackknifed(a, b)
    assert low < 0 < high < 0.2, "of two groupings that have nothing to do with each other"


def test_the_index_by_hand() -> None:
    assert adjusted_rand([0, 0, 1, 1], [5, 5, 3, 3]) == 1
    assert adjusted_rand([0, 0, 1, 1], [0, 0, 1, 2]) == pytest.approx(4 / 7)
    assert adjusted_rand([0, 0, 1, 1], [0, 1, 0, 1]) == pytest.approx(-0.5)


def test_planted_causes_are_recovered(figure: Callable[[str], None]) -> None:
    samples, causes = planted(50)
    preprocess = wf.Preprocess(32, 32, mean=(0, 0, 0), std=(1, 1, 1))
    why = Explainer(wf.Model(Misled(), CLASSES, preprocess, "features"), fit="squash")
    answers = Answering(why, {name: (i,) for i, name in enumerate(CLASSES)})(samples)
    assert all(row["wrong"] and row["label"] == "three" and row["place"] >= 1 for [row] in answers)
    assert np.mean([CLASSES[CAUSES[c]] == row["said"] for c, [row] in zip(causes, answers, strict=True)]) > 0.8
    work = Contributing(why, {each.name: row for each, [row] in zip(samples, answers, strict=True)})
    vectors = np.stack([np.frombuffer(row["units"], np.float32) for [row] in work(samples)])
    found = groups(vectors)
    index = adjusted_rand(causes, found.of)
    low, high = jackknifed(causes, found.of)
    figure(f"planted causes: adjusted Rand index {index:.3f} ({low:.3f} to {high:.3f}), {found.count} groups of 3")
    assert found.count == 3 and low > 0.8
    said = adjusted_rand([row["said"] for [row] in answers], causes)
    assert said < 0.9, "two causes have one answer, which only the units tell apart"
    told = stories([failure(i, "three", row["said"]) for i, [row] in enumerate(answers)], vectors, found.of)
    assert sorted(story.units[0] for story in told) == [3, 4, 5], "each names its cause first"


# -------------------------------------------------------------------------------------------- the experiment


def test_failures_of_a_shipped_network(tmp_path: Path) -> None:
    report = kept_again("failures", Settings(limit=40), tmp_path)
    found = json.loads(json.dumps(report.json(), allow_nan=False))
    error = found["rows"][0]
    wrong = round(error["value"] * error["n"])
    assert error["measure"] == "error of the first answer" and wrong > 0
    page = check(report.save(tmp_path))
    assert len(page.all("article")) == wrong and page.script
    listed = found["failures"]
    assert len(listed) == wrong and {each["network"] for each in listed} == {"scenes:alexnet"}
    assert all(each["said"] != each["label"] and 0 < each["probability"] <= 1 for each in listed)
    shares = [row["value"] for row in found["rows"] if row["name"].startswith("story")]
    for story, share in enumerate(shares, 1):
        assert sum(each["story"] == story for each in listed) == round(share * wrong)
    assert {each["story"] for each in listed} == set(range(1, len(shares) + 1))
    for article in page.all("article"):
        facts = json.loads(article["data-facts"] or "")
        assert 0 < facts["probability of the answer"] <= 1 and facts["answer"] != facts["true class"]


def test_an_audit_tells_stories_with_the_names_of_units(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names, out = tmp_path / "units.csv", str(tmp_path / "audit")
    line = ["audit", "--failures", "--model", "scenes:alexnet", "--data", "scenes:single", "--limit", "40"]
    line += ["--words", str(names), "--out", out]
    for units, status in ((3, 2), (64, 0)):
        write([Named(i, f"thing {i}", "object", 0.5, 0.0) for i in range(units)], names)
        with pytest.raises(SystemExit) as stopped:
            cli.main([*line, "--json"])
        assert (stopped.value.code or 0) == status
        printed = capsys.readouterr()
        if status:
            assert "the names are of 3 units" in printed.err and printed.err.count("\n") == 1
            assert not Path(out).exists(), "said before anything is worked out"
        else:
            told = json.loads(printed.out)["settings"]["stories"]["scenes:alexnet"]
            assert told and all("it looked at thing " in each for each in told)


def test_a_network_without_failures_says_so(tmp_path: Path) -> None:
    report = kept_again("failures", Settings(limit=3, model="scenes:vgg-cam"), tmp_path)
    assert report.json()["rows"][0]["value"] == 0 and not report.json()["verdicts"]
    assert "wrong for 0 of 3 pictures" in check(report.save(tmp_path)).words
