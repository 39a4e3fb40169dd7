"""What to explain: names, indices, per image or for all; sentences for what does not fit."""

from __future__ import annotations

import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import wherefore as wf
from wherefore.errors import Error
from wherefore.targets import choose, class_index, for_images, logits, warn_if_flat

NAMES = ("tabby", "tiger cat", "tiger", "great white shark", "boxer", "crane", "crane")
OUTPUT = torch.tensor([[0.5, 3, 1, -2, 2, 0, 0.1], [1, -1, 4, 5, -3, 0.2, 0.3]])


def chosen(target: object, output: object = OUTPUT) -> tuple[list[list[int]], list[list[float]]]:
    found = choose(target, output, NAMES)
    return found.classes.tolist(), found.scores.tolist()


@pytest.mark.parametrize(
    "target, classes",
    [
        (None, [[1], [3]]),
        ("top3", [[1, 4, 2], [3, 2, 0]]),
        ("top-2", [[1, 4], [3, 2]]),
        ("top99", [[1, 4, 2, 0, 6, 5, 3], [3, 2, 0, 6, 5, 1, 4]]),
        (4, [[4], [4]]),
        (np.int64(4), [[4], [4]]),
        ("4", [[4], [4]]),
        ("boxer", [[4], [4]]),
        ("Shark", [[3], [3]]),
        (["boxer", 0], [[4, 0], [4, 0]]),
        ((2, "top1"), [[2, 1], [2, 3]]),
        (torch.tensor(2), [[2], [2]]),
        (torch.tensor([2, 5]), [[2], [5]]),
        (np.array([2, 5]), [[2], [5]]),
        (torch.tensor([[2, 0], [5, 1]]), [[2, 0], [5, 1]]),
        ([["tiger", 0], [5, "1"]], [[2, 0], [5, 1]]),
        ([[np.int64(2)], [torch.tensor(5)]], [[2], [5]]),
        ("all", [list(range(7))] * 2),
        (wf.ClassScore("boxer"), [[4], [4]]),
        ([wf.ClassScore(1), wf.Difference(0, 1)], [[1, -1], [1, -1]]),
    ],
)
def test_which_classes_are_meant(target: object, classes: list[list[int]]) -> None:
    found = choose(target, OUTPUT, NAMES)
    assert found.classes.tolist() == classes
    for b, row in enumerate(classes):
        for t, index in enumerate(row):
            if index >= 0:
                assert found.scores[b, t] == OUTPUT[b, index]  # the logit, before softmax
                assert found.names[b][t] == NAMES[index]
                assert found.probabilities[b, t].item() == pytest.approx(
                    math.exp(OUTPUT[b, index]) / sum(math.exp(v) for v in OUTPUT[b])
                )


def test_why_one_rather_than_another() -> None:
    found = choose(wf.Difference("boxer", 1), OUTPUT, NAMES)
    assert found.scores.tolist() == [[-1.0], [-2.0]]
    assert found.names[0] == ["boxer rather than tiger cat"]
    assert found.classes.tolist() == [[-1], [-1]] and found.probabilities.isnan().all()


def test_a_callable_is_a_target() -> None:
    def energy(output: torch.Tensor) -> torch.Tensor:
        return output.square().sum(1)

    found = choose([energy, lambda output: output[:, 0], "boxer"], OUTPUT, NAMES)
    assert found.names[1] == ["energy", "target 1", "boxer"]
    torch.testing.assert_close(found.scores, torch.stack([energy(OUTPUT), OUTPUT[:, 0], OUTPUT[:, 4]], 1))
    assert choose(lambda output: output["boxes"][:, 0], {"boxes": OUTPUT}).scores.tolist() == [[0.5], [1.0]]


def test_names_are_looked_up_exactly_then_by_word_then_by_part() -> None:
    assert class_index("tiger", 7, NAMES) == 2  # though "tiger cat" has the word
    assert class_index("cat", 7, NAMES) == 1
    assert class_index("abb", 7, NAMES) == 0
    assert class_index("7", 9, [*"abcdefgh", "channel 7"]) == 7  # an index before a part of a name,
    assert class_index("7", 9, [*"abcdefgh", "7"]) == 8  # but a name first
    assert choose(0, OUTPUT).names == [["class 0"], ["class 0"]]
    assert choose(6, OUTPUT, NAMES[:3]).names[0] == ["class 6"]


