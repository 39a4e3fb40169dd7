"""Captions, words and answers as targets, and the networks that say them, against slow equations and differences."""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import reference
import reference_words
import wherefore as wf
from conftest import untouched
from fixtures_words import ANSWERS, ASKED, SAID, answerer, captioner, coattention, images, model
from wherefore.errors import Error
from wherefore.models.answering import read
from wherefore.speech import Speech, said, searched
from wherefore.vocabulary import END, Vocabulary

CAPTION, WORDS = "a dog on red grass", SAID.numbers("a dog on red grass")
QUESTION = "what colour is the dog"
NETWORKS = {"lu2015": answerer, "coattention": coattention}


def question(text: str = QUESTION, count: int = 1) -> Tensor:
    return read(ASKED, text)["question"].expand(count, -1)


def maps(net: Any, x: Tensor, target: Any, asked: str | None = None, **options: Any) -> Tensor:
    return wf.explain(model(net), x, target, question=asked, **options).maps


# -------------------------------------------------------------------------------------------- the networks


@pytest.mark.parametrize("rectified", [True, False], ids=["neuraltalk2", "show-and-tell"])
def test_words_are_scored_as_the_slow_captioner_does(rectified: bool) -> None:
    net, x = captioner(rectified), images()
    speech, features = net(x), net.cnn(x)
    found = speech.scores([WORDS] * 2)
    for image in range(2):
        slow = torch.tensor(reference_words.word_scores(net, features[image], WORDS), dtype=torch.float64)
        torch.testing.assert_close(found[image], slow)
    assert (found[0] - found[1]).abs().max() > 1e-3, "the picture plays a part"


@pytest.mark.parametrize("text", ["dog", "the cat", "what colour is the cat on the"])
@pytest.mark.parametrize("name", NETWORKS)
def test_answers_are_scored_as_the_slow_network_does(name: str, text: str) -> None:
    net, x = NETWORKS[name](), images()
    seen, numbers = net.cnn(x), ASKED.numbers(text)
    slow = torch.tensor([getattr(reference_words, name)(net, each, numbers) for each in seen], dtype=torch.float64)
    torch.testing.assert_close(net(x, question(text, 2)), slow)


@pytest.mark.parametrize("name", NETWORKS)
def test_padding_and_company_change_no_score(name: str) -> None:
    """A question alone, filled up to any length, and beside a longer one in a batch."""
    net, x = NETWORKS[name](), images(1)
    short, long = ASKED.numbers("the dog"), ASKED.numbers("what colour is the cat on the")
    alone = net(x, torch.tensor([short]))
    torch.testing.assert_close(net(x, torch.tensor([[*short, 0, 0, 0]])), alone)
    both = net(x.expand(2, -1, -1, -1), torch.tensor([long, [*short, *[0] * 5]]))
    torch.testing.assert_close(both[1:], alone)
    assert (both[0] - both[1]).abs().max() > 1e-3, "the question plays a part"


# -------------------------------------------------------------------------------------------- gradients


def slow_map(net: Any, x: Tensor, score: Any) -> Tensor:
    """Grad-CAM's sum before the ReLU, its gradient from central differences of the score ``(B,)`` of maps."""
    a, gradient = reference.activations_and_gradients(
        net.cnn[:4], lambda a: torch.stack([score(each) for each in a])[:, None], x, 0
    )
    return reference.weighted_sum(a, reference.weights(gradient))


@pytest.mark.parametrize("end", [False, True])
def test_the_map_of_a_caption_is_that_of_finite_differences(end: bool) -> None:
    """The differences are of the slow log-likelihood."""
    net, x = captioner(), images(1)
    found = maps(net, x, wf.Caption(CAPTION, end=end), relu=False)[0, 0]
    slow = slow_map(
        net,
        x[0],
        lambda a: torch.tensor(
            reference_words.caption_likelihood(net, net.cnn[4:](a[None])[0], WORDS, end), dtype=torch.float64
        ),
    )
    assert slow.abs().max() > 1e-5
    torch.testing.assert_close(found.double(), slow, rtol=1e-4, atol=1e-6 * float(slow.abs().max()))


