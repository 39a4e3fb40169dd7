"""``hf:`` networks that say words or answer questions: their maps beside plain hooks on transformers' own forward."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("transformers")

import wherefore as wf
from conftest import untouched
from fixtures_doors import photo
from fixtures_transformers import bytelevel, metaspace, wordpiece
from fixtures_worded import blip, git, hf, llava, vilt, vit_gpt2
from wherefore.errors import Error
from wherefore.models.tokens import Tokens
from wherefore.speech import said, searched
from wherefore.types import Model

QUESTION = "the cat on the dogs"


class Case(NamedTuple):
    """A family: how a tiny one is made, its default layer, a block's input norm, class tokens, a caption and a word."""

    make: Callable[[Path], str]
    layer: str
    norm: str
    prefix: int
    caption: str
    word: str


CASES = {
    "blip": Case(
        lambda folder: blip("ConditionalGeneration", folder),
        "vision_model.post_layernorm:0",
        "vision_model.encoder.layers.1.layer_norm1",
        1,
        "the cats sat on dogs",
        "cats",
    ),
    "blip-vqa": Case(
        lambda folder: blip("QuestionAnswering", folder),
        "vision_model.post_layernorm:0",
        "vision_model.encoder.layers.1.layer_norm1",
        1,
        "the dogs",
        "dogs",
    ),
    "git": Case(
        git,
        "git.visual_projection",
        "git.image_encoder.vision_model.encoder.layers.1.layer_norm1",
        1,
        "the cats sat on dogs",
        "dogs",
    ),
    "vit-gpt2": Case(vit_gpt2, "encoder.layernorm", "encoder.layers.1.layernorm_before", 1, "the cat plays", "cat"),
    "llava": Case(
        llava,
        "model.multi_modal_projector.act",
        "model.vision_tower.encoder.layers.1.layer_norm1",
        0,
        "the cat plays",
        "plays",
    ),
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Model, Path]]:
    """A family's tiny network in double precision, loaded once, and its folder."""
    known: dict[str, tuple[Model, Path]] = {}

    def get(name: str) -> tuple[Model, Path]:
        if name not in known:
            folder = tmp_path_factory.mktemp(name)
            known[name] = wf.load((vilt if name == "vilt" else CASES[name].make)(folder)), folder
            known[name][0].net.double()
        return known[name]

    return get


def shown(model: Model, *seeds: int) -> Tensor:
    """Pictures as the network is fed them."""
    return torch.stack([model.preprocess(photo(50, 37, seed)) for seed in seeds or (0,)]).double()


def asked(model: Model) -> str | None:
    return QUESTION if model.question else None


# -------------------------------------------------------------------------------------------- by hand


def logits(name: str, model: Model, folder: Path, x: Tensor, tokens: list[int]) -> Tensor:
    """The scores ``(L + 1, V)`` along a caption, by one call of the network as its documentation has it."""
    net, row = model.net.net, torch.tensor([tokens])
    if name == "blip":
        return net(pixel_values=x, input_ids=torch.cat([torch.tensor([[2]]), row], 1)).logits[0]
    if name == "git":
        return net(pixel_values=x, input_ids=torch.cat([torch.tensor([[2]]), row], 1)).logits[0, 17:]
    if name == "vit-gpt2":
        return net(pixel_values=x, decoder_input_ids=torch.cat([torch.tensor([[1]]), row], 1)).logits[0]
    prompt = chat(folder)
    ids = torch.cat([prompt["input_ids"], row], 1)
    return net(input_ids=ids, pixel_values=x).logits[0, prompt["input_ids"].shape[1] - 1 :]


def chat(folder: Path) -> Any:
    """The prompt of a LLaVA as its processor makes it, with as many tokens for the picture as it has."""
    content = [{"type": "image", "image": photo(50, 37)}, {"type": "text", "text": QUESTION}]
    turns = [{"role": "user", "content": content}]
    settings = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
    return hf.AutoProcessor.from_pretrained(folder).apply_chat_template(turns, **settings)


