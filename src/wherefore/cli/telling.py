"""Commands that put pictures into words: caption, ask."""

from __future__ import annotations

import json as json_module
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wherefore import console
from wherefore.cli import completing, reporting
from wherefore.cli.app import AsJson, Weights, app, load_model
from wherefore.errors import Error

if TYPE_CHECKING:
    from wherefore.telling import ToldRun

Method = Annotated[str, typer.Option(help="One that `wherefore methods` lists.", autocompletion=completing.methods)]
Layer = Annotated[str | None, typer.Option(help="One that `wherefore layers` lists.")]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", "-O", help="NAME=VALUE, as `wherefore methods METHOD` lists them."),
]
Fit = Annotated[
    str,
    typer.Option(
        help="model: the network sees its own crop; squash: it sees the whole picture.",
        autocompletion=completing.words("model", "squash"),
    ),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")]
Colours = Annotated[
    str,
    typer.Option(
        help="heat (even steps of lightness) or jet (the paper's).", autocompletion=completing.words("heat", "jet")
    ),
]
Scale = Annotated[
    str,
    typer.Option(
        help="common: one scale for all words, or answers, of a picture; each: every map its own.",
        autocompletion=completing.words("common", "each"),
    ),
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder for pictures, maps and manifest.json.")]


@app.command()
def caption(
    images: Annotated[
        list[str],
        typer.Argument(help="Pictures, and folders of pictures; scenes (scenes:17).", show_default=False),
    ],
    caption: Annotated[
        list[str] | None,
        typer.Option(
            "--caption",
            help="Explain this one; may be given several times: a map for each.",
            show_default="what the network says itself",
        ),
    ] = None,
    word: Annotated[
        list[str] | None,
        typer.Option("--word", help="Only this word of it; may be given several times.", show_default="all"),
    ] = None,
    regions: Annotated[
        bool, typer.Option("--regions", help="Explain the captions of a scene's regions, each with its box.")
    ] = False,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="One that says words: scenes:captioner, scenes:show-and-tell, hf:...",
            autocompletion=completing.models,
        ),
    ] = "scenes:captioner",
    weights: Weights = None,
    beam: Annotated[int, typer.Option(help="How many beginnings the search for the caption keeps; 1 is greedy.")] = 1,
    method: Method = "grad-cam",
    layer: Layer = None,
    option: Options = None,
    fit: Fit = "model",
    device: Device = None,
    colours: Colours = "heat",
    scale: Scale = "common",
    out: Out = None,
    json: AsJson = False,
) -> None:
    """Put pictures into words, and show where the network looked: for the caption, and for every word of it.

    The caption's map is that of log p(caption | picture), a word's map that of its
    score at its place, given the words before it. With --out a page for each
    picture (its caption, Guided Grad-CAM, a strip of its words), these pictures one
    by one, the raw maps and manifest.json. Exit status 1 if some of the pictures
    could not be explained, 2 if nothing could be done.

    [bold]Examples[/bold]

    wherefore caption scenes:17 --out out

    Your own words, true or not, in place of the network's:

    wherefore caption scenes:13 --caption "a red car on a street" --word car

    What is said of its parts, beside the boxes that this is about:

    wherefore caption scenes:13 --regions --out out

    Inception and an LSTM, the caption by beam search:

    wherefore caption scenes:17 --model scenes:show-and-tell --beam 3

    A photograph, by a network of Hugging Face's:

    wherefore caption photo.jpg --model hf:Salesforce/blip-image-captioning-base
    """
    from wherefore import told
    from wherefore.batch.local import find_pictures
    from wherefore.explainer import Explainer
    from wherefore.saving import can_be_made
    from wherefore.telling import ToldRun

    folder = can_be_made(out) if out else None
    given = console.options([method], option or [])
    texts = caption or []
    if texts and regions:
        raise Error("--regions are captions of a scene's own, --caption is yours: give one of the two.")
    if word and (regions or len(texts) > 1):
        raise Error("--word is a word of one caption: give no --regions, and --caption once.")
    paths = find_pictures(images, folder)
    loaded = load_model(model, weights, device)
    if loaded.question is not None and loaded.prompt is None:
        raise Error(f"{loaded.name} answers questions: ask it one, wherefore ask IMAGE QUESTION --model {model}.")
    why = Explainer(loaded, method, layer, fit=fit, **given)
    if regions or len(texts) > 1:
        tell: Any = partial(told.listed, why, texts=texts, beam=beam)
        what = "regions" if regions else "captions"
    else:
        text, fine = next(iter(texts), None), folder is not None
        tell, what = partial(told.captioned, why, text=text, words=word or (), beam=beam, fine=fine), "caption"
    _told(ToldRun(tell, paths, what, folder, colours, scale), json)


