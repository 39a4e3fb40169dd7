"""What the readers of the docs have and these tests have not: their pictures and weights, and a network.

Files are made when a block names them: pictures are drawn scenes, weights random ones of the network that they are
given for, data sets scenes in the format of the real ones. Of the downloads nothing is replaced but the fetching:
torchvision's and timm's hand out random weights of the right architecture, Hugging Face's hub small networks of the
right kind. Random weights see nothing, so that what is checked is that the code of the docs runs, not what comes out.
"""

from __future__ import annotations

import ast
import csv
import re
import string
from collections.abc import Callable
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import wherefore as wf
from wherefore.scenes import scene

LABELS = ("tabby", "boxer", "doctor", "nurse")
NAMED = re.compile(r"(?<![\w./:*-])((?:[\w-]+/)*[\w-]+\.(?:jpg|jpeg|png|mp4|txt|csv|tar))\b")
DATA = re.compile(r"\b(imagenet|voc|coco|vqa|broden|folder|manifest):([\w./-]+)")
LOADED = re.compile(r'load\(\s*"([^"]+)",\s*weights="([^"]+)"(?:,\s*classes=(\[[^\]]*\]))?')
# Networks without a trained head find nothing at all: these see one thing everywhere. Its bias, its number.
SEES = {"fasterrcnn_resnet50_fpn": ("roi_heads.box_predictor.cls_score.bias", 18)}
SEES |= {
    "deeplabv3_resnet50": ("classifier.4.bias", 6),
    "lraspp_mobilenet_v3_large": ("classifier.low_classifier.bias", 12),
}


# -------------------------------------------------------------------------------------------- files


def provide(text: str) -> None:
    """Makes the files that a piece of code names in the current folder, where they are not there yet."""
    for kind, where in DATA.findall(text):
        data_set(kind, Path(where))
    if re.search(r"\bphotos\b", text):
        photographs(Path("photos"))
    if "*.tar" in text:
        shards(Path("shards"))
    for name in NAMED.findall(text):
        path = Path(name)
        if not path.exists() and path.suffix in MAKERS and not re.search(rf"(--out|-o|>) {re.escape(name)}", text):
            path.parent.mkdir(parents=True, exist_ok=True)
            MAKERS[path.suffix](path)
    for model, weights, classes in LOADED.findall(text):
        weigh(model, Path(weights), ast.literal_eval(classes) if classes else None)


def picture(path: Path) -> None:
    scene(sum(path.stem.encode()) % 97, size=256).image.save(path)


def clip(path: Path) -> None:
    """Sixteen frames of a video."""
    import av

    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=8)
        stream.width = stream.height = 128
        for number in range(16):
            file.mux(stream.encode(av.VideoFrame.from_image(scene(number).image)))
        file.mux(stream.encode())


def names(path: Path) -> None:
    """Names of classes, or of pictures."""
    photographs(Path("photos"))
    listed = LABELS if path.stem == "names" else map(str, sorted(Path("photos").glob("*.jpg")))
    path.write_text("\n".join(listed) + "\n", encoding="utf-8")


def table(path: Path) -> None:
    """A list of pictures beside it, with groups; of units, what `wherefore dissect` writes."""
    if path.name == "units.csv":
        return units(path)
    photographs(path.parent)


def units(path: Path) -> None:
    """Names of the units of ``scenes:places``, from a few scenes."""
    run(f"dissect --model scenes:places --data scenes --limit 12 --out {path}")


MAKERS: dict[str, Callable[[Path], None]] = {
    ".jpg": picture, ".jpeg": picture, ".png": picture, ".mp4": clip, ".txt": names, ".csv": table,
}  # fmt: skip


