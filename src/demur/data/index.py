"""One look through a source that fixes ids, labels, hashes and roles before anything is measured."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from demur.data.roles import Role, role_of, unit_hashes
from demur.data.source import Row, Source, shaped
from demur.errors import DataError

_CHUNK = 4096

Progress = Callable[[int, int], None]
"""Called now and then with (rows seen, rows in all)."""


@dataclass(frozen=True, eq=False)
class Index:
    """The rows that take part, in the order of the source; all arrays and tuples run over them.

    Attributes:
        positions: where each row lies in the source.
        sample_ids: the key of each row.
        labels: the class of each row.
        groups: the unit of independence of each row, None where none was given.
        contents: SHA-256 of each row's decoded pixels and shape; of its id where it could not be read.
        roles: fit, tune, certify or test.
        errors: why a row could not be read, else None.
        sha256: hash of the set of (content, label), whatever the order.
        duplicates: rows whose content another row had before them.
    """

    positions: NDArray[np.int64]
    sample_ids: tuple[str, ...]
    labels: NDArray[np.int64]
    groups: tuple[str | None, ...]
    contents: tuple[str, ...]
    roles: tuple[Role, ...]
    errors: tuple[str | None, ...]
    sha256: str
    duplicates: int

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def group_count(self) -> int | None:
        """How many groups there are; None where no row names one."""
        named = {group for group in self.groups if group is not None}
        return len(named) or None

    def rows_of(self, role: Role) -> NDArray[np.int64]:
        """Where in this index the rows of a role are."""
        return np.array([row for row, own in enumerate(self.roles) if own == role], dtype=np.int64)


@dataclass(frozen=True)
class _Seen:
    position: int
    sample_id: str
    label: int
    group: str | None
    content: str
    error: str | None


def build_index(source: Source, *, limit: int | None = None, progress: Progress | None = None) -> Index:
    """Read every row once; with `limit`, keep only the rows with the smallest content hashes.

    Raises:
        DataError: no rows, a single class, a label that is no class, repeated ids, or pixels outside [0, 1].
    """
    if limit is not None and limit < 1:
        raise DataError(f"`limit` must be at least 1; got {limit}.")
    seen = _look(source, progress)
    _check_set(seen, source)
    kept = seen if limit is None else _smallest(seen, limit)
    contents = [row.content for row in kept]
    groups = [row.group for row in kept]
    units = dict(zip((row.position for row in seen), unit_hashes(*_columns(seen)), strict=True))
    return Index(
        positions=np.array([row.position for row in kept], dtype=np.int64),
        sample_ids=tuple(row.sample_id for row in kept),
        labels=np.array([row.label for row in kept], dtype=np.int64),
        groups=tuple(groups),
        contents=tuple(contents),
        roles=tuple(role_of(units[row.position], len(kept)) for row in kept),
        errors=tuple(row.error for row in kept),
        sha256=_digest("\n".join(sorted(f"{row.content} {row.label}" for row in kept)).encode()),
        duplicates=len(contents) - len(set(contents)),
    )


def _look(source: Source, progress: Progress | None) -> list[_Seen]:
    seen = []
    for position, row in enumerate(source.read(range(len(source)))):
        if not 0 <= row.label < len(source.classes):
            raise DataError(
                f"image {row.sample_id!r} has label {row.label}; the {len(source.classes)} classes of {source.address} "
                f"are numbered 0 to {len(source.classes) - 1}. Correct the labels or name all the classes."
            )
        whole = shaped(row, source.input_shape)
        seen.append(_Seen(position, row.sample_id, row.label, row.group, _content(whole), whole.error))
        if progress is not None and (position + 1) % _CHUNK == 0:
            progress(position + 1, len(source))
    return seen


def _content(row: Row) -> str:
    if row.image is None:
        return _digest(f"unreadable\x1f{row.sample_id}".encode())
    low, high = row.image.aminmax()
    if not (low >= 0 and high <= 1):
        way_out = "They look like bytes: divide by 255." if high > 2 and low >= 0 else "Give them before normalisation."
        raise DataError(
            f"image {row.sample_id!r} has pixels from {float(low):g} to {float(high):g}; images must lie in [0, 1]. "
            f"{way_out}"
        )
    pixels = row.image.contiguous().numpy()
    return _digest(repr(pixels.shape).encode() + pixels.tobytes())


def _check_set(seen: Sequence[_Seen], source: Source) -> None:
    readable = [row for row in seen if row.error is None]
    if not readable:
        reason = f"; the first of {len(seen)} says: {seen[0].error}" if seen else ""
        raise DataError(f"{source.address} has no readable image{reason}. Check the address and its options.")
    labels = {row.label for row in readable}
    if len(labels) == 1:
        raise DataError(
            f"all {len(readable)} images of {source.address} are of one class, {source.classes[labels.pop()]!r}; an "
            "audit needs at least two. Check that the labels were read from the right place."
        )
    if len({row.sample_id for row in seen}) < len(seen):
        raise DataError(f"{source.address} gives the same id to several images; ids must be unique.")


def _smallest(seen: Sequence[_Seen], limit: int) -> list[_Seen]:
    """Chosen by a hash of its own, so that being kept says nothing about the role; in source order."""
    ranked = sorted(seen, key=lambda row: (_digest(f"limit\x1f{row.content}".encode()), row.sample_id))
    return sorted(ranked[:limit], key=lambda row: row.position)


def _columns(seen: Sequence[_Seen]) -> tuple[list[str], list[str | None]]:
    return [row.content for row in seen], [row.group for row in seen]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
