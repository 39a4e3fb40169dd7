"""`tune`: which way of running the part below the layer is fastest here, measured, and checked to say the same."""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import torch

from wherefore.below import COMPILED, GRAPH, PLAIN, is_exact
from wherefore.errors import Error
from wherefore.explainer import Explainer
from wherefore.explanation import Explanation
from wherefore.inputs import Batch, Input
from wherefore.options import WHY_NOT, takes
from wherefore.subjects import Subject
from wherefore.targets import for_images

EXACT = 1e-4  # how far maps and scores may be from the plain ones, over the largest of these
FASTER, NEARLY_ALL = 0.95, 0.9  # of plain's time, by the median; the share of rounds in which it must be faster
FEWEST, MOST = 5, 30  # rounds
COMPILED_FROM = 1000  # pictures: compiling takes as long as some hundreds of them, and is not even tried for fewer


@dataclass(frozen=True)
class Way:
    """One way of running the part below the layer, as it was measured.

    ``ratio``: its time over plain's of the same round, by the clock, the median over rounds; ``low`` and ``high`` the
    extremes; ``ms`` the median for the batch. ``first``: seconds of its first call, which may compile; of ``graph``, of
    the first three, which record. ``difference``: the largest of maps and scores from the plain ones, over the largest
    of these. ``note``: why it was not measured, or not chosen.
    """

    below: str
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    ms: float | None = None
    first: float | None = None
    difference: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Tuned:
    """What `tune` came to: ``explainer`` runs the chosen way, ``ways`` are all that were tried, plain first.

    ``about`` says what was measured on: device, batch, size, method, layer, threads, version of torch; and as
    ``tolerance`` how far maps and scores were allowed to be from the plain ones, over the largest of these.
    """

    explainer: Explainer
    ways: tuple[Way, ...]
    about: dict[str, Any]

    def report(self) -> dict[str, Any]:
        """It as plain values; ``wf.Explainer(model, below=report["chosen"])`` runs the same again."""
        ways = [asdict(way) for way in self.ways]
        return {"chosen": self.explainer.below, **self.about, "ways": ways}

    def lines(self) -> list[list[str]]:
        """A table of what was measured; its first line is the header."""
        header = ["below", "of plain", "low to high", "ms", "first s", "differs by", ""]
        return [header, *(_line(way, way.below == self.explainer.below) for way in self.ways)]

    def sentence(self) -> str:
        """What was chosen, on what it was measured, and how fast half precision would be."""
        chosen = next(way for way in self.ways if way.below == self.explainer.below)
        size = " x ".join(map(str, self.about["size"]))
        said = f"below={chosen.below} was chosen ({chosen.ratio:.2f} of plain's time)"
        said += f", measured on {self.about['device']} at batch {self.about['batch']}, {size}."
        half = [way for way in self.ways if way.ratio is not None and not is_exact(way.below)]
        best = min(half, key=lambda way: way.ratio or 0.0, default=None)
        if best is not None and best.ratio is not None and chosen.ratio is not None and best.ratio < chosen.ratio:
            said += f" below={best.below} would take {best.ratio:.2f}, and is not exact: it is run where it is named."
        return said


def tune(why: Explainer, images: Any, target: Any = None, *, count: int | None = None, seconds: float = 10.0) -> Tuned:
    """The explainer that is fastest on this machine for images like these, and what was measured.

        tuned = wf.tune(wf.Explainer(model), images)
        e = tuned.explainer(more_images)

    Ways of running the part below the layer (`wherefore.below`) take turns with the plain one, on the first batch of
    ``images``, for some ``seconds``, at least five rounds. Chosen is the fastest of those whose maps and scores are the
    plain ones to 1e-4 of the largest, if it takes less than 0.95 of plain's time by the median, and less than plain in
    nine of ten rounds; else plain. Half precision is measured where the device has it and its difference told, but
    never chosen. ``count``: how many pictures are to come; for fewer than 1,000 nothing is compiled. On GPUs that round
    the numbers of a convolution (TF32) ways may differ by twice what plain itself differs from full float32. The model
    is left as it was found. Raises `Error` for methods and networks that run in one way only.
    """
    found = tries(why, images, target, count)
    device = why.device or torch.device("cpu")
    allowed = max(EXACT, 2 * _rounding(found, device))
    ways = dict(found.ways)
    for below, taken in rounds(found.turns, PLAIN, seconds, device).items():
        ways[below] = _judged(ways[below], taken, allowed)
    able = [way for way in ways.values() if not way.note and way.ratio is not None and way.ratio < FASTER]
    best = min(able, key=lambda way: way.ratio or 1.0, default=ways[PLAIN])
    about = {**_about(why, found.reference, device), "tolerance": allowed}
    return Tuned(found.explainers[best.below], tuple(ways.values()), about)


