"""What commands print of pictures that were explained: a paragraph for each."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from wherefore import console


def reports(images: Sequence[dict[str, Any]]) -> None:
    """A paragraph for each picture that was explained."""
    for report in images:
        if "error" in report:
            continue
        print(f"{report['image']}  {console.by(report['size'])}")
        _said(report)
        if "runs" in report:
            _runs(report)
            continue
        rows = []
        for t in report["targets"]:
            name = t["name"] if t["index"] is None else f"{t['name']} ({t['index']})"
            probability = "" if t["probability"] is None else f"p {t['probability']:.3f}"
            box = "evidence in " + ",".join(map(str, t["box"])) if t["evidence"] else ""
            if "asked" in t:  # the box that it is about, not that of the evidence
                name += " at " + ",".join(f"{v:.0f}" for v in t["asked"])
            score = "no score" if t["score"] is None else f"score {t['score']:.2f}"
            rows.append(["  " + name, score, probability, _peak(t), box, t["files"].get("overlay", "")])
        console.table(None, rows)
        for t in report["targets"]:
            for key in ("check", "words"):
                if key in t:
                    print(textwrap.fill(t[key]["text"], console.WIDE, initial_indent="  ", subsequent_indent="  "))
        if "truth" in report:
            print(f"  {report['truth']}")
        if "files" in report:
            print(f"  {report['files']['page']}")


def _said(report: dict[str, Any]) -> None:
    """The caption of a picture, or what was asked of it and the answer."""
    if "caption" in report:
        whole = report["whole"]
        print(f"  {report['caption']}  (log p {whole['score']:.2f}, {_peak(whole)})")
    if report.get("given"):
        print(f"  given; the network says: {report['says']}")
    if "answer" in report:
        print(f"  {report['question']} {report['answer']}  (p {report['probability']:.3f})")
    elif "question" in report:
        print(f"  {report['question']}")


def _peak(target: dict[str, Any]) -> str:
    """Where a map is hottest, in words."""
    return "peak " + ",".join(map(str, target["peak"])) if target["evidence"] else "no positive evidence"


def _runs(report: dict[str, Any]) -> None:
    """A line for each way of explaining a picture; of a question with what each network answers."""
    rows = []
    for run in report["runs"]:
        said = [f"{t['name']} {_likely(t) if 'answer' in run else ''}{_peak(t)}" for t in run.get("targets", ())]
        answer = f"{run['answer']} (p {run['probability']:.3f})" if "answer" in run else ""
        own = [answer] if "question" in report else []
        rows.append([f"  {run['name']}", *own, run.get("error") or "; ".join(said)])
    console.table(None, rows)
    if "files" in report:
        print(f"  {report['files']['page']}")


def _likely(target: dict[str, Any]) -> str:
    return f"p {target['probability']:.3f} "
