"""The command line: each command a few lines over the library; torch is imported only by commands that need it."""

from __future__ import annotations

import io
import json as json_module
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from wherefore import __version__, console
from wherefore.errors import Error

app = typer.Typer(
    name="wherefore",
    help="Shows where a network looked and why it decided as it did.",
    epilog="Try: wherefore explain photo.jpg --target top5        then: wherefore explain --help",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

ModelName = Annotated[str, typer.Option("--model", "-m", help="A name that `wherefore models` lists.")]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", "-w", help="A local state dict (.safetensors, .pth) in place of the download."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"wherefore {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


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
            help="One that `wherefore methods` lists; several, or all: one page per picture.", show_default="grad-cam"
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            help="One that `wherefore layers` lists; all, or a pattern such as 'layer4.*': one page per picture."
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
        str, typer.Option(help="model: the network sees its own crop; squash: it sees the whole picture, squashed.")
    ] = "model",
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")] = None,
    compile: Annotated[
        bool, typer.Option("--compile", help="Compile the part below the layer: pays off from about 1,000 pictures.")
    ] = False,
    colours: Annotated[
        str,
        typer.Option(
            help="heat (even steps of lightness) or jet (the paper's); methods that give pixels are drawn in grey."
        ),
    ] = "heat",
    scale: Annotated[
        str,
        typer.Option(
            help="each: every map up to its own maximum; common: one scale for all targets of a picture and method."
        ),
    ] = "each",
    truth: Annotated[
        bool, typer.Option("--truth", help="Also draw what is known of a scene (scenes:17) beside its maps.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Say whether each map is true to the network here; some seconds a picture.")
    ] = False,
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

    A method's own options:

    wherefore explain cat_dog.jpg --method occlusion -O patch=48 -O stride=24
    """
    from wherefore import panels
    from wherefore.batch.local import find_pictures
    from wherefore.inputs import is_scene, reads_texts
    from wherefore.progress import track
    from wherefore.saving import can_be_made, write_json
    from wherefore.ways import asked, none_read

    folder = can_be_made(out or "explained") if out or not json else None
    methods = method or ["grad-cam"]
    given = {"fit": fit, "compile": compile, "flips": flips, **console.options(methods, option or [])}
    given |= {"counter": True} if counter else {}
    given |= {"output": output} if output else {}
    if truth and not all(map(is_scene, images)):
        raise Error("--truth draws what is known of scenes: give scenes:17 or the like.")
    # Wrong paths are told before a network is loaded for nothing; of what hf: holds only the network tells if it reads.
    paths: list[str | Path] = [] if model.startswith("hf:") else [*find_pictures(images, folder)]
    loaded = _load(model, weights, device, classes)
    paths = paths or ([*images] if reads_texts(loaded) else [*find_pictures(images, folder)])
    ways = asked(loaded, paths, methods, layer, **given)
    wanted: Any = target if target and len(target) > 1 else (target[0] if target else None)
    run = panels.run(ways, paths, wanted, folder, colours=colours, scale=scale, truth=truth, check=check)
    reports = list(track(run, len(paths), "explaining"))
    errors = [r["error"] for r in reports if "error" in r]
    if len(errors) == len(reports):
        raise Error(none_read(errors))
    result = {**run.origin, "images": reports}
    if folder:
        write_json(folder / "manifest.json", result)
    if json:
        print(json_module.dumps(result, indent=1, allow_nan=False))
    else:
        console.reports(reports)
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
    """List every layer that can be explained, its grid, which one is the default and why."""
    from wherefore.explainer import Explainer
    from wherefore.guard import any_score
    from wherefore.layers import find_layers
    from wherefore.models.zoo import load

    names = console.class_names(classes) if classes else None
    why = Explainer(load(model, weights or ("default" if pretrained else None), classes=names))
    net, images = why.fed(why.reader.example())
    with any_score(why.net):  # a detector sees nothing in noise
        found = find_layers(net, images, lambda output: why.choose(None, output))
    default = found.default.name if found.default else None
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


@app.command()
def models(
    part: Annotated[
        str, typer.Argument(help="Only names with this in them; timm:PART looks among timm's, scenes: among ours.")
    ] = "",
    source: Annotated[
        str | None, typer.Option(help="torchvision, timm, scenes, caffe or preact.", show_default="torchvision")
    ] = None,
    json: AsJson = False,
) -> None:
    r"""List the models that can be named with --model.

    torchvision's: classifiers, semantic segmentation (fcn, deeplabv3, lraspp),
    detection (fasterrcnn, retinanet, ssd ...) and video (r3d_18, mvit ...).
    timm's have the prefix timm: and need pip install 'wherefore\[models]'.
    Those that the package carries, trained on drawn scenes, have scenes:, and a
    card each: how it was trained, how good it is, its limits.
    The paper's own, as Caffe has them, have caffe:, and its ResNet-200 preact:;
    their weights are given with --weights (see wherefore convert).

    Not listed: hf:ORG/NAME is any repository of Hugging Face's whose network
    transformers has (classifiers, CLIP, segmentation, detection, video, text),
    hf:./FOLDER the same in a folder of your own.

    [bold]Examples[/bold]

    wherefore models resnet

    wherefore models timm:vit_small

    wherefore models scenes:vgg
    """
    from wherefore.models import named
    from wherefore.models.scenes import card, scenes_names

    if part in {f"scenes:{name}" for name in scenes_names()}:
        about = card(part.removeprefix("scenes:"))
        print(json_module.dumps(about, indent=1) if json else "\n".join(console.card(about)))
        return
    names = named(part, source)
    print(json_module.dumps(names) if json else "\n".join(names))
    if not part and source is None and not json:
        print("more: wherefore models scenes: (in the package), timm:PART; hf:ORG/NAME goes, too.", file=sys.stderr)


@app.command()
def methods(
    name: Annotated[str | None, typer.Argument(help="One method: all that there is to say of it.")] = None,
    json: AsJson = False,
) -> None:
    """List the methods of explanation and their cost; of one, also its source, formula and options."""
    import wherefore.methods  # noqa: F401  fills the registry
    from wherefore.options import method_options
    from wherefore.registry import METHODS

    chosen = {name: METHODS[name]} if name else METHODS
    rows = [
        {
            "method": name,
            "what": entry.summary,
            "source": entry.about["paper"],
            "cost": entry.about["cost"],
            "options": method_options(name),
        }
        for name, entry in chosen.items()
    ]
    if json:
        print(json_module.dumps(rows, indent=1))
    elif name:
        console.method(rows[0], METHODS[name].run.__doc__ or "")
    else:
        console.methods(rows)


@app.command()
def metrics(
    name: Annotated[str | None, typer.Argument(help="One metric: all that there is to say of it.")] = None,
    json: AsJson = False,
) -> None:
    """List the metrics that maps are measured with; of one, also its definition."""
    import wherefore.metrics  # noqa: F401  fills the registry
    from wherefore.registry import METRICS

    chosen = {name: METRICS[name]} if name else METRICS
    rows = [{"metric": name, "what": entry.summary, **entry.about} for name, entry in chosen.items()]
    if json:
        print(json_module.dumps(rows, indent=1))
    elif name:
        console.metric(rows[0], METRICS[name].run.__doc__ or "")
    else:
        console.metrics(rows)


@app.command()
def datasets(
    spec: Annotated[
        str | None, typer.Argument(help="One of them, voc:DIR: open it and check every picture.", show_default=False)
    ] = None,
    split: Annotated[str, typer.Option(help="test, dev or train; or a part by its own name: trainval.")] = "test",
    json: AsJson = False,
) -> None:
    """List the data sets that --data takes; of one on disk, say what is in it and what is wrong with it.

    Exit status 1 if none of its pictures can be used.

    [bold]Examples[/bold]

    wherefore datasets

    wherefore datasets voc:VOCdevkit/VOC2012 --split trainaug
    """
    import wherefore.datasets as data
    from wherefore.registry import DATASETS

    if spec is None:
        rows = [{"data": e.about["names"], "what": e.summary} for e in DATASETS.values()]
        print(json_module.dumps(rows, indent=1)) if json else console.table(None, [[*row.values()] for row in rows])
        return
    report = data.report(data.opened(spec, split))
    print(json_module.dumps(report, indent=1)) if json else console.dataset(report)
    raise typer.Exit(0 if report["usable"] else 1)


@app.command()
def experiments(json: AsJson = False) -> None:
    """List the experiments: what each measures, the section of the paper that it reruns, and how long it takes."""
    import wherefore.experiments  # noqa: F401  fills the registry
    from wherefore.registry import EXPERIMENTS

    rows = [{"experiment": name, "what": entry.summary, **entry.about} for name, entry in EXPERIMENTS.items()]
    print(json_module.dumps(rows, indent=1)) if json else console.experiments(rows)


@app.command()
def experiment(
    name: Annotated[str, typer.Argument(help="One of `wherefore experiments`, or all.", show_default=False)],
    data: Annotated[str, typer.Option(help="scenes, imagenet:DIR, voc:DIR, coco:DIR or folder:DIR.")] = "scenes",
    model: Annotated[
        str | None, typer.Option(help="A network in place of the shipped ones.", show_default="scenes:vgg and others")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="A file of its weights.")] = None,
    limit: Annotated[int | None, typer.Option(help="How many pictures.", show_default="the experiment's")] = None,
    seed: Annotated[int, typer.Option(help="Which pictures, and whatever else is drawn.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Few pictures: to see that it works.")] = False,
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

    settings = experiments.Settings(data, model, str(weights) if weights else None, limit, seed, quick, device)
    if name == "all":
        found = run_all(settings, out, lambda line: print(line, file=sys.stderr))
        print(json_module.dumps(found, indent=1)) if json else print(out / "index.html")
        return
    report = experiments.run(name, settings, out)
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
    """Tell the story of Grad-CAM on the package's own pictures and networks: one HTML page, offline, in a minute."""
    from wherefore import demo

    print(demo.run(out))


@app.command()
def train(
    name: Annotated[
        str, typer.Argument(help="vgg, googlenet ... as `wherefore models scenes:` lists.", show_default=False)
    ],
    epochs: Annotated[
        int | None, typer.Option(help="Passes through the pictures.", show_default="the recipe's")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for weights, card and checkpoint.")] = Path(
        "trained"
    ),
    seed: Annotated[int | None, typer.Option(help="Of the weights and the order.", show_default="the recipe's")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not go on from a checkpoint: start anew.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1.")] = None,
) -> None:
    """Train one of the shipped networks anew, on scenes, and measure it on test scenes.

    On two cores: vgg 22 minutes, vgg-cam 6 (it starts from vgg), alexnet 6,
    googlenet 20, resnet 14, places 6 (from vgg), people-... 1.

    Scenes are drawn once (two minutes), and kept in ~/.cache/wherefore. A run
    that is stopped goes on after its last whole epoch when the same command is
    given again. Another --seed needs another --out, or --fresh.

    [bold]Examples[/bold]

    wherefore train vgg

    wherefore explain photo.png --model scenes:vgg --weights trained/vgg.safetensors
    """
    from wherefore.models.scenes import shipped
    from wherefore.training import train

    card = train(name, out, epochs, seed, not fresh, device)
    console.accuracy(card["accuracy"], shipped(name).get("accuracy", []))
    print(f"\n{out / name}.safetensors, {out / name}.json")


@app.command()
def finetune(
    model: Annotated[str, typer.Argument(help="A name that `wherefore models` lists.", show_default=False)],
    data: Annotated[str, typer.Option(help="voc:DIR, coco:DIR, folder:DIR or scenes.", show_default=False)],
    weights: Weights = None,
    split: Annotated[str, typer.Option(help="What is trained on; test is measured on.")] = "train",
    epochs: Annotated[int, typer.Option(help="Passes through the pictures.")] = 30,
    limit: Annotated[
        int | None, typer.Option(help="Only the first so many pictures of each split.", show_default="all")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for weights, card and checkpoint.")] = Path(
        "finetuned"
    ),
    seed: Annotated[int, typer.Option(help="Of the new head and the order.")] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not go on from a checkpoint: start anew.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1.")] = None,
) -> None:
    """Teach a network the classes of a data set, several in a picture, and measure its average precision.

    The last layer is replaced by a new one with a sigmoid for each class. A run
    that is stopped goes on after its last whole epoch when the same command is
    given again. The file that is written knows its classes.

    [bold]Examples[/bold]

    wherefore finetune vgg16 --data voc:VOC2007

    wherefore finetune caffe:vgg16 --weights vgg16.safetensors --data coco:COCO --split train

    wherefore explain photo.jpg --model vgg16 --weights finetuned/vgg16.safetensors --target all
    """
    from wherefore.training import finetune

    start, resume = weights or "default", not fresh
    card = finetune(
        model, data, split=split, out=out, epochs=epochs, limit=limit, seed=seed, weights=start, resume=resume,
        device=device,
    )  # fmt: skip
    console.precision(card["accuracy"])
    print(f"\n{out / card['file']}")


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="The .caffemodel.", show_default=False)],
    model: Annotated[str, typer.Option("--model", "-m", help="One that `wherefore models caffe:` lists.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .safetensors file to be written.")],
) -> None:
    """Convert Caffe's weights of the paper's networks into safetensors.

    [bold]Examples[/bold]

    wherefore convert VGG_ILSVRC_16_layers.caffemodel --model caffe:vgg16 --out vgg16.safetensors

    wherefore explain photo.jpg --model caffe:vgg16 --weights vgg16.safetensors
    """
    from wherefore.models.caffe import convert

    print(convert(file, model, out))


