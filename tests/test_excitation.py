"""Excitation backprop against its update rule written out with dense matrices, and by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import reference
from conftest import ask, images
from reference import Branches, Residual


def vgg() -> tuple[nn.Module, nn.Module]:
    body = nn.Sequential(
        nn.Conv2d(4, 5, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2, 2),
        nn.Conv2d(5, 6, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2, 2),
        nn.Flatten(), nn.Linear(24, 10), nn.ReLU(inplace=True), nn.Dropout(),
    )  # fmt: skip
    return body, nn.Linear(10, 4)


def googlenet() -> tuple[nn.Module, nn.Module]:
    inception = Branches(
        nn.Sequential(nn.Conv2d(4, 3, 1), nn.ReLU(inplace=True)),
        nn.Sequential(nn.Conv2d(4, 3, 1), nn.ReLU(), nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(3, 1), nn.Conv2d(4, 2, 1, padding=1), nn.ReLU()),
    )
    body = nn.Sequential(
        nn.LocalResponseNorm(3), inception, nn.MaxPool2d(2, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2)
    )
    return body, nn.Linear(9, 4)


def resnet() -> tuple[nn.Module, nn.Module]:
    def block(k: int, n: int, skip: nn.Module, stride: int) -> nn.Module:
        body = nn.Sequential(
            nn.Conv2d(k, n, 3, stride, 1, bias=False), nn.BatchNorm2d(n), nn.ReLU(inplace=True),
            nn.Conv2d(n, n, 3, 1, 1, bias=False), nn.BatchNorm2d(n),
        )  # fmt: skip
        return nn.Sequential(Residual(body, skip), nn.ReLU(inplace=True))

    down = nn.Sequential(nn.Conv2d(4, 6, 1, 2, bias=False), nn.BatchNorm2d(6))
    body = nn.Sequential(block(4, 4, nn.Identity(), 1), block(4, 6, down, 2), nn.AvgPool2d(4), nn.Flatten())
    return body, nn.Linear(6, 4)


def densenet() -> tuple[nn.Module, nn.Module]:
    def layer(k: int) -> nn.Module:
        return Branches(
            nn.Identity(), nn.Sequential(nn.BatchNorm2d(k), nn.ReLU(inplace=True), nn.Conv2d(k, 3, 3, 1, 1, bias=False))
        )

    body = nn.Sequential(
        layer(4), layer(7), nn.BatchNorm2d(10), nn.ReLU(), nn.Conv2d(10, 6, 1), nn.AvgPool2d(2, 2),
        nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip
    return body, nn.Linear(6, 4)


FAMILIES = {"vgg": vgg, "googlenet": googlenet, "resnet": resnet, "densenet": densenet}


class Cut(nn.Module):
    """A first layer that is explained, and the two parts above it: all but the classifier, and that."""

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True))
        self.body, self.head = body, head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.first(x)))


def build(family: str) -> tuple[Cut, Tensor]:
    """A network with lively channels, batch-norm statistics and shifts that are not the initial ones; its input."""
    net, x = Cut(*FAMILIES[family]()).double(), images(2, 8).double()
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.normal_(module.weight, mean=0.05, std=0.4)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.5)
    net.train()(torch.randn(8, 3, 8, 8).double())
    return net.eval(), x


# -------------------------------------------------------------------------------------------- the rule


@pytest.mark.parametrize("family", FAMILIES)
def test_equals_the_rule_on_dense_matrices(family: str) -> None:
    net, x = build(family)
    ours = ask("excitation", net, x, "first", [0, 3])
    assert float(ours.maps.abs().max()) > 0
    above = nn.Sequential(net.body, net.head)
    for b in range(2):
        a = reference.run(net.first, x[b])
        for t, c in enumerate([0, 3]):
            signal, lost = reference.mwp(above, a, 4, c)
            expected = signal.sum(0)
            size = float(expected.abs().max())
            torch.testing.assert_close(ours.maps[b, t], expected, rtol=1e-6, atol=1e-9 * size)
            assert float(ours.measures["lost"][b, t]) == pytest.approx(lost, rel=1e-5, abs=1e-5)
            assert float(expected.sum()) + lost == pytest.approx(1, abs=1e-6 * max(1, float(expected.abs().sum())))
            negative = float(-signal.clamp(max=0).sum())
            assert float(ours.measures["negative"][b, t]) == pytest.approx(negative, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_contrastive_equals_the_rule_on_dense_matrices(family: str) -> None:
    """P+ - P- injected below the classifier unclamped; clamped after the sum over channels."""
    net, x = build(family)
    ours = ask("c-mwp", net, x, "first", "all").maps
    for b in range(2):
        a = reference.run(net.first, x[b])
        for c in range(4):
            expected = reference.contrastive_mwp(net.body, net.head, a, 4, c)
            torch.testing.assert_close(ours[b, c], expected, rtol=1e-6, atol=1e-9 * max(1.0, float(expected.max())))
    assert float(ours.min()) >= 0 and float(ours.max()) > 0
    for c in range(1, 4):
        assert not torch.allclose(ours[:, 0], ours[:, c], atol=1e-3), "the classes differ"


def test_numbers_by_hand() -> None:
    """Two positions, two channels, two classes."""
    net = nn.Sequential(nn.Identity(), nn.Conv2d(2, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([[1.0, 2.0], [3.0, -1.0]])[..., None, None])
        net[1].bias.copy_(torch.tensor([100.0, 0.0]))  # takes no share
        net[4].weight.copy_(torch.tensor([[0.01, -1.0, 0.5, 0.0], [-0.01, 0.0, -0.5, 1.0]]))
    x = torch.tensor([[[[2.0, 1.0]], [[1.0, 0.0]]]])  # channel 0: 2, 1; channel 1: 1, 0
    # conv: channel 0 = 2+2+100, 1+0+100 = 104, 101; channel 1 = 6-1, 3 = 5, 3; flat h = 104, 101, 5, 3
    # class 0: W+ h = 1.04, 0, 2.5, 0 of 3.54. Channel 0 at position 0 shares 2:2 between x = 2 and 1; channel 1
    # at position 0 excites from channel 0 only. So position 0 takes all of it; nothing went to position 1.
    raw = ask("excitation", net, x, "0", [0, 1])
    torch.testing.assert_close(raw.maps[0, 0, 0], torch.tensor([1.0, 0.0]))
    # class 1: W+ h = 0, 0, 0, 3: all at position 1.
    torch.testing.assert_close(raw.maps[0, 1, 0], torch.tensor([0.0, 1.0]))
    # c-MWP of class 0: P- is by the negated row: 0, 101, 0, 0 of 101: all at position 1, so 1 - 0 and 0 - 1, clamped.
    # of class 1: P+ at position 1; P- of 1.04 and 2.5 of 3.54 at position 0.
    raw = ask("c-mwp", net, x, "0", [0, 1])
    torch.testing.assert_close(raw.maps[0, :, 0], torch.tensor([[1.0, 0.0], [0.0, 1.0]]))


def test_shares_and_losses_by_hand() -> None:
    """One excited output shares 1:3, one that nothing excites loses its quarter."""
    net = nn.Sequential(nn.Identity(), nn.Conv2d(1, 2, 1, bias=False), nn.AvgPool2d((1, 2)), nn.Flatten(),
                        nn.Linear(2, 1, bias=False))  # fmt: skip
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([1.0, -0.5])[:, None, None, None])
        net[4].weight.copy_(torch.tensor([[3.0, 2.0]]))
    x = torch.tensor([[[[1.0, 3.0]]]])  # conv: 1, 3 and -0.5, -1.5; average: 2 and -1; W+ h = 6 and -2 of 4
    raw = ask("excitation", net, x, "0", 0)
    torch.testing.assert_close(raw.maps[0, 0, 0], torch.tensor([1.5 * 0.25, 1.5 * 0.75]))
    assert float(raw.measures["lost"]) == pytest.approx(-0.5)  # the second channel's share, which is negative


# -------------------------------------------------------------------------------------------- probabilities


@pytest.mark.parametrize("layer", ["0", "2", "3", "6"])
def test_mass_stays_one_without_biases(layer: str) -> None:
    """Non-negative weights and no bias: nothing is lost, whatever the layer."""
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3, bias=False), nn.ReLU(),
        nn.Conv2d(5, 6, 3, padding=1, bias=False), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(54, 7),
    ).double()  # fmt: skip
    for p in net.parameters():
        p.data.abs_()
    raw = ask("excitation", net, images(2, 18).double(), layer, "all")
    torch.testing.assert_close(raw.maps.sum((2, 3)), torch.ones(2, 7).double(), rtol=0, atol=1e-5)
    assert float(raw.maps.min()) >= 0
    assert float(raw.measures["lost"].abs().max()) == float(raw.measures["negative"].max()) == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_map_and_lost_sum_to_one(family: str) -> None:
    net, x = build(family)
    raw = ask("excitation", net, x, "first", "all")
    scale = raw.maps.abs().sum((2, 3)).clamp(min=1)
    assert float(((raw.maps.sum((2, 3)) + raw.measures["lost"] - 1) / scale).abs().max()) < 1e-5


class Beside(nn.Module):
    """Adds a number, and a value that does not come from the layer that is explained."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other, self.fc = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc((self.one(x).relu() + self.other(x).relu() + 0.5).mean((2, 3)))


