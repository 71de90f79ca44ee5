"""The median of values that may be cut off."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom

from demur.metrics.estimate import Estimate
from demur.metrics.ranking import Floats, Value
from demur.metrics.resampling import Resampler

FEWEST = 6


def weighted_median(values: ArrayLike, weights: Floats | None = None) -> Value:
    """The smallest value with at least half of the weight at or below it; +∞ stands for values above a cap."""
    rows = np.asarray(values, np.float64)
    order = np.argsort(rows, kind="stable")
    mass = np.atleast_2d(np.ones(len(rows)) if weights is None else weights)[:, order].cumsum(axis=1)
    place = (mass < mass[:, -1:] / 2).sum(axis=1)
    medians = rows[order][np.minimum(place, len(rows) - 1)]
    return float(medians[0]) if weights is None or weights.ndim == 1 else medians


def median(values: ArrayLike, groups: NDArray[Any] | None = None) -> Estimate:
    """The median with its exact 95 % order-statistic interval, or a bootstrap over whole groups.

    Values above a cap are given as +∞; a median or end among them is infinite. Below six values there is no 95 %
    interval. David & Nagaraja (2003), "Order statistics", §7.1.
    """
    rows = np.sort(np.asarray(values, np.float64))
    n = len(rows)
    if n == 0:
        return Estimate.undefined("no images")
    if groups is not None:
        return Resampler(n, groups).estimate(weighted_median, values)
    middle = float(weighted_median(rows))
    if n < FEWEST:
        return Estimate(value=middle, low=np.nan, high=np.nan, n=n, reason=f"no 95 % interval from {n} values")
    rank = int(binom.ppf(0.025, n, 0.5))
    return Estimate(value=middle, low=float(rows[rank - 1]), high=float(rows[n - rank]), n=n)
