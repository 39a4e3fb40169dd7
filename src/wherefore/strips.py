"""Pages of what a network says of a picture: a strip of the words of a caption, answers side by side.

Figures 10, 11, 12 and 19 of Selvaraju et al. 2020.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image

from wherefore import drawing
from wherefore.explanation import Explanation
from wherefore.tiling import Block, excused, page, tile

Fine = Explanation | str | None  # Guided Grad-CAM; why there is none; None where nobody wants it
LARGE, MIDDLE, SMALL = 320, 237, 154  # pixels across: three, four and six such tiles are as wide
NARROW, SIZE = 150, 15  # of the narrowest tile, for there are words beneath it; of the letters
GREY = "On grey, the strongest hundredth of the pixels saturates."


def caption_page(
    whole: Explanation, words: Explanation, fine: Fine, *, colours: str = "heat", scale: str = "common"
) -> Image.Image:
    """The picture, a caption's map and Guided Grad-CAM; below a strip of the words' maps, in their order.

    ``scale="common"`` draws all words on one scale, ``each`` every word up to its own maximum.
    """
    drawing.check_look(colours, scale)
    detail = f"log p {float(whole.scores[0, 0]):.2f}, {_made_by(whole)}"
    large = [_photo(whole, LARGE), *_tiles(whole, LARGE, ["the whole caption"], [whole.evidence_text(0, 0)], colours)]
    strip = _tiles(words, SMALL, words.targets[0], _notes(words), colours, scale)
    blocks = [
        Block(
            whole.targets[0][0], detail, large + _fine(large[0], LARGE, "Guided Grad-CAM", fine, "the whole caption")
        ),
        Block("Word by word", "p is that of a word after those before it", strip, _scale(words, colours, scale)),
    ]
    return page(blocks, 3, _foot("The words", [whole, words, fine], scale), SIZE)


def answer_page(
    question: str, says: str, answers: Explanation, fine: Fine, *, colours: str = "heat", scale: str = "common"
) -> Image.Image:
    """The picture, the first answer's map and Guided Grad-CAM of it; below the maps of the other answers, if any.

    ``says``: what the network says, in words. ``scale="common"`` draws all answers on one scale.
    """
    drawing.check_look(colours, scale)
    names, notes = answers.targets[0], _notes(answers)
    large = [_photo(answers, LARGE), _tiles(answers, LARGE, names, notes, colours, scale)[0]]
    large += _fine(large[0], LARGE, "Guided Grad-CAM", fine)
    blocks = [Block(question, f"{says}, {_made_by(answers)}", large, _scale(answers, colours, scale))]
    if len(names) > 1:
        blocks.append(Block("Other answers", "", _tiles(answers, MIDDLE, names, notes, colours, scale)[1:]))
    return page(blocks, 3, _foot("The answers", [answers, fine], scale), SIZE)


def column_page(
    question: str,
    ways: Mapping[str, Explanation | str],
    fines: Mapping[str, Fine],
    *,
    colours: str = "heat",
    scale: str = "common",
) -> Image.Image:
    """The picture, and a tile for each network, or layer: a row for each answer, and one of Guided Grad-CAM.

    What cannot be had says why. ``scale="common"`` draws all answers of a network on one scale.
    """
    drawing.check_look(colours, scale)
    across = LARGE if len(ways) < 4 else SMALL
    known = [e for e in ways.values() if isinstance(e, Explanation)]
    photo, count = _photo(known[0], across), min(len(e.targets[0]) for e in known)
    drawn = [_column(photo, across, name, e, count, colours, scale) for name, e in ways.items()]
    blocks = [
        Block(heading, "" if t else _in_common(known), [photo, *[tiles[t] for tiles in drawn]])
        for t, heading in enumerate([question, *_headings(known)[1:]])
    ]
    fine = [each for name, found in fines.items() for each in _fine(photo, across, name, found)]
    if fine:
        blocks.append(Block("Guided Grad-CAM", "", [photo, *fine]))
    return page(
        blocks,
        min(6, len(ways) + 1),
        _foot("The answers of each", [*known, *fines.values()], scale if count > 1 else "each"),
        SIZE,
    )


# -------------------------------------------------------------------------------------------- tiles


def _photo(e: Explanation, across: int) -> Image.Image:
    """The picture without a map."""
    return tile(_roomy(e.within(across).pictures[0].image), e.pictures[0].title, size=SIZE)


def _tiles(
    e: Explanation, across: int, names: Sequence[str], notes: Sequence[str], colours: str, scale: str = "each"
) -> list[Image.Image]:
    """The picture under each of its maps, with a name and a note beneath."""
    overlays = e.within(across).overlays(0, colours=colours, scale=scale, legend=False)
    return [tile(_roomy(each), name, note, SIZE) for each, name, note in zip(overlays, names, notes, strict=True)]


def _column(
    photo: Image.Image, across: int, name: str, e: Explanation | str, count: int, colours: str, scale: str
) -> list[Image.Image]:
    """A tile for each answer of a network, or as often why there is none."""
    if isinstance(e, str):
        return [_excuse(photo, name, e)] * count
    said = [f"{answer}, {likely}" for answer, likely in zip(e.targets[0], _notes(e), strict=True)]
    return _tiles(e, across, [name] * count, said, colours, scale)


def _fine(photo: Image.Image, across: int, name: str, fine: Fine, of: str = "") -> list[Image.Image]:
    """The tile of Guided Grad-CAM as large as another one, or the reason why there is none; none if nobody wants it."""
    if fine is None:
        return []
    if isinstance(fine, str):
        return [_excuse(photo, name, fine)]
    return _tiles(fine, across, [name], [of or fine.targets[0][0]], "heat")


def _excuse(photo: Image.Image, name: str, why: str) -> Image.Image:
    bare = photo.height - tile(Image.new("RGB", (1, 1)), "", size=SIZE).height + 1
    return excused((photo.width, bare), name, why, SIZE)


def _roomy(picture: Image.Image) -> Image.Image:
    """The picture, on paper if it is too narrow for words beneath it."""
    if picture.width >= NARROW:
        return picture
    canvas = Image.new("RGB", (NARROW, picture.height), drawing.PAPER)
    canvas.paste(picture, (0, 0))
    return canvas


# -------------------------------------------------------------------------------------------- words


def _notes(e: Explanation) -> list[str]:
    """The probability of each target, and whether anything speaks for it."""
    silent = ["" if float(value) > 0 else ", no evidence" for value in e.evidence[0]]
    return [f"p {float(p):.3f}{none}" for p, none in zip(e.probabilities[0], silent, strict=True)]


def _made_by(e: Explanation) -> str:
    return f"{e.model.name}, {e.method}, {e.layer}"


def _in_common(ways: Sequence[Explanation]) -> str:
    """What all ways have in common of network, method and layer."""
    parts = [{e.model.name: None for e in ways}, {e.method: None for e in ways}, {e.layer: None for e in ways}]
    return ", ".join(next(iter(part)) for part in parts if len(part) == 1)


def _headings(ways: Sequence[Explanation]) -> list[str]:
    """The answer of each row, where it is the same of all."""
    rows = zip(*[e.targets[0] for e in ways], strict=False)  # as many as all have
    return [names[0] if len(set(names)) == 1 else f"answer {t + 1}" for t, names in enumerate(rows)]


def _scale(e: Explanation, colours: str, scale: str) -> tuple[str, str] | None:
    """The scale that all maps share, if they do."""
    top = float(e.evidence[0].max())
    return (colours, f"{top:.3g}") if scale == "common" and e.pixels is None and top > 0 else None


def _foot(what: str, drawn: Sequence[Fine], scale: str) -> str:
    """What is to be known of the colours."""
    common = f"{what} share one scale, up to their highest maximum: a faint map is little evidence."
    each = "Every map is scaled to its own maximum: a strong colour may be little evidence."
    grey = any(isinstance(e, Explanation) and e.pixels is not None for e in drawn)
    return " ".join([common if scale == "common" else each] + [GREY] * grey)
