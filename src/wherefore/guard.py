"""A network is explained in eval mode, uncompiled, with its graph switched on and off by us, and left as it was found.

What has to be changed for the time of a call is changed under a lock and counted per module, so that several threads
can explain one network, or networks that share parts, at once, and the last one to leave restores them.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from wherefore.errors import Error


def unwrap(net: nn.Module) -> nn.Module:
    """The network inside torch.compile, DataParallel and DistributedDataParallel wrappers."""
    while True:
        inner = getattr(net, "_orig_mod", None)
        if inner is None and isinstance(net, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            inner = net.module
        if not isinstance(inner, nn.Module):
            return net
        net = inner


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread of torch's: the small networks for scenes gain nothing from a second, and lose much on a busy machine.

    It is torch's setting for the whole process, put back at the end.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def prepared(net: nn.Module, *, eager: bool = True) -> Iterator[None]:
    """For the time of a call: eval mode, compiled parts run eagerly, no inference_mode, autocast's cache left clean.

    Without ``eager`` compiled parts run as they are: for halves of a network that we have compiled ourselves.
    """
    if isinstance(net, torch.jit.ScriptModule):
        raise Error("a TorchScript network cannot be looked into: pass the Python module that it was made from.")
    with ExitStack() as undo:
        modules = list(net.modules())
        undo.enter_context(_EVAL(*modules))
        if eager and "torch._dynamo" in sys.modules:  # else nothing is compiled; a function in a forward may be
            undo.enter_context(_EAGER(torch.compiler))
        # Weights cast while nothing is recorded would be served, without their graph, to the caller's own training.
        if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
            undo.callback(torch.clear_autocast_cache)
        undo.enter_context(torch.inference_mode(False))
        try:
            yield
        except RuntimeError as error:
            if "nference tensor" not in str(error):
                raise
            raise Error(
                "tensors made under torch.inference_mode() cannot take part in a gradient: make the weights outside of "
                "it, and use torch.no_grad() in the network's forward."
            ) from error


def recording(inside: ExitStack) -> None:
    """Switch the graph on in the middle of a forward pass, also inside a forward decorated with inference_mode.

    ``inside`` is closed by the caller after the forward pass and before whatever surrounded it is left.
    """
    if torch.is_inference_mode_enabled():
        inside.enter_context(torch.inference_mode(False))
    torch.set_grad_enabled(True)


class KeepRecording(TorchFunctionMode):
    """Switches the graph on before every function, for networks that switch it off in the middle of a forward pass."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") != "_set_grad_enabled":
            torch._C._set_grad_enabled(True)
        return func(*args, **(kwargs or {}))


class _Counted:
    """A change to things that is made by the first to enter and undone by the last to leave, thing by thing."""

    def __init__(self, change: Callable[[Any], Callable[[], None] | None]) -> None:
        self.change, self.lock = change, threading.Lock()
        self.held: dict[int, tuple[int, Callable[[], None]]] = {}  # by id: the things outlive the block

    @contextmanager
    def __call__(self, *things: Any) -> Iterator[None]:
        held = []
        try:
            with self.lock:
                for thing in things:
                    count, undo = self.held.get(id(thing)) or (0, self.change(thing))
                    if undo is not None:
                        self.held[id(thing)] = (count + 1, undo)
                        held.append(thing)
            yield
        finally:
            with self.lock:
                for thing in held:
                    self._release(thing)

    def _release(self, thing: Any) -> None:
        count, undo = self.held.pop(id(thing))
        if count > 1:
            self.held[id(thing)] = (count - 1, undo)
        else:
            undo()


def _to_eval(module: nn.Module) -> Callable[[], None] | None:
    """Puts one module (not those in it) into eval mode; the undo puts it back into training."""
    if not module.training:
        return None
    module.training = False
    return lambda: setattr(module, "training", True)


def _to_eager(_: Any) -> Callable[[], None]:
    """Compiled modules run their Python code (hooks inside compiled code never run); the undo lifts that."""
    import torch._dynamo  # only where something is compiled, and then it is imported already

    stance = torch.compiler.set_stance("force_eager")
    stance.__enter__()
    return lambda: stance.__exit__(None, None, None)


def _to_any_score(module: Any) -> Callable[[], None] | None:
    """Makes a part of a detector report boxes of any score; the undo gives its own threshold back."""
    own = vars(module).get("score_thresh")
    if not isinstance(own, float):
        return None
    module.score_thresh = 0.0
    return lambda: setattr(module, "score_thresh", own)


def any_score(net: nn.Module) -> Any:
    """For the time of a block a detector of torchvision's reports boxes below its own threshold of scores, too."""
    return _ANY_SCORE(*net.modules())


_ANY_SCORE = _Counted(_to_any_score)
_EVAL = _Counted(_to_eval)
_EAGER = _Counted(_to_eager)
