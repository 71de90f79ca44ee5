"""TIFF files of many bands, or of more than 8 bits per colour, which Pillow cuts down or refuses.

Strips and tiles, bands side by side or one after the other, unpacked or packed by Deflate, LZW or PackBits.
TIFF 6.0 (Adobe, 1992), and BigTIFF.
"""

import math
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _OFFSETS, _SAMPLES, _ROWS, _COUNTS = 256, 257, 258, 259, 273, 277, 278, 279
_PLANAR, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_COUNTS, _EXTRA, _FORMAT = (
    284, 317, 322, 323, 324, 325, 338, 339,
)  # fmt: skip
_SIZES = {1: "B", 3: "H", 4: "I", 16: "Q"}  # bytes, short, long and long8: all that the tags above are made of
_KINDS = {(8, 1): "u1", (16, 1): "u2", (32, 1): "u4", (16, 2): "i2", (32, 2): "i4", (32, 3): "f4", (64, 3): "f8"}
_NONE, _LZW, _DEFLATE, _OLD_DEFLATE, _PACK_BITS = 1, 5, 8, 32946, 32773
_SEPARATE, _DIFFERENCES = 2, 2
_MOST_TAGS, _MOST_BLOCKS, MOST_BANDS = 4_096, 1_000_000, 1_024
_TRANSPARENT = {1, 2}


