"""Weakly supervised segmentation: each piece of SEC against slow loops, hand-computed cases and planted truth."""

from __future__ import annotations

import math
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import wherefore as wf
from wherefore.datasets import VOID
from wherefore.segmenting import crf, losses, networks, seeds

# ------------------------------------------------------------------------------------------------ the CRF


def slow_mean_field(logits: Any, picture: Any, spacing: float, iterations: int) -> Any:
    """Loops in float64 over pairs of points, of logits ``(C, h, w)`` and a picture ``(3, h, w)``."""
    classes, height, width = logits.shape
    points = [(y, x) for y in range(height) for x in range(width)]
    n = len(points)
    kernels = []
    for uses_colour, deviation in ((True, 80.0), (False, 3.0)):
        kernel = [[0.0] * n for _ in range(n)]
        for i, (y, x) in enumerate(points):
            for j, (v, u) in enumerate(points):
                distance = ((y - v) ** 2 + (x - u) ** 2) * (spacing / deviation) ** 2
                if uses_colour:
                    distance += sum((float(picture[k, y, x]) - float(picture[k, v, u])) ** 2 for k in range(3)) / 13**2
                kernel[i][j] = math.exp(-distance / 2)
        sums = [sum(row) for row in kernel]
        kernels.append([[kernel[i][j] / math.sqrt(sums[i] * sums[j]) for j in range(n)] for i in range(n)])
    scores = [[float(logits[c, y, x]) for c in range(classes)] for y, x in points]

    def softmax(row: list[float]) -> list[float]:
        powers = [math.exp(v - max(row)) for v in row]
        return [v / sum(powers) for v in powers]

    q = [softmax(row) for row in scores]
    for _ in range(iterations):
        q = [
            softmax(
                [
                    scores[i][c] + sum((10 * kernels[0][i][j] + 3 * kernels[1][i][j]) * q[j][c] for j in range(n))
                    for c in range(classes)
                ]
            )
            for i in range(n)
        ]
    return np.array(q).T.reshape(classes, height, width)


def test_mean_field_is_the_slow_one() -> None:
    dice = np.random.default_rng(0)
    logits, pictures = dice.normal(size=(2, 3, 4, 5)) * 2, dice.integers(0, 256, (2, 3, 4, 5)) // 4
    found = crf.mean_field(torch.tensor(logits), torch.tensor(pictures), spacing=2.0, iterations=4)
    for i in range(2):
        np.testing.assert_allclose(found[i], slow_mean_field(logits[i], pictures[i], 2.0, 4), atol=2e-6)


def test_mean_field_follows_edges() -> None:
    """A wrong patch in one of two fields of one colour each is set right, whereas the fields stay apart."""
    pictures = torch.zeros(1, 3, 16, 16)
    pictures[..., 8:] = 200.0
    truth = (pictures[0, 0] > 100).long()
    logits = torch.stack([(1 - truth) * 2.0, truth * 2.0])[None]
    logits[:, :, 4:6, 3:5] = logits[:, :, 4:6, 3:5].flip(1)
    q = crf.mean_field(logits, pictures)
    assert torch.equal(q.argmax(1)[0], truth)
    torch.testing.assert_close(q.sum(1), torch.ones(1, 16, 16))
    assert crf.mean_field(logits, pictures, iterations=0).allclose(logits.softmax(1))


def test_mean_field_keeps_digits_and_batches() -> None:
    dice = torch.Generator().manual_seed(0)
    logits, pictures = torch.randn(3, 21, 12, 12, generator=dice), torch.rand(3, 3, 12, 12, generator=dice) * 255
    together = crf.mean_field(logits, pictures)
    for i in range(3):
        torch.testing.assert_close(together[i : i + 1], crf.mean_field(logits[i : i + 1], pictures[i : i + 1]))
    assert not crf.mean_field(logits.requires_grad_(), pictures).requires_grad


