"""One recorded forward pass: what every call of every submodule returned, and where that lies in the graph."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wherefore.feeding import tokens_beside
from wherefore.graph import Node
from wherefore.guard import KeepRecording, prepared, recording
from wherefore.places import entries
from wherefore.types import Chosen


@dataclass
class Output:
    """What one call of one submodule returned in the traced pass."""

    name: str
    numbered: str  # the same with its call's number, also where it is the last: relu:1
    node: Node
    edge: torch.autograd.graph.GradientEdge
    shape: tuple[int, ...]
    passed: bool  # one of its module's own inputs

    @property
    def order(self) -> int:
        """When it was computed: higher is later."""
        return int(self.node._sequence_nr())


class Traced(NamedTuple):
    """One recorded forward pass; its graph lives as long as this."""

    outputs: list[Output]
    chosen: Chosen | None  # what was read from the network's output
    leaf: Tensor | None  # what was fed; None for token numbers, which have no gradient
    first: torch.autograd.graph.GradientEdge | None  # the first result that has one
    beside: int = 0  # how many tokens of text were fed beside it


def trace(net: nn.Module, images: Tensor, choose: Callable[[Any], Chosen] | None = None) -> Traced:
    """The outputs of all submodules in one recorded forward pass, and what ``choose`` reads from the network's output.

    The network is left as it was found.
    """
    calls: list[tuple[str, Any, Any]] = []
    thread = threading.get_ident()

    def before(module: nn.Module, inputs: Any) -> None:
        if threading.get_ident() == thread:
            recording(inside)  # also where the network's own forward is decorated with no_grad

    def after(name: str, module: nn.Module, inputs: Any, output: Any) -> Any:
        if threading.get_ident() != thread or not running:
            return None
        replaced = None
        if leaf is None and isinstance(output, Tensor) and output.is_floating_point() and not output.requires_grad:
            # Numbers of tokens have no gradient: of a frozen network the graph begins where they are looked up.
            replaced = output = output.detach().requires_grad_().clone()
        parts = {None: output} if isinstance(output, Tensor) else entries(output)
        for key, value in parts.items():
            if isinstance(value, Tensor) and value.requires_grad:
                edge = torch.autograd.graph.get_gradient_edge(value)
                calls.append((name, key, (edge, tuple(value.shape), any(value is x for x in inputs))))
        return replaced

    running = True  # what a target computes from the output (the words of a caption) is no layer of the network
    leaf = images.detach().clone().requires_grad_() if images.is_floating_point() else None
    with ExitStack() as undo, ExitStack() as inside:
        undo.enter_context(prepared(net))
        undo.enter_context(torch.enable_grad())
        for name, module in net.named_modules():
            undo.callback(module.register_forward_pre_hook(before).remove)
            if name:
                undo.callback(module.register_forward_hook(partial(after, name), prepend=True).remove)
        inside.enter_context(KeepRecording())
        output = net(images.clone() if leaf is None else leaf.clone())  # a network may change its input in place
        inside.close()
        recording(inside)
        running = False
        chosen = choose(output) if choose else None
    outputs = _named(calls)
    first = min(outputs, key=lambda o: o.order).edge if outputs else None
    first = first if leaf is None else torch.autograd.graph.get_gradient_edge(leaf)
    return Traced(outputs, chosen, leaf, first, 0 if leaf is None else tokens_beside(net))


def _named(calls: list[tuple[str, Any, Any]]) -> list[Output]:
    """Outputs with full names: ``:call`` for all but the last call of a module, ``[key]`` inside containers."""
    totals: dict[tuple[str, Any], int] = {}
    for name, key, _ in calls:
        totals[name, key] = totals.get((name, key), 0) + 1
    seen: dict[tuple[str, Any], int] = {}
    outputs = []
    for name, key, (edge, size, passed) in calls:
        index = seen[name, key] = seen.get((name, key), -1) + 1
        call = "" if index == totals[name, key] - 1 else f":{index}"
        part = "" if key is None else f"[{key}]"
        outputs.append(Output(f"{name}{call}{part}", f"{name}:{index}{part}", edge.node, edge, size, passed))
    return outputs
