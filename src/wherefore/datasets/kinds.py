"""Which of ILSVRC's 1,000 classes are kinds of a category of COCO or VOC, or of kangaroos; only beyond doubt.

Left out is what ILSVRC names a part or a special kind of (person, chair, bed, book, cake, handbag, knife, oven,
sandwich, spoon, wine glass, potted plant) or does not name at all.
"""

from __future__ import annotations

ALIASES = {  # VOC's spelling, and COCO's
    "aeroplane": "airplane", "diningtable": "dining table", "motorbike": "motorcycle", "pottedplant": "potted plant",
    "sofa": "couch", "tvmonitor": "tv",
}  # fmt: skip
_NAMED = {
    "airplane": {404: "airliner", 895: "warplane"},
    "apple": {948: "Granny Smith"},
    "backpack": {414: "backpack"},
    "banana": {954: "banana"},
    "bear": {294: "brown bear", 295: "American black bear", 296: "ice bear", 297: "sloth bear"},
    "bench": {703: "park bench"},
    "bicycle": {444: "bicycle-built-for-two", 671: "mountain bike"},
    "boat": {
        472: "canoe", 484: "catamaran", 554: "fireboat", 576: "gondola", 625: "lifeboat", 814: "speedboat",
        871: "trimaran", 914: "yawl",
    },
    "bottle": {440: "beer bottle", 720: "pill bottle", 737: "pop bottle", 898: "water bottle", 907: "wine bottle"},
    "bowl": {659: "mixing bowl", 809: "soup bowl"},
    "broccoli": {937: "broccoli"},
    "bus": {654: "minibus", 779: "school bus", 874: "trolleybus"},
    "car": {
        436: "beach wagon", 468: "cab", 511: "convertible", 609: "jeep", 627: "limousine", 656: "minivan",
        661: "Model T", 751: "racer", 817: "sports car",
    },
    "cat": {281: "tabby", 282: "tiger cat", 283: "Persian cat", 284: "Siamese cat", 285: "Egyptian cat"},
    "cell phone": {487: "cellular telephone"},
    "clock": {409: "analog clock", 530: "digital clock", 892: "wall clock"},
    "couch": {831: "studio couch"},
    "cup": {504: "coffee mug", 968: "cup"},
    "dining table": {532: "dining table"},
    "elephant": {385: "Indian elephant", 386: "African elephant", 101: "tusker"},
    "hair drier": {589: "hand blower"},
    "horse": {339: "sorrel"},
    "hot dog": {934: "hotdog"},
    "kangaroo": {104: "wallaby"},
    "keyboard": {508: "computer keyboard"},
    "laptop": {620: "laptop", 681: "notebook"},
    "microwave": {651: "microwave"},
    "motorcycle": {665: "moped", 670: "motor scooter"},
    "mouse": {673: "mouse"},
    "orange": {950: "orange"},
    "parking meter": {704: "parking meter"},
    "pizza": {963: "pizza"},
    "refrigerator": {760: "refrigerator"},
    "remote": {761: "remote control"},
    "sheep": {348: "ram", 349: "bighorn"},
    "sink": {896: "washbasin"},
    "skis": {795: "ski"},
    "sports ball": {
        429: "baseball", 430: "basketball", 522: "croquet ball", 574: "golf ball", 722: "ping-pong ball",
        768: "rugby ball", 805: "soccer ball", 852: "tennis ball", 890: "volleyball",
    },
    "teddy bear": {850: "teddy"},
    "tennis racket": {752: "racket"},
    "tie": {457: "bow tie", 906: "Windsor tie"},
    "toaster": {859: "toaster"},
    "traffic light": {920: "traffic light"},
    "train": {466: "bullet train", 547: "electric locomotive", 705: "passenger car", 820: "steam locomotive"},
    "truck": {
        555: "fire engine", 569: "garbage truck", 675: "moving van", 717: "pickup", 864: "tow truck",
        867: "trailer truck",
    },
    "tv": {664: "monitor", 782: "screen", 851: "television"},
    "umbrella": {879: "umbrella"},
    "vase": {883: "vase"},
    "zebra": {340: "zebra"},
}  # fmt: skip
NAMED = {number: name for names in _NAMED.values() for number, name in names.items()}
KINDS: dict[str, tuple[int, ...]] = {
    **{category: tuple(names) for category, names in _NAMED.items()},
    "bird": (*range(7, 25), *range(80, 101), *range(127, 147)),
    "dog": tuple(range(151, 269)),
    "kite": (),  # theirs is a bird
}
