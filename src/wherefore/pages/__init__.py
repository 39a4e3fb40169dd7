"""Pages: what was found, as one HTML file that needs nothing else; every page of the package is built here."""

from __future__ import annotations

from wherefore.pages.building import STAND_IN, rendered, write
from wherefore.pages.parts import Card, Cards, Command, Commands, Figure, Figures, Section, Share, Table, Verdict

__all__ = [
    "STAND_IN", "Card", "Cards", "Command", "Commands", "Figure", "Figures", "Section", "Share", "Table", "Verdict",
    "rendered", "write",
]  # fmt: skip