def test_refined_at_the_pictures_own_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    pixels = np.zeros((150, 131, 3), np.uint8)
    pixels[:, 70:] = 180
    coarse = torch.full((2, 6, 5), 0.3)  # the border of the prediction lies at 79 pixels
    coarse[0, :, :3], coarse[1, :, 3:] = 0.7, 0.7
    found, by = crf.refined(torch.stack([coarse, coarse.flip(0)]), Image.fromarray(pixels))
    assert by == "exact, reduced by 2" and found.shape == (2, 2, 150, 131)
    q = found[0]
    torch.testing.assert_close(found[1], q.flip(0))
    assert (q.argmax(0).numpy() == (pixels[..., 0] > 90)).mean() > 0.99
    assert (
        coarse.argmax(0).numpy().repeat(25, 0)[:, [min(x // 27, 4) for x in range(131)]] == (pixels[..., 0] > 90)
    ).mean() < 0.95


def test_small_pictures_are_refined_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydensecrf", None)
    dice = np.random.default_rng(0)
    p = torch.tensor(dice.dirichlet((1, 1, 1), (6, 7)).transpose(2, 0, 1), dtype=torch.float32)
    pixels = dice.integers(0, 255, (6, 7, 3)).astype(np.uint8)
    (q,), by = crf.refined(p[None], Image.fromarray(pixels), spacing=3.0)
    assert by == "exact, reduced by 1"
    slow = slow_mean_field(p.clamp(min=1e-5).log().numpy(), pixels.transpose(2, 0, 1), 3.0, 10)
    np.testing.assert_allclose(q, slow, atol=5e-6)


def test_pydensecrf_is_used_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in with its interface, which says what it was given."""
    told: dict[str, Any] = {}

    class DenseCRF2D:
        def __init__(self, width: int, height: int, classes: int) -> None:
            told["size"] = width, height, classes

        def setUnaryEnergy(self, unary: Any) -> None:
            told["unary"] = unary

        def addPairwiseGaussian(self, **given: Any) -> None:
            told["gaussian"] = given

        def addPairwiseBilateral(self, rgbim: Any, **given: Any) -> None:
            told["bilateral"], told["shape"] = given, rgbim.shape

        def inference(self, iterations: int) -> Any:
            told["iterations"] = iterations
            return np.exp(-told["unary"])

    package, module = ModuleType("pydensecrf"), ModuleType("pydensecrf.densecrf")
    module.DenseCRF2D = DenseCRF2D  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pydensecrf", package)
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", module)
    p = torch.rand(4, 5, 6).softmax(0)
    (q,), by = crf.refined(p[None], Image.new("RGB", (6, 5)), spacing=2.0)
    assert by == "pydensecrf" and told["size"] == (6, 5, 4) and told["shape"] == (5, 6, 3)
    assert told["gaussian"] == {"sxy": 1.5, "compat": 3.0} and told["iterations"] == 10
    assert told["bilateral"] == {"sxy": 40.0, "srgb": 13.0, "compat": 10.0}
    torch.testing.assert_close(q, p)


# ------------------------------------------------------------------------------------------------ losses


def batch(classes: int = 4, side: int = 3, count: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits in float64, seeds and which classes are present."""
    dice = torch.Generator().manual_seed(1)
    logits = torch.randn(count, classes, side, side, generator=dice, dtype=torch.float64) * 2
    marks = torch.randint(0, classes + 2, (count, side, side), generator=dice)
    marks[marks >= classes] = VOID
    return logits, marks.to(torch.uint8), torch.tensor([[True, False, True], [False, True, False]])


def test_probabilities_by_hand() -> None:
    p = losses.probabilities(torch.tensor([0.0, 100.0]).view(1, 2, 1, 1)).flatten().tolist()
    assert p == pytest.approx([1e-4 / 1.0002, 1.0001 / 1.0002])


def test_seed_loss_is_the_slow_one() -> None:
    logits, marks, _ = batch()
    p = losses.probabilities(logits)
    total = 0.0
    for i in range(2):
        cells = [(y, x) for y in range(3) for x in range(3) if marks[i, y, x] != VOID]
        total += -sum(math.log(p[i, int(marks[i, y, x]), y, x]) for y, x in cells) / len(cells)
    assert float(losses.seed_loss(p, marks)) == pytest.approx(total / 2)
    assert float(losses.seed_loss(p, torch.full_like(marks, VOID))) == 0.0


def test_expand_loss_is_the_slow_one() -> None:
    logits, _, present = batch()
    p = losses.probabilities(logits)

    def pooled(values: list[float], decay: float) -> float:
        ranked = sorted(values, reverse=True)
        weights = [decay**j for j in range(len(ranked))]
        return sum(w * v for w, v in zip(weights, ranked, strict=True)) / sum(weights)

    total = 0.0
    for i in range(2):
        maps = p[i].flatten(1).tolist()
        here = [c for c in range(3) if present[i, c]]
        gone = [c for c in range(3) if not present[i, c]]
        total -= sum(math.log(pooled(maps[1 + c], 0.7)) for c in here) / len(here)
        total -= sum(math.log(1 - max(maps[1 + c])) for c in gone) / len(gone)
        total -= math.log(pooled(maps[0], 0.9))
    assert float(losses.expand_loss(p, present, (0.7, 0.9))) == pytest.approx(total / 2)


def test_rank_pooling_lies_between_maximum_and_mean() -> None:
    values = torch.tensor([[1.0, 5.0, 3.0]])
    assert float(losses.rank_pooled(values, 0.0)) == 5.0
    assert float(losses.rank_pooled(values, 1.0)) == pytest.approx(3.0)
    assert float(losses.rank_pooled(values, 0.5)) == pytest.approx((5 + 1.5 + 0.25) / 1.75)


def test_expand_loss_of_all_or_no_classes_is_a_number() -> None:
    logits, _, _ = batch()
    p = losses.probabilities(logits)
    for present in (torch.zeros(2, 3, dtype=torch.bool), torch.ones(2, 3, dtype=torch.bool)):
        assert math.isfinite(losses.expand_loss(p, present))
    sure = losses.probabilities(torch.tensor([0.0, 1e4]).view(1, 2, 1, 1))
    assert math.isfinite(losses.expand_loss(sure, torch.zeros(1, 1, dtype=torch.bool)))


def test_constrain_loss_is_the_slow_one_and_moves_the_prediction_alone() -> None:
    logits, _, _ = batch()
    logits.requires_grad_()
    raw = torch.rand(2, 4, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).softmax(1)
    raw[:, 0] = 0.0
    q = raw.clone().requires_grad_()
    p = losses.probabilities(logits)
    known = p.detach()
    clipped = raw.clamp(min=1e-4)
    clipped = clipped / clipped.sum(1, keepdim=True)
    total = 0.0
    for i in range(2):
        for y in range(3):
            for x in range(3):
                total += sum(
                    float(clipped[i, c, y, x] * math.log(clipped[i, c, y, x] / known[i, c, y, x])) for c in range(4)
                )
    found = losses.constrain_loss(p, q)
    assert found.item() == pytest.approx(total / 18)
    found.backward()
    assert q.grad is None and logits.grad is not None and float(logits.grad.abs().sum()) > 0
    assert float(losses.constrain_loss(p.detach(), p.detach())) == pytest.approx(0, abs=1e-12)


def test_losses_have_the_gradients_that_differences_say() -> None:
    logits, marks, present = batch()
    logits.requires_grad_()
    q = torch.rand(2, 4, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).softmax(1)

    def total(x: torch.Tensor) -> torch.Tensor:
        p = losses.probabilities(x)
        return losses.seed_loss(p, marks) + losses.expand_loss(p, present) + losses.constrain_loss(p, q)

    assert torch.autograd.gradcheck(total, (logits,))


# ------------------------------------------------------------------------------------------------ seeds


def test_foreground_is_above_a_fifth_of_the_maximum() -> None:
    heat = np.array([[-3.0, 0.0, 1.9], [2.0, 2.1, 10.0]])
    assert seeds.foreground(heat).tolist() == [[False, False, False], [False, True, True]]
    assert not seeds.foreground(np.zeros((2, 2))).any()
    assert not seeds.foreground(np.full((2, 2), -1.0)).any()


def test_background_is_the_lowest_tenth() -> None:
    values = np.random.default_rng(0).random((41, 41))
    found = seeds.background(values)
    assert found.sum() == 168
    smooth = [
        [
            np.median([values[min(max(y + v, 0), 40), min(max(x + u, 0), 40)] for v in (-1, 0, 1) for u in (-1, 0, 1)])
            for x in range(41)
        ]
        for y in range(41)
    ]
    assert found[np.array(smooth) < np.sort(smooth, axis=None)[167]].all()
    assert seeds.background(np.zeros((41, 41))).sum() == 168


def test_the_smaller_thing_lies_on_top() -> None:
    large, small = np.zeros((3, 4), bool), np.zeros((3, 4), bool)
    large[:, :3], small[1, 2:], behind = True, True, np.zeros((3, 4), bool)
    behind[0] = True
    assert seeds.together({4: large, 9: small}, behind).tolist() == [
        [5, 5, 5, 0],
        [5, 5, 10, 10],
        [5, 5, 5, VOID],
    ]
    assert seeds.together({4: large, 9: small}, behind, yielding=[4]).tolist() == [
        [0, 0, 0, 0],
        [5, 5, 10, 10],
        [5, 5, 5, VOID],
    ]


def test_seeds_of_planted_maps() -> None:
    """A network whose channels are colours: its map of a class is where that colour is."""

    class Colours(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(nn.AvgPool2d(4), nn.Conv2d(3, 3, 1, bias=False), nn.ReLU())
            self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(3, 3, bias=False)
            with torch.no_grad():
                self.features[1].weight.copy_(torch.eye(3)[..., None, None])
                self.fc.weight.copy_(torch.eye(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.pool(self.features(x)).flatten(1))

    images = torch.zeros(3, 3, 32, 32)
    images[0, 0, 8:16, 8:16] = 1
    images[0, 2, 16:, 16:] = 1
    images[1, 1, :8] = 1
    present = np.array([[True, False, True], [False, True, False], [False, False, False]])
    for method in ("grad-cam", "cam"):
        why = wf.Explainer(Colours(), method, "features.2")
        found = [*seeds.class_maps(why, images, present, 8)]
        assert [sorted(each) for each in found] == [[0, 2], [1], []]
        assert np.array_equal(seeds.foreground(found[0][0]), images[0, 0, ::4, ::4].numpy() > 0)
        assert np.array_equal(seeds.foreground(found[0][2]), images[0, 2, ::4, ::4].numpy() > 0)
        assert np.array_equal(seeds.foreground(found[1][1]), images[1, 1, ::4, ::4].numpy() > 0)
        assert [*seeds.class_maps(why, images[2:], present[2:], 8)] == [{}]


def test_saliency_is_the_largest_gradient() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 5)).eval()
    images = torch.randn(2, 3, 8, 8)
    middle = net[0](images).detach().requires_grad_()
    net[1:](middle).sum().backward()
    assert middle.grad is not None
    np.testing.assert_allclose(seeds.saliency(net, "0", images), middle.grad.abs().amax(1), atol=1e-6)


def test_tallies_by_hand() -> None:
    marks = np.array([[1, 1, 2, VOID], [0, 0, VOID, 0]])
    truth = np.array([[1, 2, 2, 2], [0, 1, 0, 255]])
    found = seeds.tallies(marks, truth)
    assert found["foreground"] == (2, 3, 5) and found["background"] == (1, 2, 2)
    assert seeds.unseeded(marks, np.array([True, True, True])) == 1
    assert seeds.unseeded(marks, np.array([True, False, False])) == 0
    assert seeds.precision([found["foreground"], found["foreground"]]) == pytest.approx(2 / 3)
    assert seeds.recall([found["background"]]) == 0.5
    assert math.isnan(seeds.precision([(0, 0, 4)])) and math.isnan(seeds.recall([(0, 3, 0)]))


# ------------------------------------------------------------------------------------------------ networks


def weights(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def conv_weights(sides: list[tuple[int, int]], kernel: int = 3) -> int:
    return sum(a * b * kernel**2 + b for a, b in sides)


VGG16 = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256), (256, 512), *[(512, 512)] * 5]


def test_parameters_are_the_papers() -> None:
    trunk = conv_weights(VGG16)
    assert trunk == 14_714_688
    with torch.device("meta"):
        large_fov, cam, background = (
            kind(networks.PAPER, n)
            for kind, n in ((networks.LargeFov, 21), (networks.CamNet, 20), (networks.BackgroundNet, 20))
        )
    head = conv_weights([(512, 1024)]) + conv_weights([(1024, 1024), (1024, 21)], 1)
    assert weights(large_fov) == trunk + head == 20_505_429  # DeepLab's 20.5 million
    assert weights(cam) == trunk + conv_weights([(512, 1024), (1024, 1024)]) + 1024 * 20
    assert weights(background) == trunk + conv_weights([(512 * 11 * 11, 1024), (1024, 1024), (1024, 20)], 1)
    assert networks.PAPER.grid == 41


def test_large_fov_is_deeplabs() -> None:
    with torch.device("meta"):
        net = networks.LargeFov(networks.PAPER, 21)
    assert [(p.kernel_size, p.stride, p.padding) for p in net.modules() if isinstance(p, nn.MaxPool2d)] == [
        (3, stride, 1) for stride in (2, 2, 2, 1, 1)
    ]
    convs = [m for m in net.features if isinstance(m, nn.Conv2d)]
    assert [m.dilation for m in convs] == [(1, 1)] * 10 + [(2, 2)] * 3
    assert (net.fc6[0].dilation, net.fc6[0].padding, net.fc6[0].kernel_size) == ((12, 12), (12, 12), (3, 3))
    assert net(torch.empty(2, 3, 321, 321, device="meta")).shape == (2, 21, 41, 41)
    cam = networks.CamNet(networks.PAPER, 20).to("meta")
    assert sum(isinstance(m, nn.MaxPool2d) for m in cam.modules()) == 3
    assert cam.extra(cam.features(torch.empty(1, 3, 321, 321, device="meta"))).shape == (1, 1024, 41, 41)


@pytest.mark.parametrize("kind", [networks.LargeFov, networks.CamNet, networks.BackgroundNet])
def test_networks_of_scenes_begin_with_the_shipped_convolutions(kind: Any) -> None:
    start = wf.load("scenes:vgg").net
    net = networks.begun(kind(networks.SMALL, 20), start).eval()
    x = torch.randn(1, 3, 96, 96)
    ours = net.features[:7](x)
    assert ours.shape == (1, 32, 48, 48)
    mine = [m for m in net.features if isinstance(m, nn.Conv2d)]
    theirs = [m for m in start.features if isinstance(m, nn.Conv2d)]
    assert len(mine) == 6 and all(torch.equal(a.weight, b.weight) for a, b in zip(mine, theirs, strict=True))
    expected = (1, 20, 24, 24) if kind is networks.LargeFov else (1, 20)
    assert net(x).shape == expected


def test_fc6_and_fc7_are_thinned() -> None:
    class Start(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = networks.stages(networks.PAPER, (2,) * 5)
            self.classifier = nn.Sequential(nn.Linear(25088, 4096), nn.Linear(4096, 4096), nn.Linear(4096, 20))

    start, net = Start(), networks.LargeFov(networks.PAPER, 21)
    before = net.fc8.weight.detach().clone()
    networks.begun(net, start)
    full = start.classifier[0].weight
    for out, channel, row, column in ((0, 0, 0, 0), (3, 17, 1, 2), (1023, 511, 2, 2)):
        assert net.fc6[0].weight[out, channel, row, column] == full[4 * out, channel * 49 + 3 * row * 7 + 3 * column]
    assert net.fc7[0].weight[5, 9, 0, 0] == start.classifier[1].weight[20, 36]
    assert net.fc7[0].bias[5] == start.classifier[1].bias[20]
    assert torch.equal(net.fc8.weight, before)
