"""NumPy archives: `npz:FILE` with the arrays `images`, `labels` and, if wanted, `groups` and `split`; never pickled."""

import lzma
import math
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from demur.class_names import class_list
from demur.compact import Places
from demur.data.array_files import ArraySource, FileHandle, array_source, check_rules, keep_open
from demur.data.compact_rows import CompactRows
from demur.data.decoding import HOSTILE
from demur.data.source import UNREAD, Row, path_of
from demur.data.table_columns import Labels, labels_of, rows_in_split
from demur.data.task_refusals import multi_label, segmentation
from demur.data.tiff_bands import MOST_BANDS
from demur.errors import AddressError, DataError, legible
from demur.pictures.decode_rules import DECODE_OPTIONS, Rules
from demur.registry import Address
from demur.registry.regular_files import MIB
from demur.splits import own_split

_LOCAL_HEADER = 30
_DAMAGED = (*HOSTILE, zipfile.BadZipFile, lzma.LZMAError)
_MEMBERS = 10_000
_PACKED = 200  # real images come down to a fifth or, when they are flat, a fiftieth
_HARMLESS = 256 * MIB
_READ = "biufUS"


@dataclass(frozen=True, eq=False)
class StoredArray:
    """An array in a file; called with a position, it reads that item."""

    file: FileHandle
    start: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return self.shape[0]

    def __call__(self, position: int) -> NDArray[Any]:
        """The item at a position."""
        return self._read(position, 1).reshape(self.shape[1:])

    def whole(self) -> NDArray[Any]:
        """All of it."""
        return self._read(0, len(self))

    def _read(self, position: int, count: int) -> NDArray[Any]:
        size = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        content = self.file(self.start + position * size, count * size)
        return np.frombuffer(content, self.dtype).reshape(count, *self.shape[1:])


def archive_arrays(path: Path, names: Sequence[str]) -> dict[str, StoredArray]:
    """Those arrays of an archive that it has; a compressed one is unpacked into a temporary file.

    Raises:
        DataError: no archive, a damaged one, or an array of Python objects.
    """
    if path.exists() and not path.is_file():
        raise DataError(f"cannot read {path} as an NPZ archive: it is no regular file. Name the file itself.")
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive, path)
            return {name: _array(path, archive, members[name]) for name in names if name in members}
    except _DAMAGED as error:
        raise DataError(
            f"cannot read {path} as an NPZ archive: {error}. Write it with numpy.savez(file, images=…, labels=…)."
        ) from None


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    found = archive.infolist()
    counts = Counter(info.filename.removesuffix(".npy") for info in found)
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice or len(found) > _MEMBERS:
        what = f"{twice[0]!r} twice" if twice else f"{len(found):,} arrays"
        raise DataError(f"{path} holds {what}, and nobody can tell which is meant. Write it again with numpy.savez.")
    return {info.filename.removesuffix(".npy"): info for info in found}


