"""NumPy archives: `npz:FILE` with the arrays `images`, `labels` and, if wanted, `groups` and `split`.

Images are (rows, height, width) or with channels last or second, as uint8, uint16 or floats in [0, 1].
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.data import refuse, rules
from demur.data.archive import Stored, stored
from demur.data.arrays import ArraySource, array_source, check_rules
from demur.data.labels import Labels, labels_of
from demur.data.parts import part_of
from demur.data.roles import own_role
from demur.data.rules import Rules
from demur.data.source import UNREAD, Row, path_of, spelled
from demur.errors import AddressError, DataError
from demur.registry import Address

_CHANNELS = (1, 3)
_AXES = {"nhw": (0, 1), "nhwc": (0, 1, 2), "nchw": (1, 2, 0)}


@dataclass(frozen=True, eq=False)
class Pictures:
    """Some images of an array, their channels moved last."""

    images: Stored
    layout: str
    places: tuple[int, ...]

    def __call__(self, position: int) -> NDArray[Any]:
        """The image (height, width, channels) at a position among those picked."""
        picture = self.images(self.places[position]).transpose(_AXES[self.layout])
        return picture[..., np.newaxis] if picture.ndim == 2 else picture

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        height, width, *channels = (self.images.shape[1:][axis] for axis in _AXES[self.layout])
        return (height, width, channels[0] if channels else 1)


def open_source(address: Address) -> ArraySource:
    """Open an archive; ids are positions, and nothing pickled in it is read."""
    address.only(("classes", "layout", "split", *rules.OPTIONS))
    path, options, chosen = path_of(address), address.options, Rules.of(address.options)
    arrays = stored(path, ("images", "labels", "groups", "split"))
    for name in ("images", "labels"):
        if name not in arrays:
            raise DataError(f"{path} has no array {name!r}; it needs images and labels, and may have groups and split.")
    images = arrays["images"]
    layout = _layout(images, options.get("layout"), path)
    check_rules(spelled(address), images.dtype, chosen)
    rows, labels = _rows(path, arrays, options["classes"].split(",") if "classes" in options else [])
    kept = part_of(rows, options.get("split"), str(path))
    pictures = Pictures(images, layout, tuple(kept))
    return array_source(spelled(address), labels.classes, pictures.shape, [rows[at] for at in kept], pictures, chosen)


def _layout(images: Stored, asked: str | None, path: Path) -> str:
    shape, what = images.shape, f"the images of {path}"
    if asked not in (None, "nhwc", "nchw"):
        raise AddressError(f"`layout` must be nhwc (channels last) or nchw (channels second); got {asked!r}.")
    if images.dtype not in (np.uint8, np.uint16) and images.dtype.kind != "f":
        raise DataError(f"{what} are {images.dtype}; store uint8, uint16 or floats in [0, 1].")
    if len(shape) == 3 and asked is None:
        return "nhw"
    fits = {"nhwc": len(shape) == 4 and shape[-1] in _CHANNELS, "nchw": len(shape) == 4 and shape[1] in _CHANNELS}
    possible = [name for name in fits if fits[name] and asked in (None, name)]
    if not possible:
        raise DataError(f"{what} have the shape {shape}; it must be (rows, height, width), or with 1 or 3 channels.")
    if len(possible) > 1:
        raise DataError(f"{what} have the shape {shape}: are channels last or second? Write ?layout=nhwc or nchw.")
    return possible[0]


def _rows(path: Path, arrays: Mapping[str, Stored], declared: list[str]) -> tuple[list[Row], Labels]:
    count = len(arrays["images"])
    for name, array in arrays.items():
        if len(array) != count:
            raise DataError(f"{path} has {count} images and {len(array)} {name}; there must be one for each.")
    written = _plain(arrays["labels"], path)
    labels = labels_of(written, f"the array 'labels' of {path}", declared)
    groups, splits = (
        arrays[name].whole().tolist() if name in arrays else [None] * count for name in ("groups", "split")
    )
    rows = [
        Row(
            f"{at:06d}",
            None,
            labels.number(label, f"{path}, row {at}"),
            group=None if group is None else str(group),
            role=own_role(None if split is None else str(split), f"{path}, row {at}"),
            error=UNREAD,
        )
        for at, (label, group, split) in enumerate(zip(written, groups, splits, strict=True))
    ]
    return rows, labels


def _plain(labels: Stored, path: Path) -> list[object]:
    shape = labels.shape
    if len(shape) == 2 and shape[1] > 1:
        raise refuse.multi_label(str(path), f"the array 'labels' has {shape[1]} columns")
    if len(shape) > 2:
        raise refuse.segmentation(str(path), f"the array 'labels' has the shape {shape}, one value per pixel")
    return labels.whole().reshape(-1).tolist()
