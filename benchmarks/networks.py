"""Writes docs/networks.md, the table of the shipped networks, from their cards: ``python benchmarks/networks.py``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wherefore.models.scenes import NETWORKS, SHIPPED, WORDED, card

HEAD = """# The shipped networks

Small networks trained on [scenes](scenes.md), in the package: `wf.load("scenes:vgg")`, `--model scenes:vgg`. They stand
in for the networks of the papers, as these describe them and scaled down; **numbers on scenes are not the papers'
numbers**. Scenes of the test split show things in colours and places in which no network was trained on them.

`wherefore models scenes:vgg` prints a card: recipe, seed, data, accuracy, sha256. `wherefore train vgg` trains the
network anew, and prints its accuracy beside the card's. `people-...` are those of [people](people.md). The times below
were taken on one thread of a busy machine.

"""


WORDS = """
## Networks with words

They say captions and answer questions; `wherefore caption` and `wherefore ask` use them. What a caption says is held
against what is in the scene ([how](../src/wherefore/scenes/truth.py)); things that are not there are right by chance in
27 % of the cases (captions of another scene with as many things).

"""
ASKED = """
Accuracy by kind of question, on scenes whose compositions no network was trained on. *In new words*: asked in a way
that no network was trained on, of words that it knows. *Question only*: a network of the same kind that was trained
without pictures.

"""


def rows(names: Iterable[str]) -> list[list[str]]:
    """What is said of each network, in words."""
    return [_row(name, card(name)) for name in names if (SHIPPED / f"{name}.json").is_file()]


def kinds(name: str) -> list[list[str]]:
    """The accuracy of a network that answers, by kind of question: as in training, in new words, without a picture."""
    found = {row["name"]: row for row in card(name)["accuracy"]}
    asked = [each.removesuffix(", as in training") for each in found if each.endswith(", as in training")]
    lines = []
    for kind in asked:
        known, new = found[f"{kind}, as in training"], found[f"{kind}, in new words"]
        alone = f"{known['question only']:.3f}"
        lines.append([f"`scenes:{name}`", kind, _share(known), _share(new), alone, f"{known['n']:,}"])
    return lines


def _share(row: dict[str, Any]) -> str:
    return f"**{row['value']:.3f}** ({row['low']:.3f} to {row['high']:.3f})"


def _row(name: str, said: dict[str, Any]) -> list[str]:
    measured = "<br>".join(
        f"{row['name']}: **{row['value']:.3f}** ({row['low']:.3f} to {row['high']:.3f}, n = {row['n']:,})"
        for row in said["accuracy"]
        if "question only" not in row or row["name"].startswith("all questions")
    )
    size = (SHIPPED / f"{name}.safetensors").stat().st_size / 1e6
    took = f"{said['training']['seconds'] / 60:.1f} min"
    return [f"`scenes:{name}`", said["task"], f"{said['parameters']:,}, {size:.1f} MB", measured, took]


def table(header: list[str], lines: list[list[str]]) -> str:
    """A table of Markdown."""
    return "".join(f"| {' | '.join(line)} |\n" for line in [header, ["---"] * len(header), *lines])


def page() -> str:
    """The whole page."""
    header = ["network", "task", "parameters, file", "accuracy with its 95 % interval", "trained in"]
    answering = [name for name in WORDED if WORDED[name].asks]
    by_kind = ["network", "questions of", "as in training", "in new words", "question only", "n"]
    return (
        HEAD
        + table(header, rows(NETWORKS))
        + WORDS
        + table(header, rows(WORDED))
        + ASKED
        + table(by_kind, [line for name in answering for line in kinds(name)])
    )


if __name__ == "__main__":
    path = Path(__file__).parents[1] / "docs" / "networks.md"
    path.write_text(page(), encoding="utf-8")
    print(path)
