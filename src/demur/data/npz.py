"""NumPy archives: `npz:FILE` with the arrays `images`, `labels` and, if wanted, `groups` and `split`.

Images are (rows, height, width) or with channels last or first, as uint8, uint16 or floats in [0, 1]. The array of images is mapped
into memory, never loaded; a compressed one is first unpacked into a temporary file that vanishes with the process.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from demur.data import refuse, rules
from demur.data.archive import mapped
from demur.data.labels import Labels, labels_of
from demur.data.parts import part_of
from demur.data.pictures import Decoded, decoded
from demur.data.roles import own_role
from demur.data.rules import Rules
from demur.data.source import UNREAD, Row, path_of, spelled
from demur.errors import AddressError, DataError
from demur.registry import Address

_CHANNELS = (1, 3)


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Images in one array, (rows, height, width, channels); ids are positions.

    Attributes:
        images: a map of a file, read as it is used.
        listed: the rows, their images not read yet.
        places: where the image of each row lies in the array.
        rules: how an image becomes a tensor.
    """

    address: str
    classes: tuple[str, ...]
    input_shape: tuple[int, int, int]
    images: NDArray[Any]
    listed: tuple[Row, ...]
    places: tuple[int, ...]
    rules: Rules

    def __len__(self) -> int:
        return len(self.listed)

    def read(self, positions: Sequence[int]) -> Iterator[Row]:
        """The rows at these positions, in any order at the same cost."""
        for position in positions:
            picture = np.array(self.images[self.places[position]])
            yield self.listed[position].showing(*as_tensor(picture, self.input_shape[0], self.rules))


def open_source(address: Address) -> ArraySource:
    """Open an archive; nothing pickled in it is read."""
    address.only(("classes", "layout", "split", *rules.OPTIONS))
    path, options = path_of(address), address.options
    arrays = mapped(path, ("images", "labels", "groups", "split"))
    for name in ("images", "labels"):
        if name not in arrays:
            raise DataError(
                f"{path} has no array {name!r}; it has {', '.join(arrays) or 'none of those that are read'}."
            )
    images = channels_last(arrays["images"], options.get("layout"), path)
    rows, labels = _rows(path, arrays, len(images), options.get("classes"))
    kept = part_of(rows, options.get("split"), str(path))
    return array_source(spelled(address), labels.classes, images, [rows[at] for at in kept], kept, Rules.of(options))


def array_source(
    address: str,
    classes: Sequence[str],
    images: NDArray[Any],
    rows: Sequence[Row],
    places: Sequence[int],
    chosen: Rules,
) -> ArraySource:
    """A source over an array of images whose channels come last."""
    if images.dtype.kind == "f" and chosen != Rules():
        raise AddressError(
            f"{address}: images stored as floats are taken as they are, without size, crop, colour or full_scale. Store "
            "them as uint8 or uint16, or resize them before saving."
        )
    _, height, width, channels = images.shape
    shape = (chosen.channels or channels, *(chosen.size or (height, width)))
    return ArraySource(address, tuple(classes), shape, images, tuple(rows), tuple(places), chosen)


def as_tensor(picture: NDArray[Any], channels: int, chosen: Rules) -> Decoded:
    """One image (height, width, channels) as float32 (channels, height, width) in [0, 1], or why it cannot be."""
    if picture.dtype.kind == "f":
        return torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1).contiguous(), None
    if picture.dtype == np.uint16 and picture.shape[2] == 3:
        return None, "more than 8 bits per colour; store colour as uint8 or as floats in [0, 1]"
    return decoded(Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture), channels, chosen)


def channels_last(images: NDArray[Any], layout: str | None, path: Path) -> NDArray[Any]:
    """A view (rows, height, width, channels) of the array.

    Raises:
        DataError: a shape or type that no image has, or one that can be read in two ways.
    """
    if images.dtype not in (np.uint8, np.uint16) and images.dtype.kind != "f":
        raise DataError(f"the images of {path} are {images.dtype}; store uint8, uint16 or floats in [0, 1].")
    if images.ndim == 3:
        return images[..., np.newaxis]
    last, first = images.shape[-1] in _CHANNELS, images.ndim == 4 and images.shape[1] in _CHANNELS
    if images.ndim != 4 or not (last or first):
        raise DataError(
            f"the images of {path} have the shape {images.shape}; it must be (rows, height, width), or with 1 or 3 channels "
            "last or second."
        )
    if layout not in (None, "nhwc", "nchw"):
        raise AddressError(f"`layout` must be nhwc (channels last) or nchw (channels second); got {layout!r}.")
    if last and first and layout is None:
        raise DataError(
            f"the images of {path} have the shape {images.shape}: channels may be last or second. Write ?layout=nhwc or "
            "?layout=nchw."
        )
    return images if layout == "nhwc" or (last and layout is None) else images.transpose(0, 2, 3, 1)


def _rows(path: Path, arrays: dict[str, NDArray[Any]], count: int, declared: str | None) -> tuple[list[Row], Labels]:
    for name, array in arrays.items():
        if len(array) != count:
            raise DataError(f"{path} has {count} images and {len(array)} {name}; there must be one for each.")
    written = _plain(arrays["labels"], path)
    labels = labels_of(written, f"the array 'labels' of {path}", declared.split(",") if declared else ())
    groups = arrays["groups"].tolist() if "groups" in arrays else [None] * count
    splits = arrays["split"].tolist() if "split" in arrays else [None] * count
    return [
        Row(
            f"{at:06d}",
            None,
            labels.number(label, f"{path}, row {at}"),
            group=None if group is None else str(group),
            role=own_role(split, f"{path}, row {at}"),
            error=UNREAD,
        )
        for at, (label, group, split) in enumerate(zip(written, groups, splits, strict=True))
    ], labels


def _plain(labels: NDArray[Any], path: Path) -> list[object]:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2:
        raise refuse.multi_label(str(path), f"the array 'labels' has {labels.shape[1]} columns")
    if labels.ndim > 2:
        raise refuse.segmentation(str(path), f"the array 'labels' has the shape {labels.shape}, one value per pixel")
    return labels.tolist()
