"""The example of reinforcement learning: what the network sees, learning, masks, the animation, and all of it."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

EXAMPLES = Path(__file__).parents[1] / "examples"
for needed in ("gymnasium", "pygame"):
    pytest.importorskip(needed, reason="needs gymnasium[classic-control], of the extra dev")
sys.path.insert(0, str(EXAMPLES))
cartpole, policy = importlib.import_module("cartpole"), importlib.import_module("policy")


def net() -> Any:
    """An untrained policy whose probabilities are not all alike."""
    made = cartpole.Policy().eval()
    with torch.no_grad():
        made.action.weight.normal_(0, 3)
    return made


# ---------------------------------------------------------------------------------------- what is seen


def test_equal_seeds_and_actions_show_equal_frames() -> None:
    """... of the promised shape and range, newest first; after a reset there is nothing older."""
    first, second = (policy.play(None, seed=3) for _ in range(2))
    assert torch.equal(first.observations, second.observations) and torch.equal(first.actions, second.actions)
    assert first.observations.shape == (len(first.actions), 2, 32, 120)
    assert 0 <= first.observations.min() and first.observations.max() <= 1
    assert torch.equal(first.observations[0, 0], first.observations[0, 1])
    assert torch.equal(first.observations[4:, 1], first.observations[: -cartpole.BACK, 0])
    assert not torch.equal(first.observations[-1], policy.play(None, seed=4).observations[-1])


def test_a_thing_in_the_picture_lies_where_it_belongs_in_the_frame() -> None:
    """Darkness is the mean of 5x5 pixels below row 160, and what lies above or below the strip is not seen."""
    picture = Image.new("RGB", (600, 400), "white")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((200, 160 + 50, 209, 160 + 54), fill="black")  # cells 40 and 41 of row 10
    draw.rectangle((300, 160 + 100, 301, 160 + 104), fill="black")  # two columns of five of cell 60, row 20
    draw.rectangle((0, 0, 599, 159), fill="black")
    draw.rectangle((0, 320, 599, 399), fill="black")
    expected = torch.zeros(32, 120)
    expected[10, 40:42], expected[20, 60] = 1, 0.4
    assert torch.allclose(cartpole.seen(picture), expected, atol=1 / 255)


def test_the_empty_scene_is_the_track_alone() -> None:
    """Equal to any frame where neither cart nor pole is near, which themselves are not in it."""
    scene, frames = cartpole.empty_scene(), cartpole.Frames()
    start = frames.reset(seed=0)[0]
    assert scene.shape == start.shape
    assert torch.equal(scene[..., :50], start[..., :50]) and torch.equal(scene[..., 70:], start[..., 70:])
    assert scene.max() < 0.25 and start.max() > 0.9


def test_the_drawn_evidence_lies_over_what_was_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A map that is hot in one cell colours that part of the picture and leaves the paper elsewhere as it was."""
    episode = policy.shown(net(), 1, 1)
    heat = torch.zeros(1, 8, 30)
    heat[0, 2, 20] = 1.0  # of 20x20 pixels: x 400 to 420, y 200 to 220, which the view draws 140 higher
    monkeypatch.setattr(policy, "evidence", lambda *_: (heat, torch.ones(1)))
    colours = np.asarray(policy.drawn(net(), episode)[0].convert("RGB")).astype(int)[:200]
    hot = np.argwhere(np.ptp(colours, axis=2) > 40)
    assert abs(hot - (70, 410)).max() <= 20 and abs(hot.mean(0) - (69.5, 409.5)).max() < 1


# ---------------------------------------------------------------------------------------- learning


def test_advantages_equal_the_sums_that_define_them() -> None:
    """Against a plain sum of discounted surprises up to the end of each episode."""
    steps, count = 12, 3
    rewards, values, last = torch.rand(steps, count), torch.rand(steps, count), torch.rand(count)
    ended = (torch.rand(steps, count) < 0.2).float()
    assert 0 < ended.sum() < ended.numel()
    found = cartpole.advantages(rewards, values, ended, last)
    following = torch.cat([values[1:], last[None]])
    for n in range(count):
        for t in range(steps):
            total, factor = 0.0, 1.0
            for later in range(t, steps):
                goes_on = 1 - float(ended[later, n])
                surprise = rewards[later, n] + 0.99 * following[later, n] * goes_on - values[later, n]
                total, factor = total + factor * float(surprise), factor * 0.99 * 0.95
                if not goes_on:
                    break
            assert float(found[t, n]) == pytest.approx(total, abs=1e-5)


def test_an_episode_that_is_cut_off_counts_what_was_still_to_come() -> None:
    """At its time limit; where the pole fell nothing is to come."""
    torch.manual_seed(0)
    model, crowd = net(), cartpole.Crowd(0)
    for each in crowd.frames:
        each.step = lambda action: (crowd.now[0], 1.0, action == 0, True, {})
    with torch.no_grad():
        expected = float(model.both(crowd.now[:1])[1])
        rewards, ended = crowd._step([0, 1] * 4, model)
    assert ended.tolist() == [1.0] * 8 and list(crowd.returns) == [1.0] * 8
    assert rewards.tolist() == pytest.approx([0.01, 0.01 + 0.99 * expected] * 4, abs=1e-6)


