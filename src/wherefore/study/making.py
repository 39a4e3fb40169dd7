"""Making: the folder of a study, whole or not there."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import nullcontext
from pathlib import Path

from wherefore.errors import Error
from wherefore.guard import one_thread
from wherefore.saving import can_be_made, write_whole
from wherefore.study.design import Design
from wherefore.study.overview import overview
from wherefore.study.plan import FILE, PICTURES, Plan, read
from wherefore.study.stimuli import Stimuli, stimuli

PAGE = "how.html"


def make(design: Design, folder: str | Path) -> Plan:
    """The plan of a new study, in a folder with ``study.json``, ``pictures/`` and ``how.html``.

    A folder that holds the very same study is left as it is, with its answers. Raises `Error` for one that holds
    anything else, and for what `stimuli` cannot make; then nothing is written.
    """
    folder = can_be_made(folder)
    there = folder.is_dir() and any(folder.iterdir())
    if there and not (folder / FILE).exists():
        raise Error(f"{folder} is not empty, and holds no study: give another folder with --out.")
    before = read(folder) if there else None
    with one_thread() if design.small else nullcontext():
        made = stimuli(design)
    if before is None:
        _write(made, folder)
    elif before.digest != made.plan.digest:
        raise Error(f"{folder} holds another study, which is left as it is: give another folder with --out.")
    return made.plan


def _write(made: Stimuli, folder: Path) -> None:
    """Writes all beside the folder, and puts it in its place in one step."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        (part / PICTURES).mkdir()
        for name in sorted(made.files):  # in the order of names that tell nothing, so that times do not either
            write_whole(part / PICTURES / name, made.files[name])
        write_whole(part / PAGE, overview(made))
        made.plan.write(part)
        part.chmod(0o755 & ~_umask())
        part.replace(folder)
    except OSError as error:
        raise Error(f"{folder} cannot be written ({error.strerror}): give another folder with --out.") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
