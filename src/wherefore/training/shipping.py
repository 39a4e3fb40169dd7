"""From a trained network to what is shipped: half the precision, measured as it is shipped, with a card."""

from __future__ import annotations

import copy
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wherefore import __version__
from wherefore.errors import Error
from wherefore.metrics.resampling import interval, wilson
from wherefore.models.scenes import preprocess
from wherefore.models.zoo import MULTI, SINGLE, file_sha256
from wherefore.saving import write_json, write_tensors
from wherefore.training.data import Array, Pictures, together
from wherefore.training.recipes import Recipe

LIMITS = (
    "A small network of drawn pictures that stands in for networks of photographs: it is good for learning, testing "
    "and showing methods of explanation. What is measured on scenes is not what the papers measured on photographs, "
    "and says nothing of how a method or a network does on them."
)


def ship(recipe: Recipe, net: nn.Module, folder: Path, seconds: float, start: str | None = None) -> dict[str, Any]:
    """The card of a network; its weights as float16 and the card are written into the folder."""
    state = halved(net)
    shipped = copy.deepcopy(net)
    shipped.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
    return shelved(recipe, net, state, described(recipe, net), measured(shipped, recipe), folder, seconds, start)


def shelved(
    recipe: Any,
    net: nn.Module,
    state: dict[str, Tensor],
    facts: dict[str, Any],
    accuracy: list[dict[str, Any]],
    folder: Path,
    seconds: float,
    start: str | None,
) -> dict[str, Any]:
    """The card of a network with these weights; both are written into the folder, what it is also into the weights."""
    path = folder / f"{recipe.network}.safetensors"
    write_tensors(path, state, {key: value for key, value in facts.items() if key != "parameters"})
    whole = {
        **facts,
        "recipe": {**recipe.settings, **({"start sha256": start} if start else {})},
        "seed": recipe.seed,
        "data": recipe.source,
        "accuracy": accuracy,
        "training": {"seconds": round(seconds), **machine(net)},
        "sha256": file_sha256(path),
        "licence": "Apache-2.0",
        "limits": LIMITS,
    }
    write_json(folder / f"{recipe.network}.json", whole)
    return whole


def halved(net: nn.Module) -> dict[str, Tensor]:
    """The weights as float16, without the counters that only training reads."""
    state = {k: v.detach().cpu() for k, v in net.state_dict().items() if v.is_floating_point()}
    halves = {k: v.half().contiguous() for k, v in state.items()}
    if not all(v.isfinite().all() for v in halves.values()):
        raise Error("some weights are too large for float16: train with a smaller learning rate.")
    return halves


def described(recipe: Recipe, net: nn.Module) -> dict[str, Any]:
    """What a network is, apart from how it was trained."""
    seen = preprocess(recipe.network)
    return {
        "name": recipe.network,
        "architecture": type(net).__name__,
        "parameters": sum(weight.numel() for weight in net.parameters()),
        "task": MULTI if recipe.multilabel else SINGLE,
        "classes": list(recipe.classes),
        "input": {"size": seen.crop, "mean": list(seen.mean), "std": list(seen.std)},
    }


def machine(net: nn.Module) -> dict[str, str]:
    """What a network was trained on, and by what."""
    device = next(net.parameters()).device
    threads = f"{torch.get_num_threads()} threads of a CPU ({platform.machine()})"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else threads
    return {"on": name, "wherefore": __version__, "torch": torch.__version__}


# -------------------------------------------------------------------------------------------- accuracy


def measured(net: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """A row with its 95 % interval for everything that is measured on test pictures."""
    sets = recipe.sets("test")
    rows = []
    for name, pictures in sets.items():
        right = hits(net, pictures, recipe.network)
        low, high = wilson(int(right.sum()), len(right))
        rows.append({"name": name, "value": float(right.mean()), "low": low, "high": high, "n": len(right)})
    if recipe.multilabel:
        every = together([*sets.values()])
        pairs = list(zip(scores_of(net, every, recipe.network), every.labels, strict=True))
        low, high = interval(pairs, 200, statistic=_of_pairs)
        value = _of_pairs(pairs)
        rows.append({"name": "mean average precision", "value": value, "low": low, "high": high, "n": len(pairs)})
    return rows


def scores_of(net: nn.Module, pictures: Pictures, name: str, batch: int = 250) -> Array:
    """The scores of all pictures, ``(N, C)``; the network is left in eval mode."""
    seen, device = preprocess(name), next(net.parameters()).device
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (seen.mean, seen.std))
    found = []
    net.eval()
    with torch.inference_mode():
        for start in range(0, len(pictures), batch):
            rows = np.arange(start, min(start + batch, len(pictures)))
            x = torch.from_numpy(pictures.take(rows)).permute(0, 3, 1, 2).float() / 255
            found.append(net(((x - mean) / std).to(device)).float().cpu().numpy())
    return np.concatenate(found)


def hits(net: nn.Module, pictures: Pictures, name: str) -> Array:
    """Of every picture whether its labels, as many as there are, are the first of the network's names: ``(N,)``."""
    order = np.argsort(-scores_of(net, pictures, name), axis=1, kind="stable")
    ranked = np.take_along_axis(pictures.labels, order, 1).astype(bool)
    wanted = ranked.sum(1, keepdims=True)
    return (ranked == (np.arange(ranked.shape[1]) < wanted)).all(1)


def mean_average_precision(scores: Array, labels: Array) -> float:
    """The mean over classes of the mean precision at each picture that shows the class, the best scored first."""
    order = np.argsort(-scores, axis=0, kind="stable")
    ranked = np.take_along_axis(labels, order, 0).astype(np.float64)
    precision = np.cumsum(ranked, 0) / np.arange(1, len(ranked) + 1)[:, None]
    there = ranked.sum(0)
    return float(((precision * ranked).sum(0)[there > 0] / there[there > 0]).mean())


def _of_pairs(pairs: Any) -> float:
    scores, labels = zip(*pairs, strict=True)
    return mean_average_precision(np.stack(scores), np.stack(labels))
