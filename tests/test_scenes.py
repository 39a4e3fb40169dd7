"""The drawn world: the same from the same number, its annotations those of the picture, its splits disjoint."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from scipy import ndimage

import wherefore as wf
from wherefore.batch.local import FileRun, find_pictures
from wherefore.cli import main
from wherefore.scenes import Scene, named, scene
from wherefore.scenes.annotated import CONCEPTS
from wherefore.scenes.draw import draw, nearest
from wherefore.scenes.language import phrases
from wherefore.scenes.shapes import PAINTS, SHAPES
from wherefore.scenes.world import (
    CATEGORIES,
    COLOURS,
    COUNTS,
    KINDS,
    NEVER,
    PLACES,
    SPLITS,
    TEXTURES,
    Dice,
    Light,
    composition_split,
    imagine,
)  # fmt: skip

SHEET = Path(__file__).parent / "scenes_sheet.png"  # twelve scenes of 96 pixels, as Pillow 12.3 draws them
DRAWN_BY = "12.3"
numbers = st.integers(0, 10**6)
counts = st.sampled_from((None, 1, 2, 3, 4))
splits = st.sampled_from(SPLITS)


def sheet() -> Image.Image:
    """The pictures that `SHEET` holds, drawn anew."""
    canvas = Image.new("RGB", (4 * 96, 3 * 96))
    for i, (split, objects) in enumerate(itertools.product(SPLITS, (1, 2, 3, 4))):
        canvas.paste(scene(i, split, objects, 96).image, (i % 4 * 96, i // 4 * 96))
    return canvas


# -------------------------------------------------------------------------------------------- the same everywhere


def test_worlds_are_the_same_everywhere() -> None:
    worlds = [imagine(i, split, objects) for split in SPLITS for objects in (None, 1, 2, 3, 4) for i in range(40)]
    said = repr([(w.place, w.things, w.light, w.name) for w in worlds])
    assert hashlib.sha256(said.encode()).hexdigest()[:16] == "8d556fc3ee0c7961"


def test_annotations_are_the_same_everywhere() -> None:
    found = hashlib.sha256()
    for i in range(40):
        drawing = scene(i, "test").drawing
        found.update(drawing.raster.astype("<u2").tobytes() + repr(drawing.patches).encode())
    assert found.hexdigest()[:16] == "fadede37f16cb223"


def test_pictures_are_the_same_to_a_grey_level() -> None:
    kept, now = (np.asarray(image.convert("RGB"), dtype=int) for image in (Image.open(SHEET), sheet()))
    assert abs(kept - now).max() <= 1
    if PIL.__version__.startswith(DRAWN_BY):
        assert (kept == now).all()


def test_dice_are_those_of_the_standard_library() -> None:
    import random

    dice, own = Dice("seed"), random.Random("seed")
    assert [dice.whole(1, 6) for _ in range(50)] == [1 + int(own.random() * 6) for _ in range(50)]


def test_drawing_twice_gives_the_same_and_numbers_differ() -> None:
    assert scene(5).drawing.pixels.tobytes() == scene(5).drawing.pixels.tobytes()
    assert len({scene(i).drawing.pixels.tobytes() for i in range(20)}) == 20
    assert scene(5, "dev").world != scene(5, "train").world != scene(5).world


# -------------------------------------------------------------------------------------------- what is where


@settings(max_examples=60, deadline=None)
@given(numbers, splits, counts)
def test_worlds_keep_their_rules(number: int, split: str, objects: int | None) -> None:
    world = imagine(number, split, objects)
    assert 1 <= len(world.things) <= 4 and (objects is None or len(world.things) == objects)
    for thing in world.things:
        assert composition_split(thing.category, world.place, thing.colour) == split
        assert (thing.category, world.place) not in NEVER
        assert thing.texture in TEXTURES and 0 <= thing.x <= 1 and 0 <= thing.y <= 1
    if len(world.things) == 2:
        assert len(world.categories) == 2
    bottoms = [thing.reach[3] for thing in world.things]
    assert bottoms == sorted(bottoms), "the nearest is drawn last"


def test_every_composition_belongs_to_one_split() -> None:
    found = Counter(
        (c, p, composition_split(c, p, k)) for c in CATEGORIES for p in PLACES for k in COLOURS
    )  # of the ten colours of a thing in a place
    for c, p in itertools.product(CATEGORIES, PLACES):
        assert [found[c, p, split] for split in SPLITS] == [8, 1, 1]


def test_categories_places_and_looks_are_spread() -> None:
    worlds = [imagine(i, "train", 1) for i in range(4000)]
    things = [w.things[0] for w in worlds]
    for values, kinds in (
        ([t.category for t in things], CATEGORIES),
        ([t.colour for t in things], tuple(COLOURS)),
    ):
        share = Counter(values)
        assert all(0.7 / len(kinds) < share[k] / 4000 < 1.3 / len(kinds) for k in kinds)
    assert all(count > 150 for count in Counter(w.place for w in worlds).values())
    assert 0.6 < np.mean([w.at_home(t) for w, t in zip(worlds, things, strict=True)]) < 0.7
    colours = Counter((t.category, t.colour) for t in things)
    assert len(colours) == 200, "every category comes in every colour: the one says nothing of the other"


def test_things_do_not_hide_each_other() -> None:
    shown = [scene(i, "train", 4, 64) for i in range(60)]
    seen = [mask.sum() / whole for s in shown for mask, whole in zip(s.masks, s.drawing.whole, strict=True)]
    assert min(seen) > 0.5 and 0 < np.mean([share < 0.999 for share in seen]) < 0.6


# -------------------------------------------------------------------------------------------- annotations


@settings(max_examples=40, deadline=None)
@given(numbers, splits, counts, st.sampled_from((48, 96, 128)))
def test_boxes_enclose_masks_exactly(number: int, split: str, objects: int | None, size: int) -> None:
    s = scene(number, split, objects, size)
    assert s.masks.shape == (len(s.things), size, size) and s.masks.sum(0).max() == 1, "a pixel shows one thing"
    for (x0, y0, x1, y1), mask in zip(s.boxes, s.masks, strict=True):
        rows, columns = zip(*[(y, x) for y in range(size) for x in range(size) if mask[y, x]], strict=True)
        assert (x0, y0, x1, y1) == (min(columns), min(rows), max(columns), max(rows))


@settings(max_examples=40, deadline=None)
@given(numbers, counts)
def test_masks_match_what_is_drawn(number: int, objects: int | None) -> None:
    world = imagine(number, "train", objects)
    world = replace(world, light=replace(world.light, grain=0))
    s = Scene(world, 96)
    without = draw(replace(world, things=world.things[:-1]), 96)  # the nearest taken away
    changed = (s.drawing.pixels != without.pixels).any(2)
    mask, near = s.masks[-1], ndimage.binary_dilation(s.masks[-1], np.ones((3, 3)))
    shaded = s.drawing.pixels.astype(int).sum(2) < without.pixels.astype(int).sum(2)
    beside = (changed & ~near & ~shaded).sum()  # of a whisker, thinner than half a pixel
    assert beside <= 2 + 0.02 * mask.sum(), "beside the mask only a shadow changes"
    assert changed[mask].mean() > 0.97
    assert (s.drawing.raster[~mask] == without.raster[~mask]).all()


@settings(max_examples=25, deadline=None)
@given(numbers, counts)
def test_concepts_agree_with_each_other(number: int, objects: int | None) -> None:
    s = scene(number, "test", objects, 96)
    maps = {kind: s.concepts(kind) for kind in CONCEPTS}
    for names, numbers_ in maps.values():
        assert numbers_.shape == (96, 96) and numbers_.min() >= 0 and numbers_.max() <= len(names)
        assert set(np.unique(numbers_)) - {0} == set(range(1, len(names) + 1)), "only what is seen has a number"
    assert maps["scene"][0] == [s.place]
    for i, thing in enumerate(s.things):
        names, where = maps["object"]
        assert (where[s.masks[i]] == names.index(thing.category) + 1).all()
        names, where = maps["color"]
        own = (where == names.index(thing.colour) + 1) & s.masks[i] if thing.colour in names else s.masks[i] & False
        assert own.sum() > 0.05 * s.masks[i].sum()
        parts = np.logical_or.reduce([mask for (owner, _), mask in s.parts.items() if owner == i])
        assert (parts == s.masks[i]).all(), "a thing is the sum of its parts"
        if thing.texture != "plain":
            names, where = maps["texture"]
            assert (where[s.masks[i]] == names.index(thing.texture) + 1).mean() > 0.05


def test_colours_are_those_of_the_pixels() -> None:
    """In neutral light what is called by a colour has it, or a darker kind of it, outlines left out."""
    for i in range(60):
        world = replace(imagine(i), light=Light())
        s = Scene(world, 128)
        names, where = s.concepts("color")
        for thing, mask in zip(s.things, s.masks, strict=True):
            inner = ndimage.binary_erosion(mask) & (where == names.index(thing.colour) + 1)
            shown = s.drawing.pixels[inner].astype(float)
            own = np.array(COLOURS[thing.colour], float)
            along = shown @ own / (own @ own)  # how much of the colour there is, and what is left of another
            other = np.abs(shown - along[:, None] * own).max(1)
            assert len(shown) == 0 or (np.median(other) < 30 and np.median(along) > 0.5), (s.name, thing)


def test_every_category_has_parts_and_is_drawn_in_its_extent() -> None:
    for category in CATEGORIES:
        parts = {shape.part for shape in SHAPES[category](Dice("one"))}
        assert len(parts) >= 2, category
        points = [
            p for i in range(20) for shape in SHAPES[category](Dice(str(i))) for ring in shape.rings for p in ring
        ]
        reach = [max(abs(p[axis]) for p in points) for axis in (0, 1)]
        assert max(reach) <= 1.08 and all(
            r == pytest.approx(extent, abs=0.2) for r, extent in zip(reach, KINDS[category].extent, strict=True)
        ), f"{category} reaches {reach}"
        for shape in SHAPES[category](Dice("one")):
            assert shape.paint in {"body", "shade", "tint", "", *PAINTS}


def test_flags() -> None:
    seen = []
    for i in range(60):
        s = scene(i, "train", 3)
        for thing, flags, mask, box, whole in zip(s.things, s.flags, s.masks, s.boxes, s.drawing.whole, strict=True):
            assert flags.truncated == (0 in box or 127 in box)
            assert flags.small == (mask.sum() / 128**2 < 0.03)
            assert flags.occluded == (mask.sum() / whole < 0.9)
            assert flags.astray == (s.place not in KINDS[thing.category].homes)
            assert flags.difficult == (flags.small or flags.occluded)
            seen.append(flags)
    assert all(
        0 < np.mean([getattr(f, name) for f in seen]) < 1 for name in ("truncated", "occluded", "small", "astray")
    )


def test_what_is_said_lies_where_it_is_said_to_be() -> None:
    for i in range(30):
        s = scene(i)
        assert len(set(s.captions)) == 5
        for region, (words, things) in zip(s.regions, phrases(s.world), strict=True):
            ys, xs = np.nonzero(np.logical_or.reduce([s.masks[j] for j in things]))
            assert region.caption == words and region.box == (xs.min(), ys.min(), xs.max(), ys.max())
        for question in s.questions:
            looked = s.looked_at(question)
            about = range(len(s.things)) if question.about is None else question.about
            shown = np.logical_or.reduce([s.masks[j] for j in about])
            assert (looked == (~shown if question.about is None else shown)).all()


def test_a_world_is_the_same_at_any_size() -> None:
    small, large = scene(3, size=64), scene(3, size=320)
    assert small.world == large.world and large.image.size == (320, 320)
    assert np.abs(large.boxes / 5 - small.boxes).max() < 2.5
    assert scene(3, size=16).drawing.pixels.shape == (16, 16, 3)


def test_nearest_colour() -> None:
    assert [nearest(rgb) for rgb in COLOURS.values()] == list(COLOURS)
    assert nearest((0, 0, 0)) == "black"


# -------------------------------------------------------------------------------------------- by name


@settings(max_examples=30, deadline=None)
@given(numbers, splits, counts)
def test_names_lead_back(number: int, split: str, objects: int | None) -> None:
    s = scene(number, split, objects)
    assert named(s.name).world == s.world


def test_names() -> None:
    assert scene(17).name == "scenes:17" and scene(3, "dev", 2).name == "scenes:dev/pair/3"
    assert set(COUNTS.values()) == {1, 2, 3, 4}
    for wrong in (
        "scenes:",
        "scenes:x",
        "scenes:-1",
        "scenes:pair",
        "scenes:pair/dev/1",
        "scenes:dev/dev/1",
        "scenes:²",
    ):
        with pytest.raises(wf.Error, match="give scenes:17"):
            named(wrong)


def test_wrong_wishes_are_one_sentence() -> None:
    for wrong in (
        {"number": -1},
        {"number": 0, "objects": 5},
        {"number": 0, "split": "tset"},
        {"number": 0, "size": 4},
    ):
        with pytest.raises(wf.Error):
            _ = scene(**wrong)
    with pytest.raises(wf.Error, match="bird"):
        scene(17).mask("bord")
    with pytest.raises(wf.Error, match="color"):
        scene(17).concepts("colour")


# -------------------------------------------------------------------------------------------- as pictures


@pytest.fixture(scope="module")
def model() -> wf.Model:
    return wf.load("scenes:googlenet", weights=None, classes=list(CATEGORIES))


def test_a_scene_is_explained_by_name_or_as_it_is(model: wf.Model) -> None:
    by_name, itself, picture = (
        wf.explain(model, image, target="dog") for image in ("scenes:17", scene(17), scene(17).image)
    )
    assert by_name.maps.equal(itself.maps) and by_name.maps.equal(picture.maps)
    assert by_name.report(0)["image"] == "scenes:17" and by_name.report(0)["size"] == [128, 128]
    larger = wf.explain(model, scene(17, size=256), target="dog")
    assert larger.report(0)["size"] == [256, 256]


def test_what_is_known_is_drawn_beside_the_map(model: wf.Model) -> None:
    e = wf.explain(model, "scenes:17", target=["dog", "bird"])
    plain, told = np.asarray(e.sheet()).astype(int), np.asarray(e.sheet(truth=True)).astype(int)
    differ = (plain != told).any(2)
    assert e.within(1024).pictures[0].size == (384, 384), "a scene is enlarged, that words fit beneath it"
    left = 384 + 12
    assert differ.any() and not differ[:, left:].any(), "the outlines are on the picture, not on its maps"
    shown, larger = e.within(1024).pictures[0], scene(17, size=384)
    outlined = (np.asarray(shown.known()) != np.asarray(shown.image)).any(2)
    for mask in larger.masks:
        assert outlined[ndimage.binary_dilation(mask) & ~mask].mean() > 0.95
    assert not outlined[ndimage.binary_erosion(larger.masks[0], iterations=2)].any()
    with pytest.raises(wf.Error, match="comes without annotations"):
        wf.explain(model, scene(17).image, target="dog").sheet(truth=True)


def test_scenes_among_files(model: wf.Model, tmp_path: Path) -> None:
    scene(3).image.save(tmp_path / "three.png")
    paths = find_pictures(["scenes:17", tmp_path / "three.png", "scenes:pair/2", "scenes:no"])
    run = FileRun(wf.Explainer(model), paths, "dog", tmp_path / "out")
    names = [r.get("error") or r["image"] for r in run]
    assert names[0] == "scenes:17" and names[2] == "scenes:pair/2" and "no scene is called" in names[3]
    written = {p.name for p in (tmp_path / "out").iterdir()}
    assert {"scenes-17.dog.jpg", "three.dog.jpg", "scenes-pair-2.dog.jpg"} <= written
    told = FileRun(wf.Explainer(model), ["scenes:17"], "dog", tmp_path / "told", truth=True)
    assert [Path(r["truth"]).name for r in told] == ["scenes-17.truth.jpg"]


def test_the_command_line_takes_scenes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file(wf.load("scenes:googlenet", weights=None).net.state_dict(), tmp_path / "w.safetensors")
    (tmp_path / "names.txt").write_text("\n".join(CATEGORIES))
    line = (
        f"explain scenes:17 --model scenes:googlenet --weights {tmp_path}/w.safetensors --classes {tmp_path}/names.txt"
    )
    for more, code in ((f"--target dog --truth --out {tmp_path}/out", 0), ("--target dragon --json", 2)):
        with pytest.raises(SystemExit) as end:
            main([*line.split(), *more.split()])
        assert end.value.code == code
    assert (tmp_path / "out" / "scenes-17.truth.jpg").is_file()
    with pytest.raises(SystemExit):
        main(["explain", "scenes:" + "9" * 5000, "--model", "scenes:googlenet"])
    assert "no scene is called" in capsys.readouterr().err
    with pytest.raises(SystemExit), Image.new("RGB", (64, 64)) as grey:
        grey.save(tmp_path / "grey.png")
        main(["explain", str(tmp_path / "grey.png"), "--truth"])
    assert "--truth draws what is known of scenes" in capsys.readouterr().err
