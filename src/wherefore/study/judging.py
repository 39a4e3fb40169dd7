"""What an answer says of its item, and the row that the analysis reads."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from wherefore.errors import Error
from wherefore.study.plan import Item, Rating


def judged(item: Item, flipped: bool, option: int) -> tuple[str, float]:
    """What an option on somebody's screen says of an item, in words and as the value of a `Rating`.

    In class discrimination the options change places when flipped; in trust the pictures do, and the words, from
    "Clearly the first", stay where they are. Raises `Error` where the item has no such option.
    """
    if not 0 <= option < len(item.options):
        raise Error("That answer could not be read: please go back and choose again.")
    if item.models:
        value = len(item.options) // 2 - option
        return item.options[option], float(-value if flipped else value)
    choice = item.options[::-1][option] if flipped else item.options[option]
    return choice, float(choice == item.truth)


def rating(item: Item, row: Row[Any]) -> Rating:
    """The rating of an item in a row of answer, assignment and worker."""
    return Rating(
        worker=row.hash,
        item=item.id,
        picture=item.picture,
        method=item.method,
        category=item.category,
        choice=row.choice,
        value=row.value,
        side=row.option,
        flipped=row.flipped,
        position=row.position,
        rt_ms=row.rt_ms,
        answered_at=row.answered_at.isoformat(),
        platform=row.platform,
        catch=item.catch,
        surplus=row.surplus,
        simulated=row.simulated,
        finished=row.finished_at is not None,
    )
