"""What single units of a network look for, in words: their names, and explanations made of these."""

from __future__ import annotations

from wherefore.concepts.dissect import Dissection, dissect
from wherefore.concepts.names import Named, read, write
from wherefore.concepts.wording import Wording, words

__all__ = ["Dissection", "Named", "Wording", "dissect", "read", "words", "write"]