def test_what_goes_to_other_layers_is_not_in_the_map() -> None:
    """A number takes its share of a sum and so does a branch beside the layer: 1 less theirs is left."""
    net, x = Beside().double(), images(1, 4).double()
    net.fc.weight.data.abs_()
    raw = ask("excitation", net, x, "one+relu", 0)
    a, b = net.one(x[0]).relu(), net.other(x[0]).relu()
    h = (a + b + 0.5).mean((1, 2)) * net.fc.weight[0].clamp(min=0)[..., None, None].reshape(4)
    expected = (h / h.sum())[:, None, None] * a / (a + b + 0.5).sum((1, 2), keepdim=True)
    torch.testing.assert_close(raw.maps[0, 0], expected.sum(0).detach())


class Named(nn.Module):
    """Calls its functions by keyword, as some do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.conv2, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        f = nn.functional
        x = f.relu(input=self.conv(x))
        x = f.relu(input=f.conv2d(input=x, weight=self.conv2.weight, bias=self.conv2.bias))
        return f.linear(input=f.adaptive_avg_pool2d(input=x, output_size=1).flatten(1), weight=self.fc.weight)


def test_functions_called_by_keyword() -> None:
    net, x = Named().double(), images(1, 8).double()
    plain = nn.Sequential(net.conv2, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), net.fc)
    raw = ask("excitation", net, x, "conv+relu", 1)
    expected, _ = reference.mwp(plain, net.conv(x[0]).relu().detach(), 3, 1)
    torch.testing.assert_close(raw.maps[0, 0], expected.sum(0))


class InPlace(nn.Module):
    """Functions that work in place, whose results are not taken: what reads x later reads what they left."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.conv2, self.fc = nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 1, 1), nn.Linear(4, 3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        self.relu(x)
        y = self.conv2(x)
        y.relu_()
        y.add_(x)
        y += 0.0
        return self.fc(y.mean((2, 3)))


def test_functions_that_work_in_place() -> None:
    net, x = InPlace().double(), images(1, 8).double()
    body = nn.Sequential(nn.ReLU(), Residual(nn.Sequential(net.conv2, nn.ReLU()), nn.Identity()))
    above = nn.Sequential(body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), net.fc)
    raw = ask("excitation", net, x, "conv", 1)
    torch.testing.assert_close(raw.chosen.scores, net(x)[:, 1:2].detach())
    expected, _ = reference.mwp(above, net.conv(x[0]).detach(), 3, 1)
    torch.testing.assert_close(raw.maps[0, 0], expected.sum(0))


class TwoHeads(nn.Module):
    """A second classifier that runs last and is not asked."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc, self.other = nn.Conv2d(3, 4, 3), nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = self.conv(x).relu().mean((2, 3))
        return {"logits": self.fc(h), "other": self.other(h)}


def test_contrast_at_the_classifier_that_is_asked() -> None:
    net, x = TwoHeads().double(), images(1, 8).double()
    body = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    raw = ask("c-mwp", net, x, "conv+relu", 1)
    expected = reference.contrastive_mwp(body, net.fc, net.conv(x[0]).relu().detach(), 3, 1)
    torch.testing.assert_close(raw.maps[0, 0], expected)
