"""What the answers cost, with and without the guard."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from demur.analysis.results import Cost, Quantity
from demur.analysis.run import Floats, Run, groups
from demur.metrics import Estimate, Resampler, mean, wilson
from demur.registry.direction import DECLINED, read_costs

_OTHER = 1.0


def cost(run: Run, matrix: Mapping[str, float]) -> Cost | None:
    """Mean cost of a clean test image; None where the plan has no costs."""
    if not matrix:
        return None
    test = run.rows("clean", "test")
    table = np.full((len(run.classes), len(run.classes)), _OTHER)
    np.fill_diagonal(table, 0.0)
    for (true, answer), price in read_costs(matrix, run.classes).items():
        table[run.classes.index(true), run.classes.index(answer)] = price
    paid = table[test["label"].to_numpy(), test["predicted"].to_numpy()]
    guarded = None
    if run.guard is not None:
        declined = matrix.get(DECLINED, 0.0)
        spent = np.where(run.answered(run.guard, test), paid, declined)
        guarded = _per_image(spent, test, max(declined, float(table.max())))
    return Cost(
        matrix=dict(matrix),
        unguarded=_per_image(paid, test, float(table.max())),
        guarded=guarded,
    )


def _per_image(paid: Floats, rows: pl.DataFrame, dearest: float) -> Quantity:
    """A bootstrapped mean; where nothing was paid, what could have been missed is taken to be the dearest."""
    found = Resampler(len(rows), groups(rows)).estimate(mean, paid)
    if not paid.any() and len(rows):
        high = dearest * wilson(0, found.n).high
        found = Estimate(value=0.0, low=0.0, high=high, n=found.n, unit=found.unit)
    return Quantity.of(found)
