"""Pages of what a network says of a picture: a strip of the words of a caption, answers side by side.

Figures 10, 11, 12 and 19 of Selvaraju et al. 2020.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image

from wherefore import drawing
from wherefore.explanation import Explanation
from wherefore.tiling import Block, excused, page, tile, wrapped

Fine = Explanation | str | None  # Guided Grad-CAM; why there is none; None where nobody wants it
LARGE, MIDDLE, SMALL = 320, 237, 154  # pixels across: three, four and six such tiles are as wide
NARROW, SIZE = 150, 15  # of the narrowest tile, for there are words beneath it; of the letters
NOTHING = "no evidence"
GREY = "On grey, the strongest hundredth of the pixels saturates."


def caption_page(
    whole: Explanation,
    words: Explanation,
    fine: Fine,
    says: str | None = None,
    *,
    colours: str = "heat",
    scale: str = "common",
) -> Image.Image:
    """The picture, a caption's map and Guided Grad-CAM; below a strip of the words' maps, in their order.

    ``says``: what the network says itself, where another caption is given. ``scale="common"`` draws all words on one
    scale, ``each`` every word up to its own maximum.
    """
    drawing.check_look(colours, scale)
    detail = f"{_given(says)}log p {float(whole.scores[0, 0]):.2f}, {_made_by(whole)}"
    large = [_photo(whole, LARGE), *_tiles(whole, LARGE, ["the whole caption"], [whole.evidence_text(0, 0)], colours)]
    strip = _tiles(words, SMALL, words.targets[0], _notes(words, scale), colours, scale)
    blocks = [
        Block(
            whole.targets[0][0], detail, large + _fine(large[0], LARGE, "Guided Grad-CAM", fine, "the whole caption")
        ),
        Block("Word by word", "p is that of a word after those before it", strip, _scale(words, colours, scale)),
    ]
    return page(blocks, 3, _foot("The words", [whole, words, fine], scale), SIZE)


def list_page(captions: Explanation, says: str, *, colours: str = "heat", scale: str = "common") -> Image.Image:
    """The picture, and the maps of captions that are given, with the box that each is about where that is known.

    ``says``: what the network says itself. ``scale="common"`` draws all captions on one scale.
    """
    drawing.check_look(colours, scale)
    names, ratios = captions.targets[0], captions.measures.get("ratio")
    told = [f"log p {float(score):.2f}" for score in captions.scores[0]]
    if ratios is not None:  # NaN where nothing speaks for a caption
        told = [f"{t}, inside/outside {float(r):.2f}" if r > 0 else t for t, r in zip(told, ratios[0], strict=True)]
    notes = _notes(captions, scale, told)
    lines = max(len(wrapped(name, LARGE, SIZE)) for name in names)
    tiles = [_photo(captions, LARGE, lines), *_tiles(captions, LARGE, names, notes, colours, scale, lines)]
    heading = "Given captions" if ratios is None else "Captions of its regions, each with the box that it is about"
    block = Block(heading, f"{_given(says)}{_made_by(captions)}", tiles, _scale(captions, colours, scale))
    return page([block], 3, _foot("The captions", [captions], scale), SIZE)


def answer_page(
    question: str, says: str, answers: Explanation, fine: Fine, *, colours: str = "heat", scale: str = "common"
) -> Image.Image:
    """The picture, the first answer's map and Guided Grad-CAM of it; below the maps of the other answers, if any.

    ``says``: what the network says, in words. ``scale="common"`` draws all answers on one scale.
    """
    drawing.check_look(colours, scale)
    names, notes = answers.targets[0], _notes(answers, scale)
    large = [_photo(answers, LARGE), _tiles(answers, LARGE, names, notes, colours, scale)[0]]
    large += _fine(large[0], LARGE, "Guided Grad-CAM", fine)
    blocks = [Block(question, f"{says}, {_made_by(answers)}", large, _scale(answers, colours, scale))]
    if len(names) > 1:
        blocks.append(Block("Other answers", "", _tiles(answers, MIDDLE, names, notes, colours, scale)[1:]))
    return page(blocks, 3, _foot("The answers", [answers, fine], scale), SIZE)


def column_page(
    question: str,
    says: str,
    ways: Mapping[str, Explanation | str],
    fines: Mapping[str, Fine],
    *,
    colours: str = "heat",
    scale: str = "common",
) -> Image.Image:
    """The picture, and a tile for each network, or layer: a row for each answer, and one of Guided Grad-CAM.

    What cannot be had says why. ``says``: what the networks say, in words, where other answers are given.
    ``scale="common"`` draws all answers of a network on one scale.
    """
    drawing.check_look(colours, scale)
    across = LARGE if len(ways) < 4 else SMALL
    known = [e for e in ways.values() if isinstance(e, Explanation)]
    photo, count = _photo(known[0], across), min(len(e.targets[0]) for e in known)
    shared = [_shared([(e.targets[0][t], _likely(e)[t]) for e in known]) for t in range(count)]
    drawn = [_column(photo, across, name, e, shared, colours, scale) for name, e in ways.items()]
    blocks = []
    for t, row in enumerate(shared):
        words = f"evidence for {', '.join(row)}" if row else f"answer {t + 1} of each"
        heads = (words, "") if t else (question, "; ".join(filter(None, [says, words, _in_common(known)])))
        blocks.append(Block(*heads, [photo, *[tiles[t] for tiles in drawn]]))
    fine = [each for name, found in fines.items() for each in _fine(photo, across, name, found)]
    if fine:
        blocks.append(Block("Guided Grad-CAM", "", [photo, *fine]))
    columns, scale = min(6, len(ways) + 1), scale if count > 1 else "each"
    return page(blocks, columns, _foot("The answers of each", [*known, *fines.values()], scale), SIZE)


# -------------------------------------------------------------------------------------------- tiles


def _photo(e: Explanation, across: int, lines: int = 1) -> Image.Image:
    """The picture without a map."""
    return tile(_roomy(e.within(across).pictures[0].image), e.pictures[0].title, size=SIZE, lines=lines)


def _tiles(
    e: Explanation,
    across: int,
    names: Sequence[str],
    notes: Sequence[str],
    colours: str,
    scale: str = "each",
    lines: int = 1,
) -> list[Image.Image]:
    """The picture under its maps, as many as there are names, with a name and a note beneath each."""
    overlays = e.within(across).overlays(0, colours=colours, scale=scale, legend=False)
    drawn = zip(names, notes, overlays, strict=False)
    return [tile(_roomy(each), name, note, SIZE, lines) for name, note, each in drawn]


def _column(
    photo: Image.Image,
    across: int,
    name: str,
    e: Explanation | str,
    shared: Sequence[Sequence[str]],
    colours: str,
    scale: str,
) -> list[Image.Image]:
    """A tile for each answer of a network, with what its row has not in common; or as often why there is none."""
    if isinstance(e, str):
        return [_excuse(photo, name, e)] * len(shared)
    rows = zip(shared, e.targets[0], _likely(e), _amounts(e), strict=False)
    notes = [", ".join([*(answer, p)[len(row) :], amount]) for row, answer, p, amount in rows]
    return _tiles(e, across, [name] * len(shared), notes, colours, scale)


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


def _notes(e: Explanation, scale: str, told: Sequence[str] | None = None) -> list[str]:
    """What is told of each target, by default its probability, and the evidence where the colours do not say it."""
    amounts = [f", {amount}" if scale == "each" or amount == NOTHING else "" for amount in _amounts(e)]
    return [text + amount for text, amount in zip(told or _likely(e), amounts, strict=True)]


def _likely(e: Explanation) -> list[str]:
    return [f"p {float(p):.3f}" for p in e.probabilities[0]]


def _amounts(e: Explanation) -> list[str]:
    return [f"up to {float(value):.3g}" if float(value) > 0 else NOTHING for value in e.evidence[0]]


def _given(says: str | None) -> str:
    return "" if says is None else f'given; the network says "{says}"; '


def _shared(row: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """The answer and its probability, or the answer alone, as far as it is the same in all of a row."""
    if len(set(row)) == 1:
        return row[0]
    return row[0][:1] if len({answer for answer, _ in row}) == 1 else ()


def _made_by(e: Explanation) -> str:
    return f"{e.model.name}, {e.method}, {e.layer}"


def _in_common(ways: Sequence[Explanation]) -> str:
    """What all ways have in common of network, method and layer."""
    parts = [{e.model.name: None for e in ways}, {e.method: None for e in ways}, {e.layer: None for e in ways}]
    return ", ".join(next(iter(part)) for part in parts if len(part) == 1)


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
