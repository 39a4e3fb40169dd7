"""Commands that make networks and pictures: train, finetune, convert, scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wherefore import console
from wherefore.cli import completing
from wherefore.cli.app import Weights, app


@app.command()
def train(
    name: Annotated[
        str, typer.Argument(help="vgg, googlenet ... as `wherefore models scenes:` lists.", show_default=False)
    ],
    data: Annotated[
        str | None,
        typer.Option(help="coco:DIR, vqa:DIR: for the networks of `wherefore models paper:`.", show_default="scenes"),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", "-w", help="With --data: of its CNN, torchvision's or Caffe's."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="With --data: only the first so many pictures.", show_default="all")
    ] = None,
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

    With --data a network of a paper at full size, by its authors' recipe: neuraltalk2,
    show-and-tell (captions of COCO), lu2015, coattention (questions of VQA).

    On two cores: vgg 22 minutes, vgg-cam 6 (it starts from vgg), alexnet 6,
    googlenet 20, resnet 14, places 6 (from vgg), people-... 1. With words: captioner
    10 (from vgg), show-and-tell 12 (from googlenet), coattention 25 (from resnet),
    vqa 6 (from captioner), vqa-alexnet 4 (from alexnet).

    Scenes are drawn once (two minutes), and kept in ~/.cache/wherefore. A run
    that is stopped goes on after its last whole epoch when the same command is
    given again. Another --seed needs another --out, or --fresh.

    [bold]Examples[/bold]

    wherefore train vgg

    wherefore explain photo.png --model scenes:vgg --weights trained/vgg.safetensors

    wherefore train neuraltalk2 --data coco:COCO --weights VGG_ILSVRC_16_layers.caffemodel
    """
    from wherefore.models.scenes import shipped
    from wherefore.training import papers, train

    if data is not None:
        start, resume = weights or "default", not fresh
        card = papers.train(
            name, data, out=out, weights=start, epochs=epochs, limit=limit, seed=seed or 0, resume=resume, device=device
        )
        console.measured(card["accuracy"])
        print(f"\n{out / card['file']}")
        return
    papers.refuse(name, weights, limit)
    card = train(name, out, epochs, seed, not fresh, device)
    console.accuracy(card["accuracy"], shipped(name).get("accuracy", []))
    print(f"\n{out / name}.safetensors, {out / name}.json")


@app.command()
def finetune(
    model: Annotated[str, typer.Argument(help="A name that `wherefore models` lists.", show_default=False)],
    data: Annotated[
        str,
        typer.Option(
            help="voc:DIR, coco:DIR, folder:DIR or scenes.", show_default=False, autocompletion=completing.data
        ),
    ],
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
