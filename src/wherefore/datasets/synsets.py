"""The classes of ILSVRC: synsets in the order that networks are trained on, their names, and the other order."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from wherefore.datasets.files import Unreadable, first, lines

REAL = "385e0240499426c022b773be1ae4da780f057b89c9694c7f47199f62746b6edd"  # sha256 of the 1,000, sorted, one on a line


def named(folders: Iterable[Path], kit: Path | None) -> dict[str, str]:
    """The names of synsets, ``n01440764: tench``, in sorted order; empty where no file says them.

    A name is what stands before the first comma; where two synsets share that, all synonyms; where they share these,
    the synset as well: crane (n02012849).
    """
    listed = first(f / name for f in folders for name in ("LOC_synset_mapping.txt", "synset_words.txt"))
    if listed is not None:
        words = dict(_pair(line, listed) for line in lines(listed))
    else:
        words = {synset: name for _, synset, name in (_of_kit(kit) if kit else [])}
    short = {synset: text.split(",")[0].strip() for synset, text in sorted(words.items())}
    for longer in (words, {synset: f"{text} ({synset})" for synset, text in words.items()}):
        counts = Counter(short.values())
        short = {synset: longer[synset] if counts[name] > 1 else name for synset, name in short.items()}
    return short


def ids(kit: Path) -> dict[int, str]:
    """The synset of each id of the development kit, whose order is not that of the synsets."""
    return {number: synset for number, synset, _ in _of_kit(kit)}


def are_real(synsets: Iterable[str]) -> bool:
    """Whether they are the 1,000 of ILSVRC 2012 and later."""
    return hashlib.sha256("\n".join(sorted(synsets)).encode()).hexdigest() == REAL


def _pair(line: str, path: Path) -> tuple[str, str]:
    synset, _, name = line.partition(" ")
    if not name.strip():
        raise Unreadable(path, f"has a line without a name ({line[:40]!r})")
    return synset, name.strip()


def _of_kit(kit: Path) -> list[tuple[int, str, str]]:
    """Number, synset and words of each class, as map_clsloc.txt or a file of Matlab says."""
    text, matlab = kit / "map_clsloc.txt", first(kit / name for name in ("meta_clsloc.mat", "meta.mat"))
    if text.exists():
        rows = [line.split(None, 2) for line in lines(text)]
        if any(len(row) != 3 or not row[1].isdecimal() for row in rows):
            raise Unreadable(text, "has a line that is not synset, number and name")
        return [(int(number), synset, name.replace("_", " ")) for synset, number, name in rows]
    return [] if matlab is None else _of_matlab(matlab)


def _of_matlab(path: Path) -> list[tuple[int, str, str]]:
    from scipy.io import loadmat

    try:
        rows = loadmat(path, squeeze_me=True)["synsets"]
        key = next(name for name in rows.dtype.names if name.endswith("_ID"))  # ILSVRC2012_ID, ILSVRC2014_ID
        found = [(int(row[key]), str(row["WNID"]), str(row["words"])) for row in rows]
    except Exception as error:  # whatever a reader of binary files meets in a damaged one
        raise Unreadable(path, f"is no table of synsets as the development kit has it ({error})") from None
    return [row for row in found if row[0] <= 1000]  # those above are groups of them
