"""A run folder in an object store, worked on in a copy here: what is written here is written there first.

    <run>/…            as in a local folder, each file an object
    <run>/shards/      while an audit runs: for each shard the line of its journal, put only where there is none
    <run>/lease.json   while somebody writes
    .opened/           beside the run folders: every opening of labels, for all runs there

So the folder there is at every moment one that a killed process may leave: content before the line and the seal that
name it, the manifest last. Every object is put only over the one that was last seen here.
"""

import json
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from demur.errors import DemurError, InputError, RunError
from demur.files import JOURNAL, Mirror, write_here
from demur.remote.copy_index import Copied, CopyIndex
from demur.remote.lease import FILE as LEASE
from demur.remote.lease import Lease
from demur.remote.objects import BATCH, ConflictError, Objects, Version, batched
from demur.remote.remote_folder import RemoteFolder
from demur.remote.shared_lines import FOLDER as OPENED
from demur.remote.shared_lines import SharedLines
from demur.seal import sha256_of

SHARDS = "shards/"
LAZY = ("records/", "parts/")
"""What is fetched file by file as it is asked for."""

OWN = frozenset({"lock", "at.json", "crash.txt"})
"""What is of this machine alone: its lock, and what a process here died of."""

_ELSEWHERE = OWN | {LEASE}
_AT_ONCE = 16
_FLUSH = 60.0
"""Seconds between two copies of a file that grows by lines and is outside every guarantee."""


