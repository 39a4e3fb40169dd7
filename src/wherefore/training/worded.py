"""Training a network with words from its first weights to its card."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from wherefore.models.scenes import WORDED, preprocess
from wherefore.saving import made
from wherefore.training import judging
from wherefore.training.loop import Say
from wherefore.training.shipping import halved, shelved
from wherefore.training.teaching import fit
from wherefore.training.telling import AIM, BLIND, TELLING, Run, Telling, built, changed


def train(
    name: str,
    out: str | Path = "trained",
    epochs: int | None = None,
    seed: int | None = None,
    resume: bool = True,
    device: str | None = None,
    say: Say = print,
) -> dict[str, Any]:
    """The card of a network with words that was trained by its recipe; as `wherefore.training.train` does it.

    With one that answers questions another is trained that sees no picture, to tell what the questions alone do.
    """
    recipe, folder = changed(TELLING[name], epochs, seed), made(out)
    run = _fitted(recipe, folder, resume, device, say)
    blind = None
    if WORDED[name].asks:
        blind = _fitted(replace(recipe, **BLIND), folder, resume, device, say).net
    return ship(recipe, run.net, blind, folder, run.seconds, run.start)


def _fitted(recipe: Telling, folder: Path, resume: bool, device: str | None, say: Say) -> Run:
    """A training that has come to its end, from its checkpoint on where there is one."""
    name = recipe.network + ("-blind" if recipe.blind else "")
    checkpoint = folder / f"{name}.checkpoint.pt"
    net, start = built(recipe, folder)
    run = Run(recipe, net, device, start)
    if resume and checkpoint.is_file():
        run.read(checkpoint)
        say(f"going on after epoch {run.epoch} of {recipe.passes} ({checkpoint})")
    try:
        fit(run, checkpoint, say)
    except KeyboardInterrupt:
        say(f"stopped: the same command goes on after epoch {run.epoch} of {recipe.passes} of {name}")
        raise
    return run


def ship(recipe: Telling, net: Any, blind: Any, folder: Path, seconds: float, start: str | None) -> dict[str, Any]:
    """The card of a network with words; its weights as float16 and the card are written into the folder."""
    state = {k: v for k, v in halved(net).items() if not k.startswith(AIM)}
    shipped = copy.deepcopy(net).cpu()
    shipped.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
    if blind is None:
        rows = judging.of_captions(judging.captions_of(shipped, recipe.network))
    else:
        alone = judging.answered(blind.cpu(), recipe.network, blind=True)
        rows = judging.of_answers(judging.answered(shipped, recipe.network), alone)
    return shelved(recipe, net, state, described(recipe, net), rows, folder, seconds, start)


def described(recipe: Telling, net: Any) -> dict[str, Any]:
    """What a network is, apart from how it was trained."""
    seen = preprocess(recipe.network)
    return {
        "name": recipe.network,
        "architecture": type(net).__name__,
        "parameters": sum(w.numel() for name, w in net.named_parameters() if not name.startswith(AIM)),
        "task": "answers" if net.answers else "captions",
        "classes": [*net.answers],
        "input": {"size": seen.crop, "mean": list(seen.mean), "std": list(seen.std)},
        "vocabulary": [*net.vocabulary.words],
        "longest": net.vocabulary.longest,
    }
