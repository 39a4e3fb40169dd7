"""Where models come from: torchvision's other kinds of networks, timm's classifiers, missing extras, lists of names."""

from __future__ import annotations

import hashlib
import sys
from functools import cache
from http.client import IncompleteRead
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision.models import get_model_weights

from fixtures_doors import photo, random_weights
from wherefore import cli
from wherefore.errors import Error
from wherefore.imaging import Frames, Preprocess
from wherefore.models.from_torchvision import OLDEST, _as_downloaded
from wherefore.models.zoo import load
from wherefore.regions import region_seen

# -------------------------------------------------------------------------------------------- torchvision


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(url: str, *_: object, **__: object) -> None:
        raise OSError(f"{url} was to be fetched")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fetch)


def test_segmentation_has_scores_of_every_pixel(tmp_path: Path) -> None:
    name = "lraspp_mobilenet_v3_large"
    model = load(name, random_weights(tmp_path, name, weights_backbone=None))
    assert model.classes[0] == "__background__" and model.classes[15] == "person" and len(model.sha256) == 64
    image = model.preprocess(photo(64, 48))
    assert image.shape == (3, 520, 693)
    assert model.net(image[None, :, :96, :128])["out"].shape == (1, 21, 96, 128)
    own = load(
        name, random_weights(tmp_path, name, weights_backbone=None, num_classes=3), classes=["paper", "cat", "dog"]
    )
    assert own.net(image[None, :, :96, :128])["out"].shape == (1, 3, 96, 128)


def test_the_extra_head_of_a_segmentation_is_dropped(tmp_path: Path) -> None:
    name = "deeplabv3_mobilenet_v3_large"
    with_head = random_weights(tmp_path, name, weights_backbone=None, aux_loss=True)
    model = load(name, with_head)
    assert model.net.aux_classifier is None and set(model.net(torch.rand(1, 3, 64, 64))) == {"out"}
    state = {k: v for k, v in load_file(with_head).items() if not k.startswith("aux_classifier.")}
    save_file(state, tmp_path / "without.safetensors")
    assert torch.equal(
        load(name, tmp_path / "without.safetensors").net.state_dict()["classifier.0.project.0.weight"],
        state["classifier.0.project.0.weight"],
    )
    assert load(name, None).net.aux_classifier is None


def test_detection_is_fed_pictures_as_they_are(tmp_path: Path) -> None:
    name = "ssdlite320_mobilenet_v3_large"
    model = load(name, random_weights(tmp_path, name, weights_backbone=None, num_classes=91))
    image = model.preprocess(photo(64, 48))
    assert image.shape == (3, 48, 64) and 0 <= float(image.min()) and float(image.max()) <= 1
    (found,) = model.net(image[None])
    assert set(found) == {"boxes", "scores", "labels"} and len(model.classes) == 91


@pytest.mark.parametrize("name", OLDEST)
def test_the_oldest_detectors_are_without_epsilon(name: str) -> None:
    """As torchvision makes them, under whose own name alone a file is known to be theirs."""
    for key, epsilon in (("COCO_V1", 0.0), ("COCO_V2", 1e-5), ("COCO_LEGACY", 1e-5)):
        net = nn.Sequential(nn.BatchNorm2d(1))
        _as_downloaded(net, name, SimpleNamespace(name=key))
        assert net[0].eps == epsilon
    _as_downloaded(net, f"{name}_v2", SimpleNamespace(name="COCO_V1"))
    assert net[0].eps == 1e-5


def test_a_network_of_videos() -> None:
    model = load("mc3_18", None)
    assert isinstance(model.preprocess, Frames) and model.preprocess.count == 16 and model.classes[0] == "abseiling"
    video = model.preprocess([photo(64, 48)] * 3)
    assert video.shape == (3, 16, 112, 112)
    assert model.net(video[None, :, :4, :32, :32]).shape == (1, 400)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["fcn_resnet50", "fasterrcnn_mobilenet_v3_large_320_fpn", "retinanet_resnet50_fpn_v2", "fcos_resnet50_fpn",
     "ssd300_vgg16", "maskrcnn_resnet50_fpn", "keypointrcnn_resnet50_fpn", "r3d_18", "s3d", "swin3d_t", "mvit_v2_s"],
)  # fmt: skip
def test_nothing_is_downloaded_for_random_weights(name: str) -> None:
    assert load(name, None).classes


def test_a_failed_download_of_a_detector_names_the_file() -> None:
    url = get_model_weights("fcos_resnet50_fpn").DEFAULT.url
    with pytest.raises(Error, match=f"could not be downloaded .* fetch {url} where there is a network"):
        load("fcos_resnet50_fpn")


# -------------------------------------------------------------------------------------------- timm

TINY = "timm:test_vit"


@pytest.fixture
def timm() -> Any:
    return pytest.importorskip("timm")


