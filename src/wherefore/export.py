"""A network that returns its own maps, for deployment without this package: ONNX, or torch.export.

The graph has inputs ``image`` ``(B, 3, H, W)`` (prepared as the network wants it) and, unless it explains its first
answer, ``target`` ``(B,)`` of class indices; outputs ``logits`` ``(B, C)`` and raw ``maps`` ``(B, h, w)``. The part
above the layer is differentiated while the graph is recorded, and its derivative is in the graph; where that part is
average pooling and one linear layer the derivative is a row of the weight matrix, and the graph has that.
"""

from __future__ import annotations

import inspect
import json
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wherefore import __version__
from wherefore.capture import Capture
from wherefore.classes import class_scores
from wherefore.errors import Error
from wherefore.explainer import Explainer
from wherefore.guard import prepared
from wherefore.methods.cams import precise, summed
from wherefore.outputs import select
from wherefore.places import Place, pick, put, submodule
from wherefore.preparing import Preprocess
from wherefore.registry import METHODS
from wherefore.saving import can_be_made, made
from wherefore.types import Layer

SUFFIXES = (".onnx", ".pt2")
TOLERANCE = 1e-4  # of what the written file returns, relative to the largest value


class Explained(nn.Module):
    """A network that returns ``logits`` ``(B, C)`` and the maps ``(B, h, w)`` of one target of each image.

    ``rows`` ``(C, K)``: the matrix of a head that is average pooling and one linear layer, whose gradients need no
    backward pass; None for others.
    """

    def __init__(self, why: Explainer, layer: Layer, rows: Tensor | None) -> None:
        super().__init__()
        self.net, self.layer, self.place = why.net, layer, Place.parse(layer.name)
        self.output, self.classes = why.output, why.model.classes
        self.rule, self.relu = _rule(why.method), bool(_default(why.method, "relu"))
        self.rows = rows

    def forward(self, image: Tensor, target: Tensor | None = None) -> tuple[Tensor, Tensor]:
        leaf: list[Tensor] = []

        def cut(_: nn.Module, __: Any, output: Any) -> Any:
            leaf[:] = [pick(output, self.place.key, self.layer.name).detach().requires_grad_(self.rows is None)]
            # An in-place operation behind it changes the copy; and what lies otherwise in memory has derivatives
            # that no other runtime knows.
            return put(output, self.place.key, leaf[0].clone(memory_format=torch.contiguous_format))

        hook = submodule(self.net, self.place.module).register_forward_hook(cut, prepend=True)
        with torch.set_grad_enabled(self.rows is None):
            logits = class_scores(select(self.net(image), self.output), self.classes)
        hook.remove()
        wanted = logits.argmax(1) if target is None else target
        activations = precise(self.layer.grid(leaf[0].detach()))
        gradients = precise(self._gradients(logits, wanted, leaf[0], activations))
        maps = summed(activations, self.rule(activations, gradients[:, None]), self.relu)
        return logits.detach(), maps[:, 0]

    def _gradients(self, logits: Tensor, wanted: Tensor, leaf: Tensor, activations: Tensor) -> Tensor:
        if self.rows is None:
            score = logits.gather(1, wanted[:, None]).sum()
            (found,) = torch.autograd.grad(score, leaf)
            return self.layer.grid(found.detach())
        h, w = activations.shape[2:]
        return (self.rows[wanted] / (h * w))[:, :, None, None].expand(-1, -1, h, w)


@dataclass(frozen=True)
class Exported:
    """What was written: the file, and how it is to be used."""

    path: Path
    said: dict[str, Any]


def export(why: Explainer, path: str | Path, *, top1: bool = False, batch: int | None = None) -> Exported:
    """Writes the network of an explainer, with its maps, as ``.onnx`` or ``.pt2``, and tries what was written.

    ``top1``: the graph takes no target and explains its first answer. ``batch``: of that many images only; by default
    of any number, where the network allows it. Raises `Error` for a method that is no sum over one layer's channels, a
    network that cannot be recorded, and a file that does not return what the network does.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise Error(f"{path} ends in neither {' nor '.join(SUFFIXES)}: the ending says the format.")
    can_be_made(path.parent)
    images = _example(why, batch or 2)
    explained = _explained(why, images)
    targets = () if top1 else (torch.arange(len(images)),)
    with prepared(why.net), _quiet():
        graph, free = _recorded(explained, (images, *targets), batch is None)
        write = _onnx if path.suffix == ".onnx" else _pt2
        said = _about(why, explained, images, top1, free)
        part = path.with_name(f"{path.stem}.part{path.suffix}")
        made(path.parent)
        try:
            run = write(graph, (images, *targets), part, free, said)
            said["difference"] = _tried(why, run, images, top1, free)
            part.replace(path)
        finally:
            with suppress(OSError):
                part.unlink()
    return Exported(path, said)


# -------------------------------------------------------------------------------------------- the network


def _rule(method: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The rule of a method that weighs the channels of one layer by activations and gradients."""
    rule = getattr(METHODS[method].run, "__wrapped__", None)
    if rule is None or _default(method, "component"):
        can = [
            name for name in METHODS if hasattr(METHODS[name].run, "__wrapped__") and not _default(name, "component")
        ]
        raise Error(f"{method} cannot be exported: take one of {', '.join(can)}.")
    return rule


