"""Files from outside, read whole: only regular ones, and only up to a size, so that none waits or fills the memory."""

import os
import stat
from pathlib import Path

MIB = 1 << 20


def content_of(path: Path, most: int) -> bytes:
    """The bytes of a regular file.

    Args:
        path: a pipe would wait for ever and a device might never end, so neither is opened.
        most: how many bytes it may have.

    Raises:
        OSError: there is no such file, it is of another kind, or it is larger; `reason` says which.
    """
    found = path.stat()
    if stat.S_ISDIR(found.st_mode):
        with os.scandir(path):  # one that must not be entered says so itself
            raise OSError("it is a folder, not a regular file")
    if not stat.S_ISREG(found.st_mode):
        raise OSError("not a regular file")
    if found.st_size > most:
        raise OSError(f"it has {found.st_size:,} bytes, more than the {most:,} that such a file may have")
    return path.read_bytes()


def reason(error: OSError | ValueError) -> str:
    """What went wrong with a file, without its path."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error)
