"""How far one must go until a wrong answer is given: of each image, the nearest such point of any attack."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from demur.analysis.robustness.guarded_rows import NORM, guarded_rows
from demur.analysis.robustness.least_distances import edge
from demur.analysis.run_folder import Flags, Floats, Run
from demur.records import wrong


def accepted_wrong_found(run: Run, rows: pl.DataFrame, eps: float) -> Flags:
    """Images of which some attack of at most the size, or none, got a wrong answer past the guard.

    Whatever found it counts: attacks of the plan, which do not know the guard, and those that were aimed at it.

    Args:
        run: one with a certified guard.
        rows: whose images, in whose order.
        eps: size in L∞, a fraction of the [0, 1] pixel range.
    """
    return accepted_wrong_distances(run, rows) <= edge(eps)


def accepted_wrong_distances(run: Run, rows: pl.DataFrame) -> Floats:
    """Of each image of some rows, the length in L∞ of the least change at which a wrong answer was given.

    It is 0 where that is so of the image as it is, infinite where no point was found.
    """
    assert run.guard is not None
    ids, least = rows.select("sample_id"), np.full(len(rows), np.inf)
    for table in _points(run):
        reached = table.filter(run.accepts(run.guard, table) & wrong(table))
        distances = pl.DataFrame({"sample_id": reached["sample_id"], "distance": _distance(reached)})
        joined = ids.join(distances, on="sample_id", how="left", maintain_order="left")["distance"]
        least = np.fmin(least, joined.fill_null(np.inf).to_numpy())
    return least


def _points(run: Run) -> Iterator[pl.DataFrame]:
    """All points that were scored: the images as they are, those of attacks, and those of attackers of the guard."""
    yield run.rows("clean")
    yield from (run.rows(entry["name"]) for entry in run.conditions("attack"))
    for each in guarded_rows(run):
        yield from each.attackers.values()


def _distance(rows: pl.DataFrame) -> Floats:
    column = f"distance.{NORM}"
    if column not in rows.columns:  # as they are
        return np.zeros(len(rows))
    return rows[column].cast(pl.Float64).fill_null(np.inf).to_numpy()