def _default(method: str, option: str) -> Any:
    found = inspect.signature(METHODS[method].run).parameters.get(option)
    return found.default if found else None


def _example(why: Explainer, count: int) -> Tensor:
    """Images as the network takes them, no two alike."""
    batch = why.reader.example()
    if batch.images.ndim != 4 or not batch.images.is_floating_point() or batch.others:
        raise Error(f"{why.model.name} is no network of pictures alone: only such can be exported.")
    image = batch.images[:1].to("cpu", torch.float32)
    return torch.cat([image.roll(7 * i, -1) * (1 - 0.1 * i) for i in range(count)])


def _explained(why: Explainer, images: Tensor) -> Explained:
    _rule(why.method)
    if why.options or why.flips:
        raise Error("options of a method and flips cannot be exported: leave them out.")
    if any(p.device.type != "cpu" for p in why.net.parameters()):
        raise Error("a network is exported from the CPU: give --device cpu.")
    layer = why.layer_of(why.reader.example())
    if len(layer.grid.size) != 2 or Place.parse(layer.name).activation or Place.parse(layer.name).call:
        raise Error(f"layer {layer.name!r} cannot be exported: name another with layer=.")
    with Capture(why.net, layer.name) as seen:
        logits = why.choose(None, seen(images)).logits
        rows = None if logits is None else seen.head_weights(logits)
    return Explained(why, layer, None if rows is None else rows.detach().clone())


def _recorded(explained: Explained, given: tuple[Tensor, ...], free: bool) -> tuple[nn.Module, bool]:
    """The graph of all that is computed, and whether it takes any number of images."""
    from torch.fx.experimental.proxy_tensor import make_fx
    from torch.nn.attention import SDPBackend, sdpa_kernel

    for mode in ("symbolic", "fake") if free else ("fake",):
        try:
            # Parameters are no fake tensors: a private flag, whose use is pinned by the tests of this module.
            with sdpa_kernel(SDPBackend.MATH):  # the fused kernels have derivatives that no other runtime knows
                graph = make_fx(explained, _simpler(), tracing_mode=mode, _allow_non_fake_inputs=True)(*given)
        except Exception as error:  # whatever a network does that cannot be recorded
            last = error
            continue
        return graph, mode == "symbolic"
    raise Error(f"{explained.layer.name}: the network cannot be recorded ({str(last).splitlines()[0]}).") from last


def _simpler() -> dict[Any, Callable[..., Any]]:
    """Operations that other runtimes lack, written by those that they have."""
    from torch._decomp import decomposition_table

    aten = torch.ops.aten
    known = {operation: made for operation, made in decomposition_table.items() if "backward" in str(operation)}
    return {
        **known,
        aten._adaptive_avg_pool2d.default: _pooled,
        aten._adaptive_avg_pool2d_backward.default: _pooled_backward,
        aten.max_pool2d_with_indices_backward.default: _largest_backward,
        aten.avg_pool2d_backward.default: _mean_backward,
        aten.convolution_backward.default: _convolution_backward,
    }


