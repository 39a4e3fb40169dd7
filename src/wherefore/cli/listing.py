"""Commands that say what there is: models, methods, metrics, datasets, experiments."""

from __future__ import annotations

import json as json_module
import sys
from typing import Annotated

import typer

from wherefore import console
from wherefore.cli import completing
from wherefore.cli.app import AsJson, app


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
    name: Annotated[
        str | None,
        typer.Argument(help="One method: all that there is to say of it.", autocompletion=completing.methods),
    ] = None,
    json: AsJson = False,
) -> None:
    """List the methods of explanation and their cost; of one, also its source, formula and options.

    [bold]Examples[/bold]

    wherefore methods

    wherefore methods occlusion
    """
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
    """List the metrics that maps are measured with; of one, also its definition.

    [bold]Examples[/bold]

    wherefore metrics

    wherefore metrics pointing
    """
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
        rows = [{"data": e.about["names"], "what": e.summary} for _, e in sorted(DATASETS.items())]
        print(json_module.dumps(rows, indent=1)) if json else console.table(None, [[*row.values()] for row in rows])
        return
    report = data.report(data.opened(spec, split))
    print(json_module.dumps(report, indent=1)) if json else console.dataset(report)
    raise typer.Exit(0 if report["usable"] else 1)


@app.command()
def experiments(json: AsJson = False) -> None:
    """List the experiments: what each measures, the section of the paper that it reruns, and how long it takes.

    [bold]Examples[/bold]

    wherefore experiments

    wherefore experiment pointing
    """
    from wherefore.experiments.everything import in_order
    from wherefore.registry import EXPERIMENTS

    chosen = {name: EXPERIMENTS[name] for name in in_order()}
    rows = [{"experiment": name, "what": entry.summary, **entry.about} for name, entry in chosen.items()]
    print(json_module.dumps(rows, indent=1)) if json else console.experiments(rows)
