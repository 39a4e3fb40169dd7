"""Claims beside the paper's tables, against planted maps and networks of which the answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import wherefore as wf
from fixtures_experiments import grad_cam_by_hand, reported, squashed
from fixtures_metrics import explained, rectangle, sampled, thing
from wherefore.batch.maps import Seen
from wherefore.capture import Capture
from wherefore.datasets import opened
from wherefore.errors import Error
from wherefore.experiments import Settings, claims, contrasts
from wherefore.experiments.contrasts import (
    BACKGROUND,
    ELSEWHERE,
    MARKED,
    NAMED,
    OTHERS,
    PARTS,
    area,
    energy_on,
    peak_on,
)
from wherefore.experiments.identities import PARTED, WEIGHTS, deviations, from_weights, signed_sum
from wherefore.experiments.lab import Lab
from wherefore.experiments.tables import where
from wherefore.methods import cams
from wherefore.metrics.covering import covered
from wherefore.metrics.localization import smoothed
from wherefore.metrics.summary import summary


@pytest.mark.parametrize("name", ["googlenet", "vgg"])
def test_identities_on_networks_with_and_without_such_a_head(name: str, tmp_path: Path) -> None:
    lab = Lab(Settings(limit=2), tmp_path)
    dataset = lab.dataset("pair")
    [[found], _] = deviations(lab.network(f"scenes:{name}"))(dataset[:2])
    assert found[PARTED] < 1e-5
    assert found[WEIGHTS] is None if name == "vgg" else 0 < found[WEIGHTS] < 1e-5


def test_a_wrong_sum_of_channels_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights of all maps are those of the next channel: L - L_cf is still what these would have for S."""
    model, sample = wf.load("scenes:vgg"), opened("scenes:pair")[0]
    [[found]] = deviations(model)([sample])
    assert found[PARTED] < 1e-5
    true = cams.summed
    monkeypatch.setattr(cams, "summed", lambda a, weights, *rest: true(a, weights.roll(1, 2), *rest))
    [[found]] = deviations(model)([sample])
    assert found[PARTED] > 0.1


