"""Traps: maps of another input, memories that mislead, targets that cancel or are not reached."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import wherefore as wf
from conftest import images, pooled, untouched
from wherefore.errors import Error


def features(width: int = 6) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU())


class Siamese(nn.Module):
    """One network for two pictures, or two networks: the head reads both."""

    def __init__(self, shared: bool) -> None:
        super().__init__()
        self.one = features()
        self.other = self.one if shared else features()
        self.fc = nn.Linear(12, 3)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.fc(torch.cat([self.one(a).mean((2, 3)), self.other(b).mean((2, 3))], 1))


@pytest.mark.parametrize("shared", [False, True])
def test_the_map_is_of_the_input_that_is_explained(shared: bool) -> None:
    """Other pictures in its place change the map; other pictures beside it change nothing of it."""
    net, (a, b, c) = Siamese(shared).eval(), torch.rand(3, 2, 3, 10, 10)
    for first in ("a", "b"):
        maps = wf.explain(net, wf.Inputs(a=a, b=b, main=first), "all").maps
        instead = {"a": a, "b": b} | {first: c}
        beside = {"a": a, "b": b} | {"b" if first == "a" else "a": c}
        assert not torch.allclose(maps, wf.explain(net, wf.Inputs(**instead, main=first), "all").maps)
        torch.testing.assert_close(maps, wf.explain(net, wf.Inputs(**beside, main=first), "all").maps)
    if not shared:
        with pytest.raises(Error, match="is not computed from the input that is explained"):
            wf.explain(net, wf.Inputs(a, b), layer="other")


class Two(nn.Module):
    """Two branches with heads of their own: classes 0 and 1 are read from one, 2 from the other."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b = features(), features(6)[2:], features(6)[2:]
        self.fa, self.fb = nn.Linear(6, 2), nn.Linear(6, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        seen = self.stem(x)
        one, two = self.fa(self.a(seen).mean((2, 3))), self.fb(self.b(seen).mean((2, 3)))
        return {"logits": torch.cat([one, two], 1), "one": one, "two": two}


@pytest.mark.parametrize("order", [[0, 2, 1], [2, 0, 2]])
def test_classes_that_are_read_from_different_places(order: list[int]) -> None:
    """Whatever was explained before: each at its own branch, never an empty map of another's."""
    net, x = Two().eval(), images(2)
    for target in order:
        e = wf.explain(net, x, target, method="hires-cam")
        assert e.layer == ("b" if target == 2 else "a") and float(e.maps.abs().max()) > 0
    with pytest.raises(Error, match=r"does not reach the target 'class 2': use 'b'|does not depend on layer 'a'"):
        wf.explain(net, x, 2, layer="a", method="hires-cam")
    with pytest.raises(Error, match="explain it by itself"):
        wf.explain(net, x, [0, 2, 1], method="hires-cam")


def test_each_part_of_an_output_has_its_own_layer() -> None:
    net, x = Two().eval(), images(2)
    assert [wf.explain(net, x, 0, output=part).layer for part in ("one", "two", "one")] == ["a", "b", "a"]


def test_targets_that_cancel_in_sum() -> None:
    one = nn.Sequential(features(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 1)).eval()
    model, x = wf.Model(one, ["no", "yes"]), images(3)
    assert wf.explain(model, x, "all").maps.shape[:2] == (3, 2)
    both = wf.explain(pooled(), x, [wf.Difference(0, 1), wf.Difference(1, 0)])
    assert float(both.maps[:, :2].abs().max()) > 0


def test_flips_are_for_classes_of_pictures() -> None:
    net, x = nn.Sequential(features(), nn.Conv2d(6, 4, 3, padding=1)).eval(), images(2)
    for target in (None, wf.Pixels(torch.eye(16), 1)):
        with pytest.raises(Error, match="flips mirrors pictures whose classes are explained"):
            wf.explain(net, x, target, flips=True)


def test_a_question_of_another_length() -> None:
    """Text tokens stand before the patches: their number moves the grid, and no memory may keep it where it was."""

    class Joint(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.patches, self.norm = nn.Embedding(9, 8), nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8)
            self.fc = nn.Linear(8, 3)

        def forward(self, pixel_values: Tensor, input_ids: Tensor) -> Tensor:
            seen = self.patches(pixel_values).flatten(2).transpose(1, 2)
            return self.fc(self.norm(torch.cat([self.words(input_ids), seen], 1)).mean(1))

    net, x = Joint().eval(), images(2, 32)
    for length in (3, 7, 3):
        e = wf.explain(net, {"pixel_values": x, "input_ids": torch.ones(2, length, dtype=torch.long)}, 1)
        ids = torch.ones(2, length, dtype=torch.long)
        with wf.Capture(net, "norm") as seen:
            score = seen(x, ids)[:, 1].sum()
            (gradient,) = torch.autograd.grad(score, seen.leaf)
            alpha = gradient[:, length:].mean(1)
            expected = (seen.activations[:, length:] * alpha[:, None]).sum(2).relu().unflatten(1, (8, 8))
        torch.testing.assert_close(e.maps[:, 0], expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("method", ["grad-cam", "occlusion", "ablation-cam"])
def test_a_recurrent_state_has_its_batch_second(method: str) -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cnn, self.rnn, self.fc = features(), nn.LSTM(6, 5, batch_first=True), nn.Linear(5, 4)

        def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> Tensor:
            return self.fc(self.rnn(self.cnn(x).mean((2, 3))[:, None], state)[0][:, -1])

    net, x, state = Recurrent().eval(), images(3), (torch.randn(1, 3, 5), torch.randn(1, 3, 5))
    with untouched(net):
        together = wf.explain(net, wf.Inputs(x, state), "all", method=method).maps
    alone = [
        wf.explain(net, wf.Inputs(x[i : i + 1], tuple(s[:, i : i + 1] for s in state)), "all", method=method).maps
        for i in range(3)
    ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-6)


def test_what_is_shared_stays_whole_however_long_it_is() -> None:
    class Keys(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cnn = features()

        def forward(self, x: Tensor, keys: Tensor) -> Tensor:
            return (self.cnn(x).mean((2, 3)) @ keys.T).softmax(1) @ keys

    net, x, keys = Keys().eval(), images(2), torch.randn(2, 6)
    model = wf.Model(net, inputs={"keys": keys})
    alone = torch.cat([wf.explain(model, x[i : i + 1], "all", method="occlusion").maps for i in range(2)])
    torch.testing.assert_close(wf.explain(model, x, "all", method="occlusion").maps, alone, rtol=1e-4, atol=1e-6)
    given = wf.explain(net, wf.Inputs(x, keys, shared=[1]), "all", method="occlusion", batch_size=1)
    torch.testing.assert_close(given.maps, alone, rtol=1e-4, atol=1e-6)


def test_targets_of_each_image_go_with_their_pieces() -> None:
    net, x = nn.Sequential(features(), nn.Conv2d(6, 4, 3, padding=1)).eval(), images(11)
    masks = torch.rand(11, 16, 16) > 0.5
    e = wf.explain(net, x, wf.Pixels(masks, 1), layer="0")
    last = wf.explain(net, x[10:], wf.Pixels(masks[10], 1), layer="0")
    torch.testing.assert_close(e.maps[10:], last.maps, rtol=1e-4, atol=1e-7)
    classifier, others = pooled(), torch.randn(11, 5)
    expected = F.cosine_similarity(wf.embed(classifier, x), others)
    torch.testing.assert_close(wf.explain(classifier, x, wf.Similarity(others)).scores[:, 0], expected)
    for wrong in (wf.Pixels(masks[:4], 1), wf.Similarity(others[:4])):
        with pytest.raises(Error, match="do not fit 11 images"):
            wf.explain(net, x, wrong, layer="0")


def test_scores_beside_features_in_a_tuple() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = pooled(classes=3)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.net.features(x).mean((2, 3)), self.net(x)

    e = wf.explain(wf.Model(Pair().eval(), ["x", "y", "z"]), images(2), "all")
    assert e.targets[0] == ["x", "y", "z"]


def test_an_error_of_the_targets_own_is_no_lack_of_inputs() -> None:
    class Optional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = pooled()

        def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
            return self.net(x)

    with pytest.raises(TypeError, match="NoneType"):
        wf.explain(Optional().eval(), images(2), lambda output: None + output)


def test_a_function_that_knows_the_batch_among_others() -> None:
    net, x, labels = pooled(), images(3), torch.tensor([1, 4, 0])
    e = wf.explain(net, x, [lambda output: output[torch.arange(3), labels], 2])
    torch.testing.assert_close(e.maps[:, :1], wf.explain(net, x, labels).maps, rtol=1e-4, atol=1e-7)


def test_a_head_at_zero_is_not_traced_again_and_again() -> None:
    net, x = pooled(), images(2)
    nn.init.zeros_(net.fc.weight)
    wf.explain(net, x, 1)
    passes: list[int] = []
    handle = net.fc.register_forward_hook(lambda *_: passes.append(1))
    for _ in range(3):
        wf.explain(net, x, 1)
    handle.remove()
    assert len(passes) == 3


def test_the_image_without_a_box_is_named() -> None:
    with pytest.raises(Error, match=r"image 1: the detector reports no box of class 0"):
        wf.explain(Sees().eval(), images(3), wf.Box(label=0))


class Sees(nn.Module):
    """A detector that sees class 0 in bright pictures alone."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        seen = self.conv(x).relu().mean((1, 2, 3))
        dim = images(3)[1].mean()
        boxes = torch.tensor([[1.0, 1, 5, 5]])
        labels = [1 if torch.isclose(each.mean(), dim) else 0 for each in x]
        return [
            {"boxes": boxes, "scores": score[None], "labels": torch.tensor([label])}
            for score, label in zip(seen, labels, strict=True)
        ]
