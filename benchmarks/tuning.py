"""What each way of running the part below the layer costs, over the plain forward pass; on a CPU or a GPU.

    python benchmarks/tuning.py --out results-tuning.json                    # this machine's processor
    python benchmarks/tuning.py --device cuda --batch 1 8 64 --out results-gpu.json

One row for each network, batch and way of `wherefore.below`: images a second, the time over that of the plain eager
``inference_mode`` forward pass of the same round (median, lowest, highest), how far maps and scores are from the plain
ones, and on a GPU the peak of memory; the first column is the device's name. On a GPU the time is the clock's, and rows
say what copying the next batch beside the work on one saves; on a CPU it is that of the processor (all threads; set
OMP_WAIT_POLICY=passive), which others who use the machine change little. Weights are random: the time does not depend
on them. ``--compile`` also compiles.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wherefore import tuning
from wherefore.below import COMPILED, PLAIN
from wherefore.bench.report import machine
from wherefore.bench.rows import RESNET, VGG, VIT, Subject
from wherefore.explainer import Explainer
from wherefore.types import Model

SUBJECTS = {"resnet50": RESNET, "vgg16": VGG, "vit_small": VIT}
FORWARD, HEADER = "forward", ["device", "network", "batch", "below", "images/s", "of the forward", "differs by", "MB"]
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--models", nargs="+", choices=list(SUBJECTS), default=list(SUBJECTS))
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--seconds", type=float, default=20, help="of each network and batch, at least five rounds")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    device = torch.device(given.device)
    about = {**machine(), "device": name_of(device)}
    rows: list[Row] = []
    print("| " + " | ".join(HEADER) + " |\n" + "|---" * len(HEADER) + "|")
    for batch in given.batch:
        for model in given.models:
            for row in measured(SUBJECTS[model], batch, device, given.compile, given.seconds):
                rows.append({"device": about["device"], "network": SUBJECTS[model].title, "batch": batch, **row})
                print(line(rows[-1]), flush=True)
                if given.out:  # a run that is cut short leaves what it has
                    given.out.write_text(json.dumps({"machine": about, "rows": rows}, indent=1) + "\n")


def name_of(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(machine()["processor"])


def measured(subject: Subject, batch: int, device: torch.device, compile: bool, seconds: float) -> Iterator[Row]:
    """The rows of one network and batch: the forward, plain, all that `wherefore.tune` tries, and copying ahead."""
    torch.manual_seed(0)
    net = subject.model().net.to(device)
    images, host = torch.randn(batch, 3, 224, 224, device=device), torch.randn(8 * batch, 3, 224, 224)
    why = Explainer(Model(net), layer=subject.layer, batch_size=batch)
    tries = tuning.tries(why, images, 0, None if compile else 0)
    turns: dict[str, Callable[[], object]] = {FORWARD: partial(forward, net, images)}
    turns |= tries.turns
    if device.type == "cuda":
        turns |= {"eight batches, one by one": partial(one_by_one, why, host, batch)}
        turns |= {"eight batches, copied ahead": partial(why, host, 0)}
    peaks = {name: peak(turn, device) for name, turn in turns.items()}
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    found = tuning.rounds(turns, FORWARD, seconds, device, clock)
    for name, (ms, ratios) in found.items():
        count = len(host) if name.startswith("eight") else batch
        yield {
            "below": name,
            "images/s": 1000 * count / ms,
            "ratio": statistics.median(ratios) * batch / count,
            "low": min(ratios) * batch / count,
            "high": max(ratios) * batch / count,
            "rounds": len(ratios),
            "difference": tries.ways[name].difference if name in tries.ways and name != PLAIN else None,
            "MB": peaks[name],
        }
    for way in tries.ways.values():
        if way.difference is None and (compile or way.below != COMPILED):
            yield {"below": way.below, "note": way.note}


def forward(net: nn.Module, images: Tensor) -> Tensor:
    with torch.inference_mode():
        result: Tensor = net(images)
        return result


def one_by_one(why: Explainer, host: Tensor, batch: int) -> None:
    for images in host.split(batch):
        why(images, 0)


def peak(turn: Callable[[], object], device: torch.device) -> float | None:
    """Megabytes on a GPU at the peak of a call, weights included."""
    if device.type != "cuda":
        return None
    turn()
    torch.cuda.reset_peak_memory_stats(device)
    turn()
    return torch.cuda.max_memory_allocated(device) / 2**20


def line(row: Row) -> str:
    where = [row["device"], row["network"], str(row["batch"]), row["below"]]
    if "note" in row:
        return "| " + " | ".join([*where, row["note"], "", "", ""]) + " |"
    ratio = f"{row['ratio']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
    last = [
        f"{row[key]:{form}}" if row[key] is not None else "" for key, form in (("difference", ".1g"), ("MB", ".0f"))
    ]
    return "| " + " | ".join([*where, f"{row['images/s']:.1f}", ratio, *last]) + " |"


if __name__ == "__main__":
    main()
