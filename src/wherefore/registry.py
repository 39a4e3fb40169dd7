"""METHODS, MODELS, DATASETS, METRICS, EXPERIMENTS, FIGURES: a dict, a decorator, and an error that lists the names."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from wherefore.errors import Error

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry:
    """One registered thing: the function, one line on what it does, and what else was said of it."""

    run: Callable[..., Any]
    summary: str
    about: dict[str, Any]


class Registry(dict[str, Entry]):
    """``@METHODS("x-cam", paper="...")`` registers the function below it under that name.

    The first line of the function's docstring becomes its summary. Asking for a name that is not there raises an
    `Error` which suggests the close ones.
    """

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def __call__(self, name: str, **about: Any) -> Callable[[F], F]:
        def register(function: F) -> F:
            summary = (function.__doc__ or "").strip().split("\n")[0]
            self[name] = Entry(function, summary, about)
            return function

        return register

    def __missing__(self, name: str) -> Entry:
        raise Error(unknown(self.what, name, self))


def unknown(what: str, name: object, known: Iterable[str]) -> str:
    """The sentence for a name that does not exist: the close ones, or all of them where they are few."""
    known = list(known)
    by_lower = {k.lower(): k for k in known}
    close = [by_lower[k] for k in difflib.get_close_matches(str(name).lower(), by_lower, n=4, cutoff=0.6)]
    if close:
        hint = f"did you mean {' or '.join(close)}?"
    elif len(known) <= 30:
        hint = f"there are {', '.join(known)}."
    else:
        hint = f"there are {len(known)}, {', '.join(known[:3])} ... {known[-1]} among them."
    return f"no {what} is called {str(name)!r}: {hint}"


METHODS = Registry("method")
MODELS = Registry("source of models")
DATASETS = Registry("data set")
METRICS = Registry("metric")
EXPERIMENTS = Registry("experiment")
FIGURES = Registry("figure")
