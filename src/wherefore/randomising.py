"""Networks with some of their weights drawn anew: a map that stays as it was has nothing to do with those weights.

Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, section 4
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from wherefore.errors import Error
from wherefore.guard import unwrap
from wherefore.places import submodule

Stage = tuple[str, ...]  # names of modules, or of weights, that are drawn anew together


def stages(net: nn.Module) -> list[Stage]:
    """The layers with weights of a network, the last first; with each the norms that come behind it.

    Last and first in the order in which they were registered, which is that of the definition. Of a module that holds
    other layers beside weights of its own (a transformer's tokens and positions) the weights are named.
    """
    found: list[Stage] = []
    for name, module in unwrap(net).named_modules():
        weights = dict(module.named_parameters(recurse=False))
        if not weights:
            continue
        alone = _reset(module) or not any(module.children())
        names = (name,) if alone else tuple(f"{name}.{weight}".lstrip(".") for weight in weights)
        if found and all(weight.ndim < 2 for weight in weights.values()):
            found[-1] += names
        else:
            found.append(names)
    return found[::-1]


def randomised(
    net: nn.Module, layers: Sequence[Stage | str] | None = None, *, cascade: bool = True, seed: int = 0
) -> Iterator[tuple[str, nn.Module]]:
    """A copy of a network for each of ``layers``, with that layer's weights drawn anew; and the layer's name.

    With ``cascade`` those of all layers before it in the list too, so that from the logits downward more and more of
    the network has learned nothing; else of that layer alone. ``layers`` are names of modules (``fc``, ``layer4``), or
    several that go together; by default those of `stages`. It is one copy that is changed further each time: use it
    before the next is asked for. ``net`` is left as it is. Raises `Error` for a layer that it does not have.
    """
    net, wanted = unwrap(net), [(each,) if isinstance(each, str) else each for each in layers or stages(net)]
    for name in (name for stage in wanted for name in stage):
        if name not in dict(net.named_parameters()):
            submodule(net, name)
    return _copies(net, wanted, cascade, seed)


def _copies(net: nn.Module, wanted: Sequence[Stage], cascade: bool, seed: int) -> Iterator[tuple[str, nn.Module]]:
    other = copied(net)
    for number, stage in enumerate(wanted):
        if not cascade:
            other.load_state_dict(net.state_dict())
        redraw(other, stage, seed + number)
        yield stage[0], other


def copied(net: nn.Module) -> nn.Module:
    """A copy of a network, to be changed. Raises `Error` where it cannot be had."""
    try:
        return copy.deepcopy(unwrap(net))
    except (RuntimeError, TypeError) as error:
        raise Error(f"{type(net).__name__} cannot be copied ({str(error).splitlines()[0]}).") from None


def redraw(net: nn.Module, stage: Stage, seed: int) -> None:
    """Draws the weights of a stage anew, as its layers do when they are made; running statistics start anew.

    Weights of a kind that has no ``reset_parameters`` come from a normal distribution of their own mean and deviation.
    The same seed draws the same weights; torch's own dice stay as they were.
    """
    devices = {weight.device for weight in net.parameters() if weight.device.type == "cuda"}
    with torch.random.fork_rng(devices), torch.no_grad():
        torch.manual_seed(seed)
        weights = dict(net.named_parameters())
        for name in stage:
            if name in weights:
                _draw(weights[name])
                continue
            for module in submodule(net, name).modules():
                reset = _reset(module)
                for weight in [] if reset else module.parameters(recurse=False):
                    _draw(weight)
                if reset:
                    reset()


def _reset(module: nn.Module) -> Callable[[], None] | None:
    """What draws a layer's weights when it is made, if it has that."""
    found = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
    return found if callable(found) else None


def _draw(weight: Tensor) -> None:
    spread = weight.std() if weight.numel() > 1 else weight.abs().sum()
    weight.copy_(torch.randn_like(weight) * spread + weight.mean())