def _bins(size: int, bins: int, like: Tensor) -> Tensor:
    """The matrix ``(bins, size)`` of adaptive average pooling along one axis: bin i is the mean from floor(i size /
    bins) to ceil((i + 1) size / bins)."""
    places, i = torch.arange(size), torch.arange(bins)[:, None]
    inside = (places >= i * size // bins) & (places < -(-(i + 1) * size // bins))
    return (inside / inside.sum(1, keepdim=True)).to(like.dtype)


def _pooled(x: Tensor, size: tuple[int, int]) -> Tensor:
    rows, columns = _bins(x.shape[-2], size[0], x), _bins(x.shape[-1], size[1], x)
    return rows @ x @ columns.T


def _pooled_backward(gradient: Tensor, x: Tensor) -> Tensor:
    rows = _bins(x.shape[-2], gradient.shape[-2], x)
    return rows.T @ gradient @ _bins(x.shape[-1], gradient.shape[-1], x)


def _largest_backward(gradient: Tensor, x: Tensor, *how: Any) -> Tensor:
    """Of maximum pooling: each gradient to the place that its value came from, the last that pooling was told."""
    places = how[-1].flatten(2)
    return torch.zeros_like(x).flatten(2).scatter_add(2, places, gradient.flatten(2)).view_as(x)


def _mean_backward(
    gradient: Tensor,
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil: bool,
    with_padding: bool,
    divisor: int | None,
) -> Any:
    """Of average pooling, as that of a convolution of each channel by itself."""
    if ceil or divisor or (any(padding) and not with_padding):
        return NotImplemented
    channels, size = x.shape[1], math.prod(kernel)
    weight = torch.full((channels, 1, *kernel), 1 / size, dtype=x.dtype)
    how = (stride or kernel, padding, (1, 1), False, None, channels, (True, False, False))
    return _convolution_backward(gradient, x, weight, None, *how)[0]


def _convolution_backward(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    _bias: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    _output_padding: Any,
    groups: int,
    wanted: Sequence[bool],
) -> Any:
    """Of a convolution, with respect to what goes in: the transposed one, back to the very size."""
    if transposed or any(wanted[1:]):
        return NotImplemented
    sizes = zip(x.shape[2:], gradient.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
    rest = [size - (out - 1) * s + 2 * p - d * (k - 1) - 1 for size, out, k, s, p, d in sizes]
    back = torch.ops.aten.convolution(gradient, weight, None, stride, padding, dilation, True, rest, groups)
    return back, None, None


# -------------------------------------------------------------------------------------------- files

Run = Callable[..., tuple[Tensor, Tensor]]


def _shapes(given: tuple[Tensor, ...], free: bool) -> tuple[Any, ...] | None:
    if not free:
        return None
    batch = torch.export.Dim("batch", min=1, max=65536)
    return tuple({0: batch} for _ in given)


def _onnx(graph: nn.Module, given: tuple[Tensor, ...], path: Path, free: bool, said: dict[str, Any]) -> Run:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  torch.onnx.export needs it
    except ImportError:
        raise Error("writing ONNX needs onnx, onnxscript and onnxruntime: pip install 'wherefore[export]'") from None
    names = ["image", "target"][: len(given)]
    try:
        program = torch.onnx.export(
            graph,
            given,
            dynamo=True,
            input_names=names,
            output_names=["logits", "maps"],
            dynamic_shapes=_shapes(given, free),
            verbose=False,
        )
        assert program is not None  # with dynamo it is a program
        program.save(str(path))
        model = onnx.load(str(path))
        for key, value in said.items():
            entry = model.metadata_props.add()
            entry.key, entry.value = key, value if isinstance(value, str) else json.dumps(value)
        onnx.save(model, str(path))
    except Exception as error:  # the exporter's own reasons
        raise Error(f"the network cannot be written as ONNX ({str(error).splitlines()[0]}).") from error
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(*inputs: Tensor) -> tuple[Tensor, Tensor]:
        logits, maps = session.run(None, {n: x.numpy() for n, x in zip(names, inputs, strict=True)})
        return torch.from_numpy(logits), torch.from_numpy(maps)

    return run


def _pt2(graph: nn.Module, given: tuple[Tensor, ...], path: Path, free: bool, said: dict[str, Any]) -> Run:
    try:
        program = torch.export.export(graph, given, dynamic_shapes=_shapes(given, free))
        torch.export.save(program, path, extra_files={"wherefore.json": json.dumps(said)})
    except Exception as error:
        raise Error(f"the network cannot be written by torch.export ({str(error).splitlines()[0]}).") from error
    found: Run = torch.export.load(path).module()
    return found


def _tried(why: Explainer, run: Run, images: Tensor, top1: bool, free: bool) -> float:
    """How far what the file returns is from what the library does, on the middle one of several images.

    A wrong derivative is wrong on every image; rounding, which decides whether a gradient passes a ReLU that is fed all
    but 0, goes wrong on one.
    """
    views = [images, images.flip(-1), images.flip(-2)]
    if free:
        views = [torch.cat([view[:1] for view in views])]  # another number than was recorded
    found = float(torch.cat([_apart(why, run, view, top1) for view in views]).median())
    if not found < TOLERANCE:
        raise Error(f"what was written differs from the network by {found:.1g}: it is not kept.")
    return found


def _apart(why: Explainer, run: Run, images: Tensor, top1: bool) -> Tensor:
    """Of each image the largest difference of map or logits, relative to the largest value."""
    targets = None if top1 else _telling(why, images)
    theirs = torch.stack([maps[0] for maps in why(images, targets).maps])
    with torch.no_grad():
        logits, maps = run(images) if targets is None else run(images, targets)
        own = class_scores(select(why.net(images), why.output), why.model.classes)
    pairs = ((maps.flatten(1), theirs.flatten(1)), (logits, own))
    return torch.stack([(a - b).abs().amax(1) / b.abs().amax(1).clamp(min=1e-12) for a, b in pairs]).amax(0)


def _telling(why: Explainer, images: Tensor) -> Tensor:
    """Of the first answers of each image the one with most evidence: a map without any would try nothing."""
    e = why(images, "top5")
    return e.classes.gather(1, e.evidence.argmax(1, keepdim=True))[:, 0]


def _about(why: Explainer, explained: Explained, images: Tensor, top1: bool, free: bool) -> dict[str, Any]:
    own, model = why.model.preprocess, why.model
    return {
        "version": __version__,
        "model": model.name,
        "weights_sha256": model.weights_sha256,
        "method": why.method,
        "layer": explained.layer.name,
        "grid": [*explained.layer.grid.size],
        "inputs": {"image": ["batch" if free else len(images), *images.shape[1:]], **({} if top1 else {"target": []})},
        "gradient": "read off the linear head" if explained.rows is not None else "in the graph",
        "preprocess": asdict(own) if isinstance(own, Preprocess) else None,
        "classes": [*model.classes] if model.classes else None,
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what exporters have to say to those who develop them."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
