"""The arrays of an NPZ archive as maps of a file: nothing pickled is read, and nothing is loaded before it is used."""

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from demur.errors import DataError

_LOCAL_HEADER = 30


def mapped(path: Path, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Those arrays of an archive that it has.

    Raises:
        DataError: no archive, a damaged one, or an array of Python objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            return {name: _array(path, archive, members[name]) for name in names if name in members}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise DataError(
            f"cannot read {path} as an NPZ archive: {error}. Write it with numpy.savez(file, images=…, labels=…)."
        ) from None


def _array(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    if info.compress_type == zipfile.ZIP_STORED:
        with path.open("rb") as file:
            return _map(file, _start(file, info), path, info)
    with archive.open(info) as packed, tempfile.TemporaryFile(prefix="demur-") as file:
        shutil.copyfileobj(packed, file, 1 << 20)
        file.flush()
        return _map(file, 0, path, info)


def _start(file: BinaryIO, info: zipfile.ZipInfo) -> int:
    """Where a stored member begins: behind its local header, whose lengths the directory does not repeat."""
    file.seek(info.header_offset)
    header = file.read(_LOCAL_HEADER)
    if header[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile("a member does not begin where the directory says")
    lengths = (int.from_bytes(header[26:28], "little"), int.from_bytes(header[28:30], "little"))
    return info.header_offset + _LOCAL_HEADER + sum(lengths)


def _map(file: BinaryIO, start: int, path: Path, info: zipfile.ZipInfo) -> NDArray[Any]:
    file.seek(start)
    major, _ = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise DataError(
            f"the array {info.filename!r} of {path} holds Python objects, which are stored as a pickle; opening one can run any "
            "code. Save numbers or text, for instance labels.astype('U')."
        )
    if not np.prod(shape, dtype=np.int64):
        return np.empty(shape, dtype)
    return np.memmap(file, dtype, mode="r", offset=file.tell(), shape=shape, order="F" if fortran else "C")
