"""A policy for CartPole that sees rendered frames alone, trained by PPO.

The network gets what gymnasium draws, nothing else, and learns from the rewards (Schulman et al. 2017, with generalised
advantages). Frames are drawn without a screen.
"""

from __future__ import annotations

import os
from collections import deque
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from wherefore.progress import track

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")  # or SDL keeps the end that others ask for to itself
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
import gymnasium as gym
import pygame  # noqa: F401  what draws the frames; here, so that whoever lacks it learns it now

ACTIONS = ("push left", "push right")
REGION = (0, 160, 600, 320)  # what the network sees of a picture of 600x400: the strip that cart and pole move in
SHRINK = 5  # ... in squares of 5x5 pixels: 120x32
BACK = 4  # ... twice, now and 4 steps before, or nothing would show which way the pole falls
ENVIRONMENTS, STEPS, PASSES, PIECE = 8, 64, 4, 128  # of PPO: a rollout is 8x64 steps, learnt from 4 times in pieces
DISCOUNT, TRACE, CLIP, ENTROPY, RATE = 0.99, 0.95, 0.2, 0.01, 3e-3
GOAL = 475.0  # training ends when the last 20 episodes return as much on average: gymnasium calls that solved

# -------------------------------------------------------------------------------------------- what is seen


class Frames(gym.Wrapper):  # type: ignore[type-arg]
    """CartPole observed by its pictures alone: darkness ``(2, 32, 120)`` in 0..1, now and `BACK` steps before.

    Paper is 0 and ink is 1, so that an empty cell gives a convolution nothing.
    """

    def __init__(self) -> None:
        super().__init__(gym.make("CartPole-v1", render_mode="rgb_array"))
        self.past: deque[Tensor] = deque(maxlen=BACK + 1)

    def reset(self, **options: Any) -> tuple[Tensor, dict[str, Any]]:
        info = self.env.reset(**options)[1]
        self.past.extend([seen(self.picture())] * (BACK + 1))
        return self.observation(), info

    def step(self, action: Any) -> tuple[Tensor, float, bool, bool, dict[str, Any]]:
        _, reward, ended, cut, info = self.env.step(action)
        self.past.append(seen(self.picture()))
        return self.observation(), float(reward), ended, cut, info  # type: ignore[arg-type]

    def observation(self) -> Tensor:
        """The newest and the oldest frame, as two channels."""
        return torch.stack([self.past[-1], self.past[0]])

    def picture(self) -> Image.Image:
        """The picture that gymnasium draws, 600x400."""
        return Image.fromarray(self.env.render())  # type: ignore[arg-type]


def seen(picture: Image.Image) -> Tensor:
    """The darkness ``(32, 120)`` of a picture in `REGION`, the mean of every square."""
    grey = np.asarray(picture.crop(REGION).convert("L").reduce(SHRINK), np.float32)
    return torch.from_numpy(1 - grey / 255)


def empty_scene() -> Tensor:
    """What is seen ``(2, 32, 120)`` of a track without cart and pole: the cart stands far outside of the picture."""
    frames = Frames()
    frames.reset(seed=0)
    frames.unwrapped.state = (100.0, 0.0, 0.0, 0.0)  # type: ignore[attr-defined]
    return seen(frames.picture()).expand(2, -1, -1)


# -------------------------------------------------------------------------------------------- the policy


class Policy(nn.Module):
    """Logits ``(B, 2)`` of the actions from observations ``(B, 2, 32, 120)``: convolutions, their maxima, one layer.

    An even kernel with stride 2 looks at the middle of the cell that its output is drawn in. Each channel's maximum
    says what is there, wherever it is: pole and cart look alike in all places, and need to be learnt in one only.
    Without biases empty paper is 0 in every layer, so that it can be evidence for nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(2, 16, 4, 2, 1, bias=False), nn.ReLU(),
            nn.Conv2d(16, 32, 4, 2, 1, bias=False), nn.ReLU(),
            nn.Conv2d(32, 32, 3, 1, 1, bias=False), nn.ReLU(),
        )  # fmt: skip
        self.action, self.value = nn.Linear(32, len(ACTIONS)), nn.Linear(32, 1)
        for convolution in self.features[::2]:
            nn.init.orthogonal_(convolution.weight, 2**0.5)  # type: ignore[arg-type]
        nn.init.orthogonal_(self.action.weight, 0.01)  # it begins as the random policy

    def forward(self, observations: Tensor) -> Tensor:
        return self.both(observations)[0]

    def both(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Logits ``(B, 2)``, and the discounted returns ``(B,)`` that are expected."""
        found = self.features(observations).amax((2, 3))
        return self.action(found), self.value(found).squeeze(1)


# -------------------------------------------------------------------------------------------- learning


