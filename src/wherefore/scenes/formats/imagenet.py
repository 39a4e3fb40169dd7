"""ILSVRC, classification and localization: folders, XML, lists, and the files of the development kit.

Classes have three numbers, as in the real one: synsets in sorted order (what networks are trained on) stand in
``LOC_synset_mapping.txt``, the development kit's ids follow another order and stand in ``map_clsloc.txt``. The synsets
are made up: n90000001 is the first of `wherefore.scenes.world.CATEGORIES`, and so on.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from wherefore.errors import Error
from wherefore.scenes.annotated import Scene
from wherefore.scenes.formats.files import FORMATS, Tree, Writer, box_tree, jpeg, lines, seen, size_tree, xml
from wherefore.scenes.world import CATEGORIES

SYNSETS = {category: f"n{90_000_001 + i}" for i, category in enumerate(CATEGORIES)}
IDS = {category: i for i, category in enumerate(sorted(CATEGORIES), 1)}  # those of the development kit
KIT = "ILSVRC/devkit/data/"
BAD = 29  # the real blacklist has 3.5 % of the pictures, for poor boxes; none of ours is poor, so every 29th stands in


@FORMATS("imagenet")
class ImageNet(Writer):
    """ILSVRC: one label per picture, boxes as XML and CSV (0-based, inclusive), the development kit's lists."""

    name = "imagenet"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        # What the lists say of each picture: its path without ending, its category, its boxes.
        self.rows: dict[str, list[tuple[str, str, str]]] = defaultdict(list)

    def index(self, split: str) -> str:
        return f"ILSVRC/ImageSets/CLS-LOC/{'train_cls' if split == 'train' else split}.txt"

    def picture(self, scene: Scene, split: str, number: int) -> str:
        if len(scene.labels) != 1:
            raise Error(
                f"ILSVRC gives a picture one label, and {scene.name} shows {', '.join(scene.labels)}: "
                "write scenes of one object."
            )
        synset = SYNSETS[scene.labels[0]]
        stem = f"{synset}/{synset}_{number}" if split == "train" else f"ILSVRC2012_{split}_{number:08d}"
        self.put(f"ILSVRC/Data/CLS-LOC/{split}/{stem}.JPEG", jpeg(scene))
        self.put(f"ILSVRC/Annotations/CLS-LOC/{split}/{stem}.xml", xml("annotation", _annotation(scene, stem, split)))
        found = "".join(f"{synset} {' '.join(map(str, scene.boxes[i]))} " for i in seen(scene))
        self.rows[split].append((stem, scene.labels[0], found))
        return f"ILSVRC/Data/CLS-LOC/{split}/{stem}.JPEG"

    def lists(self, split: str) -> None:
        rows = self.rows[split]
        self.put("LOC_synset_mapping.txt", lines(f"{synset} {category}" for category, synset in SYNSETS.items()))
        by_id = sorted(IDS, key=lambda category: IDS[category])
        self.put(f"{KIT}map_clsloc.txt", lines(f"{SYNSETS[category]} {IDS[category]} {category}" for category in by_id))
        boxes = [f"{stem.split('/')[-1]},{found}" for stem, _, found in rows]
        boxes.sort(key=lambda row: row.split(",")[0][::-1])  # in no order, as the real ones
        self.put(f"LOC_{split}_solution.csv", lines(["ImageId,PredictionString", *boxes]))
        listed = lines(f"{stem} {number}" for number, (stem, *_) in enumerate(rows, 1))
        if split == "train":
            self.put("ILSVRC/ImageSets/CLS-LOC/train_loc.txt", listed)
        else:
            self.put(f"{KIT}ILSVRC2015_clsloc_validation_ground_truth.txt", lines(IDS[row[1]] for row in rows))
            self.put(f"{KIT}ILSVRC2015_clsloc_validation_blacklist.txt", lines(range(BAD, len(rows) + 1, BAD)))
        self.put(self.index(split), listed)


def _annotation(scene: Scene, stem: str, split: str) -> Tree:
    """What the XML of a picture says; poses and flags are not annotated there."""
    folder, _, name = stem.rpartition("/")
    plain: list[tuple[str, Tree]] = [("pose", "Unspecified"), ("truncated", 0), ("difficult", 0)]
    synset = SYNSETS[scene.labels[0]]
    return [
        ("folder", folder or split),
        ("filename", name),
        ("source", [("database", "ILSVRC_2012")]),
        ("size", size_tree(scene)),
        ("segmented", 0),
        *(("object", [("name", synset), *plain, ("bndbox", box_tree(scene.boxes[i], 0))]) for i in seen(scene)),
    ]
