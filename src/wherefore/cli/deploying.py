"""The command that makes a network ready for deployment without this package: export."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from wherefore import console
from wherefore.cli import completing
from wherefore.cli.app import AsJson, ModelName, Weights, app, load_model


@app.command()
def export(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="The file: explained.onnx, or .pt2 for torch.export.", show_default=False),
    ],
    model: ModelName = "resnet50",
    weights: Weights = None,
    classes: Annotated[Path | None, typer.Option(help="Names of your own classes, one on a line.")] = None,
    pretrained: Annotated[
        bool, typer.Option("--pretrained/--no-pretrained", help="Without: random weights, nothing is downloaded.")
    ] = True,
    method: Annotated[
        str,
        typer.Option(
            help="grad-cam, counterfactual, hires-cam, grad-cam++, xgrad-cam or layer-cam.",
            autocompletion=completing.methods,
        ),
    ] = "grad-cam",
    layer: Annotated[str | None, typer.Option(help="One that `wherefore layers` lists.")] = None,
    top1: Annotated[bool, typer.Option("--top1", help="No input target: explain the first answer.")] = False,
    batch: Annotated[
        int | None, typer.Option(min=1, help="For so many images at once only.", show_default="any number")
    ] = None,
    json: AsJson = False,
) -> None:
    """Write a network that returns its logits and its maps, to be run without wherefore and without Python.

    Inputs: image (B, 3, H, W), prepared as the network wants it, and target (B,),
    class indices, unless --top1. Outputs: logits (B, C), and maps (B, h, w), raw.
    What was written is run and compared with the network before it is kept.
    The file says model, weights' sha256, layer, preprocessing and classes.

    [bold]Examples[/bold]

    wherefore export --model resnet50 --out explained.onnx

    wherefore export --model scenes:vgg --top1 --out m.onnx

    wherefore export --model vit_b_16 --weights mine.pth --out explained.pt2
    """
    from wherefore.explainer import Explainer
    from wherefore.export import export as write
    from wherefore.models.zoo import load

    if pretrained or weights:
        found = load_model(model, weights, None, classes)
    else:
        found = load(model, None, classes=console.class_names(classes) if classes else None)
    written = write(Explainer(found, method, layer), out, top1=top1, batch=batch)
    if json:
        print(json_module.dumps({"file": str(written.path), **written.said}, indent=1))
    else:
        said = written.said
        inputs = ", ".join(
            f"{name} ({', '.join(map(str, shape)) or 'batch'})" for name, shape in said["inputs"].items()
        )
        print(f"{written.path}: {said['method']} of {said['model']} at {said['layer']}, {inputs}")
        print(f"tried: it differs from the network by {said['difference']:.1g} of the largest value")
