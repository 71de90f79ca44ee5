"""Open files that are read at any place: unlike a map of memory, what was read does not count as held."""

import os
import tempfile
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from demur.errors import DataError


@dataclass(frozen=True, eq=False)
class Held:
    """An open file, closed when nobody needs it any more; safe in several threads."""

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

    file: Held
    offsets: NDArray[np.int64]

    def __call__(self, position: int) -> bytes:
        """The encoded image at a position."""
        start, stop = (int(offset) for offset in self.offsets[position : position + 2])
        return self.file(start, stop - start)


def held(file: BinaryIO) -> Held:
    """Keep a file open beyond its own closing."""
    mine = Held(os.dup(file.fileno()))
    weakref.finalize(mine, os.close, mine.descriptor)
    return mine


def spooled(contents: Iterable[bytes]) -> Spool:
    """Copy images into the temporary folder, the one that `TMPDIR` names.

    Raises:
        DataError: the disk is full.
    """
    try:
        with tempfile.TemporaryFile(prefix="demur-") as file:
            lengths = [file.write(content) for content in contents]
            file.flush()
            return Spool(held(file), np.cumsum([0, *lengths], dtype=np.int64))
    except OSError as error:
        raise DataError(
            f"cannot copy the images to the temporary folder {tempfile.gettempdir()}: {error.strerror}. Free some "
            "space there, or name another folder in TMPDIR."
        ) from None
