"""Tensors of the Open Inference Protocol: in JSON and in its binary extension.

Binary tensors are little-endian in row-major order; a BYTES element is its length (4 bytes) and its content; a BOOL is
one byte. Open Inference Protocol v2 (KServe, 2023) and the binary tensor data extension (Triton).
"""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.serve.http_errors import RequestError
from demur.serve.json_answers import finite

HEADER = "Inference-Header-Content-Length"
"""The header that says how many bytes of a body are JSON; the rest are binary tensors."""

_DTYPES = {"BOOL": "<u1", "FP32": "<f4", "FP64": "<f8", "INT64": "<i8"}
_MOST_AXES = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Tensor:
    """A named tensor.

    Attributes:
        name: how it is called.
        datatype: of the protocol, such as FP32.
        shape: of it.
        values: flat, in row-major order: numbers, or a list of bytes.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: "NDArray[Any] | Sequence[bytes]"

    @property
    def packed(self) -> bytes:
        """As binary tensor data."""
        if self.datatype == "BYTES":
            return b"".join(struct.pack("<I", len(value)) + value for value in self.values)
        return np.ascontiguousarray(self.values, _DTYPES[self.datatype]).tobytes()

    @property
    def listed(self) -> list[Any]:
        """As a flat list of JSON; texts of BYTES, and null for numbers that are not finite."""
        if self.datatype == "BYTES":
            return [value.decode("utf-8") for value in self.values]
        values = np.asarray(self.values).ravel()
        if self.datatype == "BOOL":
            return values.astype(bool).tolist()
        return [finite(value) for value in values] if values.dtype.kind == "f" else values.tolist()


def json_length(header: str | None, content: bytes) -> int:
    """How many bytes of a body are JSON.

    Raises:
        RequestError: 400, the header is no number, or larger than the body.
    """
    if header is None:
        return len(content)
    if not header.isascii() or not header.isdigit() or len(header) > 12 or int(header) > len(content):
        raise RequestError(
            400,
            f"{HEADER} must be how many bytes of the body are JSON, from 0 to {len(content)}, the length of the body; "
            f"got {header[:40]!r}. Count the bytes of the JSON object in front of the binary tensors.",
        )
    return int(header)


def shape_of(name: str, stored: object) -> tuple[int, ...]:
    """A shape.

    Raises:
        RequestError: 422, it is none.
    """
    if not (
        isinstance(stored, list)
        and 0 < len(stored) <= _MOST_AXES
        and all(isinstance(size, int) and not isinstance(size, bool) and 0 < size < 2**31 for size in stored)
    ):
        raise RequestError(
            422,
            f"the `shape` of input {name!r} is a list of sizes, one image at the least, such as [1, 1, 28, 28]; got "
            f"{str(stored)[:60]!r}.",
        )
    return tuple(stored)


def binary_size(name: str, parameters: Mapping[str, Any]) -> int | None:
    """How many bytes of binary data an input has; None where it comes in JSON.

    Raises:
        RequestError: 422, it is no number of bytes.
    """
    size = parameters.get("binary_data_size")
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
        raise RequestError(422, f"`binary_data_size` of input {name!r} is a number of bytes; got {str(size)[:40]!r}.")
    return size


def floats_of_bytes(name: str, shape: tuple[int, ...], content: bytes) -> NDArray[np.float32]:
    """An FP32 tensor of binary data.

    Raises:
        RequestError: 422, there are too many or too few bytes.
    """
    wanted = 4 * math.prod(shape)
    if len(content) != wanted:
        raise RequestError(
            422,
            f"FP32 input {name!r} of shape {list(shape)} has {wanted:,} bytes; got {len(content):,}. Correct its shape "
            f"or its binary_data_size, and see that {HEADER} is the length of the JSON alone.",
        )
    return np.frombuffer(content, "<f4").reshape(shape)


def floats_of_json(name: str, shape: tuple[int, ...], data: object) -> NDArray[np.float32]:
    """An FP32 tensor of numbers in JSON, nested or flat.

    Raises:
        RequestError: 422, they are no numbers, or not as many as the shape says.
    """
    try:
        found = np.array(data, np.float64) if isinstance(data, list) and _is_numbers(data) else None
    except (ValueError, TypeError, OverflowError):
        found = None
    if found is None or found.size != math.prod(shape):
        got = "no list of numbers" if found is None else f"{found.size:,} numbers"
        raise RequestError(
            422,
            f"FP32 input {name!r} of shape {list(shape)} has {math.prod(shape):,} numbers in `data`; got {got}. "
            f"Correct the one or the other; binary data need the header {HEADER} and the parameter binary_data_size.",
        )
    return found.astype(np.float32).reshape(shape)


def _is_numbers(data: list[Any]) -> bool:
    """Whether lists, nested or not, hold numbers alone: numpy would take texts and booleans for some."""
    while (kinds := set(map(type, data))) == {list}:
        data = list(chain.from_iterable(data))
    return kinds <= {int, float}


def elements_of_bytes(name: str, count: int, content: bytes) -> list[bytes]:
    """A BYTES tensor of binary data.

    Raises:
        RequestError: 422, the lengths of its elements do not fill it.
    """
    found, place = list[bytes](), 0
    while place + 4 <= len(content) and len(found) < count:
        length = struct.unpack_from("<I", content, place)[0]
        if place + 4 + length > len(content):
            break
        found.append(content[place + 4 : place + 4 + length])
        place += 4 + length
    if len(found) != count or place != len(content):
        raise RequestError(
            422,
            f"BYTES input {name!r} has {count} elements, each its length in 4 bytes (little-endian) and its content; "
            f"they end at byte {place:,} of {len(content):,}, after {len(found)}. See that {HEADER} is the length of "
            "the JSON alone, and binary_data_size that of the tensor.",
        )
    return found
