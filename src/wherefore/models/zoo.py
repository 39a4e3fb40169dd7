"""A name becomes a Model: ``load("resnet50")`` for torchvision's classifiers, other sources by their prefix.

Weights come by the library's own download, from a local ``.safetensors`` or ``.pth`` file (strictly: every key must
fit), or not at all (``weights=None``, random: for looking at layers).
"""

from __future__ import annotations

import hashlib
import io
import sys
import warnings
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wherefore.errors import Error
from wherefore.imaging import Preprocess
from wherefore.registry import MODELS, unknown
from wherefore.types import Model

State = dict[str, Tensor]


def load(name: str, weights: str | Path | None = "default", *, classes: Sequence[str] | None = None) -> Model:
    """The named model with its own preprocessing and class names, in eval mode.

        wf.load("resnet50")                                    # torchvision, its best weights downloaded
        wf.load("resnet18", weights="resnet18.safetensors")    # a local state dict
        wf.load("resnet18", weights="mine.pth", classes=["cat", "dog"])   # a head of your own size

    Raises `Error` for an unknown name (the close ones are suggested), a failed download, or weights that do not fit.
    """
    source, _, rest = name.rpartition(":")
    return MODELS[source or "torchvision"].run(rest, weights, classes)


@MODELS("torchvision", names="resnet50, vgg16, ... every classifier of torchvision")
def torchvision_classifier(name: str, weights: str | Path | None, classes: Sequence[str] | None) -> Model:
    """Every classifier of torchvision, under its own name."""
    from torchvision.models import get_model, get_model_weights

    if name not in torchvision_names():
        raise Error(unknown("model", name, torchvision_names()))
    chosen = _chosen(get_model_weights(name), weights)
    names = classes or list(chosen.meta["categories"])
    if weights == "default":
        if classes is not None:
            raise Error("classes= belongs to weights of your own: give them with weights=.")
        net, sha256 = _downloaded(name, chosen)
    else:
        state = read_state(weights) if weights is not None else None
        options: dict[str, Any] = {"num_classes": len(names)} if classes is not None else {}
        options |= _inception_options(name, state, pretrained=state is not None)
        if name.startswith("vit_"):  # the one family that is built for one size of input
            options["image_size"] = chosen.meta["min_size"][0]
        net, sha256 = get_model(name, weights=None, **options), None
        if state is not None and weights is not None:
            load_strictly(net, state, Path(weights), name)
            sha256 = file_sha256(Path(weights))
            _drop_auxiliary(net)
    return Model(net.eval(), tuple(names), _preprocess(chosen.transforms()), name=name, sha256=sha256)


def _chosen(known: Any, weights: str | Path | None) -> Any:
    """Which of torchvision's weights to load or, for a file, whose preprocessing and class names go with it.

    A file under torchvision's own name is what that name says; any other is taken to be made the first one's way.
    """
    if weights == "default":
        return known.DEFAULT
    classifiers = [w for w in known if w.meta["categories"]]  # not those of the features alone
    of_that_name = [w for w in classifiers if weights is not None and Path(w.url).name == Path(weights).name]
    return (of_that_name or classifiers)[0]


def torchvision_names() -> list[str]:
    """The names of torchvision's classifiers."""
    from torchvision import models

    return [str(n) for n in models.list_models(module=models)]


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


def load_strictly(net: nn.Module, state: State, path: Path, name: str) -> None:
    """Loads a state dict that fits exactly; else an `Error` that names the first keys that do not."""
    own = net.state_dict()
    # Old files lack the counters of batch norm, which only training reads.
    missing, surplus = (
        [k for k in one if k not in other and not k.endswith("num_batches_tracked")]
        for one, other in ((own, state), (state, own))
    )
    shapes = [k for k in own if k in state and own[k].shape != state[k].shape]
    problems = [f"{what} {_first(keys)}" for what, keys in (("missing", missing), ("unexpected", surplus)) if keys]
    if shapes and not problems:
        key = shapes[0]
        shape, ours = tuple(state[key].shape), tuple(own[key].shape)
        problems.append(f"{key} is {shape} in the file and {ours} in the network")
        if shape[1:] == ours[1:]:
            problems.append("for a head of your own give the names of its classes (classes=, --classes FILE)")
    if problems:
        raise Error(f"the weights in {path} do not fit {name}: {'; '.join(problems)}.")
    net.load_state_dict(state, strict=False)


def file_sha256(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _downloaded(name: str, weights: Any) -> tuple[nn.Module, str | None]:
    """The network with torchvision's own weights, and the sha256 of the file that they came in."""
    from torchvision.models import get_model

    terminal = sys.stderr.isatty()
    try:
        # torch announces a download on stdout, where the results go.
        with redirect_stdout(sys.stderr if terminal else io.StringIO()):
            net = get_model(name, weights=weights, progress=terminal)
    except (OSError, HTTPException, RuntimeError) as error:
        reason = str(getattr(error, "reason", error)).split("\n")[0]
        raise Error(
            f"the weights of {name} could not be downloaded ({reason}): fetch {weights.url} where there is a network "
            "and give the file with weights= (--weights FILE)."
        ) from None
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    return net, file_sha256(file) if file.is_file() else None


def _first(keys: Iterable[str], most: int = 3) -> str:
    keys = list(keys)
    return ", ".join(keys[:most]) + (f" and {len(keys) - most} more" if len(keys) > most else "")


def _inception_options(name: str, state: State | None, pretrained: bool) -> dict[str, Any]:
    """GoogLeNet and Inception-v3 came from TensorFlow: their weights want its input scale, and may lack extra heads."""
    if name not in ("googlenet", "inception_v3"):
        return {}
    extra = state is not None and any(k.startswith(("aux1.", "AuxLogits.")) for k in state)
    return {"transform_input": pretrained, "aux_logits": extra, "init_weights": False}


def _drop_auxiliary(net: nn.Module) -> None:
    """The extra heads of GoogLeNet and Inception-v3 serve training alone."""
    for name in ("aux1", "aux2", "AuxLogits"):
        if hasattr(net, name):
            setattr(net, name, None)
            net.aux_logits = False  # type: ignore[assignment]


def _preprocess(transforms: Any) -> Preprocess:
    """torchvision's own preprocessing in a form that also tells its geometry."""
    return Preprocess(
        resize=transforms.resize_size[0],
        crop=transforms.crop_size[0],
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        interpolation=transforms.interpolation.value,
    )
