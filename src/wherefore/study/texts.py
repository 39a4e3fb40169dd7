"""Texts: what people read in a study. A researcher changes them in ``study.json`` before the first answer."""

from __future__ import annotations

import math

from wherefore.study.plan import Kind

SECONDS: dict[Kind, int] = {"class-discrimination": 8, "trust": 12}  # for a trial, so that pay by the hour is fair
READING = 2  # minutes for consent and instructions
CONTACT = "[your name, your institution, your e-mail address, and the board that approved the study]"
TITLES: dict[Kind, str] = {
    "class-discrimination": "What is it a picture of?",
    "trust": "Which program would you rather rely on?",
}
# Nothing in them says by what to judge: that would favour the methods that were made for it.
INSTRUCTIONS: dict[Kind, str] = {
    "class-discrimination": (
        "A computer program looked at a photograph. You do not see the photograph, but a grey picture of what mattered "
        "to the program for one kind of thing in it.\n\n"
        "Below the picture are two kinds of things. Choose the one that you think the picture shows. Some are hard to "
        "tell: then choose what seems more likely.\n\n"
        "A few pictures are plain photographs: they check that people are looking. Just answer them."
    ),
    "trust": (
        "Two computer programs looked at the same photograph, and both said rightly what is in it. You do not see the "
        "photograph, but for each program a grey picture of what mattered to it.\n\n"
        "Say which of the two programs seems more reliable to you, going by the two pictures. If you see no "
        "difference, say so.\n\n"
        "There is no right answer to most of these: we want to know what you think. In a few, one of the pictures is "
        "nothing but noise: they check that people are looking."
    ),
}
QUESTIONS: dict[Kind, str] = {
    "class-discrimination": "Which of the two is shown here?",
    "trust": "Both programs said: {category}. Which of them is more reliable?",
}
DONE = "That was the last one. Thank you: your answers are saved."


def duration(kind: Kind, trials: int) -> int:
    """How many minutes so many trials take, in fives, rounded up."""
    return 5 * math.ceil((READING + trials * SECONDS[kind] / 60) / 5)


def texts(kind: Kind, trials: int) -> dict[str, str]:
    """What people read who are asked so many trials, catch trials among them; paragraphs end with an empty line.

    ``{category}`` in a question stands for what both networks said.
    """
    return {
        "title": TITLES[kind],
        "consent": (
            f"This is a study of how well people understand what computer programs look at in pictures. You will see "
            f"{trials} screens with pictures and answer one question on each. It takes about {duration(kind, trials)} "
            "minutes.\n\n"
            "Taking part is voluntary. You can stop at any time by closing the page, and need not say why.\n\n"
            "We keep your answers, when you gave them and how long each took. Your worker id is kept in hashed form "
            "only: so that nobody is asked twice, and your answers can be found if you want them deleted. On "
            "Mechanical Turk we also keep the number of your assignment, to hand it in at the end. We keep no name and "
            "no address, and ask nothing about you. The answers serve research and may be published, without anything "
            "that leads to you.\n\n"
            "By going on you say that you are at least 18 years old, that you have read this, and that you agree."
        ),
        "instructions": INSTRUCTIONS[kind],
        "question": QUESTIONS[kind],
        "done": DONE,
        "contact": CONTACT,
    }
