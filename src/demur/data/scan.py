"""One pass through a source: what is known of each row and of its pixels, with the pixels left behind."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

from demur.data.image_content import content_of, mark_of
from demur.data.source import Row, Source, check_shape
from demur.errors import DataError

_CHUNK = 4096

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


class Scanner(Protocol):
    """How all rows of a source are found, in order; no result depends on which."""

    def __call__(self, source: Source, *, labelled: bool = True) -> Sequence[ScannedRow]:
        """The rows; their labels are checked where they are `labelled`."""


def scan(source: Source, *, labelled: bool = True, progress: Progress | None = None) -> list[ScannedRow]:
    """Read every row once, in this process.

    Raises:
        DataError: a label that is no class, or pixels outside [0, 1].
    """
    found = []
    for one in scan_of(source, range(len(source)), labelled=labelled):
        found.append(one)
        if progress is not None and len(found) % _CHUNK == 0:
            progress(len(found), len(source))
    return found


def scan_of(source: Source, positions: Sequence[int], *, labelled: bool) -> Iterator[ScannedRow]:
    """Read the rows at some positions, in this order.

    Raises:
        DataError: a label that is no class, or pixels outside [0, 1].
    """
    for position, row in zip(positions, source.read(positions), strict=False):
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
        if not 0 <= label < len(source.classes):
            raise DataError(
                f"image {row.sample_id!r} has label {label}; the {len(source.classes)} classes of {source.address} "
                f"are numbered 0 to {len(source.classes) - 1}. Correct the labels or name all the classes."
            )
