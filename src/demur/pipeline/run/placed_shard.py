"""A shard that a process on another machine wrote into the run folder itself, under a name that does not count yet.

Only the process that leads the run gives files their names, so that a shard counts once, whatever a worker that was
taken for lost writes afterwards. A run folder is seen where a file with a token that was drawn for this run is: a copy
of an earlier run at the same path has none.
"""

import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from demur.files import rename, write_here
from demur.records import EncodedShard
from demur.seal import file_sha256, sha256_of


@dataclass(frozen=True, kw_only=True)
class PlacedFile:
    """A file under its name for now, which a run that is opened again removes.

    Attributes:
        key: what the manifest calls its hash.
        room: the folder of the run that it is in.
        name: its name for now.
        sha256: its hash.
    """

    key: str
    room: str
    name: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class PlacedShard:
    """The files of a shard in the run folder; it is written by renaming them.

    Attributes:
        rows: how many there are.
        size: bytes of all files.
        files: its parts, if its scores have some, then its records.
    """

    rows: int
    size: int
    files: tuple[PlacedFile, ...]

    def is_there(self, run: Path) -> bool:
        """Whether this process sees every file as it was written."""
        return all(file_sha256(run / file.room / file.name) == file.sha256 for file in self.files)

    def write(self, run: Path, name: str) -> dict[str, str]:
        """Give the files their names; the hashes by which the manifest knows them.

        Raises:
            RunError: one of them is gone, or the folder cannot be written.
        """
        for file in self.files:
            rename(run / file.room / file.name, run / file.room / f"{name}.parquet")
        return {file.key: file.sha256 for file in self.files}


def sweep(run: Path) -> None:
    """Remove what workers placed that were lost before they could tell; nobody is left who could name it."""
    for room in ("parts", "records"):
        for left in (run / room).glob(".*.parquet.????????"):
            left.unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class SharedFolder:
    """A run folder that workers may see: on the same machine, or by a file system that machines share.

    Attributes:
        path: of the run folder, absolute.
        token: what is drawn for a run that goes on.
    """

    path: Path
    token: str

    @classmethod
    @contextmanager
    def of(cls, path: Path) -> "Iterator[SharedFolder]":
        """The run folder of this process, with its token in it for as long as this lasts."""
        found = cls(path=path.resolve(), token=secrets.token_hex(16))
        write_here(found._file, found.token.encode())  # what a mirror keeps has no use for it
        try:
            yield found
        finally:
            found._file.unlink(missing_ok=True)

    @property
    def _file(self) -> Path:
        return self.path / f".run.json.{self.token[:8]}"  # as half a file, which the next run removes

    def is_seen(self) -> bool:
        """Whether this process sees the folder."""
        try:
            return self._file.read_text("ascii") == self.token
        except (OSError, ValueError):
            return False

    def put(self, name: str, shard: EncodedShard) -> PlacedShard:
        """Write the files of a shard under names for now.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
        """
        contents: Mapping[tuple[str, str], bytes | None] = {
            ("parts", "parts"): shard.parts,
            ("sha256", "records"): shard.records,
        }
        files = [
            PlacedFile(key=key, room=room, name=self._put(room, name, content), sha256=sha256_of(content))
            for (key, room), content in contents.items()
            if content is not None
        ]
        return PlacedShard(rows=shard.rows, size=shard.size, files=tuple(files))

    def _put(self, room: str, name: str, content: bytes) -> str:
        folder = self.path / room
        folder.mkdir(exist_ok=True)
        handle, path = tempfile.mkstemp(dir=folder, prefix=f".{name}.parquet.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), (self.path / "plan.toml").stat().st_mode & 0o666)
        return Path(path).name
