"""Small text tables: comma, semicolon or tab separated UTF-8 with a header, as columns of cells."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from demur.errors import DataError, brief, legible
from demur.records import FORMULA
from demur.registry.regular_files import MIB, content_of, reason

_LARGEST = 256 * MIB
_HEAD = 1 * MIB
_COLUMNS = 1_000
_ROWS = 4_000_000
PATH_COLUMNS = ("path", "file", "file_name", "filename", "image")
"""What a column that names the files is called."""


@dataclass(frozen=True, eq=False)
class TextTable:
    """Columns of text; `lines` are the numbers of the lines that the rows stand on."""

    path: Path
    columns: Mapping[str, Sequence[str]]
    lines: Sequence[int]

    @property
    def header(self) -> list[str]:
        """The names of the columns."""
        return list(self.columns)

    def where(self, row: int) -> str:
        """The place of a row, for messages."""
        return f"{self.path}, line {self.lines[row]}"

    def path_column(self) -> str:
        """The column that names the files."""
        for name in PATH_COLUMNS:
            if name in self.columns:
                return name
        raise DataError(
            f"{self.path} has no column that names the files: it must be called {', '.join(PATH_COLUMNS)}; found "
            f"{', '.join(self.columns)}. Rename it."
        )


def read_table(path: Path) -> TextTable:
    """Read a table as text.

    Raises:
        DataError: not UTF-8, no header, a repeated column, or a line with more or fewer cells than the header.
    """
    rows = _cells(path)
    _, first = next(rows, (0, None))
    if first is None:
        raise DataError(f"{path} is empty; its first line must name the columns.")
    header = [name.strip() for name in first]
    check_header(header, str(path))
    body = list(_body(rows, len(header), path))
    columns = {name: [cells[at] for _, cells in body] for at, name in enumerate(header)}
    return TextTable(path, columns, [line for line, _ in body])


def _body(rows: Iterator[tuple[int, list[str]]], width: int, path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows that hold anything; one of another width, or one too many, is refused where it stands."""
    for count, (line, cells) in enumerate(((line, cells) for line, cells in rows if any(cells)), 1):
        if len(cells) != width:
            raise DataError(
                f"{path}, line {line}: {len(cells)} cells under {width} columns. Quote cells that hold the separator."
            )
        if count > _ROWS:
            raise DataError(f"{path} has more than {_ROWS:,} rows. Write them as Parquet, or as several files.")
        yield line, [_plain(cell) for cell in cells]


def _plain(cell: str) -> str:
    """A cell without the apostrophe that keeps a spreadsheet from taking it for a formula."""
    return cell[1:] if cell[:1] == "'" and re.match(FORMULA, cell) else cell


def check_header(header: Sequence[str], where: str) -> None:
    """Refuse columns that are too many, called alike, or by what no screen shows.

    Raises:
        DataError: the names of the columns are no names.
    """
    if len(header) > _COLUMNS:
        raise DataError(
            f"{where} has {len(header):,} columns; at most {_COLUMNS:,} are read. Keep those that say something of the "
            "images, one image a row."
        )
    repeated = sorted(name for name, count in Counter(header).items() if count > 1)
    if repeated:
        raise DataError(f"{where} has the column {brief(repeated[0])!r} twice. Rename or drop one.")
    hidden = [name for name in header if legible(name) != name]
    if hidden:
        raise DataError(
            f"{where} has a column called '{brief(legible(hidden[0]))}', which holds characters that no "
            "screen shows. Rename it."
        )


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    text = _text(path)
    first = text[:_HEAD].partition("\n")[0]
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}. Check the quotes.") from None


def _text(path: Path) -> str:
    try:
        content = content_of(path, _LARGEST)
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}. Check the path.") from None
    if content.count(b"\n") > 2 * _ROWS:
        raise DataError(f"{path} has more than {2 * _ROWS:,} lines. Write them as Parquet, or as several files.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}, line {line}: the byte 0x{content[error.start]:02x} is not UTF-8. Save the file as UTF-8 (in a "
            "spreadsheet: 'CSV UTF-8')."
        ) from None