class Tries(NamedTuple):
    """The ways that were tried, by name: with a first call's seconds and difference, and those that can be had."""

    ways: dict[str, Way]
    explainers: dict[str, Explainer]
    turns: Mapping[str, Callable[[], Explanation]]
    reference: Explanation  # plain's


def tries(why: Explainer, images: Any, target: Any = None, count: int | None = None) -> Tries:
    """Every way that a device has, called once and held against plain; see `tune`."""
    if "below" not in takes(why.method):
        raise Error(f"{why.method} cannot be tuned: {WHY_NOT['below']}.")
    batches = why.reader.batches(images, why.at_once, why.batch_size)
    batch = batches[0]
    if batch.images.ndim != 4 or not batch.images.is_floating_point() or why.fed(batch)[0] is not why.net:
        raise Error(f"{why.model.name} cannot be tuned: that serves networks that are fed pictures alone.")
    target = for_images(target, 0, len(batch.pictures), sum(len(each.pictures) for each in batches))
    plain = why.running(PLAIN)
    reference = plain.explained([batch], target)
    if bool((reference.classes >= 0).all()):  # the same classes, where another precision would have others first
        target = reference.classes.tolist()
    explainers, ways = {PLAIN: plain}, {PLAIN: Way(PLAIN, difference=0.0)}
    for below in candidates(why.device or torch.device("cpu")):
        ways[below], explainer = _tried(why, below, batch, target, reference, count)
        if explainer is not None:
            explainers[below] = explainer
    turns = {below: partial(each.explained, [batch], target) for below, each in explainers.items()}
    return Tries(ways, explainers, turns, reference)


def tuned(why: Explainer, reads: Iterable[Callable[[], Subject]], target: Any, count: int, size: int) -> Tuned:
    """`tune` on the first pictures that can be read, ``size`` of ``count`` at the most; it is told on stderr."""
    inputs: list[Input] = []
    for read in islice(reads, 4 * size):
        with suppress(Error):
            inputs.append(why.prepare(read()))
        if len(inputs) == size:
            break
    if not inputs:
        raise Error("--tune measures on the first pictures, and none of these can be read: leave it out.")
    found = tune(why, inputs, target, count=count)
    lines = found.lines()
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip(), file=sys.stderr)
    print(f"wherefore: {found.sentence()}", file=sys.stderr)
    return found


def candidates(device: torch.device) -> list[str]:
    """What is tried on a device beside plain; half precision last."""
    exact, all_of = ["channels-last", "folded", "folded+channels-last"], "folded+channels-last"
    if device.type == "cuda":
        half = [f"{all_of}+{kind}{graph}" for graph in ("", "+graph") for kind in ("bfloat16", "float16")]
        return [*exact, "graph", f"{all_of}+graph", COMPILED, *half]
    return [*exact, COMPILED, f"{all_of}+bfloat16"]


def _tried(
    why: Explainer, below: str, batch: Batch, target: Any, reference: Explanation, count: int | None
) -> tuple[Way, Explainer | None]:
    """A way's first call and how far it is from plain; or why it cannot be had."""
    if below == COMPILED and count is not None and count < COMPILED_FROM:
        return Way(below, note=f"not tried: it pays off from about {COMPILED_FROM:,} pictures"), None
    if "bfloat16" in below.split("+") and not _has_bfloat16(why.device or torch.device("cpu")):
        return Way(below, note="not tried: this device has no bfloat16 of its own"), None
    explainer, start = why.running(below), time.perf_counter()
    try:
        for _ in range(3 if GRAPH in below.split("+") else 1):  # the second call records, the third replays
            found = explainer.explained([batch], target)
    except (Error, RuntimeError) as error:  # too little memory on a GPU, what cannot be recorded
        return Way(below, note=" ".join(str(error).split())[:200]), None
    return Way(below, first=time.perf_counter() - start, difference=_difference(found, reference)), explainer


