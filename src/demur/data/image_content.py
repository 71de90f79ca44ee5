"""What an image is known by: the hash of its decoded pixels, by which it is also known again."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import SupportsIndex, overload

from torch import Tensor

from demur.data.source import Row, check_shape
from demur.errors import DataError

_ROUNDING = 1e-6  # how far resizing may push a pixel out of [0, 1]

_SIZE = 32  # bytes of a hash


class Contents(Sequence[str]):
    """Hashes of rows, kept as 32 bytes each instead of 113 as text; they are read as text.

    Args:
        hashes: SHA-256 in hexadecimal digits, row by row.
    """

    __slots__ = ("_packed",)

    def __init__(self, hashes: Iterable[str]) -> None:
        packed = bytearray()
        for each in hashes:
            packed += bytes.fromhex(each)
        self._packed = bytes(packed)

    def __len__(self) -> int:
        return len(self._packed) // _SIZE

    def __iter__(self) -> Iterator[str]:
        return (self._packed[at : at + _SIZE].hex() for at in range(0, len(self._packed), _SIZE))

    @overload
    def __getitem__(self, row: SupportsIndex) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> tuple[str, ...]: ...
    def __getitem__(self, row: SupportsIndex | slice) -> str | tuple[str, ...]:
        rows = range(len(self))[row]
        if isinstance(rows, range):
            return tuple(self[each] for each in rows)
        return self._packed[rows * _SIZE : (rows + 1) * _SIZE].hex()

    def __eq__(self, other: object) -> bool:
        return self._packed == other._packed if isinstance(other, Contents) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._packed)


def content_of(row: Row) -> str:
    """SHA-256 of the decoded pixels of a row and their shape; of its id where it could not be read.

    Raises:
        DataError: pixels lie outside [0, 1].
    """
    if row.image is None:
        return digest(f"unreadable\x1f{row.sample_id}".encode())
    low, high = row.image.aminmax()
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
        way_out = "They look like bytes: divide by 255." if high > 2 and low >= 0 else "Give them before normalisation."
        raise DataError(
            f"image {row.sample_id!r} has pixels from {float(low):g} to {float(high):g}; images must lie in [0, 1]. "
            f"{way_out}"
        )
    inside = row.image if low >= 0 and high <= 1 else row.image.clamp(0, 1)
    pixels = inside.contiguous().numpy()
    return digest(repr(pixels.shape).encode() + pixels.tobytes())


def mark_of(row: Row) -> str | None:
    """SHA-256 of the pixels that the object of a row covers, None where they are not known."""
    mark = row.mark
    return None if mark is None else digest(mark.numpy().tobytes())


def digest(content: bytes) -> str:
    """SHA-256, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def still_the_same(row: Row, input_shape: tuple[int, int, int], content: str) -> Tensor:
    """The image of a row that was read before: what has gone or changed since must not be measured as if it had not.

    Raises:
        DataError: it cannot be read any more, or is another image.
    """
    if row.image is None or tuple(row.image.shape) != tuple(input_shape):
        raise DataError(
            f"image {row.sample_id!r} could be read when this run began and cannot be read any more: "
            f"{check_shape(row, input_shape).error}. Bring it back, and the same command continues."
        )
    if content_of(row) != content:
        raise DataError(
            f"image {row.sample_id!r} is another one than when this run began: its pixels differ. Bring it back, and "
            "the same command continues; for the image as it is now, begin a new run, with a new index if it has one."
        )
    return row.image


def still_marked(row: Row, mark: str | None) -> Tensor:
    """The pixels of the object, bool (height, width), of a row that was read before and had some.

    Raises:
        DataError: they are others now.
    """
    if row.mark is None or mark_of(row) != mark:
        raise DataError(
            f"the object of image {row.sample_id!r} is marked otherwise than when this run began. Bring its mask "
            "back, and the same command continues; for the one as it is now, begin a new run, with a new index if it "
            "has one."
        )
    return row.mark
