"""The command that names the units of a layer: dissect."""

from __future__ import annotations

import json as json_module
import random
from pathlib import Path
from typing import Annotated, Any

import typer

from wherefore import console
from wherefore.cli import completing
from wherefore.cli.app import AsJson, ModelName, Weights, app, load_model
from wherefore.errors import Error

PICTURES = 1000


@app.command()
def dissect(
    model: ModelName = "scenes:places",
    data: Annotated[
        str, typer.Option(help="scenes or broden:DIR; with --prompts any data set.", autocompletion=completing.data)
    ] = "scenes",
    layer: Annotated[
        str | None, typer.Option(help="One that `wherefore layers` lists.", show_default="the one that is explained")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many pictures, drawn at random.")] = PICTURES,
    prompts: Annotated[
        str | None, typer.Option(help="Such as 'dog, grass, sky': names by text, for data without concepts.")
    ] = None,
    namer: Annotated[
        str, typer.Option(help="The network that compares pictures with --prompts.")
    ] = "hf:openai/clip-vit-base-patch32",
    weights: Weights = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file of names; a page is written beside it.")] = Path(
        "units.csv"
    ),
    json: AsJson = False,
) -> None:
    """Name the units of a layer by what they fire on: Network Dissection, or by text with --prompts.

    Writes unit, name, category, iou, threshold for every unit into --out, and
    beside it a page with the pictures in which each named unit fires most. A unit
    has a name where its mask overlaps with a concept's pixels with an IoU of 0.05.
    A JSON file of the same name says which network, weights and layer they are of.

    Maps are kept in a folder beside the file (units.maps): what was stopped goes
    on where it was. They take up to 2 bytes a unit and position: a picture 15 kB
    of scenes:places and 200 kB of VGG-16, all of Broden 13 GB of it.

    Names by text are another method: a network such as CLIP says which of the
    words fits what a unit fires on; their category is text, they have no IoU.

    [bold]Examples[/bold]

    wherefore dissect --model scenes:places --data scenes --out units.csv

    wherefore dissect --model vgg16 --data broden:broden1_224 --out vgg16.csv

    wherefore dissect --model resnet18 --data folder:photos --prompts "dog, grass, sky"

    wherefore explain scenes:17 --model scenes:places --words units.csv
    """
    from wherefore.concepts import dissect, write
    from wherefore.concepts.recording import record
    from wherefore.concepts.sheets import kinds, write_page
    from wherefore.concepts.texts import by_text
    from wherefore.datasets import opened
    from wherefore.saving import can_be_made, made

    if out.suffix.lower() != ".csv":
        raise Error(f"--out is a CSV file, such as units.csv, not {out}.")
    can_be_made(out.parent)
    other = None if prompts is None else _namer(namer, prompts, device)
    dataset, loaded = opened(data), load_model(model, weights, device)
    numbers = random.Random(0).sample(range(len(dataset)), min(limit, len(dataset)))
    given = loaded, dataset, numbers, out.with_suffix(".maps"), layer
    found = by_text(record(*given), other) if other else dissect(*given)
    made(out.parent)
    page = write_page(found, out.with_suffix(".html"))
    write(found.units, out, found.recorded.about)
    report = {**found.report(), "names": str(out), "page": str(page)}
    if json:
        print(json_module.dumps(report, indent=1, allow_nan=False))
        return
    print(f"{report['named']} of {len(found.units)} units of {report['layer']} have a name, {report['concepts']} names")
    console.table(["kind", "units", "names", "best"], kinds(found))
    print(f"\n{out}\n{page}")


def _namer(name: str, words: str, device: str | None) -> Any:
    """The network that compares pictures with words. Raises `Error` for another one, and for too few prompts."""
    from wherefore.models.zoo import load, moved

    if not name.startswith("hf:"):
        raise Error(f"--namer compares pictures with words, as hf:openai/clip-vit-base-patch32 does, and not {name}.")
    prompts = [each.strip() for each in words.split(",") if each.strip()]
    if len(prompts) < 2:
        raise Error("--prompts takes two at least, with commas between them: 'dog, grass, sky'.")
    return moved(load(name, classes=prompts), device)
