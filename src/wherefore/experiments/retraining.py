"""The loop of section 6.3 again and again: networks of people trained anew, and what an audit says of each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from wherefore.diagnosis.audit import Audit
from wherefore.experiments.lab import Lab
from wherefore.metrics.resampling import wilson
from wherefore.models.zoo import load
from wherefore.pages import Section, Table, Verdict
from wherefore.training import train
from wherefore.types import Model

SEEDS = range(5)
KINDS = ("people-biased", "people-balanced")


def retrained(lab: Lab) -> Iterator[Model]:
    """The biased and the balanced network of each seed, trained once and kept."""
    for seed in SEEDS:
        for kind in KINDS:
            folder = lab.folder / "networks" / f"seed-{seed}"
            path = folder / f"{kind}.safetensors"
            if not path.is_file():
                train(kind, folder, seed=seed, device=lab.settings.device, say=_say)
            model = load(f"scenes:{kind}", weights=path)
            yield lab.take(replace(model, name=f"{model.name}, seed {seed}"))


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def told(audits: dict[str, Audit], chance: Sequence[str], true: str) -> Section:
    """What audits of the networks of all seeds say: how many of them find what was planted, and how many more."""
    biased, balanced = ([each for name, each in audits.items() if kind in name] for kind in KINDS)
    verdicts = [
        _counted(
            "The top finding on the biased network is the hair or the face", biased, lambda a: _first(a) in chance
        ),
        _counted(
            "On the balanced one the evidence is densest on the clothing", balanced, lambda a: _densest(a) == true
        ),
        _counted("On the balanced one no bias is claimed", balanced, lambda a: not a.findings),
    ]
    rows = [
        [
            name,
            f"{each.right.value:.3f}",
            f"{each.worst[1].value:.3f} ({', '.join(each.worst[0])})",
            _first(each) or "none",
        ]
        for name, each in audits.items()
    ]
    table = Table(("network", "right", "worst group", "top finding"), rows, "Each trained anew from its seed.")
    return Section(f"{len(SEEDS)} seeds", *verdicts, table)


def _first(audit: Audit) -> str:
    return audit.findings[0][0].region if audit.findings else ""


def _densest(audit: Audit) -> str:
    return audit.evidence[0].region if audit.evidence else ""


def _counted(words: str, audits: Sequence[Audit], so: Callable[[Audit], bool]) -> Verdict:
    """A claim that holds where it does for most seeds, and clearly where Wilson's interval lies on one side of half."""
    found, n = sum(map(so, audits)), len(audits)
    low, high = wilson(found, n)
    numbers = f"In {found} of {n} seeds ({100 * low:.0f} to {100 * high:.0f} %)."
    return Verdict(words, 2 * found > n, numbers, low > 0.5 or high < 0.5)
