"""``hf:``: each family of networks, tiny and random, saved in a folder, loaded and run; and what is refused."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

pytest.importorskip("transformers")

import transformers as hf

from fixtures_doors import photo
from fixtures_transformers import (
    SIDES,
    SMALL,
    TEXT,
    bytelevel,
    clip,
    detr,
    saved,
    segformer,
    siglip,
    videomae,
    vit,
    wordpiece,
    yolos,
)
from wherefore.errors import Error
from wherefore.imaging import Frames, Preprocess
from wherefore.models.processors import LEVELS, Processed, translated
from wherefore.models.zoo import load
from wherefore.regions import region_seen
from wherefore.text import Words


def shown(preprocess: Any, width: int = 50, height: int = 37) -> torch.Tensor:
    """A picture as a network is fed it."""
    return preprocess(photo(width, height))[None]


# -------------------------------------------------------------------------------------------- families


def test_a_classifier_of_pictures(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    net = vit(id2label={0: "cat", 1: "dog", 2: "bird"})
    name = saved(tmp_path, net, hf.ViTImageProcessor(size=SIDES))
    capfd.readouterr()
    model = load(name)
    assert capfd.readouterr() == ("", "")
    assert model.classes == ("cat", "dog", "bird") and model.name == name and not model.net.training
    assert not model.multilabel and model.output is None and not model.inputs
    assert model.sha256 == hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    image = shown(model.preprocess)
    assert torch.equal(model.net(image).logits, net.eval()(image).logits)
    random = load(name, None)
    assert random.sha256 is None and not torch.equal(random.net(image).logits, net(image).logits)


def test_names_and_kinds_of_classes(tmp_path: Path) -> None:
    name = saved(tmp_path, vit(problem_type="multi_label_classification"))
    model = load(name)
    assert model.multilabel and model.classes == ("LABEL_0", "LABEL_1", "LABEL_2") and model.preprocess is None


def test_a_clip_compares_with_prompts(tmp_path: Path) -> None:
    net = clip()
    name = saved(tmp_path, net, hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SIDES), wordpiece())
    with pytest.raises(Error, match=r"compares pictures with prompts: give these as classes=, \["):
        load(name)
    prompts = ["the cat", "dogs sat on"]
    model = load(name, classes=prompts)
    assert model.classes == tuple(prompts) and model.output == "logits_per_image" and not model.multilabel
    assert model.inputs["input_ids"].shape == model.inputs["attention_mask"].shape == (2, 6)
    assert model.inputs["attention_mask"].sum(1).tolist() == [4, 6]
    image = shown(model.preprocess)
    both = model.net(pixel_values=image, **model.inputs).logits_per_image
    for i, prompt in enumerate(prompts):  # padding changes nothing
        one = net.eval()(
            pixel_values=image,
            **{k: v for k, v in wordpiece()(prompt, return_tensors="pt").items() if k != "token_type_ids"},
        )
        torch.testing.assert_close(both[:, i : i + 1], one.logits_per_image)
    with pytest.raises(Error, match=r"^the prompt 'the cat .* \.\.\.' has 42 tokens, .* reads 12: shorten it"):
        load(name, classes=["the cat " * 20])


def test_a_siglip_wants_full_lengths_and_a_sigmoid(tmp_path: Path) -> None:
    name = saved(tmp_path, siglip(), hf.SiglipImageProcessor(size=SIDES), wordpiece())
    model = load(name, classes=["the cat"])
    assert model.inputs["input_ids"].shape == (1, 12) and model.multilabel
    assert model.net(pixel_values=shown(model.preprocess), **model.inputs).logits_per_image.shape == (1, 1)


def test_segmentation(tmp_path: Path) -> None:
    model = load(saved(tmp_path, segformer(), hf.SegformerImageProcessor(size={"height": 48, "width": 64})))
    assert model.preprocess.resize == (48, 64) and model.preprocess.crop is None and len(model.classes) == 4
    assert model.net(shown(model.preprocess)).logits.shape == (1, 4, 12, 16)


def test_detection_by_detr_and_yolos(tmp_path: Path) -> None:
    size = {"shortest_edge": 64, "longest_edge": 90}
    model = load(saved(tmp_path / "detr", detr(), hf.DetrImageProcessor(size=size)))
    assert isinstance(model.preprocess, Preprocess) and model.preprocess.longest == 90 and len(model.classes) == 3
    output = model.net(shown(model.preprocess, 50, 20))
    assert output.logits.shape == (1, 4, 4) and output.pred_boxes.shape == (1, 4, 4)
    # Its sides are multiples of sixteen, which Preprocess does not know: the processor is used itself.
    model = load(saved(tmp_path / "yolos", yolos(), hf.YolosImageProcessor(size=size)))
    assert isinstance(model.preprocess, Processed) and region_seen(model.preprocess, (90, 60)) == pytest.approx(
        (0, 0, 90, 60), abs=0.5
    )
    assert model.net(shown(model.preprocess)).logits.shape == (1, 5, 5)


def test_a_classifier_of_videos(tmp_path: Path) -> None:
    sizes = {"size": {"shortest_edge": 32}, "crop_size": SIDES}
    for kind in (hf.VideoMAEImageProcessor, hf.VideoMAEVideoProcessor):
        processor = kind(**sizes)
        model = load(saved(tmp_path / kind.__name__, videomae(), processor))
        assert isinstance(model.preprocess, Frames) and model.preprocess.count == 4 and model.preprocess.time_first
        frames = [photo(50, 37, seed) for seed in range(4)]
        ours = model.preprocess(frames)
        theirs = processor(frames, return_tensors="pt")["pixel_values"][0]
        assert ours.shape == theirs.shape == (4, 3, 32, 32)
        assert float((ours - theirs).abs().max()) <= LEVELS / 255 / 0.5
        assert model.net(ours[None]).logits.shape == (1, 5)


@pytest.mark.parametrize("kind", ["Bert", "Roberta", "DistilBert"])
def test_classifiers_of_texts(tmp_path: Path, kind: str) -> None:
    settings = {
        "dim": 32,
        "n_layers": 2,
        "n_heads": 2,
        "hidden_dim": 37,
        "vocab_size": 60,
        "max_position_embeddings": 12,
    }
    config = getattr(hf, f"{kind}Config")(**(settings if kind == "DistilBert" else TEXT), num_labels=3)
    tokenizer = wordpiece()
    model = load(saved(tmp_path, getattr(hf, f"{kind}ForSequenceClassification")(config), tokenizer))
    assert isinstance(model.preprocess, Words) and len(model.classes) == 3
    for text in ("the cat sat", "the cat " * 40):
        assert model.net(**model.preprocess(text)).logits.shape == (1, 3)
    ids = model.preprocess("the Cat")["input_ids"]
    assert model.preprocess.words(ids, "the Cat") == ["[CLS]", "the", " Cat", "[SEP]"]


def test_a_repository_of_timms(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    data = {"input_size": [3, 64, 64], "mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 0.9, "interpolation": "bicubic"}
    config = hf.TimmWrapperConfig(architecture="test_resnet", pretrained_cfg=data, num_labels=3)
    model = load(saved(tmp_path, hf.TimmWrapperForImageClassification(config)))
    assert shown(model.preprocess).shape == (1, 3, 64, 64)
    assert model.net(shown(model.preprocess)).logits.shape == (1, 3)


# -------------------------------------------------------------------------------------------- processors

PROCESSORS = {
    "vit": lambda: hf.ViTImageProcessor(size={"height": 40, "width": 57}),
    "clip": lambda: hf.CLIPImageProcessor(size={"shortest_edge": 44}, crop_size={"height": 31, "width": 33}),
    "padded": lambda: hf.CLIPImageProcessor(size={"shortest_edge": 31}, crop_size={"height": 44, "width": 60}),
    "siglip": lambda: hf.SiglipImageProcessor(size={"height": 32, "width": 32}),
    "convnext": lambda: hf.ConvNextImageProcessor(size={"shortest_edge": 64}),
    "convnext384": lambda: hf.ConvNextImageProcessor(size={"shortest_edge": 384}),
    "detr": lambda: hf.DetrImageProcessor(size={"shortest_edge": 64, "longest_edge": 90}),
    "nearest": lambda: hf.ViTImageProcessor(size={"height": 40, "width": 57}, resample=0),
    "plain": lambda: hf.ViTImageProcessor(do_normalize=False, do_resize=False),
}


@pytest.mark.parametrize("make", PROCESSORS.values(), ids=PROCESSORS)
def test_a_translated_processor_does_what_the_processor_does(make) -> None:
    processor = make()
    ours, theirs = translated(processor), Processed(processor)
    assert isinstance(ours, Preprocess)
    for size in [(97, 61), (61, 98), (50, 51), (203, 60)]:
        one, other = ours(photo(*size)), theirs(photo(*size))
        assert one.shape == other.shape
        assert float(((one - other).abs() * torch.tensor(ours.std).view(3, 1, 1)).max()) <= LEVELS / 255, size


@pytest.mark.parametrize("size", [(97, 61), (60, 91)])
def test_a_processor_of_another_kind_is_used_as_it_is(size: tuple[int, int]) -> None:
    for processor in (hf.MobileViTImageProcessor(), hf.ViTImageProcessor(rescale_factor=1 / 127.5)):
        ours = translated(processor)
        assert isinstance(ours, Processed)
        expected = processor(photo(*size), return_tensors="pt")["pixel_values"][0]
        assert torch.equal(ours(photo(*size)), expected)
    flipped = hf.MobileViTImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 56, "width": 56})
    known = Preprocess(64, 56, rounds_down=True)
    np.testing.assert_allclose(region_seen(translated(flipped), size), known.region(size), atol=0.6)


# -------------------------------------------------------------------------------------------- weights


def test_weights_from_a_file(tmp_path: Path) -> None:
    name, net = saved(tmp_path, vit()), vit()
    state, file = net.state_dict(), tmp_path / "mine.safetensors"
    save_file(state, file)
    model = load(name, file)
    assert model.sha256 == hashlib.sha256(file.read_bytes()).hexdigest() and not model.net.training
    assert all(torch.equal(value, state[key]) for key, value in model.net.state_dict().items())
    if not hasattr(net.vit, "layers"):
        return  # an older transformers, whose own names the old ones are
    old = {
        k.replace("vit.layers", "vit.encoder.layer").replace("q_proj", "attention.query"): v for k, v in state.items()
    }
    torch.save(old, tmp_path / "old.pth")  # the names of the years before
    assert torch.equal(
        load(name, tmp_path / "old.pth").net.vit.layers[1].attention.q_proj.weight,
        state["vit.layers.1.attention.q_proj.weight"],
    )


def test_a_head_of_ones_own_size(tmp_path: Path) -> None:
    name, file = saved(tmp_path, vit()), tmp_path / "mine.safetensors"
    save_file(vit(num_labels=2).state_dict(), file)
    model = load(name, file, classes=["cat", "dog"])
    assert model.classes == ("cat", "dog") and model.net.classifier.out_features == 2
    with pytest.raises(Error, match=r"classifier\.\w+ is \(2.*\) in the file and \(3.*; for a head of your own"):
        load(name, file)
    with pytest.raises(Error, match="classes= belongs to weights of your own"):
        load(name, classes=["cat", "dog"])


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    name, state = saved(tmp_path, vit()), vit().state_dict()
    del state["classifier.bias"]
    save_file({**state, "surplus": torch.ones(1)}, tmp_path / "wrong.safetensors")
    with pytest.raises(Error, match=r"do not fit hf:.*: missing classifier\.bias; unexpected surplus\.$"):
        load(name, tmp_path / "wrong.safetensors")
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(Error, match=r"do not fit hf:.*: missing classifier\.bias\.$"):  # it would be random
        load(name)


def test_half_precision_is_loaded_in_full(tmp_path: Path) -> None:
    net = vit().half()
    model = load(saved(tmp_path, net))
    assert {p.dtype for p in model.net.parameters()} == {torch.float32}
    assert torch.equal(model.net.classifier.weight, net.classifier.weight.float())


def test_pickled_weights_are_read_as_tensors_alone(tmp_path: Path) -> None:
    name = saved(tmp_path, vit())
    state = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(Error, match=r"has no weights for torch in .*: give a file with weights="):
        load(name)
    torch.save(state, tmp_path / "pytorch_model.bin")
    model = load(name)
    assert torch.equal(model.net.classifier.weight, state["classifier.weight"])
    assert model.sha256 == hashlib.sha256((tmp_path / "pytorch_model.bin").read_bytes()).hexdigest()

    class Trap:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    for write in (torch.save, lambda what, path: path.write_bytes(pickle.dumps(what))):
        write({"classifier.weight": Trap()}, tmp_path / "pytorch_model.bin")
        with pytest.raises(Error, match="hold more than tensors, which is not opened") as error:
            load(name)
        assert "\n" not in str(error.value) and not (tmp_path / "sprung").exists()


def test_weights_in_parts(tmp_path: Path) -> None:
    vit().save_pretrained(tmp_path, max_shard_size="20KB")
    parts = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(parts) > 1
    digests = "".join(hashlib.sha256(part.read_bytes()).hexdigest() for part in parts)
    assert load(f"hf:{tmp_path}").sha256 == hashlib.sha256(digests.encode()).hexdigest()


# -------------------------------------------------------------------------------------------- what is refused


def written(folder: Path, **changes: Any) -> str:
    """The name of a saved network whose config says something else."""
    name = saved(folder, vit())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    return name


def test_networks_of_other_kinds(tmp_path: Path) -> None:
    config = hf.BertConfig(**TEXT)
    with pytest.raises(Error, match=r"is a network of the kind BertForMaskedLM: what can be explained are"):
        load(saved(tmp_path / "mlm", hf.BertForMaskedLM(config)))
    with pytest.raises(Error, match=r"of the kind ViTModel:"):
        load(saved(tmp_path / "base", hf.ViTModel(vit().config)))
    patches = {**SMALL, "num_patches": 16, "patch_size": 8}
    net = hf.Siglip2Model(hf.Siglip2Config(text_config=TEXT, vision_config=patches))
    with pytest.raises(Error, match=r"is a Siglip2Model, which is not fed pictures"):
        load(saved(tmp_path / "naflex", net), classes=["a cat"])


def test_a_config_without_an_architecture_goes_by_its_type(tmp_path: Path) -> None:
    assert type(load(written(tmp_path, architectures=None)).net).__name__ == "ViTForImageClassification"


def test_code_of_a_repositorys_own_is_not_run(tmp_path: Path) -> None:
    name = written(tmp_path, model_type="unheard", auto_map={"AutoConfig": "code.Config"}, architectures=["Unheard"])
    (tmp_path / "code.py").write_text(f"import os; os.mkdir({str(tmp_path / 'sprung')!r})")
    with pytest.raises(Error, match=r"brings code of its own, which is not run here: Unheard\.$"):
        load(name)
    assert not (tmp_path / "sprung").exists()


def test_attention_that_would_be_fetched_is_torchs(tmp_path: Path) -> None:
    model = load(written(tmp_path, attn_implementation="someone/attention"))
    assert model.net.config._attn_implementation in ("eager", "sdpa")


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}, "are quantized"),
        ({"model_type": "unheard"}, "the config of hf:.* cannot be read"),
        ({"hidden_size": 33}, "cannot be loaded:|do not fit"),
    ],
)
def test_configs_that_cannot_be_used(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Error, match=words) as error:
        load(written(tmp_path, **changes))
    assert "\n" not in str(error.value)


def test_folders_that_are_not_there_or_hold_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for name, words in (
        ("hf:./none", r"the folder './none' does not exist: give hf:ORG/NAME"),
        ("hf:/none/of:it", "the folder '/none/of:it' does not exist"),
        ("hf:a/b/c", "the folder 'a/b/c' does not exist"),
        ("hf:", "the folder '' does not exist"),
        ("hf:empty", r"the folder empty has no config\.json"),
    ):
        with pytest.raises(Error, match=words):
            load(name)
    saved(tmp_path / "mine", vit())
    assert load("hf:./mine").name == "hf:./mine" and load("hf:mine").classes is not None
    (tmp_path / "mine" / "config.json").write_text("{")
    with pytest.raises(Error, match="the config of hf:mine cannot be read"):
        load("hf:mine")
    saved(tmp_path / "processed", vit())
    (tmp_path / "processed" / "preprocessor_config.json").write_text('{"image_processor_type": "Unheard"}')
    with pytest.raises(Error, match=r"the preprocessing in .*preprocessor_config\.json cannot be made"):
        load("hf:processed")


# -------------------------------------------------------------------------------------------- the hub


def hub(monkeypatch: pytest.MonkeyPatch, remote: Path, cache: Path) -> list[str]:
    """A hub whose one repository lies in a folder; returns what is asked of it."""
    asked: list[str] = []

    def download(name: str, *, allow_patterns: list[str], ignore_patterns: str) -> str:
        asked.extend(allow_patterns)
        cache.mkdir(exist_ok=True)
        for pattern in allow_patterns:
            for file in remote.glob(pattern):
                (cache / file.name).write_bytes(file.read_bytes())
        return str(cache)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    return asked


@pytest.mark.parametrize("kept", ["model.safetensors", "pytorch_model.bin"])
def test_a_repository_is_fetched_and_safetensors_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    remote, cache = tmp_path / "remote", tmp_path / "cache"
    net = vit()
    saved(remote, net, hf.ViTImageProcessor(size=SIDES))
    torch.save(net.state_dict(), remote / "pytorch_model.bin")
    if kept.endswith(".bin"):
        (remote / "model.safetensors").unlink()
    asked = hub(monkeypatch, remote, cache)
    model = load("hf:someone/net")
    assert model.name == "hf:someone/net" and isinstance(model.preprocess, Preprocess)
    assert ("pytorch_model.bin" in asked) == kept.endswith(".bin") == (cache / "pytorch_model.bin").exists()
    assert model.sha256 == hashlib.sha256((remote / kept).read_bytes()).hexdigest()


def test_no_weights_are_fetched_where_none_are_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "remote", vit())
    save_file(vit().state_dict(), tmp_path / "mine.safetensors")
    asked = hub(monkeypatch, tmp_path / "remote", tmp_path / "cache")
    load("hf:someone/net", None)
    load("hf:someone/net", tmp_path / "mine.safetensors")
    assert set(asked) == {"*.json", "*.txt", "*.model", "*.jinja"}


@pytest.mark.parametrize("failure", [OSError("no network\nat all"), ValueError("bad name"), RuntimeError()])
def test_a_failed_download(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(Error, match=r"hf:someone/net could not be downloaded \(.+\): check the name") as error:
        load("hf:someone/net")
    assert "\n" not in str(error.value)


def test_loggers_and_bars_are_as_they_were(tmp_path: Path) -> None:
    from huggingface_hub.utils import are_progress_bars_disabled
    from transformers.utils.logging import is_progress_bar_enabled

    logger = logging.getLogger("transformers")
    before = logger.level, are_progress_bars_disabled(), is_progress_bar_enabled()
    load(saved(tmp_path, vit()))
    with pytest.raises(Error):
        load("hf:./none")
    assert (logger.level, are_progress_bars_disabled(), is_progress_bar_enabled()) == before


def test_a_bytelevel_tokenizer_in_a_repository(tmp_path: Path) -> None:
    config = hf.RobertaConfig(**{**TEXT, "vocab_size": 290, "pad_token_id": 1})
    model = load(saved(tmp_path, hf.RobertaForSequenceClassification(config), bytelevel(True)))
    read = model.preprocess("the cat")
    assert (
        model.net(**read).logits.shape == (1, 2)
        and model.preprocess.words(read["input_ids"], "the cat")[1:-1][0] == "the"
    )
