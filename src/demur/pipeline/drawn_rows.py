"""Which rows a condition is measured on where that is a sample, and how many others each of them stands for.

The rows with the smallest content hashes are drawn alike, whatever they are. Where strata are asked for, those of each
stratum with fewer than `least` rows among them are followed by the next of the stratum, in the order of their hashes.
So a smaller sample is a part of a larger one, and in each stratum the rows drawn are a sample drawn alike: each stands
for as many as there are in the stratum over as many as were drawn (Horvitz & Thompson 1952; Holt & Smith 1979,
"Post stratification").
"""

from array import array
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

_DIGITS, _AT_ONCE = 16, 8192


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
def drawn_rows(index: Index, among: "Candidates | None", draw: Draw) -> DrawnRows:
    """The rows that are drawn, the same ones whenever they are asked for.

    Args:
        index: all rows.
        among: those that may be drawn, None for all; unreadable ones are not.
        draw: how many.

    Raises:
        InputError: the data have no such column.
    """
    ordered = by_hash(index, every_row(len(index)) if among is None else among.rows)
    first = np.sort(ordered[: draw.count])
    if draw.strata is None or len(first) == len(ordered):
        return DrawnRows(first, len(ordered), {})
    alike = np.zeros(len(index), bool)
    alike[first] = True
    strata = _strata(index, ordered, draw.strata)
    taken = {name: _taken(rows, alike, draw.least) for name, rows in strata.items()}
    rows = np.sort(np.concatenate(list(taken.values())))
    if len(rows) == len(first) or len(rows) == len(ordered):
        return DrawnRows(rows, len(ordered), {})
    return DrawnRows(rows, len(ordered), _columns(rows, strata, taken, alike))


@dataclass(frozen=True, eq=False)
class Candidates:
    """Rows that may be drawn; each is the same one as itself alone."""

    rows: IndexRows

    def __len__(self) -> int:
        return len(self.rows)


def by_hash(index: Index, rows: Iterable[int] | IndexRows) -> IndexRows:
    """The readable ones of some rows in the order of their content hashes."""
    wanted = rows if isinstance(rows, np.ndarray) else np.fromiter(rows, np.int64)
    readable = wanted[np.isin(wanted, index.readable)]
    return readable[hash_order(index.contents, index.sample_ids, readable)]


def hash_order(contents: Sequence[str], sample_ids: Sequence[str], rows: IndexRows) -> IndexRows:
    """The places among some rows, in the order of their contents and, of the same content, of their ids.

    Sorted by the first digits, 16 bytes a row, and by the whole only where these are the same.
    """
    return _hash_order(contents, sample_ids, rows)[0]


def further_copies(contents: Sequence[str], keys: Sequence[Any], rows: IndexRows) -> IndexRows:
    """Those of some rows with the content of another of them whose key, such as the id, is smaller."""
    order, edges = _hash_order(contents, keys, rows)
    pairs = ((int(rows[order[at]]), int(rows[order[at + 1]])) for at in edges)
    return np.array([row for before, row in pairs if contents[before] == contents[row]], dtype=np.int64)


def _hash_order(contents: Sequence[str], keys: Sequence[Any], rows: IndexRows) -> tuple[IndexRows, NDArray[np.intp]]:
    """The order, and where in it two rows follow one another whose contents begin alike."""
    heads = np.empty(len(rows), f"S{_DIGITS}")
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE].tolist()
        heads[start : start + _AT_ONCE] = [contents[row][:_DIGITS].encode() for row in part]
    order = np.argsort(heads, kind="stable")
    heads = heads[order]
    edges = np.flatnonzero(heads[1:] == heads[:-1])
    for run in np.split(edges, np.flatnonzero(np.diff(edges) > 1) + 1) if len(edges) else ():
        own = slice(int(run[0]), int(run[-1]) + 2)
        order[own] = sorted(order[own].tolist(), key=lambda at: (contents[int(rows[at])], keys[int(rows[at])]))
    return order, edges


@dataclass(frozen=True, eq=False)
class Picked(Sequence[str]):
    """What an index says of some of its rows, each made when it is asked for."""

    every: Sequence[str]
    rows: IndexRows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: Any) -> Any:
        return self.every[int(self.rows[at])]


def named_rows(sample_ids: Iterable[str], every: Iterable[str]) -> IndexRows:
    """Where some ids are among all ids of an index, in their own order."""
    wanted = list(sample_ids)
    missing = set(wanted)
    place = {name: row for row, name in enumerate(every) if name in missing}
    return np.array([place[name] for name in wanted], dtype=np.int64)


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


def _strata(index: Index, ordered: IndexRows, name: str) -> dict[tuple[str, object], IndexRows]:
    """The rows of each stratum by hash; one of each split, for some tables are about one split alone."""
    values, found = _values(index, name), defaultdict[tuple[str, object], "array[int]"](_no_rows)
    for row in ordered:
        found[index.splits[row], values[row]].append(row)
    named = sorted(found.items(), key=lambda each: (each[0][0], str(each[0][1])))
    return {each: np.array(rows, dtype=np.int64) for each, rows in named}


def _no_rows() -> "array[int]":
    return array("q")


def _taken(rows: IndexRows, alike: NDArray[np.bool_], least: int) -> IndexRows:
    """The first so many rows of a stratum: those that all others allow it, or the least."""
    return rows[: max(int(alike[rows].sum()), min(least, len(rows)))]


def _columns(
    rows: IndexRows, strata: dict[Any, IndexRows], taken: dict[Any, IndexRows], alike: NDArray[np.bool_]
) -> dict[str, NDArray[Any]]:
    number, drawn, weight = np.empty(len(rows), int), np.empty(len(rows), int), np.empty(len(rows))
    for at, (name, own) in enumerate(taken.items()):
        places = np.searchsorted(rows, own)
        number[places], drawn[places], weight[places] = at, len(own), len(strata[name]) / max(1, len(own))
    return {STANDS_FOR: weight, ALIKE: alike[rows], STRATUM: number, DRAWN: drawn}


def attacked_rows(index: Index, count: int) -> IndexRows:
    """The readable test rows with the smallest content hashes, in the order of the source; of all without any."""
    return drawn_rows(index, attackable(index), Draw(count)).rows


@lru_cache(maxsize=4)
def every_row(count: int) -> IndexRows:
    """So many rows in their order, the same array whenever it is asked for: what has all rows has a part of it."""
    return np.arange(count, dtype=np.int64)


@lru_cache(maxsize=4)
def attackable(index: Index) -> Candidates:
    """The test rows; where there are none all but the fit rows, for attacks fit nothing and choose nothing."""
    test = index.rows_of("test")
    if len(test):
        return Candidates(test)
    readable = index.readable
    return Candidates(readable[~np.isin(readable, index.rows_of("fit"))])


def section_rows(index: Index, attacked: int, count: int) -> IndexRows:
    """The first so many readable rows of any split, in the order of the source: those attacked first, then by hash."""
    first = by_hash(index, attackable(index).rows)[:attacked]
    readable = index.readable
    others = by_hash(index, readable[~np.isin(readable, first)])
    return np.sort(np.concatenate([first, others])[:count])
