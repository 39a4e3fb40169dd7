"""Class activation maps: a weighted sum of a layer's channels.

A rule is a pure function of activations ``(B, K, *grid)`` and gradients ``(B, T, K, *grid)`` to the channels' weights,
``(B, T, K)`` or ``(B, T, K, *grid)`` where they differ from place to place. `cam_rule` lifts it to a method: capture
the layer, differentiate the part above it, fold both to the grid, sum. Every such method has three options:

``relu``       False keeps the negative part of the sum (HiResCAM, which defines no ReLU, has that as its default)
``component``  True takes the first principal component of the weighted channels in place of their sum: smoother
``backward``   ``guided`` or ``deconv``: that rule at the ReLUs between the score and the layer (section 7 of the paper)

References:

    Selvaraju et al., Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, IJCV 2020
    Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016
    Chattopadhay et al., Grad-CAM++, WACV 2018; Fu et al., Axiom-based Grad-CAM, BMVC 2020
    Draelos & Carin, Use HiResCAM instead of Grad-CAM, 2020; Jiang et al., LayerCAM, TIP 2021
    Bany Muhammad & Yeasin, Eigen-CAM, IJCNN 2020; Zhang et al., Finer-CAM, CVPR 2025
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps

import torch
from torch import Tensor

from wherefore.backward import Visible, check_rule, rectified
from wherefore.capture import Capture
from wherefore.errors import Error
from wherefore.registry import METHODS, unknown
from wherefore.types import Chosen, Layer, Method, Query, Raw

Rule = Callable[..., Tensor]


def cam_rule(relu: bool = True, component: bool = False) -> Callable[[Rule], Method]:
    """Lifts a rule to the method that captures the queried layer and applies it, a chunk of targets at a time."""
    defaults = relu, component

    def lift(rule: Rule) -> Method:
        @wraps(rule)
        def method(
            query: Query,
            *,
            relu: bool = defaults[0],
            component: bool = defaults[1],
            backward: str = "plain",
            **options: object,
        ) -> Raw:
            check_rule(backward)
            with Capture(query.net, query.layer.name, query.split) as seen:
                with nullcontext() if backward == "plain" else Visible():
                    output = seen(query.images)
                chosen = query.choose(output)
                activations = precise(query.layer.grid(seen.activations))
                maps, silent = [], []
                with rectified(chosen.scores, backward):
                    for gradients in seen.gradients(chosen.scores, chosen.logits, chosen.classes):
                        weights = rule(activations, precise(query.layer.grid(gradients)), **options)
                        maps.append(summed(activations, weights, relu, component))
                        silent.append((weights == 0).flatten(2).all(2).all(0))
            return Raw(torch.cat(maps, 1), chosen.detached(), silent=torch.cat(silent))

        own = [p for p in inspect.signature(rule).parameters.values() if p.kind is p.KEYWORD_ONLY]
        shared = [p for p in inspect.signature(method, follow_wrapped=False).parameters.values() if p.name != "options"]
        method.__signature__ = inspect.Signature([*shared, *own])  # type: ignore[attr-defined]
        return method

    return lift


def precise(x: Tensor) -> Tensor:
    """The tensor in float32 at least: sums over channels in 16 bits lose the small maps."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def unit(values: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Values scaled to 0..1 over some dimensions; constant ones to 0."""
    low, high = values.amin(dims, keepdim=True), values.amax(dims, keepdim=True)
    return torch.where(high > low, (values - low) / (high - low), 0)


def pooled(gradients: Tensor) -> Tensor:
    """The mean over positions, ``(B, T, K)``: eq. 1, the neuron importance weights alpha."""
    positions = tuple(range(3, gradients.ndim))
    if all(gradients.stride(d) == 0 for d in positions):  # the same everywhere (a pooled-linear head): nothing to add
        return gradients.flatten(3)[..., 0]
    return gradients.mean(positions)


def summed(activations: Tensor, weights: Tensor, relu: bool = True, component: bool = False) -> Tensor:
    """sum_k w_k A^k, ``(B, T, *grid)``, from weights ``(B, T, K)`` or ``(B, T, K, *grid)``; its positive part."""
    with torch.autocast(activations.device.type, enabled=False):
        if component:
            while weights.ndim < activations.ndim + 1:
                weights = weights[..., None]
            maps = first_component(weights * activations[:, None])
        elif weights.ndim == 3:
            maps = (weights @ activations.flatten(2)).unflatten(2, activations.shape[2:])
        else:
            maps = (weights * activations[:, None]).sum(2)
    return maps.relu() if relu else maps