def likelihood(name: str, model: Model, folder: Path, x: Tensor, tokens: list[int], end: bool) -> Tensor:
    """The logarithm of how likely a caption is."""
    if name == "blip-vqa":  # it gives no scores, but the mean cross entropy of all tokens and the end
        read = wordpiece()(QUESTION, return_tensors="pt")
        labels = torch.tensor([[2, *tokens, 3]])
        net = model.net.net
        loss = net(read["input_ids"], x, attention_mask=read["attention_mask"], labels=labels).loss
        return -loss * (len(tokens) + 1)
    wanted = [*tokens, model.net.end] if end else tokens
    scores = logits(name, model, folder, x, tokens).log_softmax(1)
    return sum(scores[i, token] for i, token in enumerate(wanted))


def by_hand(net: Any, layer: str, prefix: int, run: Callable[[], Tensor]) -> Tensor:
    """Grad-CAM ``(4, 4)`` without its last ReLU at a layer of tokens, with a hook on it."""
    seen: list[Tensor] = []
    handle = net.get_submodule(layer.split(":")[0]).register_forward_hook(lambda _, __, output: seen.append(output))
    score = run()
    handle.remove()
    (gradient,) = torch.autograd.grad(score, seen[0])
    values, weights = seen[0][0, prefix:], gradient[0, prefix:].mean(0)
    return (values @ weights).reshape(4, -1).detach()


def agree(ours: Tensor, theirs: Tensor) -> None:
    scale = theirs.abs().max()
    assert float(scale) > 1e-5, "nothing is compared with nothing"
    torch.testing.assert_close(ours, theirs.float(), rtol=0, atol=1e-5 * float(scale))


@pytest.mark.parametrize("name", CASES)
def test_maps_are_those_of_a_plain_hook(name: str, loaded: Any) -> None:
    case, (model, folder) = CASES[name], loaded(name)
    x, tokens = shown(model), model.net.language.numbers(case.caption)
    answers = name == "blip-vqa"
    for layer in (case.layer, case.norm):
        target = wf.Answer(case.caption) if answers else wf.Caption(case.caption)
        named = None if layer == case.layer else layer
        e = wf.explain(model, x, target, layer=named, question=asked(model), relu=False)
        assert e.layer == layer and e.maps.shape == (1, 1, 4, 4)
        score = likelihood(name, model, folder, x, tokens, answers).detach()
        assert float(e.scores[0, 0]) == pytest.approx(float(score), abs=1e-4)
        assert float(e.probabilities[0, 0]) == pytest.approx(float(score.exp()), rel=1e-3)
        run = lambda: likelihood(name, model, folder, x, tokens, answers)  # noqa: E731
        agree(e.maps[0, 0], by_hand(model.net.net, layer, case.prefix, run))


@pytest.mark.parametrize("name", [name for name in CASES if name != "blip-vqa"])
def test_the_map_of_a_word_is_that_of_its_tokens_scores(name: str, loaded: Any) -> None:
    case, (model, folder) = CASES[name], loaded(name)
    x, tokens = shown(model), model.net.language.numbers(case.caption)
    piece = next(p for p in model.net.language.pieces(tokens) if p.word == case.word)
    cut = tokens[: piece.stop]  # what comes behind the word is not even there

    def run() -> Tensor:
        scores = logits(name, model, folder, x, cut)
        return sum(scores[i, cut[i]] for i in range(piece.start, piece.stop))

    e = wf.explain(model, x, wf.Word(case.word, case.caption), question=asked(model), relu=False)
    assert float(e.scores[0, 0]) == pytest.approx(float(run().detach()), abs=1e-4)
    agree(e.maps[0, 0], by_hand(model.net.net, case.layer, case.prefix, run))


