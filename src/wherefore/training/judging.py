"""How good the networks with words are on test scenes, whose compositions no training scene has.

Captions are held against what is in the scene; answers are counted by the kind of question, asked as in training and in
ways that training never had, beside what the questions alone tell.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from wherefore.metrics.resampling import interval, wilson
from wherefore.models.answering import CoAttention
from wherefore.models.scenes import preprocess
from wherefore.scenes.language import questions
from wherefore.scenes.phrasing import phrasings
from wherefore.scenes.truth import checked
from wherefore.scenes.world import World
from wherefore.speech import padded, said
from wherefore.training.data import Wanted, drawn
from wherefore.training.losses import told
from wherefore.training.recipes import Mix
from wherefore.training.teaching import unseen
from wherefore.training.texts import of_mix

TEST: Mix = ((1, 500), (2, 500), (None, 500))
Row = dict[str, Any]


def pictures(mix: Mix, network: str, batch: int = 100) -> Iterator[tuple[Tensor, Sequence[World]]]:
    """Test pictures as the network takes them, ``(n, 3, S, S)``, and what is in them, batch by batch."""
    seen = preprocess(network)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (seen.mean, seen.std))
    arrays = np.concatenate([drawn(Wanted("test", objects, count, seen))[0] for objects, count in mix])
    worlds = of_mix("test", mix)
    for start in range(0, len(worlds), batch):
        x = torch.from_numpy(arrays[start : start + batch]).permute(0, 3, 1, 2).float() / 255
        yield (x - mean) / std, worlds[start : start + batch]


# -------------------------------------------------------------------------------------------- captions


@torch.inference_mode()
def captions_of(net: nn.Module, network: str, mix: Mix = TEST) -> list[tuple[str, World]]:
    """What the network says of test scenes, and what is in them."""
    found = []
    for images, worlds in pictures(mix, network):
        speech = net.eval()(images)
        found += [(speech.language.text(t), world) for t, world in zip(said(speech), worlds, strict=True)]
    return found


def of_captions(captions: Sequence[tuple[str, World]]) -> list[Row]:
    """Shares with their intervals: of captions that are true, and of what they say that is; none of nothing."""
    verdicts = [checked(caption, world) for caption, world in captions]
    rows = [_share("captions that are true", [v.true for v in verdicts])]
    for count in (1, 2):
        of = [v.true for v, (_, w) in zip(verdicts, captions, strict=True) if len(w.things) == count]
        rows += [_share(f"captions that are true, {count} object{'s' * (count > 1)}", of)] if of else []
    for name, what in (("objects", "things"), ("colours and textures", "looks"), ("places and relations", "where")):
        counts = [(tally.right, tally.claimed) for tally in (getattr(v, what) for v in verdicts) if tally.claimed]
        rows += [_right(f"{name} said that are right", counts)] if counts else []
    return [*rows, _share("captions that are whole sentences", [v.understood for v in verdicts])]


def _right(name: str, counts: Sequence[tuple[int, int]]) -> Row:
    """The share of claims that are right, of how many are so of how many in each caption; resampled by captions."""

    def share(some: Any) -> float:
        return float(sum(right for right, _ in some) / sum(claimed for _, claimed in some))

    low, high = interval(counts, 200, statistic=share)
    return {"name": name, "value": share(counts), "low": low, "high": high, "n": len(counts)}


# -------------------------------------------------------------------------------------------- answers

Hits = dict[tuple[str, str], list[bool]]


@torch.inference_mode()
def answered(net: Any, network: str, blind: bool = False, mix: Mix = TEST) -> Hits:
    """Whether each question of test scenes is answered right, by how it is asked and by its kind."""
    hits: Hits = defaultdict(list)
    net.eval()
    for images, worlds in pictures(mix, network):
        seen = net.places(images) if isinstance(net, CoAttention) else net.cnn(images)
        seen = told(net, unseen(net, len(images))) if blind else seen
        asked = [(row, question) for row, world in enumerate(worlds) for question in questions(world)]
        rows = torch.tensor([row for row, _ in asked])
        for way in ("as in training", "in new words"):
            texts = [q.text if way == "as in training" else phrasings(q).held_out for _, q in asked]
            tokens = padded([net.vocabulary.numbers(text) for text in texts], 0)
            scores = _scores(net, seen[rows], tokens)
            for (_, question), best in zip(asked, scores.argmax(1).tolist(), strict=True):
                hits[way, question.kind].append(net.answers[best] == question.answer)
    return hits


def _scores(net: Any, seen: Tensor, tokens: Tensor, batch: int = 400) -> Tensor:
    """The scores of the answers, in pieces: attention over all places takes memory."""
    return torch.cat([net.answered(*each) for each in zip(seen.split(batch), tokens.split(batch), strict=True)])


def of_answers(hits: Mapping[tuple[str, str], Sequence[bool]], blind: Hits) -> list[Row]:
    """The accuracy by kind of question and over all, each with what the questions alone tell."""
    rows = []
    for way in ("as in training", "in new words"):
        kinds = [kind for asked, kind in hits if asked == way]
        every = [h for kind in kinds for h in hits[way, kind]]
        alone = [h for kind in kinds for h in blind[way, kind]]
        rows.append(_share(f"all questions, {way}", every) | {"question only": float(np.mean(alone))})
        for kind in kinds:
            row = _share(f"{kind}, {way}", hits[way, kind])
            rows.append(row | {"question only": float(np.mean(blind[way, kind]))})
    return rows


def _share(name: str, hits: Sequence[bool]) -> Row:
    low, high = wilson(sum(hits), len(hits))
    return {"name": name, "value": float(np.mean(hits)), "low": low, "high": high, "n": len(hits)}