@dataclass(eq=False)
class WorkingCopy(Mirror):
    """The copy of one run folder, and the way to what it is a copy of.

    Attributes:
        remote: the folder there.
        objects: of its bucket.
        root: a folder of this process's own, which has the copy and the file beside the run folders.
        index: what the copy consists of.
    """

    remote: RemoteFolder
    objects: Objects
    root: Path
    index: CopyIndex
    _there: dict[str, Version] = field(default_factory=dict)
    _ordered: list[str] = field(default_factory=list)
    _places: dict[str, int] = field(default_factory=dict)
    _checked: set[str] = field(default_factory=set)
    _fetched: str = ""
    _grown: set[str] = field(default_factory=set)
    _flushed: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.lease = Lease(self.objects, f"{self.remote.prefix}{LEASE}")
        self.shared = SharedLines(self.objects, self.remote.parent, self.root)

    @property
    def folder(self) -> Path:
        """The run folder here."""
        return self.root / self.remote.name

    def pull(self) -> None:
        """Make the copy what is there: whatever else was here goes, and records come when they are asked for."""
        self._there = self._listed()
        self._ordered = sorted(
            (each for each in self._there if each.startswith(LAZY)), key=lambda each: Path(each).name
        )
        self._places = {name: place for place, name in enumerate(self._ordered)}
        self._checked.clear()
        files = {name for name in self._there if not name.startswith(SHARDS) and name != JOURNAL}
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in [each for each in self.folder.rglob("*") if each.is_file()]:
            name = path.relative_to(self.folder).as_posix()
            if name not in files and name not in _ELSEWHERE:
                path.unlink()
        self._download(name for name in sorted(files) if not name.startswith(LAZY) and not self._is_copied(name))
        self._join_journal()
        with suppress(InputError):  # who may not list beside the run folders counts looks in this one alone
            self.shared.pull()

    def _listed(self) -> dict[str, Version]:
        found = self.objects.list(self.remote.prefix)
        return {name: version for name, version in found.items() if name not in _ELSEWHERE}

    def _is_copied(self, name: str) -> bool:
        """Whether the file here is a copy of the object there."""
        known = self.index.get(name)
        if known is None or not known.version.is_same(self._there.get(name)):
            return False
        try:
            return sha256_of((self.folder / name).read_bytes()) == known.sha256
        except OSError:
            return False

    def _download(self, names: Iterable[str]) -> None:
        wanted = list(names)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for name, found in zip(wanted, pool.map(self._get, wanted), strict=True):
                if found is not None:
                    self._keep(name, *found)

    def _get(self, name: str) -> tuple[bytes, Version] | None:
        return self.objects.get(f"{self.remote.prefix}{name}")

    def _keep(self, name: str, content: bytes, version: Version) -> None:
        self._there[name] = version
        self.index.add(name, Copied(version, sha256_of(content)))
        write_here(self.folder / name, content)

    def _join_journal(self) -> None:
        """The lines of all shards, after those of a journal that was copied there by other means."""
        names = [name for name in sorted(self._there) if name.startswith(SHARDS) or name == JOURNAL]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = dict(zip(names, pool.map(self._get, names), strict=True))
        texts = [found.pop(JOURNAL, None), *found.values()]
        lines = [line for text in texts if text is not None for line in text[0].decode("utf-8", "replace").splitlines()]
        if lines:
            write_here(self.folder / JOURNAL, "".join(f"{line}\n" for line in lines).encode())

    def fetch(self, path: Path) -> None:
        """Bring a file of records, once."""
        name = self._name(path)
        if name is None or name in self._checked or name not in self._there or not name.startswith(LAZY):
            return
        if not self._is_copied(name):
            self._download(self._ahead(name))
        self._checked.add(name)

    def _ahead(self, name: str) -> list[str]:
        """A file of records, and those after it where the one before it was the last to be fetched."""
        place = self._places.get(name, 0)
        if not place or self._fetched != self._ordered[place - 1]:
            self._fetched = name
            return [name]
        after = self._ordered[place : place + _AT_ONCE]
        found = [each for each in after if each in self._there and not self._is_copied(each)]
        self._fetched = found[-1]
        return found

    def lock(self) -> None:
        """Become the only writer, and see what the last one left.

        Raises:
            RunError: somebody else writes.
        """
        if not self.lease.is_held:
            self.lease.acquire()
            self.pull()

    def _hold(self) -> None:
        """Be the only writer of what was read before.

        Raises:
            RunError: somebody else writes, or did since.
        """
        if not self.lease.is_held and not self.lease.was_held:
            self.lease.acquire()
            now = self._listed()
            if now.keys() != self._there.keys() or not all(now[name].is_same(old) for name, old in self._there.items()):
                raise RunError(
                    f"{self.remote} was changed by another process since this one has read it. Run the same command "
                    "again."
                )
        self.lease.confirm()

    def write(self, path: Path, content: bytes) -> None:
        """Put a file, or the ids beside the run folder; the journal has its lines by other ways."""
        name = self._name(path)
        if name is None:
            if path.parent.name == OPENED:
                self.shared.keep_ids(path.name, content)
        elif name != JOURNAL:
            self._hold()
            self._grown.discard(name)
            self._put(name, content)
            self._flush(_FLUSH)

    def append(self, path: Path, line: str) -> bool:
        """Put the line of a shard, or one of the openings; other files follow now and then as a whole."""
        name = self._name(path)
        if name is None:
            self.shared.append(line)
            return True
        self._hold()
        if name == JOURNAL:
            self._put(f"{SHARDS}{json.loads(line)['shard']}.json", f"{line}\n".encode())
        else:
            self._grown.add(name)
        return False

    def remove(self, path: Path) -> None:
        """Remove an object; of the journal those of all its lines."""
        name = self._name(path)
        if name is None:
            return
        gone = [each for each in self._there if each == name or (name == JOURNAL and each.startswith(SHARDS))]
        for some in batched(gone, BATCH):
            self._hold()
            self.objects.delete(f"{self.remote.prefix}{each}" for each in some)
            for each in some:
                del self._there[each]

    def _put(self, name: str, content: bytes) -> None:
        """Put an object over the one that was seen last, or whichever there is while the lease is still this one's.

        Raises:
            RunError: another process has the lease now.
        """
        key = f"{self.remote.prefix}{name}"
        try:
            version = self.objects.put(key, content, self._there.get(name))
        except ConflictError:
            self.lease.confirm(anew=True)
            try:
                version = self.objects.put(key, content, self.objects.version(key))
            except ConflictError:
                raise RunError(
                    f"{self.remote}: something else writes {name} without a lease. End it; the same command continues."
                ) from None
        self._there[name] = version
        self._checked.add(name)
        self.index.add(name, Copied(version, sha256_of(content)))

    def _flush(self, age: float) -> None:
        if time.monotonic() - self._flushed >= age:
            self._flushed = time.monotonic()
            while self._grown:
                name = self._grown.pop()
                self._put(name, (self.folder / name).read_bytes())

    def _name(self, path: Path) -> str | None:
        """The name of a file in the run folder; None beside it."""
        whole = path.absolute()
        return whole.relative_to(self.folder).as_posix() if whole.is_relative_to(self.folder) else None

    def close(self) -> None:
        """Put what has grown and give the lease back, as far as that goes: nothing that counts is left to write."""
        if self.lease.is_held:
            with suppress(DemurError):
                self._flush(0)
        with suppress(DemurError):
            self.lease.release()
