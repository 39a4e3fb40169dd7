"""What single units of a network look for, in words: their names, and explanations made of these."""

from __future__ import annotations

from wherefore.concepts.dissect import Dissection, Named, dissect

__all__ = ["Dissection", "Named", "dissect"]
