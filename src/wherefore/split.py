"""A network cut in two at a layer, the part below it run faster: what ``below=`` and ``compile=True`` run."""

from __future__ import annotations

import operator
import threading
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from wherefore.below import COMPILED, FOLDED, GRAPH, PLAIN, faster
from wherefore.errors import Error
from wherefore.feeding import like
from wherefore.graph import activation
from wherefore.guard import prepared
from wherefore.places import Place, submodule
from wherefore.types import fingerprint

_TRACING = threading.Lock()


class Split:
    """The two halves of a network: ``above(*below(images)) == net(images)``, the latter run as `wherefore.below` says.

    Cut by torch.fx; the network is not touched, both halves are graphs of their own that share its weights, or have
    copies of those as they are now: whoever holds a split makes a new one when the network's `fingerprint` changes.
    Raises `Error` where torch.fx cannot trace the network, where it is compiled already, or where hooks of the user's
    own would be left out.
    """

    def __init__(self, net: nn.Module, layer: str, below: str = COMPILED) -> None:
        self.layer, self.asked = layer, _asked(below)
        place = Place.parse(layer)
        if place.call is not None or place.key is not None:
            raise Error(f"{self.asked} needs a plain layer, not {layer!r}: name one without ':' and '['.")
        if GRAPH in below.split("+") and (like(net)[0] or torch.device("cpu")).type != "cuda":
            raise Error(f"{self.asked} records what a GPU does, and the network is on none: leave {GRAPH} out.")
        submodule(net, place.module)
        refuse_hooks(net, self.asked)
        with prepared(net):
            graph = _traced(_plain(net), self.asked, place.module)
        cut = _node(graph, place, self.asked)
        before = _upstream(cut) | {n for n in graph.nodes if n.op == "placeholder"}
        read_above = {n for node in graph.nodes if node not in before for n in node.all_input_nodes} - {cut}
        both = {n for n in read_above if n.op == "get_attr"}  # a weight that is read below and above need not cross
        after = [n for n in graph.nodes if n not in before or n in both]
        crossing = [n for n in graph.nodes if n in before and n in read_above and n not in both]
        self.above = _part(net, after, [cut, *crossing])
        part = _part(net, [n for n in graph.nodes if n in before], [], [cut, *crossing])
        if FOLDED in below.split("+"):  # what is to be folded may lie inside the layer
            part = fx.GraphModule(part, _traced(part, self.asked))
        self._below = faster(part, below)
        self._made = "recorded" if GRAPH in below.split("+") else "compiled" if below == COMPILED else "run so"

    def below(self, *inputs: Tensor) -> tuple[Tensor, list[Any]]:
        """The layer's output, and whatever else of the part below is read above it."""
        try:
            cut, *crossing = self._below(*inputs)
        except Error as error:
            raise Error(
                f"the part below {self.layer!r} cannot be {self._made}: leave {self.asked} out ({error})."
            ) from error
        return cut, crossing


class Splits:
    """The splits of a network at the layers that were asked for, all of one way; made anew when its weights change."""

    def __init__(self, net: nn.Module, below: str) -> None:
        self.net, self.below = net, below
        self._made: dict[str, tuple[list[Any], Split]] = {}
        self._lock = threading.Lock()

    def at(self, layer: str, net: nn.Module) -> Split | None:
        """The split at a layer, for ``net``, what is fed; None where nothing is to be split."""
        if self.below == PLAIN:
            return None
        if net is not self.net:
            raise Error(f"{_asked(self.below)} takes networks that are fed their pictures alone: leave it out.")
        now = fingerprint(self.net)
        with self._lock:
            before, split = self._made.get(layer, (None, None))
            if split is None or before != now:
                split = Split(self.net, layer, self.below)
                self._made[layer] = now, split
            refuse_hooks(self.net, _asked(self.below))
            return split


def _asked(below: str) -> str:
    """What a user gave to have the part below run so."""
    return "compile=True" if below == COMPILED else f"below={below!r}"


def refuse_hooks(net: nn.Module, asked: str) -> None:
    """An `Error` where the network has hooks, or compiled parts, of the user's own: the halves would leave them out."""
    for name, module in net.named_modules():
        if module._compiled_call_impl is not None or "_orig_mod" in module._modules:
            raise Error(f"{name or 'the network'} is compiled already: leave {asked} out.")
        for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values()):
            maker = getattr(hook, "func", hook)
            if not str(getattr(maker, "__module__", "")).startswith("wherefore."):  # ours: another thread explains it
                raise Error(f"{name or 'the network'} has a hook, which {asked} would leave out: remove one of them.")


def _traced(plain: nn.Module, asked: str, leaf: str = "") -> fx.Graph:
    """The graph of a copy of the network's, the submodule ``leaf`` one node of it.

    A copy: what the forward leaves on the network is none of its own.
    """

    thread = threading.get_ident()

    class Tracer(fx.Tracer):
        # torch.fx takes over the calls of all modules of the process: those of other threads go on as they were.
        def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
            if threading.get_ident() != thread:
                return forward(*args, **kwargs)
            return super().call_module(m, forward, args, kwargs)

        def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: Any) -> Any:
            if threading.get_ident() != thread:
                return attr_val
            return super().getattr(attr, attr_val, parameter_proxy_cache)

        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
            return module_qualified_name == leaf or super().is_leaf_module(m, module_qualified_name)

    try:
        with _TRACING:
            return Tracer().trace(plain)
    except Exception as error:
        raise Error(f"{asked} needs a network that torch.fx can trace; this one it cannot: {error}") from error


def _node(graph: fx.Graph, place: Place, asked: str) -> fx.Node:
    """The node of the layer, or of the activation function that follows it."""
    node = next((n for n in reversed(graph.nodes) if n.op == "call_module" and n.target == place.module), None)
    if node is not None and place.activation is not None:
        wanted = activation(place.activation)
        node = next((n for n in node.users if n.op.startswith("call_f") and activation(n.target) == wanted), None)
    if node is None:
        raise Error(f"layer {place.module!r} is not part of the traced network: {asked} cannot cut there.")
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
    plain = type(module).__new__(type(module))  # copy.copy refuses parametrized modules
    plain.__dict__.update(vars(module))
    for name, value in vars(module).items():
        if name.endswith("_hooks") and isinstance(value, dict):
            plain.__dict__[name] = type(value)()
    plain.__dict__["_modules"] = {name: child and _plain(child) for name, child in module._modules.items()}
    plain.__dict__["training"] = False
    return plain
