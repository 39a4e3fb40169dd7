"""The commands of a study with people: init, serve, simulate, analyze and export."""

from __future__ import annotations

import typer

from wherefore.cli.app import app

study = typer.Typer(
    help="A study with people: make it, run it in their browsers, and say what it shows.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(study, name="study")
