"""What the columns of a table say of its rows: label, group, split, second label, label weight, metadata."""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from demur.compact import Places
from demur.data.compact_rows import CompactRows
from demur.data.path_groups import is_pattern
from demur.data.source import UNREAD, Row
from demur.data.task_refusals import dates, quantities, several_labels, too_many
from demur.errors import AddressError, DataError, brief, unknown
from demur.splits import own_split


@dataclass(frozen=True)
class Labels:
    """How labels become numbers.

    Attributes:
        classes: the names; a number is a position among them.
        numbered: whether labels are written as numbers.
        first: the number that the first class is written as.
    """

    classes: tuple[str, ...]
    numbered: bool
    first: int = 0

    def number(self, label: object, where: str) -> int:
        """The number of a label.

        >>> Labels(("cat", "dog"), numbered=False).number("dog", "line 3")
        1
        """
        plain = cell(label)
        if plain is None:
            raise DataError(f"{where}: the label is missing. Give one, or leave the row out.")
        if isinstance(plain, int) and self.numbered:
            if 0 <= plain - self.first < len(self.classes):
                return plain - self.first
        elif str(plain) in self._places:
            return self._places[str(plain)]
        raise DataError(
            f"{where}: the label {brief(repr(label))} is not among the {len(self.classes)} classes "
            f"{', '.join(map(brief, self.classes[:12]))}{', …' if len(self.classes) > 12 else ''}. Correct it, or name "
            "all the classes with ?classes=a,b,…."
        )

    @cached_property
    def _places(self) -> dict[str, int]:
        """The number of each name; the first of them where a name is given twice."""
        return {name: number for number, name in reversed([*enumerate(self.classes)])}


def labels_of(
    values: Iterable[object],
    where: str,
    declared: Sequence[str] = (),
    options: Mapping[str, str] = MappingProxyType({}),
) -> Labels:
    """How the labels of a set become numbers; classes that are not declared are read off them.

    Whole numbers are positions, from 0 to the largest, or from the 1 of the option `first_label`; names are sorted.

    Raises:
        DataError: several labels in one cell, quantities, dates or ids instead of classes, or numbers of which nobody
            can tell whether they begin with 0 or 1.
    """
    first = _first(options.get("first_label"))
    written = list(values)
    dates(written, where)
    found = {plain for plain in map(cell, written) if plain is not None}
    known = set(declared)
    several_labels((plain for plain in found if str(plain) not in known), where)
    quantities(found, where)
    numbered = all(isinstance(plain, int) for plain in found) and not {str(plain) for plain in found} <= known
    if numbered and first is None:
        _check_from_zero({int(plain) for plain in found}, len(declared), where)
    start = first or 0
    if declared:
        return Labels(tuple(declared), numbered, start)
    count = 1 + max(map(int, found), default=-1) - start if numbered else len(found)
    too_many(count, found, where)
    return Labels(
        tuple(map(str, range(start, start + count) if numbered else sorted(map(str, found)))), numbered, start
    )


def _first(text: str | None) -> int | None:
    if text not in (None, "0", "1"):
        raise AddressError(
            f"`first_label` must be 0 or 1, the number of the first class; got {brief(text)!r}. Write ?first_label=1."
        )
    return None if text is None else int(text)


def _check_from_zero(found: Collection[int], declared: int, where: str) -> None:
    """Refuse labels that are all numbers from 1 to the largest: a class 0 without images looks the same.

    Where more classes are declared than that, class 0 is among them.
    """
    most = max(found, default=0)
    if most > 1 and declared <= most and min(found) == 1 and len(found) == most:
        raise DataError(
            f"{where} has the labels 1 to {most} and no 0, so that nobody can tell which class is the model's first. "
            "Write ?first_label=1 if they count from 1, or ?first_label=0 if class 0 merely has no images here."
        )


def cell(value: object) -> int | float | str | None:
    """A label as plainly as it can be read: whole number, number, text, or None for an empty cell.

    >>> cell(3), cell(2.0), cell(" cat "), cell(True), cell("")
    (3, 2, 'cat', 'True', None)
    """
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return None if math.isnan(value) else int(value) if value.is_integer() else value
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    return str(value).strip() or None


COLUMN_OPTIONS = ("group", "splits", "label2", "label_weight", "meta", "first_label")

_PREFIX = "meta."


