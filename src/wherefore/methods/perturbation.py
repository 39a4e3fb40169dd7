"""Methods that change the picture, or a layer, and watch the score: occlusion, Score-CAM, Ablation-CAM.

They need no gradient, and every target of an image is read from the same sweep. Under autocast they run in the
network's own precision: the difference of two nearly equal scores is lost in 16 bits. References:

    Zeiler & Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014
    Wang et al., Score-CAM, CVPRW 2020
    Desai & Ramaswamy, Ablation-CAM, WACV 2020
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from wherefore.errors import Error
from wherefore.guard import prepared
from wherefore.imaging import stretched
from wherefore.methods.cams import precise, summed, unit
from wherefore.progress import track
from wherefore.registry import METHODS
from wherefore.resume import Resume
from wherefore.types import Chosen, Layer, Patches, Query, Raw, fingerprint

COPIES_BYTES = 16 * 2**20  # of a batch, or of a layer's activations, that are changed and run together
REMEMBERED_BYTES = 64 * 2**20  # of sweeps: the scores of all classes; an image of ImageNet takes 0.7 MB
_SWEEPS: WeakKeyDictionary[nn.Module, OrderedDict[object, Tensor]] = WeakKeyDictionary()
_SWEEPS_LOCK = threading.Lock()


def at_once(chosen: Chosen, images: Tensor) -> int:
    """How many copies of a batch go through the network together."""
    most = 8 if images.device.type == "cpu" else 64
    return max(1, most // len(images)) if chosen.on_copies else 1


# -------------------------------------------------------------------------------------------- occlusion


@METHODS("occlusion", paper="Zeiler & Fergus 2014, section 4.2", cost="170 forwards at 224 pixels", at="input")
def occlusion(query: Query, *, patch: int | None = None, stride: int | None = None, fill: float | Tensor = 0.0) -> Raw:
    """How much the score falls when a patch is covered: the most direct measure, and the slowest.

    map_p = y(x) - y(x with patch p set to fill), signed, a value per patch: ``(B, T, h, w)`` with
    h = floor((H - patch) / stride) + 1 patches, all inside the image. ``patch`` is by default a seventh of the shorter
    side (32 pixels of 224) and ``stride`` half of that; ``fill`` is in units of the network's input: 0 is the mean
    colour; of a
    picture ``(C, H, W)`` each patch shows its own part. All targets come from one sweep; that of a recent image is
    remembered, for other classes.
    """
    patches = _patches(query.images, patch, stride)
    with prepared(query.net), torch.no_grad(), _exact(query.images):
        output = query.net(query.images.clone())  # a network may change its input in place
        chosen = query.choose(output)
        covered = _swept(query, chosen, output, patches, fill)
    drops = chosen.scores[..., None] - covered  # (B, T, patches)
    grid = patches.grid(*query.images.shape[-2:])
    return Raw(precise(drops).unflatten(2, grid), chosen.detached(), patches=patches)


def _patches(images: Tensor, patch: int | None, stride: int | None) -> Patches:
    if images.ndim != 4:
        raise Error("occlusion covers squares of pictures (B, C, H, W): for videos, signals and texts take grad-cam.")
    height, width = images.shape[-2:]
    patch = max(1, round(min(height, width) / 7)) if patch is None else patch
    stride = max(1, patch // 2) if stride is None else stride
    if not 1 <= patch <= min(height, width) or stride < 1:
        raise Error(
            f"a patch of {patch} pixels every {stride} does not fit into an image of {width}x{height}: "
            "give patch= and stride= that do."
        )
    return Patches(patch, stride)


def _swept(query: Query, chosen: Chosen, output: Any, patches: Patches, fill: float | Tensor) -> Tensor:
    """The scores ``(B, T, patches)`` with each patch covered; those of known images from memory."""
    copies = at_once(chosen, query.images)
    if not chosen.are_classes:
        scores = [chosen.follow(covered) for covered in _covered(query, patches, fill, copies)]
        return torch.cat([s.unflatten(0, (-1, len(query.images))) for s in scores]).permute(1, 2, 0)
    shown = hashlib.sha256(_bytes(fill)).digest() if isinstance(fill, Tensor) else fill
    setting = (patches, shown, query.images.shape[1:], query.images.device, str(fingerprint(query.net)))
    keys = [(hashlib.sha256(_bytes(image)).digest(), setting) for image in query.images]
    plain = chosen.every(output).cpu()
    found = [
        sweep for key, scores in zip(keys, plain, strict=True) if (sweep := _known(query.net, key, scores)) is not None
    ]
    if len(found) < len(keys):
        swept = [
            chosen.every(covered).unflatten(0, (-1, len(keys))).cpu()
            for covered in _covered(query, patches, fill, copies)
        ]
        found = list(torch.cat([plain[None], *swept]).unbind(1))  # (1 + patches, classes) each
        _remember(query.net, keys, found)
    every = torch.stack(found)[:, 1:].to(query.images.device)
    return every.gather(2, chosen.classes[:, None].expand(-1, every.shape[1], -1)).mT


def _known(net: nn.Module, key: object, scores: Tensor) -> Tensor | None:
    """The remembered sweep of an image, unless the network now gives the image itself other scores.

    A hook, or a plain attribute, changes a network without leaving a mark on its weights.
    """
    with _SWEEPS_LOCK:
        memory = _SWEEPS.setdefault(net, OrderedDict())
        sweep = memory.get(key)
        if sweep is not None:
            memory.move_to_end(key)
    if sweep is None or sweep[0].shape != scores.shape:
        return None
    return sweep if torch.allclose(sweep[0], scores, rtol=0, atol=1e-4 * float(scores.abs().max())) else None


def _remember(net: nn.Module, keys: Sequence[object], sweeps: Sequence[Tensor]) -> None:
    with _SWEEPS_LOCK:
        memory = _SWEEPS.setdefault(net, OrderedDict())
        memory.update((key, sweep.clone()) for key, sweep in zip(keys, sweeps, strict=True))
        while sum(sweep.nbytes for sweep in memory.values()) > REMEMBERED_BYTES:
            memory.popitem(last=False)


def forget() -> None:
    """Drops the sweeps that are remembered; for those who time one."""
    with _SWEEPS_LOCK:
        _SWEEPS.clear()


def _covered(query: Query, patches: Patches, fill: float | Tensor, copies: int) -> Iterator[Any]:
    """The network's outputs for copies of the batch, each copy with another patch covered."""
    rows, columns = patches.grid(*query.images.shape[-2:])
    corners = [(r * patches.stride, c * patches.stride) for r in range(rows) for c in range(columns)]
    for some in track(groups(corners, copies), -(-len(corners) // copies), "occlusion"):
        images = query.images.repeat(len(some), 1, 1, 1).unflatten(0, (len(some), -1))
        for copy, (top, left) in zip(images, some, strict=True):
            place = ..., slice(top, top + patches.size), slice(left, left + patches.size)
            copy[place] = fill[place] if isinstance(fill, Tensor) else fill
        yield query.net(images.flatten(0, 1))


def _exact(images: Tensor) -> torch.autocast:
    return torch.autocast(images.device.type, enabled=False)


def _bytes(image: Tensor) -> Any:
    return image.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


# -------------------------------------------------------------------------------------------- Score-CAM, Ablation-CAM


@METHODS("score-cam", paper="Wang et al. 2020, eq. 5-8", cost="1 forward per channel", graph="again", blind=True)
def score_cam(query: Query, *, masks: str = "input") -> Raw:
    """The layer's channels, each weighted by the score of the picture seen through it; no gradients.

    H_k = A^k upsampled and scaled to 0..1, alpha = softmax over k of y(x ∘ H_k) (the score of the empty picture that
    the paper subtracts cancels), L = ReLU(sum_k alpha_k A^k). ``masks="layer"`` masks the layer's activations instead
    of the picture, y(A ∘ H_k), and runs only the part above the layer: another method, many times cheaper.
    """
    if masks not in ("input", "layer"):
        raise Error(f"masks are laid on the 'input' (the paper's) or on the 'layer', not on {masks!r}.")
    if masks == "input" and not query.images.is_floating_point():
        raise Error(
            "score-cam cannot lay masks on numbers of tokens: give masks='layer', which lays them on the layer."
        )
    chosen, activations, weights = score_weights(query, masks)
    return Raw(summed(activations, weights.to(activations)), chosen)


def score_weights(query: Query, masks: str = "input") -> tuple[Chosen, Tensor, Tensor]:
    """Score-CAM's targets, activations ``(B, K, *grid)``, and weights ``(B, T, K)`` of the channels."""
    with Resume(query.net, query.layer.name) as network, _exact(query.images):
        chosen = query.choose(network.start(query.images))
        activations = precise(query.layer.grid(network.activations))
        scores, places = [], tuple(range(-len(query.layer.grid.size), 0))
        for some in _channels(chosen, query.images if masks == "input" else network.activations, activations.shape[1]):
            channels = activations[:, some].transpose(0, 1)  # (n, B, *grid)
            if masks == "input":
                large = unit(stretched(channels, tuple(query.images.shape[2:])), places)[:, :, None].to(query.images)
                output = query.net((query.images * large).flatten(0, 1))
            else:
                copies, folded = _copies(network.activations, query.layer, len(some))
                folded.mul_(unit(channels, places)[:, :, None])
                output = network(copies)
            scores.append(chosen.follow(output).unflatten(0, (len(some), -1)))
    weights = torch.cat(scores).permute(1, 2, 0).float().softmax(2)
    return chosen.detached(), activations, weights


@METHODS(
    "ablation-cam", paper="Desai & Ramaswamy 2020, eq. 2-4", cost="1 forward, 1 upper part per channel", graph="again"
)
def ablation_cam(query: Query) -> Raw:
    """The layer's channels, each weighted by how much the score falls without it; no gradients.

    w_k = y - y(A^k = 0), L = ReLU(sum_k w_k A^k). The paper divides all weights by y, which scales the map, and flips
    it where y is negative: left out. Only the part above the layer is run again.
    """
    chosen, activations, falls = score_falls(query)
    return Raw(summed(activations, falls.to(activations)), chosen)


def score_falls(query: Query) -> tuple[Chosen, Tensor, Tensor]:
    """Ablation-CAM's targets, activations ``(B, K, *grid)``, and the falls ``(B, T, K)`` that weigh the channels."""
    with Resume(query.net, query.layer.name) as network, _exact(query.images):
        chosen = query.choose(network.start(query.images))
        activations = precise(query.layer.grid(network.activations))
        scores = []
        for some in _channels(chosen, network.activations, activations.shape[1]):
            copies, folded = _copies(network.activations, query.layer, len(some))
            for copy, k in zip(folded, some, strict=True):
                copy[:, k] = 0
            scores.append(chosen.follow(network(copies)).unflatten(0, (len(some), -1)))
    return chosen.detached(), activations, chosen.scores[..., None] - torch.cat(scores).permute(1, 2, 0)


def _copies(activations: Tensor, layer: Layer, count: int) -> tuple[Tensor, Tensor]:
    """So many copies of a layer's output in one batch, and a view of them folded to the grid, copy by copy."""
    batch = 1 if layer.grid.layout == "tokens-first" else 0
    copies = torch.cat([activations] * count, batch)
    return copies, layer.grid(copies).unflatten(0, (count, -1))


def _channels(chosen: Chosen, what: Tensor, count: int) -> Iterator[list[int]]:
    """The numbers of channels, as many together as copies of ``what`` may be made."""
    copies = max(1, COPIES_BYTES // (what.numel() * what.element_size())) if chosen.on_copies else 1
    together = list(groups(range(count), copies))
    yield from track(together, len(together), "channels")


def groups(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    """The items in lists of that size, the last one shorter."""
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
