"""A network cut in two at a layer, the part below it compiled: what ``compile=True`` runs."""

from __future__ import annotations

import copy
import operator
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, fx, nn

from wherefore.errors import Error
from wherefore.graph import activation
from wherefore.guard import prepared
from wherefore.places import Place, submodule


class Split:
    """The two halves of a network: ``above(*below(images)) == net(images)``, ``below`` compiled.

    Cut by torch.fx; the network is not touched, both halves are graphs of their own that share its weights. The
    first run of ``below`` for an input size compiles it. Raises `Error` where torch.fx cannot trace the network.
    """

    def __init__(self, net: nn.Module, layer: str) -> None:
        place = Place.parse(layer)
        if place.call is not None or place.key is not None:
            raise Error(f"compile=True needs a plain layer, not {layer!r}: name one without ':' and '['.")
        self.layer = layer
        submodule(net, place.module)
        with prepared(net):
            graph = _traced(net, place)
        cut = _node(graph, place)
        before = _upstream(cut) | {n for n in graph.nodes if n.op == "placeholder"}
        after = [n for n in graph.nodes if n not in before]
        read_above = {n for node in after for n in node.all_input_nodes} - {cut}
        crossing = [n for n in graph.nodes if n in before and n in read_above]
        self.above = _part(net, after, [cut, *crossing])
        self._build: Callable[[], fx.GraphModule] = lambda: _part(
            net, [n for n in graph.nodes if n in before], [], [cut, *crossing]
        )
        self._part, self._compiled = self._build(), None  # type: tuple[fx.GraphModule, Any]
        self._weights: list[tuple[int, int]] = []
        self._sizes: set[Any] = set()
        self._lock = threading.Lock()

    def below(self, *inputs: Tensor) -> tuple[Tensor, list[Any]]:
        """The layer's output, and whatever else of the part below is read above it."""
        from torch._inductor import config

        with self._lock:
            self._renew()
            sizes = tuple((x.shape, x.dtype, x.device) for x in inputs)
            new = sizes not in self._sizes
            try:
                # Freezing builds the weights into the code: batch norm is folded and convolutions are packed once,
                # which is a third of the time saved. It must be set while Dynamo traces, not only as an option.
                with config.patch(freezing=True) if new else nullcontext():
                    cut, *crossing = self._compiled(*inputs)
            except torch._dynamo.exc.TorchDynamoException as error:
                reason = str(error).strip().splitlines()[0]
                raise Error(
                    f"the part below {self.layer!r} cannot be compiled ({reason}): leave compile=True out."
                ) from error
            self._sizes.add(sizes)
        return cut, crossing

    def _renew(self) -> None:
        """Compiles for the weights as they are now; new weights want a new module, as code is remembered by module."""
        weights = [(w.data_ptr(), w._version) for w in self._part.state_dict().values()]
        if self._compiled is not None and weights == self._weights:
            return
        if self._compiled is not None:
            self._part = self._build()
            weights = [(w.data_ptr(), w._version) for w in self._part.state_dict().values()]
        self._compiled, self._weights, self._sizes = torch.compile(self._part, dynamic=False), weights, set()


def _traced(net: nn.Module, place: Place) -> fx.Graph:
    """The network's graph with the layer as one node of it."""

    class Tracer(fx.Tracer):
        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
            return module_qualified_name == place.module or super().is_leaf_module(m, module_qualified_name)

    try:
        return Tracer().trace(net)
    except Exception as error:
        raise Error(f"compile=True needs a network that torch.fx can trace; this one it cannot: {error}") from error


def _node(graph: fx.Graph, place: Place) -> fx.Node:
    """The node of the layer, or of the activation function that follows it."""
    node = next((n for n in reversed(graph.nodes) if n.op == "call_module" and n.target == place.module), None)
    if node is not None and place.activation is not None:
        wanted = activation(place.activation)
        node = next((n for n in node.users if n.op.startswith("call_f") and activation(n.target) == wanted), None)
    if node is None:
        raise Error(f"layer {place.module!r} is not part of the traced network: compile=True cannot cut there.")
    return node


def _upstream(node: fx.Node) -> set[fx.Node]:
    """A node and everything that it depends on."""
    seen, waiting = {node}, [node]
    while waiting:
        for source in waiting.pop().all_input_nodes:
            if source not in seen:
                seen.add(source)
                waiting.append(source)
    return seen


def _part(
    net: nn.Module, nodes: Sequence[fx.Node], given: Sequence[fx.Node], results: Sequence[fx.Node] = ()
) -> fx.GraphModule:
    """A network of some of a graph's nodes that is given others; with ``results`` it returns those."""
    part = fx.Graph()
    modules: dict[str, Any] = {}
    copies = {node: part.placeholder(node.name) for node in given}
    for node in nodes:
        copies[node] = part.node_copy(node, copies.__getitem__)
        if node.op == "call_module":
            modules[str(node.target)] = _plain(net.get_submodule(str(node.target)))
        elif node.op == "get_attr":
            modules[str(node.target)] = operator.attrgetter(str(node.target))(net)
    if results:
        part.output(tuple(copies[node] for node in results))
    return fx.GraphModule(modules, part).eval()


def _plain(module: nn.Module) -> nn.Module:
    """A copy that shares the weights, in eval mode and without hooks.

    Compiled code looks at hooks and modes, and those of the network change while another thread explains it.
    """
    plain = copy.copy(module)
    for name, value in vars(module).items():
        if name.endswith("_hooks") and isinstance(value, dict):
            plain.__dict__[name] = type(value)()
    plain.__dict__["_modules"] = {name: child and _plain(child) for name, child in module._modules.items()}
    plain.__dict__["training"] = False
    return plain
