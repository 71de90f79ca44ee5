"""Accuracy and the guard, by everything that is known of the images."""

import math
from collections.abc import Iterator

import numpy as np
import polars as pl

from demur.analysis.accuracy.overall import has_enough_answers
from demur.analysis.quantity import Quantity, Table
from demur.analysis.run_folder import Flags, Floats, Run, share
from demur.policies.keeping import FEWEST_ANSWERS
from demur.records import META, wrong


class SliceRow(Table):
    """The clean images of which one thing is known: `accuracy` is over all held-out ones, the rest over test ones.

    Intervals hold for all slices at once.
    """

    column: str
    value: str
    n: int
    accuracy: Quantity
    test_n: int
    test_accuracy: Quantity
    coverage: Quantity | None
    risk: Quantity | None


FEWEST = 30
"""Smaller slices say nothing and are not listed."""

NOT_GIVEN = "not given"
_CATEGORIES = 8


def slices(run: Run) -> tuple[SliceRow, ...]:
    """Every slice of at least 30 clean images: each value of a text column, the quarters of a numeric one."""
    clean = run.rows("clean")
    test = (clean["split"] == "test").to_numpy()
    answered = None if run.guard is None else run.accepts(run.guard, clean)
    parts = [
        (name.removeprefix(META), value, inside)
        for name in clean.columns
        if name.startswith(META)
        for value, inside in _parts(clean[name])
        if inside.sum() >= FEWEST
    ]
    return tuple(_slice(clean, test, answered, part, len(parts)) for part in parts)


def worst_slice(rows: tuple[SliceRow, ...]) -> SliceRow | None:
    """The slice with the most wrong among its answered test images, else the least accurate one.

    If the guard answers fewer than 20 images of any slice with at least 20 test images, all are ranked by accuracy.
    """
    large = [row for row in rows if row.test_n >= FEWEST_ANSWERS]
    if large and all(row.risk and has_enough_answers(row.coverage, row.test_n) for row in large):
        return max(large, key=lambda row: row.risk.value if row.risk else 0.0)
    if large and all(row.coverage for row in large):
        return min(large, key=lambda row: row.test_accuracy.value)
    return min(rows, key=lambda row: row.accuracy.value, default=None)


def _slice(
    clean: pl.DataFrame, test: Flags, answered: Flags | None, part: tuple[str, str, Flags], several: int
) -> SliceRow:
    column, value, inside = part
    rows, own = clean.filter(inside), clean.filter(inside & test)
    accepted = None if answered is None else clean.filter(answered & inside & test)
    return SliceRow(
        column=column,
        value=value,
        n=len(rows),
        accuracy=share(~wrong(rows), rows, several),
        test_n=len(own),
        test_accuracy=share(~wrong(own), own, several),
        coverage=None if answered is None else share(answered[inside & test], own, several),
        risk=None if accepted is None else share(wrong(accepted), accepted, several),
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
