"""What is read of a text, and its pieces: those of the text itself, and those told by the tokenizers' own markers."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("transformers")

import transformers as hf

from fixtures_transformers import TEXT, bytelevel, metaspace, wordpiece
from wherefore.errors import Error
from wherefore.text import Words, words_of

SENTENCE = "The cat  wasn't playing,\n unbelievable"
TOKENIZERS = {"wordpiece": wordpiece, "roberta": lambda: bytelevel(True), "gpt2": lambda: bytelevel(False)}
TOKENIZERS |= {"metaspace": metaspace}


@pytest.mark.parametrize("make", TOKENIZERS.values(), ids=TOKENIZERS)
@pytest.mark.parametrize("text", [SENTENCE, "dog 😀 cat", "x"])
def test_the_pieces_of_a_text_are_its_own_characters(make, text: str) -> None:
    words = Words(make())
    ids = words(text)["input_ids"]
    pieces = words.words(ids, text)
    assert len(pieces) == ids.shape[1]
    special = set(words.tokenizer.all_special_tokens)
    assert "".join(p for p in pieces if p not in special) == text


def test_a_piece_that_starts_a_word_starts_with_a_space() -> None:
    words = Words(wordpiece())
    read = words("The cat, unbelievable")
    pieces = words.words(read["input_ids"], "The cat, unbelievable")
    assert pieces[:4] == ["[CLS]", "The", " cat", ","] and pieces[4].startswith(" u") and pieces[-1] == "[SEP]"
    assert not any(p.startswith(" ") for p in pieces[5:])
    assert all(isinstance(v, torch.Tensor) and v.shape == (1, len(pieces)) for v in read.values())


@pytest.mark.parametrize("make", [wordpiece, lambda: bytelevel(True), lambda: bytelevel(False)])
def test_without_the_text_the_markers_say_where_words_start(make) -> None:
    words = Words(make())
    for one in (words.words(words("the cat sat")["input_ids"]), words.words(words("the cat sat")["input_ids"][0])):
        assert "".join(one[1:-1]).lstrip() == "the cat sat" and " cat" in one
        assert not any("#" in p or "Ġ" in p for p in one)


def test_sentencepieces_markers_are_spaces() -> None:
    words = Words(metaspace())
    assert words.words(words("the unbelievables")["input_ids"]) == ["the", " un", "believ", "able", "s"]


def test_the_text_of_other_tokens_is_not_used() -> None:
    words = Words(wordpiece())
    assert words.words(words("the cat")["input_ids"], "a dog") == words.words(words("the cat")["input_ids"])


def test_long_texts_are_cut_off_where_the_network_ends() -> None:
    text = "the cat " * 40
    for config, kind, longest in (
        (hf.BertConfig(**TEXT), hf.BertForSequenceClassification, 12),
        (hf.RobertaConfig(**TEXT), hf.RobertaForSequenceClassification, 11),  # its positions start behind the padding
    ):
        net = kind(config).eval()
        words = words_of(net, wordpiece())
        read = words(text)
        assert read["input_ids"].shape == (1, longest) and net(**read).logits.shape == (1, 2)
        pieces = words.words(read["input_ids"], text)
        assert text.startswith("".join(pieces[1:-1])) and len(pieces) == longest
    assert Words(wordpiece(), 5)(text)["input_ids"].shape == (1, 5)


def test_what_is_no_text() -> None:
    with pytest.raises(Error, match="reads text: give a str, not list"):
        Words(wordpiece())(["the cat"])  # type: ignore[arg-type]


def test_a_network_is_fed_what_it_takes() -> None:
    read = Words(wordpiece(), names=("input_ids",))("the cat")
    assert list(read) == ["input_ids"]
