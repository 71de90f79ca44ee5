"""A CSV file that lists images: `csv:FILE` with the columns path, label and, if wanted, group, split, label2, … ."""

import posixpath
from collections.abc import Sequence

from demur.data.image_list import Files, ImageListSource, image_list_source
from demur.data.object_masks import MASK_OPTIONS, folders_of, marks_of
from demur.data.path_groups import grouped_by_path
from demur.data.source import path_of
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
    """Open a file; paths are relative to its folder, and ids are paths."""
    address.only(("image", "label", "classes", "split", *MASK_OPTIONS, *COLUMN_OPTIONS, *DECODE_OPTIONS))
    path, options = path_of(address), address.options
    table = read_table(path)
    files = columns_in(options["image"], table.header, str(path)) if "image" in options else table.path_column()
    label = columns_in(options.get("label", _label(table)), table.header, str(path))
    read = Columns.of(table.header, options, str(path))
    written = numbers_or_text(table.columns[label])
    classes = options["classes"].split(",") if "classes" in options else ()
    labels = labels_of(written, f"the column {label!r} of {path}", classes)
    facts = Facts.of(read, table.columns, labels)
    names = names_of(table, files)
    rows = [
        facts.row(at, legible(name), labels.number(written[at], table.where(at)), table.where(at))
        for at, name in enumerate(names)
    ]
    if read.pattern is not None:
        rows = grouped_by_path(rows, read.pattern, names, str(path))
    kept = rows_in_split(rows, options.get("split"), str(path))
    picked = [rows[at] for at in kept]
    load = Files(path.parent, tuple(names[at] for at in kept))
    chosen = Rules.of(options)
    marked = marks_of(folders_of(options, path.parent), load, picked, labels.classes, chosen)
    return image_list_source(address.text, labels.classes, picked, load, chosen, marked)


def names_of(table: TextTable, column: str) -> list[str]:
    """The paths of a table, tidied.

    Raises:
        DataError: one is empty, repeated, absolute or leads out of the folder of the table.
    """
    names: dict[str, int] = {}
    for row, text in enumerate(table.columns[column]):
        name = posixpath.normpath(text.strip().replace("\\", "/"))
        if not text.strip() or name.startswith(("/", "../")) or name in {".", ".."} or "\0" in name or ":" in name[:2]:
            raise DataError(
                f"{table.where(row)}: the path {brief(text)!r} leads out of the folder {table.path.parent}; paths must "
                "be relative to the file that lists them and stay below it. Move the file, or the images."
            )
        if name in names:
            raise DataError(
                f"{table.where(row)}: {name!r} is listed a second time, first in line {table.lines[names[name]]}; "
                "an image must be listed once. Drop one of the lines."
            )
        names[name] = row
    return list(names)


def _label(table: TextTable) -> str:
    """The usual name, unless the table has one column of yes and no per class."""
    flags = [name for name, cells in table.columns.items() if _is_flag(cells)]
    if "label" not in table.columns and len(flags) > 1:
        raise multi_label(str(table.path), f"the columns {', '.join(flags[:6])} hold 0 and 1, one class each")
    return "label"


def _is_flag(cells: Sequence[str]) -> bool:
    return bool(cells) and set(cells) <= {"0", "1"}
