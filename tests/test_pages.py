"""Pages: one file that needs nothing else, whatever words it is given."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from page_reader import check, picture
from wherefore import pages
from wherefore.errors import Error
from wherefore.pages import Card, Cards, Command, Commands, Figure, Figures, Section, Share, Table, Verdict
from wherefore.pages.building import STAND_IN, prose

NASTY = "<script>alert('1')</script> & \"quoted\" <b onclick=x>"


def noise(seed: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(256, size=(size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def sections() -> list[Section]:
    return [
        Section(
            "What is seen",
            "Some words about `wherefore explain` & more.",
            Figures([Figure(noise(1), "one"), Figure(noise(2), "two", "a note")], 2, "Both", "Words below."),
            Table(("method", "hits"), [("grad-cam", Share(0.8, 0.74, 0.85)), ("other", "none")], "All of them.", [0]),
            Verdict("It holds.", True, "80 %"),
        ),
        Section(
            "What is seen", Verdict("It does not.", False, "10 %"), Figures([Figure(noise(3), "one", alt="other")])
        ),
        Section("Go on", Commands([Command("wherefore demo --out x", "This page.")])),
    ]


def test_a_page_needs_nothing_else_and_can_be_read(tmp_path: Path) -> None:
    page = check(pages.write(tmp_path, "A title", "A lead.", sections(), {"seed": "0"}))
    assert "A title" in page.words and "A lead." in page.words and STAND_IN in page.words
    for words in ("80\N{NO-BREAK SPACE}% (74\N{EN DASH}85)", "All of them.", "Words below.", "a note", "This page."):
        assert words in page.words
    assert page.words.count("does not hold") == 2, "in the section and among the contents"
    assert ("code", {}) in page.tags and "`" not in page.words
    assert [a["href"] for a in page.all("a")][1:] == ["#what-is-seen", "#what-is-seen-2", "#go-on"]
    assert "seed" in page.words and "wherefore" in page.words


def test_pictures_are_in_the_page_and_beside_it(tmp_path: Path) -> None:
    page = check(pages.write(tmp_path, "t", "l", sections()))
    names = ["what-is-seen-one.png", "what-is-seen-two.png", "what-is-seen-one-2.png"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*names, "index.html"])
    for image, name, seed in zip(page.all("img"), names, (1, 2, 3), strict=True):
        assert Image.open(tmp_path / name).tobytes() == noise(seed).tobytes()
        shown = picture(image["src"])
        assert f"{shown.width}x{shown.height}" == f"{image['width']}x{image['height']}" == "40x30"
    assert [image["alt"] for image in page.all("img")] == ["one", "two. a note", "other"]


def test_words_are_escaped_wherever_they_stand(tmp_path: Path) -> None:
    nasty = [
        Section(
            NASTY,
            NASTY,
            Figures([Figure(noise(1), NASTY, NASTY, NASTY)], 1, NASTY, NASTY),
            Table((NASTY, NASTY), [(NASTY, NASTY)], NASTY),
            Verdict(NASTY, True, NASTY),
            Commands([Command(NASTY, NASTY)]),
        )
    ]
    page = check(pages.write(tmp_path, NASTY, NASTY, nasty, {NASTY: NASTY}, NASTY))
    assert page.words.count(NASTY) == 22 and not page.all("script") and not page.all("b")
    assert page.all("img")[0]["alt"] == NASTY


def test_prose_marks_code_and_escapes_it() -> None:
    assert prose("a `<b>` c & d") == "a <code>&lt;b&gt;</code> c &amp; d"


def test_cards_carry_the_facts_that_they_are_sorted_by(tmp_path: Path) -> None:
    cards = Cards(
        [
            Card(f"card {i}", [Figure(noise(i), "one")], {"p": p, "is it": kind, NASTY: NASTY}, "A sentence.")
            for i, (p, kind) in enumerate([(0.5, "story 10"), (None, "story 2"), (0.25, "story 2")])
        ],
        2,
    )
    assert cards.numbers == ["p"] and cards.choices == {"is it": ["story 2", "story 10"]}, "one value is no choice"
    page = check(pages.write(tmp_path, "t", "l", [Section("Cards", cards)]))
    facts = [json.loads(each["data-facts"] or "") for each in page.all("article")]
    assert facts == [dict(card.facts) for card in cards.cards]
    assert [each.get("name") for each in page.all("select")] == ["by", "is is it"]
    assert "A sentence." in page.words and "card 2" in page.words and page.script
    assert [each.name for each in tmp_path.iterdir()] == ["index.html"], "their pictures are in the page alone"
    assert not check(pages.write(tmp_path, "t", "l", sections())).script


def test_a_share_is_drawn_to_scale(tmp_path: Path) -> None:
    page = check(pages.write(tmp_path, "t", "l", sections()))
    track, bar, whisker = page.all("rect")
    assert (track["width"], bar["width"], whisker["x"], whisker["width"]) == ("100", "80.0", "74.0", "11.0")


def test_the_contents_count_what_holds() -> None:
    yes, no = Verdict("", True, ""), Verdict("", False, "")
    assert Section("", yes).tally == [("yes", "holds")] and Section("", no).tally == [("no", "does not hold")]
    assert Section("", yes, no, yes).tally == [("yes", "2 hold"), ("no", "1 does not hold")]
    perhaps = Verdict("A claim", True, "0.1", clear=False)
    assert Section("", perhaps, yes).tally == [("yes", "1 holds"), ("perhaps", "1 may be chance")]
    assert perhaps.word == "holds, may be chance"
    assert Section("").tally == []


def test_a_page_without_a_stand_in_says_nothing_of_one(tmp_path: Path) -> None:
    assert STAND_IN not in check(pages.write(tmp_path, "t", "l", sections(), notice="")).words


def test_a_page_is_the_same_each_time(tmp_path: Path) -> None:
    first, second = (pages.write(tmp_path / name, "t", "l", sections()) for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Error, match="give another folder"):
        pages.write(tmp_path / "file", "t", "l", sections())


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_words_stand_out_from_the_paper(scheme: str) -> None:
    css = (Path(pages.__file__).parent / "templates" / "page.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    assert len(blocks) == 3 and "prefers-color-scheme: dark" in css
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6})\b", blocks[["light", "dark", "print"].index(scheme)]))
    for ink, paper in [
        ("ink", "paper"), ("soft", "paper"), ("accent", "paper"), ("ink", "raised"), ("soft", "raised"),
        ("ink", "yes-paper"), ("ink", "no-paper"), ("yes", "paper"), ("no", "paper"),
        ("yes", "yes-paper"), ("no", "no-paper"),
    ]:  # fmt: skip
        assert contrast(colours[ink], colours[paper]) >= 4.5, f"{ink} on {paper}"


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours (WCAG 2.2)."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    values = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
