"""How many images a certified threshold answers at the least, beside how many of its answers are wrong at the most."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from demur.metrics.binomial import risk_lower_bound
from demur.policies.fixed_sequence import Calibration
from demur.policies.policy import Floats


@dataclass(frozen=True, kw_only=True)
class CoverageBound:
    """At least the share `low` of new units is answered, but for a probability of at most `level`.

    `answered` of `n` units were surely answered: those within their tolerance of the threshold count as not answered.
    `rows` says which: "test" rows chose nothing, and their scores alone are read; "certify" rows chose the threshold,
    so that each of `several` thresholds has its part of the level.
    """

    low: float
    level: float
    n: int
    answered: int
    several: int
    rows: Literal["test", "certify"]

    @property
    def sentence(self) -> str:
        """What is guaranteed of coverage."""
        return f"it answers at least {at_least(self.low)} in 100"


def at_least(share: float) -> str:
    """A share in 100, rounded so that it claims no more than it is: whole from 10 on, else with one digit.

    >>> at_least(0.789), at_least(0.0789)
    ('78', '7.8')
    """
    return f"{math.floor(100 * share) if share >= 0.1 else math.floor(1000 * share) / 10:g}"


def unlabelled_rows(
    scores: Floats,
    like: Calibration,
    groups: NDArray[Any] | None = None,
    ids: list[str] | None = None,
) -> Calibration | None:
    """Rows that chose neither signal nor threshold, with the tolerance of others; None where there are none.

    No label is read. A score that is NaN is answered by no threshold, and counts so.
    """
    if not len(scores):
        return None
    bare = np.nan_to_num(np.asarray(scores, np.float64), nan=np.inf, posinf=np.inf, neginf=-np.inf)
    return Calibration(bare, np.zeros(len(bare), bool), groups, ids, like.tolerance)


def bound_coverage(
    threshold: float, level: float, certify: Calibration, grid: int, unlabelled: Calibration | None = None
) -> CoverageBound:
    """The exact lower bound on the share that a threshold answers.

    From the scores of rows that chose nothing where there are any, else from the certify rows, with the level divided
    among all thresholds that could have been chosen. Rows are one for each unit. Clopper & Pearson (1934).

    Args:
        threshold: the one that was certified.
        level: the probability that the bound may fail.
        certify: the rows that chose the threshold.
        grid: how many thresholds it was chosen from.
        unlabelled: rows that chose nothing; their flags are not read.
    """
    rows, several = (certify, max(1, grid)) if unlabelled is None else (unlabelled, 1)
    answered = rows.surely_answered(threshold)
    return CoverageBound(
        low=risk_lower_bound(answered, len(rows), level / several),
        level=level,
        n=len(rows),
        answered=answered,
        several=several,
        rows="certify" if unlabelled is None else "test",
    )
