"""Which ImageNet classes are kinds of a COCO category; only categories where that is beyond doubt."""

from __future__ import annotations

# Names as in imagenet_class_index.json. Left out: what ImageNet names a part or a special kind of (person, chair, bed,
# book, cake, handbag, knife, oven, sandwich, spoon, wine glass, potted plant) or does not name at all.
NAMES = {
    "airplane": ["airliner", "warplane"],
    "apple": ["Granny_Smith"],
    "backpack": ["backpack"],
    "banana": ["banana"],
    "bear": ["brown_bear", "American_black_bear", "ice_bear", "sloth_bear"],
    "bench": ["park_bench"],
    "bicycle": ["bicycle-built-for-two", "mountain_bike"],
    "boat": ["canoe", "catamaran", "fireboat", "gondola", "lifeboat", "speedboat", "trimaran", "yawl"],
    "bottle": ["beer_bottle", "pill_bottle", "pop_bottle", "water_bottle", "wine_bottle"],
    "bowl": ["mixing_bowl", "soup_bowl"],
    "broccoli": ["broccoli"],
    "bus": ["minibus", "school_bus", "trolleybus"],
    "car": ["beach_wagon", "cab", "convertible", "jeep", "limousine", "minivan", "Model_T", "racer", "sports_car"],
    "cat": ["tabby", "tiger_cat", "Persian_cat", "Siamese_cat", "Egyptian_cat"],
    "cell phone": ["cellular_telephone"],
    "clock": ["analog_clock", "digital_clock", "wall_clock"],
    "couch": ["studio_couch"],
    "cup": ["coffee_mug", "cup"],
    "dining table": ["dining_table"],
    "elephant": ["Indian_elephant", "African_elephant", "tusker"],
    "hair drier": ["hand_blower"],
    "horse": ["sorrel"],
    "hot dog": ["hotdog"],
    "keyboard": ["computer_keyboard"],
    "laptop": ["laptop", "notebook"],
    "microwave": ["microwave"],
    "motorcycle": ["moped", "motor_scooter"],
    "mouse": ["mouse"],
    "orange": ["orange"],
    "parking meter": ["parking_meter"],
    "pizza": ["pizza"],
    "refrigerator": ["refrigerator"],
    "remote": ["remote_control"],
    "sheep": ["ram", "bighorn"],
    "sink": ["washbasin"],
    "skis": ["ski"],
    "sports ball": [
        "baseball", "basketball", "croquet_ball", "golf_ball", "ping-pong_ball", "rugby_ball", "soccer_ball",
        "tennis_ball", "volleyball",
    ],
    "teddy bear": ["teddy"],
    "tennis racket": ["racket"],
    "tie": ["bow_tie", "Windsor_tie"],
    "toaster": ["toaster"],
    "traffic light": ["traffic_light"],
    "train": ["bullet_train", "electric_locomotive", "passenger_car", "steam_locomotive"],
    "truck": [
        "fire_engine", "garbage_truck", "moving_van", "pickup", "tow_truck", "trailer_truck",
    ],
    "tv": ["monitor", "screen", "television"],
    "umbrella": ["umbrella"],
    "vase": ["vase"],
    "zebra": ["zebra"],
}  # fmt: skip
RANGES = {"bird": [*range(7, 25), *range(80, 101), *range(127, 147)], "dog": [*range(151, 269)]}


def imagenet_classes(index: dict[str, list[str]]) -> dict[str, list[int]]:
    """COCO category to indices, by the table of names that comes with ImageNet."""
    numbers: dict[str, list[int]] = {}
    for number, (_, name, *_) in index.items():
        numbers.setdefault(name, []).append(int(number))
    named = {}
    for category, names in NAMES.items():
        for name in names:
            if len(numbers.get(name, ())) != 1:
                raise ValueError(f"{name!r} of {category} names {len(numbers.get(name, ()))} classes, not one")
        named[category] = [numbers[name][0] for name in names]
    return named | RANGES
