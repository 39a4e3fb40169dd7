"""The commands of a study with people: init, serve, simulate, analyze and export."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer

from wherefore import console
from wherefore.cli.app import AsJson, app
from wherefore.errors import Error

study = typer.Typer(
    help="A study with people: make it, run it in their browsers, and say what it shows.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(study, name="study")

Folder = Annotated[Path, typer.Argument(help="A study's folder, as `wherefore study init` makes it.", metavar="DIR")]
Database = Annotated[
    str | None,
    typer.Option(
        envvar="WHEREFORE_DATABASE",
        help="postgresql+psycopg://USER@HOST/NAME; by default study.sqlite in DIR.",
        show_default=False,
    ),
]


@study.command()
def export(
    folder: Folder,
    out: Annotated[Path, typer.Option("--out", "-o", help="FILE.csv or FILE.parquet.", show_default=False)],
    database: Database = None,
) -> None:
    """Write what was answered as a table for other tools, one row per answer.

    Columns: worker (a salted hash), item, picture, method, category, choice, value (1 or 0 for right or wrong; in trust
    -2 to 2, plus for the better network wherever it was shown), side and flipped (what was where on the screen),
    position, rt_ms, answered_at (UTC), platform, catch, surplus (came too late to count), simulated, finished.

    Catch trials, surplus answers and simulated workers are in it, each marked in its column.

    [bold]Examples[/bold]

    wherefore study export study --out ratings.csv

    wherefore study export study --out ratings.parquet --database postgresql+psycopg://me@localhost/study
    """
    library, plan = _library("export"), _library("plan").read(folder)
    store = _library("store").opened(folder, plan, database)
    try:
        ratings = store.ratings()
    finally:
        store.close()
    print(library.export(plan, ratings, out))
    if simulated := sum(rating.simulated for rating in ratings):
        console.complain(f"{simulated:,} of {len(ratings):,} answers are of simulated workers, who are not people.")


@study.command()
def analyze(
    folder: Folder,
    database: Database = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the page and its JSON.", show_default="DIR/analysis")
    ] = None,
    json: AsJson = False,
) -> None:
    """Say what a study shows: each method's score beside the paper's, method against method, and a page of all.

    Intervals are over workers and pictures, both drawn anew at once: 95 %.
    Contrasts are paired, and corrected for how many they are (Holm). Beside
    them a binomial mixed model, or an ordinal one for trust; Krippendorff's
    alpha; whether one side of the screen was favoured; and how likely a study
    of this size is to find a difference.

    Whose answers count was fixed in the plan before the first of them: by
    catch trials and by time. Who did not finish is kept. People and simulated
    workers are never pooled: where any person has answered, only people count.
    All that rests on simulated workers is marked SIMULATED.

    [bold]Examples[/bold]

    wherefore study analyze study

    wherefore study analyze study --json --database postgresql+psycopg://me@localhost/study
    """
    report = _library("report").analysed(folder, database)
    page = report.save(out or folder / "analysis")
    print(json_module.dumps(report.json(), indent=1)) if json else console.study(report.json(), page)


def _library(name: str) -> Any:
    """A module of studies, whose libraries may not be there."""
    from importlib import import_module

    try:
        return import_module(f"wherefore.study.{name}")
    except ModuleNotFoundError as error:
        raise Error(f"studies need {error.name}: pip install 'wherefore[study]'") from None