def test_a_classifier_of_timms(timm: Any, tmp_path: Path) -> None:
    random = load(TINY, None)
    assert random.name == TINY and random.sha256 is None and not random.net.training
    assert len(random.classes) == 1000 and "tiger cat" in random.classes[282]
    save_file(random.net.state_dict(), tmp_path / "mine.safetensors")
    model = load(TINY, tmp_path / "mine.safetensors")
    assert model.sha256 == hashlib.sha256((tmp_path / "mine.safetensors").read_bytes()).hexdigest()
    image = model.preprocess(photo(200, 170))[None]
    assert image.shape == (1, 3, 160, 160) and torch.equal(model.net(image), random.net(image))


def test_a_head_of_ones_own_size_in_timm(timm: Any, tmp_path: Path) -> None:
    save_file(timm.create_model("test_vit", num_classes=2).state_dict(), tmp_path / "mine.safetensors")
    model = load(TINY, tmp_path / "mine.safetensors", classes=["cat", "dog"])
    assert model.classes == ("cat", "dog") and model.net.head.out_features == 2
    with pytest.raises(Error, match=r"head\.weight is \(2, 64\) in the file and \(1000, 64\) .* head of your own"):
        load(TINY, tmp_path / "mine.safetensors")
    with pytest.raises(Error, match="classes= belongs to weights of your own"):
        load(TINY, classes=["cat", "dog"])
    with pytest.raises(Error, match=r"do not fit timm:test_resnet: missing "):
        load("timm:test_resnet", tmp_path / "mine.safetensors")


def test_weights_under_their_authors_names_are_renamed_by_timm(timm: Any, tmp_path: Path) -> None:
    net = timm.create_model("test_convnext")
    state = net.state_dict()
    # As ConvNeXt's authors name them; timm's filter knows.
    theirs = {k.replace("head.fc.", "head.").replace("head.norm.", "norm."): v for k, v in state.items()}
    theirs = {k.replace("stem.", "downsample_layers.0."): v for k, v in theirs.items()}
    renamed = sys.modules[type(net).__module__].checkpoint_filter_fn(dict(theirs), net)
    assert set(renamed) == set(state) != set(theirs)
    torch.save(theirs, tmp_path / "theirs.pth")
    found = load("timm:test_convnext", tmp_path / "theirs.pth").net.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in found.items())


@pytest.mark.parametrize(
    "name, words",
    [
        ("timm:vit_small_patch16_22", "no model is called 'timm:vit_small_patch16_22': did you mean timm:vit_small"),
        ("timm:resnet18.a1_in1", "did you mean timm:resnet18.a1_in1k"),
        ("timm:hf-hub:someone/net", "no model is called 'timm:hf-hub:someone/net'"),
        ("timm:", "no model is called 'timm:'"),
        ("timm:vit_small_patch14_dinov2", "gives features, not classes: give weights of your own with the names"),
    ],
)
def test_names_that_timm_does_not_know(timm: Any, name: str, words: str) -> None:
    with pytest.raises(Error, match=words):
        load(name, None)


def test_features_become_a_classifier_with_classes_of_ones_own(timm: Any) -> None:
    with torch.device("meta"):
        model = load("timm:vit_small_patch14_dinov2", None, classes=["cat", "dog"])
    assert model.net.head.out_features == 2 and model.classes == ("cat", "dog")


