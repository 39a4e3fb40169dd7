"""Colour maps, overlays, legends: what is drawn and what is left as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import rgb2lab

from fixtures_doors import photo
from wherefore.drawing import captioned, check_look, overlay, palette, relief, sheet, strength
from wherefore.errors import Error
from wherefore.tiling import Block, page

WHOLE = (0.0, 0.0, 60.0, 40.0)


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def test_heat_climbs_evenly_in_lightness() -> None:
    lightness = rgb2lab(palette("heat")[None])[0, :, 0]
    steps = np.diff(lightness[::16])
    assert (steps > 0).all() and steps.max() < 1.6 * steps.min()


def test_jet_goes_from_blue_to_red() -> None:
    assert palette("jet")[[0, 128, 255]].tolist() == pytest.approx(
        np.array([(0, 0, 128), (130, 255, 126), (128, 0, 0)]), abs=3
    )


def test_unknown_looks() -> None:
    with pytest.raises(Error, match="no colour map is called 'viridis': there are heat, jet"):
        check_look("viridis", "each")
    with pytest.raises(Error, match="scale is 'each' or 'common', not 'all'"):
        check_look("heat", "all")


@pytest.mark.parametrize("name", ["heat", "jet"])
@pytest.mark.parametrize("value", [0.0, -3.0])
def test_no_evidence_leaves_the_picture_bare(name: str, value: float) -> None:
    image = photo(60, 40)
    for top in (None, 5.0):  # also beside another map on a common scale
        drawn = overlay(image, torch.full((40, 60), value), WHOLE, top, name)
        np.testing.assert_array_equal(array(drawn), array(image))


def test_only_positive_values_are_coloured_and_the_hottest_most() -> None:
    image, heat = photo(60, 40).convert("L").convert("RGB"), torch.zeros(40, 60)  # grey: nothing to pale
    heat[10, 20], heat[20, 30], heat[30, 40] = 4, 1, -4
    change = np.abs(array(overlay(image, heat, WHOLE)) - array(image)).sum(2)
    assert set(zip(*np.nonzero(change), strict=True)) == {(10, 20), (20, 30)}
    np.testing.assert_allclose(
        array(overlay(image, heat, WHOLE))[10, 20], 0.78 * palette()[255] + 0.22 * array(image)[10, 20], atol=1.5
    )
    faint = overlay(image, heat, WHOLE, top=400.0)  # on the scale of a hotter map
    assert np.abs(array(faint) - array(image)).sum(2)[10, 20] < change[10, 20] / 2
    clipped = overlay(image, heat, WHOLE, top=0.5)
    np.testing.assert_array_equal(array(clipped)[20, 30], array(overlay(image, heat.sign(), WHOLE))[20, 30])


def test_the_photograph_is_paled_so_that_its_colours_are_not_taken_for_heat() -> None:
    heat = torch.zeros(40, 60)
    heat[0, 0] = 1
    drawn = array(overlay(Image.new("RGB", (60, 40), (250, 120, 20)), heat, WHOLE))[20, 30]
    assert np.ptp(drawn) == pytest.approx(0.35 * 230, abs=2)


def test_what_was_not_seen_is_greyed_and_framed() -> None:
    image = photo(60, 40)
    drawn = array(overlay(image, torch.zeros(40, 60), (10, 0, 50, 40)))
    np.testing.assert_array_equal(drawn[:, 10:50], array(image)[:, 10:50])
    outside = np.concatenate([drawn[:, :9], drawn[:, 51:]], axis=1)
    assert (np.ptp(outside, axis=2) == 0).all()
    assert (drawn[:, (9, 50)] == 245).all()
    assert np.ptp(outside) < np.ptp(array(image.convert("L")))  # dimmed


@pytest.mark.parametrize("size", [(1, 1), (1, 2000), (2000, 1), (300, 200), (50, 700)])
def test_captions_fit_under_any_picture(size: tuple[int, int]) -> None:
    image = photo(*size)
    drawn = captioned(image, "a very long title " * 20, "and\nlines\nof detail", "heat", ("0", "3.5"))
    assert drawn.width == size[0] and drawn.height > size[1]
    np.testing.assert_array_equal(array(drawn)[: size[1]], array(image))


def test_a_sheet_holds_every_picture() -> None:
    parts = [Image.new("RGB", (20, 10), (i * 20 + 5, 0, 0)) for i in range(6)]
    drawn = sheet(parts, columns=4, gap=2)
    assert drawn.size == (4 * 22 + 2, 2 * 12 + 2)
    found = [drawn.getpixel((2 + i % 4 * 22 + 10, 2 + i // 4 * 12 + 5))[0] for i in range(6)]
    assert found == [5, 25, 45, 65, 85, 105]


def test_reliefs_on_one_scale_can_be_compared() -> None:
    pixels = torch.zeros(3, 40, 60)
    pixels[:, :, :30], pixels[1, 10, 10] = 2, -3
    assert strength(pixels) == 2  # which one pixel in 100 does not exceed
    alone, beside = (array(relief(photo(60, 40), pixels, WHOLE, top)) for top in (None, 4))
    assert (alone[20, 10] == 255).all() and (beside[20, 10] == round(0.75 * 255)).all()
    assert (alone[20, 50] == 128).all() and (beside[20, 50] == 128).all()
    assert alone[10, 10, 1] == 0 and beside[10, 10, 1] == round(0.125 * 255)


def test_a_page_holds_every_tile_and_its_words() -> None:
    tiles = [Image.new("RGB", (50, 30), (i * 20 + 5, 0, 0)) for i in range(7)]
    blocks = [Block("first", "detail", tiles[:5]), Block("second", "", tiles[5:])]
    drawn = page(blocks, columns=3)
    found = []
    for i in range(7):
        rows, columns = np.nonzero((array(drawn) == (i * 20 + 5, 0, 0)).all(2))
        assert len(rows) == 50 * 30 == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        found.append((rows.min(), columns.min()))
    assert len({y for y, _ in found[:3]}) == 1 and len({y for y, _ in found[3:5]}) == 1
    assert [x for _, x in found[3:5]] == [x for _, x in found[:2]] == [x for _, x in found[5:]]
    assert found[0][0] < found[3][0] < found[5][0]
    longer = page(blocks, columns=3, foot="words that go over more than one line of so small a page")
    assert longer.width == drawn.width and longer.height > drawn.height + 30
    np.testing.assert_array_equal(array(longer)[: found[5][0] + 30], array(drawn)[: found[5][0] + 30])
