"""How the rows of a condition were drawn, and shares of what they stand for."""

import polars as pl

from demur.analysis.quantity import Quantity
from demur.metrics import proportion
from demur.metrics.ranking import Floats
from demur.metrics.stratified import Design, Flags, design_share
from demur.records import ALIKE, DESIGN, DRAWN, STANDS_FOR, STRATUM, groups


def share_of(flags: Flags, rows: pl.DataFrame, several: int | None = None) -> Quantity:
    """The share that is flagged of what the rows stand for, with its interval; for all of `several` at once."""
    design = design_of(rows)
    if design is None:
        return Quantity.of(proportion(flags, groups(rows), several))
    return Quantity.of(design_share(flags, design, groups(rows), several))


def design_of(rows: pl.DataFrame) -> Design | None:
    """How rows were drawn; None where all stand for equally many."""
    if STANDS_FOR not in rows.columns:
        return None
    found = Design(*(rows[name].to_numpy() for name in (STANDS_FOR, STRATUM, DRAWN)))
    return None if found.is_alike else found


def weights_of(rows: pl.DataFrame) -> Floats | None:
    """For how many rows each stands; None where all stand for equally many."""
    design = design_of(rows)
    return None if design is None else design.weights


def counted_by(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """Rows to count for each value of a column by itself, without what they say of how they were drawn.

    Of a value whose rows all stand for equally many these are all of them, else those drawn alike.
    """
    if ALIKE not in rows.columns or rows.is_empty():
        return alike(rows)
    parts = (
        part if design_of(part) is None else alike(part) for part in rows.partition_by(column, maintain_order=True)
    )
    return pl.concat([part.drop(DESIGN, strict=False) for part in parts])


def alike(rows: pl.DataFrame) -> pl.DataFrame:
    """Of rows that say how they were drawn those drawn alike, without what they say of it."""
    return rows.filter(pl.col(ALIKE)).drop(DESIGN, strict=False) if ALIKE in rows.columns else rows