@pytest.mark.parametrize("failure", [OSError("no network\nat all"), RuntimeError(""), IncompleteRead(b"")])
def test_a_failed_download_of_timms(timm: Any, monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", fail)
    with pytest.raises(
        Error, match=r"could not be downloaded \(.+\): fetch model\.safetensors of .*timm/test_vit"
    ) as error:
        load(TINY)
    assert "--weights FILE" in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(Error, match="timm has no weights for botnet50ts_256: give a file"):
        load("timm:botnet50ts_256")


def test_a_download_of_timms_is_in_the_network(timm: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    state, file = timm.create_model("test_vit").state_dict(), tmp_path / "model.safetensors"
    save_file(state, file)
    asked = []
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", lambda *a, **_: dict(state))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *a: asked.append(a) or str(file))
    model = load(f"{TINY}.r160_in1k")
    assert torch.equal(model.net.head.weight, state["head.weight"])
    assert model.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert asked == [("timm/test_vit.r160_in1k", "model.safetensors")]


@cache
def configs() -> list[dict[str, Any]]:
    """Every way of preparing pictures that timm's weights want, up to inputs of 300 pixels; and what none wants yet."""
    timm = pytest.importorskip("timm")
    found = {}
    for name in timm.list_models(pretrained=True):
        config = timm.models.get_pretrained_cfg(name).to_dict()
        data = timm.data.resolve_data_config({}, pretrained_cfg=config)
        if max(data["input_size"]) <= 300 and data["input_size"][1] == data["input_size"][2]:
            found[str([data[key] for key in ("input_size", "crop_pct", "crop_mode", "interpolation")])] = config
    shapes = [
        {"input_size": (3, 61, 97), "crop_mode": mode, "crop_pct": 0.9} for mode in ("center", "squash", "border")
    ]
    return [*found.values(), *shapes]


@pytest.mark.parametrize("size", [(151, 103), (67, 130)])
def test_pictures_are_prepared_as_timm_does(timm: Any, size: tuple[int, int]) -> None:
    from wherefore.models.from_timm import preprocess_of

    image, every = photo(*size), configs()
    assert len(every) > 30 and any(config.get("crop_mode") == "border" for config in every)
    for config in every:
        net: Any = SimpleNamespace(pretrained_cfg=config)
        theirs = timm.data.create_transform(**timm.data.resolve_data_config({}, model=net))
        assert torch.equal(preprocess_of(timm, net)(image), theirs(image)), config


def test_where_timms_squashed_and_bordered_pictures_look(timm: Any) -> None:
    from wherefore.models.from_timm import preprocess_of

    def prepared(**config: Any) -> Any:
        net: Any = SimpleNamespace(pretrained_cfg=config)
        return preprocess_of(timm, net), timm.data.create_transform(**timm.data.resolve_data_config({}, model=net))

    ours, theirs = prepared(input_size=(3, 64, 64), crop_mode="squash", crop_pct=0.8)
    assert isinstance(ours, Preprocess)
    np.testing.assert_allclose(ours.region((120, 90)), region_seen(theirs, (120, 90)), atol=0.5)
    ours, _ = prepared(input_size=(3, 64, 64), crop_mode="border", crop_pct=1.0, mean=(0.5,) * 3)
    np.testing.assert_allclose(region_seen(ours, (120, 90)), (0, -15, 120, 105), atol=0.6)


@pytest.mark.parametrize("count, first", [(11821, "organism"), (21841, "organism"), (21843, "organism"), (77, None)])
def test_the_names_of_other_imagenets(timm: Any, count: int, first: str | None) -> None:
    from wherefore.models.from_timm import _imagenet

    names = _imagenet(timm, count)
    assert (names is None) == (first is None) and (names is None or len(names) == count)


# -------------------------------------------------------------------------------------------- extras


@pytest.mark.parametrize("name, library", [(TINY, "timm"), ("hf:someone/net", "transformers")])
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, name: str, library: str) -> None:
    monkeypatch.setitem(sys.modules, library, None)  # as if it were not installed
    with pytest.raises(Error, match=rf"needs {library}: pip install 'wherefore\[models\]'"):
        load(name)


# -------------------------------------------------------------------------------------------- the list of names


def listed(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[list[str], str, int]:
    with pytest.raises(SystemExit) as stop:
        cli.main(["models", *argv])
    printed = capsys.readouterr()
    return printed.out.split(), printed.err, int(stop.value.code or 0)


def test_the_list_of_torchvisions_names(capsys: pytest.CaptureFixture[str]) -> None:
    names, _, _ = listed(capsys)
    for name in ("resnet50", "fcn_resnet50", "fasterrcnn_resnet50_fpn", "r3d_18"):
        assert name in names
    assert not any(name.startswith(("raft", "quantized", "timm")) for name in names)
    assert listed(capsys, "squeeze")[0] == ["squeezenet1_0", "squeezenet1_1"]


def test_the_list_of_timms_names(timm: Any, capsys: pytest.CaptureFixture[str]) -> None:
    names = listed(capsys, "timm:vit_tiny")[0]
    assert "timm:vit_tiny_patch16_224" in names and all("vit_tiny" in name for name in names)
    assert listed(capsys, "vit_tiny", "--source", "timm")[0] == names
    assert listed(capsys, "vit_tiny", "--source", "timm", "--json")[0][0].startswith('["timm:')


@pytest.mark.parametrize(
    "argv, words",
    [
        (["zzz"], "no model's name has 'zzz' in it: `wherefore models` lists them all"),
        (["timm:zzz"], "no model's name has 'timm:zzz' in it: `wherefore models timm:` lists them all"),
        (["hf:net"], "hf:ORG/NAME is any repository of Hugging Face's"),
        (
            ["--source", "hub"],
            "no source of models is called 'hub': there are torchvision, timm, scenes, caffe, preact, paper.",
        ),
    ],
)
def test_names_that_cannot_be_listed(capsys: pytest.CaptureFixture[str], argv: list[str], words: str) -> None:
    if argv[0].startswith("timm"):
        pytest.importorskip("timm")
    _, error, status = listed(capsys, *argv)
    assert words in error and status == 2


@pytest.mark.parametrize("command, extra", [("models", "models"), ("bench", "bench")])
def test_the_help_names_the_extra_in_full(capsys: pytest.CaptureFixture[str], command: str, extra: str) -> None:
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    assert f"'wherefore[{extra}]'" in capsys.readouterr().out
