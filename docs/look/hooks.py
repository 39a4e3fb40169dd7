"""What the site has beside the pages of docs: files of the repository that pages link to, and what is made anew.

mkdocs calls the functions whose names begin with ``on_``. Nothing that they make is kept in the repository.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
DOCS = PurePosixPath("docs")
BESIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md")  # pages that lie elsewhere
BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(\]\()([^()#\s:]+)(?=[)#])")


# -------------------------------------------------------------------------------------------- links out of docs


def on_files(files: Files, config: Any) -> Files:
    """Pages from elsewhere in the repository, and every file outside of docs that a page links to."""
    for name in BESIDE:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    for page in list(files.documentation_pages()):
        for link in LINK.findall(BLOCK.sub("", page.content_string)):
            there = _meant(page.src_uri, link[1])
            if not there.is_relative_to(DOCS) and str(there) not in files.src_uris and (ROOT / there).is_file():
                files.append(File.generated(config, str(there), abs_src_path=str(ROOT / there)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page's own text with links as they are in the site, and what is made for it."""
    text = BLOCK.split(markdown)
    blocks = [*BLOCK.findall(markdown), ""]
    whole = "".join(_relinked(part, page.file.src_uri) + block for part, block in zip(text, blocks, strict=True))
    made = MADE.get(page.file.src_uri)
    return whole if made is None else "\n".join([whole, *made()])


def _meant(page: str, link: str) -> PurePosixPath:
    """The path in the repository of what a page (by its path in the site) links to."""
    own = PurePosixPath(page) if page in BESIDE else DOCS / page
    return PurePosixPath(normpath(str(own.parent / link)))


def _relinked(text: str, page: str) -> str:
    """Links to places in the repository as links to places in the site."""

    def moved(link: re.Match[str]) -> str:
        there = _meant(page, link[2])
        within = str(there.relative_to(DOCS)) if there.is_relative_to(DOCS) else str(there)
        return link[1] + relpath(within, str(PurePosixPath(page).parent))

    return LINK.sub(moved, text)


# -------------------------------------------------------------------------------------------- the command line


def command_line() -> Iterator[str]:
    """Every command with its options, from the commands themselves."""
    from typer.main import get_command

    from wherefore.cli import app

    for name, command in _commands("wherefore", get_command(app)):
        context = command.make_context(name, [], resilient_parsing=True)
        yield f"\n## {name}\n"
        yield from _told(command.help or "")
        yield f"\n```console\n$ {command.get_usage(context).removeprefix('Usage: ')}\n```\n"
        for kind in ("argument", "option"):
            records = [p.get_help_record(context) for p in command.params if p.param_type_name == kind]
            rows = [f"| `{_plain(record[0])}` | {_cell(record[1])} |" for record in records if record]
            if rows:
                yield from ("", f"| {kind} | |", "|---|---|", *rows)


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Every command below one, with the words that call it."""
    if not hasattr(command, "commands"):
        yield name, command
    for word, below in getattr(command, "commands", {}).items():
        yield from _commands(f"{name} {word}", below)


def _told(text: str) -> Iterator[str]:
    """A command's help as Markdown: its examples are code, those that follow one another one block."""
    for example, paragraphs in groupby(text.split("\n\n"), lambda paragraph: paragraph.startswith("wherefore ")):
        if example:
            yield from ("\n```sh", *paragraphs, "```")
        else:
            yield from ("\n" + re.sub(r"\[/?bold\]", "**", paragraph) for paragraph in paragraphs)


def _plain(declared: str) -> str:
    return declared.replace("<list[str]>", "<str>...").replace("|", "\\|")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


# -------------------------------------------------------------------------------------------- what is registered


def methods() -> Iterator[str]:
    """Every method with its formula, source, cost and options."""
    import wherefore.methods  # noqa: F401  fills the registry
    from wherefore.console import OPTIONS
    from wherefore.options import method_options
    from wherefore.registry import METHODS

    for name, entry in METHODS.items():
        yield from (f"\n## {name}\n", _prose(entry), "")
        yield f"*Source*: {entry.about['paper']}. *Cost*: {entry.about['cost']}."
        options = method_options(name)
        if options:
            yield from ("", "| option | by default | |", "|---|---|---|")
        for option, default in options.items():
            yield f"| `{option}` | {'' if default is None else f'`{default!r}`'} | {_cell(OPTIONS.get(option, ''))} |"


def metrics() -> Iterator[str]:
    """Every registered metric with its definition."""
    import wherefore.metrics  # noqa: F401  fills the registry
    from wherefore.registry import METRICS

    for name, entry in METRICS.items():
        yield from (f"\n### {name}\n", f"`wherefore.metrics.{entry.run.__name__}`\n", _prose(entry), "")
        yield ", ".join(f"*{key}*: {value}" for key, value in entry.about.items())


def datasets() -> Iterator[str]:
    """Every kind of data set."""
    import wherefore.datasets  # noqa: F401  fills the registry
    from wherefore.registry import DATASETS

    for name, entry in DATASETS.items():
        yield from (f"\n### {name}\n", _prose(entry))


def experiments() -> Iterator[str]:
    """Every experiment, the section of the paper that it reruns, and how long it takes."""
    import wherefore.experiments  # noqa: F401  fills the registry
    from wherefore.registry import EXPERIMENTS

    for name, entry in EXPERIMENTS.items():
        yield from (f"\n### {name}\n", _prose(entry), "")
        yield ", ".join(f"*{key}*: {value}" for key, value in entry.about.items())


def sources() -> Iterator[str]:
    """Every source of models."""
    import wherefore.models  # noqa: F401  fills the registry
    from wherefore.registry import MODELS

    for name, entry in MODELS.items():
        yield from (f"\n### {name}\n", f"`{entry.about.get('names', name)}`\n", _prose(entry))


def _prose(entry: Any) -> str:
    """A docstring as Markdown: what it multiplies is no emphasis."""
    parts = re.split(r"(``?[^`]+``?)", inspect.getdoc(entry.run) or "")
    return "".join(part if i % 2 else part.replace("*", "\\*").replace("<", "&lt;") for i, part in enumerate(parts))


MADE: dict[str, Callable[[], Iterator[str]]] = {
    "reference/command_line.md": command_line,
    "reference/methods.md": methods,
    "reference/metrics.md": metrics,
    "reference/datasets.md": datasets,
    "reference/experiments.md": experiments,
    "reference/models.md": sources,
}
