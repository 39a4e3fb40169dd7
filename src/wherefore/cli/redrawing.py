"""Commands that draw the paper's figures: figures, figure."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from wherefore import console
from wherefore.cli import completing
from wherefore.cli.app import AsJson, app


@app.command()
def figures(json: AsJson = False) -> None:
    """List the figures of the paper that can be drawn: what each shows, its section, and how long it takes.

    [bold]Examples[/bold]

    wherefore figures
    """
    from wherefore.figures import listed

    rows = listed()
    print(json_module.dumps(rows, indent=1)) if json else console.figures(rows)


@app.command()
def figure(
    number: Annotated[
        str | None,
        typer.Argument(
            help="One of `wherefore figures`: 1, 3, ... 22, C.",
            show_default="all are listed",
            autocompletion=completing.figures,
        ),
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Argument(help="Pictures, folders of pictures, scenes (scenes:17).", show_default="drawn by lot"),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model", "-m", help="A network in place of the figure's own; given as often as it shows several."
        ),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option("--weights", "-w", help="Files of weights, in the order of the networks; default: its own."),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-t", help="A class, caption, word or answer; may be given several times."),
    ] = None,
    question: Annotated[
        str | None,
        typer.Option(help="What is asked about the pictures (figures 12 and 19).", show_default="the data's"),
    ] = None,
    words: Annotated[
        Path | None, typer.Option(help="Names of units that `wherefore dissect` wrote (figures 9 and 21).")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="What pictures are drawn from: scenes, imagenet:DIR, voc:DIR ...", show_default="scenes"),
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="How many pictures of it.", show_default="the figure's")
    ] = None,
    seed: Annotated[int, typer.Option(help="Which pictures, and whatever else is drawn by lot.")] = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder; each figure has one of its own in it.")] = Path(
        "figures"
    ),
    json: AsJson = False,
) -> None:
    """Draw a figure of the paper anew, on any picture, class and network: one sheet, a page, and a manifest.

    By default on scenes, the package's own drawn pictures, by its small networks:
    what comes out is not what the paper shows. Pictures are drawn by lot, and
    nobody chooses among them; name some, or --data, for others.

    Writes figure-N/figure-N.jpg, index.html and manifest.json, which lists scores
    and probabilities, layers, weights and settings of every map.

    [bold]Examples[/bold]

    wherefore figure 13

    wherefore figure 1 cat_dog.jpg -m vgg16 -m resnet18 -t "tiger cat" -t boxer

    wherefore figure 17 --data coco:COCO --model vgg16 --count 8

    wherefore figure 19 scenes:13 --question "what colour is the car?"

    wherefore figure 22 cat_dog.jpg -m preact:resnet200 -w resnet200.safetensors
    """
    from wherefore.figures import Settings, draw

    if number is None:
        figures(json)
        return
    settings = Settings(
        tuple(images or ()),
        tuple(model or ()),
        tuple(weights or ()),
        tuple(target or ()),
        data,
        count,
        seed,
        question,
        str(words) if words else None,
    )
    made = draw(number, settings, out)
    files = made.save(out / f"figure-{number}")
    if json:
        print(json_module.dumps({**made.json(), "files": files}, indent=1, allow_nan=False))
    else:
        rows = [[each.title, *row] for each in made.drawing.sheets for row in each.rows()]
        console.figure(made.title, made.notice, rows, files)