@pytest.mark.parametrize("name", CASES)
def test_it_says_what_the_library_generates(name: str, loaded: Any) -> None:
    model, folder = loaded(name)
    x, net, adapter = shown(model), model.net.net, model.net
    options = {"num_beams": 1, "do_sample": False, "max_new_tokens": adapter.language.longest}
    question = {}
    if model.question:
        question = {key: value[None] for key, value in model.question(QUESTION).items()}
    if name == "blip-vqa":
        read = wordpiece()(QUESTION, return_tensors="pt")
        made = net.generate(read["input_ids"], x, attention_mask=read["attention_mask"], **options)[0, 1:]
    elif name == "llava":
        prompt = chat(folder)
        prompt = {"input_ids": prompt["input_ids"], "attention_mask": prompt["attention_mask"]}
        made = net.generate(**prompt, pixel_values=x, **options)[0, prompt["input_ids"].shape[1] :]
    else:
        made = net.generate(pixel_values=x, **options)[0, 1:]
    made = made.tolist()
    made = made[: made.index(adapter.end)] if adapter.end in made else made
    own = said(adapter(x, **question))[0]
    assert own == made and own
    assert wf.captions(model, x, asked(model)) == [adapter.language.text(made)]


@pytest.mark.parametrize("name", CASES)
def test_one_pass_serves_all_and_leaves_the_network_as_it_was(name: str, loaded: Any) -> None:
    case, (model, _) = CASES[name], loaded(name)
    words = [wf.Word(word, case.caption) for word in case.caption.split()] + [wf.Caption(case.caption)]
    x = shown(model, 0, 1)
    questions = [QUESTION, "cat " * 19] if name == "llava" else [QUESTION, "the dog"]
    questions = questions if model.question else [None, None]
    why = wf.Explainer(model)
    why(x[:1], words[0], question=questions[0])  # transformers puts hooks of its own when it runs first
    own, random = dict(model.net.net.__dict__), torch.random.get_rng_state()
    with untouched(model.net), untouched(model.net.net):
        e = why(x, words, question=questions if model.question else None)
    assert dict(model.net.net.__dict__) == own and torch.equal(torch.random.get_rng_state(), random)
    assert e.maps.shape == (2, len(words), 4, 4)
    for image, question in enumerate(questions):
        for number, word in enumerate(words):
            one = why(x[image : image + 1], word, question=question)
            torch.testing.assert_close(e.maps[image, number], one.maps[0, 0], rtol=1e-4, atol=1e-7)
    assert not torch.equal(e.maps[0], e.maps[1])


def test_a_prompt_is_asked_where_nobody_asks(loaded: Any) -> None:
    model, _ = loaded("llava")
    x = shown(model)
    assert model.prompt == "Describe the picture in one sentence."
    assert wf.captions(model, x) == wf.captions(model, x, model.prompt)
    question = model.question(model.prompt)
    assert len(question["input_ids"]) % 16 == 0 and int(question["attention_mask"].sum()) > 16


@pytest.mark.parametrize("feature", [-1, -2])
def test_layers_that_transformers_keeps_aside_are_explained(tmp_path: Path, feature: int) -> None:
    model = wf.load(llava(tmp_path, feature, "CLIP"))  # a CLIP, whose class token is left out
    model.net.double()
    x, layer = shown(model), f"model.vision_tower.encoder.layers.{2 + feature}"
    e = wf.explain(model, x, wf.Caption("the cat"), layer=layer, question=QUESTION, relu=False)
    tokens = model.net.language.numbers("the cat")
    run = lambda: likelihood("llava", model, tmp_path, x, tokens, False)  # noqa: E731
    agree(e.maps[0, 0], by_hand(model.net.net, layer, 1, run))
    assert wf.explain(model, x, wf.Caption("the cat")).layer == "model.multi_modal_projector.act"


# -------------------------------------------------------------------------------------------- ViLT


def vilt_by_hand(model: Model, x: Tensor, answer: int, seed: int) -> tuple[Tensor, Tensor]:
    """Grad-CAM ``(4, 5)`` without its last ReLU of ViLT by a hook: in the picture's order, and in the drawn one."""
    net, read, mask = model.net.net, wordpiece()(QUESTION, return_tensors="pt"), torch.ones(1, 32, 40)
    torch.manual_seed(seed)
    places = net.vilt.embeddings.visual_embed(x, mask.long(), -1)[2][0][0]
    torch.manual_seed(seed)  # the next pass draws the same order
    seen: list[Tensor] = []
    module = net.vilt.encoder.layer[1].layernorm_before
    handle = module.register_forward_hook(lambda _, __, output: seen.append(output))
    score = net(read["input_ids"], read["attention_mask"], pixel_values=x, pixel_mask=mask.long()).logits[0, answer]
    handle.remove()
    (gradient,) = torch.autograd.grad(score, seen[0])
    first = read["input_ids"].shape[1] + 1
    drawn = (seen[0][0, first:] @ gradient[0, first:].mean(0)).detach()
    found = torch.zeros(4, 5, dtype=x.dtype)
    for value, (row, column) in zip(drawn, places.tolist(), strict=True):
        found[row, column] = value
    return found, drawn.reshape(4, 5)


