"""Hugging Face's repositories and folders, for transformers: ``hf:ORG/NAME``, ``hf:./folder``.

No code of a repository is run: its networks, processors and tokenizers are those that transformers itself has. Weights
are read as safetensors; where a repository has none, from its ``.bin`` files, of which only tensors are unpickled.
"""

from __future__ import annotations

import inspect
import json
import textwrap
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from wherefore.errors import Error
from wherefore.imaging import Frames
from wherefore.models import repository
from wherefore.models.processors import preprocess_in
from wherefore.models.quiet import quiet
from wherefore.models.worded_transformers import ADAPTERS, Speaker
from wherefore.models.zoo import OWN_CLASSES, Names, Weights, extra, file_sha256, problems, read_state, reason, refuse
from wherefore.registry import MODELS
from wherefore.text import words_of
from wherefore.types import Model

# Families of networks, as transformers names its lists of them.
PROMPTS, VIDEO, TEXT = "ZERO_SHOT_IMAGE_CLASSIFICATION", "VIDEO_CLASSIFICATION", "SEQUENCE_CLASSIFICATION"
WORDED = "captions and questions"  # of several of its lists
FAMILIES = (PROMPTS, "IMAGE_CLASSIFICATION", "SEMANTIC_SEGMENTATION", "OBJECT_DETECTION", VIDEO, TEXT)
FRAMES = ("num_frames", "frames_per_clip")  # how many a network of videos is built for
ATTENTION = (None, "eager", "sdpa")  # torch's own: any other name is that of code to fetch


@dataclass(frozen=True)
class Source:
    """What is loaded: the name that was given, the folder that its files are in, and how the network is made."""

    name: str
    folder: Path
    config: Any
    family: str
    architecture: Any  # a class of transformers


@MODELS(
    "hf", names="hf:ORG/NAME, hf:./folder: classifiers, CLIP, segmentation, detection, video, text, captions, questions"
)
def transformers_model(name: str, weights: Weights, classes: Names) -> Model:
    """Every repository of Hugging Face's, or local folder, whose network transformers has and wherefore explains.

    Pictures (also by prompts, as CLIP: these are ``classes``), segmentation, detection, videos and texts; captions of
    pictures, and answers to questions about them.
    """
    extra("transformers")
    source = _source(name, repository.folder_of(name, weights))
    if classes and issubclass(ADAPTERS.get(source.architecture.__name__, nn.Module), Speaker):
        raise Error(f"hf:{name} says words and has no classes: leave classes= out.")
    if source.family == PROMPTS and not classes:
        raise Error(f'hf:{name} compares pictures with prompts: give these as classes=, ["a photo of a cat", ...].')
    if source.family != PROMPTS and classes is not None:
        if weights == "default":
            raise Error(OWN_CLASSES)
        source.config.num_labels = len(classes)
        source.config.id2label = dict(enumerate(classes))
    net, sha256 = _network(source, weights)
    if source.family == WORDED:
        return _worded(source, net.eval(), sha256)
    inputs = _prompts(source, net, classes) if source.family == PROMPTS and classes else {}
    return Model(
        net.eval(),
        classes or _labels(source.config),
        _preprocess(source, net),
        name=f"hf:{name}",
        sha256=sha256,
        inputs=inputs,
        output="logits_per_image" if source.family == PROMPTS else None,
        # SigLIP was trained with a sigmoid for each prompt: it is the one with a bias to the logits.
        multilabel=getattr(source.config, "problem_type", None) == "multi_label_classification"
        or (source.family == PROMPTS and hasattr(net, "logit_bias")),
    )


def _labels(config: Any) -> list[str]:
    """The names of classes, or answers, in the order of the scores: the file may list them in another."""
    known = getattr(config, "id2label", None) or {}
    return [known.get(i, f"LABEL_{i}") for i in range(config.num_labels)]


def _worded(source: Source, net: nn.Module, sha256: str | None) -> Model:
    """A network that puts pictures into words or answers questions, and how it is asked."""
    name = f"hf:{source.name}"
    adapter = ADAPTERS[type(net).__name__](net, name, _of_folder(source, "AutoTokenizer"))
    says = isinstance(adapter, Speaker)
    return Model(
        adapter.eval(),
        None if says else _labels(source.config),
        _preprocess(source, net),
        name=name,
        sha256=sha256,
        question=adapter.questions(lambda: _of_folder(source, "AutoProcessor")) if adapter.asks else None,
        prompt=adapter.prompt,
        multilabel=not says,  # trained with a sigmoid for each answer
    )


def _source(name: str, folder: Path) -> Source:
    """What the config in a folder asks for; an `Error` where that is nothing that can be explained."""
    config = _config(name, folder)
    family, architecture = _architecture(config)
    if family is None:
        raise Error(
            f"hf:{name} is a network of the kind {architecture}: what can be explained are those of transformers that "
            "classify pictures (also by prompts, as CLIP), videos or texts, segment pictures, detect objects, or put "
            f"pictures into words and answer questions about them ({', '.join(ADAPTERS)})."
        )
    with quiet():  # it is imported only now
        source = Source(name, folder, config, family, getattr(extra("transformers"), architecture))
    taken = inspect.signature(source.architecture.forward).parameters
    wanted = {PROMPTS: ("pixel_values", "input_ids"), TEXT: ("input_ids",)}.get(family, ("pixel_values",))
    lacking = [w for w in wanted if not any(t.startswith(w) for t in taken)]
    if lacking or "spatial_shapes" in taken:  # pictures in patches of any number, as the second SigLIP takes them
        raise Error(f"hf:{name} is a {architecture}, which is not fed pictures (3, H, W): it cannot be explained.")
    return source


