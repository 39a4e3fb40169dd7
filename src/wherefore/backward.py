"""Other backward rules: guided backprop and deconvnet at every ReLU, excitation backprop at every layer.

The first two are laid on the graph that a forward pass has recorded, and only for the time of a backward pass: a ReLU
is found by what autograd wrote down, however it was written (``nn.ReLU``, ``F.relu``, ``torch.relu``, in place or not,
one module used twice), no module is replaced, the network is not touched, and one graph serves plain and changed
gradients. Excitation backprop needs values that the graph does not hold; `Excitation` records its own.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from wherefore.errors import Error
from wherefore.graph import ACTIVATIONS, Node, activation, kind, reachable
from wherefore.registry import unknown

RULES = ("plain", "guided", "deconv")


class Visible(TorchFunctionMode):
    """Runs in-place ReLUs on views inside the block out of place: autograd's record of those hides what they were.

    ``torch.flatten(x, 1).relu_()`` leaves a node ``CopySlices``, which no rule could be laid on.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        x = args[0] if args else None
        if not isinstance(x, Tensor) or not x._is_view() or activation(func) not in ("relu", "relu6"):
            return func(*args, **kwargs)
        result = func(x.clone(), *args[1:], **kwargs)
        in_place = func.__name__.endswith("_") or kwargs.get("inplace") or args[-1] is True
        return x.copy_(result) if in_place else result


@contextmanager
def rectified(scores: Tensor, rule: str) -> Iterator[None]:
    """Gradients of ``scores`` taken inside the block follow another rule at every ReLU of their graph.

    For input x and incoming gradient g: plain ``g·[x>0]``; ``guided`` ``g·[x>0]·[g>0]`` (Springenberg et al. 2014);
    ``deconv`` ``g·[g>0]`` (Zeiler & Fergus 2014). ReLU6 and clamps at zero count as ReLUs. Warns where the graph has
    none, and where it has other activations too, which keep their plain gradient.
    """
    check_rule(rule)
    if rule == "plain" or scores.grad_fn is None:
        yield
        return
    nodes = list(reachable(scores.grad_fn))
    relus = [node for node in nodes if is_relu(node)]
    _say_what_it_does(rule, nodes, relus)
    with ExitStack() as undo:
        for node in relus:
            if rule == "guided":
                handle = node.register_prehook(_positive)
            else:
                handle = node.register_hook(_deconvolved)
            undo.callback(handle.remove)
        yield


def check_rule(rule: str) -> None:
    """Raises `Error` for a backward rule that does not exist."""
    if rule not in RULES:
        raise Error(unknown("backward rule", rule, RULES))


def is_relu(node: Node) -> bool:
    """Whether an operation of the graph is a ReLU: x where x > 0 (up to a ceiling: ReLU6), else 0."""
    operation = kind(node)
    if operation == "Hardtanh":
        return bool(node._saved_min_val == 0)
    if operation == "Threshold":
        return bool(node._saved_threshold == 0)
    if operation in ("Clamp", "ClampMin"):
        return node._saved_min is not None and not isinstance(node._saved_min, Tensor) and node._saved_min == 0
    return operation == "Relu"


