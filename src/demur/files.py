"""Files that are whole or not there: atomic writes, whole lines, JSON that can be read or is named, one writer.

A folder may have a mirror, which keeps its files elsewhere too: it is asked before a file is written, added to or
removed here, and may bring one that is not here yet. So every writer writes through it without knowing of it.
"""

import errno
import fcntl
import hashlib
import io
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from demur.errors import InputError, RunError, legible

JOURNAL = "shards.jsonl"
"""Where an audit that runs lists its shards, a line each; the manifest of a finished one has them."""

WAITS = (0.2, 1.0, 3.0)
"""Seconds between tries to write on a disk that is full."""


class Mirror(Protocol):
    """What keeps the files of a folder elsewhere too; each call comes before the same is done here."""

    def lock(self) -> None:
        """Become the only writer, or raise."""

    def fetch(self, path: Path) -> None:
        """Bring a file that is kept elsewhere and not here yet."""

    def write(self, path: Path, content: bytes) -> None:
        """Keep a whole file."""

    def append(self, path: Path, line: str) -> bool:
        """Keep another line of a file; whether the file here has it already."""

    def remove(self, path: Path) -> None:
        """Keep a file no more."""


_MIRRORS: dict[Path, Mirror] = {}


@contextmanager
def mirrored(folder: Path, mirror: Mirror) -> Iterator[None]:
    """Inside, what is done to the files of a folder is done to its mirror too, and there first."""
    whole = folder.absolute()
    _MIRRORS[whole] = mirror
    try:
        yield
    finally:
        del _MIRRORS[whole]


def _mirror_of(path: Path) -> Mirror | None:
    if not _MIRRORS:
        return None
    whole = path.absolute()
    return next((mirror for folder, mirror in _MIRRORS.items() if whole.is_relative_to(folder)), None)


def fetched(path: Path) -> Path:
    """The same path, once its file is here if it is anywhere; for whoever reads files that are many or large."""
    mirror = _mirror_of(path)
    if mirror is not None:
        mirror.fetch(path)
    return path


def remove(path: Path) -> None:
    """Remove a file, if it is there."""
    mirror = _mirror_of(path)
    if mirror is not None:
        mirror.remove(path)
    path.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside the target and rename: a reader sees the old file or the new one, never a part.

    Raises:
        RunError: the disk is full, or the place cannot be written.
    """
    mirror = _mirror_of(path)
    if mirror is not None:
        mirror.write(path, content)
    write_here(path, content)


def write_here(path: Path, content: bytes) -> None:
    """The same without telling a mirror: for what is a copy of what it has.

    Raises:
        RunError: the disk is full, or the place cannot be written.
    """
    try:
        _patiently(lambda: _replace(path, content))
    except OSError as error:
        raise _unwritten(path, error) from None


def rename(source: Path, target: Path) -> None:
    """Give a file that is whole already its name.

    Raises:
        RunError: it is gone, or the place cannot be written.
    """
    mirror = _mirror_of(target)
    try:
        if mirror is not None:
            mirror.write(target, source.read_bytes())
        source.replace(target)
    except OSError as error:
        raise _unwritten(target, error) from None


def append_line(path: Path, line: str) -> None:
    """Append a whole line to a file, or nothing.

    Raises:
        RunError: the disk is full, or the file cannot be written.
    """
    mirror = _mirror_of(path)
    if mirror is not None and mirror.append(path, line):
        return
    try:
        _patiently(lambda: _append(path, f"{line}\n".encode()))
    except OSError as error:
        raise _unwritten(path, error) from None


def _patiently(work: Callable[[], None]) -> None:
    """Do it, again after a while where a disk is full: others may be about to free some of it."""
    for wait in WAITS:
        try:
            return work()
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
        time.sleep(wait)
    return work()


def _append(path: Path, line: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        _write_whole(file, line)


def _write_whole(file: io.FileIO, content: bytes) -> None:
    """A disk that fills up takes a part without complaint."""
    before = file.tell()
    if file.write(content) < len(content):
        file.truncate(before)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _unwritten(path: Path, error: OSError) -> RunError:
    return RunError(
        f"cannot write {path}: {error.strerror or error}. What was written before is whole; free some space or correct "
        "the rights, and the same command continues."
    )


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o666 & ~_umask())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """A folder with one writer at a time; made if it is not there. The lock goes with the process, even a killed one.

    Raises:
        InputError: the folder cannot be written.
        RunError: another process writes into it.
    """
    try:
        os.fspath(path).encode()
        lock = _lock_file(path)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "its name is not UTF-8"
        raise InputError(
            f"cannot write the folder {legible(str(path))}: {why}. Choose another with --out DIR."
        ) from None
    try:
        try:
            _take(lock, path)
        except BlockingIOError:
            raise RunError(
                f"another process is writing into {path}. Wait for it, or choose another folder with --out."
            ) from None
        mirror = _mirror_of(path)
        if mirror is not None:
            mirror.lock()
        yield
    finally:
        os.close(lock)


def _lock_file(path: Path) -> int:
    path.mkdir(parents=True, exist_ok=True)
    return os.open(path / "lock", os.O_CREAT | os.O_RDWR, 0o644)


def _take(lock: int, path: Path) -> None:
    """Lock a file, which must be there still: one that another process removed meanwhile locks nobody out."""
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        there = os.path.samestat(os.fstat(lock), (path / "lock").stat())
    except FileNotFoundError:
        there = False
    if not there:
        raise BlockingIOError


def _umask() -> int:
    """What this process takes from the rights of new files; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: Path, content: Any) -> None:
    """Write JSON with sorted keys, atomically."""
    write_atomically(path, json_bytes(content))


def json_bytes(content: Any) -> bytes:
    """JSON with sorted keys, as every file of a run has it."""
    return (json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def read_json(path: Path) -> Any:
    """Read JSON; a missing or broken file is named."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path} does not exist. A run folder has it once its audit has started.") from None
    except (ValueError, OSError, RecursionError) as error:
        raise RunError(f"{path} is not readable JSON ({error}). Delete it and run the audit again.") from None


def checked_line(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A line of a journal with its check."""
    own = {key: value for key, value in entry.items() if key != "check"}
    return {**own, "check": hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:16]}


def is_whole(entry: Mapping[str, Any]) -> bool:
    """Whether a line of a journal is as it was written; those of earlier versions have no check."""
    return "check" not in entry or checked_line(entry) == entry


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of lines of JSON, but for lines that a process that was killed left half written."""
    found = []
    for line in path.read_text("utf-8", "replace").splitlines() if path.is_file() else ():
        with suppress(ValueError, RecursionError):
            found.append(json.loads(line))
    return [each for each in found if isinstance(each, dict)]


def whole_lines(path: Path) -> list[str]:
    """The lines of a journal that are as they were written, without a last one that was cut."""
    found = []
    for line in path.read_bytes().decode("utf-8", "replace").splitlines() if path.is_file() else ():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and "check" in entry and is_whole(entry):
            found.append(line)
    return found
