"""The commands of a study with people: init, serve, simulate, analyze and export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from wherefore.cli.app import app

study = typer.Typer(
    help="A study with people: make it, run it in their browsers, and say what it shows.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(study, name="study")


@study.command()
def init(
    kind: Annotated[str, typer.Argument(help="class-discrimination or trust.", show_default=False)],
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="A name that `wherefore models` lists; of trust two.", show_default="ours"),
    ] = None,
    weights: Annotated[
        list[Path] | None, typer.Option("--weights", "-w", help="A file of weights for each --model.")
    ] = None,
    data: Annotated[str, typer.Option(help="scenes, voc:DIR, coco:DIR ... as `wherefore datasets` lists.")] = "scenes",
    split: Annotated[str, typer.Option(help="Which part of the data; the paper's is VOC 2007's val.")] = "test",
    method: Annotated[
        list[str] | None, typer.Option(help="One that draws signed pictures.", show_default="the paper's")
    ] = None,
    pairs: Annotated[int, typer.Option(min=1, help="Pictures with one of their categories, for every method.")] = 90,
    ratings: Annotated[int, typer.Option(min=1, help="Of each item, by as many people.")] = 9,
    workers: Annotated[
        int | None, typer.Option(min=1, help="How many people.", show_default="the paper's: 43, in trust 54")
    ] = None,
    seed: Annotated[int, typer.Option(help="Which pictures.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the study, which is made.")] = Path("study"),
) -> None:
    """Make a study with people: its pictures, its plan, and how.html, where you look at both before anybody else does.

    class-discrimination (section 5.1 of the paper): of a picture with exactly two
    categories the map of one; people say which of the two is depicted. By default
    45 pictures, both categories, 4 methods: 360 items.

    trust (5.2): the maps of two networks, of pictures that both recognise; people
    say which network is more reliable. 90 pictures, 2 methods: 180 items.

    With the shipped networks and scenes it is a rehearsal: its numbers are not the
    paper's. docs/studies.md says how a real study is run from here.

    [bold]Examples[/bold]

    wherefore study init class-discrimination --model scenes:vgg --data scenes --out study

    wherefore study init trust --model scenes:vgg --model scenes:alexnet --out trust

    wherefore study init class-discrimination -m vgg16 -w finetuned/vgg16.safetensors --data voc:VOC2007 --split val
    """
    from wherefore.study.design import Design
    from wherefore.study.making import PAGE, make

    asked: Any = kind  # whether there is such a kind, the design says
    networks, files, methods = tuple(model or ()), tuple(map(str, weights or ())), tuple(method or ())
    design = Design(asked, networks, files, data, split, methods, pairs, ratings, workers, seed, device)
    plan = make(design, out)
    count = len(plan.items)
    print(
        f"{count} items x {plan.ratings} ratings: {count * plan.ratings:,} answers, by {plan.workers} people with "
        f"{plan.trials} trials and {len(plan.catches)} catch trials each.\n\n{out / PAGE}"
    )
