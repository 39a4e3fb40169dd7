"""The command that looks for what is wrong with a network: audit, for its biases or its failures."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from wherefore import console
from wherefore.cli import completing
from wherefore.cli.app import AsJson, app
from wherefore.errors import Error


@app.command()
def audit(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="A name that `wherefore models` lists.",
            show_default=False,
            autocompletion=completing.models,
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            help="manifest:FILE, scenes, folder:DIR, imagenet:DIR, voc:DIR or coco:DIR.", autocompletion=completing.data
        ),
    ] = "scenes",
    failures: Annotated[
        bool, typer.Option("--failures", help="The pictures that it gets wrong, and what it looked at there.")
    ] = False,
    words: Annotated[
        Path | None, typer.Option(help="With --failures: names of its units, as `wherefore dissect` writes them.")
    ] = None,
    weights: Annotated[Path | None, typer.Option("--weights", "-w", help="A file of its weights.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many pictures, drawn at random.")] = 1000,
    seed: Annotated[int, typer.Option(help="Which pictures.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the page, JSON and what is kept.")] = Path(
        "audit"
    ),
    json: AsJson = False,
) -> None:
    """Look for what is wrong with a network on your own pictures: what it relies on, or with --failures where it errs.

    By default a bias audit: on which regions the evidence for each class lies,
    which groups it recognises less often, and whether both speak of a bias.
    Regions are the parts, boxes or masks that the data name; where there are
    none, those that the network itself tells apart, found by clustering.
    Without groups no bias is claimed. A manifest is a CSV file with the columns
    path, label, group, split and, where there are some, regions.

    With --failures every picture whose first answer is none of its labels, with
    the maps of the answer and of the true class, told as few stories by the
    units that spoke for the wrong answers; one page to be sorted and filtered.

    What is worked out is kept in --out: an audit that was stopped goes on where it was.

    [bold]Examples[/bold]

    wherefore audit --model scenes:people-biased --data scenes:people

    wherefore audit --model resnet50 --weights mine.pth --data manifest:photos/list.csv

    wherefore audit --model resnet50 --data folder:photos      # nothing annotated

    wherefore audit --failures --model resnet50 --data folder:photos

    wherefore audit --failures --model scenes:alexnet --words units.csv
    """
    from wherefore import experiments
    from wherefore.concepts import names

    if words and not failures:
        raise Error("--words names units for the stories of --failures: give both.")
    settings = experiments.Settings(data, model, str(weights) if weights else None, limit, seed, device=device)
    if failures:
        report = experiments.run("failures", settings, out, names=names.read(words) if words else ())
    else:
        report = experiments.run("bias", settings, out)
    page = report.save(out)
    print(json_module.dumps(report.json(), indent=1)) if json else console.audited(report.json(), page)