def first_component(channels: Tensor) -> Tensor:
    """Channels ``(B, T, K, *grid)`` projected on their first principal direction, ``(B, T, *grid)``; not centred.

    Of the two signs the one that agrees with the sum over channels (Bany Muhammad & Yeasin 2020, eq. 3-4).
    """
    matrix = channels.flatten(3)  # (B, T, K, N): O = U S V^T, and the projection is S V
    if matrix.shape[2] <= matrix.shape[3]:
        values, vectors = torch.linalg.eigh(matrix @ matrix.mT)
        projected = (vectors[..., -1:].mT @ matrix)[..., 0, :]
    else:
        values, vectors = torch.linalg.eigh(matrix.mT @ matrix)
        projected = vectors[..., -1] * values[..., -1:].clamp(min=0).sqrt()
    agrees = (projected * matrix.sum(2)).sum(-1, keepdim=True) >= 0
    return torch.where(agrees, projected, -projected).unflatten(2, channels.shape[3:])


def grad_cam_maps(seen: Capture, layer: Layer, chosen: Chosen) -> Tensor:
    """Grad-CAM ``(B, T, *grid)`` of a layer that is captured already."""
    activations = precise(layer.grid(seen.activations))
    gradients = seen.gradients(chosen.scores, chosen.logits, chosen.classes)
    return torch.cat([summed(activations, pooled(precise(layer.grid(g)))) for g in gradients], 1)


POOLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": pooled,
    "absolute": lambda gradients: pooled(gradients.abs()),
    "max": lambda gradients: gradients.flatten(3).amax(3),
}


@METHODS("grad-cam", paper="Selvaraju et al. 2020, eq. 1-2", cost="1 forward")
@cam_rule()
def grad_cam(activations: Tensor, gradients: Tensor, *, pooling: str = "mean") -> Tensor:
    """Where the evidence for the target lies: ReLU of the channels weighted by their mean gradients.

    alpha_k = (1/Z) sum_ij dy/dA^k_ij (eq. 1), L = ReLU(sum_k alpha_k A^k) (eq. 2). Values >= 0, in units of the score.
    ``pooling``: ``absolute`` takes the mean of |dy/dA|, ``max`` the largest dy/dA (the ablations of Table 3).
    """
    if pooling not in POOLINGS:
        raise Error(unknown("pooling of gradients", pooling, POOLINGS))
    return POOLINGS[pooling](gradients)


@METHODS("counterfactual", paper="Selvaraju et al. 2020, eq. 12", cost="1 forward")
@cam_rule()
def counterfactual(activations: Tensor, gradients: Tensor) -> Tensor:
    """What speaks against the target: Grad-CAM with negated weights, regions whose removal would raise the score.

    alpha_k = (1/Z) sum_ij -dy/dA^k_ij (eq. 12), L = ReLU(sum_k alpha_k A^k). Values >= 0, in units of the score.
    """
    return -pooled(gradients)


@METHODS("cam", paper="Zhou et al. 2016, eq. 2", cost="1 forward")
def cam(query: Query) -> Raw:
    """The class's row of the last linear layer times the channels; only where that layer follows average pooling.

    M_c = sum_k w_k^c A^k, signed, without bias. ``(B, T, *grid)``. Raises `Error` for other heads and targets.
    """
    with Capture(query.net, query.layer.name, query.split) as seen:
        chosen = query.choose(seen(query.images))
        if chosen.logits is None or not chosen.are_classes:
            raise Error("cam explains classes only: for other targets use the method grad-cam.")
        weights = seen.head_weights(chosen.logits)
        if weights is None:
            raise Error(
                f"cam needs a network whose layer {query.layer.name!r} is followed by average pooling and one linear "
                "layer, and this one's is not: use grad-cam, which equals cam where both exist."
            )
        activations = precise(query.layer.grid(seen.activations))
        maps = summed(activations, weights[chosen.classes].to(activations.dtype), relu=False)
    return Raw(maps, chosen.detached())


@METHODS("hires-cam", paper="Draelos & Carin 2020, section 3", cost="1 forward")
@cam_rule(relu=False)
def hires_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """What each position contributes: the channels times their own gradients, summed and signed.

    L = sum_k dy/dA^k ∘ A^k. Behind a layer that is followed by one linear layer L sums to the score, less its bias.
    """
    return gradients