def test_vilts_patches_lie_where_they_came_from(loaded: Any) -> None:
    model, _ = loaded("vilt")
    x, maps = shown(model), []
    assert model.classes == ("red", "blue", "two dogs") and model.multilabel and x.shape == (1, 3, 32, 40)
    for seed in (0, 1):
        torch.manual_seed(seed)
        before = torch.random.get_rng_state()
        e = wf.explain(model, x, wf.Answer("two dogs"), question=QUESTION, relu=False)
        assert torch.equal(torch.random.get_rng_state(), before)
        assert e.layer == "vilt.encoder.layer.1.layernorm_before" and e.targets == [["two dogs"]]
        maps.append(e.maps[0, 0])
        found, drawn = vilt_by_hand(model, x, 2, seed)
        agree(maps[-1], found)
        assert not torch.allclose(drawn, found, atol=1e-2 * float(found.abs().max()))
    torch.testing.assert_close(maps[0], maps[1])


def test_vilts_answers(loaded: Any) -> None:
    model, _ = loaded("vilt")
    x = shown(model, 0, 1)
    with untouched(model.net):
        e = wf.explain(model, x, [["red", "blue"]] * 2, question=[QUESTION, "the dog"])
    for image, question in enumerate((QUESTION, "the dog")):
        one = wf.explain(model, x[image : image + 1], wf.Answer("blue"), question=question)
        torch.testing.assert_close(e.maps[image, 1:], one.maps[0], rtol=1e-4, atol=1e-7)
        read = wordpiece()(question, return_tensors="pt")
        theirs = model.net.net(
            read["input_ids"],
            read["attention_mask"],
            pixel_values=x[image : image + 1],
            pixel_mask=torch.ones(1, 32, 40).long(),
        ).logits[0]
        torch.testing.assert_close(e.scores[image], theirs[:2].detach().float(), rtol=1e-5, atol=1e-6)
    long = wf.explain(model, x[:1], question="the cat sat on dogs " * 5)  # more tokens beside the patches than patches
    assert long.maps.shape == (1, 1, 4, 5)
    best = wf.answers(model, x[:1], QUESTION)[0]
    order = e.scores[0].tolist()
    assert [a.text for a in best if a.text in ("red", "blue")] == (
        ["red", "blue"] if order[0] > order[1] else ["blue", "red"]
    )
    assert best[0].probability == pytest.approx(torch.tensor(best[0].score).sigmoid().item())


def test_answers_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    shuffled = {str(i): f"answer{i}" for i in (0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9)}
    name = vilt(tmp_path, id2label={int(i): text for i, text in shuffled.items()}, label2id={})
    settings = json.loads((tmp_path / "config.json").read_text())
    settings["id2label"] = shuffled  # in the order in which a library may have written it
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert [*(wf.load(name).classes or ())] == [f"answer{i}" for i in range(12)]


@pytest.mark.parametrize("name", ["blip-vqa", "llava"])
def test_answers_that_are_said_word_by_word(name: str, loaded: Any) -> None:
    model, folder = loaded(name)
    x = shown(model, 0, 1)
    alone = wf.answers(model, x, QUESTION, most=1)
    found = wf.answers(model, x, QUESTION, most=3)
    for image, row in enumerate(found):
        assert row[0] == alone[image][0] and 1 < len(row) <= 3 and len({said.text for said in row}) == len(row)
        likely = [said.score for said in row[1:]]
        assert likely == sorted(likely, reverse=True)
        assert all(said.probability == pytest.approx(np.exp(said.score)) for said in row)
        given = {key: value[None] for key, value in model.question(QUESTION).items()}
        with torch.no_grad():
            (searches,) = searched(model.net(x[image : image + 1], **given), 3)
            for value, tokens in searches:
                if len(tokens) + 2 > 16:
                    continue  # with its start and end it has more tokens than the library's loss takes
                theirs = likelihood(name, model, folder, x[image : image + 1], tokens, end=True)
                assert value == pytest.approx(float(theirs), rel=1e-4)
        texts = {model.net.language.text(tokens): value for value, tokens in reversed(searches)}
        assert all(said.score == pytest.approx(texts[said.text]) for said in row[1:])


