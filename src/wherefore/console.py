"""What the command line reads from words and prints as text: options, files of names, reports, tables."""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wherefore.errors import Error

WIDE = 132  # columns of the widest table
UNSAID = ("network", "mix", "note", "cue", "start")  # of a card, where other words say it
OPTIONS = {  # what they mean, in a line
    "relu": "false keeps the negative part of the sum",
    "component": "true takes the first principal component of the weighted channels in place of their sum: smoother",
    "backward": "plain, guided or deconv: the rule at the ReLUs between the score and the layer",
    "pooling": "mean, absolute or max: what of a channel's gradients is its weight",
    "patch": "side in pixels; by default a seventh of the shorter side of the input",
    "stride": "pixels from patch to patch; by default half a patch",
    "fill": "what covers, in units of the network's input: 0 is the mean colour",
    "masks": "input or layer: what is masked",
    "steps": "pictures along the path",
    "rivals": "how many other classes the target is compared with",
    "strength": "how much of the rivals' mean score is subtracted",
    "percentile": "where importances are clipped",
    "signed": "true sums over channels with sign",
    "times_input": "true multiplies by the input",
}


# -------------------------------------------------------------------------------------------- read


def options(methods: Sequence[str], pairs: Sequence[str]) -> dict[str, Any]:
    """The values of ``NAME=VALUE`` pairs, of the type that the methods' defaults have."""
    from wherefore.options import method_options
    from wherefore.registry import unknown
    from wherefore.ways import every

    names = every(methods)
    known: dict[str, Any] = {}
    for name in names:
        known |= method_options(name)
    values = {}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        if not known:
            raise Error(f"--option {pair}: {', '.join(names)} {'has' if len(names) == 1 else 'have'} no options.")
        if not separator:
            raise Error(f"--option {pair}: give NAME=VALUE.")
        if name not in known:
            raise Error(f"--option {pair}: {unknown('option of ' + ', '.join(names), name, known)}")
        values[name] = _value(pair, text, known[name])
    return values


def _value(pair: str, text: str, default: Any) -> Any:
    if isinstance(default, str):
        return text
    words = {"true": True, "yes": True, "false": False, "no": False}
    if isinstance(default, bool):
        if text.lower() not in words:
            raise Error(f"--option {pair}: give true or false.")
        return words[text.lower()]
    try:
        return float(text) if isinstance(default, float) else int(text)
    except ValueError:
        raise Error(f"--option {pair}: {text!r} is no number.") from None