@app.command()
def scenes(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for them.")] = Path("scenes"),
    format: Annotated[
        str,
        typer.Option(help="pictures (to look at), or a real data set's: imagenet, voc, coco, vqa, broden."),
    ] = "pictures",
    count: Annotated[int, typer.Option("--count", "-n", help="How many, from scene 0.")] = 36,
    objects: Annotated[
        int | None, typer.Option(help="1 to 4 in each; for imagenet 1.", show_default="any number")
    ] = None,
    split: Annotated[str, typer.Option(help="train, dev or test.")] = "test",
    size: Annotated[int, typer.Option(help="Pixels on a side.")] = 128,
) -> None:
    """Draw scenes, the package's own annotated world, and write them to disk.

    They stand in for real data sets: numbers on scenes are not the paper's numbers.

    As pictures: PNG files, a sheet of them, and what is known of each (boxes,
    looks, captions, questions and answers) as JSON lines. In the format of a real
    data set: with masks, parts and all that it has, for whatever reads that.

    [bold]Examples[/bold]

    wherefore scenes --count 100 --out scenes

    wherefore scenes --format voc --count 500 --out voc

    wherefore scenes --format imagenet --split train --count 2000 --out imagenet
    """
    from wherefore.scenes.formats import export

    print(export(format, out, count, split, objects, size))