def _config(name: str, folder: Path) -> Any:
    try:
        with quiet():
            source = extra("transformers").AutoConfig  # False, for by default one is asked at the terminal
            config = source.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        file = folder / "config.json"
        if file.is_file() and "auto_map" in _read_json(file):
            raise Error(f"hf:{name} brings code of its own, which is not run here: {_kind_in(file)}.") from None
        raise Error(f"the config of hf:{name} cannot be read ({reason(error)}).") from None
    if getattr(config, "quantization_config", None) is not None:
        raise Error(f"the weights of hf:{name} are quantized, which has no gradients: take those that are not.")
    if config._attn_implementation not in ATTENTION:
        config._attn_implementation = None
    return config


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _kind_in(file: Path) -> str:
    """What a config says that its network is."""
    content = _read_json(file)
    return ", ".join(map(str, content.get("architectures") or [content.get("model_type")]))


def _architecture(config: Any) -> tuple[str | None, str]:
    """Which family a config's network is of, and its class; no family where it is of none that can be explained."""
    lists = extra("transformers.models.auto.modeling_auto")
    named = (getattr(config, "architectures", None) or [None])[0]
    if named in ADAPTERS:
        return WORDED, str(named)
    for family in FAMILIES:
        of_type = getattr(lists, f"MODEL_FOR_{family}_MAPPING_NAMES")
        if named is None and config.model_type in of_type:
            return family, _names(of_type[config.model_type])[0]
        if any(named in _names(names) for names in of_type.values()):
            return family, str(named)
    return None, str(named or config.model_type)


def _names(names: Any) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


# -------------------------------------------------------------------------------------------- weights


def _network(source: Source, weights: Weights) -> tuple[nn.Module, str | None]:
    """The network with the repository's weights, those of a local file, or random ones; and their file's sha256."""
    name, folder = f"hf:{source.name}", source.folder
    if weights is None:
        return _made(source, lambda: source.architecture(source.config)), None
    if weights == "default":
        files = repository.weight_files(folder)
        if not files:
            raise Error(f"{name} has no weights for torch in {folder}: give a file with weights= (--weights FILE).")
        safe = files[0].suffix == ".safetensors"
        net, info = _made(source, lambda: _pretrained(source, folder, use_safetensors=safe))
        refuse(problems(info["missing_keys"], (), info["mismatched_keys"]), folder, name)
        return net, repository.files_sha256(files)
    state = read_state(weights)
    net, info = _made(source, lambda: _pretrained(source, None, state_dict=state))
    refuse(problems(info["missing_keys"], info["unexpected_keys"], info["mismatched_keys"]), weights, name)
    return net, file_sha256(Path(weights))


def _pretrained(source: Source, folder: Path | None, **options: Any) -> Any:
    """A network and what did not fit; transformers' own loading knows the names that keys had in older files."""
    return source.architecture.from_pretrained(
        folder,
        config=source.config,
        dtype=torch.float32,  # pictures come in it; a file in half precision would say otherwise
        weights_only=True,
        local_files_only=True,
        ignore_mismatched_sizes=True,  # they are refused by us
        output_loading_info=True,
        **options,
    )


def _made(source: Source, make: Any) -> Any:
    """What ``make()`` returns, quietly; an `Error` in a sentence for what transformers raises."""
    try:
        with quiet():
            return make()
    except UnpicklingError:
        raise Error(
            f"the .bin files of hf:{source.name} hold more than tensors, which is not opened, for it could run code: "
            "give weights of your own as safetensors with weights= (--weights FILE)."
        ) from None
    except Exception as error:  # of the config's numbers, a file's format, a library that is not there ...
        raise Error(f"hf:{source.name} ({source.architecture.__name__}) cannot be loaded: {reason(error)}.") from None


# -------------------------------------------------------------------------------------------- what goes in


def _preprocess(source: Source, net: nn.Module) -> Any:
    if source.family == TEXT:
        return words_of(net, _of_folder(source, "AutoTokenizer"))
    preprocess = preprocess_in(source.folder)
    if source.family != VIDEO or preprocess is None:
        return preprocess
    count = next((getattr(source.config, key) for key in FRAMES if hasattr(source.config, key)), 16)
    return Frames(preprocess, count, time_first=True)


def _of_folder(source: Source, auto: str) -> Any:
    """The tokenizer, or the processor, that the files in a folder describe."""

    def make() -> Any:
        kind = getattr(extra("transformers"), auto)
        return kind.from_pretrained(source.folder, local_files_only=True, trust_remote_code=False)

    return _made(source, make)


def _prompts(source: Source, net: nn.Module, prompts: Any) -> dict[str, Any]:
    """The prompts' tokens ``(prompts, L)``, padded as the network learned it."""
    tokenizer, text = _of_folder(source, "AutoTokenizer"), getattr(source.config, "text_config", source.config)
    longest = min(tokenizer.model_max_length, getattr(text, "max_position_embeddings", 512))
    with quiet():  # of too many tokens it warns, too
        counts = {prompt: len(tokenizer(prompt)["input_ids"]) for prompt in prompts}
    for prompt, count in counts.items():
        if count > longest:
            start = textwrap.shorten(prompt, 40, placeholder=" ...")
            raise Error(f"the prompt {start!r} has {count} tokens, hf:{source.name} reads {longest}: shorten it.")
    padding = "max_length" if hasattr(net, "logit_bias") else True  # SigLIP saw none but full lengths
    tokens = tokenizer(list(prompts), padding=padding, max_length=longest, truncation=True, return_tensors="pt")
    taken = inspect.signature(net.forward).parameters
    return {key: value for key, value in tokens.items() if key in taken}
