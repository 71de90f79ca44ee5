"""Numbers that some rows have and others lack: their values, the rows that have them, and their means."""

import numpy as np
import polars as pl

from demur.analysis.quantity import Quantity
from demur.analysis.row_design import share_of
from demur.metrics.jackknife import mean_interval
from demur.metrics.ranking import Floats
from demur.records import groups


def values(rows: pl.DataFrame, column: str) -> Floats:
    """A column in double precision, NaN where it was not measured; all NaN where no row has it."""
    if column not in rows.columns:
        return np.full(len(rows), np.nan)
    return rows[column].cast(pl.Float64).fill_null(np.nan).to_numpy()


def rows_with(rows: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """The rows on which all these columns were measured."""
    finite = np.ones(len(rows), bool)
    for column in columns:
        finite &= np.isfinite(values(rows, column))
    return rows.filter(finite)


def mean_of(rows: pl.DataFrame, column: str) -> Quantity:
    """The mean of a column over the rows on which it was measured."""
    known = rows_with(rows, column)
    return mean_over(values(known, column), known)


def mean_over(numbers: Floats, rows: pl.DataFrame) -> Quantity:
    """The mean of a number per row, over images or whole groups; no interval below ten of them.

    Of numbers that are 0 or 1 it is their share, which has an interval of its own.
    """
    if len(numbers) and np.isin(numbers, (0.0, 1.0)).all():
        return share_of(numbers > 0, rows)
    return Quantity.of(mean_interval(numbers, groups(rows)))
