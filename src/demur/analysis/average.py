"""Means of columns, on paper."""

from dataclasses import replace

import numpy as np
import polars as pl

from demur.analysis.run import Floats, groups
from demur.analysis.table import Quantity
from demur.metrics import Resampler, mean
from demur.metrics.estimate import counted
from demur.metrics.quantile import FEWEST


def values(rows: pl.DataFrame, column: str) -> Floats:
    """A column in double precision, NaN where it was not measured; all NaN where no row has it."""
    if column not in rows.columns:
        return np.full(len(rows), np.nan)
    return rows[column].cast(pl.Float64).fill_null(np.nan).to_numpy()


def measured(rows: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """The rows on which all these columns were measured."""
    finite = np.ones(len(rows), bool)
    for column in columns:
        finite &= np.isfinite(values(rows, column))
    return rows.filter(finite)


def mean_of(rows: pl.DataFrame, column: str) -> Quantity:
    """The mean of a column over the rows on which it was measured."""
    known = measured(rows, column)
    return average(values(known, column), known)


def average(numbers: Floats, rows: pl.DataFrame) -> Quantity:
    """The mean of a number per row, bootstrapped over images or whole groups; no interval below six of them."""
    found = Resampler(len(rows), groups(rows)).estimate(mean, numbers)
    if 0 < found.n < FEWEST:
        reason = f"no 95 % interval from {counted(found.n, found.unit)}"
        found = replace(found, low=np.nan, high=np.nan, reason=reason)
    return Quantity.of(found)
