"""Which rows a condition is measured on where that is a sample, and how many others each of them stands for.

The rows with the smallest content hashes are drawn alike, whatever they are. Where strata are asked for, those of each
stratum with fewer than `least` rows among them are followed by the next of the stratum, in the order of their hashes.
So a smaller sample is a part of a larger one, and in each stratum the rows drawn are a sample drawn alike: each stands
for as many as there are in the stratum over as many as were drawn (Horvitz & Thompson 1952; Holt & Smith 1979,
"Post stratification").
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from demur.data import Index
from demur.errors import InputError, unknown
from demur.pipeline.plan.strata_bound import GROUP, LABEL, USUAL_LEAST
from demur.records import ALIKE, DRAWN, STANDS_FOR, STRATUM

IndexRows: TypeAlias = NDArray[np.int64]
"""Positions in the index."""


@dataclass(frozen=True)
class Draw:
    """How rows are drawn: `count` alike, then of each of the `strata` as many more as make `least`."""

    count: int
    strata: str | None = None
    least: int = USUAL_LEAST


@dataclass(frozen=True, eq=False)
class DrawnRows:
    """Rows that were drawn among `population`, in the order of the source.

    Attributes:
        rows: their positions in the index.
        population: how many rows they were drawn from.
        columns: what the record says of how each was drawn; nothing where all were drawn alike.
    """

    rows: IndexRows
    population: int
    columns: dict[str, NDArray[Any]]

    def of(self, rows: IndexRows) -> dict[str, list[object]]:
        """The columns of some of the rows; nothing where others are among them, such as tune rows that are attacked."""
        if not self.columns or not np.isin(rows, self.rows).all():
            return {}
        at = np.searchsorted(self.rows, rows)
        return {name: values[at].tolist() for name, values in self.columns.items()}

    @property
    def alike(self) -> int:
        """How many rows were drawn alike with all others."""
        return int(self.columns[ALIKE].sum()) if self.columns else len(self.rows)


@lru_cache(maxsize=8)
def drawn_rows(index: Index, among: tuple[int, ...] | None, draw: Draw) -> DrawnRows:
    """The rows that are drawn, the same ones whenever they are asked for.

    Args:
        index: all rows.
        among: those that may be drawn, None for all; unreadable ones are not.
        draw: how many.

    Raises:
        InputError: the data have no such column.
    """
    ordered = by_hash(index, range(len(index)) if among is None else among)
    first = set(ordered[: draw.count])
    if draw.strata is None or len(first) == len(ordered):
        return DrawnRows(np.array(sorted(first), dtype=np.int64), len(ordered), {})
    strata = _strata(index, ordered, draw.strata)
    taken = {name: _taken(rows, first, draw.least) for name, rows in strata.items()}
    rows = np.array(sorted(row for own in taken.values() for row in own), dtype=np.int64)
    if len(rows) == len(first) or len(rows) == len(ordered):
        return DrawnRows(rows, len(ordered), {})
    return DrawnRows(rows, len(ordered), _columns(rows, strata, taken, first))


def by_hash(index: Index, rows: Iterable[int]) -> list[int]:
    """The readable ones of some rows in the order of their content hashes."""
    readable = (int(row) for row in rows if index.errors[row] is None)
    return sorted(readable, key=lambda row: (index.contents[row], index.sample_ids[row]))


def check_strata(index: Index, name: str | None, least: int | None) -> None:
    """Refuse strata that the data do not tell.

    Raises:
        InputError: the data have no such column, no row has a group, or there is a `least` of nothing.
    """
    if name is not None:
        _values(index, name)
    elif least is not None:
        raise InputError(
            f"`conditions.least` is {least} rows of each stratum, and the plan names no `conditions.strata`. Write "
            "strata = 'label' or the name of a column, or leave both out."
        )


def growth(drawn: DrawnRows, draw: Draw, field: str) -> str | None:
    """What is to be said where strata make a sample more than twice what was asked; None where they do not.

    Args:
        drawn: the rows.
        draw: how they were to be drawn.
        field: of the plan, that says how many were asked for.

    Raises:
        InputError: the sample is no longer one, but all there are.
    """
    size = len(drawn.rows)
    if draw.strata is None or size <= 2 * draw.count:
        return None
    why = f"{draw.least} of each {draw.strata!r} in each split are {size:,} of {drawn.population:,} images"
    if size == drawn.population:
        raise InputError(
            f"`conditions.strata` leaves no sample: `{field}` asks for {draw.count:,}, and {why}. Name a column of "
            f"fewer values, write a smaller `conditions.least`, or `{field} = {size}` to measure all."
        )
    return f"strata make a sample larger: `{field}` asks for {draw.count:,}, and {why}"


def _values(index: Index, name: str) -> Sequence[object]:
    if name == LABEL:
        return index.labels.tolist()
    if name == GROUP:
        if index.group_count is None:
            raise InputError("`conditions.strata` is 'group', and the data name none. Write 'label', or leave it out.")
        return index.groups
    if name not in index.meta:
        raise unknown("column for conditions.strata", name, [LABEL, GROUP, *index.meta])
    return index.meta[name]


def _strata(index: Index, ordered: Sequence[int], name: str) -> dict[tuple[str, object], list[int]]:
    """The rows of each stratum by hash; one of each split, for some tables are about one split alone."""
    values, found = _values(index, name), defaultdict[tuple[str, object], list[int]](list)
    for row in ordered:
        found[index.splits[row], values[row]].append(row)
    return dict(sorted(found.items(), key=lambda each: (each[0][0], str(each[0][1]))))


def _taken(rows: Sequence[int], first: set[int], least: int) -> list[int]:
    """The first so many rows of a stratum: those that all others allow it, or the least."""
    return list(rows[: max(sum(row in first for row in rows), min(least, len(rows)))])


def _columns(
    rows: IndexRows, strata: dict[Any, list[int]], taken: dict[Any, list[int]], first: set[int]
) -> dict[str, NDArray[Any]]:
    place = {int(row): at for at, row in enumerate(rows)}
    number, drawn, weight = np.empty(len(rows), int), np.empty(len(rows), int), np.empty(len(rows))
    for at, (name, own) in enumerate(taken.items()):
        places = [place[row] for row in own]
        number[places], drawn[places], weight[places] = at, len(own), len(strata[name]) / max(1, len(own))
    alike = np.array([int(row) in first for row in rows])
    return {STANDS_FOR: weight, ALIKE: alike, STRATUM: number, DRAWN: drawn}


def attacked_rows(index: Index, count: int) -> IndexRows:
    """The readable test rows with the smallest content hashes, in the order of the source; of all without any."""
    return drawn_rows(index, attackable(index), Draw(count)).rows


@lru_cache(maxsize=4)
def attackable(index: Index) -> tuple[int, ...]:
    """The test rows; where there are none all but the fit rows, for attacks fit nothing and choose nothing."""
    test = index.rows_of("test").tolist()
    return tuple(test or (row for row in index.readable.tolist() if index.splits[row] != "fit"))


def section_rows(index: Index, attacked: int, count: int) -> IndexRows:
    """The first so many readable rows of any split, in the order of the source: those attacked first, then by hash."""
    first = by_hash(index, attackable(index))[:attacked]
    others = by_hash(index, set(index.readable.tolist()) - set(first))
    return np.array(sorted([*first, *others][:count]), dtype=np.int64)
