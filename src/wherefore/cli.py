"""The command line: each command a few lines over the library; torch is imported only by commands that need it."""

from __future__ import annotations

import inspect
import io
import json as json_module
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from wherefore import __version__
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
    images: Annotated[list[str], typer.Argument(help="Pictures, and folders of pictures.", show_default=False)],
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
        typer.Option(help="One that `wherefore layers` lists; all, or a pattern as 'layer4.*': one page per picture."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-O", help="NAME=VALUE, as `wherefore methods METHOD` tells them: patch=48."),
    ] = None,
    flips: Annotated[bool, typer.Option("--flips", help="Smooth: mean with the mirrored picture's map.")] = False,
    fit: Annotated[
        str, typer.Option(help="model: the network sees its own crop; squash: it sees the whole picture, squashed.")
    ] = "model",
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")] = None,
    compile: Annotated[
        bool, typer.Option("--compile", help="Compile the part below the layer: pays off from about 1,000 pictures.")
    ] = False,
    colours: Annotated[str, typer.Option(help="heat (even steps of lightness) or jet (the paper's).")] = "heat",
    scale: Annotated[
        str, typer.Option(help="each: every map up to its own maximum; common: one scale for all targets of a picture.")
    ] = "each",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the results (default: explained).")
    ] = None,
    json: AsJson = False,
) -> None:
    """Draw where the network saw evidence for each target, and say how much.

    Writes an overlay per target, the raw maps (NAME.safetensors) and manifest.json into --out. With --json alone
    nothing is written. Exit status 1 if some of the pictures could not be read, 2 if nothing could be done.

    [bold]Examples[/bold]

    wherefore explain cat_dog.jpg --target "tiger cat" --target boxer

    wherefore explain photos/ --model vgg16 --target top5 --out maps --json

    wherefore explain cat_dog.jpg --target boxer --method all          every method on one page

    wherefore explain cat_dog.jpg --model vgg16 --layer "features.*"   every layer on one page

    wherefore explain cat_dog.jpg --method occlusion -O patch=48 -O stride=24
    """
    from wherefore.batch.local import find_pictures
    from wherefore.progress import track
    from wherefore.saving import can_be_made, write_json

    folder = can_be_made(out or "explained") if out or not json else None
    paths = find_pictures(images, folder)
    wanted: Any = target if target and len(target) > 1 else (target[0] if target else None)
    ways = {"fit": fit, "compile": compile, "flips": flips, **_options(method or ["grad-cam"], option or [])}
    run = _run(_load(model, weights, device, classes), paths, wanted, folder, method, layer, ways, colours, scale)
    images_done = list(track(run, len(paths), "explaining"))
    bad = [r for r in images_done if "error" in r]
    if len(bad) == len(images_done):
        raise Error(
            bad[0]["error"] if len(bad) == 1 else "no picture could be read: " + " ".join(r["error"] for r in bad)
        )
    result = {**run.origin, "images": images_done}
    if folder:
        write_json(folder / "manifest.json", result)
    if json:
        print(json_module.dumps(result, indent=1, allow_nan=False))
    else:
        _print_reports(images_done)
    for report in bad:
        _complain(report["error"])
    raise typer.Exit(1 if bad else 0)


@app.command()
def layers(
    model: ModelName = "resnet50",
    weights: Weights = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained/--no-pretrained", help="Without: random weights, nothing is downloaded.")
    ] = True,
    json: AsJson = False,
) -> None:
    """List every layer that can be explained, its grid, which one is the default and why."""
    import torch

    from wherefore.layers import find_layers
    from wherefore.models.zoo import load
    from wherefore.targets import choose

    chosen = load(model, weights or ("default" if pretrained else None))
    side = getattr(chosen.preprocess, "crop", 224)
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, side, side, generator=generator)
    found = find_layers(chosen.net, image, lambda output: choose(None, output))
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
        [("* " if r["default"] else "  ") + r["layer"], _by(r["grid"]), str(r["channels"]), r["note"]] for r in rows
    ]
    _print_table(["layer", "grid", "channels", ""], table)
    if rejected:
        print()
        _print_table(["cannot be explained", "why"], [[r["layer"], r["why"]] for r in rejected])
    print(
        f"\ndefault: {default} ({found.default.note})" if found.default else "\nno default: name a layer with --layer"
    )


@app.command()
def models(
    part: Annotated[str, typer.Argument(help="Only names with this in them.")] = "", json: AsJson = False
) -> None:
    """List the models that can be named with --model."""
    from wherefore.models.zoo import torchvision_names

    names = [name for name in torchvision_names() if part in name]
    if not names:
        raise Error(f"no model's name has {part!r} in it: `wherefore models` lists them all.")
    print(json_module.dumps(names) if json else "\n".join(names))


@app.command()
def methods(
    name: Annotated[str | None, typer.Argument(help="One method: all that there is to say of it.")] = None,
    json: AsJson = False,
) -> None:
    """List the methods of explanation, each with its source and its cost; of one, formula and options too."""
    import wherefore.methods  # noqa: F401  fills the registry
    from wherefore.explainer import method_options
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
        print(inspect.getdoc(METHODS[name].run))
        print(f"\nsource: {rows[0]['source']}\ncost: {rows[0]['cost']}")
        options = [f"{key}={value}" for key, value in method_options(name).items()]
        print("options (with -O): " + (", ".join(options) or "none"))
    else:
        _print_table(["method", "what comes out", "source", "cost"], [[r[k] for k in list(r)[:4]] for r in rows])