@pytest.mark.parametrize("step", [0, 1, 4])
def test_the_map_of_a_word_is_that_of_finite_differences(step: int) -> None:
    net, x, word = captioner(), images(1), CAPTION.split()[step]
    found = maps(net, x, wf.Word(word, CAPTION), relu=False)[0, 0]
    slow = slow_map(
        net,
        x[0],
        lambda a: torch.tensor(
            reference_words.word_scores(net, net.cnn[4:](a[None])[0], WORDS)[step][WORDS[step]], dtype=torch.float64
        ),
    )
    assert slow.abs().max() > 1e-5
    torch.testing.assert_close(found.double(), slow, rtol=1e-4, atol=1e-6 * float(slow.abs().max()))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_map_of_an_answer_is_that_of_finite_differences(name: str) -> None:
    """Through the normalisation to length 1, and through three rounds of attention."""
    net, x, numbers = NETWORKS[name](), images(1), ASKED.numbers(QUESTION)
    found = maps(net, x, wf.Answer("blue"), QUESTION, relu=False)[0, 0]
    slow = slow_map(
        net,
        x[0],
        lambda a: torch.tensor(
            getattr(reference_words, name)(net, net.cnn[4:](a[None])[0], numbers)[1], dtype=torch.float64
        ),
    )
    assert slow.abs().max() > 1e-6
    torch.testing.assert_close(found.double(), slow, rtol=1e-4, atol=1e-6 * float(slow.abs().max()))


def test_the_gradient_passes_the_normalisation() -> None:
    """A feature as long again changes no score, so that the gradient is at a right angle to the features."""
    net = answerer()
    seen = net.cnn(images(1)).detach().requires_grad_()
    assert (seen != 0).sum() >= 2
    scores = net.answered(seen, question())
    torch.testing.assert_close(net.answered(3 * seen, question()), scores)
    (gradient,) = torch.autograd.grad(scores[0, 1], seen)
    assert gradient.abs().max() > 1e-3
    assert abs(float((gradient * seen.detach()).sum())) < 1e-12


# -------------------------------------------------------------------------------------------- targets


def test_what_comes_behind_a_word_plays_no_part() -> None:
    net, x = captioner(), images()
    found = [
        maps(net, x, wf.Word("dog", caption), relu=False) for caption in ("a dog", "a dog on grass", "a dog red red")
    ]
    assert found[0].abs().max() > 0
    for other in found[1:]:
        torch.testing.assert_close(other, found[0])
    before = maps(net, x, wf.Word("dog", "red dog"), relu=False)
    assert (before - found[0]).abs().max() > 1e-6, "what comes before it does"


def test_scores_and_probabilities() -> None:
    net, x = captioner(), images()
    e = wf.explain(model(net), x, [wf.Caption(CAPTION), wf.Caption(CAPTION, end=True), *wf.Caption(CAPTION).words()])
    features = net.cnn(x)
    for image in range(2):
        rows = [reference_words.softmax(row) for row in reference_words.word_scores(net, features[image], WORDS)]
        each = [row[word] for row, word in zip(rows, WORDS, strict=False)]
        logits = reference_words.word_scores(net, features[image], WORDS)
        wanted = [math.log(math.prod(each)), math.log(math.prod(each) * rows[-1][0])]
        wanted += [row[word] for row, word in zip(logits, WORDS, strict=False)]
        assert e.scores[image].tolist() == pytest.approx(wanted, rel=1e-5)
        likely = [math.prod(each), math.prod(each) * rows[-1][0], *each]
        assert e.probabilities[image].tolist() == pytest.approx(likely, rel=1e-5)
    assert e.targets[0][2:] == CAPTION.split()


def test_all_words_at_a_place_are_one_of_them() -> None:
    """Their probabilities and that of the end add up to 1."""
    net, x = captioner(), images(1)
    words = [wf.Word(word, f"a dog {word}", step=2) for word in SAID.words[1:]]
    e = wf.explain(model(net), x, words)
    end = reference_words.softmax(reference_words.word_scores(net, net.cnn(x)[0], SAID.numbers("a dog"))[2])[0]
    assert float(e.probabilities.sum()) + end == pytest.approx(1, rel=1e-6)


def test_a_repeated_word_is_its_first_or_the_one_that_is_meant() -> None:
    net, x, caption = captioner(), images(1), "a dog on a cat"
    e = wf.explain(model(net), x, [wf.Word("a", caption), wf.Word("a", caption, 0), wf.Word("A.", caption, step=3)])
    rows = reference_words.word_scores(net, net.cnn(x)[0], SAID.numbers(caption))
    assert e.scores[0].tolist() == pytest.approx([rows[0][1], rows[0][1], rows[3][1]], rel=1e-5)


def test_strings_and_none_are_words_and_captions() -> None:
    net, x = captioner(), images(1)
    own = wf.captions(model(net), x)[0]
    word = own.split()[0]
    pairs = [(None, wf.Caption()), (word, wf.Word(word)), (CAPTION, wf.Caption(CAPTION))]
    for plain, target in pairs:
        first, second = (wf.explain(model(net), x, each) for each in (plain, target))
        torch.testing.assert_close(first.maps, second.maps)
        assert first.targets == second.targets
    assert wf.explain(model(net), x).targets == [[own]]


