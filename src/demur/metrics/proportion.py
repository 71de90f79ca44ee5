"""The share of images of which something is true."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from demur.metrics.binomial import wilson
from demur.metrics.design import effective_size
from demur.metrics.estimate import Estimate
from demur.metrics.ranking import Floats, Value, ratio


def mean(values: ArrayLike, weights: Floats | None = None) -> Value:
    """The weighted mean of the rows; NaN where they weigh nothing."""
    rows = np.asarray(values, np.float64)
    if weights is None:
        return float(rows.mean()) if len(rows) else float("nan")
    average = ratio(np.asarray(weights @ rows), np.asarray(weights.sum(axis=-1)))
    return float(average) if weights.ndim == 1 else average


def proportion(flags: ArrayLike, groups: NDArray[Any] | None = None) -> Estimate:
    """The share of true flags with Wilson's interval, on the effective number of images where `groups` is given.

    A bootstrap over whole groups is too narrow with few of them: with 8 groups it held the truth 88 times in 100.
    """
    rows = np.asarray(flags, bool)
    if groups is None:
        return wilson(int(rows.sum()), len(rows))
    if not len(rows):
        return Estimate.undefined("no images", unit="group")
    share, effective = float(rows.mean()), effective_size(rows, groups)
    found = wilson(share * effective, effective)
    return Estimate(value=share, low=found.low, high=found.high, n=len(np.unique(groups)), unit="group")
