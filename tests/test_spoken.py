"""Captions that were said, in the tokens of libraries' tokenizers, which read their texts in other tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("transformers")

import wherefore as wf
from fixtures_doors import photo
from fixtures_transformers import bytelevel, metaspace, wordpiece
from fixtures_worded import vit_gpt2
from wherefore.models.tokens import Tokens
from wherefore.saying import spoken
from wherefore.speech import Speech, Spoken

BYTES, PIECES, SPACED = bytelevel(False), wordpiece(), metaspace()
# Tokens that were said, their text, and its words with the tokens of each.
CASES: list[tuple[Any, str, str, dict[str, str]]] = [
    (BYTES, "Ġcat Ġ d o n ' t", "cat don't", {"cat": "Ġcat", "don't": "d o n ' t"}),
    (BYTES, "Ġca t Ġ w e l l - l i t", "cat well-lit", {"cat": "Ġca t", "well-lit": "w e l l - l i t"}),
    (BYTES, "Ġ Ġcat , Ġpl a y . Ġ", "cat, play.", {"cat,": "Ġcat", "play.": "Ġpl a y"}),
    (BYTES, 'Ġ " Ġca t " Ġ - Ġp', '" cat" - p', {'cat"': "Ġca t", "p": "Ġp"}),
    (BYTES, "<s> Ġcat <s> s Ġ Ã ©", "cats é", {"cats": "Ġcat <s> s", "é": "Ã ©"}),
    (PIECES, "the cat wasn ' t on , [CLS]", "the cat wasn't on,", {"cat": "cat", "wasn't": "wasn ' t", "on,": "on"}),
    (PIECES, "[CLS] dog ##s [UNK] on", "dogs on", {"dogs": "dog ##s", "on": "on"}),
    (SPACED, "believ able s ▁un ▁", "believables un", {"believables": "believ able s", "un": "▁un"}),
]


def language(tokenizer: Any) -> Tokens:
    return Tokens(tokenizer, 1, 30, "it")


def numbers(tokenizer: Any, tokens: str) -> list[int]:
    return [tokenizer.convert_tokens_to_ids(token) for token in tokens.split()]


def speech(tokenizer: Any, pictures: int = 1) -> Speech:
    """Scores that differ for each place and token, whatever was said."""
    scores = torch.randn(pictures, 32, len(tokenizer), generator=torch.Generator().manual_seed(0))

    def decode(pictures: Tensor, tokens: Tensor) -> Tensor:
        return scores[: len(pictures), : tokens.shape[1] + 1]

    return Speech(torch.zeros(pictures, 1), decode, language(tokenizer))


def score(target: wf.Caption | wf.Word, output: Speech) -> float:
    block = target.bind(output, None)
    assert callable(block)
    return float(block(output)[0])


@pytest.mark.parametrize("tokenizer, tokens, text, words", CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_words_have_the_scores_of_the_tokens_that_were_said(
    tokenizer: Any, tokens: str, text: str, words: dict[str, str]
) -> None:
    row, output = numbers(tokenizer, tokens), speech(tokenizer)
    own, scores = Spoken(language(tokenizer), (tuple(row),)), output.scores([row])[0]
    assert own.texts == [text] and repr(wf.Caption(own)) == repr(wf.Caption(text))
    assert tokenizer(text, add_special_tokens=False)["input_ids"] != row, "the text says less"
    likely = scores.log_softmax(1)
    assert score(wf.Caption(own), output) == pytest.approx(
        float(sum(likely[i, n] for i, n in enumerate(row))), abs=1e-4
    )
    found = {word.word: word for word in wf.Caption(own).words()}
    assert [word.word for word in found.values()] == [word for word in text.split() if any(map(str.isalnum, word))]
    parts = tokens.split()
    for word, its in words.items():
        start = next(i for i in range(len(parts)) if parts[i : i + len(its.split())] == its.split())
        places = range(start, start + len(its.split()))
        wanted = float(sum(scores[i, row[i]] for i in places))
        assert score(found[word], output) == pytest.approx(wanted, abs=1e-4)
        assert score(wf.Word(word, own), output) == pytest.approx(wanted, abs=1e-4), "asked for by itself"


@pytest.mark.parametrize("text", ["the dog - cat", "don't play", '"the" cat.', "a well-lit , cat"])
def test_words_of_a_text_are_found_in_its_tokens(text: str) -> None:
    output = speech(BYTES)
    row = output.language.numbers(text)
    for target in (text, Spoken(output.language, (tuple(row),))):
        words = wf.Caption(target).words()
        assert [word.word for word in words] == [word for word in text.split() if any(map(str.isalnum, word))]
        assert len({score(word, output) for word in words}) == len(words)


def test_a_network_is_explained_by_what_it_said(tmp_path: Path) -> None:
    model = wf.load(vit_gpt2(tmp_path))
    pictures = [photo(50, 37, seed) for seed in range(3)]
    own = spoken(model, pictures)
    assert own.texts == wf.captions(model, pictures)
    torch.testing.assert_close(wf.explain(model, pictures, wf.Caption(own)).maps, wf.explain(model, pictures).maps)
    rows = ("Ġcat", "Ġcat Ġ d", "Ġpl a y Ġcat")
    given = Spoken(own.language, tuple(tuple(numbers(BYTES, tokens)) for tokens in rows))
    e = wf.explain(model, pictures, [wf.Caption(given)], batch_size=2)
    assert e.targets == [["cat"], ["cat d"], ["play cat"]]
    for i, row in enumerate(given.tokens):
        alone = wf.explain(model, pictures[i], wf.Caption(Spoken(own.language, (row,))))
        torch.testing.assert_close(e.maps[i], alone.maps[0], rtol=1e-4, atol=1e-7)
    read = spoken(model, pictures[:1], text="cat d")
    assert read.texts == ["cat d"] and read.tokens != given.tokens[1:2], "no space before the first word"


def test_what_is_refused() -> None:
    own = Spoken(language(PIECES), (tuple(numbers(PIECES, "the dog")), tuple(numbers(PIECES, "the cat on the dog"))))
    with pytest.raises(wf.Error, match="the words of captions of 2 pictures differ"):
        wf.Caption(own).words()
    with pytest.raises(wf.Error, match="captions of 2 pictures do not fit 3"):
        wf.Caption(own).part(0, 1, 3)
    with pytest.raises(wf.Error, match="the word 'sat' is not in the caption 'the dog'"):
        wf.Word("sat", own.part(0, 1, 2)).bind(speech(PIECES), None)
    with pytest.raises(wf.Error, match="says nothing of the picture: give a caption"):
        wf.Caption(Spoken(own.language, ((),))).bind(speech(PIECES), None)
    assert wf.Caption(Spoken(own.language, (tuple(numbers(PIECES, ", ' ,")),))).words() == [], "marks are no words"
