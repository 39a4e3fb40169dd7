"""Audits: figures by hand, tests beside scipy's, planted biases that are found, and none where none is planted."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from wherefore.diagnosis import audit
from wherefore.diagnosis.audit import LEAST, Audit, Look, holm

NAN = float("nan")


def one(number: int, label: str, group: str, said: str, **energy: float) -> Look:
    area = {name: 0.25 for name in energy}
    return Look(number, f"picture {number}", label, group, said, energy, area)


def drawn(seed: int, n: int, gap: float, excess: float, linked: bool = True) -> Audit:
    """An audit of n pictures: nurses of the group b are recognised less often by ``gap``, the maps of nurses have
    ``excess`` more on the hair than its area; in the group b as much only where that is not ``linked``."""
    dice = np.random.default_rng(seed)
    looks = []
    for i in range(n):
        label, group = ("doctor", "nurse")[i % 2], "ab"[i // 2 % 2]
        right = dice.random() < 0.9 - (gap if (label, group) == ("nurse", "b") else 0)
        said = label if right else ("nurse", "doctor")[i % 2]
        share = (excess / 3 if linked and group == "b" else excess) if said == "nurse" else 0
        hair = 0.25 + dice.normal(share, 0.1)
        looks.append(one(i, label, group, said, hair=hair, coat=0.25 + dice.normal(0, 0.1)))
    return Audit(looks)


def test_figures_by_hand() -> None:
    looks = [
        one(0, "nurse", "a", "nurse", hair=0.5, coat=0.1),
        one(1, "nurse", "a", "nurse", hair=0.3, coat=0.2),
        one(2, "nurse", "b", "doctor", hair=0.1, coat=0.6),
        one(3, "nurse", "b", "nurse", hair=NAN, coat=NAN),
        one(4, "doctor", "b", "doctor", hair=0.2),
    ]
    assert not Audit(looks).gaps, "of labels with few pictures it is not said how groups differ"
    assert not Audit(looks * 4).gaps, "eight nurses in a group are too few"
    found = Audit(looks * 5)
    assert found.right.value == 0.8
    assert {cell: each.value for cell, each in found.groups.items()} == {
        ("doctor", "b"): 1.0,
        ("nurse", "a"): 1.0,
        ("nurse", "b"): 0.5,
    }
    assert found.worst[0] == ("nurse", "b") and found.worst[1].value == 0.5
    evidence = {(each.said, each.region): each for each in found.evidence}
    assert evidence["nurse", "hair"].energy.value == pytest.approx(0.4) and evidence["nurse", "hair"].energy.n == 10
    assert evidence["nurse", "hair"].times.value == pytest.approx(1.6)
    assert ("doctor", "coat") not in evidence, "of five maps it is not said where they lie"
    whatever = {each.region: each for each in found.overall}
    assert whatever["hair"].energy.value == pytest.approx(1.1 / 4) and whatever["hair"].energy.n == 20
    assert whatever["coat"].times.value == pytest.approx(1.2) and "for any answer, 3" in str(whatever["coat"])
    assert [each.times.value for each in found.evidence] == sorted(
        (e.times.value for e in found.evidence), reverse=True
    )
    [gap] = found.gaps
    assert (gap.label, gap.best, gap.worst, gap.figure.value) == ("nurse", "a", "b", 0.5), "doctors have one group"
    assert not found.findings, "no nurse of the group b has a map: with what is the other to be compared?"


def test_the_worst_group_has_pictures_enough() -> None:
    looks = [one(i, "nurse", "ab"[i % 2], "nurse" if i % 4 else "doctor") for i in range(30)]
    lone = [one(30, "doctor", "a", "nurse")]
    assert Audit(looks + lone).worst[0] == ("nurse", "a") and Audit(looks + lone).groups["doctor", "a"].value == 0
    assert Audit(looks[:3] + lone).worst[0] == ("doctor", "a"), "unless none has"
    assert Audit(looks).worst[1].n == 15, "as many as it has"


@pytest.mark.parametrize("said", ["nurse", "doctor"])
def test_a_stray_picture_neither_makes_nor_hides_a_gap(said: str) -> None:
    """Of three groups the two are named that are apart beyond their size, and a group of one is none."""
    looks = [one(i, "nurse", "a", "nurse" if i % 20 else "doctor") for i in range(200)]
    looks += [one(200 + i, "nurse", "b", "nurse" if i % 5 > 1 else "doctor") for i in range(200)]
    [before], [after] = Audit(looks).gaps, Audit([*looks, one(999, "nurse", "c", said)]).gaps
    assert (
        (before.best, before.worst, before.p)
        == (after.best, after.worst, after.p)
        == ("a", "b", pytest.approx(1 / 2001))
    )
    few = [one(400 + i, "nurse", "c", "nurse" if i else "doctor") for i in range(LEAST)]
    [third] = Audit([*looks, *few]).gaps
    assert (third.best, third.worst) == ("a", "b") and third.p < 0.01


def test_groups_that_are_alike_are_still_two() -> None:
    [gap] = Audit([one(i, "dog", "ab"[i % 2], "dog", hair=0.5) for i in range(20)]).gaps
    assert {gap.best, gap.worst} == {"a", "b"} and gap.figure.value == 0 and gap.p == 1.0 and not gap.clear


def test_what_both_groups_go_by_is_no_bias() -> None:
    """Groups differ, and the evidence lies on the hair in both alike: it is not said to be for the hair."""
    assert not drawn(1, 400, 0.4, 0.1, linked=False).findings and drawn(1, 400, 0.4, 0.1).findings


def test_the_link_beside_scipy_and_where_it_cannot_be_asked() -> None:
    found = drawn(1, 400, 0.4, 0.1)
    [(evidence, gap)] = found.findings
    a, b = ([x.energy["hair"] - 0.25 for x in found.looks if x.said == "nurse" and x.group == g] for g in "ab")
    expected = stats.ttest_ind(a, b, equal_var=False, alternative="greater").pvalue
    assert found._linked(evidence, gap) == pytest.approx(expected)
    seen = [one(i, "nurse", "a", "nurse", hair=0.4 + 0.001 * i) for i in range(40)]
    missed = [one(100 + i, "nurse", "b", "doctor", hair=0.25) for i in range(60)]
    assert [e.region for e, _ in Audit(seen + missed).findings] == ["hair"], "hardly any of 60 is given the answer"
    assert not Audit(seen + missed[:20]).findings, "of 20 that may be for their number"


def test_holm_beside_its_definition() -> None:
    ps = [0.01, 0.04, 0.03, 0.005, 0.5]
    assert holm(ps) == pytest.approx([0.04, 0.09, 0.09, 0.025, 0.5])
    assert holm([NAN, 0.01, NAN, 0.04]) == pytest.approx([1, 0.02, 1, 0.04]), "what is not tested does not count"
    assert holm([NAN]) == [1] and holm([]) == []
    rejected = [p < 0.05 for p in holm(ps)]
    steps = []
    for i, p in enumerate(sorted(ps)):  # step down: the first that is not below its share ends it
        if p > 0.05 / (len(ps) - i):
            break
        steps.append(p)
    assert [p in steps for p in ps] == rejected and holm([]) == []


def test_tests_beside_scipy() -> None:
    found = drawn(0, 60, 0.3, 0.03)
    excess = [each.energy["hair"] - each.area["hair"] for each in found.looks if each.said == "nurse"]
    assert found._excess("nurse", "hair") == pytest.approx(stats.ttest_1samp(excess, 0, alternative="greater").pvalue)
    own = [each for each in found.looks if each.label == "nurse"]
    a, b = ([each.right for each in own if each.group == group] for group in "ab")
    exact = stats.fisher_exact([[sum(a), len(a) - sum(a)], [sum(b), len(b) - sum(b)]]).pvalue
    assert found._apart("nurse")[2] == pytest.approx(exact, abs=0.03)


def test_a_shuffle_is_the_exact_test_on_few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "LEAST", 4)
    right = [1, 1, 1, 1, 1, 1, 0, 1, 0, 0]
    looks = [one(i, "x", "ab"[i // 6], "x" if r else "y") for i, r in enumerate(right)]
    gap = abs(np.mean(right[:6]) - np.mean(right[6:])) - 1e-12
    every = [
        abs(np.mean([right[i] for i in some]) - np.mean([right[i] for i in range(10) if i not in some])) >= gap
        for some in combinations(range(10), 6)
    ]
    assert Audit(looks)._apart("x") == ("a", "b", pytest.approx(np.mean(every), abs=0.02))


def test_a_planted_bias_is_found_and_told() -> None:
    found = drawn(1, 400, 0.4, 0.1)
    [(evidence, gap)] = found.findings
    assert (evidence.said, evidence.region) == ("nurse", "hair") == (found.evidence[0].said, found.evidence[0].region)
    assert (gap.label, gap.worst, gap.best) == ("nurse", "b", "a") and gap.figure.value == pytest.approx(0.4, abs=0.15)
    assert "for `nurse`, 3" in str(evidence) and "lies on `hair`, 25.0 % of the picture" in str(evidence)
    assert "less often in the group `b` than in `a`" in str(gap)


def test_either_alone_is_no_finding() -> None:
    assert not drawn(1, 400, 0.4, 0.0).findings and not drawn(1, 400, 0.0, 0.1).findings


def test_false_alarms_are_rare() -> None:
    """Groups that do not differ, evidence that does lie somewhere: what could go wrong is the test of the groups."""
    alarms = [bool(drawn(seed, 80, 0.0, 0.1).findings) for seed in range(40)]
    assert sum(alarms) <= 5, "at a rate of 5 % more come once in 70 times"


def test_pictures_without_a_group_are_in_no_gap_and_small_audits_are_of_a_hundred() -> None:
    found = drawn(1, 250, 0.4, 0.1)
    assert [part.looks[0].number for part in found.parts] == [0, 100] and {len(p.looks) for p in found.parts} == {100}
    loose = Audit([*found.looks, *(one(n, "nurse", "", "doctor") for n in range(300, 340))])
    assert {(gap.label, gap.best, gap.worst, gap.p) for gap in loose.gaps} == {
        (gap.label, gap.best, gap.worst, gap.p) for gap in found.gaps
    }
    assert loose.groups["nurse", ""].value == 0


def test_where_the_evidence_lies_takes_pictures() -> None:
    looks = [one(i, "x", "a", "x", hair=0.2) for i in range(LEAST)] + [one(99, "y", "a", "y", hair=0.9)]
    assert [each.said for each in Audit(looks).evidence] == ["x"]
    assert [(each.said, each.energy.n) for each in Audit(looks[-1:]).overall] == [(audit.ANY, 1)]
    empty = [one(i, "x", "a", "x", hair=NAN) for i in range(LEAST)]
    assert not Audit(empty).evidence and not Audit(empty).overall, "nothing is said of maps without evidence"


def test_nothing_annotated_and_one_group() -> None:
    found = Audit([one(i, "x", "", "x") for i in range(12)])
    assert found.evidence == [] and found.gaps == [] and found.findings == [] and found.right.value == 1