# -------------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(
    "tokenizer, text, words",
    [
        (wordpiece(), "the cats, unbelievable dogs", ["the", "cats", "unbelievable", "dogs"]),
        (wordpiece(), "the dog wasn't playing,", ["the", "dog", "wasn't", "playing"]),
        (bytelevel(False), "the cat, in café.", ["the", "cat", "in", "café"]),
        (metaspace(), "the cat unbelievables", ["the", "cat", "unbelievables"]),
    ],
)
def test_words_of_several_tokens_are_one(tokenizer: Any, text: str, words: list[str]) -> None:
    language = Tokens(tokenizer, 3, 50, "it")
    numbers = language.numbers(text)
    pieces = language.pieces(numbers)
    assert [piece.word for piece in pieces] == text.split() and language.text(numbers) == text
    assert [language.text(numbers[piece.start : piece.stop]) for piece in pieces] == words
    starts = [piece.start for piece in pieces]
    between = [numbers[piece.stop : start] for piece, start in zip(pieces, [*starts[1:], len(numbers)], strict=True)]
    assert starts[0] == 0 and all(language.text(rest) in ("", ",", ".") for rest in between)


# -------------------------------------------------------------------------------------------- bad input


def test_what_is_refused(loaded: Any, tmp_path: Path) -> None:
    (captioner, _), (answerer, folder), (scorer, _), (chats, _) = map(loaded, ("blip", "blip-vqa", "vilt", "llava"))
    x = shown(captioner)
    for model, target, question, words in (
        (captioner, wf.Caption("the dug"), None, r"^no word of hf:.* is called 'dug': did you mean dog\?$"),
        (captioner, wf.Caption("cat " * 20), None, "says 15 tokens at most, not 20: shorten the text"),
        (captioner, wf.Caption(" "), None, "there are no words in an empty text"),
        (captioner, wf.Word("dog", "the cat"), None, "the word 'dog' is not in the caption 'the cat'"),
        (captioner, 3, None, "says words: give wf.Caption"),
        (captioner, None, "the cat", "answers no questions: ask none"),
        (answerer, wf.Answer("the dug"), "the cat", "is called 'dug': did you mean dog"),
        (answerer, None, None, "answers questions: ask one, question="),
        (answerer, None, "", "the question is empty"),
        (answerer, None, "the kat", r"is called 'kat': did you mean sat or cat\?"),
        (answerer, None, "cat " * 15, "reads 16 tokens at most, not 17: ask a shorter question"),
        (chats, None, "the <image>", "must have one place for a picture"),
        (scorer, wf.Answer("rad"), "the cat", r"^no answer is called 'rad': did you mean red\?$"),
        (scorer, wf.Word("red"), "the cat", "Word explains networks that say words"),
    ):
        with pytest.raises(Error, match=words) as error:
            wf.explain(model, x, target, question=question)
        assert "\n" not in str(error.value)
    with pytest.raises(Error, match="says words and has no classes: leave classes= out"):
        wf.load(f"hf:{folder}", classes=["red"])
    name = llava(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    with pytest.raises(Error, match="has no chat template, which says how it is asked"):
        wf.load(name)


def test_its_files_are_its_own(loaded: Any) -> None:
    model, folder = loaded("blip")
    theirs = hf.BlipForConditionalGeneration.from_pretrained(folder).double().state_dict()
    ours = model.net.state_dict()
    assert list(ours) == list(theirs) and all(torch.equal(ours[key], value) for key, value in theirs.items())
    assert model.name == f"hf:{folder}" and model.sha256 and model.classes is None and not model.net.training