def _has_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies in bfloat16; others imitate it, processors 25 times slower."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    asks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, ask, lambda: False)()) for ask in asks)


def _difference(found: Explanation, reference: Explanation) -> float:
    """The largest difference of maps and of scores, over the largest value of the plain ones."""
    pairs = [(found.scores, reference.scores), (torch.as_tensor(found.maps), torch.as_tensor(reference.maps))]
    return max(float((a - b).abs().max() / b.abs().max().clamp(min=1e-30)) for a, b in pairs)


def _rounding(found: Tries, device: torch.device) -> float:
    """How far plain is from itself in full float32, on a GPU that rounds the numbers of its convolutions to TF32."""
    if device.type != "cuda":
        return 0.0
    with in_full() as rounds_numbers:
        return _difference(found.turns[PLAIN](), found.reference) if rounds_numbers else 0.0


@contextmanager
def in_full() -> Iterator[bool]:
    """Convolutions on GPUs in full float32; whether they would else round numbers to TF32."""
    cudnn: Any = torch.backends.cudnn
    # Where the newer setting exists the older one cannot be read once somebody has used the newer.
    owner, name, full = (
        (cudnn.conv, "fp32_precision", "ieee") if hasattr(cudnn, "conv") else (cudnn, "allow_tf32", False)
    )
    before = getattr(owner, name)
    setattr(owner, name, full)
    try:
        yield before in ("tf32", True)
    finally:
        setattr(owner, name, before)


class Taken(NamedTuple):
    """What one thing took: the median in ``ms``, and in each round its ratio to what it is measured by."""

    ms: float
    ratios: list[float]


def rounds(
    turns: Mapping[str, Callable[[], object]],
    floor: str,
    seconds: float,
    device: torch.device,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Taken]:
    """What each took by a ``clock``, over the ``floor`` of the same round.

    Every round is in another order; a first one that does not count warms up.
    """
    order, taken, start = random.Random(0), dict[str, list[float]]({name: [] for name in turns}), 0.0
    for number in range(MOST + 1):
        if number == 1:
            start = time.perf_counter()
        if number > FEWEST and time.perf_counter() - start > seconds:
            break
        for name in order.sample([*turns], len(turns)):
            _wait(device)
            before = clock()
            turns[name]()
            _wait(device)
            if number:
                taken[name].append(clock() - before)
    ratios = {name: [a / b for a, b in zip(own, taken[floor], strict=True)] for name, own in taken.items()}
    return {name: Taken(1000 * statistics.median(taken[name]), each) for name, each in ratios.items()}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _judged(way: Way, taken: Taken, allowed: float) -> Way:
    """A way with its figures, and a note where it will not do."""
    ms, ratios = taken
    differs, note = way.difference or 0.0, ""
    if not is_exact(way.below):
        note = "not exact"
    elif not differs <= allowed:
        note = f"refused: it differs by more than {allowed:.1g}"
    elif statistics.median(ratios) < FASTER and sum(ratio < 1 for ratio in ratios) < NEARLY_ALL * len(ratios):
        note = "not steady: plain was faster in some rounds"
    figures = {"ratio": statistics.median(ratios), "low": min(ratios), "high": max(ratios), "ms": ms, "note": note}
    return Way(**{**asdict(way), **figures})


def _about(why: Explainer, reference: Explanation, device: torch.device) -> dict[str, Any]:
    """What the figures depend on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    threads = torch.get_num_threads()
    on_cpu = f"{name}, {threads} thread{'s' * (threads != 1)}, {torch.backends.cpu.get_cpu_capability()}"
    return {
        "device": on_cpu if device.type == "cpu" else name,
        "batch": len(reference.pictures),
        "size": list(reference.input_sizes[0]),
        "model": why.model.name,
        "method": why.method,
        "layer": reference.settings["layer"],
        "torch": torch.__version__,
    }


def _line(way: Way, chosen: bool) -> list[str]:
    def shown(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    between = f"{way.low:.2f} to {way.high:.2f}" if way.low is not None and way.high is not None else ""
    figures = [shown(way.ratio, ".2f"), between, shown(way.ms, ".0f"), shown(way.first, ".1f")]
    return [way.below, *figures, shown(way.difference, ".1g"), "chosen" if chosen else way.note]
