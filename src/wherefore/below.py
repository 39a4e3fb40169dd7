"""The part of a network below a layer, run faster: what ``below=`` and ``compile=True`` say.

===================  ==============================================================================================
``plain``            the network's own code
``folded``           batch norms folded into the convolutions before them: w' = w · gamma / sqrt(var + eps), and a bias
``channels-last``    convolutions on memory that holds the channels of a place side by side
``graph``            on a GPU: what it does for a size of input is recorded once, and replayed (CUDA graphs)
``bfloat16``         under torch.autocast: not exact; so is ``float16``
``compiled``         through torch.compile, batch norms folded by the compiler
===================  ==============================================================================================

``folded+channels-last`` is both; ``plain`` and ``compiled`` stand alone. All work on graphs and weights of their own:
the network itself is never changed.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils._pytree import tree_map

from wherefore.errors import Error

PLAIN, COMPILED, GRAPH = "plain", "compiled", "graph"
FOLDED, LAST = "folded", "channels-last"
HALF = {"bfloat16": torch.bfloat16, "float16": torch.float16}
PARTS = (FOLDED, LAST, *HALF, GRAPH)
FREEZABLE = (torch.float32, torch.bfloat16, torch.float16)
MOST_GRAPHS = 8  # sizes of input of which a recording is kept: each holds the memory of a run

Run = Callable[..., Sequence[Any]]


def checked(below: str) -> str:
    """A way of running the part below a layer, its words in their order; an `Error` for what is none."""
    words = below.split("+")
    if below in (PLAIN, COMPILED):
        return below
    if not set(words) <= set(PARTS) or len(set(words)) < len(words) or set(HALF) <= set(words):
        raise Error(f"below is plain, compiled, or some of {', '.join(PARTS)} joined by '+', not {below!r}.")
    return "+".join(word for word in PARTS if word in words)


def is_exact(below: str) -> bool:
    """Whether a way computes in the network's own precision."""
    return not set(below.split("+")) & set(HALF)


def faster(part: fx.GraphModule, below: str) -> Run:
    """What runs a part of a network in a way other than ``plain``; it takes the part over, whose weights are shared."""
    return Compiled(part) if below == COMPILED else Eager(part, below.split("+"))


class Eager:
    """A part of a network, its batch norms folded, its memory laid out, its precision set, its work recorded."""

    def __init__(self, part: fx.GraphModule, words: Sequence[str]) -> None:
        self.part = folded(part) if FOLDED in words else part
        self.last = LAST in words
        if self.last:
            _lay_out(self.part)
        self.half = next((HALF[word] for word in words if word in HALF), None)
        self._run: Run = Graphs(self._eager, self.part) if GRAPH in words else self._eager

    def __call__(self, *inputs: Tensor) -> Sequence[Any]:
        return self._run(*inputs)

    def _eager(self, *inputs: Tensor) -> Sequence[Any]:
        given = [x.contiguous(memory_format=torch.channels_last) if self.last and x.ndim == 4 else x for x in inputs]
        kind, wanted = inputs[0].device.type, inputs[0].dtype
        # What autocast remembers of weights would outlive this block inside one of the caller's, and a recording.
        with torch.autocast(kind, self.half, cache_enabled=False) if self.half else nullcontext():
            results = self.part(*given)

        def as_before(x: Any) -> Any:
            if not isinstance(x, Tensor):
                return x
            return (x.to(wanted) if self.half is not None and x.dtype == self.half else x).contiguous()

        found: Sequence[Any] = tree_map(as_before, results)
        return found


class Compiled:
    """A part of a network through torch.compile; the first run for a size of input compiles it with its weights."""

    def __init__(self, part: fx.GraphModule) -> None:
        self._compiled = torch.compile(part, dynamic=False)
        self._freezes = all(p.dtype in FREEZABLE for p in part.parameters())
        self._sizes: set[Any] = set()
        self._lock = threading.Lock()

    def __call__(self, *inputs: Tensor) -> Sequence[Any]:
        from torch._inductor import config

        sizes = _sizes(inputs)
        with self._lock:
            # Freezing builds the weights into the code: batch norm is folded and convolutions are packed once, which
            # is a third of the time saved. It must be set while Dynamo traces, not only as an option.
            freeze = self._freezes and sizes not in self._sizes
            try:
                with config.patch(freezing=True) if freeze else nullcontext():
                    results: Sequence[Any] = self._compiled(*inputs)
            except torch._dynamo.exc.TorchDynamoException as error:
                raise Error(" ".join(str(error).split())[:200]) from error
            self._sizes.add(sizes)
        return results