@pytest.mark.parametrize("name", NETWORKS)
def test_answers_are_classes(name: str) -> None:
    net, x = NETWORKS[name](), images()
    e = wf.explain(model(net), x, [wf.Answer("blue"), wf.Answer("Two dogs."), wf.Answer()], question=QUESTION)
    scores = net(x, question(count=2))
    best = scores.argmax(1)
    assert e.targets == [["blue", "two dogs", ANSWERS[b]] for b in best]
    torch.testing.assert_close(
        e.scores.double(), torch.stack([scores[:, 1], scores[:, 2], scores.amax(1)], 1).detach(), rtol=1e-5, atol=1e-6
    )
    torch.testing.assert_close(e.probabilities[:, 0].double(), scores.softmax(1)[:, 1].detach(), rtol=1e-5, atol=1e-6)
    blue, red = (
        maps(net, x, wf.Answer("blue"), QUESTION, relu=False),
        maps(net, x, wf.Answer("red"), QUESTION, relu=False),
    )
    assert (blue - red).abs().max() > 1e-6, "another answer, another map"


# -------------------------------------------------------------------------------------------- batches and copies


@pytest.mark.parametrize("target", [None, wf.Caption(CAPTION), wf.Word("dog", CAPTION)], ids=["own", "caption", "word"])
def test_a_batch_of_pictures_is_as_many_times_one(target: Any) -> None:
    net, x = captioner(), images(4)
    with untouched(net):
        together = wf.explain(model(net), x, target, relu=False)
    alone = [wf.explain(model(net), each[None], target, relu=False) for each in x]
    torch.testing.assert_close(together.maps, torch.cat([e.maps for e in alone]))
    assert together.targets == [e.targets[0] for e in alone]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_batch_of_questions_is_as_many_times_one(name: str) -> None:
    """Questions of other lengths, one for each picture."""
    net, x, texts = NETWORKS[name](), images(3), ["dog", QUESTION, "what is on the dog"]
    together = wf.explain(model(net), x, wf.Answer("red"), question=texts, relu=False)
    alone = [
        wf.explain(model(net), each[None], wf.Answer("red"), question=text, relu=False)
        for each, text in zip(x, texts, strict=True)
    ]
    torch.testing.assert_close(together.maps, torch.cat([e.maps for e in alone]))
    torch.testing.assert_close(together.scores, torch.cat([e.scores for e in alone]))


def test_occlusion_is_what_single_passes_say() -> None:
    """Copies of the pictures go through the network at once: each belongs to its own picture's caption."""
    net, x = captioner(), images(2)
    options = {"patch": 3, "stride": 3, "fill": 0.0}
    found = wf.explain(model(net), x, None, method="occlusion", **options).maps
    own = [SAID.numbers(text) for text in wf.captions(model(net), x)]
    assert float(found.abs().max()) > 1e-3
    for image in range(2):
        whole = reference_words.caption_likelihood(net, net.cnn(x[image : image + 1])[0], own[image], False)
        for row, column in itertools.product(range(2), range(2)):
            hidden = x[image : image + 1].clone()
            hidden[..., 3 * row : 3 * row + 3, 3 * column : 3 * column + 3] = 0
            drop = whole - reference_words.caption_likelihood(net, net.cnn(hidden)[0], own[image], False)
            assert float(found[image, 0, row, column]) == pytest.approx(drop, abs=1e-6)


# -------------------------------------------------------------------------------------------- what is said


def every_caption(speech: Speech, words: int, longest: int) -> list[tuple[float, list[int]]]:
    """All captions that there are, the likeliest first, with the logarithm of how likely."""
    found = []
    for length in range(longest + 1):
        for caption in itertools.product(range(1, words), repeat=length):
            tokens = torch.tensor([caption], dtype=torch.long).reshape(1, length)
            likely = speech.after(tokens)[0].log_softmax(-1)
            found.append((float(likely[range(length + 1), [*caption, 0]].sum()), [*caption]))
    return sorted(found, key=lambda each: -each[0])


@pytest.mark.parametrize("seed", range(3))
def test_a_wide_beam_finds_the_likeliest_of_all_captions(seed: int) -> None:
    torch.manual_seed(seed)
    tiny = Vocabulary((END, "a", "dog", "cat"), longest=4)
    speech = captioner(vocabulary=tiny)(images(1))
    with torch.no_grad():
        exhaustive = every_caption(speech, 4, 4)
        found = searched(speech, 64)[0]
    for (value, tokens), (wanted, caption) in zip(found[:5], exhaustive[:5], strict=True):
        assert tokens == caption
        assert value == pytest.approx(wanted, abs=1e-9)