def _positive(gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    """Before a ReLU's own gradient: only what arrives positive goes on."""
    return tuple(g if g is None else g.clamp(min=0) for g in gradients)


def _deconvolved(passed: tuple[Tensor | None, ...], arrived: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    """In place of a ReLU's own gradient: what arrives positive, whatever the input was."""
    positive = arrived[0]
    return (positive if positive is None else positive.clamp(min=0), *passed[1:])


def _say_what_it_does(rule: str, nodes: list[Node], relus: list[Node]) -> None:
    """Warns where the rule changes nothing, or not everything."""
    others = Counter(kind(node).lower() for node in nodes if kind(node) in ACTIVATIONS and node not in relus)
    named = ", ".join(f"{count} {name}" for name, count in others.most_common())
    if not relus:
        only = f" (only {named})" if named else ""
        does = f"meets no ReLU{only} on the way and changes nothing: this is the plain gradient"
    elif others:
        does = f"changes {len(relus)} ReLUs and leaves the other activations ({named}) their plain gradient"
    else:
        return
    warnings.warn(f"the {rule} rule {does}.", stacklevel=4)


# -------------------------------------------------------------------------------------------- excitation backprop

WEIGHTED = {"conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "linear"}
AVERAGING = {f"{how}avg_pool{n}d" for how in ("", "adaptive_") for n in (1, 2, 3)} | {"mean"}
SUMS = {"add", "__add__", "__radd__", "__iadd__", "add_"}  # x += y calls the last
# The signal passes these as it is (Zhang et al. 2016; their Caffe layers copy it).
COPYING = {"batch_norm", "instance_norm", "local_response_norm"}
# Autograd's own gradient is the rule here: to the largest, to the place that it came from, or to where it was.
ROUTING = {
    f"{how}max_pool{n}d{given}" for how in ("", "adaptive_") for n in (1, 2, 3) for given in ("", "_with_indices")
}
ROUTING |= {"cat", "concat", "concatenate", "stack", "pad", "flatten", "view", "reshape", "squeeze", "unsqueeze"}
ROUTING |= {"permute", "transpose", "movedim", "contiguous", "clone", "to", "float", "chunk", "split", "unbind"}
ROUTING |= {"narrow", "__getitem__", "__get__", "expand", "dropout", "dropout1d", "dropout2d", "dropout3d"}
ROUTING |= {"alpha_dropout", "feature_alpha_dropout"}


class Excitation(TorchFunctionMode):
    """Gradients of what runs inside the block are marginal winning probabilities (Zhang et al. 2016, eq. 9-10).

        with Capture(net, layer) as seen:
            with Excitation() as excitation:
                output = seen(images)
            (p,) = seen.gradients(output[:, 5:6])  # (B, 1, K, h, w), for an input >= 0 and weights w+ = max(w, 0):
                                                   # p'_j = x_j sum_i w+_ij p_i / (sum_k w+_ik x_k)

    A residual sum hands the signal on in proportion to its terms; normalisation, ReLU and dropout copy it; max pooling
    and concatenation send it where the value came from. What arrives where nothing excites (a denominator of 0) is
    gone; ``lost`` adds it up. With ``contrast`` set, the score's last weighted layer hands on the difference to what it
    would with negated weights (contrastive MWP). Raises `Error` at a function that has no such rule.
    """

    def __init__(self) -> None:
        super().__init__()
        self.contrast = False
        self.lost: Tensor | None = None  # (B,), since it was last set to None
        self.last: _Affine | None = None  # the classifier: the layer with weights that a backward pass meets first

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if not args and "input" in kwargs:
            args = (kwargs.pop("input"),)
        if not torch.is_grad_enabled() or not any(isinstance(a, Tensor) and a.requires_grad for a in args):
            return func(*args, **kwargs)
        name = getattr(func, "__name__", str(func))
        if name in WEIGHTED:
            return _Handed.apply(_Affine.weighted(self, func, *args, **kwargs), args[0])
        if name in AVERAGING:
            return _Handed.apply(_Affine.averaging(self, func, *args[1:], **kwargs), args[0])
        if name in SUMS and not kwargs and len(args) == 2:
            return _Handed.apply(_Sum(self, in_place=name in ("__iadd__", "add_")), *args)
        if name in COPYING or _cuts_at_zero(func, args, kwargs):
            return _Handed.apply(_Copy(func, args[1:], kwargs), args[0])
        result = func(*args, **kwargs)
        if isinstance(result, Tensor) and result.requires_grad and name not in ROUTING:
            raise Error(
                f"excitation backprop has no rule for {name}: it is defined for convolutional networks with ReLUs "
                "(VGG, GoogLeNet, ResNet, DenseNet); take another method."
            )
        return result

    def lose(self, mass: Tensor) -> None:
        """Books signal ``(B, ...)`` that nothing carries on."""
        gone = mass.flatten(1).sum(1)
        self.lost = gone if self.lost is None else self.lost + gone


def _cuts_at_zero(func: Any, args: Any, kwargs: Any) -> bool:
    """Whether a call is a ReLU, up to a ceiling, however it is written."""
    name = getattr(func, "__name__", "").rstrip("_")
    if name in ("clamp", "clip", "clamp_min"):
        low = args[1] if len(args) > 1 else kwargs.get("min")
        return not isinstance(low, Tensor) and low == 0
    if name in ("hardtanh", "threshold"):
        low = args[1] if len(args) > 1 else kwargs.get("min_val", kwargs.get("threshold", -1))
        return bool(low == 0)
    return activation(func) in ("relu", "relu6")


class _Handed(torch.autograd.Function):
    """A layer whose backward pass hands a signal down by a rule instead of differentiating."""

    @staticmethod
    def forward(ctx: Any, rule: Any, *inputs: Any) -> Any:
        kept = rule.kept(*inputs)
        ctx.rule, ctx.numbers = rule, [None if isinstance(x, Tensor) else x for x in kept]
        ctx.save_for_backward(*(x if isinstance(x, Tensor) else None for x in kept))
        result = rule.result(*inputs)
        if result is inputs[0]:  # it worked in place, and others may read that
            ctx.mark_dirty(result)
        return result

    @staticmethod
    def backward(ctx: Any, *signals: Any) -> Any:
        inputs = [n if x is None else x for x, n in zip(ctx.saved_tensors, ctx.numbers, strict=True)]
        return None, *ctx.rule.handed(signals[0], *inputs)


class _Affine:
    """The rule of a layer y = Wx + b: to each input its share of what excites the output; b takes none."""

    def __init__(self, book: Excitation, result: Any, excite: Any, inhibit: Any = None) -> None:
        self.book, self.result, self.excite, self.inhibit = book, result, excite, inhibit

    @classmethod
    def weighted(
        cls, book: Excitation, func: Any, input: Any, weight: Tensor, bias: Any = None, *a: Any, **k: Any
    ) -> _Affine:
        """A convolution or a matrix: W+ = max(W, 0) excites."""

        def signed(sign: int) -> Any:
            return lambda x: func(x, (sign * weight.detach()).clamp(min=0), None, *a, **k)

        return cls(book, lambda x: func(x, weight, bias, *a, **k), signed(1), signed(-1))

    @classmethod
    def averaging(cls, book: Excitation, func: Any, *args: Any, **kwargs: Any) -> _Affine:
        """Average pooling: every input excites by its value."""

        def average(x: Tensor) -> Any:
            return func(x, *args, **kwargs)

        return cls(book, average, average)

    @staticmethod
    def kept(x: Tensor) -> tuple[Tensor]:
        """What the rule needs: the input."""
        return (x,)

    def handed(self, signal: Tensor, x: Tensor) -> tuple[Tensor]:
        """p' for a signal p at the output."""
        result = self._share(signal, x, self.excite)
        if self.inhibit is not None and self.book.last is None:
            self.book.last = self
        if self.book.contrast and self is self.book.last:
            result = result - self._share(signal, x, self.inhibit)
        return (result,)

    def _share(self, signal: Tensor, x: Tensor, excite: Any) -> Tensor:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            total = excite(leaf)
        nothing = total == 0
        self.book.lose(torch.where(nothing, signal, 0))
        (share,) = torch.autograd.grad(total, leaf, torch.where(nothing, 0, signal / total))
        return x * share


class _Sum:
    """The rule of a residual sum: to each term in proportion to its value."""

    def __init__(self, book: Excitation, in_place: bool) -> None:
        self.book, self.in_place = book, in_place

    def kept(self, a: Any, b: Any) -> tuple[Any, Any]:
        """What the rule needs: the terms as they are before the sum overwrites one."""
        return a.clone() if self.in_place else a, b

    def result(self, a: Any, b: Any) -> Any:
        """a + b."""
        return a.add_(b) if self.in_place else a + b

    def handed(self, signal: Tensor, *terms: Any) -> tuple[Tensor | None, ...]:
        """p·a / (a + b) and p·b / (a + b)."""
        total = terms[0] + terms[1]
        nothing = total == 0
        self.book.lose(torch.where(nothing, signal, 0))
        ratio = torch.where(nothing, 0, signal / total)
        for number in (t for t in terms if not isinstance(t, Tensor)):
            self.book.lose(ratio * number)  # its share goes no further
        return tuple((ratio * t).sum_to_size(t.shape) if isinstance(t, Tensor) else None for t in terms)


class _Copy:
    """The rule of a ReLU or a normalisation: the signal as it is."""

    def __init__(self, func: Any, args: Any, kwargs: Any) -> None:
        self.func, self.args, self.kwargs = func, args, kwargs

    @staticmethod
    def kept(x: Tensor) -> tuple[()]:
        """What the rule needs: nothing."""
        return ()

    def result(self, x: Tensor) -> Any:
        """What the function gives."""
        return self.func(x, *self.args, **self.kwargs)

    @staticmethod
    def handed(signal: Tensor) -> tuple[Tensor]:
        """p itself."""
        return (signal,)
