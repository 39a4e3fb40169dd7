"""What the shell completes: names of models, methods, experiments, figures and data, none of which is imported for it.

A shell waits for every press of the tab key, and importing torch takes seconds: so names are read where they are
written, in the decorators that register them, here and in torchvision.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
OTHERS = ("timm:", "hf:")  # prefixes of names that are not listed: there are thousands


def _registered(registry: str, folder: str) -> list[str]:
    """The names given to the decorators of a registry in the files of a folder of the package."""
    found = re.compile(rf'^@{registry}\(\s*"([^"]+)"', re.MULTILINE)
    return sorted(name for file in (PACKAGE / folder).glob("*.py") for name in found.findall(file.read_text()))


def _torchvision() -> Iterator[str]:
    """torchvision's names: functions under its decorator."""
    spec = find_spec("torchvision")  # says where it is; imports nothing
    if spec and spec.origin:
        registered = re.compile(r"^@register_model\(\)\n(?:.*\n)*?def (\w+)\(", re.MULTILINE)
        for file in sorted(Path(spec.origin).parent.glob("models/**/*.py")):
            yield from registered.findall(file.read_text(encoding="utf-8"))


def models(incomplete: str) -> list[str]:
    """Names of --model: torchvision's, those that the package carries, and the prefixes of others."""
    shipped = sorted(f"scenes:{file.stem}" for file in (PACKAGE / "models" / "weights").glob("*.json"))
    return _beginning([*_torchvision(), *shipped, *OTHERS], incomplete)


def methods(incomplete: str) -> list[str]:
    """Names of --method."""
    return _beginning(_registered("METHODS", "methods"), incomplete)


def experiments(incomplete: str) -> list[str]:
    """Names of experiments."""
    return _beginning([*_registered("EXPERIMENTS", "experiments"), "all"], incomplete)


def figures(incomplete: str) -> list[str]:
    """Numbers of figures, 3 before 10, and the sheets of the appendix."""
    return _beginning(
        sorted(_registered("FIGURES", "figures"), key=lambda number: (number.isalpha(), number.rjust(2))), incomplete
    )


def words(*known: str) -> Callable[[str], list[str]]:
    """What completes an option that takes one of a few words."""
    return lambda incomplete: _beginning([*known], incomplete)


def data(incomplete: str) -> list[str]:
    """What --data begins with; what follows a prefix is a folder of yours."""
    names = _registered("DATASETS", "datasets")
    return _beginning([name if name == "scenes" else f"{name}:" for name in names], incomplete)


def _beginning(names: list[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
