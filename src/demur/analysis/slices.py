"""Accuracy and the guard, by everything that is known of the images."""

import math
from collections.abc import Iterator

import numpy as np
import polars as pl

from demur.analysis.accuracy import accuracy, share
from demur.analysis.results import SliceRow
from demur.analysis.run import Flags, Floats, Run, wrong
from demur.records import META

FEWEST = 30
"""Smaller slices say nothing and are not listed."""

NOT_GIVEN = "not given"
_FEWEST_ANSWERED = 20
_CATEGORIES = 8


def slices(run: Run) -> tuple[SliceRow, ...]:
    """Every slice of at least 30 clean images: each value of a text column, the quarters of a numeric one."""
    clean = run.rows("clean")
    test = (clean["role"] == "test").to_numpy()
    answered = None if run.guard is None else run.answered(run.guard, clean)
    return tuple(
        _slice(clean, test, answered, name.removeprefix(META), value, inside)
        for name in clean.columns
        if name.startswith(META)
        for value, inside in _parts(clean[name])
        if inside.sum() >= FEWEST
    )


def worst_slice(rows: tuple[SliceRow, ...]) -> SliceRow | None:
    """The slice with the most wrong among its answered images (at least 20 of them), else the least accurate one."""
    guarded = [row for row in rows if row.risk and row.risk.value == row.risk.value and _answered(row)]
    if guarded:
        return max(guarded, key=lambda row: row.risk.value if row.risk else 0.0)
    return min(rows, key=lambda row: row.accuracy.value, default=None)


def _answered(row: SliceRow) -> bool:
    return row.coverage is not None and row.coverage.value * row.test_n >= _FEWEST_ANSWERED


def _slice(
    clean: pl.DataFrame, test: Flags, answered: Flags | None, column: str, value: str, inside: Flags
) -> SliceRow:
    rows, own = clean.filter(inside), inside & test
    guarded = None if answered is None else answered & own
    accepted = None if guarded is None else clean.filter(guarded)
    return SliceRow(
        column=column,
        value=value,
        n=len(rows),
        accuracy=accuracy(rows),
        test_n=int(own.sum()),
        coverage=None if guarded is None else share(guarded[own], clean.filter(own)),
        risk=None if accepted is None else share(wrong(accepted), accepted),
    )


def _parts(values: pl.Series) -> Iterator[tuple[str, Flags]]:
    """Each part's name and rows; a column is numeric if it holds more than eight numbers and nothing else."""
    numbers = values.cast(pl.Float64, strict=False)
    numeric = numbers.null_count() == values.null_count() and numbers.drop_nulls().is_finite().all()
    if numeric and numbers.drop_nulls().n_unique() > _CATEGORIES:
        yield from _quarters(numbers.to_numpy())
    else:
        for value in values.drop_nulls().unique().sort():
            yield str(value), (values == value).fill_null(value=False).to_numpy()
    yield NOT_GIVEN, values.is_null().to_numpy()


def _quarters(numbers: Floats) -> Iterator[tuple[str, Flags]]:
    """Quarters by rank cut at values, so that equal numbers stay together."""
    edges = np.unique(np.nanquantile(numbers, [0.25, 0.5, 0.75], method="lower"))
    low = -math.inf
    for high in (*edges, math.inf):
        inside = (numbers > low) & (numbers <= high)
        if inside.any():
            yield f"{numbers[inside].min():g} to {numbers[inside].max():g}", inside
        low = high
