"""Commands that explain pictures: explain, layers."""

from __future__ import annotations

import json as json_module
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from wherefore import console
from wherefore.cli import completing, reporting
from wherefore.cli.app import AsJson, Below, ModelName, Tune, Weights, app, load_model, tuned_or_named
from wherefore.errors import Error


@app.command()
def explain(
    images: Annotated[
        list[str],
        typer.Argument(
            help="Pictures, and folders of pictures; scenes (scenes:17); videos or texts for a model of these.",
            show_default=False,
        ),
    ],
    model: ModelName = "resnet50",
    weights: Weights = None,
    classes: Annotated[
        Path | None, typer.Option(help="Names of your own classes, one on a line: for --weights with another head.")
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option("--target", "-t", help="A class by name or index, top5, or all; may be given several times."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="One that `wherefore methods` lists; several, or all: one page per picture.",
            show_default="grad-cam",
            autocompletion=completing.methods,
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            help="One that `wherefore layers` lists; all, a pattern such as 'layer4.*', or sweep (from the first to "
            "the last, as in the paper's Figure 13): one page per picture."
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-O", help="NAME=VALUE, as `wherefore methods METHOD` lists them: patch=48."),
    ] = None,
    counter: Annotated[
        bool, typer.Option("--counter", help="Also draw what speaks against each target, beside it.")
    ] = False,
    output: Annotated[
        str | None, typer.Option(help="Which part of what the network returns holds the scores: a name or an index.")
    ] = None,
    flips: Annotated[bool, typer.Option("--flips", help="Smooth: mean with the mirrored picture's map.")] = False,
    fit: Annotated[
        str,
        typer.Option(
            help="model: the network sees its own crop; squash: it sees the whole picture, squashed.",
            autocompletion=completing.words("model", "squash"),
        ),
    ] = "model",
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")] = None,
    compile: Annotated[
        bool, typer.Option("--compile", help="Compile the part below the layer: pays off from about 1,000 pictures.")
    ] = False,
    tune: Tune = False,
    below: Below = None,
    colours: Annotated[
        str,
        typer.Option(
            help="heat (even steps of lightness) or jet (the paper's); methods that give pixels are drawn in grey.",
            autocompletion=completing.words("heat", "jet"),
        ),
    ] = "heat",
    scale: Annotated[
        str,
        typer.Option(
            help="each: every map up to its own maximum; common: one scale for all targets of a picture and method.",
            autocompletion=completing.words("each", "common"),
        ),
    ] = "each",
    truth: Annotated[
        bool, typer.Option("--truth", help="Also draw what is known of a scene (scenes:17) beside its maps.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Say whether each map is true to the network here; some seconds a picture.")
    ] = False,
    words: Annotated[
        Path | None, typer.Option(help="Names of units that `wherefore dissect` wrote: say why, and draw the units.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the results (default: explained).")
    ] = None,
    json: AsJson = False,
) -> None:
    """Draw where the network saw evidence for each target, and say how much.

    Writes an overlay per target, the raw maps (NAME.safetensors) and manifest.json
    into --out. With --json alone nothing is written. Exit status 1 if some of the
    pictures could not be read, 2 if nothing could be done.

    [bold]Examples[/bold]

    wherefore explain cat_dog.jpg --target "tiger cat" --target boxer

    wherefore explain photos/ --model vgg16 --target top5 --out maps --json

    Every method on one page:

    wherefore explain cat_dog.jpg --target boxer --method all

    A text, with a weight for every word (hf: takes any repository or folder):

    wherefore explain "A quiet, moving film." --model hf:ORG/NAME

    A scene of the drawn world, by a network that the package carries:

    wherefore explain scenes:17 --model scenes:vgg --truth

    Every layer below features on one page:

    wherefore explain cat_dog.jpg --model vgg16 --layer "features.*"

    Why in words, by the names of units:

    wherefore explain scenes:17 --model scenes:places --words units.csv

    A method's own options:

    wherefore explain cat_dog.jpg --method occlusion -O patch=48 -O stride=24

    As fast as this machine can, measured first:

    wherefore explain photos/ --tune
    """
    from wherefore import concepts, panels
    from wherefore.batch.local import find_pictures, tuned_for
    from wherefore.inputs import is_scene, reads_texts
    from wherefore.progress import track
    from wherefore.saving import can_be_made, write_json
    from wherefore.ways import asked, none_read

    folder = can_be_made(out or "explained") if out or not json else None
    methods = method or ["grad-cam"]
    given = {"fit": fit, "compile": compile, "flips": flips, **console.options(methods, option or [])}
    given |= {"counter": True} if counter else {}
    given |= {"below": below} if below else {}
    given |= {"output": output} if output else {}
    if tuned_or_named(tune, below) and compile:
        raise Error("--compile is one of the ways that --tune measures: leave one of them out.")
    if truth and not all(map(is_scene, images)):
        raise Error("--truth draws what is known of scenes: give scenes:17 or the like.")
    # Wrong paths are told before a network is loaded for nothing; of what hf: holds only the network tells if it reads.
    paths: list[str | Path] = [] if model.startswith("hf:") else [*find_pictures(images, folder)]
    loaded = load_model(model, weights, device, classes)
    paths = paths or ([*images] if reads_texts(loaded) else [*find_pictures(images, folder)])
    ways = asked(loaded, paths, methods, layer, **given)
    wanted: Any = target if target and len(target) > 1 else (target[0] if target else None)
    tuned = tuned_for(ways, paths, wanted) if tune else None
    ways = tuned.explainer if tuned else ways
    tell = partial(concepts.words, names=concepts.read(words)) if words else None
    run = panels.run(ways, paths, wanted, folder, colours=colours, scale=scale, truth=truth, check=check, words=tell)
    reports = list(track(run, len(paths), "explaining"))
    errors = [r["error"] for r in reports if "error" in r]
    if len(errors) == len(reports):
        raise Error(none_read(errors))
    result = {**run.origin, **({"tuned": tuned.report()} if tuned else {}), "images": reports}
    if folder:
        write_json(folder / "manifest.json", result)
    if json:
        print(json_module.dumps(result, indent=1, allow_nan=False))
    else:
        reporting.reports(reports)
    for error in errors:
        console.complain(error)
    raise typer.Exit(1 if errors else 0)


@app.command()
def layers(
    model: ModelName = "resnet50",
    weights: Weights = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained/--no-pretrained", help="Without: random weights, nothing is downloaded.")
    ] = True,
    classes: Annotated[
        Path | None, typer.Option(help="Names of your own classes, one on a line; the prompts of a CLIP.")
    ] = None,
    json: AsJson = False,
) -> None:
    """List every layer that can be explained, its grid, which one is the default and why.

    [bold]Examples[/bold]

    wherefore layers --model vgg16

    wherefore layers --model resnet50 --no-pretrained
    """
    from wherefore.explainer import Explainer
    from wherefore.guard import any_score
    from wherefore.layers import find_layers
    from wherefore.models.zoo import load

    names = console.class_names(classes) if classes else None
    why = Explainer(load(model, weights or ("default" if pretrained else None), classes=names))
    net, images = why.fed(why.reader.example())
    with any_score(why.net):  # a detector sees nothing in noise
        found = find_layers(net, images, lambda output: why.choose(None, output))
    default = why.layer or (found.default.name if found.default else None)
    rows: list[dict[str, Any]] = [
        {
            "layer": each.name,
            "grid": list(each.grid.size),
            "channels": each.channels,
            "default": each.name == default,
            "note": each.note,
        }
        for each in found.every
    ]
    rejected = [{"layer": name, "why": why} for name, why in found.rejected]
    if json:
        print(json_module.dumps({"model": model, "default": default, "layers": rows, "rejected": rejected}, indent=1))
        return
    table = [
        [("* " if r["default"] else "  ") + r["layer"], console.by(r["grid"]), str(r["channels"]), r["note"]]
        for r in rows
    ]
    console.table(["layer", "grid", "channels", ""], table)
    if rejected:
        print()
        console.table(["cannot be explained", "why"], [[r["layer"], r["why"]] for r in rejected])
    print(
        f"\ndefault: {default} ({found.default.note})" if found.default else "\nno default: name a layer with --layer"
    )
