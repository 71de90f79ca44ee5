"""Copies of the tree into which mutants are written, and what the tests say there.

The tests of each room run once unbroken, and tell who runs which line. Against a mutant run first the tests that run
the changed statement, then all tests of the room. Of the former the quickest third comes first, then the next; in each
third those files of tests come first that name most of what the file defines.
"""

import ast
import contextlib
import json
import os
import queue
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

PATIENCE = 4  # times the processor time of the unbroken tests, and never less than half a minute
HALF_MINUTE, HALF_HOUR = 30, 1800
MEMORY = 16 << 30
OPTIONS = ("-x", "-q", "--no-header", "-p", "no:cacheprovider", "--doctest-modules", "--hypothesis-seed=0")
NOT_FOUND = (4, 5)  # exit statuses of pytest: a mutant that renames tests is for all tests of its room to judge
Lines: TypeAlias = dict[str, dict[str, list[str]]]


@dataclass(frozen=True)
class Room:
    """What the unbroken tests of a room told: who runs which line, how long each test takes, when a mutant hangs."""

    name: str
    tests: Lines
    seconds: dict[str, float]
    patience: int

    def witnesses(self, path: str, lines: range) -> list[str]:
        """The tests that run one of these lines, quickest first; none of what runs at import."""
        own = self.tests.get(path, {})
        found = {test for line in lines for test in own.get(str(line), ())}
        return sorted(found, key=lambda test: self.seconds[test])


class Copy:
    """One copy of the tree, with a server in which its tests run."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder, self.clock = folder, count(1)
        known = os.environ | {"PYTHONPATH": f"{folder / 'src'}:{folder}", "OMP_NUM_THREADS": "1"}
        command = [python, str(folder / "tools" / "mutant_server.py")]
        # The reader's own Python.
        self.server = subprocess.Popen(  # noqa: S603
            command, cwd=folder, env=known, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def run(self, tests: Sequence[str], seconds: int, room: str = "") -> dict[str, Any]:
        """The exit status of the tests, their processor time and what they printed; with a room also its lines."""
        scratch = self.folder.parent / f"{self.folder.name}-scratch"
        lines = f"{scratch}-lines.json" if room else None
        task = {"options": [*OPTIONS, f"--basetemp={scratch}", *tests], "seconds": seconds, "memory": MEMORY}
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(task | {"lines": lines, "room": room}) + "\n")
        self.server.stdin.flush()
        answer: dict[str, Any] = json.loads(self.server.stdout.readline())
        return answer if lines is None or answer["status"] else answer | json.loads(Path(lines).read_text())

    def write(self, path: str, text: str) -> None:
        """Write with a time that no other version of the file had, so that no compiled version is taken for it."""
        (self.folder / path).write_text(text)
        second = next(self.clock)
        os.utime(self.folder / path, (second, second))


class Copies:
    """Copies of the tree, one for each job; `borrow` waits for a free one."""

    def __init__(self, tree: Path, root: Path, jobs: int, python: str) -> None:
        self.free = queue.SimpleQueue[Copy]()
        command = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
        listed = subprocess.run(command, cwd=tree, capture_output=True, check=True)  # noqa: S603  # the reader's own git
        names = [name for name in listed.stdout.decode().split("\0") if name and (tree / name).is_file()]
        for job in range(jobs):
            for name in names:
                (root / str(job) / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(tree / name, root / str(job) / name)
            self.free.put(Copy(root / str(job), python))

    @contextlib.contextmanager
    def borrow(self) -> Iterator[Copy]:
        """A copy for oneself, for a while."""
        copy = self.free.get()
        try:
            yield copy
        finally:
            self.free.put(copy)

    def close(self) -> None:
        """End the servers."""
        while not self.free.empty():
            copy = self.free.get()
            copy.server.communicate()

    def unbroken(self, room: str) -> Room:
        """Run the tests of a room on the code as it is."""
        with self.borrow() as copy:
            told = copy.run([f"src/demur/{room}", f"tests/{room}"], HALF_HOUR, f"src/demur/{room}")
        if told["status"]:
            print(told["output"])
            print(f"The tests of {room} fail unbroken (exit status {told['status']}): nothing can be said of mutants.")
            raise SystemExit(2)
        return Room(room, told["tests"], told["seconds"], max(HALF_MINUTE, round(PATIENCE * told["spent"])))

    def kill(self, room: Room, path: str, line: int, text: str) -> bool:
        """Whether a test of the room fails with this text in the place of the file's own."""
        with self.borrow() as copy:
            whole = (copy.folder / path).read_text()
            files = mirror(copy.folder, path)
            tests = _in_order(room.witnesses(path, statement(whole, line)), files)
            copy.write(path, text)
            try:
                status = copy.run(tests, room.patience)["status"] if tests else NOT_FOUND[0]
                if status in (0, *NOT_FOUND):
                    status = copy.run(files, room.patience)["status"]
            finally:
                copy.write(path, whole)
        return bool(status)


def _in_order(witnesses: Sequence[str], files: Sequence[str]) -> list[str]:
    """Thirds of tests that come the quickest first, each by the order of their files."""
    third = {test: 3 * at // len(witnesses) for at, test in enumerate(witnesses)}
    place = {file: at for at, file in enumerate(files)}
    return sorted(witnesses, key=lambda test: (third[test], place.get(test.partition("::")[0], len(files))))


def mirror(tree: Path, path: str) -> list[str]:
    """The file's own examples and the tests of its room, those first that name most of what the file defines."""
    body, stem = ast.parse((tree / path).read_text()).body, Path(path).stem
    words = [stem, *(node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef))]

    def weight(test: Path) -> float:
        text = test.read_text()
        return -(stem in test.stem) - sum(word in text for word in words) / (1 + len(words))

    tests = sorted((tree / "tests" / Path(path).parts[2]).rglob("test_*.py"))
    return [path, *(str(test.relative_to(tree)) for test in sorted(tests, key=weight))]


def statement(text: str, line: int) -> range:
    """The lines of the statement that holds this line; of one with a body, those before the body."""
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.stmt)]
    around = [node for node in nodes if node.lineno <= line <= (node.end_lineno or node.lineno)]
    if not around:
        return range(line, line + 1)
    inner = max(around, key=lambda node: (node.lineno, -(node.end_lineno or node.lineno)))
    body = getattr(inner, "body", None)
    return range(inner.lineno, max(inner.lineno, body[0].lineno - 1 if body else inner.end_lineno or line) + 1)
