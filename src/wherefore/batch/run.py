"""A run over many pictures: a folder with a manifest, a listing and a Parquet file for each shard of it.

What is asked and of which pictures is fixed when a run begins. A shard is whole or not there: whoever is killed loses
the shards that they were at, and whoever goes on makes those that are missing, on this machine (`wherefore.batch.local`
is for a few files; `wherefore.batch.shards` makes the rows) or on a cluster (`wherefore.batch.cluster`).
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from wherefore import __version__
from wherefore.batch import listing
from wherefore.batch.rows import SLICE
from wherefore.below import PLAIN
from wherefore.datasets import Dataset
from wherefore.errors import Error
from wherefore.explainer import Explainer
from wherefore.inputs import NOT_YET
from wherefore.models.zoo import load, moved
from wherefore.saving import made, write_json
from wherefore.subjects import Picture
from wherefore.tuning import Tuned, tuned

TUNE = "tune"  # as a way of running the part below the layer: the fastest, measured when a run begins
SHARD = 1024  # pictures; a multiple of every slice, so that no slice is of two shards
FILE, LOCK, FORMAT = "manifest.json", ".lock", 1
_PART = re.compile(r"([0-9]+)/([0-9]+)")


@dataclass(frozen=True)
class Settings:
    """What is asked of every picture. Words and numbers alone, so that another process or machine can do it.

    ``target`` is a name, an index, ``top5`` or ``all``, or several of these; by default the first answer. ``weights``
    are a file's path, ``classes`` the names of its classes. ``below`` is a way of `wherefore.below`, or ``tune``: the
    fastest, measured when the run begins; the manifest has that in its place, for all who go on with the run.
    """

    model: str
    weights: str | None = None
    classes: tuple[str, ...] | None = None
    target: tuple[str, ...] = ()
    method: str = "grad-cam"
    layer: str | None = None
    fit: str = "model"
    output: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    below: str = PLAIN

    def explainer(self, device: str | None = None) -> Explainer:
        """The network on a device, ready to be asked."""
        model = moved(load(self.model, self.weights or "default", classes=self.classes), device)
        below = PLAIN if self.below == TUNE else self.below
        given: dict[str, Any] = {"fit": self.fit, "below": below, "output": self.output, "batch_size": self.at_once}
        return Explainer(model, self.method, self.layer, **given, **self.options)

    @property
    def small(self) -> bool:
        """Whether the network is one of those that the package carries, which gain nothing from a second thread."""
        return self.model.startswith("scenes:")

    @property
    def at_once(self) -> int | None:
        """How many pictures go through the network at once, if not the usual number.

        A slice, where the network is so small that what a call costs beside it tells.
        """
        return SLICE if self.small else None

    @property
    def asked(self) -> Any:
        """The target as `wherefore.explain` takes it."""
        return (self.target[0] if len(self.target) == 1 else [*self.target]) if self.target else None


@dataclass(frozen=True)
class Run:
    """A run that has begun: its folder, and what its manifest says."""

    folder: Path
    said: Mapping[str, Any]

    @cached_property
    def settings(self) -> Settings:
        """What is asked of every picture."""
        given = dict(self.said["settings"])
        names = {name: tuple(given[name]) for name in ("classes", "target") if given[name] is not None}
        return Settings(**{**given, **names})

    @cached_property
    def dataset(self) -> Dataset:
        """The pictures."""
        said = self.said["listing"]
        return listing.reopened(self.folder, said["kind"], self.said["source"], Path(said["root"]))

    @property
    def count(self) -> int:
        """How many pictures there are."""
        return int(self.said["listing"]["count"])

    @property
    def size(self) -> int:
        """How many pictures a shard has, but the last."""
        return int(self.said["shard"])

    @property
    def shards(self) -> range:
        """The numbers of the shards."""
        return range(-(-self.count // self.size))

    def numbers(self, shard: int) -> range:
        """The numbers of a shard's pictures."""
        return range(shard * self.size, min((shard + 1) * self.size, self.count))

    def path(self, shard: int) -> Path:
        """Where a shard is kept."""
        return self.folder / f"shard-{shard:06}.parquet"

    def tidy(self) -> None:
        """Takes away what those left that were killed as they wrote a shard; for who holds the whole folder."""
        for path in self.folder.glob("shard-*.part"):
            path.unlink(missing_ok=True)

    def missing(self, part: str | None = None) -> list[int]:
        """The shards that are not there yet; of a ``part`` ``i/n`` every n-th of all, from the i-th."""
        i, n = parted(part) if part else (1, 1)
        return [shard for shard in self.shards[i - 1 :: n] if not self.path(shard).exists()]


def parted(part: str) -> tuple[int, int]:
    """The i and the n of ``i/n``, i from 1. Raises `Error` for what is none."""
    found = _PART.fullmatch(part)
    i, n = map(int, found.groups()) if found else (0, 0)
    if not 1 <= i <= n:
        raise Error(f"--shard says which part of how many, from 1: 3/16, not {part}.")
    return i, n


def begun(source: str, folder: Path, settings: Settings, why: Explainer, limit: int | None = None) -> Run:
    """The run in a folder, which goes on where it was, or a new one.

    What is to be tuned is measured by whoever begins the run, while the others wait. Raises `Error` where the folder is
    another run's: of other settings, another source, or a data set that has changed.
    """
    asked = {
        "source": source,
        "limit": limit,
        "settings": asdict(settings),
        "version": __version__,
        "weights_sha256": why.model.weights_sha256,
        "preprocess": repr(why.model.preprocess),
    }
    wanted = json.loads(json.dumps(asked, default=str))
    with _held(made(folder) / f"{LOCK}-listing", wait=True):  # of several parts that begin at once, one lists
        there = manifest(folder)
        if not there:
            return Run(folder, _new(wanted, folder, why))
        run = Run(folder, _same(there, wanted, folder))
        if settings.below == TUNE:
            print(f"wherefore: below={run.settings.below}, as measured when the run began.", file=sys.stderr)
        return run


