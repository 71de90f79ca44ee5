"""The arrays of an NPZ archive, read an item at a time; nothing pickled is opened."""

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from demur.data.held import Held, held
from demur.errors import DataError

_LOCAL_HEADER = 30


@dataclass(frozen=True, eq=False)
class Stored:
    """An array in a file; called with a position, it reads that item."""

    file: Held
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


def stored(path: Path, names: Sequence[str]) -> dict[str, Stored]:
    """Those arrays of an archive that it has; a compressed one is unpacked into a temporary file.

    Raises:
        DataError: no archive, a damaged one, or an array of Python objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            return {name: _array(path, archive, members[name]) for name in names if name in members}
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"cannot read {path} as an NPZ archive: {error}. Write it with numpy.savez(file, images=…, labels=…)."
        ) from None


def _array(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Stored:
    if info.compress_type == zipfile.ZIP_STORED:
        with path.open("rb") as file:
            return _described(file, _start(file, info), info, path)
    with archive.open(info) as packed, tempfile.TemporaryFile(prefix="demur-") as file:
        shutil.copyfileobj(packed, file, 1 << 20)
        file.flush()
        return _described(file, 0, info, path)


def _start(file: BinaryIO, info: zipfile.ZipInfo) -> int:
    """Where a stored member begins: behind its local header, whose lengths the directory does not repeat."""
    file.seek(info.header_offset)
    header = file.read(_LOCAL_HEADER)
    if header[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile("a member does not begin where the directory says")
    lengths = (int.from_bytes(header[26:28], "little"), int.from_bytes(header[28:30], "little"))
    return info.header_offset + _LOCAL_HEADER + sum(lengths)


def _described(file: BinaryIO, start: int, info: zipfile.ZipInfo, path: Path) -> Stored:
    file.seek(start)
    major, _ = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    what = f"the array {info.filename!r} of {path}"
    if dtype.hasobject:
        raise DataError(
            f"{what} holds Python objects, which are stored as a pickle; opening one can run any code. Save numbers or "
            "text, for instance labels.astype('U')."
        )
    if not shape or (fortran and len(shape) > 1):
        raise DataError(f"{what} must have rows that lie one after the other. Save numpy.ascontiguousarray(…) of it.")
    needed = file.tell() - start + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if needed > info.file_size:
        raise DataError(f"{what} announces {needed} bytes and holds {info.file_size}: it is cut short. Fetch it again.")
    return Stored(held(file), file.tell(), dtype, shape)
