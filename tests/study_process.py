"""A process of its own that answers a study: each line that it prints is an answer that was acknowledged.

Its arguments: the study's folder, the database's URL, a number of its own, how many workers it has at once, by how much
its clock is too fast, so that the time of trials goes by, and since when. It begins when it reads a line, and ends when
nothing is wanted any more.
"""

from __future__ import annotations

import random
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from wherefore.errors import Error
from wherefore.study import plan
from wherefore.study.store import Store, Trial


def main(folder: Path, url: str, number: int, at_once: int, speed: float, since: float) -> None:
    def clock() -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=(time.time() - since) * speed)

    def say(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def answer(token: str, trial: Trial) -> None:
        nonlocal answers
        answers += 1
        option, unique = lot.randrange(2), number * 10**6 + answers
        said = [store.answer(token, trial.id, option, unique) for _ in range(1 + (lot.random() < 0.1))]
        say(f"{trial.item.id} {option} {unique} {' '.join(said)}")

    lot, store, answers, came = random.Random(number), Store(url, plan.read(folder), clock), 0, 0
    present: list[str] = []
    away: list[tuple[str, Trial]] = []  # who left with a trial open, and answers it when it is too late
    say("open")
    sys.stdin.readline()
    while True:
        if len(present) < at_once:
            counts = store.counts()
            if counts["ratings"] == counts["wanted"]:
                break
            present.append(store.consent(store.enter("local", f"{number}-{came}", simulated=True).token).token)
            came += 1
        token = lot.choice(present)
        trial = store.next(token)
        if trial is None:
            try:
                store.finish(token)
            except Error as error:  # meanwhile a trial of somebody else's has come back: they go on
                if "There are trials left" not in str(error):
                    raise
                continue
            present.remove(token)
        elif speed > 1 and lot.random() < 0.05:
            away.append((token, trial))
            present.remove(token)
        else:
            answer(token, trial)
    for token, trial in away:
        answer(token, trial)
    store.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), *map(float, sys.argv[5:]))
