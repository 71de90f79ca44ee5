"""A CSV file that lists images: `csv:FILE` with the columns path, label and, if wanted, group, split, label2, … ."""

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from demur.class_names import class_list
from demur.data.column_rows import Listing
from demur.data.compact_rows import CompactRows
from demur.data.image_list import Files, ImageListSource, image_list_source
from demur.data.object_masks import MASK_OPTIONS, folders_of, marks_of
from demur.data.path_groups import grouped_by_path
from demur.data.source import Row, path_of
from demur.data.table_columns import (
    COLUMN_OPTIONS,
    Columns,
    Facts,
    columns_in,
    labels_of,
    numbers_or_text,
    rows_in_split,
)
from demur.data.task_refusals import multi_label
from demur.data.text_table import TextTable, read_table
from demur.errors import DataError, brief, legible
from demur.pictures.decode_rules import DECODE_OPTIONS, Rules
from demur.registry import Address


def open_source(address: Address) -> ImageListSource:
    """Open a file; paths are relative to its folder, or to the root that an option names, and ids are paths."""
    address.only(("image", "label", "classes", "root", "split", *MASK_OPTIONS, *COLUMN_OPTIONS, *DECODE_OPTIONS))
    path, options = path_of(address), address.options
    root = root_of(options, path.parent)
    found = listed_files(path, root, options)
    load, chosen = Files(root, found.names), Rules.of(options)
    marked = marks_of(folders_of(options, root), load, found.rows, found.classes, chosen)
    return image_list_source(address.text, found.classes, found.rows, load, chosen, marked)


def listed_files(path: Path, root: Path, options: Mapping[str, str]) -> Listing:
    """The files that a table lists, of the split that an option names; ids are paths below the root.

    Raises:
        DataError: a path that leads out of the root, a column that is not there, or a cell that is not what it says.
    """
    table = read_table(path)
    files = columns_in(options["image"], table.header, str(path)) if "image" in options else table.path_column()
    label = columns_in(options.get("label", _label(table)), table.header, str(path))
    read = Columns.of(table.header, options, str(path))
    written = numbers_or_text(table.columns[label])
    classes = class_list(options["classes"]) if "classes" in options else ()
    labels = labels_of(written, f"the column {label!r} of {path}", classes, options)
    facts = Facts.of(read, table.columns, labels)
    names = names_of(table, files, root)
    listed: Iterable[Row] = (
        facts.row(at, legible(name), labels.number(written[at], table.where(at)), table.where(at))
        for at, name in enumerate(names)
    )
    if read.pattern is not None:
        listed = grouped_by_path(listed, read.pattern, names, str(path))
    rows = CompactRows.of(listed)
    kept = rows_in_split(rows, options.get("split"), str(path))
    return Listing.of(names, rows, labels.classes).only(kept)


def root_of(options: Mapping[str, str], beside: Path) -> Path:
    """The folder that paths of a list are relative to: that of the list, or the option `root`, relative to it.

    Raises:
        DataError: there is no such folder.
    """
    root = beside / options["root"] if "root" in options else beside
    if not root.is_dir():
        raise DataError(f"there is no folder {root}, which ?root={brief(options['root'])} names. Check the path.")
    return root


def names_of(table: TextTable, column: str, root: Path | None = None) -> list[str]:
    """The paths of a table, tidied and relative to the folder of the table, or to a root that they may begin with.

    Raises:
        DataError: one is empty, repeated or leads out of the folder.
    """
    start = None if root is None else posixpath.normpath(Path.cwd() / root).rstrip("/") + "/"
    names: dict[str, int] = {}
    for row, text in enumerate(table.columns[column]):
        name = posixpath.normpath(text.strip().replace("\\", "/"))
        name = name if start is None else name.removeprefix(start)
        if not text.strip() or name.startswith(("/", "../")) or name in {".", ".."} or "\0" in name or ":" in name[:2]:
            raise DataError(_outside(table, row, text, root))
        if name in names:
            raise DataError(
                f"{table.where(row)}: {name!r} is listed a second time, first in line {table.lines[names[name]]}; "
                "an image must be listed once. Drop one of the lines."
            )
        names[name] = row
    return list(names)


def _outside(table: TextTable, row: int, text: str, root: Path | None) -> str:
    way_out = "" if root is None else ", or name a folder that holds all images, as in ?root=.. or ?root=/data"
    return (
        f"{table.where(row)}: the path {brief(text)!r} leads out of the folder {root or table.path.parent}; paths must "
        f"be relative to it and stay below it. Correct the path{way_out}."
    )


def _label(table: TextTable) -> str:
    """The usual name, unless the table has one column of yes and no per class."""
    flags = [name for name, cells in table.columns.items() if _is_flag(cells)]
    if "label" not in table.columns and len(flags) > 1:
        raise multi_label(str(table.path), f"the columns {', '.join(flags[:6])} hold 0 and 1, one class each")
    return "label"


def _is_flag(cells: Sequence[str]) -> bool:
    return bool(cells) and set(cells) <= {"0", "1"}
