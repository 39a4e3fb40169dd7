"""Reading, preprocessing and geometry against torchvision, F.interpolate, and loops written out."""

from __future__ import annotations

import struct
import zlib
from collections import deque
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms as T
from torchvision.models import get_model_weights
from torchvision.transforms import InterpolationMode

from fixtures_doors import photo, spot
from wherefore.errors import Error
from wherefore.imaging import (
    Preprocess,
    as_rgb,
    box,
    from_array,
    peak,
    read,
    resample,
    seen_pixels,
    tensor_picture,
)
from wherefore.regions import region_seen

SIZES = [(640, 480), (301, 203), (97, 411), (224, 224), (256, 256), (5, 7), (1, 1), (1, 16), (333, 1201)]


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image)


# -------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "gif", "tiff", "ppm"])
def test_what_was_saved_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture.{suffix}"
    photo(37, 23).save(path)
    with Image.open(path) as image:
        np.testing.assert_array_equal(pixels(read(path)), pixels(image.convert("RGB")))


def test_a_text_file_named_jpg(tmp_path: Path) -> None:
    path = tmp_path / "note.jpg"
    path.write_text("not a picture")
    with pytest.raises(Error, match=r"note\.jpg is not a picture"):
        read(path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp"])
def test_a_truncated_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    photo(200, 150).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(Error, match=r"cut\.\w+ (cannot be read, it seems damaged or cut off|is not a picture)"):
        read(path)


def test_an_empty_file_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    for name, words in (("empty.jpg", "is empty"), ("none.jpg", "does not exist"), (".", "is a folder")):
        with pytest.raises(Error, match=words):
            read(tmp_path / name)


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises a size and holds almost nothing."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


@pytest.mark.parametrize("limit", [Image.MAX_IMAGE_PIXELS, None])
def test_a_decompression_bomb_is_refused_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int | None
) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(60_000, 60_000))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)  # also where the host has lifted Pillow's own limit
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("was decoded"))
    with pytest.raises(Error, match="shrink it first"):
        read(path)


def test_a_large_picture_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("L", (8000, 6000), 7).save(path, compress_level=1)
    assert read(path).size == (8000, 6000)


@given(st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"]), st.data())
@settings(max_examples=100, deadline=None)
@pytest.mark.filterwarnings("ignore")  # Pillow warns of what it sees
def test_damaged_bytes_are_a_picture_or_an_error(tmp_path_factory: pytest.TempPathFactory, kind: str, data) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged"
    exif = Image.Exif()
    exif[0x112] = 6
    photo(20, 14).save(path, kind, **({"exif": exif} if kind in ("JPEG", "PNG", "WEBP") else {}))
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, min(len(content), 500) - 1), min_size=1, max_size=6)):
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        assert read(path).mode == "RGB"
    except Error as error:
        assert str(path) in str(error)


def test_cmyk_and_grey(tmp_path: Path) -> None:
    Image.new("CMYK", (9, 6), (255, 0, 0, 0)).save(tmp_path / "ink.jpg", quality=100)
    np.testing.assert_allclose(pixels(read(tmp_path / "ink.jpg"))[3, 4], (0, 255, 255), atol=3)
    Image.new("L", (9, 6), 77).save(tmp_path / "grey.png")
    assert (pixels(read(tmp_path / "grey.png")) == 77).all() and read(tmp_path / "grey.png").mode == "RGB"


def test_a_palette_with_and_without_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (4, 2))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1, 0, 1, 1, 0, 1, 0])
    image.save(tmp_path / "plain.png")
    image.save(tmp_path / "clear.png", transparency=0)
    np.testing.assert_array_equal(pixels(read(tmp_path / "plain.png"))[0, :2], [(10, 20, 30), (200, 100, 50)])
    np.testing.assert_array_equal(pixels(read(tmp_path / "clear.png"))[0, :2], [(255, 255, 255), (200, 100, 50)])


