"""Small text tables: comma, semicolon or tab separated UTF-8 with a header, as columns of cells."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from demur.errors import DataError

_PATHS = ("path", "file", "file_name", "filename", "image")


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
        for name in _PATHS:
            if name in self.columns:
                return name
        raise DataError(
            f"{self.path} has no column that names the files: it must be called {', '.join(_PATHS)}; found "
            f"{', '.join(self.columns)}. Rename it."
        )


def read_table(path: Path) -> TextTable:
    """Read a table as text.

    Raises:
        DataError: not UTF-8, no header, a repeated column, or a line with more or fewer cells than the header.
    """
    rows = list(_cells(path))
    if not rows:
        raise DataError(f"{path} is empty; its first line must name the columns.")
    header = [name.strip() for name in rows[0][1]]
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise DataError(f"{path} has the column {repeated[0]!r} twice. Rename or drop one.")
    body = [(line, cells) for line, cells in rows[1:] if any(cells)]
    for line, cells in body:
        if len(cells) != len(header):
            raise DataError(
                f"{path}, line {line}: {len(cells)} cells under {len(header)} columns. Quote cells that hold the "
                "separator."
            )
    columns = {name: [cells[at] for _, cells in body] for at, name in enumerate(header)}
    return TextTable(path, columns, [line for line, _ in body])


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    text = _text(path)
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=separator, strict=True)
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}. Check the quotes.") from None


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}. Check the path.") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}, line {line}: the byte 0x{content[error.start]:02x} is not UTF-8. Save the file as UTF-8 (in a "
            "spreadsheet: 'CSV UTF-8')."
        ) from None
