"""Crops that are no squares, whole pictures, and frames of videos, against torchvision's own transforms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as T
from torchvision.models import get_model_weights
from torchvision.transforms import InterpolationMode

from fixtures_doors import photo
from wherefore.errors import Error, ImageError
from wherefore.imaging import Frames, Preprocess
from wherefore.models.from_torchvision import DETECTION, SEGMENTATION, preprocess_of, torchvision_names
from wherefore.regions import region_seen

SIZES = [(301, 203), (97, 211), (224, 224), (5, 7), (1, 1)]


@pytest.mark.parametrize("resize, crop", [(64, (48, 97)), ((50, 80), (48, 61)), ((50, 80), None), (None, (48, 97))])
def test_pairs_are_height_and_width(resize, crop) -> None:
    ours = Preprocess(resize, crop)
    steps = [T.Resize(resize)] if resize else []
    steps += [T.CenterCrop(crop)] if crop else []
    theirs = T.Compose([*steps, T.ToTensor(), T.Normalize(ours.mean, ours.std)])
    for size in SIZES:
        assert torch.equal(ours(photo(*size)), theirs(photo(*size))), size
    for size in [(120, 90), (91, 140)]:
        np.testing.assert_allclose(ours.region(size), region_seen(theirs, size), atol=0.5)


def test_nothing_is_resized_or_cropped() -> None:
    ours = Preprocess(None, None, mean=(0, 0, 0), std=(1, 1, 1))
    assert torch.equal(ours(photo(37, 23)), T.ToTensor()(photo(37, 23)))
    assert ours.region((37, 23)) == (0, 0, 37, 23)
    assert torch.equal(Preprocess(None, None, squash=True)(photo(37, 23)), Preprocess(None, None)(photo(37, 23)))


def test_a_whole_picture_by_its_short_side() -> None:
    ours = Preprocess(52, None)
    theirs = T.Compose([T.Resize(52), T.ToTensor(), T.Normalize(ours.mean, ours.std)])
    assert torch.equal(ours(photo(301, 203)), theirs(photo(301, 203))) and ours.region((301, 203)) == (0, 0, 301, 203)
    assert Preprocess(52, None, longest=60)(photo(301, 203)).shape == (3, 40, 60)
    assert Preprocess(52, None, longest=60)(photo(203, 301)).shape == (3, 60, 40)
    assert Preprocess(52, None, longest=99)(photo(301, 203)).shape == (3, 52, 77)
    with pytest.raises(ImageError, match="20000x2 is too long for its width"):
        ours(Image.new("RGB", (20000, 2)))


def test_squashed_to_a_crop_that_is_no_square() -> None:
    ours = Preprocess(64, (31, 52), squash=True)
    theirs = T.Compose([T.Resize((31, 52)), T.ToTensor(), T.Normalize(ours.mean, ours.std)])
    assert torch.equal(ours(photo(301, 203)), theirs(photo(301, 203))) and ours.region((301, 203)) == (0, 0, 301, 203)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
def test_resizing_as_torch_does_tensors(interpolation: str) -> None:
    ours = Preprocess(40, 33, (0, 0, 0), (1, 1, 1), interpolation, antialias=False)
    resize = T.Resize(40, InterpolationMode(interpolation), antialias=False)
    for size in [(301, 203), (97, 211), (21, 17)]:
        image = photo(*size)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        assert torch.equal(ours(image), T.CenterCrop(33)(resize(pixels)).float() / 255), size
    with pytest.raises(Error, match="lanczos always smooths"):
        Preprocess(interpolation="lanczos", antialias=False)


def test_odd_margins_are_halved_downwards_on_request() -> None:
    image = photo(51, 40)  # half of its margin of 11 is 5.5
    assert Preprocess(None, 40).region(image.size)[0] == 6 and Preprocess(None, 40, rounds_down=True).region(
        image.size
    ) == (5, 0, 45, 40)


# -------------------------------------------------------------------------------------------- torchvision's presets


@pytest.mark.parametrize("name", [n for n, kind in torchvision_names().items() if kind in (DETECTION, SEGMENTATION)])
def test_segmentation_and_detection_are_prepared_as_torchvision_does(name: str) -> None:
    for weights in get_model_weights(name):
        ours, theirs = preprocess_of(weights), weights.transforms()
        for size in [(61, 43), (40, 77)]:
            assert torch.equal(ours(photo(*size)), theirs(photo(*size)))
            assert ours.region(size) == (0, 0, *size)


VIDEOS = [n for n, kind in torchvision_names().items() if kind.endswith("video")]


@pytest.mark.parametrize("name", VIDEOS)
def test_videos_are_prepared_as_torchvision_does(name: str) -> None:
    for weights in get_model_weights(name):
        ours, theirs = preprocess_of(weights), weights.transforms()
        assert ours.count in (16, 32, 128) and ours.count >= (weights.meta.get("min_temporal_size") or 1)
        frames = [photo(80, 60, seed) for seed in range(4)]
        taken = [frames[pick] for pick in ours.picks(4)]
        video = torch.stack([torch.from_numpy(np.array(frame)).permute(2, 0, 1) for frame in taken])
        assert torch.equal(ours(frames), theirs(video))
        assert ours.region((80, 60)) == ours.preprocess.region((80, 60)) == region_seen(ours, (80, 60))


# -------------------------------------------------------------------------------------------- frames


def test_frames_are_the_middles_of_equal_stretches() -> None:
    frames = Frames(Preprocess(8, 8), 4)
    assert frames.picks(4) == [0, 1, 2, 3] and frames.picks(8) == [1, 3, 5, 7] and frames.picks(100) == [12, 37, 62, 87]
    assert frames.picks(2) == [0, 0, 1, 1] and frames.picks(1) == [0] * 4 and frames.picks(3) == [0, 1, 1, 2]
    assert Frames(Preprocess(), 1).picks(9) == [4]


def test_frames_are_stacked_channels_first_or_time_first() -> None:
    pictures = [photo(20, 16, seed) for seed in range(8)]
    prepare = Preprocess(8, 8)
    expected = torch.stack([prepare(pictures[i]) for i in (1, 3, 5, 7)])
    assert torch.equal(Frames(prepare, 4, time_first=True)(pictures), expected)
    assert torch.equal(Frames(prepare, 4)(pictures), expected.transpose(0, 1))


def test_what_is_no_video() -> None:
    frames = Frames(Preprocess(8, 8), 4)
    for wrong in ([], photo(8, 8), Path("video.mp4")):
        with pytest.raises(Error, match="a video is a list of pictures"):
            frames(wrong)  # type: ignore[arg-type]
    with pytest.raises(Error, match="of one size"):
        frames([photo(8, 8), photo(9, 8)])
    with pytest.raises(Error, match="one frame or more, not 0"):
        Frames(Preprocess(), 0)


def test_where_frames_prepared_by_an_unknown_callable_look() -> None:
    corner = T.Compose([T.Lambda(lambda image: T.functional.crop(image, 30, 10, 50, 70)), T.ToTensor()])
    np.testing.assert_allclose(region_seen(Frames(corner, 4), (200, 100)), (10, 30, 80, 80), atol=0.1)
    with pytest.raises(Error, match="region_seen"):
        Frames(corner, 4).region((200, 100))
