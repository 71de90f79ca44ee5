"""Tasks that look like classification and are not: refused by name, with what to do instead."""

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable
from datetime import date, time, timedelta
from pathlib import Path

from demur.errors import DataError, brief

_SERVES = "demur audits classifiers that give each image one of several classes"

_MASKS = {"mask", "masks", "annotations", "segmentationclass", "segmentationobject", "gtfine", "gtcoarse", "labelids"}
_HEAD = 1 << 20
MOST_CLASSES = 50_000
"""More than any set of labelled images has; what is more are ids."""

_PICTURES = {"image", "images", "img", "imgs", "jpegimages", "leftimg8bit"}


def multi_label(where: str, sign: str) -> DataError:
    """Several classes can be true of one image."""
    return DataError(
        f"{where} is multi-label: {sign}. {_SERVES}, and several true ones have no single error. Audit one class at a "
        "time: write a label column that says yes or no for that class."
    )


def detection(where: str, sign: str) -> DataError:
    """Objects are to be found in images."""
    return DataError(
        f"{where} is a detection set: {sign}. {_SERVES}; where an object lies is not judged. Cut the objects out into "
        "images of one class each, one sub-folder per class, and give the image they come from as the group."
    )


def segmentation(where: str, sign: str) -> DataError:
    """Pixels are to be labelled."""
    return DataError(
        f"{where} is a segmentation set: {sign}. {_SERVES}, not each pixel. Give one label per image, for instance "
        "whether its mask is empty, in a CSV file: csv:FILE with the columns path and label."
    )


def regression(where: str, sign: str) -> DataError:
    """A quantity is to be predicted."""
    return DataError(
        f"{where} is a regression set: {sign}. {_SERVES}, and a quantity has no right or wrong. Write classes instead, "
        "for instance below and above the limit that matters to you."
    )


def several_labels(found: Iterable[object], where: str) -> None:
    """Refuse cells that hold a list of labels: in brackets, or parted by | or ; where a part stands elsewhere too.

    A class may be called “wet;dark” where nothing else is wet or dark.
    """
    names = sorted(map(str, found))
    seen = Counter(part.strip() for value in names for part in re.split(r"[|;]", value))
    for value in names:
        parts = [part.strip() for part in re.split(r"[|;]", value)]
        if re.fullmatch(r"\[.*\]|\{.*\}|\(.*,.*\)", value, re.DOTALL) or (
            len(parts) > 1 and any(seen[part] > 1 for part in parts)
        ):
            raise multi_label(
                where, f"the label {brief(value)!r} names several classes, unless ?classes=a,b,… says it is one"
            )


def dates(found: Iterable[object], where: str) -> None:
    """Refuse labels that are dates or times."""
    stamp = next((value for value in found if isinstance(value, (date, time, timedelta))), None)
    if stamp is not None:
        raise DataError(
            f"{where} holds dates or times, such as {stamp}; a label is a class. Name the column of the classes with "
            "?label=…."
        )


def too_many(count: int, found: Collection[object], where: str) -> None:
    """Refuse labels that are ids, dates or counters: numbers of which the largest is no number of classes.

    Args:
        count: how many classes they come to.
        found: the different labels.
        where: what to call them.
    """
    if count > MOST_CLASSES:
        raise DataError(
            f"{where} would make {_amount(count)} classes, of which the images have {len(found):,}; at most "
            f"{MOST_CLASSES:,} are read, numbered from 0. Ids and dates, such as {brief(str(max(map(str, found))))}, "
            "are no classes: name another column or array, or number the classes from 0 on."
        )


def _amount(count: int) -> str:
    return f"{count:,}" if count < 10**15 else "more than 10¹⁵"


def quantities(found: Iterable[object], where: str) -> None:
    """Refuse labels that are numbers with a fraction."""
    fractions = sorted(value for value in found if isinstance(value, float))
    if fractions:
        raise regression(where, f"the label {fractions[0]:g} is no whole number")


def layouts(root: Path, apart: Collection[str] = ()) -> None:
    """Refuse folders in the layouts of COCO, VOC, YOLO and of image and mask pairs.

    Folders whose real path is `apart` are no sign: the address itself says that they mark the objects of its images.
    """
    inside = {path.name.lower(): path for path in _below(root) if os.path.realpath(path) not in apart}
    _refuse_coco(root, inside)
    if {"annotations", "jpegimages"} <= set(inside):
        raise detection(str(root), "it has the folders Annotations and JPEGImages of Pascal VOC")
    yolo = {"images", "labels"} <= set(inside) and _has_texts(inside["labels"])
    if yolo or ("data.yaml" in inside and "train" in inside and (inside["train"] / "labels").is_dir()):
        raise detection(str(root), "it has images and labels in text files beside each other, as YOLO keeps them")
    pictures, masks = set(inside) & _PICTURES, set(inside) & _MASKS
    if pictures and masks and len(inside) <= 6:
        raise segmentation(str(root), f"it has the folders {inside[min(pictures)].name} and {inside[min(masks)].name}")


def _refuse_coco(root: Path, inside: dict[str, Path]) -> None:
    places = [root, *(inside[name] for name in ("annotations", "train") if name in inside)]
    for path in (path for place in places for path in _below(place) if path.suffix == ".json" and path.is_file()):
        if _is_coco(path):
            name = path.relative_to(root)
            raise detection(str(root), f"{name} lists images, annotations and categories, as COCO does")


def _below(folder: Path) -> list[Path]:
    """What lies in a folder, sorted; nothing in what is none or must not be entered."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _has_texts(folder: Path) -> bool:
    """Whether a folder, or one inside it, holds text files, as YOLO's does."""
    return any(path.suffix == ".txt" for place in (folder, *_below(folder)) for path in _below(place))


def _is_coco(path: Path) -> bool:
    """Whether the names of COCO's lists are in the head and tail of a file; the whole of it may be large."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            file.seek(max(len(head), path.stat().st_size - _HEAD))
            text = head + file.read(_HEAD)
    except OSError:
        return False
    found = set(re.findall(rb'"(images|annotations|categories)"\s*:', text))
    return len(found) == 3 or (len(found) == 2 and path.stat().st_size > 2 * _HEAD)
