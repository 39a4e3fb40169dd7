"""Training of the shipped networks, and fine-tuning of any: a recipe for each, loops that can be stopped."""

from __future__ import annotations

from typing import Any

from wherefore.errors import Error
from wherefore.registry import unknown
from wherefore.training import loop, worded
from wherefore.training.finetuning import finetune
from wherefore.training.recipes import RECIPES, Recipe
from wherefore.training.telling import TELLING, Telling

__all__ = ["RECIPES", "TELLING", "Recipe", "Telling", "finetune", "train"]


def train(name: str, *args: Any, **options: Any) -> dict[str, Any]:
    """The card of a network that was trained by its recipe; see `loop.train`, and `worded.train` for those with words.

    Raises `Error` for a name that no recipe has.
    """
    if name not in {*RECIPES, *TELLING}:
        raise Error(unknown("recipe for a network", name, [*RECIPES, *TELLING]))
    return (worded.train if name in TELLING else loop.train)(name, *args, **options)
