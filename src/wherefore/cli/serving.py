"""The command that serves the demo page and REST: serve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wherefore import console
from wherefore.cli import completing
from wherefore.cli.app import app, load_model
from wherefore.errors import Error


@app.command()
def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 7860,
    host: Annotated[
        str, typer.Option(help="127.0.0.1: this machine alone; 0.0.0.0: whoever reaches it.")
    ] = "127.0.0.1",
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="One that `wherefore models` lists; several times for several. Requests can name no other.",
            show_default="some of scenes:",
            autocompletion=completing.models,
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(help="A file with the token that callers must show.", show_default="the variable WHEREFORE_TOKEN"),
    ] = None,
    queue: Annotated[
        int, typer.Option(min=1, help="How many requests may be under way; more are told to try again.")
    ] = 64,
    batch: Annotated[int, typer.Option(min=1, help="How many pictures go through a network together.")] = 8,
    max_pixels: Annotated[int, typer.Option(min=1, help="The largest picture.")] = 16_000_000,
    max_upload: Annotated[float, typer.Option(min=0.001, help="The largest request, in MB.")] = 10,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps.")] = None,
) -> None:
    """Serve a page on which anyone can drop a picture and see where a network looked, and REST beside it.

    The page is at /, the description of REST at /docs, figures for Prometheus
    at /metrics. Pictures of several users go through a network together. It
    stops on SIGINT (Ctrl-C) or SIGTERM, when what was begun is done.

    [bold]Examples[/bold]

    wherefore serve

    wherefore serve --model resnet50 --model hf:Salesforce/blip-image-captioning-base --device cuda --batch 32

    For others, with a token:

    openssl rand -hex 32 > token; wherefore serve --host 0.0.0.0 --token-file token

    Asking it:

    curl -F image=@photo.jpg -F target=top5 http://127.0.0.1:7860/v1/explain
    """
    try:
        from wherefore.listening import address, listen
        from wherefore.web import running
        from wherefore.web.app import create_app
        from wherefore.web.settings import SHIPPED, Settings, token
    except ImportError as error:
        library = str(error.name or error).split(".")[0]
        raise Error(f"the service needs {library}: pip install 'wherefore[serve]'") from None

    settings = Settings(token(token_file), queue, batch, most_bytes=round(max_upload * 2**20), most_pixels=max_pixels)
    listening = listen(host, port)
    models = {name: load_model(name, None, device) for name in dict.fromkeys(model or SHIPPED)}
    service = create_app(models, settings)
    if not running.is_local(listening) and settings.token is None:
        console.complain("whoever reaches this machine can use the service: --token-file asks for a token.")
    print(f"{address(listening)}  page, /docs, /metrics; Ctrl-C ends it", flush=True)
    running.serve(service, listening)
