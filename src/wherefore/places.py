"""A place in a network, how it is written and what lies there: ``module[:call][[key]][+activation]``.

====================  ==================================================================================
``layer4``            the output of that submodule (of its last call, where it is called several times)
``relu:0``            the output of its first call
``backbone[out]``     the entry ``out`` of the dict (or ``[0]`` of the tuple) that it returns
``features+relu``     the output of the function ``relu`` that is applied to the output of ``features``
====================  ==================================================================================
"""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from wherefore.errors import Error
from wherefore.registry import unknown

_PLACE = re.compile(r"(?P<module>[^:\[+]+)(:(?P<call>\d+))?(\[(?P<key>\w+)\])?(\+(?P<activation>\w+))?")


@dataclasses.dataclass(frozen=True)
class Place:
    """A layer's name taken apart."""

    module: str
    call: int | None
    key: str | None
    activation: str | None

    @classmethod
    def parse(cls, name: str) -> Place:
        """The parts of ``module[:call][[key]][+activation]``."""
        match = _PLACE.fullmatch(name)
        if match is None:
            raise Error(f"{name!r} is no layer: write module, module:call, module[key] or module+activation.")
        call = match["call"]
        return cls(match["module"], int(call) if call else None, match["key"], match["activation"])


def submodule(net: nn.Module, name: str) -> nn.Module:
    """The submodule of that dotted name, or an `Error` that suggests the close ones."""
    try:
        return net.get_submodule(name)
    except AttributeError:
        names = [n for n, _ in net.named_modules() if n]
        raise Error(unknown("layer", name, names) + " `wherefore layers` lists them.") from None


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
