"""The loop of section 6.3 again and again: networks of people trained anew, and what an audit says of each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from wherefore.diagnosis.audit import ALPHA, PART, Audit
from wherefore.experiments.lab import Lab
from wherefore.metrics.resampling import wilson
from wherefore.models.zoo import load
from wherefore.pages import Section, Table, Verdict
from wherefore.training.loop import train
from wherefore.training.people import KINDS, People
from wherefore.training.recipes import recipe_for
from wherefore.types import Model

SEEDS = range(5)
SHARED = "people-balanced"  # whose recipe the unbiased network is trained by, apart from its pictures
FALSE = f"False alarms: of networks without a planted bias at most {100 * ALPHA:.0f} % of such audits claim one"
POWER = f"Power: of the biased networks most audits of {PART} pictures claim a bias, and name what it goes by"
GROUPS = f"Of the biased networks most audits of {PART} pictures see that groups differ"
ONCE = (
    "The unbiased network is trained on as many pictures as the others, of half as many people: each is there with "
    "short and with long hair, so that hair says nothing of the label, not even by chance. The audits of a network "
    "are not independent. So there are two intervals of each rate, both Wilson's (1927): as if they were, and as if "
    "those of a network were one; the truth lies between. All networks are audited on the same pictures."
)


def retrained(lab: Lab) -> Iterator[Model]:
    """The biased, the balanced and the unbiased network of each seed, trained once and kept."""
    for seed in SEEDS:
        for kind in KINDS:
            folder = lab.folder / "networks" / f"seed-{seed}" / kind
            network = SHARED if kind == "unbiased" else f"people-{kind}"
            path = folder / f"{network}.safetensors"
            if not path.is_file():
                recipe = replace(recipe_for(network, seed=seed), data=People(kind))
                train(recipe, folder, device=lab.settings.device, say=_say)
            model = load(f"scenes:{network}", weights=path)
            yield lab.take(replace(model, name=f"scenes:people-{kind}, seed {seed}"))


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def told(audits: Mapping[str, Audit], chance: Sequence[str], true: str) -> Section:
    """What audits of the networks of all seeds say: how many of them find what was planted, and how many more."""
    biased, balanced, unbiased = ([audits[name] for name in audits if f"-{kind}," in name] for kind in KINDS)
    verdicts = [
        _counted(
            "The top finding on the biased network is the hair or the face", biased, lambda a: _first(a) in chance
        ),
        _counted(
            "On the balanced one the evidence is densest on the clothing", balanced, lambda a: _densest(a) == true
        ),
        _counted("On the balanced one no bias is claimed", balanced, lambda a: not a.findings),
        _counted("On the unbiased one no bias is claimed", unbiased, lambda a: not a.findings),
        _rated(GROUPS, biased, _differ, lambda rate: rate > 0.5),
        _rated(POWER, biased, _claims, lambda rate: rate > 0.5),
        _rated(FALSE, [*balanced, *unbiased], _claims, lambda rate: rate <= ALPHA),
    ]
    header = ("network", "right", "worst group", "top finding", f"audits of {PART} that claim a bias")
    table = Table(header, [_cells(name, each) for name, each in audits.items()], "Each trained anew from its seed.")
    return Section(f"{len(SEEDS)} seeds", ONCE, *verdicts, table)


def _cells(name: str, audit: Audit) -> list[str]:
    """A network's line of the table."""
    label, figure = audit.worst
    claiming = sum(bool(part.findings) for part in audit.parts)
    worst = f"{figure.value:.3f} ({', '.join(label)})"
    return [name, f"{audit.right.value:.3f}", worst, _first(audit) or "none", f"{claiming} of {len(audit.parts)}"]


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


def _claims(audit: Audit) -> bool:
    return bool(audit.findings)


def _differ(audit: Audit) -> bool:
    return any(gap.clear for gap in audit.gaps)


def _rated(words: str, audits: Sequence[Audit], what: Callable[[Audit], bool], so: Callable[[float], bool]) -> Verdict:
    """A claim on the share of small audits that say something; clear where both ends of the wider interval agree.

    Where networks are audited on too few pictures for small audits, it is of the audits of all of their pictures.
    """
    claims = [[what(part) for part in audit.parts or [audit]] for audit in audits]
    found, n, networks = sum(map(sum, claims)), sum(map(len, claims)), len(claims)
    rate = found / n
    ends, wide = wilson(found, n), wilson(rate * networks, networks)
    one, other = (f"{100 * low:.0f} to {100 * high:.0f} %" for low, high in (ends, wide))
    numbers = f"{found} of {n} audits of {networks} networks, {100 * rate:.0f} % ({one}; {other})."
    return Verdict(words, so(rate), numbers, so(wide[0]) == so(wide[1]))
