"""Training of the shipped networks: pictures drawn and kept, a recipe for each, one loop that can be stopped."""

from __future__ import annotations

from wherefore.training.loop import train
from wherefore.training.recipes import RECIPES, Recipe

__all__ = ["RECIPES", "Recipe", "train"]
