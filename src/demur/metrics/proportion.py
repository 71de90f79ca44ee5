"""The share of images of which something is true."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from demur.metrics.binomial import wilson
from demur.metrics.estimate import Estimate
from demur.metrics.ranking import Floats, Value, ratio
from demur.metrics.resampling import Resampler


def mean(values: ArrayLike, weights: Floats | None = None) -> Value:
    """The weighted mean of the rows; NaN where they weigh nothing."""
    rows = np.asarray(values, np.float64)
    if weights is None:
        return float(rows.mean()) if len(rows) else float("nan")
    average = ratio(np.asarray(weights @ rows), np.asarray(weights.sum(axis=-1)))
    return float(average) if weights.ndim == 1 else average


def proportion(flags: ArrayLike, groups: NDArray[Any] | None = None) -> Estimate:
    """The share of true flags: Wilson's interval per image, or a bootstrap over whole groups where `groups` is given.

    Where all groups agree a bootstrap has no width, and Wilson's interval on the number of groups stands in.
    """
    rows = np.asarray(flags, bool)
    if groups is None:
        return wilson(int(rows.sum()), len(rows))
    estimate = Resampler(len(rows), groups).estimate(mean, rows)
    if estimate.low < estimate.high or not len(rows):
        return estimate
    few = wilson(estimate.value * estimate.n, estimate.n)
    return Estimate(value=estimate.value, low=few.low, high=few.high, n=estimate.n, unit="group")
