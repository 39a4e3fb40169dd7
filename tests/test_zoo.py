"""A name becomes a model; files of weights that fit, that do not, and that are none."""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision.models import get_model, get_model_weights

import wherefore as wf
from fixtures_doors import data, photo, random_weights, squeezenet  # noqa: F401
from wherefore.errors import Error
from wherefore.models.from_torchvision import _chosen, preprocess_of, torchvision_names
from wherefore.models.zoo import load, read_state

NAME = "squeezenet1_1"


def test_a_model_without_weights() -> None:
    model = load(NAME, None)
    assert model.name == NAME and not model.net.training and len(model.classes) == 1000
    assert model.classes[281] == "tabby"
    assert len(model.weights_sha256) == 64


def test_weights_from_a_file_are_in_the_network(squeezenet: Path) -> None:  # noqa: F811
    model, state = load(NAME, squeezenet), load_file(squeezenet)
    for key, value in model.net.state_dict().items():
        assert torch.equal(value, state[key])
    assert model.weights_sha256 == hashlib.sha256(squeezenet.read_bytes()).hexdigest()


@pytest.mark.parametrize("wrap", [None, "state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_state_dicts_of_many_makes(tmp_path: Path, wrap: str | None, prefix: str, suffix: str) -> None:
    state = {"a.weight": torch.ones(2), "b": torch.zeros(1)}
    prefixed = {prefix + key: value for key, value in state.items()}
    path = tmp_path / f"weights.{suffix}"
    if suffix == "safetensors":
        save_file(prefixed, path)
    else:
        torch.save({wrap: prefixed, "epoch": 3} if wrap else prefixed, path)
    assert {key: value.tolist() for key, value in read_state(path).items()} == {"a.weight": [1, 1], "b": [0]}


def test_a_head_of_ones_own_size(tmp_path: Path) -> None:
    file = random_weights(tmp_path, NAME, num_classes=3)
    model = load(NAME, file, classes=["cat", "dog", "bird"])
    assert list(model.classes) == ["cat", "dog", "bird"]
    assert model.net(torch.rand(1, 3, 64, 64)).shape == (1, 3)
    with pytest.raises(Error, match=r"classifier\.1\.weight is \(3, 512, 1, 1\) in the file and \(1000, 512, 1, 1\)"):
        load(NAME, file)
    with pytest.raises(Error, match="classes= belongs to weights of your own"):
        load(NAME, classes=["cat"])
    with pytest.raises(Error, match=r"classes= is a list of names: give \['cat'\] for one"):
        load(NAME, file, classes="cat")


def test_weights_of_another_network(squeezenet: Path, tmp_path: Path) -> None:  # noqa: F811
    with pytest.raises(Error) as error:
        load("resnet18", squeezenet)
    text = str(error.value)
    assert "do not fit resnet18: missing conv1.weight, bn1.weight, bn1.bias and" in text
    assert "; unexpected classifier.1.bias, classifier.1.weight, features.0.bias and 49 more." in text
    state = load_file(squeezenet)
    del state["features.0.bias"]
    save_file(state, tmp_path / "less.safetensors")
    with pytest.raises(Error, match=r"do not fit squeezenet1_1: missing features\.0\.bias\.$"):
        load(NAME, tmp_path / "less.safetensors")


def test_old_files_without_the_counters_of_batch_norm(tmp_path: Path) -> None:
    state = get_model("mobilenet_v3_small", weights=None).state_dict()
    torch.save({k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}, tmp_path / "old.pth")
    assert load("mobilenet_v3_small", tmp_path / "old.pth").name == "mobilenet_v3_small"


class Trap:
    """A pickle that runs code when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["text.pth", "text.safetensors", "empty.pth", "empty.safetensors", "pickle", "torch"])
def test_files_that_are_no_weights(tmp_path: Path, kind: str) -> None:
    path, sprung = tmp_path / (kind if "." in kind else "code.pth"), tmp_path / "sprung"
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"weight": Trap(sprung)}))
    elif kind == "torch":
        torch.save({"weight": Trap(sprung)}, path)
    else:
        path.write_text("these are no weights" if "text" in kind else "")
    with pytest.raises(Error, match=r"is not a readable file of weights: a state dict is wanted") as error:
        load(NAME, path)
    assert not sprung.exists() and "\n" not in str(error.value) and "weights_only" not in str(error.value)


def test_a_whole_network_or_a_list_is_no_state_dict(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "net.pth")
    torch.save([torch.ones(2)], tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "other.pth")
    for name in ("net", "list", "other"):
        with pytest.raises(Error, match="state dict"):
            load(NAME, tmp_path / f"{name}.pth")
    with pytest.raises(Error, match=r"none\.pth does not exist"):
        load(NAME, tmp_path / "none.pth")


@pytest.mark.parametrize(
    "name, words",
    [
        ("resnet5", "no model is called 'resnet5': did you mean resnet50"),
        ("ResNet50", "did you mean resnet50"),
        ("", "no model is called ''"),
        ("raft_large", "no model is called 'raft_large'"),  # of optical flow
        ("quantized_resnet18", "no model is called 'quantized_resnet18'"),
        ("nowhere:net", "no source of models is called 'nowhere': there are .*caffe, timm, torchvision, hf, paper"),
        ("nowhere:a:b/c", "no source of models is called 'nowhere'"),
        (":resnet50", "no source of models is called ''"),
    ],
)
def test_unknown_names(name: str, words: str) -> None:
    with pytest.raises(Error, match=words):
        load(name, None)


@pytest.mark.parametrize("failure", [URLError("Name or service not known"), OSError("disk full"), RuntimeError("hash")])
def test_a_failed_download(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(Error) as error:
        wf.load(NAME)
    text = str(error.value)
    assert "could not be downloaded" in text and "--weights FILE" in text and "\n" not in text
    assert get_model_weights(NAME).DEFAULT.url in text  # the very file to fetch


def test_a_download_carries_the_sha256_of_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    state = get_model(NAME, weights=None).state_dict()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: state)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    file = tmp_path / "checkpoints" / Path(get_model_weights(NAME).DEFAULT.url).name
    file.parent.mkdir()
    file.write_bytes(b"as if")
    assert load(NAME).weights_sha256 == hashlib.sha256(b"as if").hexdigest()


def test_a_fetched_file_is_preprocessed_as_the_download_would_be(tmp_path: Path) -> None:
    """The sentence on a failed download says which file to fetch: it must give what the download would have given."""
    known = get_model_weights("resnet50")
    state = get_model("resnet50", weights=None).state_dict()
    file = tmp_path / Path(known.DEFAULT.url).name
    torch.save(state, file)
    image = photo(301, 203)
    assert known.DEFAULT.transforms().resize_size != known.IMAGENET1K_V1.transforms().resize_size
    assert torch.equal(load("resnet50", file).preprocess(image), known.DEFAULT.transforms()(image))
    torch.save(state, tmp_path / "mine.pth")
    own = load("resnet50", tmp_path / "mine.pth")
    assert torch.equal(own.preprocess(image), known.IMAGENET1K_V1.transforms()(image))


def test_every_network_has_a_preprocess_and_names() -> None:
    assert len(torchvision_names()) > 105
    for name, kind in torchvision_names().items():
        for weights in (None, "default", *(Path(w.url) for w in get_model_weights(name))):
            chosen = _chosen(get_model_weights(name), weights)
            prepared, count = preprocess_of(chosen), len(chosen.meta["categories"])
            if kind == "torchvision.models":
                assert count == 1000 and prepared.crop <= chosen.transforms().resize_size[0]
            else:
                assert count in (2, 21, 91, 400)


def test_a_network_is_built_for_the_size_of_its_preprocessing() -> None:
    """Vision transformers take one size of input: vit_h_14's weights are for 518 pixels, not the usual 224."""
    with torch.device("meta"):
        model = load("vit_h_14", None)
    assert model.net.image_size == model.preprocess.crop == 518


def test_inception_and_googlenet_with_and_without_their_training_heads(tmp_path: Path) -> None:
    net = get_model("googlenet", weights=None, aux_logits=True, init_weights=False)
    torch.save(net.state_dict(), tmp_path / "aux.pth")
    model = load("googlenet", tmp_path / "aux.pth")
    assert model.net.transform_input and model.net.aux1 is None
    assert not load("googlenet", None).net.transform_input


def test_real_weights_find_the_cat_below_the_dog() -> None:
    file, picture = data("weights/mobilenet_v2_imagenet.safetensors"), data("images/cat_dog.jpg")
    e = wf.explain(load("mobilenet_v2", file), str(picture), target=["tiger cat", "bull mastiff"])
    assert e.classes.tolist() == [[282, 243]]
    (_, cat), (_, dog) = e.peaks()[0].tolist()
    assert dog < 240 < cat and e.boxes()[0, 0, 1] > 240  # of 480 rows
