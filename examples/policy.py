"""Trains a policy that sees rendered frames alone, and shows what in them made it act.

    python examples/policy.py --out explained --weights explained/policy.safetensors

CartPole-v1 of gymnasium; the network sees its picture, nothing else, and learns from the rewards by PPO (Schulman et
al. 2017, with generalised advantages). Prints the returns beside a random policy's, and how often the action changes
when the evidence for it is masked and when as much elsewhere is; writes policy.gif, one episode with the evidence for
the log-probability of each action, policy.json, and the weights. Ends with status 1 if the trained policy is not
clearly better than the random one, with 2 if gymnasium is missing. Needs `gymnasium[classic-control]`.

Pixels are masked with those of the empty scene, the track without cart and pole. Elsewhere is, first, the same shape
moved to another place: mostly paper, so that little can happen. Therefore, second, as many pixels of cart and pole as
the evidence covers, beside it. Maps of three ways are put to this test, and the third is drawn.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

import wherefore as wf
from wherefore.drawing import captioned, overlay, sheet
from wherefore.imaging import resample
from wherefore.metrics.resampling import interval
from wherefore.progress import track
from wherefore.saving import made, write_json, write_tensors

try:
    from cartpole import ACTIONS, REGION, Frames, Policy, empty_scene, trained
except ModuleNotFoundError as missing:
    print(f"policy: {missing.name} is missing: pip install 'gymnasium[classic-control]'", file=sys.stderr)
    sys.exit(2)

VIEW = (0, 140, 600, 340)  # what is drawn of a picture: what the network sees and a margin
# A cell of the last layer sees 18x18 pixels (90x90 of the picture), and what it fires for may lie at the edge of them:
# nothing draws it to the middle. One layer below they are 10x10; guided backprop finds the pixels themselves.
WAYS: dict[str, dict[str, Any]] = {
    "grad-cam, last layer": {},
    "grad-cam, one below": {"layer": "features.3"},
    "guided-grad-cam": {"method": "guided-grad-cam"},
}
DRAWN = "guided-grad-cam"
SHARE, DRAWS, EVERY = 0.02, 8, 5  # masking: of the pixels; masks elsewhere per frame; of an episode every 5th frame

# -------------------------------------------------------------------------------------------- what it is worth


class Episode(NamedTuple):
    """What was seen ``(n, 2, 32, 120)`` and done ``(n,)`` in an episode of n steps, and its pictures if asked for."""

    observations: Tensor
    actions: Tensor
    pictures: list[Image.Image]


def play(policy: Policy | None, seed: int, pictures: bool = False) -> Episode:
    """An episode of the most probable actions; of random ones without a policy."""
    frames, random = Frames(), np.random.default_rng(seed)
    observation, over, steps, drawn = frames.reset(seed=seed)[0], False, [], []
    while not over:
        if pictures:
            drawn.append(frames.picture())
        action = int(random.integers(len(ACTIONS)) if policy is None else decided(policy, observation[None]))
        steps.append((observation, torch.tensor(action)))
        observation, _, ended, cut, _ = frames.step(action)
        over = ended or cut
    return Episode(*map(torch.stack, zip(*steps, strict=True)), drawn)


@torch.no_grad()
def decided(policy: Policy, observations: Tensor) -> Tensor:
    """The most probable action ``(B,)`` of each observation."""
    return policy(observations).argmax(1)


# -------------------------------------------------------------------------------------------- why it acted so


def evidence(policy: Policy, episode: Episode, way: str) -> tuple[Tensor, Tensor]:
    """Maps ``(n, h, w)`` of what spoke for each action that was taken, and the action's probability ``(n,)``."""
    maps, chances = [], torch.zeros(len(episode.actions))
    order = episode.actions.argsort(stable=True)
    for action in episode.actions.unique().tolist():  # in rising order, as the frames of ``order``
        frames = order[episode.actions[order] == action]
        e = wf.explain(policy, episode.observations[frames], wf.Action(action), **WAYS[way])
        # Guided Grad-CAM is a product of two maps: its root is again as strong as the evidence is.
        maps.append(e.maps[:, 0] if e.pixels is None else e.pixels[:, 0].clamp(min=0).amax(1).sqrt())
        chances[frames] = e.scores[:, 0].exp()
    return torch.cat(maps)[order.argsort()], chances


