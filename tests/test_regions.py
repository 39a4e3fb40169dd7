"""Regions that nobody annotated: planted ones are recovered, shares by hand, and what is kept is not done again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from wherefore.batch.maps import Seen
from wherefore.concepts.recording import Recording
from wherefore.datasets import opened
from wherefore.diagnosis.audit import look
from wherefore.diagnosis.regions import (
    COUNT,
    DRAWN,
    NONE,
    Assigning,
    Drawing,
    Regions,
    assigned,
    clustered,
    drawn,
    place,
    regions,
)
from wherefore.errors import Error
from wherefore.experiments import Lab, Settings
from wherefore.experiments.auditing import audited, found_regions
from wherefore.experiments.withheld import overlaps
from wherefore.models.zoo import load

Array = np.ndarray[Any, Any]
BIASED = "scenes:people-biased"
MAP = np.array([[0, 0, 1], [2, 1, 1]], np.uint8)


def planted(n: int, count: int, noise: float, seed: int = 0) -> tuple[Array, Array]:
    """Directions about ``count`` axes of a space of 20, of lengths from 0.1 to 10 before they are scaled; and which."""
    dice = np.random.default_rng(seed)
    of = dice.permutation(np.arange(n) % count)
    points = np.eye(20)[of] + noise * dice.normal(size=(n, 20))
    points *= 10 ** dice.uniform(-1, 1, (n, 1))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32), of


def test_planted_directions_are_recovered_exactly() -> None:
    for seed in range(5):
        points, of = planted(600, COUNT, 0.08, seed)
        centres = clustered(points, seed)
        found = assigned(points, centres)
        assert centres.shape == (COUNT, 20) and np.linalg.norm(centres, axis=1) == pytest.approx(1, abs=1e-5)
        pairs = {(int(a), int(b)) for a, b in zip(of, found, strict=True)}
        assert len(pairs) == COUNT == len({a for a, _ in pairs}) == len({b for _, b in pairs}), "one for one"


def test_the_same_for_a_seed_and_no_more_regions_than_directions() -> None:
    points, _ = planted(200, 12, 0.4)
    assert np.array_equal(clustered(points, 3), clustered(points, 3))
    assert len(clustered(np.repeat(np.eye(20, dtype=np.float32)[:3], 9, 0))) == 3
    with pytest.raises(Error, match="0 in all of these pictures"):
        clustered(points[:0])


def test_each_centre_is_the_direction_of_its_points_sum_and_each_point_is_with_its_nearest() -> None:
    points, _ = planted(300, 12, 0.3)
    centres = clustered(points).astype(np.float64)
    cosines = [[sum(a * b for a, b in zip(p, c, strict=True)) for c in centres.tolist()] for p in points.tolist()]
    of = [max(range(len(row)), key=row.__getitem__) for row in cosines]
    assert assigned(points, centres.astype(np.float32)).tolist() == of
    for i, centre in enumerate(centres):
        total = points[np.array(of) == i].astype(np.float64).sum(0)
        assert total / np.linalg.norm(total) == pytest.approx(centre, abs=1e-5)


def test_a_place_without_activation_is_in_no_region() -> None:
    points, _ = planted(5, 2, 0.1)
    points[2] = 0
    assert (assigned(points, clustered(points[:2])) == NONE).tolist() == [False, False, True, False, False]


def test_regions_by_hand() -> None:
    none = np.array([[2, 2, 2], [NONE, 2, 2]], np.uint8)
    rows = [{"number": n, "regions": each.tobytes(), "grid": [2, 3]} for n, each in ((7, MAP), (4, none))]
    found = regions(rows)
    assert found.of[7].tolist() == [[2, 2, 1], [0, 1, 1]], "the region of 6 places is the first, of 3 the second"
    assert found.of[4].tolist() == [[0, 0, 0], [NONE, 0, 0]]
    assert found.areas == pytest.approx(np.array([[1 / 6, 3 / 6, 2 / 6], [5 / 6, 0, 0]]))
    assert [name.partition(":")[0] for name in found.names] == ["region 1", "region 2", "region 3"]
    second = found.masks(7)[found.names[1]]
    assert second.tolist() == [[False, False, True], [False, True, True]]
    large = found.masks(7, (4, 6))[found.names[1]]
    assert np.array_equal(large, np.kron(second, np.ones((2, 2), bool)))


def test_names_say_where_a_region_lies_mostly() -> None:
    def named(*rows: str) -> str:
        marks = np.array([[1 if mark == "#" else NONE - 1 for mark in row] for row in rows], np.uint8)
        return Regions({0: np.where(marks == 1, 0, NONE).astype(np.uint8)}).names[0]

    assert named("#..", "...", "...") == "region 1: upper left"
    assert named("....", "....", ".##.", ".##.") == "region 1: lower middle"
    assert named("###", "...", "...") == "region 1: upper"
    assert named("#.#", "#.#", "#.#") == "region 1: sides"
    assert named("########", "########") == "region 1: all over", "cells that thirds cut count for each by its share"
    assert place(np.zeros((3, 3))) == "all over"


def seen_of(heat: list[list[float]]) -> Seen:
    sample = replace(opened("scenes:people")[0], parted=None)
    explanation: Any = SimpleNamespace(maps=torch.tensor(heat)[None, None])
    return Seen(sample, [{"number": 7, "category": "nurse", "name": "nurse"}], explanation)


def test_shares_by_hand() -> None:
    found = Regions({7: MAP})
    its = look(seen_of([[1.0, 0.0, 3.0], [4.0, -9.0, 2.0]]), found)
    assert list(its.energy) == list(its.area) == found.names
    assert list(its.energy.values()) == pytest.approx([0.1, 0.5, 0.4])
    assert list(its.area.values()) == pytest.approx([2 / 6, 3 / 6, 1 / 6])
    empty = look(seen_of([[-1.0, 0, 0], [0, 0, 0]]), found)
    assert all(np.isnan(list(empty.energy.values()))) and its.said == "nurse" != its.label


def test_places_are_those_of_the_layer(tmp_path: Path) -> None:
    model, data = load(BIASED), opened("scenes:people")
    recording = Recording(model, None)
    samples = [data[n] for n in (3, 5)]
    kept: list[torch.Tensor] = []
    handle = model.net.get_submodule(recording.layer).register_forward_hook(lambda *args: kept.append(args[2]))
    model.net(torch.stack([model.preprocess(each.image) for each in samples]))  # type: ignore[misc]
    handle.remove()
    vectors = kept[0].detach().permute(0, 2, 3, 1).numpy()
    centres = clustered(drawn([row for rows in Drawing(recording, 0)(samples) for row in rows]))
    for [row], own in zip(Assigning(recording, centres)(samples), vectors, strict=True):
        lengths = np.linalg.norm(own, axis=-1)
        cosines = (own @ centres.T) / np.maximum(lengths, 1e-12)[..., None]
        found = np.frombuffer(row["regions"], np.uint8).reshape(row["grid"])
        assert found.shape == own.shape[:2] and ((found == NONE) == (lengths == 0)).all()
        chosen = np.take_along_axis(cosines, np.minimum(found, COUNT - 1)[..., None].astype(int), -1)[..., 0]
        assert (cosines.max(-1) - chosen)[lengths > 0].max() < 1e-5
    beside, alone, other = (
        drawn(Drawing(recording, seed)(some)[-1]) for seed, some in ((0, samples), (0, samples[1:]), (1, samples))
    )
    assert len(alone) == DRAWN and beside == pytest.approx(alone, abs=1e-3), "whichever picture is beside it"
    assert not np.allclose(other, alone, atol=1e-2)


def test_what_was_found_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def once() -> Regions:
        lab = Lab(Settings(), tmp_path)
        data, model = lab.dataset("people"), lab.network(BIASED)
        lab.fitting(model, ["grad-cam"], data)
        return found_regions(lab, model, data, range(20))

    first = once()
    monkeypatch.setattr(Recording, "maps", lambda *args: pytest.fail("it is kept"))
    again = once()
    assert all(np.array_equal(first.of[n], again.of[n]) for n in range(20)) and first.names == again.names


def test_overlaps_beside_slow_sums(tmp_path: Path) -> None:
    lab = Lab(Settings(), tmp_path)
    data = lab.dataset("people")
    found = audited(lab, lab.network(BIASED), data, range(30), withheld=True)
    assert found.regions is not None and found.name == f"{BIASED}, parts withheld"
    assert {e.region for e in found.audit.evidence} == set(found.regions.names)
    inside, either = dict.fromkeys(found.regions.names, 0), dict.fromkeys(found.regions.names, 0)
    for n in range(30):
        true = data[n].parts["hair"] | data[n].parts["face"]
        grid = found.regions.of[n]
        for i, name in enumerate(found.regions.names):
            for y in range(64):
                for x in range(64):
                    here = int(grid[y * grid.shape[0] // 64, x * grid.shape[1] // 64]) == i
                    inside[name] += int(here and true[y, x])
                    either[name] += int(here or true[y, x])
    slow = {name: inside[name] / either[name] for name in inside}
    assert overlaps(found, data, ["hair", "face"]) == pytest.approx(slow)
