"""Which outputs of a network stand for which category, against torchvision's names and ImageNet's own table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wherefore.datasets import coco, matched, voc
from wherefore.datasets.kinds import KINDS, NAMED
from wherefore.errors import Error
from wherefore.scenes.world import CATEGORIES


@pytest.fixture(scope="module")
def imagenet() -> list[str]:
    """The names of torchvision's networks."""
    from torchvision.models import ResNet18_Weights

    return list(ResNet18_Weights.DEFAULT.meta["categories"])


def test_names_but_for_case_underscores_and_synonyms() -> None:
    outputs = ["Tabby", "egyptian_cat", "tiger, Panthera tigris", "crane", "crane"]
    found = matched(["tabby, tabby cat", "Egyptian cat", "panthera tigris", "crane", "unicorn"], outputs)
    assert found == {"tabby, tabby cat": (0,), "Egyptian cat": (1,), "panthera tigris": (2,), "crane": (3, 4)}


def test_the_strictest_reading_that_meets_any() -> None:
    """Cardigan is a dog and a cardigan is worn; a missile is one, and a projectile only besides."""
    outputs = ["Cardigan", "cardigan", "missile", "projectile, missile"]
    assert matched(["cardigan", "Cardigan"], outputs) == {"cardigan": (1,), "Cardigan": (0,)}
    assert matched(["missile", "projectile"], outputs) == {"missile": (2,), "projectile": (3,)}
    outputs = ["rocket, missile", "missile, rocket"]
    assert matched(["rocket", "missile"], outputs) == {"rocket": (0,), "missile": (1,)}


def test_voc_and_coco_spell_differently() -> None:
    found = matched(voc.CLASSES, ["__background__", *coco.CLASSES])
    assert list(found) == [*voc.CLASSES]
    theirs = {"aeroplane": "airplane", "diningtable": "dining table", "motorbike": "motorcycle", "sofa": "couch"}
    theirs |= {"pottedplant": "potted plant", "tvmonitor": "tv"}
    assert found == {name: (1 + coco.CLASSES.index(theirs.get(name, name)),) for name in voc.CLASSES}
    back = matched(coco.CLASSES, ["__background__", *voc.CLASSES])
    assert len(back) == 20 and back["couch"] == (1 + voc.CLASSES.index("sofa"),)


def test_networks_of_scenes() -> None:
    assert matched(CATEGORIES, CATEGORIES) == {name: (i,) for i, name in enumerate(CATEGORIES)}
    assert matched(sorted(CATEGORIES), CATEGORIES) == {name: (CATEGORIES.index(name),) for name in sorted(CATEGORIES)}


def test_the_thousand_go_by_their_places(imagenet: list[str]) -> None:
    places = [(i,) for i in range(1000)]
    synsets = [f"n{i:08d}" for i in range(1000)]
    assert list(matched(synsets, imagenet).values()) == places
    other = [f"{name}, as others call it" for name in imagenet]
    other[134], other[517] = "crane (n02012849)", "crane (n03126707)"
    assert list(matched(other, imagenet).values()) == places
    assert matched(imagenet[::-1], imagenet)["tench"] == (0,), "another order is gone by names"
    with pytest.raises(Error, match="none is among"):
        matched(synsets[:999], imagenet)


def test_kinds_of_coco_and_voc_for_a_network_of_the_thousand(imagenet: list[str]) -> None:
    found = matched(coco.CLASSES, imagenet)
    assert found["cat"] == (281, 282, 283, 284, 285) and len(found["dog"]) == 118 and len(found["bird"]) == 59
    assert not {"kite", "person", "chair", "cow"} & set(found), "ImageNet's kite is a bird"
    assert set(found) == {name for name in coco.CLASSES if KINDS.get(name)} and len(found) == 50
    of_voc = matched(voc.CLASSES, imagenet)
    assert of_voc["tvmonitor"] == found["tv"] and of_voc["aeroplane"] == found["airplane"] and len(of_voc) == 16
    assert matched(["kangaroo"], imagenet) == {"kangaroo": (104,)}
    assert matched(["mouse", "cat"], ["mouse", "cat", "dog"]) == {"mouse": (0,), "cat": (1,)}, "no network of these"


def test_every_class_in_the_table_is_the_one_that_is_named(imagenet: list[str], data: Path) -> None:
    index = json.loads((data / "imagenet" / "imagenet_class_index.json").read_text())
    for number, name in NAMED.items():
        assert index[str(number)][1].replace("_", " ") == name == imagenet[number]
    numbers = [number for own in KINDS.values() for number in own]
    assert len(set(numbers)) == len(numbers), "no class is a kind of two categories"
    ends = [imagenet[i] for i in KINDS["bird"] if i + 1 not in KINDS["bird"]]
    assert ends == ["great grey owl", "black swan", "albatross"], "what follows these is no bird"
    starts = [imagenet[i] for i in KINDS["bird"] if i - 1 not in KINDS["bird"]]
    assert starts == ["cock", "black grouse", "white stork"]
    dogs = [imagenet[i] for i in KINDS["dog"]]
    assert (dogs[0], dogs[-1]) == ("Chihuahua", "Mexican hairless")


def test_networks_of_something_else() -> None:
    with pytest.raises(Error, match=r"of the data set's 2 classes \(cat, dog\) none is among the network's 3"):
        matched(["cat", "dog"], ["a", "b", "c"])
    with pytest.raises(Error, match="only dog is among"):
        matched(["cat", "dog"], ["dog", "b"])
    assert matched(["dog"], ["dog", "b"]) == {"dog": (0,)}
