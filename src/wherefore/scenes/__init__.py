"""Scenes: pictures of a world of our own, drawn by a program from a number, of which everything is known."""

from __future__ import annotations

from wherefore.scenes import people
from wherefore.scenes.annotated import Region, Scene, named, scene
from wherefore.scenes.world import PREFIX

__all__ = ["PREFIX", "Region", "Scene", "named", "people", "scene"]
