"""A ledger of looks: which certify labels were opened for which test, so that asking again and again is counted.

A line of it names the hashes of the content of its rows, by the hash of a file that holds them, and its looks, each by
a hash of all that makes it: certify rows and labels, model, menu of signals, statement, procedure. Looks that share a
row or name the same source are one series; the k-th distinct one of a series is look k, by the place of its line, so
that of two at once only one is the first. An identical repeat is found again, and is the same look.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from demur.errors import RunError
from demur.files import append_line, checked_line, is_whole, write_atomically
from demur.seal import file_sha256, sha256_of

Ids: TypeAlias = NDArray[np.uint64]
Line: TypeAlias = Mapping[str, Any]
Reader: TypeAlias = Callable[[str], Ids | None]

_BYTES = 8


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """The rows whose labels a test reads: `ids`, ascending hashes of their content, and a hash of what they say.

    Eight bytes a row: two of a million rows each share one by chance in one case of ten million.
    """

    ids: Ids
    sha256: str

    @classmethod
    def of(
        cls, contents: Sequence[str], labels: Sequence[object], groups: Sequence[object] | None = None
    ) -> "LabelledRows":
        """From each row's content, or a hash of it, its label and its group; their order does not matter.

        Raises:
            ValueError: there is not one label, or one group, for each content.
        """
        found = zip(contents, labels, groups or [None] * len(contents), strict=True)
        lines = sorted(json.dumps([content, str(label), group], default=str) for content, label, group in found)
        whole = hashlib.sha256()
        for number, line in enumerate(lines):  # no text of all of them is in memory
            whole.update(f"\n{line}".encode() if number else line.encode())
        digests = b"".join(hashlib.blake2b(each.encode(), digest_size=_BYTES).digest() for each in contents)
        return cls(np.unique(np.frombuffer(digests, "<u8")), whole.hexdigest())

    @property
    def content(self) -> bytes:
        """The ids as they are kept in a file."""
        return self.ids.astype("<u8").tobytes()

    @property
    def name(self) -> str:
        """The name of that file, by its hash."""
        return f"{sha256_of(self.content)}.ids"


@dataclass(frozen=True, kw_only=True, eq=False)
class Inquiry:
    """What a test reads and how it decides: all that makes a look but the statement.

    Attributes:
        rows: the certify rows.
        model: hash of the model, or of the scores where there is no model.
        menu: the signals among which one is chosen.
        procedure: how a threshold is chosen and tested, with a hash of the other rows that have a part in it.
        source: where the images come from, as the user calls it; None where nothing was said.
    """

    rows: LabelledRows
    model: str
    menu: tuple[str, ...]
    procedure: str
    source: str | None = None

    def line(self, statements: Iterable[str]) -> dict[str, Any]:
        """What a ledger keeps of the looks at these rows, one for each statement that is tested."""
        whole = [self.rows.sha256, self.model, sorted(self.menu), self.procedure]
        looks = [sha256_of(json.dumps([*whole, statement]).encode()) for statement in statements]
        return {"rows": self.rows.name, "source": self.source, "looks": looks}


@dataclass(frozen=True)
class Ledger:
    """A file of lines and, beside it, the folder of its files of ids."""

    path: Path

    @property
    def folder(self) -> Path:
        """Where the ids lie; hidden, so that it is not taken for a run folder."""
        return self.path.with_name(f".{self.path.stem}")

    def lines(self) -> list[Line]:
        """Every line, in the order in which they were appended.

        Raises:
            RunError: the file is damaged.
        """
        return read_lines(self.path, "how often labels were opened", ("at", "rows", "source", "looks"))

    def add(self, line: Line, rows: LabelledRows | None = None) -> None:
        """Append a line, after the ids it names.

        Raises:
            RunError: it cannot be written.
        """
        if rows is not None and file_sha256(self.folder / rows.name) != rows.name.partition(".")[0]:
            write_atomically(self.folder / rows.name, rows.content)
        append_line(self.path, line_text(line))

    def ids(self, name: str) -> Ids | None:
        """The ids in a file, None where it is gone.

        Raises:
            RunError: the file was changed.
        """
        return read_ids(self.folder / name)

    def numbers(self, inquiry: Inquiry, statements: Sequence[str]) -> list[int]:
        """Which looks these are, noted down if they are new.

        Raises:
            RunError: the ledger is damaged, or cannot be written.
        """
        own, lines = inquiry.line(statements), self.lines()
        named = own["source"] is None or any(rows_of(line) == rows_of(own) for line in lines)  # told only now, it links
        if not named or not {*own["looks"]} <= {look for line in lines for look in line["looks"]}:
            self.add({"at": datetime.now(UTC).isoformat(timespec="microseconds"), **own}, inquiry.rows)
        return look_numbers(self.lines(), own["looks"], self.ids)


def line_text(line: Line) -> str:
    """A line with its check. It begins with its time, so that text sorts by it."""
    whole = checked_line(line)
    return json.dumps({"at": whole["at"]} | {key: whole[key] for key in sorted(whole)})


def read_lines(path: Path, what: str, keys: Sequence[str]) -> list[Line]:
    """Every line of a journal that counts something; none where there is no file.

    Raises:
        RunError: a line is damaged.
    """
    if not path.exists():
        return []
    try:
        return [_whole_line(json.loads(line), keys) for line in path.read_text("utf-8").splitlines()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        raise RunError(
            f"{path} says {what} and cannot be read ({error}). Repair the line, or move the file away; the count then "
            "starts anew."
        ) from None


def _whole_line(line: Any, keys: Sequence[str]) -> Line:
    _ = [line[key] for key in keys], line["at"][:16].replace("T", " "), {**line.get("gates", {})}
    looks = line.get("looks", [])
    if not isinstance(looks, list) or not all(isinstance(each, str) for each in (*looks, line.get("rows", ""))):
        raise ValueError("its looks are no list of hashes")
    if not is_whole(line):
        raise ValueError(f"the line of {line.get('at', 'a look')} was changed")
    return line


def read_ids(path: Path) -> Ids | None:
    """The ids in a file that is named by its hash, None where it is gone.

    Raises:
        RunError: the file was changed.
    """
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if sha256_of(content) != path.stem:
        raise RunError(
            f"{path} says whose labels were opened and was changed since (its hash differs). Bring the file back, or "
            "remove it; looks at these rows then count as looks at any."
        )
    return np.frombuffer(content, "<u8").astype(np.uint64)


def look_numbers(lines: Iterable[Line], looks: Sequence[str], ids: Reader) -> list[int]:
    """For each look the number of distinct looks of its series up to its place.

    Args:
        lines: in order; they hold these looks too.
        looks: hashes of looks.
        ids: reads the ids that a line names; rows whose ids are gone count as shared with all.
    """
    asked = [line for line in lines if line.get("looks")]
    every, first = [rows_of(line) for line in asked], dict[str, int]()
    for place, line in enumerate(asked):
        for look in line["looks"]:
            first.setdefault(look, place)
    places, found = list(first), []
    for look in looks:
        before = [first[each] for each in places[: places.index(look) + 1]]
        inside = series(every[: before[-1] + 1], every[before[-1]], ids)
        found.append(sum(every[each] in inside for each in before))
    return found


Rows: TypeAlias = tuple[str, str | None]
"""The name of a file of ids, and the source."""


def rows_of(line: Line) -> Rows:
    """The rows that a line with looks is about."""
    return line["rows"], line["source"]


def series(every: Iterable[Rows], own: Rows, ids: Reader) -> set[Rows]:
    """Those that are connected with one, directly or through others, by rows they share or the source they name."""
    read, rest, edge, inside = cache(ids), set(every) - {own}, [own], {own}
    while edge:
        one = edge.pop()
        joined = {other for other in rest if _linked(one, other, read)}
        rest, inside, edge = rest - joined, inside | joined, [*edge, *joined]
    return inside


def _linked(one: Rows, other: Rows, ids: Reader) -> bool:
    if one[0] == other[0] or (one[1] is not None and one[1] == other[1]):
        return True
    left, right = ids(one[0]), ids(other[0])
    return left is None or right is None or bool(len(np.intersect1d(left, right, assume_unique=True)))
