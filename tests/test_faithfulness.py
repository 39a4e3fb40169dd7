"""Faithfulness against linear networks, whose truth is known, slow loops, and dense solves in float64."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage, stats
from torch import Tensor, nn

import wherefore as wf
from conftest import images, pooled, untouched
from wherefore.metrics.agreement import spearman
from wherefore.metrics.faithfulness import at_random, at_the_centre, deleted, inserted
from wherefore.metrics.imputation import imputed, removed
from wherefore.metrics.occluding import correlation, drops
from wherefore.metrics.rerunning import Rerun, blurred, ranked
from wherefore.registry import METRICS
from wherefore.types import Patches

NAMES = ["occlusion-correlation", "deletion", "insertion", "average-drop", "increase", "average-gain", "road"]


class Linear(nn.Module):
    """Scores that are a weighted sum of the pixels; its single channel is also a layer that can be explained."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)  # (classes, C, H, W)

    def forward(self, x: Tensor) -> Tensor:
        return (x[:, None] * self.weights).sum((2, 3, 4))


def linear(side: int = 28, seed: int = 0) -> tuple[nn.Module, Tensor, Tensor]:
    """A network of two classes, a picture, and what each of its pixels adds to the score of class 0."""
    dice = torch.Generator().manual_seed(seed)
    weights = ndimage.gaussian_filter(torch.randn(1, 3, side, side, generator=dice).numpy(), (0, 0, 3, 3))
    net = Linear(torch.cat([torch.from_numpy(weights), torch.zeros(1, 3, side, side)]))
    x = torch.rand(1, 3, side, side, generator=dice) + 0.5
    return net, x, (x[0] * net.weights[0]).sum(0).detach()


def explained(net: nn.Module, x: Tensor, heat: Tensor | None = None) -> wf.Explanation:
    e = wf.explain(net, x, 0, method="gradient")
    return e if heat is None else replace(e, maps=heat[None, None], pixels=None)


def value(name: str, e: wf.Explanation, **options: Any) -> float:
    found = METRICS[name].run(e, [], **options)
    assert found.shape == e.scores.shape
    return float(found[0, 0])


# -------------------------------------------------------------------------------------------- fed again


