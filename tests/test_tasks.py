"""Targets of networks that do not classify, against values worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import wherefore as wf
from conftest import images, pooled, untouched
from wherefore.drawing import outlined
from wherefore.errors import Error
from wherefore.outputs import Detections, detections, overlaps
from wherefore.targets import choose

# One picture of 2x3 places and 3 classes: class 0 wins at two places, 1 at one, 2 at three.
PLACES = torch.tensor(
    [[[[5.0, 0, 0], [7, 0, 0]], [[0.0, 3, 0], [0, 0, 0]], [[1.0, 1, 2], [0, 4, 9]]]], requires_grad=True
)


# -------------------------------------------------------------------------------------------- segmentation


def test_a_class_of_a_segmentation_is_its_mean_where_it_is_the_highest() -> None:
    found = choose([0, 1, 2], PLACES)
    assert found.names == [["class 0", "class 1", "class 2"]]
    torch.testing.assert_close(found.scores, torch.tensor([[(5 + 7) / 2, 3.0, (2 + 4 + 9) / 3]]))
    assert found.classes.tolist() == [[-1, -1, -1]] and bool(found.probabilities.isnan().all())


def test_the_class_with_most_pixels_is_explained_and_never_the_background() -> None:
    assert choose(None, PLACES).names == [["class 2"]]
    assert choose(None, PLACES, ["cat", "dog", "background"]).names == [["cat"]]
    assert choose("top2", PLACES, ["__background__", "dog", "cow"]).names == [["cow", "dog"]]
    assert choose(wf.Pixels(), PLACES, ["cat", "dog", "background"]).names == [["cat"]]


def test_a_class_that_wins_nowhere_is_its_mean_over_all_places() -> None:
    places = PLACES.detach().clone()
    places[0, 1, 0, 1] = -6
    found = choose(1, places)
    torch.testing.assert_close(found.scores, torch.tensor([[-1.0]]))
    assert found.names == [["class 1 (highest nowhere: its mean)"]]
    assert choose("top3", places).names == [["class 2", "class 0"]]  # what is there
    with pytest.raises(Error, match="nothing but background"):
        choose(None, torch.tensor([[[[5.0, 5.0]], [[0.0, 1.0]]]]), ["background", "cat"])


def test_a_region_and_what_fills_it() -> None:
    region = torch.tensor([[True, True, False], [False, False, False]])
    torch.testing.assert_close(choose(wf.Pixels(region, 2), PLACES).scores, torch.tensor([[1.0]]))
    assert choose(wf.Pixels(region[None], None), PLACES).names == [["class 0"]]  # class 0 and 1: the first of the two
    large = torch.zeros(20, 30, dtype=torch.bool)  # of another resolution: 10 pixels for a place
    large[12:14, 21] = large[3, 4] = True  # two in the last place, one in the first
    expected = (2 * PLACES[0, 2, 1, 2] + PLACES[0, 2, 0, 0]) / 3
    torch.testing.assert_close(choose(wf.Pixels(large.numpy(), 2), PLACES).scores[0, 0], expected)


def test_the_region_stays_when_the_output_changes() -> None:
    """An occluded picture's score is read where the class was the highest in the picture itself, copy by copy."""
    found = choose([0, 2], PLACES)
    other = torch.cat([PLACES.detach() * 2, torch.zeros_like(PLACES)])
    torch.testing.assert_close(found.follow(other), torch.cat([found.scores * 2, torch.zeros(1, 2)]))


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (wf.Pixels(torch.zeros(2, 3), 0), "the mask is empty"),
        (wf.Pixels(torch.ones(2, 2, 3), 0), "fits no batch of 1"),
        (wf.Pixels(None, 7), "class 7 is out of range"),
        (wf.Pixels(None, "cow"), "no class names"),
        (wf.Box(), "Box explains detectors"),
    ],
)
def test_regions_that_cannot_be(target: Any, words: str) -> None:
    with pytest.raises(Error, match=words):
        choose(target, PLACES)


def test_pixels_need_places() -> None:
    with pytest.raises(Error, match="Pixels explains networks that give every pixel class scores"):
        choose(wf.Pixels(), torch.zeros(2, 5))


# -------------------------------------------------------------------------------------------- detection


def seen(*rows: tuple[tuple[float, ...], float, int]) -> dict[str, Tensor]:
    boxes, scores, labels = zip(*rows, strict=True)
    return {"boxes": torch.tensor(boxes), "scores": torch.tensor(scores), "labels": torch.tensor(labels)}