def test_alpha_is_laid_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (3, 3), (255, 0, 0, 128)).save(tmp_path / "half.png")
    np.testing.assert_allclose(pixels(read(tmp_path / "half.png"))[1, 1], (255, 127, 127), atol=1)
    assert as_rgb(Image.new("LA", (2, 2), (0, 0))).getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    values = np.array([[0, 257 * 10, 257 * 128, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    assert pixels(read(tmp_path / "deep.png"))[0, :, 0].tolist() == [0, 10, 128, 255]
    # A dark one is dark: the range is that of 16 bits, not that of the values.
    Image.fromarray(values // 256).save(tmp_path / "dark.png")
    assert pixels(read(tmp_path / "dark.png")).max() == 1


@pytest.mark.parametrize(
    "values, expected",
    [
        (np.array([[0, 100, 255]], np.int32), [0, 100, 255]),
        (np.array([[0, 25700, 65535]], np.int32), [0, 100, 255]),
        (np.array([[0, 50000, 100000]], np.int32), [0, 128, 255]),
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, 100, 255]], np.float32), [0, 100, 255]),
        (np.array([[np.nan, 100, np.inf]], np.float32), [0, 100, 0]),
        (np.array([[-5, 0, 255]], np.float32), [0, 0, 255]),
    ],
)
def test_pictures_of_integers_and_floats(values: np.ndarray, expected: list[int]) -> None:
    assert pixels(as_rgb(Image.fromarray(values)))[0, :, 2].tolist() == expected


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_undone(tmp_path: Path, orientation: int) -> None:
    upright = spot(40, 20, 5, 5, 2)  # top left
    undo = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
    undo |= {6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270"}  # how a camera that was turned stores it
    stored = upright.transpose(Image.Transpose[undo[orientation]]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x112] = orientation
    stored.save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(pixels(read(tmp_path / "turned.png")), pixels(upright))


# -------------------------------------------------------------------------------------------- arrays


def test_arrays_become_pictures() -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for array in (grey, grey[..., None], grey[..., None].repeat(3, 2), grey.astype(np.int64)):
        np.testing.assert_array_equal(pixels(from_array(array)), grey[..., None].repeat(3, 2))
    np.testing.assert_array_equal(pixels(from_array(grey / 255.0))[..., 0], grey)
    assert from_array(np.array([[True, False]])).getpixel((0, 0)) == (255, 255, 255)
    assert from_array(np.zeros((2, 2, 4), np.uint8)).getpixel((0, 0)) == (255, 255, 255)  # clear, on white


@pytest.mark.parametrize(
    "array, words",
    [
        (np.zeros((3, 20, 20)), r"shape \(3, 20, 20\) is not a picture"),
        (np.zeros((0, 4)), "is not a picture"),
        (np.zeros(4), "is not a picture"),
        (np.full((2, 2), 1.5), "must lie in 0..1"),
        (np.full((2, 2), np.nan), "must lie in 0..1"),
        (np.full((2, 2), 300), "must lie in 0..255"),
        (np.full((2, 2), -1), "must lie in 0..255"),
        (np.full((2, 2), 1j), "complex128 is not a picture"),
        (np.array([["a"]]), "is not a picture"),
        (np.array([[None]]), "object is not a picture"),
    ],
)
def test_other_arrays_are_refused(array: np.ndarray, words: str) -> None:
    with pytest.raises(Error, match=words):
        from_array(array)


def test_tensors_become_pictures() -> None:
    tensor = torch.rand(3, 5, 4)
    np.testing.assert_allclose(pixels(tensor_picture(tensor)), (tensor.permute(1, 2, 0) * 255).round())
    stretched = pixels(tensor_picture(tensor * 7 - 2))
    assert stretched.min() == 0 and stretched.max() == 255
    assert tensor_picture(torch.rand(1, 5, 4)).size == (4, 5)
    preprocess = Preprocess(resize=64, crop=64)
    image = photo(64, 64)
    np.testing.assert_array_equal(pixels(preprocess.picture(preprocess(image))), pixels(image))


# -------------------------------------------------------------------------------------------- preprocessing


@pytest.mark.parametrize("name", ["resnet50", "squeezenet1_1", "inception_v3", "efficientnet_b1", "vit_b_16", "swin_t"])
@pytest.mark.parametrize("size", SIZES)
def test_preprocess_is_torchvisions(name: str, size: tuple[int, int]) -> None:
    from wherefore.models.from_torchvision import preprocess_of

    image = photo(*size)
    for weights in get_model_weights(name):
        assert torch.equal(preprocess_of(weights)(image), weights.transforms()(image)), (weights, size)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("resize, crop", [(256, 224), (224, 224), (221, 224), (64, 97), (57, 31)])
def test_preprocess_at_odd_sizes(interpolation: str, resize: int, crop: int) -> None:
    ours = Preprocess(resize, crop, interpolation=interpolation)
    steps = [
        T.Resize(resize, InterpolationMode(interpolation)),
        T.CenterCrop(crop),
        T.ToTensor(),
        T.Normalize(ours.mean, ours.std),
    ]
    for size in [(301, 203), (97, 411), (224, 224), (5, 7), (1, 1)]:
        assert torch.equal(ours(photo(*size)), T.Compose(steps)(photo(*size))), size


def test_squash_is_a_resize_of_all() -> None:
    ours = Preprocess(crop=61, squash=True)
    theirs = T.Compose([T.Resize((61, 61)), T.ToTensor(), T.Normalize(ours.mean, ours.std)])
    assert torch.equal(ours(photo(301, 203)), theirs(photo(301, 203)))
    assert ours.region((301, 203)) == (0, 0, 301, 203)


@pytest.mark.parametrize("size", [(1, 20000), (20000, 1), (3, 9999)])
def test_an_extreme_picture_costs_no_memory(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    largest = []
    resize = Image.Image.resize

    def counted(self: Image.Image, size: tuple[int, int], *args: object) -> Image.Image:
        largest.append(size[0] * size[1])
        return resize(self, size, *args)

    monkeypatch.setattr(Image.Image, "resize", counted)
    assert Preprocess()(Image.new("RGB", size)).shape == (3, 224, 224)
    assert max(largest) <= 256 * 256 * 17
    x0, y0, x1, y1 = Preprocess().region(size)
    assert (x0 + x1) / 2 == pytest.approx(size[0] / 2, abs=1) and (y0 + y1) / 2 == pytest.approx(size[1] / 2, abs=1)
    assert x1 - x0 == pytest.approx(y1 - y0, rel=0.01)  # a square in the picture, as the input is


def test_an_unknown_interpolation() -> None:
    with pytest.raises(Error, match="did you mean bilinear"):
        Preprocess(interpolation="biliner")


# -------------------------------------------------------------------------------------------- regions


def corner_places(preprocess, size: tuple[int, int], seen: int, along: int) -> float:
    """Where one column of the input lies in the picture, by painting single columns: slow and independent of ramps."""
    weights = []
    for place in range(size[along]):
        array = np.zeros((size[1], size[0], 3), np.uint8)
        array[(slice(None), place) if along == 0 else place] = 255
        weights.append(float(preprocess(Image.fromarray(array))[0].select(1 - along, seen).sum()))
    weights = np.array(weights)
    return float((weights * (np.arange(len(weights)) + 0.5)).sum() / weights.sum())


@pytest.mark.parametrize("size", [(60, 41), (41, 60)])
def test_region_says_what_the_input_shows(size: tuple[int, int]) -> None:
    preprocess = Preprocess(resize=64, crop=56, mean=(0, 0, 0), std=(1, 1, 1))
    x0, y0, x1, y1 = preprocess.region(size)
    for seen in (10, 28, 45):
        share = (seen + 0.5) / 56
        assert corner_places(preprocess, size, seen, 0) == pytest.approx(x0 + share * (x1 - x0), abs=0.06)
        assert corner_places(preprocess, size, seen, 1) == pytest.approx(y0 + share * (y1 - y0), abs=0.06)


NORMALISE = T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@given(
    st.tuples(st.integers(8, 600), st.integers(8, 600)),
    st.integers(40, 300),
    st.floats(0.5, 1),
    st.sampled_from(["bilinear", "bicubic"]),
)
@settings(max_examples=25, deadline=None)
def test_a_region_found_is_the_region_known(size, resize: int, share: float, interpolation: str) -> None:
    if max(size) > 16 * min(size):
        return
    crop = max(8, round(resize * share))
    known = Preprocess(resize, crop, interpolation=interpolation)
    steps = [T.Resize(resize, InterpolationMode(interpolation)), T.CenterCrop(crop), T.ToTensor(), NORMALISE]
    np.testing.assert_allclose(region_seen(T.Compose(steps), size), known.region(size), atol=0.5)


@given(st.tuples(st.integers(8, 400), st.integers(8, 400)))
@settings(max_examples=15, deadline=None)
def test_a_squashed_picture_is_seen_whole(size: tuple[int, int]) -> None:
    squash = T.Compose([T.Resize((224, 224)), T.ToTensor(), NORMALISE])
    np.testing.assert_allclose(region_seen(squash, size), (0, 0, *size), atol=0.25)


@given(st.tuples(st.integers(20, 300), st.integers(20, 300)), st.tuples(*[st.integers(0, 30)] * 4))
@settings(max_examples=30, deadline=None)
def test_padding_is_seen_beyond_the_picture(size: tuple[int, int], sides: tuple[int, ...]) -> None:
    left, top, right, bottom = sides
    pad = T.Compose([T.Pad(sides, fill=80), T.ToTensor(), NORMALISE])
    np.testing.assert_allclose(region_seen(pad, size), (-left, -top, size[0] + right, size[1] + bottom), atol=0.25)


def test_a_corner_crop_is_found() -> None:
    corner = T.Compose([T.Lambda(lambda image: T.functional.crop(image, 30, 10, 50, 70)), T.ToTensor()])
    np.testing.assert_allclose(region_seen(corner, (200, 100)), (10, 30, 80, 80), atol=0.1)


def test_the_region_of_a_photograph() -> None:
    """One grey level a row of the input (4000x3000) is where rounding to 8 bits adds up instead of averaging out."""
    steps = T.Compose([T.Resize(256), T.CenterCrop(224), T.ToTensor(), NORMALISE])
    for size in ((4000, 3000), (2999, 4001), (640, 480), (333, 500), (1920, 1080), (32, 32), (200, 31)):
        np.testing.assert_allclose(region_seen(steps, size), Preprocess().region(size), atol=0.25)


def test_what_is_no_crop_is_taken_to_show_the_whole() -> None:
    for odd in (T.RandomHorizontalFlip(1), T.Lambda(lambda image: image.rotate(90, expand=True))):
        np.testing.assert_allclose(region_seen(T.Compose([odd, T.ToTensor()]), (50, 40)), (0, 0, 50, 40), atol=0.01)
    assert region_seen(T.Compose([T.Resize(32), T.ToTensor()]), (2, 2)) == (0, 0, 2, 2)


def test_seen_pixels_are_those_with_their_centre_in_the_region() -> None:
    for region in ((0.0, 0.0, 7.0, 5.0), (0.5, 0.49, 6.5, 4.51), (0.6, 1.4, 6.4, 4.4), (-3.0, -2.0, 9.0, 8.0)):
        x0, y0, x1, y1 = seen_pixels((7, 5), region)
        assert list(range(x0, x1)) == [x for x in range(7) if region[0] <= x + 0.5 < region[2]]
        assert list(range(y0, y1)) == [y for y in range(5) if region[1] <= y + 0.5 < region[3]]


# -------------------------------------------------------------------------------------------- maps


@pytest.mark.parametrize("grid", [(7, 7), (1, 1), (1, 5), (14, 3), (40, 50)])
@pytest.mark.parametrize("size", [(224, 224), (31, 17), (1, 1), (640, 3)])
def test_resample_is_interpolate(grid: tuple[int, int], size: tuple[int, int]) -> None:
    maps = torch.randn(2, 3, *grid)
    expected = F.interpolate(maps, (size[1], size[0]), mode="bilinear", align_corners=False)
    torch.testing.assert_close(resample(maps, size), expected, atol=5e-5, rtol=1e-5)


def test_resample_into_a_region_is_zero_outside() -> None:
    maps = torch.rand(5, 4) + 1
    placed = resample(maps, (30, 20), (3, 4, 25, 16))
    expected = F.interpolate(maps[None, None], (12, 22), mode="bilinear", align_corners=False)[0, 0]
    torch.testing.assert_close(placed[4:16, 3:25], expected, atol=1e-5, rtol=1e-5)
    placed[4:16, 3:25] = 0
    assert (placed == 0).all()


def test_resample_beyond_the_picture_shows_the_part_within() -> None:
    maps = torch.rand(6, 6)
    large = F.interpolate(maps[None, None], (60, 60), mode="bilinear", align_corners=False)[0, 0]
    torch.testing.assert_close(resample(maps, (40, 30), (-10, -20, 50, 40)), large[20:50, 10:50], atol=1e-5, rtol=1e-5)


def flooded(heat: np.ndarray, threshold: float) -> tuple[int, int, int, int]:
    """The box by flood fill, pixel by pixel."""
    if heat.max() <= 0:
        return 0, 0, heat.shape[1] - 1, heat.shape[0] - 1
    hot = heat >= np.float32(threshold * float(heat.max()))
    parts, seen = [], np.zeros_like(hot)
    for start in zip(*np.nonzero(hot), strict=True):
        part, waiting = [], deque([start] if not seen[start] else [])
        seen[start] = True
        while waiting:
            y, x = waiting.popleft()
            part.append((y, x))
            for near in ((y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
                inside = 0 <= near[0] < heat.shape[0] and 0 <= near[1] < heat.shape[1]
                if inside and hot[near] and not seen[near]:
                    seen[near] = True
                    waiting.append(near)
        if part:
            parts.append(part)
    best = max(parts, key=lambda part: (len(part), max(heat[p] for p in part)))
    ys, xs = zip(*best, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9), st.sampled_from([0.15, 0.5, 0.8, 1.0]))
@settings(max_examples=200, deadline=None)
def test_the_box_is_that_of_a_flood_fill(seed: int, height: int, width: int, threshold: float) -> None:
    heat = np.random.default_rng(seed).standard_normal((height, width)).astype(np.float32)
    assert box(torch.from_numpy(heat), threshold) == flooded(heat, threshold)


def drawn(*rows: str) -> torch.Tensor:
    return torch.tensor([[float(c) if c != "." else 0.0 for c in row] for row in rows])


def test_boxes_by_hand() -> None:
    assert box(drawn("9....", ".9...", "..9..", ".....")) == (0, 0, 2, 2)  # diagonal neighbours are one part
    assert box(drawn("99..8", "....8", "....8")) == (4, 0, 4, 2)  # the larger part, though not the hottest
    assert box(drawn("88..9", "....9")) == (4, 0, 4, 1)  # of two as large, that with the higher peak
    assert box(drawn("99..8", "....8")) == (0, 0, 1, 0)
    assert box(drawn("...", ".4.", "...")) == (1, 1, 1, 1)  # corners are inclusive
    assert box(drawn("...", "...")) == (0, 0, 2, 1)  # no evidence: all
    assert box(-drawn("123", "456")) == (0, 0, 2, 1)
    assert box(torch.tensor([[20.0, 3.0, 2.9]])) == (0, 0, 1, 0)  # 15 % of the maximum counts


@pytest.mark.parametrize("threshold", [-0.1, 1.5, 15, float("nan")])
def test_a_threshold_that_is_no_share(threshold: float) -> None:
    with pytest.raises(Error, match="0 to 1"):
        box(torch.rand(3, 3), threshold)


def test_the_peak_is_x_y_and_the_first() -> None:
    assert peak(drawn("...", "..9", "9..")) == (2, 1)


# -------------------------------------------------------------------------------------------- all together


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_a_bright_spot_comes_back_where_it_was(data) -> None:
    """Picture to input, input to a grid of cells, grid back to the picture: the peak lies within a cell of the spot."""
    width, height = (data.draw(st.integers(60, 501)) for _ in range(2))
    squash = data.draw(st.booleans())
    preprocess = Preprocess(resize=120, crop=96, squash=squash, mean=(0, 0, 0), std=(1, 1, 1))
    x0, y0, x1, y1 = seen_pixels((width, height), preprocess.region((width, height)))
    x, y = data.draw(st.integers(x0 + 4, x1 - 5)), data.draw(st.integers(y0 + 4, y1 - 5))
    seen = preprocess(spot(width, height, x, y, 4))
    grid = F.avg_pool2d(seen.mean(0)[None], 8)[0]  # 12 x 12 cells
    region = preprocess.region((width, height))
    found = peak(resample(grid, (width, height), region))
    assert abs(found[0] - x) <= (region[2] - region[0]) / 12 + 1
    assert abs(found[1] - y) <= (region[3] - region[1]) / 12 + 1