@app.command()
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="The headlines, in about four minutes of two cores.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for bench.json and bench.md.")] = None,
) -> None:
    """Measure speed and memory beside other libraries, as ratios to the network's plain forward pass.

    Captum, pytorch-grad-cam and torch-cam take part where they are installed: pip install 'wherefore[bench]'.
    """
    from wherefore import bench

    print(bench.run(quick, out).table())


# -------------------------------------------------------------------------------------------- helpers


def _load(name: str, weights: Path | None, device: str | None, classes: Path | None = None) -> Any:
    import torch

    from wherefore.models.zoo import load

    names = _lines(classes) if classes else None
    model = load(name, weights or "default", classes=names)
    if device:
        try:
            model.net.to(torch.device(device))
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise Error(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from None
    return model


def _run(
    model: Any, paths: Any, target: Any, folder: Any, method: Any, layer: Any, ways: Any, colours: str, scale: str
) -> Any:
    """What explains each file: by one method at one layer, or a page of several."""
    from wherefore import panels
    from wherefore.batch.local import FileRun
    from wherefore.explainer import Explainer

    many_methods = bool(method) and (len(method) > 1 or method == ["all"])
    many_layers = layer is not None and (layer == "all" or "*" in layer)
    if many_methods and many_layers:
        raise Error("a page shows several methods or several layers, not both: give one --method or one --layer.")
    name = method[0] if method else "grad-cam"
    look: Any = {"colours": colours, "scale": scale}
    if many_methods:
        return panels.PanelRun(panels.by_method(model, method, layer, **ways), paths, target, folder, **look)
    if many_layers:
        readable = next(path for path in paths if path.is_file())
        return panels.PanelRun(panels.by_layer(model, readable, layer, name, **ways), paths, target, folder, **look)
    return FileRun(Explainer(model, name, layer, **ways), paths, target, folder, **look)


def _options(methods: Sequence[str], pairs: Sequence[str]) -> dict[str, Any]:
    """The values of ``NAME=VALUE`` pairs, of the type that the methods' defaults have."""
    from wherefore.explainer import method_options
    from wherefore.registry import METHODS, unknown

    known: dict[str, Any] = {}
    for name in METHODS if list(methods) == ["all"] else methods:
        known |= method_options(name)
    values = {}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        if not separator or name not in known:
            raise Error(f"--option {pair}: give NAME=VALUE; " + unknown("option of these methods", name, known))
        values[name] = _value(pair, text, known[name])
    return values


def _value(pair: str, text: str, default: Any) -> Any:
    if isinstance(default, str):
        return text
    words = {"true": True, "yes": True, "false": False, "no": False}
    if isinstance(default, bool):
        if text.lower() not in words:
            raise Error(f"--option {pair}: give true or false.")
        return words[text.lower()]
    try:
        return float(text) if isinstance(default, float) else int(text)
    except ValueError:
        raise Error(f"--option {pair}: {text!r} is no number.") from None


def _lines(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise Error(f"{path} cannot be read as text: {error}.") from None
    if not lines:
        raise Error(f"{path} names no classes: one on each line is wanted.")
    return lines


def _print_reports(reports: Sequence[dict[str, Any]]) -> None:
    for report in reports:
        if "error" in report:
            continue
        print(f"{report['image']}  {_by(report['size'])}")
        if "runs" in report:
            _print_runs(report)
            continue
        rows = []
        for t in report["targets"]:
            name = t["name"] if t["index"] is None else f"{t['name']} ({t['index']})"
            probability = "" if t["probability"] is None else f"p {t['probability']:.3f}"
            place = f"peak {t['peak'][0]},{t['peak'][1]}" if t["evidence"] else "no positive evidence"
            box = "box " + ",".join(map(str, t["box"])) if t["evidence"] else ""
            score = "no score" if t["score"] is None else f"score {t['score']:.2f}"
            rows.append(["  " + name, score, probability, place, box, t["files"].get("overlay", "")])
        _print_table(None, rows)


def _print_runs(report: dict[str, Any]) -> None:
    rows = []
    for run in report["runs"]:
        peaks = [f"{t['name']} {t['peak'][0]},{t['peak'][1]}" for t in run.get("targets", ())]
        rows.append([f"  {run['name']}", run.get("error") or "looked hardest at " + "; ".join(peaks)])
    _print_table(None, rows)
    if "files" in report:
        print(f"  {report['files']['page']}")


def _print_table(header: Sequence[str] | None, rows: Sequence[Sequence[str]]) -> None:
    """Columns of text, each as wide as its longest cell; plain, so that it can be piped and grepped."""
    lines = ([header] if header else []) + list(rows)
    widths = [max(len(str(line[i])) for line in lines) for i in range(len(lines[0]))] if lines else []
    for line in lines:
        print("  ".join(str(cell).ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _by(size: Sequence[int]) -> str:
    return "x".join(map(str, size))


def _complain(message: str) -> None:
    print(f"wherefore: {' '.join(message.split())}", file=sys.stderr)


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    _complain(str(message))


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
        _complain(str(error))
        sys.exit(2)
    except TyperException as error:
        if error.format_message():  # else the help has been printed, for want of a command
            _complain(f"{error.format_message().rstrip('.')}: see `wherefore --help`.")
        sys.exit(2)
    except KeyboardInterrupt:
        _complain("interrupted.")
        sys.exit(130)
