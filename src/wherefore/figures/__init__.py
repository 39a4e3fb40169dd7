"""The paper's figures, each drawn by one command on any picture, class and network.

wherefore figure 13
wherefore figure 1 cat_dog.jpg --model vgg16 --model resnet18 --target "tiger cat" --target boxer
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from wherefore.errors import Error
from wherefore.figures import classes as _classes  # noqa: F401  importing them fills FIGURES
from wherefore.figures import depths as _depths  # noqa: F401
from wherefore.figures import language as _language  # noqa: F401
from wherefore.figures import seeded as _seeded  # noqa: F401
from wherefore.figures import units as _units  # noqa: F401
from wherefore.figures import wrong as _wrong  # noqa: F401
from wherefore.figures.choice import OPTIONS, Choice, Settings
from wherefore.figures.sheets import Made
from wherefore.guard import one_thread
from wherefore.registry import FIGURES
from wherefore.saving import can_be_made

__all__ = ["Made", "Settings", "draw", "in_order", "listed"]


def draw(number: str, settings: Settings | None = None, out: str | Path = "figures") -> Made:
    """A figure of the paper, drawn; `Made.save` writes it. Equal at every run on a machine.

    Raises `Error` for a figure that there is not, options that it cannot take, and pictures or networks that cannot be
    had.
    """
    if number not in FIGURES:
        raise Error(f"no figure is called {number!r}: {_why_not(number)}there are {', '.join(in_order())}.")
    entry, settings = FIGURES[number], settings or Settings()
    choice = Choice(number, entry, settings, can_be_made(out))
    with one_thread() if all(name.startswith("scenes:") for name in settings.models) else nullcontext():
        drawing = entry.run(choice)
    return Made(number, entry, choice, drawing)


def _why_not(number: str) -> str:
    others = {"2": "it is a diagram of the method", "5": "it is a screen of the studies (wherefore study)"}
    return f"{others[number]}; " if number in others else ""


def listed() -> list[dict[str, Any]]:
    """What there is to say of each figure, by their numbers."""
    return [
        {
            "figure": name,
            "title": FIGURES[name].about["title"],
            "what": FIGURES[name].summary,
            **{key: FIGURES[name].about[key] for key in ("section", "seconds")},
            "networks": list(FIGURES[name].about["networks"]),
            "options": [OPTIONS[key] for key in FIGURES[name].about["takes"]],
        }
        for name in in_order()
    ]


def in_order() -> list[str]:
    """The names of all figures, by their numbers."""
    return sorted(FIGURES, key=lambda name: (not name.isdecimal(), name.zfill(2)))
