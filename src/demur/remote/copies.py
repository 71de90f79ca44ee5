"""The working copies that this process has open, each in a folder of the user's cache that no other process uses."""

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from demur.errors import DemurError, InputError
from demur.files import mirrored
from demur.remote.copy_index import CopyIndex
from demur.remote.lease import FILE as LEASE
from demur.remote.objects import open_objects
from demur.remote.remote_folder import RemoteFolder, is_remote
from demur.remote.working_copy import WorkingCopy

CACHE = "DEMUR_CACHE"
_SLOTS = 256
_FIRST_PATIENCE = 30.0
"""Seconds for which the first request is tried again: more often than the store its address is wrong."""

_OPEN: dict[str, WorkingCopy] = {}
_SHOWN: dict[str, str] = {}


@contextmanager
def working_folder(address: Path | str) -> Iterator[Path]:
    """A folder here in which a run folder at an address is read and written; a folder that is here is itself.

    What commands of this library write into it inside is written to the object store first; records are fetched as
    they are read. At the end the lease is given back; the copy stays, and saves downloads the next time. Errors from
    inside call it by its address.

    Raises:
        AddressError: the address names no folder of a bucket.
        MissingExtraError: obstore is not installed.
        InputError: the store cannot be reached with these settings, or refuses.
        RunError: it does not answer, or another process writes into the folder.
    """
    if not is_remote(address):
        yield Path(address)
        return
    remote = RemoteFolder.of(address)
    if str(remote) in _OPEN:
        yield _OPEN[str(remote)].folder
        return
    objects = open_objects(remote)
    replace(objects, patience=min(objects.patience, _FIRST_PATIENCE)).version(f"{remote.prefix}{LEASE}")
    with _slot(remote) as place:
        copy = WorkingCopy(remote, objects, place / "beside", CopyIndex.of(place / "index.jsonl"))
        _SHOWN[str(copy.folder)] = str(remote)
        copy.pull()
        _OPEN[str(remote)] = copy
        try:
            with mirrored(copy.root, copy):
                yield copy.folder
        except DemurError as error:
            error.args = (addressed(str(error)),)
            raise
        finally:
            del _OPEN[str(remote)]
            copy.close()


def matching_folders(address: Path | str) -> list[str]:
    """The addresses of the folders that a pattern such as `s3://bucket/parts/*` names, in the order of their names.

    Raises:
        InputError: there is none.
    """
    pattern = RemoteFolder.of(address)
    if not re.search(r"[*?[]", pattern.name):
        return [str(pattern)]
    names = open_objects(pattern).folders(pattern.parent)
    found = [str(pattern.sibling(name)) for name in names if fnmatchcase(name, pattern.name) and name[0] != "."]
    if not found:
        raise InputError(f"{pattern} names no folder. Correct the pattern, or write the addresses out.")
    return found


def addressed(text: str) -> str:
    """A text in which folders of the cache are called by the addresses they are copies of."""
    for folder, address in _SHOWN.items():
        text = text.replace(folder, address)
    return text


@contextmanager
def _slot(remote: RemoteFolder) -> Iterator[Path]:
    """A folder of the cache, for this process alone: two that read one run have two copies of it."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT") or ""
    key = hashlib.sha256(f"{endpoint} {remote}".encode()).hexdigest()[:16]
    for number in range(_SLOTS):
        place = _cache() / f"{key}-{number}"
        try:
            place.mkdir(parents=True, exist_ok=True)
            lock = os.open(place / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as error:
            raise InputError(
                f"cannot write the cache folder {place}: {error.strerror or error}. Choose another with {CACHE}=DIR."
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        try:
            yield place.resolve()
        finally:
            os.close(lock)
        return
    raise InputError(f"{_SLOTS} processes here have {remote} open. Wait for some of them.")


def _cache() -> Path:
    """Where the user's caches lie."""
    own, every = os.environ.get(CACHE), os.environ.get("XDG_CACHE_HOME")
    return Path(own) if own else (Path(every) if every else Path.home() / ".cache") / "demur"
