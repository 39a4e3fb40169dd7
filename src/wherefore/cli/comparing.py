"""The command that sets two networks side by side: compare."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from wherefore import console
from wherefore.cli import completing
from wherefore.cli.app import AsJson, app, load_model
from wherefore.errors import Error


@app.command()
def compare(
    images: Annotated[
        list[str] | None,
        typer.Argument(help="Pictures, folders of pictures, scenes (scenes:17); or --data.", show_default=False),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="A name that `wherefore models` lists; given twice.",
            show_default=False,
            autocompletion=completing.models,
        ),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option("--weights", "-w", help="Files of weights, in the order of the networks; default: its own."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="manifest:FILE, scenes, folder:DIR, imagenet:DIR, voc:DIR, coco:DIR.",
            show_default=False,
            autocompletion=completing.data,
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many pictures of --data, drawn at random.")] = 200,
    seed: Annotated[int, typer.Option(help="Which pictures of --data.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the page, JSON and the maps that are kept.")] = (
        Path("compared")
    ),
    json: AsJson = False,
) -> None:
    """Set two networks side by side on the same pictures: what they say, where they look, which looks at the object.

    Where the data set says what is where, the share of each map that lies on the
    object, and on each region that a manifest names, with the interval of the
    difference. Both see the whole picture squashed.

    Maps are kept in --out: a run that was stopped goes on where it was.

    [bold]Examples[/bold]

    wherefore compare --model scenes:vgg --model scenes:alexnet --data scenes:pair

    wherefore compare --model resnet50 --model vgg16 photos/

    wherefore compare --model resnet18 --model resnet18 --weights default --weights mine.pth --data folder:photos
    """
    from wherefore.batch.local import find_pictures
    from wherefore.datasets import opened
    from wherefore.datasets.pictures import Pictures
    from wherefore.experiments.comparing import compare

    named, files = model or [], [*(weights or []), "default", "default"]
    if len(named) != 2 or len(weights or []) > 2:
        raise Error("two networks are compared: give --model twice, and --weights at most as often.")
    if bool(images) == bool(data):
        raise Error("give pictures, or a data set with --data.")
    dataset = opened(data) if data else Pictures(find_pictures(images or [], out))
    chosen = [
        load_model(name, None if file == "default" else Path(file), device)
        for name, file in zip(named, files, strict=False)
    ]
    found = compare((chosen[0], chosen[1]), dataset, out, limit if data else None, seed)
    page = found.save(out)
    print(json_module.dumps(found.json(), indent=1)) if json else console.result(found.json(), page)
