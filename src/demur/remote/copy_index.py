"""What a working copy knows of its files: which object each is a copy of, and the hash of its content."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from demur.files import append_line, write_atomically
from demur.remote.objects import Version


@dataclass(frozen=True)
class Copied:
    """An object and the hash of its content."""

    version: Version
    sha256: str


@dataclass(eq=False)
class CopyIndex:
    """A file of lines, the last of which about a name is true; what is not in it is fetched again."""

    path: Path
    _entries: dict[str, Copied] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path) -> "CopyIndex":
        """The index in a file, whose lines that are not whole are dropped."""
        found = cls(path, dict(_lines(path)))
        write_atomically(path, "".join(_text(name, entry) + "\n" for name, entry in found._entries.items()).encode())
        return found

    def get(self, name: str) -> Copied | None:
        """What is known of a file."""
        return self._entries.get(name)

    def add(self, name: str, entry: Copied) -> None:
        """Note it, before the file is written here."""
        self._entries[name] = entry
        append_line(self.path, _text(name, entry))


def _text(name: str, entry: Copied) -> str:
    return json.dumps([name, entry.version.e_tag, entry.version.version, entry.sha256])


def _lines(path: Path) -> Iterator[tuple[str, Copied]]:
    for line in path.read_text("utf-8", "replace").splitlines() if path.is_file() else ():
        try:
            name, e_tag, version, sha256 = json.loads(line)
        except ValueError:
            continue
        yield str(name), Copied(Version(e_tag, version), str(sha256))
