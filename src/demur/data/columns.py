"""What the columns of a table say of its rows: group, split, second label, label weight, meta data.

The columns `group`, `split`, `label2`, `label_weight` and `meta.NAME` are taken where they are present; options name
others: `?group=patient&splits=fold&label2=reader2&label_weight=votes&meta=site,age`.
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from demur.data.labels import Labels
from demur.data.roles import own_role
from demur.data.source import UNREAD, Row
from demur.errors import DataError, unknown

OPTIONS = ("group", "splits", "label2", "label_weight", "meta")

_PREFIX = "meta."


@dataclass(frozen=True)
class Columns:
    """The names of the columns that are read; None where a table has none.

    Attributes:
        meta: name of the meta data → name of the column.
    """

    group: str | None
    split: str | None
    label2: str | None
    weight: str | None
    meta: Mapping[str, str]

    @classmethod
    def of(cls, header: Collection[str], options: Mapping[str, str], where: str, meta: Iterable[str] = ()) -> "Columns":
        """Those a header has, those the options name, and those of meta data that are given.

        Raises:
            DataError: an option names a column that is not there.
        """

        def column(option: str, usual: str) -> str | None:
            if option in options:
                return known(options[option], header, where)
            return usual if usual in header else None

        asked = [known(name, header, where) for name in options.get("meta", "").split(",") if name]
        prefixed = {name.removeprefix(_PREFIX): name for name in header if name.startswith(_PREFIX)}
        return cls(
            column("group", "group"),
            column("splits", "split"),
            column("label2", "label2"),
            column("label_weight", "label_weight"),
            prefixed | {name: name for name in (*asked, *meta)},
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
        plain = {read.label2: typed(cells[read.label2])} if read.label2 and labels.numbered else {}
        return cls(read, {**cells, **plain}, {name: typed(cells[column]) for name, column in read.meta.items()}, labels)

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
            role=own_role(text(split), where),
            label2=None if text(second) is None else self.labels.number(second, where),
            weight=_weight(weight, where),
        )


def known(name: str, header: Collection[str], where: str) -> str:
    """The name of a column, or an error that offers the nearest one."""
    if name not in header:
        raise DataError(f"{where}: {unknown('column', name, header)}")
    return name


def typed(values: Iterable[object]) -> list[str | float | None]:
    """A column of meta data as numbers where every cell that is not empty is one, else as text; ids keep leading zeros.

    >>> typed(["3", "", "4.5"]), typed(["007", "12"])
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