@METHODS("grad-cam++", paper="Chattopadhay et al. 2018, eq. 10-19", cost="1 forward")
@cam_rule()
def grad_cam_plus_plus(activations: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM with weights that count every instance of the class alike, however large it is.

    a_ij = g_ij^2 / (2 g_ij^2 + sum_ab A_ab g_ij^3), w_k = sum_ij a_ij ReLU(g_ij), L = ReLU(sum_k w_k A^k), with
    g = dy/dA. The paper's score exp(y) multiplies every weight by one positive number, which is left out.
    """
    positions = tuple(range(3, gradients.ndim))
    total = activations.flatten(2).sum(2)[(..., *[None] * len(positions))][:, None]  # (B, 1, K, 1, 1)
    below = 2 * gradients**2 + total * gradients**3
    share = torch.where(below != 0, gradients**2 / below, 0)
    return (share * gradients.relu()).sum(positions)


@METHODS("xgrad-cam", paper="Fu et al. 2020, eq. 8", cost="1 forward")
@cam_rule()
def xgrad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM with gradients weighted by the activations they belong to, so that the weights explain the score.

    w_k = sum_ij A_ij g_ij / sum_ij A_ij, L = ReLU(sum_k w_k A^k); 0 for a channel that sums to 0.
    """
    total = activations.flatten(2).sum(2)[:, None]
    product = (activations[:, None] * gradients).flatten(3).sum(3)
    return torch.where(total != 0, product / total, 0)


@METHODS("layer-cam", paper="Jiang et al. 2021, eq. 4-6", cost="1 forward")
@cam_rule()
def layer_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Each position weighted by its own positive gradient: finer than Grad-CAM in early layers.

    L = ReLU(sum_k ReLU(dy/dA^k) ∘ A^k). Values >= 0.
    """
    return gradients.relu()


@METHODS("eigen-cam", paper="Bany Muhammad & Yeasin 2020, eq. 2-4", cost="1 forward", blind=True)
def eigen_cam(query: Query) -> Raw:
    """What the layer responds to most: the first principal component of its channels, the same for every target.

    A = U S V^T with a row for each position, L = A v_1, not centred. ``(B, T, *grid)``; the target plays no part.
    """
    with Capture(query.net, query.layer.name, query.split) as seen:
        chosen = query.choose(seen(query.images))
        activations = precise(query.layer.grid(seen.activations))
    maps = summed(activations, torch.ones_like(activations)[:, None, :], relu=False, component=True)
    return Raw(maps.expand(-1, chosen.scores.shape[1], *maps.shape[2:]).clone(), chosen.detached())


@METHODS("eigen-grad-cam", paper="Gildenblat 2021 (pytorch-grad-cam), after Eigen-CAM", cost="1 forward")
@cam_rule(component=True)
def eigen_grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Eigen-CAM of the channels times their gradients: smooth, and it tells classes apart.

    A ∘ dy/dA = U S V^T, L = ReLU((A ∘ dy/dA) v_1), not centred, the sign that of the sum over channels.
    """
    return gradients


@METHODS("finer-cam", paper="Zhang et al. 2025, section 3.2", cost="1 forward")
def finer_cam(query: Query, *, strength: float = 1.0, rivals: int = 3) -> Raw:
    """What tells the class from those most like it: Grad-CAM of its score less the mean score of its rivals.

    L = ReLU(sum_k (alpha_k^c - strength · mean_d alpha_k^d) A^k), alpha as in eq. 1 of Grad-CAM, d the ``rivals``
    classes whose scores are closest to the target's. ``strength`` 0 is Grad-CAM. Raises `Error` for other targets.
    """
    if rivals < 1:
        raise Error(f"finer-cam compares with one rival at least, not {rivals}.")
    with Capture(query.net, query.layer.name, query.split) as seen:
        chosen = query.choose(seen(query.images))
        if chosen.logits is None or not chosen.are_classes or chosen.logits.shape[1] < 2:
            raise Error("finer-cam tells a class from its rivals: it needs a target that is one of several classes.")
        others = closest(chosen.logits.detach(), chosen.classes, rivals)  # (B, T, rivals)
        mean = chosen.logits[:, None].expand(-1, others.shape[1], -1).gather(2, others).mean(2)
        maps = grad_cam_maps(seen, query.layer, chosen._replace(scores=chosen.scores - strength * mean, logits=None))
    return Raw(maps, chosen.detached())


def closest(logits: Tensor, classes: Tensor, count: int) -> Tensor:
    """The other classes ``(B, T, count)`` whose scores, of ``(B, C)``, are closest to those of classes ``(B, T)``."""
    distance = (logits[:, None] - logits.gather(1, classes)[..., None]).abs()
    distance = distance.scatter(2, classes[..., None], torch.inf)
    return distance.topk(min(count, logits.shape[1] - 1), dim=2, largest=False).indices
