"""The networks with words at the size of their papers, their recipes, and their training on folders of real formats."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import reference_words
import wherefore as wf
from fixtures_words import SAID, answerer, captioner, images
from wherefore.cli import main
from wherefore.datasets import opened
from wherefore.errors import Error
from wherefore.metrics.answers import accuracy
from wherefore.models import answering, caffe, named, paper
from wherefore.models.answering import CoAttention, LstmAnswerer
from wherefore.models.captioning import Captioner
from wherefore.preparing import Preprocess
from wherefore.scenes.formats import export
from wherefore.training import lessons, papers, starting
from wherefore.training.lessons import Item, drawn, frequent, recipe_for
from wherefore.training.losses import loss_of, scores_of
from wherefore.vocabulary import END, Vocabulary

WORDS = Vocabulary((END, *(f"word{n}" for n in range(9999))), 26)
V, ANSWERS = 10_000, 1000


# -------------------------------------------------------------------------------------------- sizes


def linear(*widths: int) -> int:
    return sum(a * b + b for a, b in pairwise(widths))


def lstm(inputs: int, hidden: int, layers: int = 1) -> int:
    """Four gates of the input and of the last state, with a bias each."""
    return sum(4 * hidden * ((inputs if n == 0 else hidden) + hidden + 2) for n in range(layers))


def vgg(depths: tuple[int, ...]) -> int:
    """The 3x3 convolutions, and the two hidden layers of 4,096."""
    total, channels = 0, 3
    for depth, width in zip(depths, (64, 128, 256, 512, 512), strict=True):
        for _ in range(depth):
            total, channels = total + 9 * channels * width + width, width
    return total + linear(512 * 7 * 7, 4096, 4096)


def resnet_200() -> int:
    """Pre-activated bottlenecks, 3, 24, 36 and 3 of them, without the scores."""
    total, channels = 3 * 64 * 49 + 2 * 64, 64
    for depth, width in zip((3, 24, 36, 3), (64, 128, 256, 512), strict=True):
        for number in range(depth):
            total += channels * width + 9 * width * width + width * 4 * width  # three convolutions
            total += 2 * width + 2 * width + (0 if channels == 64 else 2 * channels)  # and the norm before each
            total += channels * 4 * width if number == 0 else 0  # the shortcut
            channels = 4 * width
    return total + 2 * channels


def attended(channels: int) -> int:
    """Hierarchical co-attention behind the CNN: three levels, three steps at each, their fusion."""
    levels = V * 512 + sum(n * 512 * 512 + 512 for n in (1, 2, 3)) + lstm(512, 512, 2)
    step = linear(512, 512) + linear(512, 1)
    fusion = linear(512, 512) + linear(1024, 512) + linear(1024, 1024) + linear(1024, ANSWERS)
    return linear(channels, 512) + levels + 3 * (3 * step + 2 * linear(512, 512)) + fusion


VGG_16, VGG_19 = vgg((2, 2, 3, 3, 3)), vgg((2, 2, 4, 4, 4))
ALEXNET = 61_100_840 - linear(4096, 1000)  # torchvision's
INCEPTION = 23_834_568 - linear(2048, 1000)  # torchvision's, without the extra head
SAYING = V * 512 + lstm(512, 512) + linear(512, V)
ANSWERING = V * 200 + 200 + lstm(200, 512, 2) + linear(2048, 1024) + linear(1024, ANSWERS)
PARAMETERS = {
    "neuraltalk2": VGG_16 + linear(4096, 512) + SAYING,
    "show-and-tell": INCEPTION + 2048 * 512 + SAYING,
    "lu2015": VGG_19 + linear(4096, 1024) + ANSWERING,
    "lu2015-vgg16": VGG_16 + linear(4096, 1024) + ANSWERING,
    "lu2015-alexnet": ALEXNET + linear(4096, 1024) + ANSWERING,
    "coattention": resnet_200() + attended(2048),
    "coattention-vgg19": VGG_19 - linear(512 * 7 * 7, 4096, 4096) + attended(512),
}


def bare(name: str) -> nn.Module:
    """The network of a name without memory for its weights."""
    with torch.device("meta"):
        return paper.built(paper.known(name), WORDS, ANSWERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_those_of_the_papers(name: str) -> None:
    assert sum(weight.numel() for weight in bare(name).parameters()) == PARAMETERS[name]


def test_the_cnns_are_as_large_as_their_papers_say() -> None:
    """VGG: 138 and 144 million (Simonyan and Zisserman 2015, Table 2); ResNet-200: 64.7; Inception-v3: below 25."""
    assert [round((cnn + linear(4096, 1000)) / 1e6) for cnn in (VGG_16, VGG_19)] == [138, 144]
    assert round((resnet_200() + linear(2048, 1000)) / 1e6, 1) == 64.7
    assert INCEPTION + linear(2048, 1000) < 25e6


@pytest.mark.parametrize(
    ("name", "side", "shape"),
    [
        ("neuraltalk2", 224, (4096,)),
        ("show-and-tell", 299, (2048,)),
        ("lu2015", 224, (4096,)),
        ("lu2015-alexnet", 224, (4096,)),
        ("lu2015-resnet152", 224, (2048,)),
        ("coattention", 448, (2048, 14, 14)),
        ("coattention-resnet152", 448, (2048, 14, 14)),
        ("coattention-vgg19", 448, (512, 14, 14)),
    ],
)
def test_what_the_cnn_makes_of_a_picture(name: str, side: int, shape: tuple[int, ...]) -> None:
    net, network = bare(name).eval(), paper.known(name)
    assert network.preprocess.crop == side
    assert net.cnn(torch.zeros(1, 3, side, side, device="meta")).shape == (1, *shape)
    assert net.get_submodule(network.layer) is not None


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("neuraltalk2", (255 - 123.68, -116.779, -103.939)),
        ("show-and-tell", (1, -1, -1)),
        ("lu2015", (-103.939, -116.779, 255 - 123.68)),
        ("coattention", ((1 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225)),
        ("coattention-vgg19", (-103.939, -116.779, 255 - 123.68)),
    ],
)
def test_each_sees_red_as_its_paper_says(name: str, seen: tuple[float, ...]) -> None:
    x = paper.known(name).preprocess(Image.new("RGB", (640, 480), (255, 0, 0)))
    assert x[:, 5, 5].tolist() == pytest.approx(seen, rel=1e-5)
    assert x.shape == (3, *[paper.known(name).preprocess.crop] * 2)


def test_neuraltalk2_sees_the_middle_and_the_others_all() -> None:
    """Of 640x480: 224 of 256 of both sides, squashed."""
    assert paper.known("neuraltalk2").preprocess.region((640, 480)) == (40, 30, 600, 450)
    for name in ("show-and-tell", "lu2015", "coattention"):
        assert paper.known(name).preprocess.region((640, 480)) == (0, 0, 640, 480)


def settled(model: wf.Model) -> wf.Model:
    """With batch norm that has seen a picture: without, the sums of 66 random blocks grow to where tanh is flat."""
    norms = [module for module in model.net.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    if norms:
        with torch.no_grad():
            model.net.cnn.train()(torch.rand(2, 3, 128, 128))
    model.net.eval()
    return model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "grid"), [("neuraltalk2", 14), ("show-and-tell", 8), ("lu2015", 14), ("coattention", 14)]
)
def test_forward_gradient_and_training_step_at_full_size(name: str, grid: int) -> None:
    model = settled(wf.load(f"paper:{name}", weights=None))
    network, picture = (
        paper.known(name),
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 120, 3), "uint8")),
    )
    target: Any = wf.Answer("yes") if network.asks else wf.Caption("how many are there")
    e = wf.explain(model, picture, target, question="how many are there" if network.asks else None, relu=False)
    assert e.maps.shape == (1, 1, grid, grid)
    assert torch.isfinite(e.maps).all() and float(e.maps.abs().max()) > 0
    assert isinstance(model.preprocess, Preprocess)
    net, x = model.net, model.preprocess(picture)[None]
    texts, truth = torch.tensor([[1, 2, 3, 4]]), torch.tensor([1])
    before = loss_of(net, net.cnn(x), texts, truth)
    before.backward()
    assert all(w.grad is not None and torch.isfinite(w.grad).all() for w in net.parameters())
    first = next(net.cnn.parameters())
    assert first.grad is not None and float(first.grad.abs().max()) > 0
    assert any(
        float(loss) < float(before.detach())
        for loss in after_steps(net, lambda: loss_of(net, net.cnn(x), texts, truth))
    )


@torch.no_grad()
def after_steps(net: Any, loss: Callable[[], Tensor]) -> Iterator[Tensor]:
    """The loss after ever smaller steps down the gradient: of random weights one of 0.001 may go too far."""
    last = 0.0
    for size in (1e-3, 1e-4, 1e-5, 1e-6):
        for weight in net.parameters():
            weight -= (size - last) * weight.grad / max(1.0, float(weight.grad.norm()))
        last = size
        yield loss()


# -------------------------------------------------------------------------------------------- recipes


def test_learning_rates_fall_as_the_authors_have_it() -> None:
    """0.30 after 50,000 steps; halved each 8 epochs; a tenth after 300 epochs; as it was."""
    assert recipe_for("lu2015").rate(100, 50_000) == pytest.approx(0.30, abs=0.005)
    assert [recipe_for("show-and-tell").rate(epoch, 10**6) for epoch in (0, 7, 8, 16)] == [1, 1, 0.5, 0.25]
    assert recipe_for("coattention-vgg19").rate(300, 1) == pytest.approx(0.1)
    assert recipe_for("neuraltalk2").rate(19, 10**5) == 1


def test_the_loss_is_the_mean_over_all_words_and_ends() -> None:
    net, captions = captioner(), [SAID.numbers("a dog"), SAID.numbers("a cat on red grass"), SAID.numbers("grass")]
    seen = net.cnn(images(3)).detach()
    likely = [reference_words.caption_likelihood(net, f, words, True) for f, words in zip(seen, captions, strict=True)]
    items = [Item(i, [words], 0) for i, words in enumerate(captions)]
    texts, answers = drawn(items, 1, np.random.default_rng(0), torch.device("cpu"))
    assert float(loss_of(net, seen, texts, answers).detach()) == pytest.approx(-sum(likely) / (3 + 6 + 2))


def test_five_captions_of_each_picture() -> None:
    """All five of one that has five; of fewer some twice; their answers in the order of the pictures."""
    items = [Item(0, [[n] for n in range(1, 6)], 3), Item(1, [[6], [7, 8]], 4)]
    texts, answers = drawn(items, 5, np.random.default_rng(0), torch.device("cpu"))
    assert sorted(texts[:5, 0].tolist()) == [1, 2, 3, 4, 5]
    assert set(texts[5:, 0].tolist()) <= {6, 7} and texts.shape == (10, 2)
    assert answers.tolist() == [3, 4]
    net = answerer()
    seen = net.cnn(images(2))
    slow = [reference_words.lu2015(net, each, [2, 3]) for each in seen]
    torch.testing.assert_close(
        scores_of(net, seen, torch.tensor([[2, 3]] * 2)), torch.tensor(slow, dtype=torch.float64)
    )


def test_the_most_frequent_answers() -> None:
    assert frequent("b a c c a d".split(), 3) == ("a", "c", "b")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "bgr"), [("neuraltalk2", False), ("lu2015-vgg16", True)])
def test_caffes_vgg_sees_the_same_under_torchvisions_names(
    name: str, bgr: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Turned to RGB for NeuralTalk2."""
    theirs = caffe.known("vgg16").build(1000).eval()
    monkeypatch.setattr(starting, "read_state", lambda path: theirs.state_dict())
    network = paper.known(name)
    cnn = paper.built(network, SAID, 2).cnn.eval()
    assert starting.started(cnn, network, "vgg16.safetensors") == network.preprocess
    x = torch.rand(1, 3, 64, 64) * 100
    expected = theirs[: [*dict(theirs.named_children())].index("flatten")](x)
    torch.testing.assert_close(cnn.features(x if bgr else x.flip(1)), expected)
    monkeypatch.setattr(starting, "read_state", lambda path: cnn.state_dict())
    assert starting.started(cnn, network, "vgg16.pth") == replace(
        network.preprocess, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), bgr=False
    )


