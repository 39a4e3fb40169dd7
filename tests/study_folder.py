"""A small study's folder, drawn here: what the app, its pages and its simulated workers are tried on."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

from wherefore.study.plan import LIKERT, PICTURES, Item, Kind, Plan, Rules, needed, possible

CATEGORIES = ("dog", "bird", "car", "house", "boat", "chair")
METHODS: dict[Kind, tuple[str, ...]] = {
    "class-discrimination": ("deconvnet", "guided-backprop", "deconv-grad-cam", "guided-grad-cam"),
    "trust": ("guided-backprop", "guided-grad-cam"),
}
TEXTS = {
    "title": "What is it a picture of?",
    "consent": "You will see some screens with pictures.\n\nTaking part is voluntary.",
    "instructions": "You see what mattered to a program.\n\nChoose what it shows.",
    "question": "Which of the two is shown here?",
    "done": "That was the last one. Your answers are saved.",
    "contact": "A laboratory, lab@example.org",
}


def make(
    folder: Path, kind: Kind = "class-discrimination", pictures: int = 4, ratings: int = 1, workers: int = 2
) -> Plan:
    """Writes a study of ``pictures`` in every method of its kind, two catch trials with it, and returns its plan."""
    (folder / PICTURES).mkdir(parents=True)
    items = tuple(_item(kind, n, method, folder) for n in range(pictures) for method in METHODS[kind])
    catches = tuple(_item(kind, n, "", folder, catch=True) for n in range(2))
    trials = needed(len(items), ratings, workers)
    possible(items, ratings, workers, trials)
    texts = {**TEXTS, "question": "Both said: {category}. Which is more reliable?"} if kind == "trust" else TEXTS
    source = {"data": "drawn for tests"}
    plan = Plan("small", kind, 0, items, catches, ratings, workers, trials, texts, source, rules=Rules())
    plan.write(folder)
    return plan


def _item(kind: Kind, n: int, method: str, folder: Path, catch: bool = False) -> Item:
    name, category = f"{'catch' if catch else method}-{n}", CATEGORIES[n % len(CATEGORIES)]
    other = CATEGORIES[(n + 1) % len(CATEGORIES)]
    if kind == "trust":
        files = (_drawn(folder, f"{name}/a"), _drawn(folder, f"{name}/b"))
        return Item(name, str(n), method, category, files, LIKERT, models=("vgg", "alexnet"), catch=catch)
    return Item(name, str(n), method, category, (_drawn(folder, name),), (category, other), truth=category, catch=catch)


def _drawn(folder: Path, of: str) -> str:
    """A grey square with lines that differ from file to file; its name tells nothing."""
    import hashlib

    digest = hashlib.sha256(of.encode()).digest()
    picture = Image.new("RGB", (224, 224), (128, 128, 128))
    draw = ImageDraw.Draw(picture)
    for a, b, c, d in zip(*(digest[k:] + digest[:k] for k in (0, 1, 2, 3)), strict=True):
        draw.line((a * 224 // 256, b * 224 // 256, c * 224 // 256, d * 224 // 256), fill=(a, a, a), width=2)
    picture.save(folder / PICTURES / f"{digest.hex()[:16]}.png")
    return f"{digest.hex()[:16]}.png"