def class_names(path: Path) -> list[str]:
    """The names of classes in a text file, one on a line."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise Error(f"{path} cannot be read as text: {error}.") from None
    if not lines:
        raise Error(f"{path} names no classes: one on each line is wanted.")
    return lines


# -------------------------------------------------------------------------------------------- print


def methods(rows: Sequence[dict[str, Any]]) -> None:
    """All methods, a line for each: cost, paper, what comes out."""
    cells = [[row["method"], row["cost"], row["source"].split(",")[0].split(" (")[0]] for row in rows]
    taken = sum(max(len(line[i]) for line in cells) + 2 for i in range(3))
    table(
        ["method", "cost", "source", "what comes out"],
        [[*line, _within(row["what"], WIDE - taken)] for line, row in zip(cells, rows, strict=True)],
    )


def metrics(rows: Sequence[dict[str, Any]]) -> None:
    """All metrics, a line for each: what is better, paper, what comes out."""
    cells = [[row["metric"], row["better"], row["paper"].split(",")[0]] for row in rows]
    taken = sum(max(len(line[i]) for line in cells) + 2 for i in range(3))
    table(
        ["metric", "better", "source", "what comes out"],
        [[*line, _within(row["what"], WIDE - taken)] for line, row in zip(cells, rows, strict=True)],
    )


def metric(row: dict[str, Any], text: str) -> None:
    """All that there is to say of one metric."""
    low, high = (_end(value) for value in row["bounds"])
    print(inspect.cleandoc(text).replace("``", ""))
    print(f"\nsource: {row['paper']}\nbetter: {row['better']}\nbounds: {low} to {high}")


def _end(bound: float | None) -> str:
    return "any" if bound is None else f"{bound:g}"


def _within(sentence: str, room: int) -> str:
    """A sentence, or what stands before its colon, or as many of its words as there is room for."""
    sentence = sentence.replace("``", "")
    start = sentence.replace(";", ":").split(":")[0]
    shorter = sentence if len(sentence) <= room else start
    return textwrap.shorten(shorter, room, break_on_hyphens=False, placeholder=" ...")


def card(about: dict[str, Any]) -> list[str]:
    """Lines on a shipped network: what it is, how good, how it was made, what it is not."""
    trained, data = about["training"], about["data"]
    numbers = [f"{key.replace('_', ' ')} {value}" for key, value in about["recipe"].items() if key not in UNSAID]
    numbers += [f"seed {about['seed']}"]
    mix = [f"{each['pictures']:,} with {each['objects']}" for each in data.get("mix", ())]
    facts = {
        "network": f"scenes:{about['name']}, {about['architecture']}, {about['parameters']:,} parameters",
        "task": f"{about['task']}: {', '.join(about['classes'])}",
        "sees": f"{about['input']['size']}x{about['input']['size']} pixels",
        **{
            row["name"]: f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f}), n = {row['n']:,}"
            for row in about["accuracy"]
        },
        "trained on": ", ".join(f"{key} {value}" for key, value in data.items() if key not in UNSAID),
        "with objects": ", ".join(mix),
        "recipe": ", ".join(numbers),
        "training": f"{trained['seconds'] / 60:.1f} minutes, {trained['on']}, torch {trained['torch']}",
        "note": data.get("note", ""),
        "sha256": about["sha256"],
        "licence": about["licence"],
        "limits": about["limits"],
    }
    wide = max(map(len, facts)) + 2
    return [
        line
        for name, text in facts.items()
        if text
        for line in textwrap.wrap(text, 118, initial_indent=name.ljust(wide), subsequent_indent=" " * wide)
    ]


def method(row: dict[str, Any], text: str) -> None:
    """All that there is to say of one method."""
    print(inspect.cleandoc(text).replace("``", ""))
    print(f"\nsource: {row['source']}\ncost: {row['cost']}")
    print("options (with -O):" if row["options"] else "options: none")
    table(None, [[f"  {key}{_written(value)}", OPTIONS.get(key, "")] for key, value in row["options"].items()])


def _written(value: Any) -> str:
    """A default as it would be given; nothing for one that depends on the picture."""
    return "" if value is None else f"={str(value).lower() if isinstance(value, bool) else value}"


def dataset(report: dict[str, Any]) -> None:
    """What is in a data set, and what is wrong with it."""
    classes = report["classes"]
    some = ", ".join(classes[:100]) + (" ..." if len(classes) > 100 else "")
    print(f"{report['data']}, {report['split']}: {report['pictures']:,} pictures, {report['usable']:,} usable")
    print(textwrap.fill(f"{len(classes):,} classes: {some}", WIDE, subsequent_indent="  ") if classes else "no classes")
    said = [f"{report[what]:,} {what}" for what in ("captions", "regions", "questions") if report[what]]
    looked = f" ({report['looked']:,} with maps of where people looked)" if report["looked"] else ""
    if said:
        print(", ".join(said) + looked)
    print(
        "its classes or questions are the real ones"
        if report["comparable"]
        else "a stand-in: numbers on it are not the paper's"
    )
    rows = [
        [f"{p['count']:,}", p["kind"], "mended" if p["mended"] else "left out", ", ".join(p["names"])]
        for p in report["problems"]
    ]
    table(["pictures", "problem", "and", "the first"], rows) if rows else print("nothing is wrong with it")


def accuracy(rows: Sequence[dict[str, Any]], shipped: Sequence[dict[str, Any]]) -> None:
    """Prints how good a network is that was just trained, beside the one that the package carries."""
    theirs = {row["name"]: _share(row) for row in shipped}
    table(
        ["on drawn test pictures", "now (95 %)", "shipped (95 %)", "n"],
        [[row["name"], _share(row), theirs.get(row["name"], "-"), str(row["n"])] for row in rows],
    )


def measured(rows: Sequence[dict[str, Any]]) -> None:
    """Prints how good a network with words is on what it did not learn."""
    cells = [[row["name"], _share(row), str(row["n"])] for row in rows]
    table(["on what it did not learn", "(95 %)", "n"], cells)


def precision(rows: Sequence[dict[str, Any]]) -> None:
    """Prints the average precision of a network that was fine-tuned, and of each class."""

    def cells(row: dict[str, Any]) -> list[str]:
        if "low" in row:
            return [row["name"], _share(row), "-", str(row["n"])]
        every, eleven = ("-" if value is None else f"{value:.3f}" for value in (row["value"], row["11 points"]))
        return [row["name"], every, eleven, str(row["n"])]

    table(["", "average precision (95 %)", "11 points", "n"], [cells(row) for row in rows])


def _share(row: dict[str, Any]) -> str:
    return f"{row['value']:.3f} ({row['low']:.3f}-{row['high']:.3f})"


def experiments(rows: Sequence[dict[str, Any]]) -> None:
    """All experiments, a line for each: section of the paper, minutes, what it measures."""
    cells = [[row["experiment"], row["section"].split(",")[0], f"{row['minutes']} min"] for row in rows]
    taken = sum(max(len(line[i]) for line in cells) + 2 for i in range(3))
    table(
        ["experiment", "section", "takes", "what it measures"],
        [[*line, _within(row["what"], WIDE - taken)] for line, row in zip(cells, rows, strict=True)],
    )


def figures(rows: Sequence[dict[str, Any]]) -> None:
    """All figures of the paper, a line for each: section, seconds, what it shows."""
    header = ["figure", "section", "takes", "what it shows"]
    cells = [[row["figure"], row["section"], f"{row['seconds']} s"] for row in rows]
    taken = sum(max(len(line[i]) for line in [header, *cells]) + 2 for i in range(3))
    table(
        header,
        [[*line, _within(row["what"], WIDE - taken)] for line, row in zip(cells, rows, strict=True)],
    )


def figure(title: str, notice: str, rows: Sequence[Sequence[str]], files: dict[str, str]) -> None:
    """A figure that was drawn: a line for each map, and where the files are."""
    print(f"{title}\n{notice}\n")
    table(("picture", "map", "of", "network", "method", "layer", "score", "p", "highest", "peak"), rows)
    print("\n" + "\n".join(files.values()))


def result(report: dict[str, Any], page: Path) -> None:
    """The claims of an experiment and its rows, what was wrong with the data, and where the page is."""
    papers = any(row["paper"] is not None for row in report["rows"])
    if not report["comparable"] and (papers or report["data"].startswith("scenes")):
        print("These pictures are not the paper's: numbers on them are not the paper's numbers.\n")
    for each in report["verdicts"]:
        word = ("holds" if each["holds"] else "does not hold") + ("" if each["clear"] else ", may be chance")
        print(f"{word}: {each['claim']}\n  {each['numbers']}\n")
    _told(report["settings"])
    plain = {"name", "value", "low", "high", "n", "degenerate", "paper"}
    about = list(dict.fromkeys(key for row in report["rows"] for key in row if key not in plain))
    paper = "paper" if report["comparable"] else "paper, on its own data"
    table(
        ["name", *about, "value (95 %)", "n", *([paper] if papers else [])],
        [
            [row["name"], *(str(row.get(key, "")) for key in about), _interval(row), str(row["n"])]
            + ([_or_none(row)] if papers else [])
            for row in report["rows"]
        ],
    )
    _problems(report)
    print(f"\n{page}")


def audited(report: dict[str, Any], page: Path) -> None:
    """What an audit says, in sentences; the figures are on the page and in the JSON beside it."""
    if report["data"].startswith("scenes"):
        print("These pictures are drawn: numbers on them are not the paper's numbers.\n")
    for each in report["verdicts"]:
        word = ("yes" if each["holds"] else "no") + ("" if each["clear"] else ", may be chance")
        print(f"{each['claim']}: {word}\n  {each['numbers']}\n")
    _told(report["settings"])
    _problems(report)
    print(f"{len(report['rows'])} figures: {page.parent.parent / report['experiment']}.json\n{page}")


def study_served(address: str) -> None:
    """Where a study is to be seen, as soon as it is."""
    print(f"The study is at {address} until you press Ctrl-C.", flush=True)


def study_simulated(done: dict[str, Any]) -> None:
    """What simulated workers did."""
    print(
        f"{done['finished']} of {done['workers']} simulated workers went through, with {done['answers']:,} answers in "
        f"{done['seconds']:.0f} s. They are not people: their answers are marked as simulated, and say "
        "nothing about people."
    )
    if done["progress"]:
        print(done["progress"])


def study(report: dict[str, Any], page: Path) -> None:
    """What a study shows of each method and of each two, and where the page is; first what it is not."""
    print("\n".join([*([report["notice"]] if report["simulated"] else []), report["says"], ""]))
    if not report["comparable"]:
        print("These pictures are not the paper's: numbers on them are not the paper's numbers.\n")
    paper = "paper" if report["comparable"] else "paper, on its own data"
    table(
        ["name", "measure", "value (95 %)", "n", paper],
        [[row["name"], row["measure"], _interval(row), str(row["n"]), _or_none(row)] for row in report["rows"]],
    )
    print()
    table(
        ["one", "other", "difference (95 %)", "p (Holm)", paper],
        [
            [row["one"], row["other"], _interval(row), "-" if row["p"] is None else f"{row['p']:.4f}", _or_none(row)]
            for row in report["contrasts"]
        ],
    )
    print(f"\n{report['power']['says']}\n{page}")


def _told(settings: dict[str, Any]) -> None:
    """What an experiment says of each network in sentences, where it does."""
    for network, sentences in (settings.get("told") or settings.get("stories") or {}).items():
        lines = [textwrap.fill(each, 118, initial_indent="  ", subsequent_indent="  ") for each in sentences]
        print("\n".join([f"{network}:", *(lines or ["  nothing"])]) + "\n")


def _problems(report: dict[str, Any]) -> None:
    for kind, found in report["problems"].items():
        pictures = "picture" if found["count"] == 1 else "pictures"
        print(f"\n{found['count']} {pictures}: {kind} ({', '.join(found['first'])})")


def batch(finished: Any) -> None:
    """What a run over many pictures came to."""
    said = finished.report()
    before = f", {said['before']:,} were there before" if said["before"] else ""
    wrong = sum(said["errors"].values())
    could_not = f", {wrong:,} could not be read" if wrong else ""
    pictures = said["pictures"] - wrong
    print(f"{pictures:,} picture{'s' * (pictures != 1)} explained{could_not}{before}: {said['folder']}")
    if said["missing"]:
        print(f"{said['missing']:,} of {len(finished.run.shards):,} shards are missing: run the other parts.")
    if said["errors"]:
        print()
        table(["pictures", "what is wrong"], [[f"{n:,}", what] for what, n in said["errors"].items()])


def statistics(said: dict[str, Any], page: Path) -> None:
    """What a run over many pictures found, and where the page of a selection is."""
    print(f"{said['pictures']:,} of {said['of']:,} pictures, {said['rows']:,} rows")
    rows = [
        [name, f"{row['count']:,}", *(f"{row[key]:.3f}" for key in ("probability", "evidence", "without_evidence"))]
        for name, row in [*said["targets"].items()][:20]
    ]
    table(["target", "rows", "probability", "evidence", "no evidence"], rows)
    if said["errors"]:
        print()
        table(["pictures", "what is wrong"], [[f"{n:,}", what] for what, n in said["errors"].items()])
    print(page)


def _interval(row: dict[str, Any]) -> str:
    if row["value"] is None:
        return "undefined"
    ends = "" if row["low"] is None else f" ({row['low']:.3f} to {row['high']:.3f})"
    return f"{row['value']:.3f}{ends}"


def _or_none(row: dict[str, Any]) -> str:
    return "-" if row["paper"] is None else f"{row['paper']:.4g}"


def table(header: Sequence[str] | None, rows: Sequence[Sequence[str]]) -> None:
    """Columns of text, each as wide as its longest cell; plain, so that it can be piped and grepped."""
    lines = ([header] if header else []) + list(rows)
    widths = [max(len(str(line[i])) for line in lines) for i in range(len(lines[0]))] if lines else []
    for line in lines:
        print("  ".join(str(cell).ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def by(size: Sequence[int]) -> str:
    """Sides, as 640x480."""
    return "x".join(map(str, size))


def complain(message: str) -> None:
    """One line on stderr."""
    print(f"wherefore: {' '.join(message.split())}", file=sys.stderr)