class Descent:
    """Plain steps down the gradient; torch's own optimizers load its compiler, which takes longer than these tests."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model

    def zero_grad(self) -> None:
        self.model.zero_grad()

    def step(self) -> None:
        with torch.no_grad():
            for weight in self.model.parameters():
                weight -= 0.5 * weight.grad


def test_a_step_of_learning_makes_what_went_well_more_probable() -> None:
    """An action that always ends well and one that never does, in the same scene."""
    model, scene = cartpole.Policy(), cartpole.Frames().reset(seed=0)[0]
    actions, nothing = (torch.arange(16) % 2).view(4, 4), torch.zeros(4, 4)
    seen, ended = scene.expand(4, 4, *scene.shape), nothing + 1
    rollout = cartpole.Rollout(seen, actions, nothing + np.log(0.5), nothing, actions.float(), ended, torch.zeros(4))
    with torch.no_grad():
        before = model(scene[None]).softmax(1)[0, 1].item()
    cartpole.learn(model, Descent(model), rollout)
    assert model(scene[None]).softmax(1)[0, 1].item() > before + 0.05


# ---------------------------------------------------------------------------------------- masks


def test_the_mask_covers_exactly_the_share_where_the_map_is_highest() -> None:
    maps = torch.rand(3, 32, 120)
    masks = policy.strongest(maps, 0.02)
    assert masks.flatten(1).sum(1).tolist() == [77] * 3
    assert all(maps[i][masks[i]].min() > maps[i][~masks[i]].max() for i in range(3))


def test_the_shifted_mask_has_the_same_shape_elsewhere() -> None:
    mask = torch.zeros(32, 120, dtype=torch.bool)
    mask[4:9, 50:60] = mask[9:12, 55:57] = True
    generator = np.random.default_rng(0)
    moved = [policy.shifted(mask, generator) for _ in range(20)]
    assert all(int(each.sum()) == int(mask.sum()) and not (each & mask).any() for each in moved)
    rolls = {mask.roll((y, x), (0, 1)).numpy().tobytes() for y in range(32) for x in range(120)}
    assert all(each.numpy().tobytes() in rolls for each in moved) and len({str(m.nonzero()) for m in moved}) > 15


def test_ink_beside_the_mask_is_as_much_and_connected() -> None:
    ink, mask = torch.zeros(2, 32, 120, dtype=torch.bool)
    ink[10:20, 50:70], mask[5:12, 40:60] = True, True  # 20 of 200 cells with ink are masked
    found = policy.beside(mask, ink, np.random.default_rng(0))
    assert int(found.sum()) == 20 and not (found & mask).any() and not (found & ~ink).any()
    assert max(np.ptp(found.nonzero().numpy(), axis=0)) < 15
    assert not policy.beside(ink, ink, np.random.default_rng(0)).any()  # nothing is left beside it


def test_masking_what_decides_changes_every_action(monkeypatch: pytest.MonkeyPatch) -> None:
    """A policy that pushes right where it sees something dark, whose evidence is planted on the cart."""

    class Dark(torch.nn.Module):
        def forward(self, observations: torch.Tensor) -> torch.Tensor:
            return torch.stack([torch.full((len(observations),), 0.5), observations.amax((1, 2, 3))], dim=1)

    episode = policy.play(None, seed=3)
    episode = episode._replace(actions=torch.ones_like(episode.actions))
    monkeypatch.setattr(policy, "evidence", lambda _, part, way: (part.observations.amax(1), torch.ones(1)))
    found = policy.changes(Dark(), episode, "planted", cartpole.empty_scene(), np.random.default_rng(0))
    assert found.evidence > 0.9 and found.shifted == 0 and found.ink == 0


# ---------------------------------------------------------------------------------------- files


def test_the_animation_has_every_frame(tmp_path: Path) -> None:
    episode = policy.shown(net(), 1, 6)
    assert len(episode.pictures) == len(episode.observations) == len(episode.actions) == 6
    with Image.open(policy.write_gif(tmp_path / "policy.gif", policy.drawn(net(), episode))) as gif:
        assert gif.n_frames == 6 and gif.width == 600


def test_the_evidence_is_that_of_the_log_probability_of_what_was_done() -> None:
    """Its probability is the softmax's, and its map is (1 - p) times that of the difference of the two logits."""
    model, episode = net(), policy.play(None, seed=3)
    maps, chances = policy.evidence(model, episode, "grad-cam, last layer")
    taken = model(episode.observations).softmax(1).gather(1, episode.actions[:, None])[:, 0]
    assert torch.allclose(chances, taken, atol=1e-5)
    for i in (0, len(maps) - 1):
        action = int(episode.actions[i])
        target = policy.wf.Difference(action, 1 - action)
        expected = policy.wf.explain(model, episode.observations[i : i + 1], target).maps[0, 0]
        assert torch.allclose(maps[i], (1 - taken[i]) * expected, atol=1e-6)


@pytest.mark.slow
def test_it_learns_and_needs_what_it_looked_at(tmp_path: Path) -> None:
    """Better than random, and masking the evidence changes the action more often than masking as much elsewhere."""
    command = [sys.executable, EXAMPLES / "policy.py", "--out", tmp_path, "--steps", "20000", "--episodes", "10"]
    said = subprocess.run(
        [*command, "--frames", "20"], check=True, capture_output=True, text=True, env=dict(os.environ)
    )
    found = json.loads((tmp_path / "policy.json").read_text())
    assert found["returns"]["difference"]["interval"][0] > 0
    masked = found["masking"][policy.DRAWN]
    assert masked["more than shifted"]["interval"][0] > 0 and masked["more than ink"]["interval"][0] > 0
    assert "trained" in said.stdout and (tmp_path / "policy.gif").stat().st_size < 1_000_000
    command += ["--weights", tmp_path / "policy.safetensors"]
    again = subprocess.run([*command, "--frames", "20"], check=True, capture_output=True, text=True)
    assert again.stdout == said.stdout  # from the weights that were written
