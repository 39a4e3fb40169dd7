"""What docs/studies.md tells people to type: blocks that can be parsed are, and figures are worked out again."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest

from wherefore.study.design import USUAL
from wherefore.study.plan import KINDS, needed
from wherefore.study.texts import duration

DOCS = (Path(__file__).parents[1] / "docs" / "studies.md").read_text(encoding="utf-8")
SCHEMA = "{http://mechanicalturk.amazonaws.com/AWSMechanicalTurkDataSchemas/2006-07-14/ExternalQuestion.xsd}"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", DOCS, re.M | re.S)


def test_the_question_is_xml_of_mturk_s_schema() -> None:
    [block] = blocks("xml")
    question = ElementTree.fromstring(block)
    assert question.tag == f"{SCHEMA}ExternalQuestion"
    assert [each.tag for each in question] == [f"{SCHEMA}ExternalURL", f"{SCHEMA}FrameHeight"]
    assert question[0].text == "https://study.example.org/?from=mturk&round=1" and question[1].text == "0"


def test_the_python_runs_up_to_what_it_asks_of_mturk(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def create_hit(**given: Any) -> dict[str, Any]:
        asked.update(given)
        return {"HIT": {"HITId": "3ABC"}}

    monkeypatch.setitem(
        sys.modules, "boto3", SimpleNamespace(client=lambda *a, **k: SimpleNamespace(create_hit=create_hit))
    )
    hits = [block for block in blocks("python") if "boto3" in block]
    exec(compile(hits[0], "studies.md", "exec"), {})
    assert len(hits) == 1 and ElementTree.fromstring(asked["Question"].strip())[0].text == "https://study.example.org/"
    assert isinstance(asked["Reward"], str) and asked["MaxAssignments"] == USUAL["class-discrimination"].workers
    assert float(asked["Reward"]) == duration("class-discrimination", 78) / 60 * 15
    assert {"Title", "Description", "AssignmentDurationInSeconds", "LifetimeInSeconds"} <= asked.keys()
    for block in blocks("python"):
        compile(block, "studies.md", "exec")


def test_numbers_and_costs_are_those_of_the_plans() -> None:
    trials = {kind: needed(count, 9, USUAL[kind].workers) for kind, count in zip(KINDS, (360, 180), strict=True)}
    assert "43, with 76 trials each | 54, with 30 trials each" in DOCS
    assert trials == {"class-discrimination": 76, "trust": 30}
    rows = re.findall(r"^\| (class discrimination|trust) \| (\d.*) \|$", DOCS, re.M)
    assert len(rows) == 2
    for name, cells in rows:
        kind = next(each for each in KINDS if each.startswith(name.split()[0]))
        people, minutes, each, *sums = (float(cell) for cell in cells.split(" | "))
        assert people == USUAL[kind].workers and minutes == duration(kind, trials[kind] + 2)
        assert each == 15 * minutes / 60
        assert sums == [pytest.approx(people * each * (1 + fee), abs=0.006) for fee in (0, 0.2, 0.33, 0.4)]


def test_commands_that_make_studies_are_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every `wherefore study init` of the page is taken by the command line, and by the design."""
    import shlex

    from wherefore.cli import main
    from wherefore.study.design import Design

    made: list[Design] = []

    def make(design: Design, out: Path) -> Any:
        made.append(design.whole())
        return SimpleNamespace(items=(), catches=(), ratings=9, workers=43, trials=1)

    monkeypatch.setattr("wherefore.study.making.make", make)
    monkeypatch.setattr("wherefore.study.power.of_plan", str)  # of no plan
    lines = re.findall(r"^wherefore study init (.*)$", DOCS.replace("\\\n", " "), re.M)
    for line in lines:
        with pytest.raises(SystemExit) as ended:
            main(["study", "init", *shlex.split(line, comments=True)])
        assert not ended.value.code
    assert [each.kind for each in made] == ["class-discrimination", "class-discrimination", "trust"]
    assert made[2].models == ("vgg16", "alexnet") and len(made[2].weights) == 2 and made[2].split == "val"