ONE = seen(((0, 0, 10, 10), 0.5, 1), ((20, 20, 40, 40), 0.9, 2), ((50, 0, 60, 10), 0.7, 1))
TWO = seen(((1, 1, 11, 11), 0.2, 1), ((0, 0, 10, 10), 0.3, 2))


def test_boxes_by_rank_class_and_place() -> None:
    names = ["", "cat", "dog"]
    assert choose(None, [ONE, TWO], names).names == [["dog"], ["dog"]]
    torch.testing.assert_close(choose(None, [ONE, TWO]).scores, torch.tensor([[0.9], [0.3]]))
    torch.testing.assert_close(choose("cat", [ONE, TWO], names).scores, torch.tensor([[0.7], [0.2]]))
    torch.testing.assert_close(choose("top2", [ONE, TWO]).scores, torch.tensor([[0.9, 0.7], [0.3, 0.2]]))
    torch.testing.assert_close(choose(wf.Box(1, "cat"), [ONE], names).scores, torch.tensor([[0.5]]))
    torch.testing.assert_close(choose(wf.Box((0, 0, 9, 9)), [ONE]).scores, torch.tensor([[0.5]]))
    torch.testing.assert_close(choose(["cat", "dog"], [ONE], names).scores, torch.tensor([[0.7, 0.9]]))


def test_a_box_is_followed_by_place_and_class() -> None:
    """In the output for a covered picture: the box of its class that covers the place best, not the highest."""
    found = choose(wf.Box(label=1), [ONE])  # at 50, 0
    near = seen(((52, 0, 62, 10), 0.1, 1), ((50, 0, 60, 10), 0.8, 2), ((0, 0, 10, 10), 0.9, 1))
    gone = seen(((0, 0, 10, 10), 0.9, 1))
    torch.testing.assert_close(found.follow([near, gone]), torch.tensor([[0.1], [0.0]]))


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (wf.Box(3), "the detector reports no box number 3, but only 3"),
        (wf.Box(label=5), "no box of class 5 number 0, but none"),
        (wf.Box((100, 100, 110, 110)), "reports no box at"),
        (wf.Box((1, 2, 3)), "a rank or x0, y0, x1, y1"),
        ("all", "says no box of a detector"),
    ],
)
def test_boxes_that_are_not_there(target: Any, words: str) -> None:
    with pytest.raises(Error, match=words):
        choose(target, [ONE])


def test_overlaps_by_hand() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [5, 5, 15, 15], [20, 20, 30, 30]])
    torch.testing.assert_close(overlaps(boxes[0], boxes), torch.tensor([1.0, 25 / 175, 0.0]))


def test_detr_gives_queries_and_a_class_for_nothing() -> None:
    output = {
        "logits": torch.tensor([[[5.0, 3.0, 9.0], [4.0, 2.0, 0.0]]]),  # two queries, two classes, nothing
        "pred_boxes": torch.tensor([[[0.5, 0.5, 0.2, 0.4], [0.2, 0.2, 0.2, 0.2]]]),
    }
    found = detections(output)
    assert found is not None and found[0].labels.tolist() == [0, 0]
    assert found[0].scores.tolist() == [4.0, 5.0]  # the first query's is nothing, likely
    kin = detections(output, ["cat", "dog", "cow"])  # as many classes as there are names: none is nothing
    assert kin is not None and kin[0].scores.tolist() == [9.0, 4.0] and kin[0].labels.tolist() == [2, 0]
    torch.testing.assert_close(found[0].boxes, torch.tensor([[0.1, 0.1, 0.3, 0.3], [0.4, 0.3, 0.6, 0.7]]))


@pytest.mark.parametrize("older", [False, True])
def test_a_yolo_gives_one_tensor(older: bool) -> None:
    boxes = torch.tensor([[50.0, 60, 20, 10], [10, 10, 4, 4]] + [[5.0, 5, 1, 1]] * 18)
    scores = torch.zeros(20, 3)
    scores[0, 2], scores[1, 0] = 0.8, 0.6
    if older:  # a column that says "there is an object", and the boxes row by row
        output: Any = torch.cat([boxes, torch.full((20, 1), 0.5), scores], 1)[None]
        expected = [0.4, 0.3]
    else:
        output, expected = (torch.cat([boxes, scores], 1).T[None], [torch.zeros(1, 7, 4, 4)]), [0.8, 0.6]
    found = detections(output)
    assert found is not None and isinstance(found[0], Detections)
    torch.testing.assert_close(found[0].scores[:2], torch.tensor(expected))
    assert found[0].labels[:2].tolist() == [2, 0]
    torch.testing.assert_close(found[0].boxes[:2], torch.tensor([[40.0, 55, 60, 65], [8, 8, 12, 12]]))