@dataclass(frozen=True, kw_only=True)
class Head:
    """What a TIFF file says of its first image."""

    order: str
    tags: Mapping[int, tuple[int, ...]]

    def one(self, tag: int, usual: int) -> int:
        """The value of a tag, or the first of several."""
        return self.tags.get(tag, (usual,))[0]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, height, width."""
        return (self.one(_SAMPLES, 1), self.one(_HEIGHT, 0), self.one(_WIDTH, 0))

    @property
    def has_bands(self) -> bool:
        """Whether it is more than Pillow can show: deep colour, or samples that are neither colour nor transparency."""
        samples, bits, extra = self.one(_SAMPLES, 1), max(self.tags.get(_BITS, (1,))), self.tags.get(_EXTRA, ())
        return samples > 1 and (bits > 8 or samples > 4 or (len(extra) > 0 and not set(extra) & _TRANSPARENT))

    @property
    def is_shallow(self) -> bool:
        """Whether Pillow shows the colours among the bands and leaves the rest out."""
        return self.one(_SAMPLES, 1) <= 4 and max(self.tags.get(_BITS, (1,))) <= 8

    @property
    def is_transparent(self) -> bool:
        """Whether a sample is transparency."""
        return bool(set(self.tags.get(_EXTRA, ())) & _TRANSPARENT)


def head_of(content: bytes) -> Head | None:
    """The head of a TIFF file of bands; None where it is another file, or one that Pillow shows.

    Raises:
        ValueError: the file is damaged.
    """
    order = {b"II": "<", b"MM": ">"}.get(content[:2])
    if order is None or len(content) < 16:
        return None
    magic = struct.unpack_from(f"{order}H", content, 2)[0]
    if magic not in (42, 43):
        return None
    try:
        head = Head(order=order, tags=dict(_tags(content, order, big=magic == 43)))
    except struct.error as error:
        raise ValueError("the TIFF file is cut short") from error
    return head if head.has_bands else None


def _tags(content: bytes, order: str, *, big: bool) -> Iterator[tuple[int, tuple[int, ...]]]:
    start = struct.unpack_from(f"{order}Q" if big else f"{order}I", content, 8 if big else 4)[0]
    number, entry, value = (f"{order}Q", f"{order}HHQ", 8) if big else (f"{order}H", f"{order}HHI", 4)
    count = struct.unpack_from(number, content, start)[0]
    if count > _MOST_TAGS:
        raise ValueError(f"a TIFF file with {count:,} tags")
    for at in range(count):
        place = start + struct.calcsize(number) + at * (struct.calcsize(entry) + value)
        tag, kind, items = struct.unpack_from(entry, content, place)
        if kind not in _SIZES or items > _MOST_BLOCKS:
            continue
        size = struct.calcsize(f"<{items}{_SIZES[kind]}")
        inside = place + struct.calcsize(entry)
        if size > value:
            inside = struct.unpack_from(f"{order}Q" if big else f"{order}I", content, inside)[0]
        if items:
            yield tag, struct.unpack_from(f"{order}{items}{_SIZES[kind]}", content, inside)


def bands_of(content: bytes, head: Head) -> NDArray[Any]:
    """The values of the first image, (bands, height, width), as they are stored.

    Raises:
        ValueError: it is damaged, or packed or counted in a way that is not read.
    """
    bands, height, width = head.shape
    dtype = _dtype(head)
    separate = head.one(_PLANAR, 1) == _SEPARATE
    if not (1 <= bands <= MOST_BANDS and height and width):
        raise ValueError(f"a TIFF file of {bands:,} bands of {height} × {width} pixels")
    planes, inside = (bands, 1) if separate else (1, bands)
    whole = np.zeros((planes, height, width, inside), dtype.newbyteorder("="))
    for plane, top, left, block in _blocks(content, head, (planes, height, width, inside), dtype):
        part = whole[plane, top : top + block.shape[0], left : left + block.shape[1]]
        part[:] = block[: part.shape[0], : part.shape[1]]
    return whole[..., 0] if separate else whole[0].transpose(2, 0, 1)


def _dtype(head: Head) -> np.dtype[Any]:
    bits, formats = set(head.tags.get(_BITS, (1,))), set(head.tags.get(_FORMAT, (1,)))
    kind = _KINDS.get((min(bits), min(formats)))
    if len(bits) > 1 or len(formats) > 1 or kind is None:
        raise ValueError(f"samples of {', '.join(map(str, sorted(bits)))} bits and format {min(formats)} are not read")
    return np.dtype(f"{head.order}{kind}")


def _blocks(
    content: bytes, head: Head, shape: tuple[int, int, int, int], dtype: np.dtype[Any]
) -> Iterator[tuple[int, int, int, NDArray[Any]]]:
    """Plane, first line, first column and values of every strip or tile."""
    planes, height, width, inside = shape
    tiled = _TILES in head.tags
    high = head.one(_TILE_HEIGHT, 0) if tiled else min(head.one(_ROWS, height), height)
    wide = head.one(_TILE_WIDTH, 0) if tiled else width
    if not (1 <= high <= 65_536 and 1 <= wide <= 65_536 * 4):
        raise ValueError(f"blocks of {high} × {wide} pixels")
    starts, counts = (head.tags.get(tag, ()) for tag in ((_TILES, _TILE_COUNTS) if tiled else (_OFFSETS, _COUNTS)))
    down, across = math.ceil(height / high), math.ceil(width / wide)
    if len(starts) != planes * down * across or len(counts) != len(starts):
        raise ValueError(f"{len(starts)} blocks where {planes * down * across} are needed")
    for at, (start, count) in enumerate(zip(starts, counts, strict=True)):
        plane, place = divmod(at, down * across)
        top, left = place // across * high, place % across * wide
        rows = high if tiled else min(high, height - top)
        values = np.frombuffer(
            _unpacked(content[start : start + count], head, rows * wide * inside * dtype.itemsize), dtype
        )
        yield plane, top, left, _summed(values.reshape(rows, wide, inside), head)


def _unpacked(packed: bytes, head: Head, size: int) -> bytes:
    """The bytes of a block, no more than it has room for."""
    compression = head.one(_COMPRESSION, _NONE)
    if compression == _NONE:
        plain = packed[:size]
    elif compression in (_DEFLATE, _OLD_DEFLATE):
        plain = zlib.decompressobj().decompress(packed, size)
    elif compression == _LZW:
        plain = _from_lzw(packed, size)
    elif compression == _PACK_BITS:
        plain = _from_pack_bits(packed, size)
    else:
        raise ValueError(
            f"TIFF compression {compression} of bands is not read; save it with Deflate or LZW, or without"
        )
    if len(plain) < size:
        raise ValueError("a block of the TIFF file is cut short")
    return plain


def _summed(values: NDArray[Any], head: Head) -> NDArray[Any]:
    """Values in place of the differences between neighbours."""
    predictor = head.one(_PREDICTOR, 1)
    if predictor not in (1, _DIFFERENCES):
        raise ValueError(f"TIFF predictor {predictor} is not read; save it with predictor 2, or without")
    plain = values.astype(values.dtype.newbyteorder("="))
    return plain if predictor == 1 else np.cumsum(plain, axis=1, dtype=plain.dtype)


def _from_pack_bits(packed: bytes, size: int) -> bytes:
    found, at = bytearray(), 0
    while at < len(packed) and len(found) < size:
        count = packed[at]
        if count < 128:
            found += packed[at + 1 : at + 2 + count]
            at += 2 + count
        else:
            found += packed[at + 1 : at + 2] * (257 - count if count > 128 else 0)
            at += 2 if count > 128 else 1
    return bytes(found[:size])


def _from_lzw(packed: bytes, size: int) -> bytes:
    """Codes of 9 to 12 bits, most significant bit first; 256 clears the table, 257 ends."""
    found = bytearray()
    table: list[bytes] = []
    before = b""
    for code in _codes(packed, table):
        if code == 256:
            table[:] = [bytes([value]) for value in range(256)] + [b"", b""]
            before = b""
            continue
        if code == 257 or len(found) >= size:
            break
        if code > len(table) or (code == len(table) and not before):
            raise ValueError("a code of the TIFF file is in no table")
        entry = table[code] if code < len(table) else before + before[:1]
        found += entry
        if before:
            table.append(before + entry[:1])
        before = entry
    return bytes(found[:size])


def _codes(packed: bytes, table: Sequence[bytes]) -> Iterator[int]:
    """The codes, as wide as the table is long when each is read: it widens one code early, as TIFF does."""
    held, bits = 0, 0
    for byte in packed:
        held, bits = (held << 8 | byte), bits + 8
        # the entry for the code before this one is added after it was read
        wide = min(12, max(9, (len(table) + 1).bit_length()))
        if bits >= wide:
            bits -= wide
            yield held >> bits
            held &= (1 << bits) - 1