@app.command()
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="The headlines, in about four minutes of two cores.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for bench.json and bench.md.")] = None,
) -> None:
    r"""Measure speed and memory beside other libraries, as ratios to the network's plain forward pass.

    Captum, pytorch-grad-cam and torch-cam take part where they are installed: pip install 'wherefore\[bench]'.
    """
    from wherefore import bench

    print(bench.run(quick, out).table())


# -------------------------------------------------------------------------------------------- helpers


def _load(name: str, weights: Path | None, device: str | None, classes: Path | None = None) -> Any:
    from wherefore.models.zoo import load, moved

    names = console.class_names(classes) if classes else None
    return moved(load(name, weights or "default", classes=names), device)


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    console.complain(str(message))


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line; what the user can mend is one line on stderr and exit status 2."""
    warnings.showwarning = _warn
    warnings.filterwarnings("ignore", module=r"PIL\.")  # what is wrong with a picture is said by our own error
    if isinstance(sys.stdout, io.TextIOWrapper):  # file names may hold what the terminal cannot show
        sys.stdout.reconfigure(errors="backslashreplace")
    run: Callable[..., Any] = app
    try:
        sys.exit(run(args=argv, standalone_mode=False))
    except Error as error:
        console.complain(str(error))
        sys.exit(2)
    except TyperException as error:
        if error.format_message():  # else the help has been printed, for want of a command
            console.complain(f"{error.format_message().rstrip('.')}: see `wherefore --help`.")
        sys.exit(2)
    except KeyboardInterrupt:
        console.complain("interrupted.")
        sys.exit(130)
