"""Exported networks beside the library: ``python benchmarks/export.py [PHOTOGRAPHS [WEIGHTS [NETWORK...]]]``.

Two tables, of one thread. The first says whether the file, run by ONNX Runtime, answers and explains as the library
does on photographs (a folder of them; by default the scenes, drawn), and how far each of the two is from the same
network in float64: where both are equally far, they differ by rounding alone. The second is what each takes for one
picture, as ratios of processor time, in turn. ``WEIGHTS`` is a folder of NAME_imagenet.safetensors. A network that it
does not have is random: torchvision's own initial values, whose first answer is nearly the same for every photograph.
``NETWORK centred`` is made to answer differently, see `centred`, at a cost in precision that the first table shows.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from PIL import Image
from torch import Tensor, nn

import wherefore as wf
from wherefore.export import export

NETWORKS = ("mobilenet_v2", "squeezenet1_1", "resnet50", "vgg16", "vit_b_16", "resnet50 centred")
PICTURES, ROUNDS = 50, 5  # rounds of timing


def network(name: str, weights: Path | None) -> tuple[wf.Model, bool]:
    """With the trained weights where the folder has them, and whether it has; else random, the same in every run."""
    torch.manual_seed(0)
    file = weights / f"{name}_imagenet.safetensors" if weights else None
    if file and file.exists():
        return wf.load(name, weights=file), True
    model = wf.load(name, weights=None)
    if not _head(model).weight.any():  # a vision transformer's: no map would have evidence
        nn.init.normal_(_head(model).weight, std=0.02)
    return model, False


def _head(model: wf.Model) -> nn.Linear:
    return [m for m in model.net.modules() if isinstance(m, nn.Linear)][-1]


def centred(model: wf.Model, images: Tensor) -> wf.Model:
    """The same with answers that depend on the picture: a new random head, whose bias takes off the mean of the logits.

    A fresh network's features hardly change from picture to picture: batch normalisation that has seen these pictures,
    and the bias, take off what they have in common and leave small differences of large numbers.
    """
    norms = [m for m in model.net.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all that it sees
    head = _head(model)
    with torch.no_grad():
        nn.init.normal_(head.weight)
        model.net.train(bool(norms))
        for some in images.split(10) if norms else ():
            model.net(some)
        model.net.eval()
        head.bias -= torch.cat([model.net(some) for some in images.split(10)]).mean(0)
    return model


def prepared(model: wf.Model, folder: Path | None, count: int) -> Tensor:
    """``(count, 3, H, W)``: the first pictures of a folder by name, or scenes."""
    assert model.preprocess
    files = sorted(folder.iterdir()) if folder else []
    pictures = (
        (Image.open(f).convert("RGB") for f in files) if folder else (wf.scenes.scene(i).image for i in range(count))
    )
    return torch.stack([model.preprocess(each) for each in islice(pictures, count)])


def session(path: Path) -> Callable[[Tensor, Tensor], tuple[np.ndarray, np.ndarray]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    found = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda image, target: tuple(found.run(None, {"image": image.numpy(), "target": target.numpy()}))


def agreement(model: wf.Model, path: Path, images: Tensor) -> dict[str, Any]:
    """Over pictures, one at a time: equal first answers, and how far file, library and float64 are from each other.

    Explained is of the five first answers the one with most evidence: of a map of almost nothing rounding is the most.
    A difference is the largest of all pictures, relative to the largest value of the picture's map or logits. Maps are
    compared where there is evidence; ``without``: pictures without any (there the file's map must be none as well).
    """
    why, run = wf.Explainer(model), session(path)
    exact = wf.Explainer(replace(model, net=deepcopy(model.net).double()))
    same, answers, empty = 0, set(), 0
    off: dict[str, list[float]] = {name: [] for name in ("logits", "maps", "library", "file")}
    for image in images.split(1):
        e = why(image, "top5")
        best, first = int(e.evidence[0].argmax()), int(e.classes[0, 0])
        target = e.classes[0, best : best + 1]
        logits, maps = run(image, target)
        same += int(logits[0].argmax() == first)
        answers.add(first)
        with torch.no_grad():
            off["logits"].append(apart(logits, model.net(image).numpy()))
        ours = e.maps[0][best].numpy()
        if ours.max() > 0:
            true = exact(image.double(), target).maps[0][0].numpy()
            off["maps"].append(apart(maps[0], ours))
            off["library"].append(apart(ours, true))
            off["file"].append(apart(maps[0], true))
        else:
            empty += 1
            assert not maps.any(), "a map where the library has none"
    largest = {name: max(found) for name, found in off.items()}
    return {"same": same, "answers": len(answers), "without": empty, **largest}


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference, relative to the largest value."""
    return float(np.abs(a - b).max() / np.abs(b).max())


def speed(model: wf.Model, path: Path, images: Tensor) -> list[str]:
    """Processor time of one picture, in turn: the library's and the file's over the eager forward, the file's over the
    library's; each the median of the rounds, with the least and the most."""
    why, run = wf.Explainer(model), session(path)
    image, target = images[:1], torch.tensor([5])

    def forward() -> None:
        with torch.inference_mode():
            model.net(image)

    ways = [forward, lambda: why(image, target), lambda: run(image, target)]
    rounds: list[tuple[float, ...]] = []
    for number in range(ROUNDS + 1):
        took = [0.0] * len(ways)
        for i in random.Random(number).sample(range(len(ways)), len(ways)):
            started = time.process_time()
            ways[i]()
            took[i] = time.process_time() - started
        bare, ours, file = took
        rounds.append((ours / bare, file / bare, file / ours))
    columns = zip(*rounds[1:], strict=True)  # the first round warms up
    return [f"{statistics.median(c):.2f} ({min(c):.2f} to {max(c):.2f})" for c in columns]


def main() -> None:
    photographs, weights = ([Path(a) for a in sys.argv[1:3]] + [None, None])[:2]
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, one thread\n")
    print("| network | weights | same first answer | logits | maps | library, of float64 | file, of float64 |")
    print("|---|---|---|---|---|---|---|")
    rows = []
    for name in sys.argv[3:] or NETWORKS:
        model, trained = network(name.split()[0], weights)
        images = prepared(model, photographs, PICTURES)
        model = centred(model, images) if name.endswith("centred") else model
        with tempfile.TemporaryDirectory() as folder:
            try:
                path = export(wf.Explainer(model), Path(folder) / "explained.onnx").path
            except wf.Error as error:
                print(f"| {name} | {'trained' if trained else 'random'} | {error} | | | | |", flush=True)
                continue
            a = agreement(model, path, images)
            print(
                f"| {name} | {'trained' if trained else 'random'} "
                f"| {a['same']}/{len(images)}, {a['answers']} different; {a['without']} without evidence "
                f"| {a['logits']:.0e} | {a['maps']:.0e} | {a['library']:.0e} | {a['file']:.0e} |",
                flush=True,
            )
            rows.append((name, *speed(model, path, images)))
    print("\n| network, one picture | library over forward | file over forward | file over library |")
    print("|---|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
