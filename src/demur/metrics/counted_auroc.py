"""AUROC of rows of which only the numbers at each score are known."""

import math
from dataclasses import dataclass

import numpy as np

from demur.metrics.delong import FEWEST, Placements, score_interval
from demur.metrics.estimate import Estimate, counted
from demur.metrics.ranking import Floats


@dataclass(frozen=True, eq=False)
class _CountedPlacements(Placements):
    """Of rows counted by score, every row a unit: rows that add the same are one entry, as long as their squares."""

    @classmethod
    def of_counts(cls, positive: Floats, negative: Floats) -> "_CountedPlacements":
        """From the rows of either kind at each score, ascending."""
        totals = positive.sum(), negative.sum()
        placed = (np.cumsum(negative) - negative / 2) / totals[1]
        others = 1 - (np.cumsum(positive) - positive / 2) / totals[0]
        value, none = float(placed @ positive / totals[0]), np.zeros(len(positive))
        above = (placed - value) / totals[0] * np.sqrt(positive)
        below = (others - value) / totals[1] * np.sqrt(negative)
        rows = float(round(totals[0])), float(round(totals[1]))
        return cls(value, value, np.append(above, none), np.append(none, below), np.array([[n] for n in rows]), rows)

    @property
    def sizes(self) -> tuple[float, float]:
        """The rows of either kind."""
        return self.rows


def counted_auroc(positive: Floats, negative: Floats) -> Estimate:
    """As `auroc_interval`, of independent rows of which only the numbers at each score, ascending, are known."""
    rows, others = round(float(positive.sum())), round(float(negative.sum()))
    if not (rows and others):
        return Estimate.undefined("undefined here: all rows are of one kind", n=rows + others)
    found = _CountedPlacements.of_counts(positive, negative)
    if min(rows, others) < FEWEST:
        reason = f"no interval: only {counted(min(rows, others), 'image')} of one kind, fewer than {FEWEST}"
        return Estimate(value=found.value, low=math.nan, high=math.nan, n=rows + others, reason=reason)
    low, high = score_interval(found)
    return Estimate(value=found.value, low=min(low, found.value), high=max(high, found.value), n=rows + others)
