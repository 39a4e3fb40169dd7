"""Commands for many pictures: batch, which explains them, and browse, which shows what was found."""

from __future__ import annotations

import json as json_module
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from wherefore import console
from wherefore.cli import completing
from wherefore.cli.app import AsJson, Below, ModelName, Tune, Weights, app, tuned_or_named


@app.command()
def batch(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder; a .txt file with a path on each line; a data set (scenes, imagenet:DIR, folder:DIR ...); "
            "or tar files, 'shards/*.tar'.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The run's folder.", show_default=False)],
    model: ModelName = "resnet50",
    weights: Weights = None,
    classes: Annotated[Path | None, typer.Option(help="Names of your own classes, one on a line.")] = None,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-t", help="A class by name or index, top5, or all; may be given several times."),
    ] = None,
    method: Annotated[
        str, typer.Option(help="One that `wherefore methods` lists.", autocompletion=completing.methods)
    ] = "grad-cam",
    layer: Annotated[str | None, typer.Option(help="One that `wherefore layers` lists.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", "-O", help="NAME=VALUE, as `wherefore methods METHOD` lists them.")
    ] = None,
    output: Annotated[str | None, typer.Option(help="Which part of what the network returns holds the scores.")] = None,
    fit: Annotated[
        str,
        typer.Option(
            help="model: the network's own crop; squash: the whole picture, squashed.",
            autocompletion=completing.words("model", "squash"),
        ),
    ] = ("model"),
    tune: Tune = False,
    below: Below = None,
    limit: Annotated[int | None, typer.Option(min=1, help="How many pictures, the first ones.")] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="local, or ray: on a cluster that shares the folder.", autocompletion=completing.words("local", "ray")
        ),
    ] = "local",
    address: Annotated[
        str | None, typer.Option(help="With --engine ray: a cluster (auto, HOST:PORT); else one is started here.")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(help="Only the i-th of n parts, from 1, for arrays of jobs: 3/16.")
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(help="cpu, cuda:0; several: a process for each.", show_default="all GPUs, else cpu"),
    ] = None,
    json: AsJson = False,
) -> None:
    """Explain any number of pictures into Parquet files; a run that was stopped, however, goes on where it was.

    A shard of 1,024 pictures is one file, whole or not there. Pictures that cannot
    be read have a row that says why, and are counted at the end. What is asked and
    of which pictures is fixed when the run begins: with other settings give another
    folder. `wherefore browse` shows what was found, `wf.open_results` reads it.
    Exit status 1 if some of the pictures could not be read.

    [bold]Examples[/bold]

    wherefore batch photos/ --model resnet50 --target top5 --out found

    wherefore batch scenes --limit 2000 --model scenes:vgg --out found

    wherefore batch "shards/*.tar" --out found --shard $SLURM_ARRAY_TASK_ID/16

    wherefore batch imagenet:/data/ilsvrc --engine ray --address auto --out /shared/found
    """
    from wherefore.batch.engines import run
    from wherefore.batch.run import TUNE, Settings
    from wherefore.below import PLAIN, checked

    settings = Settings(
        model,
        str(weights.resolve()) if weights else None,
        tuple(console.class_names(classes)) if classes else None,
        tuple(target or ()),
        method,
        layer,
        fit,
        output,
        console.options([method], option or []),
        TUNE if tuned_or_named(tune, below) else checked(below or PLAIN),
    )
    with _stopped(out):
        found = run(
            source, out, settings, limit=limit, engine=engine, address=address, part=shard, devices=device or ()
        )
    if json:
        print(json_module.dumps(found.report(), indent=1))
    else:
        console.batch(found)
    raise typer.Exit(1 if found.errors else 0)


@contextmanager
def _stopped(out: Path) -> Iterator[None]:
    """Ctrl-C, and SIGTERM, by which schedulers end jobs: says how to go on."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        console.complain(f"stopped: what was finished is kept in {out}, and the same command goes on.")
        raise typer.Exit(130) from None
    finally:
        signal.signal(signal.SIGTERM, before)


@app.command()
def browse(
    folder: Annotated[Path, typer.Argument(help="The folder of a run of `wherefore batch`.", show_default=False)],
    where: Annotated[str, typer.Option(help="An SQL condition on the columns.")] = "TRUE",
    order: Annotated[str, typer.Option(help="By what they are sorted, in SQL: 'evidence DESC'.")] = "path",
    limit: Annotated[int, typer.Option(min=1, help="How many rows are shown.")] = 60,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the page.")] = Path("browse"),
    json: AsJson = False,
) -> None:
    """Show what a batch run found: statistics, and a page of the rows that you select, with their maps.

    Pictures that could not be explained follow, each with the reason.

    Columns: path, width, height, target, name, score, probability, evidence,
    peak_x, peak_y, box_x0 ... box_y1, grid_h, grid_w, map, error.

    [bold]Examples[/bold]

    wherefore browse found

    wherefore browse found --where "name = 'doctor' AND probability < 0.6" --order probability

    Evidence mostly on the upper third:

    wherefore browse found --where "list_sum(map[1:grid_w * (grid_h // 3)]) > 0.5 * list_sum(map)"
    """
    from wherefore.batch.results import open_results

    results = open_results(folder)
    said = results.statistics()
    page = results.page(out, where, order, limit)
    if json:
        print(json_module.dumps({**said, "page": str(page)}, indent=1))
    else:
        console.statistics(said, page)
