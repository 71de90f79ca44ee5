"""Encoded images copied one after the other into a temporary file, so that any of them is read at the same cost."""

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from demur.errors import DataError


@dataclass(frozen=True, eq=False)
class Spool:
    """A file without a name, which vanishes with the process; image k lies between two neighbouring offsets."""

    file: BinaryIO
    offsets: NDArray[np.int64]

    def __call__(self, position: int) -> bytes:
        """The encoded image at a position; safe in several threads."""
        start, stop = (int(offset) for offset in self.offsets[position : position + 2])
        return os.pread(self.file.fileno(), stop - start, start)


@dataclass(frozen=True, eq=False)
class Picked:
    """Some of the images of a spool."""

    spool: Spool
    positions: tuple[int, ...]

    def __call__(self, position: int) -> bytes:
        """The encoded image at a position among those picked."""
        return self.spool(self.positions[position])


def spooled(contents: Iterable[bytes]) -> Spool:
    """Copy the images; the temporary folder is the one that `TMPDIR` names.

    Raises:
        DataError: the disk is full.
    """
    file = tempfile.TemporaryFile(prefix="demur-")  # noqa: SIM115  # lives as long as the spool
    lengths = [0]
    try:
        for content in contents:
            lengths.append(file.write(content))
        file.flush()
    except OSError as error:
        raise DataError(
            f"cannot copy the images to the temporary folder {tempfile.gettempdir()}: {error.strerror}. Free some space "
            "there, or name another folder in TMPDIR."
        ) from None
    return Spool(file, np.cumsum(lengths, dtype=np.int64))
