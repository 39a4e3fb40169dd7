"""How a place in a network is written: ``module[:call][[key]][+activation]``.

====================  ==================================================================================
``layer4``            the output of that submodule (of its last call, where it is called several times)
``relu:0``            the output of its first call
``backbone[out]``     the entry ``out`` of the dict (or ``[0]`` of the tuple) that it returns
``features+relu``     the output of the function ``relu`` that is applied to the output of ``features``
====================  ==================================================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from torch import nn

from wherefore.errors import Error
from wherefore.registry import unknown

_PLACE = re.compile(r"(?P<module>[^:\[+]+)(:(?P<call>\d+))?(\[(?P<key>\w+)\])?(\+(?P<activation>\w+))?")


@dataclass(frozen=True)
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
