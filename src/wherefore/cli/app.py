"""The command line's frame: the options that commands share, and how it starts and ends."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from wherefore import __version__, console
from wherefore.cli import completing
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

ModelName = Annotated[
    str,
    typer.Option("--model", "-m", help="A name that `wherefore models` lists.", autocompletion=completing.models),
]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", "-w", help="A local state dict (.safetensors, .pth) in place of the download."),
]
Tune = Annotated[
    bool, typer.Option("--tune", help="Measure which way of running the network is fastest here, say so, and take it.")
]
Below = Annotated[
    str | None,
    typer.Option(
        help="The part below the layer: folded, channels-last, bfloat16, float16, graph, or several joined by +; "
        "compiled.",
        show_default="plain",
        autocompletion=completing.words("plain", "folded", "channels-last", "bfloat16", "float16", "graph", "compiled"),
    ),
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


def load_model(name: str, weights: Path | None, device: str | None, classes: Path | None = None) -> Any:
    """The `wherefore.types.Model` that options name, on its device; ``classes`` is a file of names. Raises `Error`."""
    from wherefore.models.zoo import load, moved

    names = console.class_names(classes) if classes else None
    return moved(load(name, weights or "default", classes=names), device)


def tuned_or_named(tune: bool, below: str | None) -> bool:
    """Whether it is to be tuned; an `Error` where what would be measured is named."""
    if tune and below:
        raise Error("--tune measures what --below would name: leave one of them out.")
    return tune


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
    except KeyboardInterrupt:
        console.complain("interrupted.")
        sys.exit(130)
    except Exception as error:
        # Typer's own errors, known by what they can do: their class is of another module in every other version.
        if not hasattr(error, "format_message"):
            raise
        if error.format_message():  # else the help has been printed, for want of a command
            console.complain(f"{error.format_message().rstrip('.')}: see `wherefore --help`.")
        sys.exit(2)
