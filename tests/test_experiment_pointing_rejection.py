"""The pointing game with rejection, against claims that are counted by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import wherefore as wf
from fixtures_experiments import reported
from fixtures_metrics import explained, sampled, thing
from wherefore.batch.maps import Asked, Seen
from wherefore.datasets import Dataset
from wherefore.errors import Error
from wherefore.experiments import Settings, rejection
from wherefore.experiments.lab import Lab
from wherefore.experiments.rejection import FROZEN, KEEP, MEASURES, ORACLE, REJECT, Game, claims, measured
from wherefore.experiments.tables import where
from wherefore.metrics.rejection import Claim, with_rejection

GAME = [
    [Claim("a", "dog", True, True, 3.0), Claim("a", "cat", False, False, 1.0), Claim("a", "car", True, False, 2.0)],
    [Claim("b", "dog", True, True, 0.5), Claim("b", "cat", False, False, 2.5), Claim("b", "car", False, False, 0.0)],
]


def test_figures_equal_a_count_by_hand() -> None:
    at_1_5 = {measure: measured(GAME, 1.5, measure).value for measure in MEASURES}
    # Kept: dog a (hit), car a (missed), cat b (absent); rejected: cat a, dog b (there), car b.
    assert at_1_5 == {"accuracy": 3 / 6, "presence": 4 / 6, "precision": 1 / 3, "recall": 1 / 3}
    assert measured(GAME, float("-inf"), "accuracy").value == 2 / 6, "kept all: those that hit"
    assert measured(GAME, float("inf"), "accuracy").value == 3 / 6, "rejected all: those that are absent"
    assert np.isnan(measured(GAME, float("inf"), "precision").value)
    assert measured(GAME, 0.0, "accuracy").degenerate == 1


@pytest.mark.parametrize("threshold", [0.0, 0.7, 1.5, 2.5, 9.0])
def test_figures_equal_those_of_the_metric_over_all_claims(threshold: float) -> None:
    every = with_rejection([claim for some in GAME for claim in some], threshold)
    ours = [measured(GAME, threshold, measure).value for measure in MEASURES]
    assert ours == pytest.approx(list(every), nan_ok=True)


def test_claims_are_read_from_maps() -> None:
    sample = sampled((100, 80), thing("dog", (10, 10, 19, 19)), thing("cat", (60, 60, 69, 69)))
    heats = torch.zeros(1, 3, 80, 100)
    heats[0, 0, 12, 12], heats[0, 1, 12, 14], heats[0, 2, 50, 50] = 2.0, 3.0, 1.0
    rows = [{"category": name} for name in ("dog", "cat", "zebra")]
    found = claims([Seen(sample, rows, explained(heats, [sample], [["dog", "cat", "zebra"]]))], "15 px")
    assert found == [
        [
            Claim("photo", "dog", True, True, 2.0),
            Claim("photo", "cat", True, False, 3.0),
            Claim("photo", "zebra", False, False, 1.0),
        ]
    ]


def test_what_is_no_category_claims_nothing_and_a_category_claims_once() -> None:
    sample = sampled((100, 80), thing("dog", (10, 10, 19, 19)), thing("cat", (60, 60, 69, 69)))
    categories = ["dog", "", "dog", "cat"]  # a terrier, a volcano, a hound, a tabby
    heats = torch.zeros(1, 4, 80, 100)
    for t, (x, y) in enumerate([(90, 12), (12, 12), (12, 12), (65, 65)]):
        heats[0, t, y, x] = 1.0 + t
    e = explained(heats, [sample], [["dog", "volcano", "dog", "cat"]], scores=torch.tensor([[2.0, 4.0, 3.0, 1.0]]))
    each = Seen(sample, [{"category": name} for name in categories], e)
    # The hound has the higher score, and hits; the terrier, which points beside, is left out.
    dog, cat = Claim("photo", "dog", True, True, 3.0), Claim("photo", "cat", True, True, 4.0)
    assert claims([each], "15 px") == [[dog, cat]] and list(rejection.claiming(each).values()) == [2, 3]
    said = rejection.left_out([each, each])
    assert said == ("2 maps of no category of the data, 2 maps of a category with another output of a higher score")
    assert len(rejection._gallery(Game([each], [[dog, cat]], 1.0)).figures) == 2


def test_networks_that_predict_no_category_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab(Settings(limit=2, model="scenes:vgg"), tmp_path)
    true = lab.asked

    def never(what: str, dataset: Dataset, model: wf.Model) -> Asked:
        return replace(true(what, dataset, model), outputs={})

    monkeypatch.setattr(lab, "asked", never)
    with pytest.raises(Error, match="no class that scenes:vgg predicts is a category of scenes"):
        rejection.rejection(lab)


def test_trivial_rules_are_no_claim_of_the_paper_s() -> None:
    games = {("scenes:vgg", method): Game([], GAME, threshold=9.0) for method in ("grad-cam", "c-mwp")}
    assert [each.claim for each in rejection._verdicts(games)] == [
        "On scenes:vgg Grad-CAM is right more often than c-MWP"
    ]
    [trivial] = rejection._trivial(games)
    assert "keeps all maps" in trivial.claim and not trivial.holds, "rejecting all is right as often"


def test_the_threshold_is_that_of_other_pictures() -> None:
    game = Game([], GAME, threshold=2.7)
    assert game.thresholds == {FROZEN: 2.7, ORACLE: 3.0, KEEP: float("-inf"), REJECT: float("inf")}
    rows = rejection._rows("scenes:googlenet", "c-mwp", game)
    assert [(r["threshold"], r["measure"]) for r in rows if r["paper"]] == [(FROZEN, "accuracy")]
    assert where(rows, measure="accuracy")[0]["paper"] == 0.6030
    assert rejection._rows("googlenet", "grad-cam", game)[0]["paper"] == 0.7058
    assert all(r["paper"] is None for r in rejection._rows("scenes:vgg", "grad-cam", game))
    best = max(measured(GAME, t, "accuracy").value for t in (-1, 0, 0.5, 1, 2, 2.5, 3, 4))
    assert where(rows, threshold=ORACLE)[0]["value"] == best


def test_pictures_of_one_thing_do_not_say_what_is_absent(tmp_path: Path) -> None:
    lab = Lab(Settings("scenes:single", limit=2), tmp_path)
    with pytest.raises(Error, match="whether a class is absent cannot be told from scenes:single"):
        rejection.rejection(lab)


@pytest.mark.slow
def test_the_experiment(tmp_path: Path) -> None:
    found = reported("pointing-rejection", tmp_path, limit=4)
    rows = found["rows"]
    assert len(rows) == 2 * 2 * (4 + 3) and {r["name"] for r in rows} == {"grad-cam", "c-mwp"} <= set(wf.METHODS)
    for network in ("scenes:googlenet", "scenes:vgg"):
        own = {r["threshold"]: r["value"] for r in where(rows, network=network, name="grad-cam", measure="accuracy")}
        assert own[ORACLE] == max(own.values())
        others = where(rows, network=network, name="c-mwp", measure="accuracy", threshold=REJECT)
        assert own[REJECT] == others[0]["value"], "the share of absent classes is no method's"
    assert found["settings"]["left out on scenes:vgg"].startswith("0 maps of no category")
    assert sum("threshold of" in key for key in found["settings"]) == 4
    assert found["settings"]["pictures"] == {"scenes test": 4, "scenes dev": 4} and len(found["verdicts"]) == 4
