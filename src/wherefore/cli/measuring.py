"""Commands that measure: experiment, demo, bench."""

from __future__ import annotations

import json as json_module
import sys
from pathlib import Path
from typing import Annotated

import typer

from wherefore import console
from wherefore.cli import completing
from wherefore.cli.app import AsJson, app
from wherefore.errors import Error


@app.command()
def experiment(
    name: Annotated[
        str,
        typer.Argument(
            help="One of `wherefore experiments`, or all.", show_default=False, autocompletion=completing.experiments
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            help="scenes, or imagenet, voc, coco, vqa, genome, broden and folder with :DIR, or manifest:FILE.",
            autocompletion=completing.data,
        ),
    ] = "scenes",
    model: Annotated[
        str | None,
        typer.Option(
            help="A network in place of the shipped ones.",
            show_default="scenes:vgg and others",
            autocompletion=completing.models,
        ),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="A file of its weights.")] = None,
    limit: Annotated[int | None, typer.Option(help="How many pictures.", show_default="the experiment's")] = None,
    seed: Annotated[int, typer.Option(help="Which pictures, and whatever else is drawn.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Few pictures: to see that it works.")] = False,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="bias alone: also of 15 networks of five seeds, trained anew.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for pages, JSON and the maps that are kept.")] = Path(
        "results"
    ),
    json: AsJson = False,
) -> None:
    """Rerun an experiment of the paper: its table with ours beside it, its claims judged, and a page.

    On scenes, the package's own drawn pictures, by default: numbers on scenes
    are not the paper's numbers. With --data, --model and --weights on real ones.

    Maps are computed once and kept in --out: an experiment that was stopped goes
    on where it was, and ends with the same numbers.

    `all` runs every one that trains nothing, in about twenty minutes of two
    cores (--quick: three), and makes a page that leads to all of them.

    [bold]Examples[/bold]

    wherefore experiment localization

    wherefore experiment all --quick --out results

    wherefore experiment pointing --data voc:VOCdevkit/VOC2007 --model vgg16 --weights finetuned.safetensors
    """
    from wherefore import experiments
    from wherefore.experiments.everything import run_all, write_index

    if retrain and name != "bias":
        raise Error(f"--retrain is for the experiment bias, not {name}.")
    settings = experiments.Settings(data, model, str(weights) if weights else None, limit, seed, quick, device)
    if name == "all":
        experiments.check(settings)
        found = run_all(settings, out, lambda line: print(line, file=sys.stderr))
        print(json_module.dumps(found, indent=1)) if json else print(out / "index.html")
        raise typer.Exit(1 if any("error" in each for each in found) else 0)
    report = experiments.run(name, settings, out, **({"retrain": True} if retrain else {}))
    page = report.save(out)
    write_index(out)
    if json:
        print(json_module.dumps(report.json(), indent=1))
    else:
        console.result(report.json(), page)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the page and its pictures.")] = Path("demo"),
) -> None:
    """Tell the story of Grad-CAM on the package's own pictures and networks: one HTML page, offline, in a minute.

    [bold]Examples[/bold]

    wherefore demo --out told
    """
    from wherefore import demo

    print(demo.run(out))


@app.command()
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="The headlines, in about four minutes of two cores.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for bench.json and bench.md.")] = None,
) -> None:
    r"""Measure speed and memory beside other libraries, as ratios to the network's plain forward pass.

    Captum, pytorch-grad-cam and torch-cam take part where they are installed: pip install 'wherefore\[bench]'.

    [bold]Examples[/bold]

    wherefore bench --quick --out bench
    """
    from wherefore import bench

    print(bench.run(quick, out).table())
