"""Where the object is: masks and Pascal VOC boxes beside the pictures (`?masks=FOLDER`, `?boxes=FOLDER`)."""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from demur.data.decoding import HOSTILE, carefully, first_line, shown_size
from demur.data.image_list import Files
from demur.data.scaling import scaled
from demur.data.source import Box, Row, box_mask
from demur.errors import DataError
from demur.pictures.decode_rules import Rules
from demur.registry.regular_files import MIB, content_of

SUFFIXES = (".png", ".bmp", ".gif", ".tif", ".tiff")
"""What masks are saved as; JPEG would smear them."""

_FORMATS = ("PNG", "BMP", "GIF", "TIFF")
_NUMBERS = {"1", "L", "I;16", "I;16B", "I;16L", "I;16N", "I", "F"}
_UNDECIDED = 255


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Bool (height, width), turned as the EXIF orientation of the mask says; True on the object.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with carefully(io.BytesIO(content_of(path, 256 * MIB)), _FORMATS) as picture:
            picture.load()
            shown = ImageOps.exif_transpose(picture)
    except HOSTILE as error:
        raise DataError(
            f"cannot read the mask {path}: {first_line(error)}. Save it again as PNG, or remove it."
        ) from None
    return _marked(shown)


def _marked(picture: Image.Image) -> NDArray[np.bool_]:
    """Where a mask is not zero, black or transparent."""
    if picture.mode in _NUMBERS:
        return np.asarray(picture) != 0
    if picture.mode == "P":
        values = np.asarray(picture)
        decided = (values > 0) & (values < _UNDECIDED)
        return decided if decided.any() else values > 0
    colours = np.asarray(picture.convert("RGBA"))
    return (colours[..., :3] > 0).any(axis=-1) & (colours[..., 3] > 0)


def scaled_mask(mask: NDArray[np.bool_], rules: Rules) -> Tensor:
    """Cut and scaled as the picture is, to the nearest pixel."""
    if rules.size is None:
        return torch.from_numpy(mask)
    return torch.from_numpy(np.asarray(scaled(Image.fromarray(mask.astype(np.uint8)), rules.of_masks)) > 0)


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
        return [box for label, box in self.objects if label == name] or [box for _, box in self.objects]


def read_annotation(path: Path) -> Annotation:
    """Read a file; its boxes count pixels from 1 and the last one in, ours from 0 and without it.

    Raises:
        DataError: the file is no such XML, has no object, or a box that is none.
    """
    root = _parse(path)
    objects = tuple((_text(thing, "name"), _box(thing, path)) for thing in root.findall("object"))
    if not objects:
        raise DataError(
            f"{path} has no boxes: an annotation of Pascal VOC holds an <object> with a <bndbox> for each. Remove the "
            "file where nothing is known of its picture, or correct it."
        )
    height, width = (int(_number(root, f"size/{side}") or 0) for side in ("height", "width"))
    return Annotation((height, width) if height > 0 and width > 0 else None, objects)


def _parse(path: Path) -> ET.Element:
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


MASK_OPTIONS = ("masks", "boxes")

_SUFFIXES: Mapping[str, tuple[str, ...]] = {"masks": SUFFIXES, "boxes": (".xml",)}


@dataclass(frozen=True, eq=False)
class Marks:
    """The files that mark objects; called with a row that was read, it adds what they say of it.

    Attributes:
        root: what the ids of the rows are relative to.
        folders: those of masks and of annotations, by option.
        classes: the class names, to find the boxes of an image's own class.
        rules: how pictures are cut and scaled.
        names: id of a row → path of its picture, where the two differ.
    """

    root: Path
    folders: Mapping[str, Path]
    classes: tuple[str, ...]
    rules: Rules
    names: Mapping[str, str]

    def __call__(self, row: Row) -> Row:
        """The row with its mask and box; as it is where it has no image or no file marks it."""
        if row.image is None:
            return row
        name = self.names.get(row.sample_id, row.sample_id)
        mask, boxes = (_mask_path(self.folders.get(option), name, _SUFFIXES[option]) for option in MASK_OPTIONS)
        if mask is not None:
            found, size = read_mask(mask), shown_size(self.root / name)
            _check(mask, found.shape, size)
            return replace(row, mask=scaled_mask(found, self.rules))
        if boxes is not None:
            inside = _boxes(boxes, shown_size(self.root / name), self.classes[row.label], self.rules)
            return _with_boxes(row, inside, *row.image.shape[1:])
        return row