class Rollout(NamedTuple):
    """What a policy did in some environments, each ``(T, N)`` before anything else; ``last`` is the value after it."""

    observations: Tensor
    actions: Tensor
    chances: Tensor  # log-probabilities
    values: Tensor
    rewards: Tensor
    ended: Tensor  # 1 where the next observation is of another episode
    last: Tensor


class Crowd:
    """Environments played side by side; ``returns`` are those of the last 20 episodes."""

    def __init__(self, seed: int) -> None:
        self.frames = [Frames() for _ in range(ENVIRONMENTS)]
        first = [each.reset(seed=seed * ENVIRONMENTS + i)[0] for i, each in enumerate(self.frames)]
        self.now, self.lengths, self.returns = torch.stack(first), [0.0] * ENVIRONMENTS, deque[float](maxlen=20)

    @torch.no_grad()
    def play(self, policy: Policy) -> Rollout:
        """The next steps of all environments, actions drawn from the policy."""
        steps = []
        for _ in range(STEPS):
            logits, values = policy.both(self.now)
            actions = torch.distributions.Categorical(logits=logits).sample()
            chances = logits.log_softmax(1).gather(1, actions[:, None])[:, 0]
            before, (rewards, ended) = self.now, self._step(actions.tolist(), policy)
            steps.append((before, actions, chances, values, rewards, ended))
        return Rollout(*map(torch.stack, zip(*steps, strict=True)), policy.both(self.now)[1])

    def _step(self, actions: list[int], policy: Policy) -> tuple[Tensor, Tensor]:
        """Rewards, times 1 - `DISCOUNT` so that values lie in 0..1, and which episodes ended."""
        rewards, ends, after = [], [], []
        for i, (frames, action) in enumerate(zip(self.frames, actions, strict=True)):
            observation, reward, ended, cut, _ = frames.step(action)
            self.lengths[i] += reward
            reward *= 1 - DISCOUNT
            if cut and not ended:  # it would have gone on: what was still to come counts
                reward += DISCOUNT * float(policy.both(observation[None])[1])
            if ended or cut:
                self.returns.append(self.lengths[i])
                observation, self.lengths[i] = frames.reset()[0], 0.0
            rewards.append(reward), ends.append(float(ended or cut)), after.append(observation)
        self.now = torch.stack(after)
        return torch.tensor(rewards), torch.tensor(ends)


def advantages(rewards: Tensor, values: Tensor, ended: Tensor, last: Tensor) -> Tensor:
    """How much better than expected each action was, ``(T, N)`` (Schulman et al. 2016, eq. 16)."""
    result, advantage, following = torch.zeros_like(rewards), torch.zeros_like(last), last
    for t in reversed(range(len(rewards))):
        goes_on = 1 - ended[t]
        surprise = rewards[t] + DISCOUNT * following * goes_on - values[t]
        result[t] = advantage = surprise + DISCOUNT * TRACE * goes_on * advantage
        following = values[t]
    return result


def learn(policy: Policy, optimizer: torch.optim.Optimizer, played: Rollout) -> None:
    """One update of the policy from what it played: PPO's clipped objective, value and entropy."""
    better = advantages(played.rewards, played.values, played.ended, played.last)
    parts = (played.observations, played.actions, played.chances, better, better + played.values)
    everything = [part.flatten(0, 1) for part in parts]
    for _ in range(PASSES):
        for piece in torch.randperm(len(everything[0])).split(PIECE):
            observations, actions, chances, gains, returns = (part[piece] for part in everything)
            logits, values = policy.both(observations)
            log = logits.log_softmax(1)
            ratio = (log.gather(1, actions[:, None])[:, 0] - chances).exp()
            gains = (gains - gains.mean()) / (gains.std() + 1e-8)
            gained = torch.minimum(ratio * gains, ratio.clamp(1 - CLIP, 1 + CLIP) * gains).mean()
            entropy = -(log.exp() * log).sum(1).mean()
            loss = 0.5 * F.mse_loss(values, returns) - gained - ENTROPY * entropy
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(policy.parameters(), 0.5)
            optimizer.step()


def trained(steps: int, seed: int = 0) -> Policy:
    """A policy after so many steps of its environments, or as soon as it reaches `GOAL`."""
    torch.manual_seed(seed)
    policy, crowd, rollouts = Policy(), Crowd(seed), max(1, steps // (ENVIRONMENTS * STEPS))
    optimizer = torch.optim.Adam(policy.parameters(), RATE)
    for i in track(range(rollouts), rollouts, "training"):
        optimizer.param_groups[0]["lr"] = RATE * (1 - i / rollouts)
        learn(policy, optimizer, crowd.play(policy))
        if len(crowd.returns) == 20 and fmean(crowd.returns) >= GOAL:
            break
    return policy.eval()
