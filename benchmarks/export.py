"""Exported networks beside the library: ``python benchmarks/export.py [PHOTOGRAPHS [WEIGHTS]]``, some minutes.

Two tables. The first says whether the file, run by ONNX Runtime, answers and explains as the library does on
photographs (a folder of them; by default the scenes, drawn); the second what each takes for one picture, as ratios of
wall time, in turn, on the same number of threads. ``WEIGHTS`` is a folder of NAME_imagenet.safetensors. A network that
it does not have is random: its answers would not depend on the photograph, so its head is centred, see `centred`.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
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

NETWORKS = ("mobilenet_v2", "resnet50", "vit_b_16", "vgg16")
COUNT, ROUNDS = 50, 5


def network(name: str, weights: Path | None) -> wf.Model:
    """With the trained weights where the folder has them; else random ones, the same in every run."""
    torch.manual_seed(0)
    file = weights / f"{name}_imagenet.safetensors" if weights else None
    return wf.load(name, weights=file if file and file.exists() else None)


def centred(model: wf.Model, images: Tensor) -> wf.Model:
    """The same with answers that depend on the picture: a new random head, whose bias takes off the mean of the logits.

    A fresh network's logits hardly change from picture to picture, and its batch normalisation knows no pictures.
    """
    norms = [m for m in model.net.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all that it sees
    head = [m for m in model.net.modules() if isinstance(m, nn.Linear)][-1]
    with torch.no_grad():
        nn.init.normal_(head.weight)
        model.net.train(bool(norms))
        for some in images.split(10) if norms else ():
            model.net(some)
        model.net.eval()
        head.bias -= torch.cat([model.net(some) for some in images.split(10)]).mean(0)
    return model


def prepared(model: wf.Model, folder: Path | None) -> Tensor:
    """``(COUNT, 3, H, W)``: the first pictures of a folder by name, or scenes."""
    assert model.preprocess
    files = sorted(folder.iterdir()) if folder else []
    pictures = (
        (Image.open(f).convert("RGB") for f in files) if folder else (wf.scenes.scene(i).image for i in range(COUNT))
    )
    return torch.stack([model.preprocess(each) for each in islice(pictures, COUNT)])


def session(path: Path, threads: int) -> Callable[[Tensor, Tensor], tuple[np.ndarray, np.ndarray]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    found = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda image, target: tuple(found.run(None, {"image": image.numpy(), "target": target.numpy()}))


def agreement(model: wf.Model, path: Path, images: Tensor) -> dict[str, Any]:
    """Over pictures, one at a time: equal first answers, and how far the map is off that of the library.

    Explained is of the five first answers the one with most evidence: of a map of almost nothing rounding is the most.

    ``maps``: the largest difference of a map, relative to its own largest value, over the pictures whose map has
    evidence; ``without``: how many have none (there the file's map must be none as well).
    """
    why, run = wf.Explainer(model), session(path, torch.get_num_threads())
    same, answers, off, empty = 0, set(), [], 0
    for image in images.split(1):
        e = why(image, "top5")
        best = int(e.evidence[0].argmax())
        ours, first = e.maps[0][best].numpy(), int(e.classes[0, 0])
        logits, maps = run(image, e.classes[0, best : best + 1])
        same += int(logits[0].argmax() == first)
        answers.add(first)
        if ours.max() > 0:
            off.append(float(np.abs(maps[0] - ours).max() / ours.max()))
        else:
            empty += 1
            assert not maps.any(), "a map where the library has none"
    return {"same": same, "answers": len(answers), "maps": max(off), "compared": len(off), "without": empty}


def speed(model: wf.Model, path: Path, images: Tensor, threads: int) -> list[float]:
    """Wall time of one picture over that of the eager forward pass, in turn: the library's, and the file's."""
    torch.set_num_threads(threads)
    why, run = wf.Explainer(model), session(path, threads)
    image, target = images[:1], torch.tensor([5])

    def forward() -> None:
        with torch.inference_mode():
            model.net(image)

    ways = [forward, lambda: why(image, target), lambda: run(image, target)]
    ratios: list[list[float]] = []
    for number in range(ROUNDS + 1):
        took = [0.0] * len(ways)
        for i in random.Random(number).sample(range(len(ways)), len(ways)):
            started = time.perf_counter()
            ways[i]()
            took[i] = time.perf_counter() - started
        ratios.append([each / took[0] for each in took[1:]])
    return [statistics.median(column) for column in zip(*ratios[1:], strict=True)]  # the first round warms up


def main() -> None:
    photographs, weights = [Path(a) for a in sys.argv[1:3]] + [None] * (3 - len(sys.argv))
    print(f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, {COUNT} pictures\n")
    rows = []
    print("| network | weights | same first answer | different answers | maps: largest relative difference |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in NETWORKS:
            model = network(name, weights)
            images, path = prepared(model, photographs), Path(folder) / f"{name}.onnx"
            trained = (
                model.weights_sha256 is not None and weights and (weights / f"{name}_imagenet.safetensors").exists()
            )
            try:
                export(wf.Explainer(model if trained else centred(model, images)), path)
            except wf.Error as error:
                print(f"| {name} | {'trained' if trained else 'random'} | {error} | | |", flush=True)
                continue
            a = agreement(model, path, images)
            print(
                f"| {name} | {'trained' if trained else 'random'} | {a['same']}/{COUNT} | {a['answers']} "
                f"| {a['maps']:.0e} on {a['compared']}, {a['without']} without evidence |",
                flush=True,
            )
            rows += [(name, threads, *speed(model, path, images, threads)) for threads in (1, 2)]
            path.unlink()
    print("\n| network, one picture | threads | library | file in ONNX Runtime | file over library |")
    print("|---|---|---|---|---|")
    for name, threads, ours, file in rows:
        print(f"| {name} | {threads} | {ours:.2f} | {file:.2f} | {file / ours:.2f} |")


if __name__ == "__main__":
    main()
