"""A network is explained in eval mode, uncompiled, with its graph switched on and off by us, and left as it was found.

What has to be changed for the time of a call is changed under a lock and counted per network, so that several threads
can explain one network at once and the last one to leave restores it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

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
def prepared(net: nn.Module) -> Iterator[None]:
    """For the time of a call: eval mode, compiled parts run eagerly, no inference_mode, autocast's cache left clean."""
    if isinstance(net, torch.jit.ScriptModule):
        raise Error("a TorchScript network cannot be looked into: pass the Python module that it was made from.")
    with ExitStack() as undo:
        undo.enter_context(_EVAL(net))
        if any(m._compiled_call_impl is not None or hasattr(m, "_orig_mod") for m in net.modules()):
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


class _Counted:
    """A change to an object that is made by the first to enter and undone by the last to leave."""

    def __init__(self, change: Callable[[Any], Callable[[], None]]) -> None:
        self.change, self.lock = change, threading.Lock()
        self.held: WeakKeyDictionary[Any, tuple[int, Callable[[], None]]] = WeakKeyDictionary()

    @contextmanager
    def __call__(self, thing: Any) -> Iterator[None]:
        with self.lock:
            count, undo = self.held.get(thing) or (0, self.change(thing))
            self.held[thing] = (count + 1, undo)
        try:
            yield
        finally:
            with self.lock:
                count, undo = self.held[thing]
                if count > 1:
                    self.held[thing] = (count - 1, undo)
                else:
                    del self.held[thing]
                    undo()


def _to_eval(net: nn.Module) -> Callable[[], None]:
    """Puts every submodule into eval mode; the undo puts back those that were training."""
    training = [m for m in net.modules() if m.training]
    for module in training:
        module.training = False

    def undo() -> None:
        for module in training:
            module.training = True

    return undo


def _to_eager(_: Any) -> Callable[[], None]:
    """Compiled modules run their Python code (hooks inside compiled code never run); the undo lifts that."""
    import torch._dynamo  # only where something is compiled, and then it is imported already

    stance = torch.compiler.set_stance("force_eager")
    stance.__enter__()
    return lambda: stance.__exit__(None, None, None)


_EVAL = _Counted(_to_eval)
_EAGER = _Counted(_to_eager)
