"""Capture: run a network once, cut it at a layer, differentiate only the part above.

Below the layer nothing is recorded: that part runs without a graph, so it costs what inference costs. The layer's
output becomes a leaf, the part above is recorded from there, and one batched backward over that part serves all
targets. Where that part is average pooling and one linear layer the gradient is a row of the weight matrix; that is
read off the recorded graph and checked against a real gradient, never assumed.

Methods that look at pixels need the whole graph: `Capture` with ``whole=True`` records it from the images on.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from wherefore.errors import Error, NotReached
from wherefore.feeding import home
from wherefore.graph import activation, linear_tail, reads
from wherefore.guard import KeepRecording, prepared, recording, unwrap
from wherefore.places import Place, entries, pick, put, submodule
from wherefore.split import Split

# Gradients of one chunk of targets take at most this much memory (counted at the layer).
CHUNK_BYTES = 64 * 2**20
# Networks that were seen to switch the graph off above a layer: they are made to keep it from the first run on.
_SWITCHES_OFF: WeakSet[nn.Module] = WeakSet()


class Capture:
    """The activations of one layer while a network runs, and the gradients of scores by them.

        with Capture(net, "layer4") as seen:
            output = seen(images)                            # the part below the layer leaves no graph
            for gradients in seen.gradients(output[:, :5]):  # (B, t, K, h, w), chunks of the 5 targets
                ...
            seen.activations                                 # (B, K, h, w)

    The model is left as it was found, whatever happens inside the block. Only calls of the thread that entered the
    block are seen. With ``whole`` nothing is cut: the first input is recorded from its pixels on, `pixel_gradients`
    are those of scores by it, and no layer need be named. Raises `Error` for a layer that does not exist,
    never runs, or returns no floating-point tensor.
    """

    def __init__(self, net: nn.Module, layer: str | None, split: Split | None = None, *, whole: bool = False) -> None:
        self.net, self.layer, self.split, self.whole = unwrap(net), layer or "", split, whole
        self.place = Place.parse(layer) if layer else None
        self.module = submodule(self.net, self.place.module) if self.place else None
        self.leaf: Tensor | None = None  # the layer's output
        self.pixels: Tensor | None = None  # with `whole`: the first input
        self.calls = 0
        self._insist = home(self.net) in _SWITCHES_OFF
        self._thread = threading.get_ident()
        self._undo = ExitStack()
        self._inner = ExitStack()  # what was entered inside the forward pass; left before `_undo`

    def __enter__(self) -> Capture:
        with ExitStack() as undo:
            undo.enter_context(prepared(self.net, eager=self.split is None))
            undo.enter_context(torch.no_grad())
            undo.callback(self._inner.close)
            if self.split is None and self.module is not None:
                # Before those of transformers, which keep what a layer returned to go on from it elsewhere.
                undo.callback(self.module.register_forward_hook(self._seen, prepend=True).remove)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._undo.__exit__(*error)
        self.leaf = self.pixels = None  # the graph goes with them

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """The network's output; grad mode is on from the layer to the end of the block."""
        inputs, named = tuple(map(_ordinary, inputs)), {k: _ordinary(x) for k, x in named.items()}
        if self.split is not None:
            return self._run_split(self.split, inputs)
        output = self._run(inputs, named)
        if not self._insist and not self._reached(output):  # perhaps a no_grad block of the network's own
            self._insist = True
            output = self._run(inputs, named)
            if self._reached(output):
                _SWITCHES_OFF.add(home(self.net))
        return output

    @property
    def activations(self) -> Tensor:
        """The layer's output, detached; shape as the layer gives it."""
        assert self.leaf is not None, "run the network first"
        return self.leaf.detach()

    def gradients(
        self, scores: Tensor, logits: Tensor | None = None, classes: Tensor | None = None
    ) -> Iterator[Tensor]:
        """d scores[b, t] / d activations[b], in chunks over the targets.

        ``scores`` is ``(B, T)``; yields ``(B, t, *layer shape)``. ``classes`` ``(B, T)`` says which columns of
        ``logits`` they are (-1: none): where all are, and the head is pooled and linear, the gradient is read off and
        comes as an expanded view (strides 0 over the positions). Raises `Error` where the scores do not depend on the
        layer.
        """
        assert self.leaf is not None, "run the network first"
        self._check_connected(scores, self.leaf)
        targets = scores.shape[1]
        chunk = max(1, CHUNK_BYTES // max(1, self.leaf.numel() * self.leaf.element_size()))
        if logits is not None and classes is not None and targets > 1 and bool((classes >= 0).all()):
            weights = linear_tail(logits, self.leaf)
            if weights is not None:
                yield from self._rows(weights, classes, chunk)
                return
        for start in range(0, targets, chunk):
            yield self._differentiate(scores[:, start : start + chunk])

    def pixel_gradients(self, scores: Tensor) -> Tensor:
        """d scores[b, t] / d images[b], ``(B, T, C, H, W)``, one backward pass through the whole network per target."""
        assert self.pixels is not None, "run the network first"
        self._check_connected(scores, self.pixels)
        ones = torch.ones_like(scores[:, 0])
        return torch.stack([self._grad(score, ones, self.pixels) for score in scores.unbind(1)], 1)

    def gradients_by(self, score: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
        """d score[b] / d each of some tensors of the recorded graph; zeros for one that plays no part in it."""
        assert self.pixels is not None, "run the network first"
        self._check_connected(score, self.pixels)
        found = torch.autograd.grad(score.sum(), [self.pixels, *tensors], retain_graph=True, allow_unused=True)
        if found[0] is None:
            raise self._not_connected()
        return [torch.zeros_like(x) if g is None else g for x, g in zip(tensors, found[1:], strict=True)]

    def head_weights(self, logits: Tensor) -> Tensor | None:
        """The matrix W ``(C, K)`` where logits = W · mean(activations) + bias, else None."""
        assert self.leaf is not None, "run the network first"
        return linear_tail(logits, self.leaf)

    # ------------------------------------------------------------------ the forward pass

    def _run(self, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
        self.leaf, self.calls = None, 0
        torch.set_grad_enabled(False)
        if self.whole:
            recording(self._inner)
            if self._insist:
                self._inner.enter_context(KeepRecording())
            self.pixels = inputs[0].detach().requires_grad_()
            inputs = (self.pixels.clone(), *inputs[1:])  # a network may change its input in place
        output = self.net(*inputs, **named)
        self._inner.close()
        recording(self._inner)  # leaving what was entered inside can have switched the graph off again
        if self.leaf is None and self.module is not None:
            raise Error(self._why_not_seen())
        return output

    def _reached(self, output: Any) -> bool:
        """Whether the network's output hangs on what was recorded first."""
        start = self.pixels if self.whole else self.leaf
        parts = [output] if isinstance(output, Tensor) else entries(output).values()
        tensors = [part for part in parts if isinstance(part, Tensor)]
        return not tensors or any(reads(t.grad_fn, start) for t in tensors if t.grad_fn is not None)

    def _run_split(self, split: Split, inputs: Any) -> Any:
        below, others = split.below(*inputs)
        torch.set_grad_enabled(True)
        self.leaf = below.detach().requires_grad_()
        return split.above(self.leaf.clone(), *others)

    def _seen(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        """Forward hook of the layer: cut here, or (``+activation``) at the function that comes next."""
        if threading.get_ident() != self._thread:
            return None  # another thread's pass through the same network
        assert self.place is not None
        self.calls += 1
        if self.place.call not in (None, self.calls - 1):
            return None
        if self.place.activation is None:
            return self._cut(output)
        self._inner.enter_context(_CutAfter(self, pick(output, self.place.key, self.layer)))
        return None

    def _cut(self, output: Any) -> Any:
        """The same output with a fresh leaf in it; recording starts here."""
        assert self.place is not None
        tensor = pick(output, self.place.key, self.layer)
        if self.whole:  # recorded already; what lies below stays connected
            self.leaf = tensor
            return put(output, self.place.key, tensor.clone())
        recording(self._inner)
        if self._insist:
            self._inner.enter_context(KeepRecording())
        self.leaf = (tensor.clone() if tensor.is_inference() else tensor.detach()).requires_grad_()
        # A clone goes on, so that an in-place operation behind the layer changes the copy and not what is explained.
        return put(output, self.place.key, self.leaf.clone())

    def _why_not_seen(self) -> str:
        assert self.place is not None
        if self.place.activation and self.calls:
            return f"no function {self.place.activation!r} is applied to the output of {self.place.module!r}."
        if self.calls:
            return f"layer {self.place.module!r} ran {self.calls} times, so there is no call {self.place.call}."
        if any(isinstance(m, torch.jit.ScriptModule) for m in self.net.modules()):
            return "a TorchScript network cannot be looked into: pass the Python module that it was made from."
        return f"layer {self.layer!r} never ran in this forward pass: `wherefore layers` lists those that do."

    # ------------------------------------------------------------------ the backward pass

    def _not_connected(self) -> NotReached:
        what = f"layer {self.layer!r}" if self.layer else "the images"
        other = "choose another layer" if self.layer else "take a method that needs no gradient, such as occlusion"
        return NotReached(
            f"the target does not depend on {what}, or the network cuts its own graph above it "
            f"(detach, argmax, or a checkpoint with use_reentrant=True): {other}."
        )

    def _check_connected(self, scores: Tensor, start: Tensor) -> None:
        if not scores.requires_grad or not start.requires_grad:
            raise self._not_connected()

    def _differentiate(self, scores: Tensor) -> Tensor:
        """Gradients of ``(B, t)`` scores by one batched backward; by a loop where an operation cannot be batched."""
        targets, leaf = scores.shape[1], self.leaf
        assert leaf is not None
        if targets == 1:
            return self._grad(scores, torch.ones_like(scores), leaf).unsqueeze(1)
        picks = torch.eye(targets, device=scores.device, dtype=scores.dtype)[:, None, :].expand(-1, len(scores), -1)
        try:
            stacked = self._grad(scores, picks, leaf, batched=True)  # (t, B, ...)
        except RuntimeError:
            stacked = torch.stack([self._grad(scores, pick, leaf) for pick in picks])
        return stacked.transpose(0, 1)

    def _grad(self, scores: Tensor, picks: Tensor, by: Tensor, *, batched: bool = False) -> Tensor:
        try:
            (found,) = torch.autograd.grad(
                scores, by, picks, retain_graph=True, is_grads_batched=batched, allow_unused=True
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
            raise self._not_connected()
        return gradients

    def _rows(self, weights: Tensor, classes: Tensor, chunk: int) -> Iterator[Tensor]:
        """Gradients behind average pooling + linear: row c of the matrix over the number of positions, everywhere."""
        assert self.leaf is not None
        positions = self.leaf.shape[2:].numel()
        for part in classes.split(chunk, dim=1):
            same = bool((part == part[:1]).all())  # one (1, t, K) serves the whole batch
            rows = (weights[part[:1]] if same else weights[part]) / positions
            rows = rows.to(self.leaf.device, self.leaf.dtype)  # the head may live elsewhere
            shape = (*part.shape, *self.leaf.shape[1:])
            yield rows.reshape(*rows.shape, *[1] * (self.leaf.ndim - 2)).expand(shape)


class _CutAfter(TorchFunctionMode):
    """Cuts the network at the first function of a given name that is applied to a given tensor."""

    def __init__(self, capture: Capture, tensor: Tensor) -> None:
        super().__init__()
        self.capture = capture
        self.activation = str(capture.place.activation) if capture.place else ""
        self.tensor: Tensor | None = tensor

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if args and args[0] is self.tensor and activation(func) == activation(self.activation):
            self.tensor = None
            return self.capture._cut(result)
        return result


def _ordinary(x: Any) -> Any:
    """A copy: a network may change its input in place, and a tensor made under inference_mode allows no gradient."""
    return x.clone() if isinstance(x, Tensor) else x
