"""Rows of a set whose columns say what is known of each image, and whose images lie elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from demur.class_names import class_list
from demur.compact import Places, Texts, texts_of
from demur.data.compact_rows import CompactRows
from demur.data.path_groups import grouped_by_path
from demur.data.source import Row
from demur.data.table_columns import Columns, Facts, Labels, columns_in, labels_of
from demur.errors import legible


@dataclass(frozen=True, eq=False)
class Listing:
    """Rows whose images are files, not read yet.

    Attributes:
        names: the path of each file below the root of the set.
        rows: what is known of each.
        classes: the class names.
    """

    names: Texts
    rows: CompactRows
    classes: tuple[str, ...]

    @classmethod
    def of(cls, names: Iterable[str], rows: Iterable[Row], classes: tuple[str, ...]) -> "Listing":
        """These; paths that are the ids are kept once."""
        paths, listed = texts_of(names), CompactRows.of(rows)
        return cls(listed.sample_ids if listed.sample_ids == paths else paths, listed, classes)

    def only(self, positions: Places) -> "Listing":
        """Those at some positions."""
        return Listing.of(self.names.select(positions), self.rows.select(positions), self.classes)


def column_rows(
    cells: Mapping[str, Sequence[Any]],
    label: str,
    ids: Sequence[str],
    options: Mapping[str, str],
    where: str,
    declared: Sequence[str] = (),
    paths: Sequence[str] | None = None,
) -> tuple[CompactRows, Labels]:
    """A row for each id, its image not read yet, and how its label became a number.

    Args:
        cells: the columns by name, one cell for each id.
        label: the column of the classes.
        ids: what the images are called.
        options: those of the address: `classes`, `group`, `splits`, `label2`, `label_weight`, `meta`, `first_label`.
        where: what messages call the set.
        declared: class names that the set brings along; those of the address win.
        paths: what groups are read off where an option has a pattern; by default the ids.

    Raises:
        DataError: a column that is not there, or a cell that is not what its column says.
    """
    columns_in(label, cells, where)
    read = Columns.of(cells, options, where)
    names = class_list(options["classes"]) if "classes" in options else declared
    labels = labels_of(cells[label], f"the column {label!r} of {where}", names, options)
    facts = Facts.of(read, cells, labels)
    rows: Iterable[Row] = (
        facts.row(at, legible(name), labels.number(cells[label][at], place), place)
        for at, (name, place) in enumerate((name, f"{where}, {legible(name)}") for name in ids)
    )
    if read.pattern is not None:
        rows = grouped_by_path(rows, read.pattern, ids if paths is None else paths, where)
    return CompactRows.of(rows), labels
