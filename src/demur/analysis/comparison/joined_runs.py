"""Images that several runs have in common, and what each run says of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from demur.analysis.run_folder import Run

Entry: TypeAlias = Mapping[str, Any]
Runs: TypeAlias = Mapping[str, Run]
"""Runs by the letter they are called by, the first of all first."""
Side: TypeAlias = Callable[[Run, pl.DataFrame], ArrayLike]
"""What is compared: a number for each row of one run."""

_ID = "sample_id"


def joined(runs: Runs, condition: str, value: Side) -> pl.DataFrame:
    """The images all the runs have under a condition, a column of what `value` makes of each run's rows, by letter."""
    tables = {}
    for letter, run in runs.items():
        rows = run.rows(condition)
        tables[letter] = rows.with_columns(pl.Series(letter, np.asarray(value(run, rows))))
    return met(tables)


def met(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """The images in all of some tables, with the column of each that is called by its letter."""
    found: pl.DataFrame | None = None
    for letter, rows in tables.items():
        found = rows if found is None else _met(found, rows.select(_ID, letter))
    if found is None:
        raise ValueError("nothing to join: name at least one run")
    return found.select(_ID, "label", "group", *tables)


def averaged(runs: Runs, conditions: Sequence[str], value: Side) -> pl.DataFrame:
    """The same for several conditions: the mean of each image that all the runs have under all of them."""
    rows = pl.concat([joined(runs, name, lambda run, own: np.asarray(value(run, own), float)) for name in conditions])
    found = rows.group_by(_ID, maintain_order=True).agg(
        pl.first("label", "group"), pl.mean(*runs), pl.len().alias("conditions")
    )
    return found.filter(pl.col("conditions") == len(conditions)).drop("conditions")


def _met(one: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    return one.join(other, on=_ID, how="inner", maintain_order="left")


def shared(runs: Runs, kinds: Iterable[str]) -> Iterator[tuple[Entry, Runs]]:
    """Every condition of some kinds that at least two runs have, and those that have it."""
    for name, entry in _entries(runs, kinds).items():
        own = {letter: run for letter, run in runs.items() if name in _names(run)}
        if len(own) > 1:
            yield entry, own


def missing(runs: Runs, kinds: Iterable[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The conditions that not every run has, with the letters of those that lack them."""
    for name in _entries(runs, kinds):
        without = tuple(letter for letter, run in runs.items() if name not in _names(run))
        if without:
            yield name, without


def common_names(runs: Runs, kinds: Iterable[str]) -> frozenset[str]:
    """The conditions that every one of the runs has."""
    return frozenset(name for name in _entries(runs, kinds) if all(name in _names(run) for run in runs.values()))


def _entries(runs: Runs, kinds: Iterable[str]) -> dict[str, Entry]:
    """Every condition of some kinds, in the order of the first run that has it."""
    kinds = tuple(kinds)
    every = (entry for run in runs.values() for entry in run.facts["conditions"] if entry["kind"] in kinds)
    found: dict[str, Entry] = {}
    for entry in every:
        found.setdefault(entry["name"], entry)
    return found


def _names(run: Run) -> frozenset[str]:
    return frozenset(entry["name"] for entry in run.facts["conditions"])
