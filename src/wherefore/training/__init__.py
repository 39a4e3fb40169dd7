"""Training of the shipped networks, and fine-tuning of any: a recipe for each, loops that can be stopped."""

from __future__ import annotations

from wherefore.training.finetuning import finetune
from wherefore.training.loop import train
from wherefore.training.recipes import RECIPES, Recipe

__all__ = ["RECIPES", "Recipe", "finetune", "train"]
