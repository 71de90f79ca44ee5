"""Working points: coverage at a risk, risk at a coverage, risk at a threshold."""

import numpy as np
from numpy.typing import ArrayLike

from demur.metrics.ranking import Floats, Steps, Value, ratio


def coverage_at_risk(doubt: ArrayLike, wrong: ArrayLike, weights: Floats | None = None, *, risk: float) -> Value:
    """The largest coverage whose observed selective risk is at most `risk`: high when much can be answered.

    Optimistic: a threshold picked so breaks its promise on about half of new samples; a certificate does not.
    0 where no threshold qualifies; NaN for no rows.
    """
    steps = Steps.of(doubt, wrong, weights)
    kept = np.where(steps.wrong <= steps.accepted * risk * (1 + 1e-12), steps.accepted, 0.0)
    return steps.value(ratio(kept.max(axis=1, initial=0.0), steps.total[:, 0]))


def risk_at_coverage(doubt: ArrayLike, wrong: ArrayLike, weights: Floats | None = None, *, coverage: float) -> Value:
    """The share of wrong answers at the lowest threshold that answers at least `coverage`: high when doubt is blind.

    NaN for no rows.
    """
    steps = Steps.of(doubt, wrong, weights)
    if not len(steps.scores):
        return steps.value(np.full(len(steps.accepted), np.nan))
    first = (steps.accepted >= steps.total * coverage * (1 - 1e-12)).argmax(axis=1)[:, None]
    # A coverage of 0 and leading rows of weight 0 would stop where nothing is answered yet.
    first = np.maximum(first, (steps.accepted > 0).argmax(axis=1)[:, None])
    wrongs, accepted = (np.take_along_axis(counts, first, axis=1)[:, 0] for counts in (steps.wrong, steps.accepted))
    return steps.value(ratio(wrongs, accepted))


def selective_risk(doubt: ArrayLike, wrong: ArrayLike, weights: Floats | None = None, *, threshold: float) -> Value:
    """The share of wrong answers among those with doubt ≤ `threshold`: high when the threshold is too lax.

    NaN where nothing is accepted.
    """
    steps = Steps.of(doubt, wrong, weights)
    last = int(np.searchsorted(steps.scores, threshold, side="right")) - 1
    if last < 0:
        return steps.value(np.full(len(steps.accepted), np.nan))
    return steps.value(ratio(steps.wrong[:, last], steps.accepted[:, last]))
