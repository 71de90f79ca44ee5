"""Folders of IDX files, the layout of MNIST and its descendants: `idx:FOLDER?split=train|test`."""

import gzip
import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from demur.class_names import class_list
from demur.data.source import Row, by_address
from demur.data.table_columns import labels_of
from demur.errors import DataError
from demur.registry import Address
from demur.registry.regular_files import MIB

_PACKED = 200
_HARMLESS = 256 * MIB
_STEMS = {"train": "train", "test": "t10k"}


@dataclass(frozen=True, eq=False)
class IdxSource:
    """Grey images held as bytes, (rows, height, width), and made floats as they are read."""

    address: str
    classes: tuple[str, ...]
    split: str
    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """One channel, height, width."""
        return (1, self.images.shape[1], self.images.shape[2])

    def __reduce__(self) -> tuple[Any, ...]:
        return by_address(self)

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, positions: Sequence[int]) -> Iterator[Row]:
        """The rows at these positions; ids are `split/position`."""
        for position in positions:
            image = torch.from_numpy(self.images[position].astype(np.float32) / 255).unsqueeze(0)
            yield Row(f"{self.split}/{position:05d}", image, int(self.labels[position]))


def open_source(address: Address) -> IdxSource:
    """Open a folder; classes are named by `classes=a,b,…`, else by their numbers."""
    address.only(("split", "classes", "first_label"))
    split = address.options.get("split", "test")
    if split not in _STEMS:
        raise DataError(f"`split` of an IDX folder is 'train' or 'test'; got {split!r}.")
    names = address.options.get("classes")
    others = "".join(f"&{key}={address.options[key]}" for key in ("classes", "first_label") if key in address.options)
    name = f"idx:{address.location}?split={split}{others}"
    found = open_idx(Path(address.location), split, name, class_list(names) if names else None)
    return _from_first(found, address)


def _from_first(source: IdxSource, address: Address) -> IdxSource:
    """The source with labels from 0 on, wherever they begin in its file."""
    where = f"the labels of {address.location}"
    declared = source.classes if "classes" in address.options else ()
    labels = labels_of(source.labels.tolist(), where, declared, address.options)
    if not labels.first:
        return source
    labels.number(int(source.labels.min(initial=labels.first)), where)  # none lies before the first
    return replace(source, labels=source.labels - np.uint8(labels.first), classes=labels.classes)


def open_idx(folder: Path, split: str, address: str, classes: tuple[str, ...] | None = None) -> IdxSource:
    """Read the image and the label file of one split into memory, as bytes."""
    images = _read(_find(folder, f"{_STEMS[split]}-images-idx3-ubyte"), axes=3)
    labels = _read(_find(folder, f"{_STEMS[split]}-labels-idx1-ubyte"), axes=1)
    if len(images) != len(labels):
        raise DataError(
            f"the {split} split of {folder} has {len(images)} images and {len(labels)} labels; there must be one label "
            "per image. Fetch both files again."
        )
    numbered = tuple(str(number) for number in range(int(labels.max(initial=0)) + 1))
    return IdxSource(address, classes or numbered, split, images, labels)


def _find(folder: Path, name: str) -> Path:
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    raise DataError(
        f"{folder} has no file {name} or {name}.gz; an IDX folder holds train-images-idx3-ubyte, "
        "train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, plain or gzipped. "
        "Check the path, or the split."
    )


def _read(path: Path, axes: int) -> NDArray[np.uint8]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            shape = _shape(file.read(4 + 4 * axes), axes, path)
            content = file.read(math.prod(shape) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}. Fetch the file again.") from None
    if len(content) != math.prod(shape):
        held = "more" if len(content) > math.prod(shape) else f"{len(content)}: it is cut short"
        raise DataError(f"{path} announces {shape} bytes and holds {held}. Fetch it again.")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def _shape(head: bytes, axes: int, path: Path) -> tuple[int, ...]:
    if head[:4] != bytes((0, 0, 8, axes)) or len(head) < 4 + 4 * axes:
        raise DataError(
            f"{path} is not an IDX file of bytes with {axes} axes: it must start with 000008{axes:02x} and starts with "
            f"{head[:4].hex() or 'nothing'}. Check that the file is what its name says."
        )
    shape = struct.unpack(f">{axes}I", head[4:])
    size, packed = math.prod(shape), path.stat().st_size
    if size > packed and (path.suffix != ".gz" or size > max(_HARMLESS, _PACKED * packed)):
        raise DataError(
            f"{path} announces {shape} bytes and has {packed:,}: it is cut short, or made to fill the memory. Fetch it "
            "again."
        )
    if min(shape[1:], default=1) < 1:
        raise DataError(f"{path} announces {shape} bytes, in which an image has no pixels. Fetch it again.")
    return shape
