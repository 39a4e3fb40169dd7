"""placeholder until merged"""

from __future__ import annotations

from typing import Any


class Words:
    def __call__(self, text: str) -> dict[str, Any]:
        raise NotImplementedError

    def pieces(self, text: str) -> list[str]:
        raise NotImplementedError

    def words(self, ids: list[int]) -> list[str]:
        raise NotImplementedError
