"""Capture: run a network once, cut it at a layer, differentiate only the part above.

Below the layer nothing is recorded: that part runs without a graph, so it costs what inference costs. The layer's
output becomes a leaf, the part above is recorded from there, and one batched backward over that part serves all
targets. Where that part is average pooling and one linear layer the gradient is a row of the weight matrix; that is
read off the recorded graph and checked against a real gradient, never assumed.
"""

from __future__ import annotations

import copy
import dataclasses
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from wherefore.errors import Error
from wherefore.graph import linear_tail
from wherefore.guard import prepared, recording, unwrap
from wherefore.places import Place, submodule
from wherefore.split import Split

# Gradients of one chunk of targets take at most this much memory (counted at the layer).
CHUNK_BYTES = 64 * 2**20


class Capture:
    """The activations of one layer while a network runs, and the gradients of scores by them.

        with Capture(net, "layer4") as seen:
            output = seen(images)                            # the part below the layer leaves no graph
            for gradients in seen.gradients(output[:, :5]):  # (B, t, K, h, w), chunks of the 5 targets
                ...
            seen.activations                                 # (B, K, h, w)

    The model is left as it was found, whatever happens inside the block. Only calls of the thread that entered the
    block are seen. Raises `Error` for a layer that does not exist, never runs, or returns no floating-point tensor.
    """

    def __init__(self, net: nn.Module, layer: str, split: Split | None = None) -> None:
        self.net, self.layer, self.place, self.split = unwrap(net), layer, Place.parse(layer), split
        self.module = submodule(self.net, self.place.module)
        self.leaf: Tensor | None = None
        self.calls = 0
        self._output: Any = None
        self._thread = threading.get_ident()
        self._undo = ExitStack()
        self._inner = ExitStack()  # what was entered inside the forward pass; left before `_undo`

    def __enter__(self) -> Capture:
        with ExitStack() as undo:
            undo.enter_context(prepared(self.net))
            undo.enter_context(torch.no_grad())
            undo.callback(self._inner.close)
            if self.split is None:
                undo.callback(self.module.register_forward_hook(self._seen).remove)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._undo.__exit__(*error)
        self.leaf = self._output = None  # the graph goes with them

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """The network's output; grad mode is on from the layer to the end of the block."""
        self.leaf, self.calls = None, 0
        if self.split is not None:
            self._output = self._run_split(self.split, inputs)
            return self._output
        output = self.net(*(_ordinary(x) for x in inputs), **{k: _ordinary(x) for k, x in named.items()})
        self._inner.close()
        recording(self._inner)  # leaving what was entered inside can have switched the graph off again
        if self.leaf is None:
            raise Error(self._why_not_seen())
        self._output = output
        return output

    @property
    def activations(self) -> Tensor:
        """The layer's output, detached; shape as the layer gives it."""
        assert self.leaf is not None, "run the network first"
        return self.leaf.detach()

    def gradients(self, scores: Tensor, classes: Tensor | None = None) -> Iterator[Tensor]:
        """d scores[b, t] / d activations[b], in chunks over the targets.

        ``scores`` is ``(B, T)``; yields ``(B, t, *layer shape)``. ``classes`` ``(B, T)`` says which columns of the
        network's output they are (-1: none): where all are, and the head is pooled and linear, the gradient is read
        off and comes as an expanded view (strides 0 over the positions).
        """
        assert self.leaf is not None, "run the network first"
        self._check_connected(scores)
        targets = scores.shape[1]
        chunk = max(1, CHUNK_BYTES // max(1, self.leaf.numel() * self.leaf.element_size()))
        if classes is not None and targets > 1 and bool((classes >= 0).all()):
            weights = linear_tail(self._output, self.leaf)
            if weights is not None:
                yield from self._rows(weights, classes, chunk)
                return
        for start in range(0, targets, chunk):
            yield self._differentiate(scores[:, start : start + chunk])

    def tail_weights(self) -> Tensor | None:
        """The matrix W ``(C, K)`` where output = W · mean(activations) + bias, else None."""
        assert self.leaf is not None, "run the network first"
        return linear_tail(self._output, self.leaf)

    # ------------------------------------------------------------------ the forward pass

    def _run_split(self, split: Split, inputs: Any) -> Any:
        below, others = split.below(*inputs)
        torch.set_grad_enabled(True)
        self.leaf = below.detach().requires_grad_()
        return split.above(self.leaf.clone(), *others)

    def _seen(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        """Forward hook of the layer: cut here, or (``+activation``) at the function that comes next."""
        if threading.get_ident() != self._thread:
            return None  # another thread's pass through the same network
        self.calls += 1
        if self.place.call not in (None, self.calls - 1):
            return None
        if self.place.activation is None:
            return self._cut(output)
        self._inner.enter_context(_CutAfter(self, pick(output, self.place.key, self.layer)))
        return None

    def _cut(self, output: Any) -> Any:
        """The same output with a fresh leaf in it; recording starts here."""
        tensor = pick(output, self.place.key, self.layer)
        recording(self._inner)
        self.leaf = (tensor.clone() if tensor.is_inference() else tensor.detach()).requires_grad_()
        # A clone goes on, so that an in-place operation behind the layer changes the copy and not what is explained.
        return put(output, self.place.key, self.leaf.clone())

    def _why_not_seen(self) -> str:
        if self.place.activation and self.calls:
            return f"no function {self.place.activation!r} is applied to the output of {self.place.module!r}."
        if self.calls:
            return f"layer {self.place.module!r} ran {self.calls} times, so there is no call {self.place.call}."
        if any(isinstance(m, torch.jit.ScriptModule) for m in self.net.modules()):
            return "a TorchScript network cannot be looked into: pass the Python module that it was made from."
        return f"layer {self.layer!r} never ran in this forward pass: `wherefore layers` lists those that do."

    # ------------------------------------------------------------------ the backward pass

    def _check_connected(self, scores: Tensor) -> None:
        if not scores.requires_grad:
            raise Error(
                f"the target does not depend on layer {self.layer!r}, or the network cuts its own graph above it "
                "(no_grad, detach, argmax, or a checkpoint with use_reentrant=True): choose another layer."
            )

    def _differentiate(self, scores: Tensor) -> Tensor:
        """Gradients of ``(B, t)`` scores by one batched backward; by a loop where an operation cannot be batched."""
        targets = scores.shape[1]
        if targets == 1:
            return self._grad(scores, torch.ones_like(scores)).unsqueeze(1)
        picks = torch.eye(targets, device=scores.device, dtype=scores.dtype)[:, None, :].expand(-1, len(scores), -1)
        try:
            stacked = self._grad(scores, picks, batched=True)  # (t, B, ...)
        except RuntimeError:
            stacked = torch.stack([self._grad(scores, pick) for pick in picks])
        return stacked.transpose(0, 1)

    def _grad(self, scores: Tensor, picks: Tensor, *, batched: bool = False) -> Tensor:
        assert self.leaf is not None
        try:
            (found,) = torch.autograd.grad(
                scores, self.leaf, picks, retain_graph=True, is_grads_batched=batched, allow_unused=True
            )
        except RuntimeError as error:
            if "heckpoint" in str(error):
                raise Error(
                    "a part above the layer is checkpointed with use_reentrant=True, which allows no gradient by a "
                    "layer: use torch.utils.checkpoint.checkpoint(..., use_reentrant=False)."
                ) from error
            raise
        gradients: Tensor | None = found
        if gradients is None:
            raise Error(f"the target does not depend on layer {self.layer!r}: choose another layer.")
        return gradients

    def _rows(self, weights: Tensor, classes: Tensor, chunk: int) -> Iterator[Tensor]:
        """Gradients behind average pooling + linear: row c of the matrix over the number of positions, everywhere."""
        assert self.leaf is not None
        positions = self.leaf.shape[2:].numel()
        for part in classes.split(chunk, dim=1):
            same = bool((part == part[:1]).all())  # one (1, t, K) serves the whole batch
            rows = (weights[part[:1]] if same else weights[part]) / positions
            shape = (*part.shape, *self.leaf.shape[1:])
            yield rows.reshape(*rows.shape, *[1] * (self.leaf.ndim - 2)).expand(shape)


class _CutAfter(TorchFunctionMode):
    """Cuts the network at the first function of a given name that is applied to a given tensor."""

    def __init__(self, capture: Capture, tensor: Tensor) -> None:
        super().__init__()
        self.capture = capture
        self.tensor: Tensor | None = tensor

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "").rstrip("_")
        if self.tensor is not None and name == self.capture.place.activation and args and args[0] is self.tensor:
            self.tensor = None
            return self.capture._cut(result)
        return result


def _ordinary(x: Any) -> Any:
    """A tensor made under inference_mode cannot be saved for a gradient; its clone can."""
    return x.clone() if isinstance(x, Tensor) and x.is_inference() else x


# ---------------------------------------------------------------------- tensors inside tuples, dicts, dataclasses


def pick(output: Any, key: str | None, layer: str) -> Tensor:
    """The floating-point tensor in a layer's output: the one under ``key``, or the only one there is."""
    if isinstance(output, Tensor):
        found: dict[str | None, Tensor] = {None: output}
    else:
        found = {k: v for k, v in entries(output).items() if isinstance(v, Tensor) and v.is_floating_point()}
        if key is None and len(found) == 1:
            key = next(iter(found))
    tensor = found.get(key)
    if tensor is None:
        plain = layer.split("[")[0]
        choices = ", ".join(f"{plain}[{k}]" if k else plain for k in found) or "nothing that can be explained"
        raise Error(f"layer {layer!r} returns {type(output).__name__}: there is {choices}; choose one.")
    if not tensor.is_floating_point():
        raise Error(f"layer {layer!r} returns {tensor.dtype}, which has no gradient: choose another layer.")
    return tensor


def entries(output: Any) -> dict[str | None, Any]:
    """The parts of a tuple, list, dict or dataclass by their keys written as strings."""
    if isinstance(output, Mapping):
        return {str(k): v for k, v in output.items()}
    if isinstance(output, (tuple, list)):
        return {str(i): v for i, v in enumerate(output)}
    if dataclasses.is_dataclass(output):
        return {f.name: getattr(output, f.name) for f in dataclasses.fields(output)}
    return {}


def put(output: Any, key: str | None, tensor: Tensor) -> Any:
    """A shallow copy of a layer's output with ``tensor`` in the place that `pick` took it from."""
    if isinstance(output, Tensor):
        return tensor
    if key is None:
        key = next(k for k, v in entries(output).items() if isinstance(v, Tensor) and v.is_floating_point())
    if isinstance(output, Mapping):
        changed: Any = copy.copy(output)
        changed[next(k for k in output if str(k) == key)] = tensor
        return changed
    if isinstance(output, (tuple, list)):
        parts = [tensor if str(i) == key else v for i, v in enumerate(output)]
        return type(output)(*parts) if hasattr(output, "_fields") else type(output)(parts)
    return dataclasses.replace(output, **{str(key): tensor})