class Last(nn.Module):
    """Wants its channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.own = pooled()

    def forward(self, x: Tensor) -> Tensor:
        return self.own(x.movedim(-1, 1))


@pytest.mark.parametrize("kind", ["tensor", "list", "array", "squash", "scene", "last", "output"])
def test_the_picture_itself_has_the_scores_of_the_explanation(kind: str) -> None:
    own = wf.Preprocess(20, 16)
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (31, 50, 3), dtype=np.uint8))
    model, given, options = wf.Model(pooled(), preprocess=own), images(3), {}
    if kind == "list":
        given = [photo, photo.rotate(90)]
    elif kind == "array":
        given = np.asarray(photo)
    elif kind == "squash":
        given, options = photo, {"fit": "squash"}
    elif kind == "scene":
        model, given = wf.load("scenes:vgg"), ["scenes:3", "scenes:4"]
    elif kind == "last":
        model, given, options = wf.Model(Last()), images(2).movedim(1, -1), {"layer": "own.features"}
    elif kind == "output":
        options = {"output": lambda output: output.flip(1)}
    e = wf.explain(model, given, "top3", **options)
    for b in range(len(e)):
        again = Rerun(e, b)
        torch.testing.assert_close(again.scores([again.x[0]])[0], e.scores[b])
        torch.testing.assert_close(again.probabilities([again.x[0]] * 2)[1], e.probabilities[b])


def test_other_targets_than_classes_have_scores_and_no_probabilities() -> None:
    e = wf.explain(pooled(), images(1), [wf.Difference(0, 1), wf.ClassScore(2)])
    again = Rerun(e, 0)
    torch.testing.assert_close(again.scores([again.x[0]] * 9)[8], e.scores[0])
    assert METRICS["deletion"].run(e).isnan().all() and METRICS["road"].run(e).isnan().all()
    assert METRICS["increase"].run(e).isnan().all()
    assert METRICS["occlusion-correlation"].run(e).isfinite().all()
    with pytest.raises(wf.Error, match="target= is missing"):
        Rerun(replace(e, target=None), 0)


def test_what_was_fed_may_be_changed_afterwards() -> None:
    x = images(1)
    e = wf.explain(pooled(), x, 0)
    x.zero_()
    assert value("deletion", e) > 0


def test_a_network_that_has_changed_and_what_is_no_picture_are_refused() -> None:
    net = pooled()
    e = wf.explain(net, images(1), 0)
    with torch.no_grad():
        net.fc.bias.add_(1)
    with pytest.raises(wf.Error, match="other scores now"):
        METRICS["deletion"].run(e)
    flat = nn.Sequential(nn.Conv1d(1, 3, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    signal = wf.explain(flat, torch.rand(1, 1, 9), method="gradient")
    with pytest.raises(wf.Error, match="is no picture"):
        METRICS["deletion"].run(signal)


# -------------------------------------------------------------------------------------------- occlusion


def test_the_exact_attribution_of_a_linear_network_has_correlation_1() -> None:
    net, x, truth = linear()
    e = explained(net, x, truth)
    assert value("occlusion-correlation", e) == pytest.approx(1)
    assert value("occlusion-correlation", explained(net, x, -truth)) == pytest.approx(-1)
    assert value("occlusion-correlation", e, patch=8, stride=4) == pytest.approx(1)
    assert value("occlusion-correlation", explained(net, x, torch.ones(28, 28))) == 0


def test_maps_that_know_nothing_have_correlation_0_on_average() -> None:
    net, x, truth = linear()
    found = [value("occlusion-correlation", at_random(explained(net, x, truth), seed)) for seed in range(60)]
    assert abs(np.mean(found)) < 3 * np.std(found) / len(found) ** 0.5 + 0.02 and 0.03 < np.std(found) < 0.3


@pytest.mark.parametrize("fill", ["mean", "blur", "grey"])
def test_drops_equal_a_loop_over_patches(fill: str) -> None:
    net, x, _ = linear()
    preprocess = wf.Preprocess(28, 28)
    e = wf.explain(wf.Model(net, preprocess=preprocess), x, [0, 1], method="gradient")
    found, patches = drops(e, 0, patch=9, stride=5, fill=fill)
    assert patches == Patches(9, 5) and found.shape == (2, 4, 4)
    pixels = x[0].double().numpy()
    mean, deviation = (np.array(v)[:, None, None] for v in (preprocess.mean, preprocess.std))
    covers = {
        "mean": np.zeros_like(pixels),
        "blur": ndimage.gaussian_filter(pixels, 4.5, mode="mirror", radius=9, axes=(1, 2)),
        "grey": np.zeros_like(pixels) + (128 / 255 - mean) / deviation,
    }[fill]
    for i, j in itertools.product(range(4), range(4)):
        covered = pixels.copy()
        rows, columns = slice(5 * i, 5 * i + 9), slice(5 * j, 5 * j + 9)
        covered[:, rows, columns] = covers[:, rows, columns]
        fall = ((pixels - covered) * net.weights[0].detach().double().numpy()).sum()
        assert float(found[0, i, j]) == pytest.approx(fall, abs=1e-3)
    assert found[1].abs().max() == 0


def test_unknown_fills_are_named() -> None:
    e = explained(*linear()[:2])
    with pytest.raises(wf.Error, match="no fill is called 'gray': did you mean grey"):
        drops(e, 0, fill="gray")
    with pytest.raises(wf.Error, match="without preprocess="):
        drops(e, 0, fill="grey")


def test_one_sweep_serves_all_methods_and_classes() -> None:
    net, count = pooled(), []
    net.register_forward_hook(lambda module, args, output: count.append(len(output)))
    x = images(1, 28)
    value("occlusion-correlation", wf.explain(net, x, 0))
    first = sum(count)
    value("occlusion-correlation", wf.explain(net, x, 3, method="gradient"))
    assert first > 169 and sum(count) - first < 10


def test_correlation_is_that_of_scipy_with_patches_averaged_by_hand() -> None:
    heat, falls = torch.rand(14, 20).round(decimals=1), torch.rand(5, 8).round(decimals=1)
    means = [float(heat[2 * i : 2 * i + 6, 2 * j : 2 * j + 6].double().mean()) for i in range(5) for j in range(8)]
    assert correlation(heat, falls, Patches(6, 2)) == pytest.approx(stats.spearmanr(means, falls.ravel()).statistic)
    assert spearman([1, 2, 2, 3], [1, 5, 5, 9]) == pytest.approx(1) and spearman([1, 1], [1, 2]) == 0


# -------------------------------------------------------------------------------------------- deletion, insertion


def sigmoid(value: float) -> float:
    return 1 / (1 + float(np.exp(-value)))


def test_deletion_on_four_pixels_by_hand() -> None:
    """The pixels add 3, 1, -2 and 0.5; the map takes 3, 0.5, 1, -2 away in this order."""
    net = Linear(torch.tensor([[[[3.0, 1.0], [-2.0, 0.5]]], [[[0.0] * 2] * 2]]))
    e = explained(net, torch.ones(1, 1, 2, 2), torch.tensor([[9.0, 2.0], [1.0, 4.0]]))
    levels = [sigmoid(v) for v in (2.5, -0.5, -1.0, -2.0, 0.0)]
    times = [4, 7, 7, 7, 4]  # of 29 points, k/28 of 4 pixels rounded
    curve = [level for level, n in zip(levels, times, strict=True) for _ in range(n)]
    assert deleted(e, 0)[0].tolist() == pytest.approx(curve)
    area = sum((a + b) / 2 / 28 for a, b in itertools.pairwise(curve))
    assert value("deletion", e) == pytest.approx(area)


def test_insertion_equals_a_loop() -> None:
    net, x, truth = linear(32)
    e = explained(net, x, truth)
    start = ndimage.gaussian_filter(x[0].double().numpy(), 5 / 7, mode="mirror", radius=1, axes=(1, 2))
    order = np.argsort(-truth.numpy().ravel())
    curve = []
    for step in range(29):
        seen = start.reshape(3, -1).copy()
        now = order[: round(step * 32 * 32 / 28)]
        seen[:, now] = x[0].reshape(3, -1).numpy()[:, now]
        curve.append(sigmoid((seen * net.weights[0].detach().double().numpy().reshape(3, -1)).sum()))
    assert inserted(e, 0)[0].tolist() == pytest.approx(curve, abs=1e-4)
    assert value("insertion", e) == pytest.approx(np.trapezoid(curve) / 28, abs=1e-4)


def test_the_blur_of_224_pixels_is_that_of_rise() -> None:
    x = torch.rand(3, 40, 30, dtype=torch.float64)
    want = ndimage.gaussian_filter(x.numpy(), 5, mode="mirror", radius=5, axes=(1, 2))
    np.testing.assert_allclose(blurred(x, 5, 5), want, atol=1e-7)


def test_equal_values_are_taken_in_a_random_order_that_is_fixed() -> None:
    heat = torch.zeros(20, 20)
    heat[3, 4] = 1
    ranks = ranked(heat)
    assert ranks[3, 4] == 0 and sorted(ranks.flatten().tolist()) == list(range(400))
    assert torch.equal(ranks, ranked(heat)) and abs(spearman(ranks.ravel(), torch.arange(400))) < 0.15


# -------------------------------------------------------------------------------------------- average drop


@pytest.mark.parametrize(("keep", "what"), [(0, "drop"), (1, "gain")])
def test_seen_through_the_map_by_hand(keep: int, what: str) -> None:
    net = Linear(torch.tensor([[[[2.0, -1.0]]], [[[0.0, 0.0]]]]))
    heat = torch.tensor([[5.0, 1.0]]) if keep else torch.tensor([[1.0, 5.0]])  # scaled to 1 and 0, or 0 and 1
    e = explained(net, torch.ones(1, 1, 1, 2), heat)
    before, after = sigmoid(1), sigmoid(2) if keep else sigmoid(-1)
    assert value("average-drop", e) == pytest.approx(max(0, before - after) / before)
    assert value("average-gain", e) == pytest.approx(max(0, after - before) / (1 - before))
    assert value("increase", e) == keep


# -------------------------------------------------------------------------------------------- ROAD


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("scattered", [True, False])
def test_imputation_equals_a_dense_solve(share: float, scattered: bool) -> None:
    height, width = 11, 14
    dice = np.random.default_rng(0)
    noise = dice.random((height, width))
    heat = noise if scattered else ndimage.gaussian_filter(noise, 3)
    gone = heat > np.quantile(heat, 1 - share)
    x = dice.standard_normal((2, height, width))
    system, known = np.eye(height * width), x.reshape(2, -1).T.copy()
    for i, j in np.argwhere(gone):
        near = {(i + a, j + b): 1 / 6 if a * b == 0 else 1 / 12 for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b}
        near = {(a, b): w for (a, b), w in near.items() if 0 <= a < height and 0 <= b < width}
        for (a, b), weight in near.items():
            system[i * width + j, a * width + b] -= weight / sum(near.values())
        known[i * width + j] = 0
    want = np.linalg.solve(system, known).T.reshape(x.shape)
    np.testing.assert_allclose(imputed(torch.from_numpy(x), torch.from_numpy(gone)), want, atol=1e-10)


def test_nothing_or_everything_imputed() -> None:
    x = torch.rand(3, 5, 6)
    assert torch.equal(imputed(x, torch.zeros(5, 6, dtype=torch.bool)), x)
    assert imputed(x, torch.ones(5, 6, dtype=torch.bool)).abs().max() == 0


def test_road_is_half_of_what_lies_between_the_curves() -> None:
    net, x, truth = linear()
    e = explained(net, x, truth)
    most, least = removed(e, 0)[:, 0].double()
    assert most.shape == (9,) and value("road", e) == pytest.approx(float((least - most).mean() / 2))
    gone = ranked(truth) < round(0.3 * 784)
    filled = imputed(x[0], gone)
    assert torch.equal(filled[:, ~gone], x[0][:, ~gone])
    # The noise of 0.01 is all that the curve differs by.
    assert float(most[2]) == pytest.approx(float(net(filled[None]).detach().softmax(1)[0, 0]), abs=0.05)


# -------------------------------------------------------------------------------------------- of all


@pytest.mark.parametrize("name", NAMES)
def test_every_metric(name: str) -> None:
    about, (net, x, truth) = METRICS[name].about, linear()
    low, high = about["bounds"]
    good, bad = (value(name, explained(net, x, heat)) for heat in (truth, -truth))
    assert low <= min(good, bad) and max(good, bad) <= high
    assert (good > bad) if about["better"] == "higher" else (good < bad), "the inverse of a true map is worse"
    assert value(name, explained(net, x, 7.5 * truth)) == pytest.approx(good, abs=1e-6), "scale says nothing"
    assert value(name, explained(net, x, truth)) == good, "equal at every run"


def test_networks_are_left_as_they_were_and_batches_equal_single_pictures() -> None:
    net = pooled().train()
    x = images(3)
    e = wf.explain(net, x, [0, 2])
    with untouched(net):
        together = {name: METRICS[name].run(e) for name in NAMES}
    for name, found in together.items():
        assert found.shape == (3, 2)
        alone = METRICS[name].run(wf.explain(net, x[1:2], [0, 2]))
        torch.testing.assert_close(found[1:2], alone, rtol=1e-3, atol=1e-4)


def test_maps_that_know_nothing_stand_in_for_those_of_an_explanation() -> None:
    e = wf.explain(pooled(), [images(1)[0], images(1, 20)[0]], [[0, 1]] * 2)
    for other, name in ((at_random(e), "random"), (at_the_centre(e), "centre")):
        assert other.method == name and [tuple(m.shape) for m in other.maps] == [(2, 16, 16), (2, 20, 20)]
        assert METRICS["deletion"].run(other).isfinite().all()
    heat = at_the_centre(e).maps[0][0]
    assert torch.equal(heat, heat.flip(0)) and torch.equal(heat, heat.T) and float(heat[8, 8]) == float(heat.max())
