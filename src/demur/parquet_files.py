"""Parquet files from outside: their columns, once it is known that unpacking them does not fill the memory.

How much a file unpacks to is told by the heads of its pages, before any of them is unpacked. A footer at the end says
where the pages of each column begin; each page is led by a head with its size, packed and unpacked. Both are structs
of Thrift's compact protocol: fields with a number and a type, whole numbers by seven bits.
"""

import io
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl

from demur.errors import DataError
from demur.registry.regular_files import MIB

DAMAGED = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
"""What reading a file that is not whole raises."""

PACKED = 200
"""How many times its size a file may unpack to."""

_ROWS = 20_000_000
_REPEATED = 1_000
_HARMLESS = 128 * MIB
_LARGEST_FOOTER = 16 << 20
_DEEPEST = 16

_ROW_GROUPS, _CHUNKS, _FACTS = 4, 1, 3  # of the file, of a row group, of a column's part in it
_SIZE, _DATA_AT, _DICTIONARY_AT = 7, 9, 11  # among its facts
_UNPACKED, _PACKED = 2, 3  # of a page

Struct = Mapping[int, Any]


def parquet_schema(path: Path, content: str) -> pl.Schema:
    """The columns of a file of which nothing was unpacked yet.

    Args:
        path: the file.
        content: what it should hold, for the message that it is not there.

    Raises:
        DataError: no such file, not whole, or one that unpacks to far more than its size.
    """
    if not path.is_file():
        raise DataError(f"there is no file {path}; expected a Parquet file {content}. Check the path.")
    try:
        scan = pl.scan_parquet(path, glob=False)
        schema = scan.collect_schema()
        rows = int(scan.select(pl.len()).collect().item())
        unpacked = unpacked_size(path)
    except (*DAMAGED, ValueError) as error:
        raise damage(path, error) from None
    if unpacked > room_of(path):
        raise DataError(
            f"{path} unpacks to {unpacked:,} bytes, more than {PACKED} times its size, as only files made to fill the "
            "memory do. Write it again."
        )
    if rows > min(_ROWS, max(_ROWS // 20, _REPEATED * path.stat().st_size)):
        raise DataError(
            f"{path} announces {rows:,} rows, more than its size allows for or than are read ({_ROWS:,}). Write it "
            "again, or as several files."
        )
    return schema


def room_of(path: Path) -> int:
    """The bytes that a file may unpack to without being one that is made to fill the memory."""
    return max(_HARMLESS, PACKED * path.stat().st_size)


def damage(path: Path, error: BaseException) -> DataError:
    """A file that is not what its name says."""
    return DataError(
        f"cannot read {path} as Parquet: {str(error).partition(chr(10))[0]}. Check that the file is whole."
    )


def unpacked_size(path: Path) -> int:
    """Bytes that all pages of a file unpack to.

    Raises:
        ValueError: the footer or the head of a page is none.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        end = file.seek(0, io.SEEK_END)
        file.seek(max(0, end - 8))
        tail = file.read(8)
        size = int.from_bytes(tail[:4], "little")
        if tail[4:] != b"PAR1" or size > min(end - 8, _LARGEST_FOOTER):
            raise ValueError(f"its footer is none or has more than {_LARGEST_FOOTER:,} bytes")
        file.seek(end - 8 - size)
        return sum(_pages(file, _struct(io.BytesIO(file.read(size)))))


def _pages(file: BinaryIO, footer: Struct) -> Iterator[int]:
    for group in footer.get(_ROW_GROUPS, ()):
        for chunk in group.get(_CHUNKS, ()):
            facts = chunk.get(_FACTS, {})
            at = min(facts.get(field, 1 << 63) for field in (_DATA_AT, _DICTIONARY_AT) if facts.get(field) != 0)
            stop = at + facts.get(_SIZE, 0)
            while at < stop:
                file.seek(at)
                page = _struct(file)
                at = file.tell() + _size(page.get(_PACKED))
                yield _size(page.get(_UNPACKED))


def _size(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError("a page has no size")
    return value


def _struct(file: BinaryIO, depth: int = 0) -> Struct:
    if depth > _DEEPEST:
        raise ValueError("it is nested too deep")
    fields: dict[int, Any] = {}
    number = 0
    while (head := _bytes(file, 1)[0]) != 0:
        number = number + (head >> 4) if head >> 4 else _signed(file)
        kind = head & 15
        fields[number] = kind == 1 if kind in {1, 2} else _value(file, kind, depth)
    return fields


def _value(file: BinaryIO, kind: int, depth: int) -> Any:
    if kind in {9, 10}:
        return _list(file, depth + 1)
    if kind == 12:
        return _struct(file, depth + 1)
    if kind not in _PLAIN:
        raise ValueError(f"it has a field of the type {kind}")
    return _PLAIN[kind](file)


def _list(file: BinaryIO, depth: int) -> list[Any]:
    head = _bytes(file, 1)[0]
    count, kind = head >> 4, head & 15
    if count == 15:
        count = _unsigned(file)
    if count > _LARGEST_FOOTER or depth > _DEEPEST:
        raise ValueError("it holds a list that is longer than itself")
    return [_value(file, 3 if kind in {1, 2} else kind, depth) for _ in range(count)]


def _bytes(file: BinaryIO, count: int) -> bytes:
    found = file.read(count)
    if len(found) < count:
        raise ValueError("it is cut short")
    return found


def _unsigned(file: BinaryIO) -> int:
    number = shift = 0
    while True:
        byte = _bytes(file, 1)[0]
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return number
        if shift > 63:
            raise ValueError("it holds a number that is none")


def _signed(file: BinaryIO) -> int:
    number = _unsigned(file)
    return (number >> 1) ^ -(number & 1)


_PLAIN: Mapping[int, Callable[[BinaryIO], Any]] = {
    3: lambda file: _bytes(file, 1)[0],
    4: _signed,
    5: _signed,
    6: _signed,
    7: lambda file: struct.unpack("<d", _bytes(file, 8))[0],
    8: lambda file: _bytes(file, min(_unsigned(file), _LARGEST_FOOTER)),
}
"""How values that hold no others are read, by their type."""