def test_greedy_is_a_beam_of_one_and_wider_beams_are_no_less_likely() -> None:
    net, x = captioner(), images(6)
    speech = net(x)
    assert said(speech) == [found[0][1] for found in searched(speech, 1)] == said(speech, 1)
    with torch.no_grad():
        for image in range(6):
            part = speech.part(torch.tensor([image]))
            wide, narrow = (searched(part, beam)[0][0][0] for beam in (50, 1))
            assert wide >= narrow - 1e-12


def test_greedy_takes_the_likeliest_next_word() -> None:
    net, x = captioner(), images(3)
    for image, words in enumerate(said(net(x))):
        rows = reference_words.word_scores(net, net.cnn(x)[image], words)
        assert [max(range(len(row)), key=row.__getitem__) for row in rows][: len(words)] == words
        if len(words) < SAID.longest:
            assert max(range(len(rows[-1])), key=rows[-1].__getitem__) == 0


# -------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (wf.Caption("a dgo on grass"), "no word of the tiny captioner is called 'dgo': did you mean dog?"),
        (wf.Caption("   "), "no words in an empty text"),
        (wf.Caption("a dog on a cat on grass"), "takes 6 words at most, not 7: shorten the text"),
        (wf.Word("cat", "a dog"), "the word 'cat' is not in the caption 'a dog': take one that is"),
        (wf.Word("dog", "a dog", step=0), "is not in the caption 'a dog' at step 0"),
        (wf.Word("dog", "a dog", step=7), "has 2 words, so none at step 7"),
        (wf.Word("dgo", "a dog"), "no word of the tiny captioner is called 'dgo': did you mean dog?"),
        (wf.Word("dgo"), "no word of the tiny captioner is called 'dgo': did you mean dog?"),
        (wf.Word("cat", "a dog on a dog", step=4), "the word 'cat' is not in the caption 'a dog on a dog' at step 4"),
        (17, "says words: give wf.Caption"),
        (wf.Caption(beam=1.5), "a beam holds one beginning or more, not 1.5"),
        (wf.Caption(beam=0), "a beam holds one beginning or more, not 0"),
    ],
)
def test_bad_captions_are_refused(target: Any, sentence: str) -> None:
    with pytest.raises(Error, match=sentence) as caught:
        wf.explain(model(captioner()), images(1), target)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    ("target", "asked", "sentence"),
    [
        (wf.Answer("rde"), QUESTION, "no answer is called 'rde': did you mean red"),
        ("rde", QUESTION, "'rde'"),
        (None, "  ", "the question is empty"),
        (None, None, "answers questions: ask one"),
        (None, 5, "the question is empty"),
        (None, "what colour is the dgo", "called 'dgo': did you mean dog?"),
        (None, "is the dog on the cat on the dog", "takes 7 words at most, not 9"),
        (wf.Word("red"), QUESTION, "explains networks that say words"),
        (None, [QUESTION, QUESTION], "2 questions do not fit 1 images"),
    ],
)
def test_bad_questions_are_refused(name: str, target: Any, asked: Any, sentence: str) -> None:
    with pytest.raises(Error, match=sentence) as caught:
        wf.explain(model(NETWORKS[name]()), images(1), target, question=asked)
    assert "\n" not in str(caught.value)


def test_no_picture_and_no_question_to_be_asked() -> None:
    with pytest.raises(Error, match="there is no picture"):
        wf.explain(model(captioner()), [])
    with pytest.raises(Error, match="answers no questions"):
        wf.explain(model(captioner()), images(1), question=QUESTION)


@pytest.mark.parametrize("target, name", [(wf.Answer, "Answer"), (wf.Word, "Word"), (wf.Caption, "Caption")])
def test_targets_are_words(target: Any, name: str) -> None:
    with pytest.raises(Error, match=f"wf.{name} takes words, not 5"):
        target(5)


def test_answers_that_are_alike_are_told_apart() -> None:
    answers = ("25", "2.5", "t shirt", "tshirt", "Yes")
    net, x = wf.Model(answerer(len(answers)), [*answers], question=partial(read, ASKED)), images(1)
    scores = net.net(x, question())[0]
    for number, answer in enumerate(answers):
        e = wf.explain(net, x, wf.Answer(answer), question=QUESTION)
        assert e.scores[0, 0].item() == pytest.approx(scores[number].item())
    assert wf.explain(net, x, wf.Answer("yes"), question=QUESTION).scores[0, 0].item() == pytest.approx(
        scores[4].item()
    )
    with pytest.raises(Error, match="several answers are like 'T-shirt': write 't shirt' or 'tshirt'"):
        wf.explain(net, x, wf.Answer("T-shirt"), question=QUESTION)


def test_a_question_of_no_words_gives_numbers() -> None:
    net, nothing = coattention(), torch.zeros(1, ASKED.longest, dtype=torch.long)
    assert net(images(1), nothing).isfinite().all()
