"""The file beside the run folders in which every opening of labels is noted, as objects: a numbered one for each line.

A line is put under the next number that nobody has, so that lines of many machines have one order without a lease.
"""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from demur.errors import InputError, RunError
from demur.files import write_here
from demur.remote.objects import ConflictError, Objects

FILE = "opened.jsonl"
FOLDER = ".opened"
"""Of hashed contents beside it, and here of the lines."""

_LINE = re.compile(r"lines/(\d{8})\.json")
_AT_ONCE = 16


@dataclass(eq=False)
class SharedLines:
    """The lines and ids beside the run folders, copied to a folder here.

    Attributes:
        objects: of the bucket.
        prefix: what the keys beside the run folder begin with.
        root: the folder here that has the copies.
    """

    objects: Objects
    prefix: str
    root: Path
    _numbered: dict[int, bytes] = field(default_factory=dict)
    _first: bytes | None = None

    def pull(self) -> None:
        """Copy what others have noted."""
        names = self.objects.list(f"{self.prefix}{FOLDER}/")
        new = [number for number in map(_number, names) if number and number not in self._numbered]
        ids = [name for name in names if name.endswith(".ids") and not (self.root / FOLDER / name).exists()]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            self._numbered.update(zip(new, pool.map(self._line, new), strict=True))
            for name, content in zip(ids, pool.map(lambda name: self._content(f"{FOLDER}/{name}"), ids), strict=True):
                write_here(self.root / FOLDER / name, content)
        if self._first is None:  # of a file that was copied there by other means
            self._first = "".join(f"{line}\n" for line in self._content(FILE).decode().splitlines()).encode()
        lines = b"".join([self._first, *(self._numbered[number] for number in sorted(self._numbered))])
        if lines:
            write_here(self.root / FILE, lines)

    def append(self, line: str) -> None:
        """Note a line after all that there are.

        Raises:
            RunError: it cannot be written there.
        """
        try:
            self._append(line)
        except InputError as error:
            raise RunError(str(error)) from error

    def _append(self, line: str) -> None:
        content = f"{line}\n".encode()
        while True:
            self.pull()
            number = max(self._numbered, default=0) + 1
            try:
                self.objects.put(self._key(number), content, None)
            except ConflictError:  # another line came first
                continue
            self._numbered[number] = content
            return self.pull()

    def keep_ids(self, name: str, content: bytes) -> None:
        """Keep the ids that a line names; they are named by their hash, so that those that are there are the same."""
        try:
            self.objects.put(f"{self.prefix}{FOLDER}/{name}", content, None)
        except ConflictError:
            return

    def _key(self, number: int) -> str:
        return f"{self.prefix}{FOLDER}/lines/{number:08d}.json"

    def _line(self, number: int) -> bytes:
        return self._content(self._key(number).removeprefix(self.prefix))

    def _content(self, name: str) -> bytes:
        found = self.objects.get(f"{self.prefix}{name}")
        return b"" if found is None else found[0]


def _number(name: str) -> int:
    found = _LINE.fullmatch(name)
    return int(found[1]) if found else 0
