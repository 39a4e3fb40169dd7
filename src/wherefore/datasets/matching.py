"""Which outputs of a network stand for the categories of a data set."""

from __future__ import annotations

from collections.abc import Sequence


def matched(categories: Sequence[str], classes: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """The outputs of a network that stand for each category; categories without one are left out."""
    return {name: (list(classes).index(name),) for name in categories if name in classes}
