"""What the XML file of a picture says, as PASCAL VOC and ILSVRC write it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from wherefore.datasets.files import Said, Unreadable, four

CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Annotation:
    """The things in a picture, in the order of the file, and how large the file says that the picture is."""

    size: tuple[int, int] | None
    things: tuple[Said, ...]

    def notes(self, size: tuple[int, int]) -> list[str]:
        """What is to be said where the picture has another size: its own decides, and boxes stay as they are."""
        return ["size in the annotation is not the picture's"] if self.size not in (None, (0, 0), size) else []


def annotation(path: Path, origin: int) -> Annotation:
    """What the XML of a picture says, boxes with inclusive corners from 0.

    ``origin`` is the number that the file gives the first pixel: 1 in VOC, 0 in ILSVRC. Raises `Error` for a file that
    is missing or damaged, or says of a thing not what or not where it is.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except FileNotFoundError:
        raise Unreadable(path, "does not exist: the picture has no annotation") from None
    except (ElementTree.ParseError, OSError, ValueError, LookupError) as error:
        raise Unreadable(path, f"is a damaged XML file ({error})") from None
    return Annotation(_size(root), tuple(_thing(each, path, origin) for each in root.findall("object")))


def _thing(element: ElementTree.Element, path: Path, origin: int) -> Said:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise Unreadable(path, "does not name one of its objects")
    box = four((element.findtext(f"bndbox/{corner}") for corner in CORNERS), path)
    flag = (element.findtext("difficult") or "").strip()
    return Said(name, tuple(value - origin for value in box), difficult=flag == "1")


def _size(root: ElementTree.Element) -> tuple[int, int] | None:
    try:
        return int(float(root.findtext("size/width", ""))), int(float(root.findtext("size/height", "")))
    except (ValueError, OverflowError):
        return None