def _new(wanted: Mapping[str, Any], folder: Path, why: Explainer) -> dict[str, Any]:
    """What the manifest of a new run says. It is written last: a folder without one holds no run."""
    if others := [each for each in folder.iterdir() if not (each.name.startswith(".") or each.name == listing.FILE)]:
        raise Error(f"{folder} holds {others[0].name} and no run: give a folder of its own.")
    source, limit = wanted["source"], wanted["limit"]
    kind, columns = listing.listed(source, limit, folder)
    said: dict[str, Any] = {"kind": kind, "root": str(Path.cwd())}
    if columns is None:
        dataset = listing.reopened(folder, kind, source, Path.cwd())
        said |= {"count": min(len(dataset), limit or len(dataset)), "fingerprint": dataset.fingerprint}
    else:
        said |= {"count": len(columns["path"]), "sha256": listing.frozen(folder, columns)}
    if not said["count"]:
        raise Error(f"{source} lists no pictures.")
    whole = {"format": FORMAT, **wanted, "listing": said, "shard": SHARD, "begun": f"{datetime.now(UTC):%F %T} UTC"}
    if wanted["settings"]["below"] == TUNE:
        found = _tuned(Run(folder, whole), why)
        whole |= {"settings": {**wanted["settings"], "below": found.explainer.below}, "tuned": found.report()}
    write_json(folder / FILE, whole)
    return whole


def _tuned(run: Run, why: Explainer) -> Tuned:
    """What is fastest for the first pictures of a run."""

    def read(number: int) -> Picture:
        sample = run.dataset[number]
        return Picture(sample.name, sample.image, NOT_YET)

    reads = (partial(read, number) for number in range(run.count))
    return tuned(why, reads, run.settings.asked, run.count, why.at_once)


def reopened(folder: Path) -> Run:
    """The run in a folder. Raises `Error` where there is none."""
    said = manifest(folder)
    if said is None:
        raise Error(f"{folder} holds no run: make one with `wherefore batch`.")
    return Run(folder, said)


def manifest(folder: Path) -> dict[str, Any] | None:
    """What a run's manifest says; None where there is none. Raises `Error` for one that cannot be read."""
    try:
        said: dict[str, Any] = json.loads((folder / FILE).read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise Error(f"{folder / FILE} cannot be read ({error}): give another folder.") from None
    if said.get("format") != FORMAT:
        raise Error(f"{folder} holds no run of this version: give another folder.")
    return said


def _same(there: dict[str, Any], wanted: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What the manifest says, where it says what is wanted."""
    was, now = ({**said, **said["settings"]} for said in (there, wanted))
    if now["below"] == TUNE and "tuned" in there:
        now["below"] = was["below"]
    other = [name for name in now if name != "settings" and was.get(name) != now[name]]
    if other:
        first = other[0]
        raise Error(
            f"{folder} holds a run with other settings ({first}: {was.get(first)}, not {now[first]}): "
            "give them as they were, or another folder."
        )
    said = there["listing"]
    if said["kind"] == listing.DATASET:
        found = listing.reopened(folder, said["kind"], there["source"], Path(said["root"])).fingerprint
        if found != said["fingerprint"]:
            raise Error(f"the files of {there['source']} have changed since the run in {folder} began: begin anew.")
    return there


@contextmanager
def taken_back(folder: Path, fresh: bool) -> Iterator[None]:
    """Leaves a folder as it was where a run that is new ends with an `Error` before anything was found.

    What was asked wrongly can so be asked again. ``fresh``: the folder was made for it. For who holds the whole folder,
    inside the lock: what is taken away is nobody else's.
    """
    new = not (folder / FILE).exists()
    try:
        yield
    except Error:
        if new and folder.exists() and not any(folder.glob("shard-*.parquet")):
            for path in (folder / FILE, folder / listing.FILE, *folder.glob(f"{LOCK}*")):
                path.unlink(missing_ok=True)
            if fresh and not any(folder.iterdir()):
                folder.rmdir()
        raise


@contextmanager
def locked(folder: Path, part: str | None = None) -> Iterator[None]:
    """Holds a run's folder: nobody else has it, or, for a ``part``, nobody else has this part or all of it.

    The lock is the operating system's and ends with the process, however that ends. Raises `Error` where it is held.
    """
    made(folder)
    with ExitStack() as stack:
        if part is None:
            stack.enter_context(_held(folder / LOCK))
        else:
            stack.enter_context(_held(folder / LOCK, shared=True))
            stack.enter_context(_held(folder / "{}-{}-of-{}".format(LOCK, *parted(part))))
        yield


@contextmanager
def _held(path: Path, shared: bool = False, wait: bool = False) -> Iterator[None]:
    import fcntl  # not on Windows, where nothing else of a run would fail

    kind = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    with path.open("w") as file:
        try:
            fcntl.flock(file, kind)
        except BlockingIOError:
            raise Error(f"another run is at work in {path.parent}: wait for it, or give another folder.") from None
        except OSError as error:
            raise Error(f"{path.parent} cannot be locked ({error.strerror}): give a folder of another disk.") from None
        if not path.exists() or not os.path.samestat(path.stat(), os.fstat(file.fileno())):  # taken away meanwhile
            raise Error(f"another run has just ended in {path.parent}: give the same command again.")
        yield
