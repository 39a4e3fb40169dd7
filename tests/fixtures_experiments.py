"""What is asked of every experiment: that it ends with the same report, however often it was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wherefore.experiments import Settings, run


def reported(name: str, folder: Path, limit: int = 3) -> dict[str, Any]:
    """What an experiment says of a few pictures, when run twice and when half of what it kept is gone; saved once."""
    settings = Settings(limit=limit)
    first = run(name, settings, folder)
    found = first.json()
    assert first.save(folder / "page").is_file()
    assert run(name, settings, folder).json() == found
    kept = sorted(path for path in folder.rglob("*.parquet"))
    assert kept
    for path in kept[::2]:
        path.unlink()
    assert run(name, settings, folder).json() == found
    return found
