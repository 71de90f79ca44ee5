"""One pass through a source: what is known of each row and of its pixels, with the pixels left behind."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias, get_args, overload

import numpy as np

from demur.compact import Compact, Digests, GrowingDigests, GrowingGaps, Places
from demur.data.compact_rows import CompactRows, GrowingRows
from demur.data.image_content import content_of, mark_of
from demur.data.source import Row, Source, check_shape
from demur.errors import DataError, brief
from demur.splits import OwnSplit

_CHUNK, _FAR = 4096, 1 << 40

Progress: TypeAlias = Callable[[int, int], None]
"""Called now and then with (rows seen, rows in all)."""


@dataclass(frozen=True, slots=True)
class ScannedRow:
    """What a pass finds of one image.

    Attributes:
        position: where it lies in the source.
        content: SHA-256 of its decoded pixels and their shape; of its id where it could not be read.
        mark: SHA-256 of the pixels that the object covers, None where they are not known.
        row: everything else, without pixels.
    """

    position: int
    content: str
    mark: str | None
    row: Row


@dataclass(frozen=True, eq=False, slots=True)
class ScannedRows(Sequence[ScannedRow]):
    """What a pass finds of all images, in columns; a row of it is made when it is asked for.

    Attributes:
        positions: where each lies in the source.
        contents: SHA-256 of the pixels and their shape; of the id where they could not be read.
        marks: SHA-256 of the pixels that the object covers, None where they are not known.
        rows: everything else.
    """

    positions: Places
    contents: Digests
    marks: Compact[str | None]
    rows: CompactRows

    @classmethod
    def of(cls, found: Iterable[ScannedRow]) -> "ScannedRows":
        """These rows, as they come."""
        positions, contents, rows = array("q"), GrowingDigests(), GrowingRows()
        marks = GrowingGaps(GrowingDigests(), "00" * 32)
        for one in found:
            positions.append(one.position)
            contents.add(one.content)
            marks.add(one.mark)
            rows.add(one.row)
        return cls(np.array(positions, dtype=np.int64), contents.finish(), marks.finish(), rows.finish())

    def __len__(self) -> int:
        return len(self.positions)

    @overload
    def __getitem__(self, place: int) -> ScannedRow: ...
    @overload
    def __getitem__(self, place: slice) -> "ScannedRows": ...
    def __getitem__(self, place: int | slice) -> "ScannedRow | ScannedRows":
        places = range(len(self))[place]
        return self.select(np.array(places, dtype=np.int64)) if isinstance(places, range) else self._at(places)

    def __iter__(self) -> Iterator[ScannedRow]:
        return map(self._at, range(len(self)))

    def _at(self, place: int) -> ScannedRow:
        content, mark = self.contents.at(place), self.marks.at(place)
        return ScannedRow(int(self.positions[place]), content, mark, self.rows.at(place))

    def select(self, places: Places) -> "ScannedRows":
        """The rows at some places."""
        contents, marks = self.contents.select(places), self.marks.select(places)
        return ScannedRows(self.positions[places], contents, marks, self.rows.select(places))


class Scanner(Protocol):
    """How all rows of a source are found, in order; no result depends on which."""

    def __call__(self, source: Source, *, labelled: bool = True) -> ScannedRows:
        """The rows; their labels are checked where they are `labelled`."""


def scan(source: Source, *, labelled: bool = True, progress: Progress | None = None) -> ScannedRows:
    """Read every row once, in this process.

    Raises:
        DataError: a label that is no class, or pixels outside [0, 1].
    """

    def stream() -> Iterator[ScannedRow]:
        for done, one in enumerate(scan_of(source, range(len(source)), labelled=labelled), 1):
            yield one
            if progress is not None and done % _CHUNK == 0:
                progress(done, len(source))

    return ScannedRows.of(stream())


def scan_of(source: Source, positions: Sequence[int], *, labelled: bool) -> Iterator[ScannedRow]:
    """Read the rows at some positions, in this order.

    Raises:
        DataError: a label that is no class, or pixels outside [0, 1].
    """
    for position, row in zip(positions, source.read(positions), strict=False):
        _check_row(row, source)
        if labelled:
            check_labels(row, source)
        whole = check_shape(row, source.input_shape)
        bare = replace(whole, image=None, mask=None)
        yield ScannedRow(position, content_of(whole), mark_of(whole), bare)


def check_labels(row: Row, source: Source) -> None:
    """Refuse labels that are none of the classes.

    Raises:
        DataError: one is.
    """
    for label in (row.label, row.label if row.label2 is None else row.label2):
        if not _is_among(label, len(source.classes)):
            raise DataError(
                f"image {row.sample_id!r} has label {label}; the {len(source.classes)} classes of {source.address} "
                f"are numbered 0 to {len(source.classes) - 1}. Correct the labels or name all the classes."
            )


def _is_among(label: object, classes: int) -> bool:
    """Whether a label is the number of a class, of whatever kind that number is."""
    try:
        return bool(int(label) == label and 0 <= label < classes)  # type: ignore[call-overload,operator]
    except (TypeError, ValueError, OverflowError):
        return False


def _check_row(row: Row, source: Source) -> None:
    """Refuse what only a source of somebody else's says: a split that is none, a box that no picture has."""
    if row.split is not None and row.split not in get_args(OwnSplit):
        raise DataError(
            f"image {row.sample_id!r} of {source.address} has the split {brief(repr(row.split))}; it must be one of "
            f"{', '.join(get_args(OwnSplit))}, or None. Translate it, for instance by demur.splits.own_split."
        )
    if row.box is not None and not all(-_FAR < side < _FAR for side in row.box):
        raise DataError(
            f"image {row.sample_id!r} of {source.address} has the box {brief(repr(row.box))}, which no picture is so "
            "large for. Correct it, or leave it out."
        )
