"""The failure table: what a policy flags and what it lets through."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from demur.metrics.binomial import mean, proportion
from demur.metrics.estimate import Estimate
from demur.metrics.ranking import Floats, Value
from demur.metrics.stratified import Design, design_share


@dataclass(frozen=True, kw_only=True)
class FailureTable:
    """Shares in [0, 1] with intervals; accuracy = (1 − flagged)·accuracy_unflagged + flagged·accuracy_flagged.

    `errors_caught` is the share of wrong answers that are flagged (recall), `precision` the share of the flagged that
    are wrong, `fpr` the share of right answers that are flagged (FPR); `balanced_accuracy` the mean of recall
    and 1 − FPR.
    """

    accuracy: Estimate
    flagged: Estimate
    accuracy_unflagged: Estimate
    accuracy_flagged: Estimate
    errors_caught: Estimate
    precision: Estimate
    fpr: Estimate
    balanced_accuracy: Estimate


def failure_table(
    accepted: ArrayLike, wrong: ArrayLike, groups: NDArray[Any] | None = None, design: Design | None = None
) -> FailureTable:
    """The failure table of a policy from what it accepted and what was wrong, one flag per row each.

    `design` says how the rows were drawn, None where all were drawn alike.
    """
    flagged, errors = ~np.asarray(accepted, bool), np.asarray(wrong, bool)

    def share(of: NDArray[np.bool_], among: NDArray[np.bool_]) -> Estimate:
        own = None if groups is None else groups[among]
        return proportion(of[among], own) if design is None else design_share(of[among], design.only(among), own)

    everywhere = np.ones(len(errors), bool)
    return failure_table_of(
        accuracy=share(~errors, everywhere),
        flagged=share(flagged, everywhere),
        accuracy_unflagged=share(~errors, ~flagged),
        accuracy_flagged=share(~errors, flagged),
        errors_caught=share(flagged, errors),
        precision=share(errors, flagged),
        fpr=share(flagged, ~errors),
        kept=share(~flagged, ~errors),
    )


def failure_table_of(*, kept: Estimate, **shares: Estimate) -> FailureTable:
    """The failure table of shares that were worked out already; `kept` is that of right answers which are given."""
    return FailureTable(**shares, balanced_accuracy=_balanced(shares["errors_caught"], kept))


def _balanced(caught: Estimate, kept: Estimate) -> Estimate:
    """The mean of two shares, each as far from its end as it may be (Zou & Donner 2008)."""
    n = caught.n + kept.n if caught.unit == "image" else max(caught.n, kept.n)
    if math.isnan(caught.value) or math.isnan(kept.value):
        return Estimate.undefined("undefined here: no right or no wrong answers", n=n, unit=kept.unit)
    value = (caught.value + kept.value) / 2
    down = math.hypot(caught.value - caught.low, kept.value - kept.low) / 2
    up = math.hypot(caught.high - caught.value, kept.high - kept.value) / 2
    return Estimate(value=value, low=value - down, high=value + up, n=n, unit=kept.unit)


def balanced_accuracy(flagged: ArrayLike, wrong: ArrayLike, weights: Floats | None = None) -> Value:
    """Mean of the share of wrong answers flagged and of right answers not flagged: high (1) when flags are errors.

    ½ for flags that know nothing; NaN without a wrong or without a right answer.
    """
    flags, errors = np.asarray(flagged, bool), np.asarray(wrong, bool)
    caught = _mean_of(flags, errors, weights)
    kept = _mean_of(~flags, ~errors, weights)
    return (caught + kept) / 2


def _mean_of(flags: NDArray[np.bool_], among: NDArray[np.bool_], weights: Floats | None) -> Value:
    return mean(flags[among], None if weights is None else weights[..., among])
