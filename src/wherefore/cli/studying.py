"""The commands of a study with people: init, serve, simulate, analyze and export."""

from __future__ import annotations

import json as json_module
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from wherefore import console
from wherefore.cli import completing
from wherefore.cli.app import AsJson, app
from wherefore.errors import Error

study = typer.Typer(
    help="A study with people: make it, run it in their browsers, and say what it shows.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(study, name="study")


class Platform(StrEnum):
    """Where workers come from."""

    local = "local"
    mturk = "mturk"
    prolific = "prolific"


Folder = Annotated[Path, typer.Argument(help="A study's folder, as `wherefore study init` makes it.", metavar="DIR")]
Database = Annotated[
    str | None,
    typer.Option(
        envvar="WHEREFORE_DATABASE",
        help="postgresql://USER@HOST/NAME; by default study.sqlite in DIR.",
        show_default=False,
    ),
]


@study.command()
def init(
    kind: Annotated[str, typer.Argument(help="class-discrimination or trust.", show_default=False)],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="A name that `wherefore models` lists; of trust two.",
            show_default="ours",
            autocompletion=completing.models,
        ),
    ] = None,
    weights: Annotated[
        list[Path] | None, typer.Option("--weights", "-w", help="A file of weights for each --model.")
    ] = None,
    data: Annotated[
        str,
        typer.Option(
            help="scenes, voc:DIR, coco:DIR ... as `wherefore datasets` lists.", autocompletion=completing.data
        ),
    ] = "scenes",
    split: Annotated[str, typer.Option(help="Which part of the data; the paper's is VOC 2007's val.")] = "test",
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="One that draws signed pictures.", show_default="the paper's", autocompletion=completing.methods
        ),
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
    from wherefore.study.power import of_plan

    asked: Any = kind  # whether there is such a kind, the design says
    networks, files, methods = tuple(model or ()), tuple(map(str, weights or ())), tuple(method or ())
    design = Design(asked, networks, files, data, split, methods, pairs, ratings, workers, seed, device)
    plan = make(design, out)
    count = len(plan.items)
    print(
        f"{count} items x {plan.ratings} ratings: {count * plan.ratings:,} answers, by {plan.workers} people with "
        f"{plan.trials} trials and {len(plan.catches)} catch trials each.\n{of_plan(plan)}\n\n{out / PAGE}"
    )


@study.command()
def serve(
    folder: Folder,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    host: Annotated[str, typer.Option(help="Whose requests are heard: 0.0.0.0 hears all the world's.")] = "127.0.0.1",
    platform: Annotated[Platform, typer.Option(help="Where workers come from.")] = Platform.local,
    database: Database = None,
    code: Annotated[str | None, typer.Option(help="Prolific: the study's completion code.")] = None,
    failed_code: Annotated[
        str | None, typer.Option(help="Prolific: the code for who failed the catch trials; else they get --code.")
    ] = None,
    submit_to: Annotated[
        str | None, typer.Option(help="MTurk: a stand-in for its submit page on this machine, for trying.")
    ] = None,
) -> None:
    """Ask people in their browsers, until it is stopped (Ctrl-C); what they answer is kept in a database.

    Started again it goes on where it was: people keep their place, and no answer that was acknowledged is lost.
    Ids of workers are kept as salted hashes alone, and no request is logged.

    On MTurk and Prolific people need HTTPS: let nginx, Caddy or the like pass requests on to this port. docs/studies.md
    has all of it, from zero.

    [bold]Examples[/bold]

    wherefore study serve study

    wherefore study serve study --platform mturk --database postgresql+psycopg://me@localhost/study

    wherefore study serve study --platform prolific --code C1A2B3C4 --failed-code F5D6E7F8
    """
    from wherefore.study.plan import read
    from wherefore.study.platforms import platform as named
    from wherefore.study.texts import CONTACT

    plan, way = read(folder), named(platform.value, code, failed_code, submit_to)
    if CONTACT in plan.texts.get("contact", ""):
        said = "`contact` under `texts` in study.json still says [your name, ...], and people read it on every page"
        if platform is not Platform.local:
            raise Error(f"{said}: fill it in before you serve.")
        console.complain(f"{said}: fill it in before anybody takes part.")
    serving, store = _library("serving"), _library("store")
    kept = store.opened(folder, plan, database)
    app = _library("app").create(folder, plan, kept, way)
    if kept.simulated():
        console.complain(
            "the database holds answers of simulated workers, so it lets no people in: "
            "give --database another, or serve a copy of the folder that was made before they came."
        )
    serving.serve(app, host, port, console.study_served)


@study.command()
def simulate(
    folder: Folder,
    workers: Annotated[int, typer.Option("--workers", "-n", min=1, help="How many, all at once.")],
    url: Annotated[
        str | None, typer.Option(help="Where the study is served; by default it is for the time being.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Which workers.")] = 0,
    ability: Annotated[
        list[str] | None,
        typer.Option(metavar="METHOD=MEAN", help="A method's accuracy (trust: mean score); else the paper's."),
    ] = None,
    inattentive: Annotated[float, typer.Option(min=0, max=1, help="Share of workers who answer blindly.")] = 0.05,
    database: Database = None,
) -> None:
    """Let simulated workers take a study as people would, over HTTP: consent, every trial, the end.

    They answer as well as it is set, with differences between workers and items, and the analysis should find that
    again. They are not people: every answer of theirs is marked as simulated, in the database, too, and a study that
    people take part in does not let them in, nor people after them. What is right they read in DIR: the app never
    sends it.

    [bold]Examples[/bold]

    wherefore study simulate study --workers 43

    wherefore study simulate study -n 10 --url http://127.0.0.1:8000 --ability guided-grad-cam=0.7
    """
    simulating = _library("simulating")
    crowd = simulating.Crowd(workers, seed, inattentive, simulating.set_means(ability or ()))
    console.study_simulated(simulating.simulate(folder, crowd, url, database))


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
    library.writer(out)  # which complains before anything is opened
    store = _library("store").opened(folder, plan, database, made=True)
    try:
        ratings = store.ratings()
    finally:
        store.close()
    print(library.export(plan, ratings, out))
    if simulated := sum(rating.simulated for rating in ratings):
        console.complain(f"{simulated:,} of {len(ratings):,} answers are of simulated workers, who are not people.")


def _library(name: str) -> Any:
    """A module of studies, whose libraries may not be there."""
    from importlib import import_module

    try:
        return import_module(f"wherefore.study.{name}")
    except ModuleNotFoundError as error:
        raise Error(f"studies need {error.name}: pip install 'wherefore[study]'") from None