def test_scores_of_words_are_no_boxes() -> None:
    assert detections(torch.randn(1, 40, 9)) is None


# -------------------------------------------------------------------------------------------- embeddings, policies


def test_a_padded_input_is_placed_where_it_lies() -> None:
    """torchvision's detectors pad to a multiple of 32 on the right and below: the grid covers that too."""
    from torchvision.models.detection.transform import GeneralizedRCNNTransform

    class Padding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.transform = GeneralizedRCNNTransform(48, 4096, [0.0] * 3, [1.0] * 3)  # 40x60 becomes 48x72, then 64x96
            self.conv, self.fc = nn.Conv2d(3, 2, 1), nn.Linear(2, 2, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            seen, _ = self.transform(list(x))
            return self.fc(self.conv(seen.tensors).relu().mean((2, 3)))

    net = Padding().eval()
    nn.init.constant_(net.conv.weight, 1.0)
    nn.init.zeros_(net.conv.bias)
    nn.init.ones_(net.fc.weight)
    x = torch.zeros(1, 3, 40, 60)
    x[..., 30:34, 50:54] = 1  # the evidence
    e = wf.explain(net, x, 0)
    assert e.maps.shape == (1, 1, 64, 96) and e.filled == [(48 / 64, 72 / 96)]
    assert e.boxes(0.5)[0, 0].tolist() == [50, 30, 53, 33]
    assert e.heatmaps().shape == (1, 1, 40, 60) and float(e.heatmaps()[..., :28, :].max()) == 0
    assert wf.explain(net, x, 0, method="gradient").filled == [(1.0, 1.0)]
    net.transform.min_size = (48, 96, 144)  # in training it draws one of these
    assert {wf.explain(net.train(), x, 0).filled[0] for _ in range(6)} == {(144 / 160, 216 / 224)}


def test_similarity_is_a_cosine() -> None:
    own, other = torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([4.0, 3.0])
    torch.testing.assert_close(choose(wf.Similarity(other), own).scores, torch.tensor([[24 / 25], [4 / 5]]))
    pairs = choose(wf.Similarity(torch.stack([other, own[1]])), {"image_embeds": own, "text": own * 0})
    torch.testing.assert_close(pairs.scores, torch.tensor([[24 / 25], [1.0]]))
    twice = {"image_embeds": own.repeat(2, 1)}
    torch.testing.assert_close(pairs.follow(twice), torch.tensor([[24 / 25], [1.0]]).repeat(2, 1))
    with pytest.raises(Error, match="cannot be compared"):
        choose(wf.Similarity(torch.ones(3)), own)


def test_similarity_to_another_picture() -> None:
    """A picture is most similar to itself; not the first, for at its highest a similarity has no gradient."""
    net, x = pooled(), images(10)
    for given in (x, list(x)):
        torch.testing.assert_close(wf.embed(net, given), net(x).detach(), rtol=1e-4, atol=1e-6)
    features = wf.Model(net.features.eval(), output=lambda output: output.mean((2, 3)))
    e = wf.explain(features, x, wf.Similarity(wf.embed(features, x[4:5])))
    assert int(e.scores.argmax()) == 4 and float(e.scores[4, 0]) == pytest.approx(1, abs=1e-5)
    assert e.maps.shape == (10, 1, 8, 8)


def test_an_action_is_the_logarithm_of_its_probability() -> None:
    values = torch.tensor([[0.0, math.log(3.0)], [2.0, 2.0]])
    found = choose([wf.Action(0), wf.Action()], values)
    torch.testing.assert_close(
        found.scores, torch.tensor([[math.log(1 / 4), math.log(3 / 4)], [math.log(1 / 2), math.log(1 / 2)]])
    )
    assert found.names[0] == ["action 0", "action 1"]
    assert choose(wf.Action("left"), values, ["left", "right"]).names == [["left"], ["left"]]


# -------------------------------------------------------------------------------------------- other heads


def test_one_score_serves_two_classes() -> None:
    """What speaks for the second of two classes speaks against the first; the probabilities are sigmoids."""
    score = torch.tensor([[2.0], [-1.0]])
    found = choose(["no", "yes"], score, ["no", "yes"])
    torch.testing.assert_close(found.scores, torch.tensor([[-2.0, 2.0], [1.0, -1.0]]))
    p = torch.tensor([2.0, -1.0]).sigmoid()
    torch.testing.assert_close(found.probabilities, torch.stack([1 - p, p], 1))
    assert choose(None, score, ["no", "yes"]).names == [["yes"], ["no"]]


def test_regression() -> None:
    for output in (torch.tensor([[2.0], [-1.0]]), torch.tensor([2.0, -1.0])):
        found = choose(None, output)
        assert found.names == [["output"], ["output"]] and found.scores.tolist() == [[2.0], [-1.0]]


def test_classes_that_do_not_exclude_each_other() -> None:
    values = torch.tensor([[2.0, 1.0, -1.0]])
    torch.testing.assert_close(choose("top2", values, multilabel=True).probabilities, values[:, :2].sigmoid())


@pytest.mark.parametrize("which", ["b", 1, lambda output: output["b"]])
def test_which_part_of_the_output(which: Any) -> None:
    output: Any = {"a": torch.zeros(2, 3), "b": torch.eye(2)} if which != 1 else (torch.zeros(2, 3), torch.eye(2))
    assert choose(None, output, which=which).classes.tolist() == [[0], [1]]


def test_a_part_that_is_not_there() -> None:
    with pytest.raises(Error, match="the output has no part 'c': there is a, b"):
        choose(None, {"a": torch.zeros(2, 3), "b": torch.eye(2)}, which="c")
    with pytest.raises(Error, match=r"returns a dict of a, b, not class scores.*output="):
        choose(None, {"a": torch.zeros(2, 3), "b": torch.eye(2)})


def test_what_was_asked_about_is_outlined() -> None:
    """A box in pixels of the input, one in shares of it, and a region: white lines where they lie in the picture."""
    from PIL import Image

    picture = Image.new("RGB", (200, 100), (90, 90, 90))
    region = (50.0, 0.0, 150.0, 100.0)  # the network saw the middle
    half = torch.zeros(10, 10)
    half[:, 5:] = 1
    for mark, box in ((torch.tensor([0.1, 0.2, 0.6, 0.7]), (60, 20, 110, 70)), (half, (100, 0, 150, 100))):
        white = np.asarray(outlined(picture, mark, region)).min(2) == 255
        rows, columns = white.any(1).nonzero()[0], white.any(0).nonzero()[0]
        found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert all(abs(a - b) <= 3 for a, b in zip(found, box, strict=True)), found
        assert not white[(box[1] + box[3]) // 2, (box[0] + box[2]) // 2]
    found = choose([wf.Box(label=2), lambda output: output[0]["scores"][:1]], [ONE])
    assert found.marks[0].where.tolist() == [[20, 20, 40, 40]] and found.marks[1] is None
    e = wf.explain(Segmenter().eval(), images(2, 32), wf.Pixels(half, 1))
    model = wf.Model(Reports().eval(), preprocess=wf.Preprocess(resize=None, crop=None, mean=(0,) * 3, std=(1,) * 3))
    boxes = wf.explain(model, Image.new("RGB", (50, 40), "teal"), wf.Box(0))
    assert boxes.report(0)["targets"][0]["asked"] == [20, 20, 40, 40]
    assert e.marks[1][0].shape == (32, 32) and e.overlay()[0].size[0] == 32


class Reports(nn.Module):
    """A detector that reports what it was made to, in pixels of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        seen = self.conv(x).relu().mean((1, 2, 3))
        return [{**ONE, "scores": ONE["scores"] + each} for each in seen]


class Segmenter(nn.Module):
    """A context of 3x3 places above the encoder, then scores for every place."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU())
        self.context, self.scores = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        places = self.scores(self.context(self.encoder(x)).relu())
        return {"out": nn.functional.interpolate(places, x.shape[2:], mode="bilinear")}


def test_a_segmentation_is_explained_where_context_comes_in() -> None:
    """Behind the context a place of the output reads nothing but the same place, and the map would be its score."""
    net, x = Segmenter().eval(), images(2, 32)
    with untouched(net):
        e = wf.explain(net, x, [0, 1, 2])
    assert e.layer == "encoder" and e.maps.shape == (2, 3, 8, 8)
    alone = torch.cat([wf.explain(net, x[i : i + 1], [0, 1, 2]).maps for i in range(2)])
    torch.testing.assert_close(e.maps, alone, rtol=1e-4, atol=1e-7)
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[:8, :8] = True
    corner = wf.explain(net, x, wf.Pixels(mask, 1), method="gradient").maps[:, 0]
    assert float(corner[..., 24:, 24:].max()) == 0 < float(corner[..., :12, :12].max())
    drop = wf.explain(net, x, wf.Pixels(mask, 1), method="occlusion", patch=8, stride=8).maps
    assert drop.shape == (2, 1, 4, 4) and float(drop[..., 3, 3].abs().max()) < 1e-6 < float(drop[..., 0, 0].abs().min())
