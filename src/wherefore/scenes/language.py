"""What is said and asked of a world: captions, phrases, questions with answers."""

from __future__ import annotations

from dataclasses import dataclass

from wherefore.scenes.world import World


@dataclass(frozen=True)
class Question:
    """A question, its answer, what kind of question it is, and the numbers of the things that the answer is about.

    ``about`` is None where the answer is about the place.
    """

    text: str
    answer: str
    kind: str
    about: tuple[int, ...] | None


def captions(world: World) -> tuple[str, ...]:
    """Five captions, all true."""
    return ()


def phrases(world: World) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Phrases about things of the world, and the numbers of the things that each is about."""
    return ()


def questions(world: World) -> tuple[Question, ...]:
    """Questions with their answers."""
    return ()
