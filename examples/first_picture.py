"""Explains one photograph with one network and prints the path of the picture.

Takes the weights and the photograph of ../shared/data where that folder is there; else torchvision's own download and a
photograph that comes with scikit-image (Chelsea the cat, CC0). Without either it says so and ends with status 2.
"""

import sys
from pathlib import Path

import wherefore as wf

DATA = Path(__file__).parents[2] / "shared" / "data"


def model_and_photograph() -> tuple[wf.Model, Path, list[str]]:
    """A trained network, a picture, and the classes to look for."""
    if DATA.is_dir():
        weights = DATA / "weights" / "mobilenet_v2_imagenet.safetensors"
        return wf.load("mobilenet_v2", weights=weights), DATA / "images" / "cat_dog.jpg", ["tiger cat", "boxer"]
    import skimage

    return wf.load("resnet50"), Path(skimage.__file__).parent / "data" / "chelsea.png", ["tabby", "Egyptian cat"]


def main() -> None:
    try:
        model, photograph, targets = model_and_photograph()
        e = wf.explain(model, photograph, targets)
        e.save("explained")
    except wf.Error as error:
        print(f"first_picture: {error}", file=sys.stderr)
        sys.exit(2)
    path = Path("explained") / "first_picture.jpg"
    e.sheet().save(path, quality=90)
    for name, score, (x, y) in zip(e.targets[0], e.scores[0].tolist(), e.peaks()[0].tolist(), strict=True):
        print(f"{name}: score {score:.2f}, looked hardest at x={x}, y={y}")
    print(path)


if __name__ == "__main__":
    main()