@app.command()
def ask(
    image: Annotated[
        str, typer.Argument(help="A picture, a folder of pictures, or a scene (scenes:17).", show_default=False)
    ],
    question: Annotated[str, typer.Argument(help="What is asked of it.", show_default=False)],
    answer: Annotated[
        list[str] | None,
        typer.Option(
            "--answer", help="Explain this one; may be given several times.", show_default="what the network says"
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(help="How many of the likeliest answers.", show_default="5; 1 of several networks or layers"),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="One that answers: scenes:vqa, scenes:coattention, hf:... Several: one column each.",
            show_default="scenes:vqa",
        ),
    ] = None,
    weights: Annotated[
        list[Path] | None,
        typer.Option(
            "--weights", "-w", help="A local state dict in place of the download; of several networks one for each."
        ),
    ] = None,
    method: Method = "grad-cam",
    layer: Annotated[
        str | None,
        typer.Option(help="One that `wherefore layers` lists; sweep (first to last), all, or a pattern: a tile each."),
    ] = None,
    option: Options = None,
    fit: Fit = "model",
    device: Device = None,
    colours: Colours = "heat",
    scale: Scale = "common",
    out: Out = None,
    json: AsJson = False,
) -> None:
    """Ask a question about a picture, and show where the network looked for each of its likeliest answers.

    An answer's map is that of its score, before softmax. With --out a page (the
    answer's map large, Guided Grad-CAM, the other answers), these pictures one by one,
    the raw maps and manifest.json. Exit status 1 if some of the pictures could not be
    explained, 2 if nothing could be done.

    [bold]Examples[/bold]

    wherefore ask scenes:13 "what colour is the car?" --out out

    Another answer, another place:

    wherefore ask scenes:13 "what colour is the car?" --answer red --answer blue

    Three networks side by side:

    wherefore ask scenes:17 "is there a dog?" -m scenes:vqa-alexnet -m scenes:vqa -m scenes:coattention --out out

    The co-attention model, layer by layer:

    wherefore ask scenes:17 "is there a dog?" --model scenes:coattention --layer sweep --out out
    """
    from wherefore import told
    from wherefore.batch.local import find_pictures
    from wherefore.explainer import Explainer
    from wherefore.guard import unwrap
    from wherefore.saving import can_be_made, file_name
    from wherefore.telling import ToldRun
    from wherefore.ways import by_layer, first_readable, is_pattern

    folder = can_be_made(out) if out else None
    given = {"fit": fit, **console.options([method], option or [])}
    names = list(dict.fromkeys(model or ["scenes:vqa"]))
    if len(names) > 1 and layer:
        raise Error("--layer belongs to one network: give one --model.")
    if weights and len(weights) != len(names):
        raise Error(f"{len(weights)} --weights do not fit {len(names)} --model: give one for each, in the same order.")
    if answer and top is not None:
        raise Error("--top is how many of the likeliest answers, --answer names them: give one of the two.")
    paths = find_pictures([image], folder)
    files: Sequence[Path | None] = weights or [None] * len(names)
    networks = {name: load_model(name, file, device) for name, file in zip(names, files, strict=True)}
    first = networks[names[0]]
    asked: dict[str, Any] = {"question": question, "wanted": answer or (), "fine": folder is not None}
    if layer and is_pattern(unwrap(first.net), layer):
        ways = by_layer(first, first_readable(Explainer(first), paths), layer, method, question, **given)
        tell: Any = partial(told.compared, ways, **{**asked, "fine": False}, most=1 if top is None else top)
    elif len(names) > 1:
        ways = {name: Explainer(network, method, **given) for name, network in networks.items()}
        tell = partial(told.compared, ways, **asked, most=1 if top is None else top)
    else:
        tell = partial(told.answered, Explainer(first, method, layer, **given), **asked, most=5 if top is None else top)
    _told(ToldRun(tell, paths, file_name(question), folder, colours, scale), json)


def _told(run: ToldRun, json: bool) -> None:
    """Runs it, writes the manifest, prints what was told, and ends with the status of it all."""
    from wherefore.progress import track
    from wherefore.saving import write_json

    reports = list(track(run, len(run.paths), "looking"))
    errors = [(str(r["image"]), str(r["error"])) for r in reports if "error" in r]
    if len(errors) == len(reports):
        first, *others = dict.fromkeys(error for _, error in errors)
        raise Error(f"{first} And {len(others)} more like it." if others else first)
    result = {**run.origin, "images": reports}
    if run.out:
        for name in ("manifest.json", f"{run.what}.manifest.json"):  # the first is that of the last run in the folder
            write_json(run.out / name, result)
    if json:
        print(json_module.dumps(result, indent=1, allow_nan=False))
    else:
        reporting.reports(reports)
    for image, error in errors:
        console.complain(error if image in error else f"{image}: {error}")
    raise typer.Exit(1 if errors else 0)