class Functional(torch.nn.Module):
    """A ReLU that is no module, so that the layer is none."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = torch.nn.Conv2d(3, 4, 3), torch.nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(x).relu().mean((2, 3)))


def test_the_sum_of_channels_by_hand() -> None:
    model, sample = wf.load("scenes:alexnet"), opened("scenes:pair")[0]
    e = wf.explain(model, sample.image, "top5", fit="squash")
    signed = signed_sum(e)
    assert signed is not None and not model.net.get_submodule(e.layer)._forward_hooks
    for t, c in enumerate(e.classes[0].tolist()):
        by_hand = grad_cam_by_hand(model.net, squashed(model, sample), e.layer, c)
        assert torch.allclose(signed[t].relu(), by_hand, atol=1e-6 * float(by_hand.max()))
        assert float(signed[t].min()) < 0, "signed"
    other = wf.Model(Functional().eval(), preprocess=model.preprocess, name="functional")
    assert signed_sum(wf.explain(other, sample.image, 0, layer="conv+relu", fit="squash")) is None


def test_weights_that_are_not_the_gradient_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    e = wf.explain(wf.load("scenes:googlenet"), wf.scenes.scene(0).image, "top5", fit="squash")
    true = Capture.head_weights
    monkeypatch.setattr(Capture, "head_weights", lambda self, logits: true(self, logits) * 1.01)
    assert from_weights(e) == pytest.approx(0.01 / 1.01, rel=1e-2)


def planted() -> tuple[Seen, dict[str, np.ndarray]]:
    """Two things that overlap, and the map of the first: 3 on a pixel of the second, 1 on one of its own and beside."""
    dog, cat = rectangle((40, 40), (0, 0, 9, 9)), rectangle((40, 40), (5, 5, 14, 14))
    sample = sampled((40, 40), thing("dog", (0, 0, 9, 9), dog), thing("cat", (5, 5, 14, 14), cat))
    heat = torch.zeros(1, 2, 40, 40)
    heat[0, 0, 12, 12], heat[0, 0, 2, 2], heat[0, 0, 30, 30] = 3.0, 1.0, 1.0
    masks = {OTHERS: cat & ~dog, NAMED: dog, BACKGROUND: ~dog & ~cat}
    return Seen(sample, [], explained(heat, [sample], [["dog", "cat"]])), masks


def test_where_a_map_lies() -> None:
    each, masks = planted()
    for part in PARTS:
        shares = contrasts.values([each], lambda case, part=part: energy_on(case, part))[0]
        assert shares[0].item() == pytest.approx({OTHERS: 0.6, NAMED: 0.2, BACKGROUND: 0.2}[part])
        peaks = contrasts.values([each], lambda case, part=part: peak_on(case, part))[0]
        assert peaks[0].item() == (part == OTHERS)
        areas = contrasts.values([each], lambda case, part=part: area(case, part))[0]
        assert areas[0].item() == pytest.approx(masks[part].mean())
        assert all(found[1].isnan() for found in (shares, peaks, areas)), "a map without evidence lies nowhere"
    assert (contrasts.things(each.sample) == (masks[OTHERS] | masks[NAMED])).all()


def test_a_speck_is_smoothed_away() -> None:
    each, _ = planted()
    heat = each.explanation.maps
    heat[0, 0, 0:9, 0:9] = 1.0
    heat[0, 0, 12, 12] = 1.5
    assert contrasts.values([each], lambda case: peak_on(case, OTHERS))[0][0] == 1
    assert contrasts.values([each], lambda case: peak_on(case, NAMED, smoothed))[0][0] == 1


def test_rises_of_scores_equal_those_of_pictures_covered_by_hand(tmp_path: Path) -> None:
    lab = Lab(Settings(limit=2), tmp_path)
    dataset, model = lab.dataset("pair"), lab.network("scenes:vgg")
    numbers = lab.numbers(dataset, 2, 2)
    kept = list(lab.seen(model, "counterfactual", dataset, numbers))
    why = wf.Explainer(model, "counterfactual", fit="squash")
    [found, _] = contrasts.covering(why, kept)([dataset[n] for n in numbers])
    e = why(dataset[numbers[0]].image, [list(dataset[numbers[0]].labels)])
    for t, row in enumerate(found):
        hidden_ = covered(dataset[numbers[0]].image, next(h for i, h in enumerate(e.placed(0)) if i == t))
        after = why(hidden_, row["target"]).scores[0, 0]
        assert row["target"] == int(e.classes[0, t])
        assert row[MARKED] == pytest.approx(float(after - e.scores[0, t]), abs=0.05)
        assert row[ELSEWHERE] != row[MARKED]


def test_maps_without_evidence_have_no_row() -> None:
    each, _ = planted()
    why = wf.Explainer(wf.load("scenes:vgg"), fit="squash")
    [found, other] = contrasts.covering(why, [each])([each.sample, sampled((40, 40), thing("cat", (1, 1, 2, 2)))])
    assert len(found) == 1 and found[0]["target"] == 0
    assert other == found, "known by its name"


def test_what_is_compared_is_what_is_claimed() -> None:
    shares = {OTHERS: [1, 0, 0, 0, 0], NAMED: [0] * 5, BACKGROUND: [0, 1, 1, 1, 1]}
    found = {(measure, part): summary(values) for measure in claims.PLACES for part, values in shares.items()}
    found |= {(claims.RISES, what): summary([1, 0, 0, 0, 0]) for what in (MARKED, ELSEWHERE)}
    peaks = claims._on_the_others("net", found)[0]
    assert peaks.claim == (
        "On net what speaks against a class is strongest on the other objects more often than on the class's own"
    )
    assert peaks.holds and "On the background: 0.800 of the peaks" in peaks.numbers


def test_a_rule_that_changes_nothing_is_said_to() -> None:
    plain, other = summary([0.2, 0.5, 0.4]), summary([0.1, 0.5, 0.4])
    told = {
        claims.PLAIN: {(claims.SEPARATION, claims.PLAIN): plain, (claims.ASTRAY, claims.PLAIN): plain},
        claims.GUIDED: {(claims.SEPARATION, claims.GUIDED): plain, (claims.ASTRAY, claims.GUIDED): other},
    }
    same, changed = claims._lost("net", told)
    assert same.holds and "guided ReLUs above the layer change nothing" in same.claim
    assert "stray to the other objects more often" in changed.claim and not changed.holds


def test_pictures_of_one_thing_are_not_enough(tmp_path: Path) -> None:
    with pytest.raises(Error, match="scenes:single has no pictures with two categories"):
        claims.claims(Lab(Settings("scenes:single", limit=1), tmp_path))


@pytest.mark.slow
def test_the_experiment(tmp_path: Path) -> None:
    found = reported("claims", tmp_path)
    rows = found["rows"]
    assert {r["network"] for r in where(rows, measure=WEIGHTS)} == {
        "scenes:googlenet",
        "scenes:resnet",
        "scenes:vgg-cam",
    }
    assert len(where(rows, measure=PARTED)) == 5 and all(v["holds"] for v in found["verdicts"][:2])
    for network in ("scenes:vgg", "scenes:googlenet", "scenes:resnet"):
        for measure in claims.PLACES:
            shares = [r["value"] for r in where(rows, network=network, measure=measure)]
            assert len(shares) == 3 and sum(shares) == pytest.approx(1, abs=1e-5)
    assert [r["on"] for r in where(rows, measure=claims.SEPARATION)] == list(claims.RULES)
    assert len(found["verdicts"]) == 2 + 3 * 3 + 3 * 2 and all(r["paper"] is None for r in rows)