@dataclass
class Recording:
    """A GPU's work: the tensors that it reads and writes, and after what on the GPU these may be written again."""

    graph: Any
    given: list[Tensor]
    results: Sequence[Any]
    free: Any = None


class Graphs:
    """A function of tensors on a GPU that is recorded at the second run of each size of them, and replayed after it.

    The first run warms up; what comes once, as the last batch of many often does, is never recorded. A recording reads
    the weights of ``part`` where they were: when these have moved, all are made anew. Raises `Error` where nothing can
    be recorded.
    """

    def __init__(self, run: Run, part: nn.Module) -> None:
        self.run, self.part = run, part
        self._seen: set[Any] = set()
        self._recorded: dict[Any, Recording] = {}
        self._weights: list[int] = []  # where they lie in memory
        self._lock = threading.Lock()

    def __call__(self, *inputs: Tensor) -> Sequence[Any]:
        kind = inputs[0].device.type
        key = _sizes(inputs), torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)
        with self._lock:
            weights = [tensor.data_ptr() for tensor in (*self.part.parameters(), *self.part.buffers())]
            if weights != self._weights:
                self._weights = weights
                self._seen.clear()
                self._recorded.clear()
            if key not in self._recorded:
                if key not in self._seen or len(self._recorded) >= MOST_GRAPHS:
                    self._seen.add(key)
                    return self.run(*inputs)
                self._recorded[key] = self._record(inputs)
            with torch.cuda.device(inputs[0].device):
                return _replayed(self._recorded[key], inputs)

    def _record(self, inputs: Sequence[Tensor]) -> Recording:
        kind = inputs[0].device.type
        dtype, enabled = torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
        try:
            # What the caller's autocast remembers of weights would be freed at its end, and the recording reads it.
            with torch.cuda.device(inputs[0].device), torch.autocast(kind, dtype, enabled, cache_enabled=False):
                given, graph = [x.clone() for x in inputs], torch.cuda.CUDAGraph()
                beside = torch.cuda.Stream()
                beside.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(beside):  # libraries choose their kernels before anything is recorded
                    self.run(*given)
                torch.cuda.current_stream().wait_stream(beside)
                # Other threads go on reading pictures into pinned memory, which a recording of all would not bear.
                with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                    results = self.run(*given)
        except RuntimeError as error:
            raise Error(" ".join(str(error).split())[:200]) from error
        return Recording(graph, given, results)


def _replayed(recording: Recording, inputs: Sequence[Tensor]) -> Sequence[Any]:
    """What a recording gives for inputs; on the GPU it waits for the last replay, which may be on another stream."""
    current = torch.cuda.current_stream()
    if recording.free is not None:
        current.wait_event(recording.free)
    for own, x in zip(recording.given, inputs, strict=True):
        own.copy_(x)
    recording.graph.replay()
    found: Sequence[Any] = tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, recording.results)
    recording.free = current.record_event()
    return found


def _sizes(inputs: Sequence[Tensor]) -> Any:
    return tuple((x.shape, x.dtype, x.device) for x in inputs)


def folded(part: fx.GraphModule) -> fx.GraphModule:
    """The part with every batch norm that alone reads a convolution's result folded into it; others are left alone.

    Folded are plain `nn.Conv2d` and `nn.BatchNorm2d` that run once, the latter with learnt scales and kept statistics.
    """
    modules = dict(part.named_modules(remove_duplicate=False))
    calls = [node for node in part.graph.nodes if node.op == "call_module"]
    runs = Counter(id(modules[node.target]) for node in calls)
    for node in calls:
        norm = modules[node.target]
        source = next((each for each in calls if node.args and each is node.args[0]), None)
        if source is None or type(norm) is not nn.BatchNorm2d or not norm.affine or norm.running_mean is None:
            continue
        conv, name = modules[source.target], str(source.target)
        if type(conv) is not nn.Conv2d or len(source.users) > 1 or runs[id(conv)] > 1 or runs[id(norm)] > 1:
            continue
        with torch.no_grad():
            setattr(part.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2], fuse_conv_bn_eval(conv, norm))
        node.replace_all_uses_with(source)
        part.graph.erase_node(node)
    part.delete_all_unused_submodules()
    part.recompile()
    return part


def _lay_out(part: nn.Module) -> None:
    """Gives a part weights of its own with channels last; what they are copied from keeps its memory as it is."""
    for module in part.modules():
        weights = module._parameters.items()
        laid = {
            name: nn.Parameter(w.detach().contiguous(memory_format=torch.channels_last), requires_grad=False)
            for name, w in weights
            if w is not None and w.ndim == 4
        }
        module.__dict__["_parameters"] = {**dict(weights), **laid}
