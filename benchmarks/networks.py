"""Writes docs/networks.md, the table of the shipped networks, from their cards: ``python benchmarks/networks.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wherefore.models.scenes import NETWORKS, SHIPPED, card

HEAD = """# The shipped networks

Small networks trained on [scenes](scenes.md), in the package: `wf.load("scenes:vgg")`, `--model scenes:vgg`. They stand
in for the networks of the papers, as these describe them and scaled down; **numbers on scenes are not the papers'
numbers**. Scenes of the test split show things in colours and places in which no network was trained on them.

`wherefore models scenes:vgg` prints a card: recipe, seed, data, accuracy, sha256. `wherefore train vgg` trains the
network anew, and prints its accuracy beside the card's. The last two are those of [people](people.md). The times below
were taken on one thread of a busy machine.

"""


def rows() -> list[list[str]]:
    """What is said of each network, in words."""
    return [_row(name, card(name)) for name in NETWORKS if (SHIPPED / f"{name}.json").is_file()]


def _row(name: str, said: dict[str, Any]) -> list[str]:
    measured = "<br>".join(
        f"{row['name']}: **{row['value']:.3f}** ({row['low']:.3f} to {row['high']:.3f}, n = {row['n']:,})"
        for row in said["accuracy"]
    )
    size = (SHIPPED / f"{name}.safetensors").stat().st_size / 1e6
    took = f"{said['training']['seconds'] / 60:.1f} min"
    return [f"`scenes:{name}`", said["task"], f"{said['parameters']:,}, {size:.1f} MB", measured, took]


def page() -> str:
    """The whole page."""
    header = ["network", "task", "parameters, file", "accuracy with its 95 % interval", "trained in"]
    lines = [header, ["---"] * len(header), *rows()]
    return HEAD + "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    path = Path(__file__).parents[1] / "docs" / "networks.md"
    path.write_text(page(), encoding="utf-8")
    print(path)