def _array(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> StoredArray:
    """An array of an archive, read through once, since only that tells whether its bytes are those written."""
    with archive.open(info) as packed:
        _header(packed, 0, info, path)
    _check_packing(path, info)
    with archive.open(info) as packed:
        if info.compress_type == zipfile.ZIP_STORED:
            while packed.read(MIB):
                pass
            with path.open("rb") as file:
                return _stored_array(file, _start(file, info), info, path)
        with tempfile.TemporaryFile(prefix="demur-") as file:
            shutil.copyfileobj(packed, file, MIB)
            file.flush()
            return _stored_array(file, 0, info, path)


def _check_packing(path: Path, info: zipfile.ZipInfo) -> None:
    """Refuse what is packed tightly to fill the disk, and what the disk has no room for."""
    if info.compress_type == zipfile.ZIP_STORED:
        return
    what = f"the array {info.filename!r} of {path} unpacks from {info.compress_size:,} to {info.file_size:,} bytes"
    if info.file_size > _HARMLESS and info.file_size > _PACKED * info.compress_size:
        raise DataError(
            f"{what}, more than {_PACKED} times as many, as only files made to fill a disk do. "
            "Save it with numpy.savez."
        )
    if info.file_size > shutil.disk_usage(tempfile.gettempdir()).free:
        raise DataError(
            f"{what}, for which the temporary folder {tempfile.gettempdir()} has no room. Free some space there, or "
            "name another folder in TMPDIR."
        )


def _start(file: BinaryIO, info: zipfile.ZipInfo) -> int:
    """Where a stored member begins: behind its local header, whose lengths the directory does not repeat."""
    file.seek(info.header_offset)
    header = file.read(_LOCAL_HEADER)
    if header[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile("a member does not begin where the directory says")
    lengths = (int.from_bytes(header[26:28], "little"), int.from_bytes(header[28:30], "little"))
    return info.header_offset + _LOCAL_HEADER + sum(lengths)


def _stored_array(file: BinaryIO, start: int, info: zipfile.ZipInfo, path: Path) -> StoredArray:
    file.seek(start)
    dtype, shape = _header(file, start, info, path)
    return StoredArray(keep_open(file), file.tell(), dtype, shape)


def _header(file: IO[bytes], start: int, info: zipfile.ZipInfo, path: Path) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Type and shape of an array, as its header says, where the file has room for as much.

    Raises:
        DataError: an array of objects or of another type, of a shape that is none, or larger than its file.
    """
    major, _ = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    what = f"the array {info.filename!r} of {path}"
    if dtype.hasobject:
        raise DataError(
            f"{what} holds Python objects, which are stored as a pickle; opening one can run any code. Save numbers or "
            "text, for instance labels.astype('U')."
        )
    if dtype.kind not in _READ or not dtype.itemsize:
        raise DataError(f"{what} is of the type {dtype}; it must hold numbers or text. Save it as such.")
    if not shape or (fortran and len(shape) > 1):
        raise DataError(f"{what} must have rows that lie one after the other. Save numpy.ascontiguousarray(…) of it.")
    if min(shape) < 0 or not all(isinstance(side, int) for side in shape):
        raise DataError(f"{what} has the shape {shape}, and no side of an array is negative. Save it again.")
    needed = file.tell() - start + math.prod(shape) * dtype.itemsize
    if needed > info.file_size:
        raise DataError(f"{what} announces {needed} bytes and holds {info.file_size}: it is cut short. Fetch it again.")
    return dtype, shape


_CHANNELS = (1, 3)
_AXES = {"nhw": (0, 1), "nhwc": (0, 1, 2), "nchw": (1, 2, 0)}


@dataclass(frozen=True, eq=False)
class Pictures:
    """Some images of an array, their channels moved last."""

    images: StoredArray
    layout: str
    places: Places

    def __call__(self, position: int) -> NDArray[Any]:
        """The image (height, width, channels) at a position among those picked."""
        picture = self.images(int(self.places[position])).transpose(_AXES[self.layout])
        return picture[..., np.newaxis] if picture.ndim == 2 else picture

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        height, width, *channels = (self.images.shape[1:][axis] for axis in _AXES[self.layout])
        return (height, width, channels[0] if channels else 1)


def open_source(address: Address) -> ArraySource:
    """Open an archive; ids are positions, and nothing pickled in it is read."""
    address.only(("classes", "first_label", "layout", "split", *DECODE_OPTIONS))
    path, options, chosen = path_of(address), address.options, Rules.of(address.options)
    arrays = archive_arrays(path, ("images", "labels", "groups", "split"))
    for name in ("images", "labels"):
        if name not in arrays:
            raise DataError(f"{path} has no array {name!r}; it needs images and labels, and may have groups and split.")
    images = arrays["images"]
    layout = _layout(images, options.get("layout"), path)
    check_rules(address.text, images.dtype, chosen)
    rows, labels = _rows(path, arrays, options)
    kept = rows_in_split(rows, options.get("split"), str(path))
    pictures = Pictures(images, layout, kept)
    return array_source(address.text, labels.classes, pictures.shape, rows.select(kept), pictures, chosen)


def _layout(images: StoredArray, declared: str | None, path: Path) -> str:
    shape, what = images.shape, f"the images of {path}"
    if declared not in (None, "nhwc", "nchw"):
        raise AddressError(f"`layout` must be nhwc (channels last) or nchw (channels second); got {declared!r}.")
    if images.dtype not in (np.uint8, np.uint16) and images.dtype.kind != "f":
        raise DataError(f"{what} are {images.dtype}; store uint8, uint16 or floats in [0, 1].")
    if min(shape[1:], default=0) < 1:
        raise DataError(f"{what} have the shape {shape}, in which an image has no pixels. Save them again.")
    if len(shape) == 3 and declared is None:
        return "nhw"
    usual = _CHANNELS if declared is None else range(1, MOST_BANDS + 1)
    fits = {"nhwc": len(shape) == 4 and shape[-1] in usual, "nchw": len(shape) == 4 and shape[1] in usual}
    possible = [name for name in fits if fits[name] and declared in (None, name)]
    if not possible:
        raise DataError(
            f"{what} have the shape {shape}; it must be (rows, height, width), or with 1 or 3 channels. Of "
            "more bands ?layout=nhwc or nchw says where they are."
        )
    if len(possible) > 1:
        raise DataError(f"{what} have the shape {shape}: are channels last or second? Write ?layout=nhwc or nchw.")
    return possible[0]


def _rows(path: Path, arrays: Mapping[str, StoredArray], options: Mapping[str, str]) -> tuple[CompactRows, Labels]:
    count = len(arrays["images"])
    for name, array in arrays.items():
        if len(array) != count:
            raise DataError(f"{path} has {count} images and {len(array)} {name}; there must be one for each.")
    written = _plain(arrays["labels"], path)
    declared = class_list(options["classes"]) if "classes" in options else []
    labels = labels_of(written, f"the array 'labels' of {path}", declared, options)
    groups, splits = (
        _texts(arrays[name].whole(), name, path) if name in arrays else [None] * count for name in ("groups", "split")
    )
    rows = CompactRows.of(
        Row(
            f"{at:06d}",
            None,
            labels.number(label, f"{path}, row {at}"),
            group=group,
            split=own_split(split, f"{path}, row {at}"),
            error=UNREAD,
        )
        for at, (label, group, split) in enumerate(zip(written, groups, splits, strict=True))
    )
    return rows, labels


def _plain(labels: StoredArray, path: Path) -> list[object]:
    shape = labels.shape
    if len(shape) == 2 and shape[1] > 1:
        raise multi_label(str(path), f"the array 'labels' has {shape[1]} columns")
    if len(shape) > 2:
        raise segmentation(str(path), f"the array 'labels' has the shape {shape}, one value per pixel")
    values = labels.whole().reshape(-1)
    return list(_texts(values, "labels", path)) if values.dtype.kind in "US" else values.tolist()


def _texts(values: NDArray[Any], name: str, path: Path) -> list[str | None]:
    """One text for each row, of text what a screen can show."""
    if values.ndim != 1:
        raise DataError(f"the array {name!r} of {path} has the shape {values.shape}; it must have one value a row.")
    try:
        plain = np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values
        return [legible(str(value)) for value in plain.tolist()]
    except ValueError as error:
        raise DataError(f"the array {name!r} of {path} holds text that is none: {error}. Save it again.") from None
