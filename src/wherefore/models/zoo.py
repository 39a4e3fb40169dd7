"""A name becomes a Model: ``load("resnet50")`` for torchvision, other sources by their prefix (``timm:``, ``hf:``).

Weights come by the library's own download, from a local ``.safetensors`` or ``.pth`` file (strictly: every key must
fit), or not at all (``weights=None``, random: for looking at layers).
"""

from __future__ import annotations

import hashlib
import importlib
import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wherefore.errors import Error
from wherefore.imaging import Preprocess
from wherefore.registry import MODELS
from wherefore.types import Model

State = dict[str, Tensor]
Weights = str | Path | None
Names = Sequence[str] | None
MULTI, SINGLE = "multi-label", "single-label"
OWN_CLASSES = "classes= belongs to weights of your own: give them with weights=."


def load(name: str, weights: Weights = "default", *, classes: Names = None) -> Model:
    """The named model with its own preprocessing and class names, in eval mode.

        wf.load("resnet50")                                    # torchvision, its best weights downloaded
        wf.load("resnet18", weights="resnet18.safetensors")    # a local state dict
        wf.load("resnet18", weights="mine.pth", classes=["cat", "dog"])   # a head of your own size
        wf.load("timm:vit_small_patch16_224")                  # any classifier of timm
        wf.load("hf:google/vit-base-patch16-224")              # a repository of Hugging Face's, for transformers
        wf.load("hf:./folder")                                 # the same in a folder of your own
        wf.load("hf:openai/clip-vit-base-patch32", classes=["a cat", "a dog"])   # prompts in place of classes
        wf.load("caffe:vgg16", weights="VGG_ILSVRC_16_layers.caffemodel")        # the paper's own networks
        wf.load("resnet18", weights="finetuned/resnet18.safetensors")   # by `wherefore finetune`: it knows its classes

    Raises `Error` for an unknown name (the close ones are suggested), a missing extra, a failed download, a network
    of a kind that is not explained here, or weights that do not fit.
    """
    if isinstance(classes, str):
        raise Error(f"classes= is a list of names: give [{classes!r}] for one.")
    source, rest = name.split(":", 1) if ":" in name else ("torchvision", name)
    said = told(weights)
    model: Model = MODELS[source].run(rest, weights, classes or said.get("classes"))
    multilabel = said["task"] == MULTI if said else model.multilabel
    return replace(model, multilabel=multilabel, preprocess=said.get("preprocess", model.preprocess))


def moved(model: Model, device: str | None) -> Model:
    """The model with its network on a device, where one is named; an `Error` for one that cannot be used."""
    if device:
        try:
            model.net.to(torch.device(device))
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise Error(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from None
    return model


def extra(module: str) -> Any:
    """A module of an optional library; an `Error` that says how to install it where it is missing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on what else is installed
            return importlib.import_module(module)
    except ImportError:
        library = module.split(".")[0]
        raise Error(f"this source of models needs {library}: pip install 'wherefore[models]'") from None


# -------------------------------------------------------------------------------------------- weights


def read_state(path: str | Path) -> State:
    """The state dict in a ``.safetensors``, ``.pth``, ``.pt`` or ``.bin`` file, on the CPU; never any code from it."""
    path = Path(path)
    if not path.is_file():
        raise Error(f"the weights file {path} does not exist.")
    try:
        state = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    except Exception:
        raise Error(
            f"{path} is not a readable file of weights: a state dict is wanted, as safetensors (.safetensors) or by "
            "torch.save (any other name); nothing else that was pickled is opened, for it could run code."
        ) from None
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise Error(f"{path} holds {type(state).__name__}, not a state dict: save net.state_dict().")
    # What DataParallel and torch.compile put before every key.
    return {str(k).removeprefix("module.").removeprefix("_orig_mod."): v for k, v in state.items()}


def _safetensors(path: Path) -> Any:
    from safetensors.torch import load_file

    return load_file(path)


def _pickled(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on the file's pickle protocol and the like
        return torch.load(path, map_location="cpu", weights_only=True)


def told(weights: Weights) -> dict[str, Any]:
    """What a file that we wrote says of its network in its metadata: task, classes, and what it sees of a picture.

    Empty for all other weights.
    """
    from safetensors import SafetensorError, safe_open

    if weights in (None, "default") or Path(str(weights)).suffix != ".safetensors":
        return {}
    try:
        with safe_open(str(weights), "pt") as file:
            own = file.metadata() or {}
        said: dict[str, Any] = {"task": own["task"], "classes": [str(name) for name in json.loads(own["classes"])]}
        said |= {key: json.loads(own[key]) for key in ("input", "vocabulary", "longest") if key in own}
        said |= {"preprocess": Preprocess.told(json.loads(own["preprocess"]))} if "preprocess" in own else {}
    except (SafetensorError, OSError, KeyError, ValueError, TypeError):  # whether it fits is seen on loading
        return {}
    return said


def unfitting(net: nn.Module, state: State) -> list[str]:
    """What keeps a state dict from fitting a network exactly, a few keys for each reason; empty where it fits."""
    own = net.state_dict()
    # Old files lack the counters of batch norm, which only training reads.
    missing, surplus = (
        [k for k in one if k not in other and not k.endswith("num_batches_tracked")]
        for one, other in ((own, state), (state, own))
    )
    shapes = [(k, state[k].shape, own[k].shape) for k in own if k in state and own[k].shape != state[k].shape]
    return problems(missing, surplus, shapes)


def problems(missing: Iterable[str], surplus: Iterable[str], shapes: Iterable[tuple[str, Any, Any]]) -> list[str]:
    """What is wrong with weights: keys that they lack, that no one asked for, and ``(key, theirs, ours)`` shapes."""
    found = [f"{what} {_first(keys)}" for what, keys in (("missing", missing), ("unexpected", surplus)) if list(keys)]
    for key, theirs, ours in list(shapes)[:1] if not found else ():
        found.append(f"{key} is {tuple(theirs)} in the file and {tuple(ours)} in the network")
        if tuple(theirs)[1:] == tuple(ours)[1:]:
            found.append("for a head of your own give the names of its classes (classes=, --classes FILE)")
    return found


def load_strictly(net: nn.Module, state: State, path: str | Path, name: str) -> None:
    """Loads a state dict that fits exactly; else an `Error` that names the first keys that do not."""
    refuse(unfitting(net, state), path, name)
    net.load_state_dict(state, strict=False)


def refuse(reasons: Sequence[str], path: str | Path, name: str) -> None:
    """An `Error` where there are reasons why weights do not fit."""
    if reasons:
        raise Error(f"the weights in {path} do not fit {name}: {'; '.join(reasons)}.")


def imagenet() -> list[str]:
    """The names of the 1,000 classes of ILSVRC, in the order that Caffe and torchvision have."""
    from torchvision.models import ResNet50_Weights

    return list(ResNet50_Weights.IMAGENET1K_V1.meta["categories"])


def file_sha256(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def reason(error: BaseException) -> str:
    """The first line of what an error says."""
    return (str(getattr(error, "reason", error)).strip() or type(error).__name__).split("\n")[0].rstrip(".: ")


def _first(keys: Iterable[str], most: int = 3) -> str:
    keys = list(keys)
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")
