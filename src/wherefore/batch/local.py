"""Explaining many files on this machine: decoding and writing overlap with the network, bad files are named."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from wherefore import drawing, imaging
from wherefore.errors import Error, ImageError
from wherefore.explainer import Explainer
from wherefore.explanation import Explanation
from wherefore.inputs import Input, is_scene
from wherefore.saving import can_be_made, file_name, is_drawn, jpeg, made, unique_names, write_tensors, write_whole
from wherefore.targets import is_per_image
from wherefore.tuning import Tuned, tuned

Report = dict[str, Any]
Failure = dict[str, str]  # image, error
Words = Callable[[Explanation], Sequence[Sequence[Any]]]  # by picture and target, each with report() and figure()
AHEAD = 2  # batches that are decoded before they are needed
AT_ONCE = 8  # files that are explained at once


class Explained(NamedTuple):
    """One picture of an explanation, and the verdicts on its maps and the words where these were asked for."""

    explanation: Explanation
    image: int
    verdicts: list[Report]
    words: Sequence[Any]


def find_pictures(sources: Sequence[str | Path], out: Path | None = None) -> list[Path]:
    """The files and scenes named, and all pictures below the folders named, sorted within each folder.

    Links that lead nowhere are among them: whoever reads them says so.
    What lies in ``out`` below such a folder is the result of an earlier run, and left out.
    """
    found: list[Path] = []
    for source in map(Path, sources):
        found += (_inside(source, out) or [source]) if os.path.isdir(source) else [source]
    # Said before a network is loaded for nothing.
    if found and not any(is_scene(path) or os.path.isfile(path) for path in found):
        kinds = ", ".join(sorted(imaging.SUFFIXES))
        empty = f"holds no pictures ({kinds})"
        raise Error(" ".join(f"{path} {empty if os.path.isdir(path) else 'does not exist'}." for path in found[:3]))
    return found


def tuned_for(why: object, paths: Sequence[str | Path], target: Any = None) -> Tuned:
    """What is fastest for files, measured on the first of them; an `Error` for a page of several ways."""
    if not isinstance(why, Explainer):
        raise Error("--tune measures one method at one layer: name one of each.")
    reads = (partial(why.open, path) for path in paths)
    return tuned(why, reads, target, len(paths), min(AT_ONCE, why.at_once))


def _inside(folder: Path, out: Path | None) -> list[Path]:
    """The pictures below a folder, less the results of earlier runs: what lies in ``out`` below it, or is marked."""
    named = (p for p in folder.rglob("*") if p.suffix.lower() in imaging.SUFFIXES)
    pictures = sorted(p for p in named if p.is_file() or (p.is_symlink() and not p.exists()))
    if out is None or not out.resolve().is_relative_to(folder.resolve()):
        return pictures
    if out.resolve() == folder.resolve():
        return [p for p in pictures if not is_drawn(p)]
    return [p for p in pictures if not p.resolve().is_relative_to(out.resolve())]


@dataclass
class FileRun:
    """One report per file, in order: its size and targets as `Explanation.report` gives them, or its ``error``.

        run = FileRun(explainer, find_pictures(["photos"]), "top5", Path("out"))
        reports = list(run)

    With ``out``, overlays and ``NAME.safetensors`` (the raw maps under ``maps`` ``(T, h, w)``) are written there; the
    folder is made when there is something to write; ``truth`` adds ``NAME.truth.jpg``, what is known of the picture
    beside its maps. With ``check`` each target has what `Explanation.check` finds, with ``words`` its explanation in
    words, and ``NAME.TARGET.words.jpg`` is the figure of it. ``origin`` says where the results come from, once the
    first batch is through.
    """

    explainer: Explainer
    paths: Sequence[str | Path]
    target: Any = None
    out: Path | None = None
    batch_size: int = AT_ONCE
    colours: str = "heat"
    scale: str = "each"
    truth: bool = False
    check: bool = False
    words: Words | None = None
    origin: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if is_per_image(self.target):
            raise Error("a run over files explains the same targets of each: give a flat list, a name or 'top5'.")
        if self.out:
            can_be_made(self.out)
            drawing.check_look(self.colours, self.scale)

    def __iter__(self) -> Iterator[Report]:
        names = unique_names([str(p) for p in self.paths])
        with ThreadPoolExecutor(2) as readers, ThreadPoolExecutor(2) as writers:
            pending: deque[list[Future[Report]]] = deque()
            for start, loaded in _ahead(readers, self._load, self.paths, self.batch_size):
                finish = self._explained(loaded)
                pending.append([writers.submit(finish, i, names[start + i]) for i in range(len(loaded))])
                if len(pending) > AHEAD:
                    yield from (future.result() for future in pending.popleft())
            for futures in pending:
                yield from (future.result() for future in futures)

    def _load(self, path: str | Path) -> Input | Failure:
        try:
            return self.explainer.prepare(self.explainer.open(path))
        except Error as error:
            return {"image": str(path), "error": str(error)}
        except Exception as error:  # a preprocess of the user's own can raise anything
            return {"image": str(path), "error": f"{path} cannot be prepared: {error}"}

    def _explained(self, loaded: Sequence[Input | Failure]) -> Callable[[int, str], Report]:
        """Runs the network on a batch; returns what makes (and writes) the report of its i-th file."""
        good = [item for item in loaded if isinstance(item, Input)]
        done = iter(self._together(good))
        results = [next(done) if isinstance(item, Input) else item for item in loaded]

        def finish(i: int, name: str) -> Report:
            result = results[i]
            if isinstance(result, dict):
                return dict(result)
            report = self._report(result.explanation, result.image, name)
            for target, verdict in zip(report["targets"], result.verdicts, strict=False):  # none where not asked for
                target["check"] = verdict
            self._say(report, result.words, name)
            return report

        return finish

    def _together(self, inputs: Sequence[Input]) -> list[Explained | Failure]:
        """Explains a batch; one by one where that fails, so that one picture does not end the run of all."""
        if not inputs:
            return []
        try:
            return [*self._explain(inputs)]
        except ImageError:
            return [self._alone(one) for one in inputs]

    def _explain(self, inputs: Sequence[Input]) -> list[Explained]:
        explanation = self.explainer.on(inputs, self.target)
        told = self.words(explanation) if self.words else [()] * len(inputs)
        if not self.origin:
            self.origin.update(explanation.origin())
            if self.out:
                made(self.out)
        checked = explanation.check().report() if self.check else [[]] * len(inputs)
        return [Explained(explanation, i, *both) for i, both in enumerate(zip(checked, told, strict=True))]

    def _alone(self, one: Input) -> Explained | Failure:
        try:
            return self._explain([one])[0]
        except ImageError as error:
            return {"image": one.picture.name, "error": _of(one.picture.name, error)}

    def _report(self, explanation: Explanation, index: int, name: str) -> Report:
        if self.out is None:
            return explanation.report(index)
        report = explanation.save_pictures(index, self.out, name, colours=self.colours, scale=self.scale)
        maps = explanation.maps[index].cpu().contiguous()
        tensors = {"maps": maps}
        if explanation.against is not None:
            tensors["against"] = explanation.against[index].cpu().contiguous()
        if self.truth:
            beside = explanation.sheet(index, colours=self.colours, scale=self.scale, truth=True)
            report["truth"] = str(write_whole(self.out / f"{name}.truth.jpg", jpeg(beside)))
        file = write_tensors(self.out / f"{name}.safetensors", tensors, self.origin)
        for entry in report["targets"]:
            entry["files"]["maps"] = str(file)
        return report

    def _say(self, report: Report, words: Sequence[Any], name: str) -> None:
        """Adds the explanations in words to the targets of a report, and writes their figures."""
        for part, target, said in zip(_parts(report), report["targets"], words, strict=False):
            target["words"] = said.report()
            if self.out:
                path = self.out / f"{name}.{part}.words.jpg"
                target["files"]["words"] = str(write_whole(path, jpeg(said.figure(self.colours))))


def _parts(report: Report) -> list[str]:
    """What stands for each target in the names of files."""
    return unique_names([file_name(target["name"]) for target in report["targets"]])


def _of(name: str, error: Error) -> str:
    """What is wrong with a file, with its name."""
    return str(error) if name in str(error) else f"{name}: {error}"


def _ahead(
    readers: ThreadPoolExecutor, load: Any, paths: Sequence[str | Path], batch_size: int
) -> Iterator[tuple[int, list[Input | Failure]]]:
    """The loaded files batch by batch with the number of the first; the next batches are being loaded meanwhile."""
    starts = range(0, len(paths), batch_size)
    waiting: deque[tuple[int, list[Future[Input | Failure]]]] = deque()
    for start in starts:
        waiting.append((start, [readers.submit(load, path) for path in paths[start : start + batch_size]]))
        if len(waiting) > AHEAD:
            first, futures = waiting.popleft()
            yield first, [future.result() for future in futures]
    for first, futures in waiting:
        yield first, [future.result() for future in futures]