def drawn(policy: Policy, episode: Episode, way: str = DRAWN) -> list[Image.Image]:
    """The pictures of an episode in `VIEW`, each under the evidence for its action; one scale for all.

    The more probable an action, the weaker its map: little is left that would make it more so. The strongest colour is
    what three frames in ten reach, since the few most uncertain ones would leave the others pale.
    """
    maps, chances = evidence(policy, episode, way)
    region = tuple(side - VIEW[i % 2] for i, side in enumerate(REGION))  # in the part that is drawn
    heats = resample(maps, (VIEW[2] - VIEW[0], VIEW[3] - VIEW[1]), region)
    top, result = float(heats.flatten(1).amax(1).quantile(0.7)), []
    for i, (picture, heat, action) in enumerate(zip(episode.pictures, heats, episode.actions.tolist(), strict=True)):
        detail = f"probability {chances[i]:.2f}, step {i + 1}"
        under = overlay(picture.crop(VIEW), heat, region, top)
        result.append(captioned(under, ACTIONS[action], detail, "heat", ("0", f"{top:.1g} or more")))
    return result


def write_gif(path: Path, pictures: Sequence[Image.Image]) -> Path:
    """An animation of pictures of one size, with one palette from all of them, or colours would flicker."""
    few = pictures[:: -(-len(pictures) // 12)]
    palette = sheet(list(few)).quantize(255)
    frames = [each.quantize(palette=palette, dither=Image.Dither.NONE) for each in pictures]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=60, loop=0)
    return path


# -------------------------------------------------------------------------------------------- whether it did


def strongest(maps: Tensor, share: float = SHARE) -> Tensor:
    """Masks ``(n, H, W)`` of exactly that share of the pixels, those where maps ``(n, H, W)`` are highest.

    A map with fewer positive pixels is filled up with pixels of 0: then the mask says less than it could, never more.
    """
    flat = maps.flatten(1)
    chosen = flat.topk(round(share * flat.shape[1]), dim=1).indices
    return torch.zeros_like(flat, dtype=torch.bool).scatter_(1, chosen, True).view_as(maps)


def shifted(mask: Tensor, generator: np.random.Generator) -> Tensor:
    """The mask ``(H, W)`` moved around the edges to a random one of the places where it overlaps itself least."""
    spectrum = torch.fft.rfft2(mask.float())
    overlap = torch.fft.irfft2(spectrum * spectrum.conj(), s=mask.shape).round()  # by every shift down and right
    places = (overlap == overlap.min()).nonzero()
    down, right = places[generator.integers(len(places))].tolist()
    return mask.roll((down, right), (0, 1))


def beside(mask: Tensor, ink: Tensor, generator: np.random.Generator) -> Tensor:
    """As many pixels with ink (both ``(H, W)``) as the mask covers, outside of it: those nearest to a random one."""
    free = (ink & ~mask).nonzero()
    if not len(free):
        return torch.zeros_like(mask)
    far = (free - free[generator.integers(len(free))]).square().sum(1)
    chosen = free[far.argsort(stable=True)[: int((ink & mask).sum())]]
    return torch.zeros_like(mask).index_put_(tuple(chosen.T), torch.tensor(True))


class Changes(NamedTuple):
    """How often the action changed in an episode with the evidence masked, and with two kinds of other places."""

    evidence: float
    shifted: float
    ink: float


def changes(policy: Policy, episode: Episode, way: str, scene: Tensor, generator: np.random.Generator) -> Changes:
    """The shares of an episode's frames whose action changes when pixels of both channels become the empty scene's."""
    part = Episode(episode.observations[::EVERY], episode.actions[::EVERY], [])
    maps = resample(evidence(policy, part, way)[0], (part.observations.shape[3], part.observations.shape[2]))
    ink = ((part.observations - scene).abs() > 0.02).any(1)
    masks = strongest(maps)

    def changed(hidden: Tensor) -> float:
        masked = torch.where(hidden[:, None], scene, part.observations)
        return float((decided(policy, masked) != part.actions).float().mean())

    def elsewhere(one: Callable[[int], Tensor]) -> float:
        return fmean(changed(torch.stack([one(i) for i in range(len(masks))])) for _ in range(DRAWS))

    moved = elsewhere(lambda i: shifted(masks[i], generator))
    return Changes(changed(masks), moved, elsewhere(lambda i: beside(masks[i], ink[i], generator)))


def with_interval(values: Sequence[float]) -> dict[str, Any]:
    """A mean and its bootstrap 95 % interval over episodes."""
    return {"mean": fmean(values), "interval": interval(values)}


def masking(policy: Policy, episodes: Sequence[Episode], way: str, seed: int = 0) -> dict[str, Any]:
    """How often masking changes the action: rates, and differences to the evidence with intervals over episodes."""
    scene, generator = empty_scene(), np.random.default_rng(seed)
    each = [changes(policy, e, way, scene, generator) for e in track(episodes, len(episodes), f"masking: {way}")]
    rates = {name: fmean(getattr(one, name) for one in each) for name in Changes._fields}
    return {
        "rates": rates,
        "more than shifted": with_interval([one.evidence - one.shifted for one in each]),
        "more than ink": with_interval([one.evidence - one.ink for one in each]),
    }


def returns(episodes: Sequence[Episode], others: Sequence[Episode]) -> dict[str, Any]:
    """Mean returns of the trained and the random policy from equal starts (1 for each step), and the difference."""
    ours, random = ([float(len(e.actions)) for e in some] for some in (episodes, others))
    difference = with_interval([a - b for a, b in zip(ours, random, strict=True)])
    return {"trained": fmean(ours), "random": fmean(random), "difference": difference}


# -------------------------------------------------------------------------------------------- from the command line


def policy_from(weights: Path | None, folder: Path, steps: int, seed: int) -> Policy:
    """The policy of those weights where they are there; else a trained one, whose weights are written."""
    if weights is not None and weights.exists():
        policy = Policy().eval()
        policy.load_state_dict(load_file(weights))
        return policy
    weights = weights or folder / "policy.safetensors"
    made(weights.parent)  # or it would be trained for nothing
    policy = trained(steps, seed)
    write_tensors(weights, policy.state_dict(), {"steps": steps, "seed": seed})
    return policy


def told(found: dict[str, Any]) -> Iterator[str]:
    """The figures in words."""
    value = found["returns"]
    low, high = value["difference"]["interval"]
    yield f"return: {value['trained']:.1f} trained, {value['random']:.1f} random; more by [{low:.1f}, {high:.1f}]"
    yield f"masking {SHARE:.0%} of the pixels changes the action"
    for way, masked in found["masking"].items():
        rates = masked["rates"]
        yield f"  {way}: {rates['evidence']:.1%} with the evidence"
        for name, place in (("shifted", "the same shape elsewhere"), ("ink", "as much of cart and pole elsewhere")):
            low, high = masked[f"more than {name}"]["interval"]
            yield f"    {rates[name]:.1%} with {place}; less by [{low:.1%}, {high:.1%}]"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--out", type=Path, default=Path("explained"), help="folder of what is written")
    parser.add_argument("--weights", type=Path, help="read where they are there, else trained and written")
    parser.add_argument("--steps", type=int, default=80_000, help="most steps of training")
    parser.add_argument("--episodes", type=int, default=20, help="episodes to measure by")
    parser.add_argument("--frames", type=int, default=150, help="of the animation")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)  # so small a network is no faster on more; the figures do not depend on how many there are
    folder = made(given.out)
    policy = policy_from(given.weights, folder, given.steps, given.seed)
    seeds = [10_000 + given.episodes * given.seed + i for i in range(given.episodes)]  # none was trained on
    ours = [play(policy, seed) for seed in track(seeds, len(seeds), "playing")]
    found = {"returns": returns(ours, [play(None, seed) for seed in seeds])}
    found["masking"] = {way: masking(policy, ours, way) for way in WAYS}
    print(*told(found), sep="\n")
    origin = {
        "share": SHARE,
        "wherefore": wf.__version__,
        "torch": torch.__version__,
        "seed": given.seed,
        "episodes": given.episodes,
    }
    write_json(folder / "policy.json", found | {"origin": origin})
    print(write_gif(folder / "policy.gif", drawn(policy, shown(policy, seeds[0], given.frames))))
    return 0 if found["returns"]["difference"]["interval"][0] > 0 else 1


def shown(policy: Policy, seed: int, count: int) -> Episode:
    """The first so many frames of an episode, with its pictures."""
    whole = play(policy, seed, pictures=True)
    return Episode(*(part[:count] for part in whole))


if __name__ == "__main__":
    sys.exit(main())
