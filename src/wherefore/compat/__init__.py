"""Other libraries' interfaces over ours: change one import, and a program runs on without their silent errors.

    from wherefore.compat.pytorch_grad_cam import GradCAM     # was: from pytorch_grad_cam import GradCAM

Or not even that: ``python -m wherefore.compat pytorch_grad_cam program.py`` runs a program as it is. What differs from
the libraries, and why, is told in ``docs/migration.md``.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from wherefore.errors import Error
from wherefore.registry import unknown

LIBRARIES = ("pytorch_grad_cam", "captum")


def install(library: str) -> ModuleType:
    """Our modules under a library's name for the rest of this process; returns what ``import library`` now gives.

        wherefore.compat.install("pytorch_grad_cam")
        from pytorch_grad_cam import GradCAM                   # ours

    Raises `Error` for a library that has no counterpart here, and where the library itself was imported before: its
    classes would stay in use where they are known already.
    """
    if library not in LIBRARIES:
        raise Error(unknown("library with an interface here", library, LIBRARIES))
    own = f"{__name__}.{library}"
    there = sys.modules.get(library)
    if there is not None and there is not sys.modules.get(own):
        raise Error(f"{library} is imported already: call install({library!r}) before the first import of it.")
    package = importlib.import_module(own)
    for found in pkgutil.walk_packages(package.__path__, f"{own}."):
        importlib.import_module(found.name)
    ours = {name: module for name, module in sys.modules.items() if name == own or name.startswith(f"{own}.")}
    sys.modules.update({name.removeprefix(f"{__name__}."): module for name, module in ours.items()})
    return package


def also_known(package: str, names: Mapping[str, str]) -> None:
    """Makes modules of a package importable by further names, those that the library has for what they hold."""
    for name, module in names.items():
        sys.modules[f"{package}.{name}"] = importlib.import_module(f"{package}.{module}".rstrip("."))


def refused(name: str, instead: str) -> Any:
    """A class that can be imported, as programs do that list all methods, and says when it is used what to do instead.

    Its instances do not exist: making one raises `Error`.
    """

    def refuse(*_: Any, **__: Any) -> None:
        raise Error(f"{name} has no counterpart here: {instead}.")

    doc = f"Not here: {instead}."
    return type(name, (), {"__new__": refuse, "__doc__": doc, "__module__": __name__})