# -------------------------------------------------------------------------------------------- training


def tiny_maps(features: bool) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(3, 6, 5, 4), nn.ReLU()]
    return nn.Sequential(*layers, *([nn.AdaptiveAvgPool2d(2), nn.Flatten()] if features else []))


def tiny_captioner(vocabulary: Vocabulary) -> Captioner:
    return Captioner(tiny_maps(True), 24, vocabulary, embedding=16, hidden=16, dropout=0.1)


def tiny_lu2015(vocabulary: Vocabulary, answers: int) -> LstmAnswerer:
    return LstmAnswerer(tiny_maps(True), 24, vocabulary, answers, 8, 12, 16, 0.1)


def tiny_coattention(vocabulary: Vocabulary, answers: int) -> CoAttention:
    return CoAttention(tiny_maps(False), 6, vocabulary, answers, 12, 16, 0.1)


TINY: dict[str, tuple[Callable[..., nn.Module], str]] = {
    "neuraltalk2": (tiny_captioner, "coco"),
    "show-and-tell": (tiny_captioner, "coco"),
    "lu2015": (tiny_lu2015, "vqa"),
    "coattention": (tiny_coattention, "vqa"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {format: tmp_path_factory.mktemp("data") / format for format in ("coco", "vqa")}
    for format, folder in found.items():
        export(format, folder, 8, "train", 1, 48)
        export(format, folder, 3, "test", 1, 48)
    return found


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small networks in place of the large ones; NeuralTalk2 knows rarer words, for there are few."""
    for name, (build, _) in TINY.items():
        network = paper.known(name)
        seen = Preprocess((40, 40), 32 if name == "neuraltalk2" else 40)
        monkeypatch.setitem(paper.NETWORKS, name, network._replace(build=build, preprocess=seen, layer="cnn.1"))
        recipe = replace(lessons.RECIPES[name], least=1, longest=26, batch=16, answers=12)
        monkeypatch.setitem(lessons.RECIPES, name, recipe)


def learn(name: str, folders: dict[str, Path], out: Path, **options: Any) -> dict[str, Any]:
    format = TINY[name][1]
    given = {"weights": None, "epochs": 4, "say": lambda line: None, **options}
    return papers.train(name, f"{format}:{folders[format]}", out=out, **given)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", TINY)
def test_training_goes_on_where_it_was_stopped(name: str, folders: dict[str, Path], tmp_path: Path) -> None:
    whole = learn(name, folders, tmp_path / "whole")
    lines: list[str] = []

    def stop(line: str) -> None:
        lines.append(line)
        if line.startswith("epoch 3/4"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(name, folders, tmp_path / "parts", say=stop)
    assert lines[-1] == "stopped: the same command goes on after epoch 3 of 4"
    parts = learn(name, folders, tmp_path / "parts", say=lines.append)
    assert [line.split("  ")[0] for line in lines[-2:]] == [
        f"going on after epoch 3 of 4 ({tmp_path / 'parts' / name}.checkpoint.pt)",
        "epoch 4/4",
    ]
    assert parts["sha256"] == whole["sha256"]
    losses = [row["loss"] for row in whole["training"]["epochs"]]
    assert len(losses) == 4 and losses[-1] < losses[0]
    with pytest.raises(Error, match="was trained otherwise"):
        learn(name, folders, tmp_path / "parts", seed=1)


@pytest.mark.usefixtures("tiny")
def test_the_cnn_learns_after_its_frozen_epochs_alone(folders: dict[str, Path], tmp_path: Path) -> None:
    """NeuralTalk2's, in the second half; that of the others never."""
    changed = {}
    for name in ("neuraltalk2", "show-and-tell"):
        for epochs in (1, 2):
            torch.manual_seed(0)
            recipe = recipe_for(name, 2)
            assert (recipe.frozen, recipe_for("neuraltalk2").frozen) == (1 if name == "neuraltalk2" else 0, 10)

            def stop(line: str, last: int = epochs) -> None:
                if line.startswith(f"epoch {last}/"):
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                learn(name, folders, tmp_path / f"{name}{epochs}", epochs=2, say=stop)
            found = torch.load(tmp_path / f"{name}{epochs}" / f"{name}.checkpoint.pt", weights_only=True)["net"]
            changed[name, epochs] = found["cnn.0.weight"]
    assert not torch.equal(changed["neuraltalk2", 1], changed["neuraltalk2", 2])
    assert torch.equal(changed["show-and-tell", 1], changed["show-and-tell", 2])


@pytest.mark.usefixtures("tiny")
def test_a_captioner_that_was_trained_is_loaded_measured_and_explained(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    card = learn("neuraltalk2", folders, tmp_path)
    model = wf.load("paper:neuraltalk2", weights=tmp_path / card["file"])
    assert model.preprocess == Preprocess((40, 40), 32) and model.weights_sha256 == card["sha256"]
    assert json.loads((tmp_path / "neuraltalk2.json").read_text())["sha256"] == card["sha256"]
    known = set(card["vocabulary"])
    losses = []
    for sample in opened(f"coco:{folders['coco']}"):
        for caption in sample.captions:
            words = " ".join(word for word in caption.lower().replace(",", "").rstrip(".").split() if word in known)
            e = wf.explain(model, sample.image, wf.Caption(words, end=True))
            losses.append(-float(e.scores[0, 0]) / (len(words.split()) + 1))
    (row,) = card["accuracy"]
    assert (row["name"], row["n"]) == ("loss per word", len(losses))
    assert row["value"] == pytest.approx(fmean(losses), rel=1e-3)  # of features in half precision
    assert row["low"] <= row["value"] <= row["high"]
    e = wf.explain(model, sample.image, [wf.Word(word, words) for word in words.split()[:2]])
    assert e.layer == "cnn.1" and e.maps.shape == (1, 2, 7, 7)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", ["lu2015", "coattention"])
def test_an_answerer_that_was_trained_is_loaded_measured_and_explained(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    card = learn(name, folders, tmp_path)
    model = wf.load(f"paper:{name}", weights=tmp_path / card["file"])
    assert model.classes == tuple(card["classes"]) and len(card["classes"]) == 12
    right, known = [], set(card["vocabulary"])
    for sample in opened(f"vqa:{folders['vqa']}"):
        for asked in sample.questions:
            text = " ".join(word for word in asked.text.lower().rstrip("?").split() if word in known)
            right.append(accuracy(wf.answers(model, sample.image, text, most=1)[0][0].text, asked.answers))
    (row,) = card["accuracy"]
    assert (row["name"], row["n"]) == ("accuracy", len(right))
    assert row["value"] == pytest.approx(fmean(right), abs=1.5 / len(right))  # ties of features in half precision
    e = wf.explain(model, sample.image, wf.Answer(card["classes"][1]), question=text)
    assert e.maps.shape[:2] == (1, 1) and e.targets == [[card["classes"][1]]]


@pytest.mark.usefixtures("tiny")
def test_pictures_that_cannot_be_read_are_left_out(folders: dict[str, Path], tmp_path: Path) -> None:
    """Damaged in the middle; what is seen of the others lies in a file that a second run reads."""
    import shutil

    folder = tmp_path / "coco"
    shutil.copytree(folders["coco"], folder)
    damaged = sorted(folder.rglob("COCO_train2014_*.jpg"))[2]
    damaged.write_bytes(damaged.read_bytes()[:-200])
    found = papers.train("show-and-tell", f"coco:{folder}", out=tmp_path, weights=None, epochs=1, say=lambda line: None)
    unread = [json.loads(path.read_text()) for path in sorted(tmp_path.glob("seen-*.json"))]
    assert [*map(len, unread)].count(1) == 1 and math.isfinite(found["training"]["epochs"][0]["loss"])
    assert damaged.name in str(unread)


# -------------------------------------------------------------------------------------------- bad input


def test_names() -> None:
    assert named("paper:lu") == ["paper:lu2015", "paper:lu2015-vgg16", "paper:lu2015-alexnet", "paper:lu2015-resnet152"]
    with pytest.raises(Error, match="did you mean paper:neuraltalk2"):
        wf.load("paper:neuraltalk")
    with pytest.raises(Error, match="no CNN of networks that answer is called 'vgg'"):
        answering.lu2015(SAID, 2, "vgg")


@pytest.mark.parametrize(("name", "data"), [("neuraltalk2", "coco:DIR"), ("lu2015", "vqa:DIR")])
def test_without_weights_it_is_said_how_to_make_them(name: str, data: str) -> None:
    with pytest.raises(Error, match=f"`wherefore train {name} --data {data}` makes a file of them"):
        wf.load(f"paper:{name}")


@pytest.mark.usefixtures("tiny")
def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    net = tiny_captioner(SAID)
    save_file(net.state_dict(), tmp_path / "bare.safetensors")
    with pytest.raises(Error, match="does not say which words its network knows"):
        wf.load("paper:neuraltalk2", weights=tmp_path / "bare.safetensors")
    about = {"task": "single-label", "classes": "[]", "vocabulary": json.dumps(SAID.words), "longest": "6"}
    save_file(net.state_dict(), tmp_path / "whole.safetensors", about)
    assert wf.load("paper:neuraltalk2", weights=tmp_path / "whole.safetensors").net.vocabulary.words == SAID.words
    state = load_file(tmp_path / "whole.safetensors")
    state.pop("scores.bias")
    save_file(state, tmp_path / "part.safetensors", about)
    with pytest.raises(Error, match=r"missing scores\.bias"):
        wf.load("paper:neuraltalk2", weights=tmp_path / "part.safetensors")


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("neuraltalk3", {}, "did you mean neuraltalk2"),
        ("lu2015", {}, "has no questions in its part 'train': give --data vqa:DIR"),
        ("neuraltalk2", {"epochs": 0}, "one epoch or more, not 0"),
        ("neuraltalk2", {"limit": 0}, "or --limit is below 1"),
        ("neuraltalk2", {"seed": -1}, "a seed is a whole number"),
        ("neuraltalk2", {"weights": "no.pth"}, "no.pth does not exist"),
        ("show-and-tell", {"weights": "no.caffemodel"}, "does not fit inception_v3, which is torchvision's"),
    ],
)
def test_bad_settings_are_refused(
    name: str, options: dict[str, Any], sentence: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(Error, match=sentence):
        papers.train(name, f"coco:{folders['coco']}", out=tmp_path, **{"weights": None, **options})
    assert not [*tmp_path.glob("*.safetensors")]


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    def told(*words: str) -> str:
        with pytest.raises(SystemExit) as caught:
            main(["train", *words])
        assert caught.value.code == 2
        return " ".join(capsys.readouterr().err.split())

    assert "lu2015 learns from photographs: say which with --data vqa:DIR" in told("lu2015")
    assert "--weights and --limit go with --data" in told("vgg", "--limit", "3")
    assert "no network to be trained on a data set is called 'vgg'" in told("vgg", "--data", "scenes", "--limit", "3")
