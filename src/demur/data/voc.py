"""Boxes in the XML files of Pascal VOC, as ImageNet and many labelling tools write them too.

Everingham et al. (2010), doi:10.1007/s11263-009-0275-4.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from demur.data.source import Box
from demur.errors import DataError

_LONGEST = 1 << 20


@dataclass(frozen=True)
class Annotation:
    """What one file says.

    Attributes:
        size: height and width of the picture its boxes belong to; None where the file leaves it out or says 0.
        objects: the name and the box of each object.
    """

    size: tuple[int, int] | None
    objects: tuple[tuple[str, Box], ...]

    def boxes(self, name: str) -> list[Box]:
        """The boxes of the objects of that name; where there is none, of all."""
        return [box for told, box in self.objects if told == name] or [box for _, box in self.objects]


def read_annotation(path: Path) -> Annotation:
    """Read a file; its boxes count pixels from 1 and the last one in, ours from 0 and without it.

    Raises:
        DataError: the file is no such XML, has no object, or a box that is none.
    """
    root = _parsed(path)
    objects = tuple((_text(thing, "name"), _box(thing, path)) for thing in root.findall("object"))
    if not objects:
        raise DataError(
            f"{path} has no boxes: an annotation of Pascal VOC holds an <object> with a <bndbox> for each. Remove the "
            "file where nothing is known of its picture, or correct it."
        )
    height, width = (int(_number(root, f"size/{side}") or 0) for side in ("height", "width"))
    return Annotation((height, width) if height > 0 and width > 0 else None, objects)


def _parsed(path: Path) -> ET.Element:
    try:
        return ET.fromstring(_harmless(path))  # noqa: S314  # no document type, no entities, at most 1 MiB
    except (OSError, ValueError, ET.ParseError) as error:
        raise DataError(
            f"cannot read {path} as an annotation of Pascal VOC: {error}. Save it as plain XML in UTF-8."
        ) from None


def _harmless(path: Path) -> str:
    """The text of a file, in one encoding: UTF-16, in which entities could hide, is not UTF-8 or full of zeros."""
    with path.open("rb") as file:
        content = file.read(_LONGEST + 1)
    if len(content) > _LONGEST:
        raise ValueError("it is larger than 1 MiB")
    text = content.decode("utf-8-sig")
    if "\0" in text:
        raise ValueError("it holds zero bytes")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("it declares a document type or entities, and such a file can be made to fill the memory")
    return text


def _box(thing: ET.Element, path: Path) -> Box:
    left, top, right, bottom = (_number(thing, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax"))
    if left is None or top is None or right is None or bottom is None or left > right or top > bottom:
        raise DataError(
            f"{path}: the object {_text(thing, 'name')!r} has no box; it needs a <bndbox> of <xmin>, <ymin>, <xmax> "
            "and <ymax>, numbers of pixels, none smaller than its min. Correct the file."
        )
    return (math.floor(left) - 1, math.floor(top) - 1, math.ceil(right), math.ceil(bottom))


def _number(inside: ET.Element, place: str) -> float | None:
    try:
        value = float(_text(inside, place))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _text(inside: ET.Element, place: str) -> str:
    return (inside.findtext(place) or "").strip()