def photographs(folder: Path, count: int = 6) -> None:
    """Pictures 1.jpg ..., their labels, and a list with groups, splits and regions."""
    if (folder / "labels.csv").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, label in zip(range(1, count + 1), cycle(LABELS[:2]), strict=False):
        picture(folder / f"{number}.jpg")
        rows.append(
            (f"{number}.jpg", label, ("one", "other")[number // 2 % 2], "test", '{"middle": [60, 60, 180, 180]}')
        )
    for name, width in (("labels.csv", 2), ("list.csv", 5)):
        with (folder / name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(
                [("path", "label", "group", "split", "regions")[:width], *(r[:width] for r in rows)]
            )


def shards(folder: Path) -> None:
    """Tar files of pictures, as WebDataset has them."""
    import tarfile

    photographs(Path("photos"))
    folder.mkdir(exist_ok=True)
    for number in range(2):
        with tarfile.open(folder / f"{number}.tar", "w") as file:
            for path in sorted(Path("photos").glob(f"*{number}.jpg")):
                file.add(path, path.name)


def data_set(kind: str, where: Path) -> None:
    """Scenes in the format of a real data set."""
    if where.exists():
        return
    if kind == "folder":
        photographs(where)
    elif kind == "manifest":
        photographs(where.parent)
    else:
        where.parent.mkdir(parents=True, exist_ok=True)
        run(f"scenes --format {kind} --count 8 --out {where}")


def run(command: str) -> None:
    """Runs a command of ours."""
    from wherefore.cli import main

    with pytest.raises(SystemExit) as ended:
        main(command.split())
    assert not ended.value.code, command


# -------------------------------------------------------------------------------------------- weights


MADE: dict[Path, tuple[str, tuple[str, ...]]] = {}  # which files are ours to write anew, and what is in them


def weigh(model: str, path: Path, classes: list[str] | None) -> None:
    """A file of random weights for a model; what a command of the page has written stays as it is."""
    wanted = (model, tuple(classes or ()))
    path = path.absolute()
    if MADE.get(path) == wanted or (path.exists() and path not in MADE):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    state = state_of(model) if classes is None else wf.load(model, weights=None, classes=classes).net.state_dict()
    if path.suffix == ".safetensors":
        save_file({key: value.contiguous() for key, value in state.items()}, path)
    else:
        torch.save(state, path)
    MADE[path] = wanted


@cache
def state_of(model: str) -> dict[str, Tensor]:
    """Random weights of a network; kept, for the large ones take seconds to be drawn."""
    torch.manual_seed(0)
    return sighted(model, wf.load(model, weights=None).net.state_dict())


def sighted(model: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a network that would find nothing, made to see one thing everywhere."""
    if model in SEES:
        bias, number = SEES[model]
        state[bias][number] += 20
    return state


def torchvisions(url: str, **_: Any) -> dict[str, Tensor]:
    """What is under an address of torchvision's: also the extra heads, which only training uses."""
    from torchvision.models import get_model_weights, list_models

    [name] = [name for name in list_models() if any(each.url == url for each in get_model_weights(name))]
    return downloaded(name, len(get_model_weights(name).DEFAULT.meta["categories"]))


@cache
def downloaded(name: str, classes: int) -> dict[str, Tensor]:
    """Random weights of a network as torchvision trained it."""
    from torchvision.models import get_model

    from wherefore.models.from_torchvision import torchvision_names

    kind = torchvision_names()[name]
    options: dict[str, Any] = {"weights_backbone": None} if kind.endswith(("segmentation", "detection")) else {}
    if kind.endswith("segmentation") and not name.startswith("lraspp"):
        options["aux_loss"] = True
    torch.manual_seed(0)
    return sighted(name, get_model(name, weights=None, num_classes=classes, **options).state_dict())


# -------------------------------------------------------------------------------------------- Hugging Face's hub


def repository(name: str, folder: Path) -> Path:
    """A small network of the kind that a repository holds, with its processor and tokenizer."""
    kind = next((kind for kind in REPOSITORIES if kind in name.lower()), None)
    assert kind, f"{name}: say in {Path(__file__).name} what network it is"
    if not folder.exists():
        with pytest.MonkeyPatch.context() as patch:
            _spelling(patch)
            REPOSITORIES[kind](folder)
    return folder


def _spelling(patch: pytest.MonkeyPatch) -> None:
    """The tokenizers of the fixtures know each letter, so that every word of the docs can be spelled."""
    import fixtures_transformers
    import fixtures_worded

    letters = [*string.ascii_lowercase, *string.digits, *(f"##{c}" for c in string.ascii_lowercase), "?", "."]
    pieces = [*fixtures_transformers.PIECES, *(c for c in letters if c not in fixtures_transformers.PIECES)]
    patch.setattr(fixtures_transformers, "PIECES", pieces)
    for module in (fixtures_transformers, fixtures_worded):
        patch.setattr(module, "TEXT", {**module.TEXT, "vocab_size": len(pieces), "max_position_embeddings": 48})


def _vision(net: str, processor: str, words: bool = False, **options: Any) -> Callable[[Path], Any]:
    """A network of ``fixtures_transformers`` with a processor, and a tokenizer where it reads words."""

    def made(folder: Path) -> None:
        import fixtures_transformers as small

        given = options or {"size": small.SIDES}
        others = [small.wordpiece()] if words else []
        small.saved(folder, getattr(small, net)(), getattr(small.hf, processor)(**given), *others)

    return made


def _worded(name: str, *first: Any, **options: Any) -> Callable[[Path], Any]:
    def made(folder: Path) -> None:
        import fixtures_worded

        getattr(fixtures_worded, name)(*first, folder, **options)

    return made


def _text(folder: Path) -> None:
    """A classifier of texts."""
    import fixtures_transformers as small

    net = small.hf.BertForSequenceClassification(small.hf.BertConfig(**small.TEXT, num_labels=2))
    small.saved(folder, drawn(net), small.wordpiece())


def drawn(net: nn.Module) -> nn.Module:
    """The network with weights that are not all about 0."""
    for weight in net.parameters():
        nn.init.normal_(weight, std=0.2)
    return net.eval()


SQUARE = {"height": 32, "width": 32}
REPOSITORIES: dict[str, Callable[[Path], Any]] = {  # by a part of its name; the first that fits
    "blip-image-captioning": _worded("blip", "ConditionalGeneration"),
    "blip-vqa": _worded("blip", "QuestionAnswering"),
    "git-": _worded("git"),
    "vit-gpt2": _worded("vit_gpt2", positions=48),
    "llava": _worded("llava"),
    "vilt": _worded("vilt", max_position_embeddings=48),
    "siglip": _vision("siglip", "SiglipImageProcessor", words=True),
    "clip": _vision("clip", "CLIPImageProcessor", words=True, size={"shortest_edge": 32}, crop_size=SQUARE),
    "segformer": _vision("segformer", "SegformerImageProcessor", size={"height": 48, "width": 64}),
    "detr": _vision("detr", "DetrImageProcessor", size={"shortest_edge": 64, "longest_edge": 90}),
    "yolos": _vision("yolos", "YolosImageProcessor", size={"shortest_edge": 64, "longest_edge": 64}),
    "videomae": _vision("videomae", "VideoMAEImageProcessor", size={"shortest_edge": 32}, crop_size=SQUARE),
    "vit": _vision("vit", "ViTImageProcessor"),
    "org/name": _text,
    "bert": _text,
}


def without_a_network(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Nothing is fetched: what would be is made here, repositories in a folder. Detectors see less, and sooner."""
    import huggingface_hub
    import timm.models._builder as timm
    from torchvision.models import _api
    from torchvision.models.detection.transform import GeneralizedRCNNTransform as Sized

    start = Sized.__init__

    def snapshot(name: str, **_: Any) -> str:
        return str(repository(name, folder / name.replace("/", "--")))

    patch.setattr(_api, "load_state_dict_from_url", torchvisions)
    patch.setattr(timm, "load_pretrained", lambda *_, **__: None)
    patch.setattr(huggingface_hub, "snapshot_download", snapshot)
    patch.setattr(Sized, "__init__", lambda self, least, most, *more, **given: start(self, 224, 320, *more, **given))
