"""Images that lie as plain numbers in a file, each read when it is wanted."""

import os
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from demur.data.band_images import from_bands
from demur.data.compact_rows import CompactRows
from demur.data.decoding import Decoded, decode_picture
from demur.data.source import Row, by_address
from demur.errors import AddressError, DataError
from demur.pictures.decode_rules import Rules
from demur.registry.regular_files import reason

Fetch: TypeAlias = Callable[[int], NDArray[Any]]
"""The image at a position, (height, width, channels) of uint8, uint16 or floats in [0, 1]."""


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Rows whose images are fetched from a file.

    Attributes:
        listed: the rows, their images not read yet.
        fetch: reads the image at a position.
        rules: how it becomes a tensor.
    """

    address: str
    classes: tuple[str, ...]
    input_shape: tuple[int, int, int]
    listed: CompactRows
    fetch: Fetch
    rules: Rules

    def __reduce__(self) -> tuple[Any, ...]:
        return by_address(self)

    def __len__(self) -> int:
        return len(self.listed)

    def read(self, positions: Sequence[int]) -> Iterator[Row]:
        """The rows at these positions, in any order at the same cost."""
        for position in positions:
            yield self.listed.with_image(position, *self._image(position))

    def _image(self, position: int) -> Decoded:
        try:
            picture = self.fetch(position)
        except OSError as error:
            return None, f"cannot read the file: {reason(error)}"
        return as_tensor(picture, self.input_shape[0], self.rules)


def array_source(
    address: str, classes: Sequence[str], shape: tuple[int, int, int], listed: Iterable[Row], fetch: Fetch, rules: Rules
) -> ArraySource:
    """A source over stored images of the shape (height, width, channels)."""
    height, width, channels = shape
    after = (rules.channels or channels, *(rules.size or (height, width)))
    return ArraySource(address, tuple(classes), after, CompactRows.of(listed), fetch, rules)


def check_rules(address: str, dtype: np.dtype[Any], rules: Rules) -> None:
    """Floats are taken as they are."""
    if dtype.kind == "f" and rules != Rules():
        raise AddressError(
            f"{address}: images stored as floats are taken as they are, without size, crop, colour or full_scale. "
            "Store them as uint8 or uint16, or resize them before saving."
        )


def as_tensor(picture: NDArray[Any], channels: int, rules: Rules) -> Decoded:
    """One stored image as float32 (channels, height, width) in [0, 1], or why it cannot be."""
    if picture.dtype.kind == "f":
        return torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1).contiguous(), None
    if picture.shape[2] not in (1, 3) or (picture.dtype == np.uint16 and picture.shape[2] == 3):
        return from_bands(picture.transpose(2, 0, 1), channels, rules)
    flat = picture[..., 0] if picture.shape[2] == 1 else picture
    return decode_picture(Image.fromarray(np.ascontiguousarray(flat)), channels, rules)


@dataclass(frozen=True, eq=False)
class FileHandle:
    """An open file, closed when it is needed no more; safe in several threads."""

    descriptor: int

    def __call__(self, start: int, size: int) -> bytes:
        """So many bytes from a place on."""
        content = os.pread(self.descriptor, size, start)
        if len(content) < size:
            raise OSError("the file has become shorter while it was read")
        return content


@dataclass(frozen=True, eq=False)
class Spool:
    """Encoded images one after the other in a file without a name; image k lies between two neighbouring offsets."""

    file: FileHandle
    offsets: NDArray[np.int64]

    def __call__(self, position: int) -> bytes:
        """The encoded image at a position."""
        start, stop = (int(offset) for offset in self.offsets[position : position + 2])
        return self.file(start, stop - start)


def keep_open(file: BinaryIO) -> FileHandle:
    """Keep a file open beyond its own closing."""
    mine = FileHandle(os.dup(file.fileno()))
    weakref.finalize(mine, os.close, mine.descriptor)
    return mine


def spool(contents: Iterable[bytes]) -> Spool:
    """Copy images into the temporary folder, the one that `TMPDIR` names.

    Raises:
        DataError: the disk is full.
    """
    try:
        with tempfile.TemporaryFile(prefix="demur-") as file:
            lengths = [file.write(content) for content in contents]
            file.flush()
            return Spool(keep_open(file), np.cumsum([0, *lengths], dtype=np.int64))
    except OSError as error:
        raise DataError(
            f"cannot copy the images to the temporary folder {tempfile.gettempdir()}: {error.strerror}. Free some "
            "space there, or name another folder in TMPDIR."
        ) from None