@pytest.mark.parametrize(
    "target, words",
    [
        ("boxr", "no class is called 'boxr': did you mean boxer?"),
        ("zzzzzz", "no class is called 'zzzzzz': there are tabby, tiger cat"),
        ("crane", r"'crane' fits 2 classes: crane \(5\), crane \(6\); give the index"),
        (7, "class 7 is out of range: the model has 7 classes, 0 to 6"),
        (-1, "class -1 is out of range"),
        ("-1", "class -1 is out of range"),
        ("700", "class 700 is out of range"),
        (torch.tensor([1, 7]), "class 7 is out of range"),
        ([[1], [7]], "class 7 is out of range"),
        (torch.tensor([1, 2, 3]), r"shape \(3,\) do not fit 2 images: give \(B,\) or \(B, T\)"),
        (torch.zeros(2, 1, 1, dtype=torch.long), "do not fit 2 images"),
        (torch.zeros(2, 0, dtype=torch.long), "do not fit 2 images"),
        (torch.tensor([0.5, 1]), "whole numbers"),
        (torch.tensor([True, False]), "whole numbers"),
        ([[1], [2], [3]], "one list per image, all of one length: got 3 lists of 1 for 2 images"),
        ([[1], [2, 3]], "got 2 lists of 1 and 2 for 2 images"),
        ([[], []], "got 2 lists of 0"),
        ([[1], 2], "mixes classes and lists"),
        ([[1.7], [2]], "indices and names alone"),
        ([[None], [2]], "indices and names alone"),
        ([], "is no target"),
        ({}, "is no target"),
        (1.5, "is no target"),
        (True, "is no target"),
        ("top0", "asks for no class"),
        (lambda output: output, r"one number per image, a tensor \(B,\), not \(2, 7\)"),
        (lambda output: 3.0, "not float"),
        (lambda output: output.argmax(1), "one number per image"),
        (lambda output: output[:1, 0], None),
    ],
)
def test_what_is_no_target_is_said_in_one_sentence(target: object, words: str | None) -> None:
    if words is None:  # alone it fits itself; beside another it cannot
        target, words = [target, 0], "must give one per image"
    with pytest.raises(Error, match=words) as error:
        choose(target, OUTPUT, NAMES)
    assert "\n" not in str(error.value)


def test_without_names_a_name_means_nothing() -> None:
    with pytest.raises(Error, match=r"no class names, so 'boxer' means nothing: give an index, 0 to 6"):
        choose("boxer", OUTPUT)
    with pytest.raises(Error, match="out of range: the model has 7 classes"):  # more names than outputs
        choose("late", OUTPUT, [*NAMES, "late"])


@pytest.mark.parametrize(
    "output", [OUTPUT, {"logits": OUTPUT}, {"out": OUTPUT}, SimpleNamespace(logits=OUTPUT), (OUTPUT, 1), [OUTPUT]]
)
def test_where_the_class_scores_lie(output: object) -> None:
    assert logits(output) is OUTPUT


@pytest.mark.parametrize("output", [{"boxes": OUTPUT, "masks": OUTPUT}, None, torch.zeros(2, 3, 4), ()])
def test_an_output_without_class_scores(output: object) -> None:
    with pytest.raises(Error, match=r"pass target= a callable"):
        logits(output)


def test_a_single_logit_has_a_sigmoid() -> None:
    assert choose(0, torch.tensor([[0.0], [2.0]])).probabilities[:, 0].tolist() == pytest.approx(
        [0.5, 1 / (1 + math.exp(-2))]
    )


def test_targets_per_image_are_cut_with_the_batch() -> None:
    assert for_images([[1], [2], [3]], 1, 3, 3) == [[2], [3]]
    assert for_images(torch.tensor([1, 2, 3]), 0, 2, 3).tolist() == [1, 2]
    assert for_images(np.array([[1], [2], [3]]), 2, 3, 3).tolist() == [[3]]
    for target in ("top5", 3, [1, 2, 3], None, torch.tensor(3)):
        assert for_images(target, 1, 2, 3) is target
    for target in ([[1], [2]], torch.tensor([1, 2])):
        with pytest.raises(Error, match="targets for 2 images do not fit 3"):
            for_images(target, 0, 1, 3)


def test_a_flat_list_as_long_as_the_batch_warns() -> None:
    with pytest.warns(UserWarning, match=r"a flat list of 2 targets explains all 2 for every image"):
        warn_if_flat([1, 2], 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for target, images in (([1, 2], 3), ([1], 1), ([[1], [2]], 2), ("top2", 2), (torch.tensor([1, 2]), 2)):
            warn_if_flat(target, images)