def folders_of(options: Mapping[str, str], root: Path) -> dict[str, Path]:
    """The folders that an address names, by option; relative ones lie in the folder of the data.

    Raises:
        DataError: one is no folder, or that of the data itself.
    """
    named = {option: root / options[option] for option in MASK_OPTIONS if option in options}
    for option, folder in named.items():
        if not options[option] or not folder.is_dir():
            raise DataError(
                f"`{option}` must name a folder; there is no folder {folder}. Write ?{option}=FOLDER, absolute or "
                f"relative to {root}."
            )
        if folder.resolve() == root.resolve():
            raise DataError(
                f"`{option}` must name a folder of its own; {folder} is that of the images, and its files would be "
                "taken for images. Move the marks to a folder that repeats the paths of the images."
            )
    return named


def marks_of(
    folders: Mapping[str, Path], pictures: Files, rows: Sequence[Row], classes: tuple[str, ...], rules: Rules
) -> Marks | None:
    """The marks in these folders; None where there are no folders.

    Raises:
        DataError: a folder has no file for any of the rows.
    """
    for option, folder in folders.items():
        first, *others = _SUFFIXES[option]
        if rows and not any(_mask_path(folder, name, _SUFFIXES[option]) for name in pictures.names):
            wanted = f"{Path(rows[0].sample_id).with_suffix(first)}{''.join(f' or {other}' for other in others)}"
            raise DataError(
                f"the folder {folder} has no file for any of the {len(rows)} images; it must repeat their paths, so "
                f"that {rows[0].sample_id} has {wanted}. Move the files, or leave `{option}` out."
            )
    if not folders:
        return None
    ids = (row.sample_id for row in rows)
    shown = {own: name for own, name in zip(ids, pictures.names, strict=True) if own != name}
    return Marks(pictures.root, folders, classes, rules, shown)


def _mask_path(folder: Path | None, name: str, suffixes: Sequence[str]) -> Path | None:
    """The file of a folder that is called like a picture up to the suffix."""
    if folder is None:
        return None
    there = (folder / Path(name).with_suffix(written) for suffix in suffixes for written in (suffix, suffix.upper()))
    return next((path for path in there if path.is_file()), None)


def _boxes(path: Path, size: tuple[int, int], name: str, rules: Rules) -> list[Box]:
    """The boxes of the objects of a class, in the picture as it is served."""
    annotation = read_annotation(path)
    _check(path, annotation.size or size, size)
    height, width = size
    inside = [
        (max(0, box[0]), max(0, box[1]), min(width, box[2]), min(height, box[3])) for box in annotation.boxes(name)
    ]
    for left, top, right, bottom in inside:
        if left >= right or top >= bottom:
            raise DataError(
                f"{path}: a box lies outside its picture of {height}×{width} pixels (height × width). Correct the "
                "file, or remove it where nothing is known of the picture."
            )
    return [rules.moved(box, height, width) for box in inside]


def _with_boxes(row: Row, boxes: Sequence[Box], height: int, width: int) -> Row:
    """One box as such, several as a mask."""
    return replace(row, box=boxes[0]) if len(boxes) == 1 else replace(row, mask=box_mask(boxes, height, width))


def _check(path: Path, marked: tuple[int, ...], size: tuple[int, int]) -> None:
    """Refuse marks of a picture of another size."""
    if marked == size:
        return
    own, wanted = ("×".join(map(str, pair)) for pair in (marked, size))
    turned = " Its EXIF orientation turns the picture: turn the mark too." if marked == size[::-1] else ""
    raise DataError(
        f"{path} marks a picture of {own} pixels (height × width), and its picture measures {wanted} as it is shown; "
        f"both must be the same.{turned} Make the mark again for this picture, or remove it."
    )