@dataclass(frozen=True)
class Columns:
    """The names of the columns that are read; None where a table has none.

    Attributes:
        meta: name of the meta data → name of the column.
        pattern: what finds the group in a path, where an option says so and names no column.
    """

    group: str | None
    split: str | None
    label2: str | None
    weight: str | None
    meta: Mapping[str, str]
    pattern: str | None = None

    @classmethod
    def of(cls, header: Collection[str], options: Mapping[str, str], where: str, meta: Iterable[str] = ()) -> "Columns":
        """Those a header has, those the options name, and those of meta data that are given.

        Raises:
            DataError: an option names a column that is not there.
        """

        def column(option: str, usual: str) -> str | None:
            if option in options:
                return columns_in(options[option], header, where)
            return usual if usual in header else None

        wanted = options.get("group", "")
        pattern = wanted if wanted not in header and is_pattern(wanted) else None
        requested = [columns_in(name, header, where) for name in options.get("meta", "").split(",") if name]
        prefixed = {name.removeprefix(_PREFIX): name for name in header if name.startswith(_PREFIX)}
        return cls(
            None if pattern else column("group", "group"),
            column("splits", "split"),
            column("label2", "label2"),
            column("label_weight", "label_weight"),
            prefixed | {name: name for name in (*requested, *meta)},
            pattern,
        )

    @property
    def used(self) -> list[str]:
        """Every column that is read, once."""
        named = (self.group, self.split, self.label2, self.weight, *self.meta.values())
        return list(dict.fromkeys(name for name in named if name))


@dataclass(frozen=True)
class Facts:
    """What a table says of its rows, ready to be made rows of."""

    read: Columns
    cells: Mapping[str, Sequence[Any]]
    meta: Mapping[str, Sequence[str | float | None]]
    labels: Labels

    @classmethod
    def of(cls, read: Columns, cells: Mapping[str, Sequence[Any]], labels: Labels) -> "Facts":
        """The columns that are read; those of meta data, and numbered second labels, as numbers where they are."""
        plain = {read.label2: numbers_or_text(cells[read.label2])} if read.label2 and labels.numbered else {}
        return cls(
            read,
            {**cells, **plain},
            {name: numbers_or_text(cells[column]) for name, column in read.meta.items()},
            labels,
        )

    def row(self, at: int, sample_id: str, label: int, where: str) -> Row:
        """A row whose image has not been read yet."""
        group, split, second, weight = (
            self.cells[name][at] if name else None
            for name in (self.read.group, self.read.split, self.read.label2, self.read.weight)
        )
        return Row(
            sample_id,
            None,
            label,
            group=text(group),
            error=UNREAD,
            meta={name: values[at] for name, values in self.meta.items()},
            split=own_split(text(split), where),
            label2=None if text(second) is None else self.labels.number(second, where),
            weight=_weight(weight, where),
        )


def columns_in(name: str, header: Collection[str], where: str) -> str:
    """The name of a column, or an error that offers the nearest one."""
    if name not in header:
        raise DataError(f"{where}: {unknown('column', name, header)}")
    return name


def numbers_or_text(values: Iterable[object]) -> list[str | float | None]:
    """A column of meta data as numbers where every cell that is not empty is one, else as text; ids keep leading zeros.

    >>> numbers_or_text(["3", "", "4.5"]), numbers_or_text(["007", "12"])
    ([3.0, None, 4.5], ['007', '12'])
    """
    texts = [text(value) for value in values]
    numbers = [None if written is None else _number(written) for written in texts]
    plain = numbers.count(None) == texts.count(None)
    return list(numbers) if plain else list(texts)


def _number(written: str) -> float | None:
    if not re.fullmatch(r"[+-]?(0|[1-9][0-9]*|(?=\.[0-9]))(\.[0-9]*)?([eE][+-]?[0-9]{1,3})?", written):
        return None
    number = float(written)
    return number if math.isfinite(number) else None


def text(value: object) -> str | None:
    """A cell as text, None where it is empty."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return str(value).strip() or None


def _weight(value: object, where: str) -> float | None:
    written = text(value)
    if written is None:
        return None
    number = _number(written)
    if number is None or number < 0:
        raise DataError(
            f"{where}: a label weight must be a number of 0 or more; got {value!r}. Leave it empty if unknown."
        )
    return number


def rows_in_split(rows: CompactRows, split: str | None, where: str) -> Places:
    """Where the rows of a part are; without a name, all of them.

    Raises:
        DataError: no row is of that part.
    """
    if split is None or split == "all":
        return np.arange(len(rows))
    wanted, own = own_split(split, f"?split={split}"), rows.own_splits
    kept = np.flatnonzero(own.are(wanted))
    if not len(kept):
        there = ", ".join(sorted(filter(None, own.choices))) or "no split"
        raise DataError(
            f"{where} has no rows of the split {split!r}; it has {there}. Leave ?split= out to take all rows."
        )
    return kept
