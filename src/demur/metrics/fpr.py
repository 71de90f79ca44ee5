"""FPR at 95 % TPR: right answers lost to catch nearly all wrong ones."""

import numpy as np
from numpy.typing import ArrayLike

from demur.metrics.ranking import Floats, Steps, Value, before, ratio

CAUGHT = 0.95


def fpr95(doubt: ArrayLike, wrong: ArrayLike, weights: Floats | None = None) -> Value:
    """The share of right answers flagged when at least 95 % of the wrong ones are: high when doubt is wasted.

    Convention: positives = wrong, flagged = doubt ≥ threshold, the highest threshold whose TPR is ≥ .95 (others take
    the right answers as positives). NaN without a wrong or without a right answer.
    """
    steps = Steps.of(doubt, wrong, weights)
    caught = steps.total_wrong - before(steps.wrong)
    enough = caught >= steps.total_wrong * (CAUGHT - 1e-12)
    right = steps.accepted - steps.wrong
    flagged = right[:, -1:] - before(right)
    least = np.where(enough, flagged, np.inf).min(axis=1, initial=np.inf)
    rights = (steps.total - steps.total_wrong)[:, 0]
    return steps.value(ratio(least, rights * (steps.total_wrong[:, 0] > 0)))
