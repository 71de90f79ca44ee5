"""Chances of several tests that hold for all of them at once."""

import numpy as np
from numpy.typing import ArrayLike

from demur.metrics.ranking import Floats


def holm(chances: ArrayLike) -> Floats:
    """Each test's p-value after all are considered: high for many tests, NaN for those that were not made.

    With probability 1 − α no true hypothesis has one of at most α, however the tests depend on each other.
    Holm (1979), "A simple sequentially rejective multiple test procedure".

    >>> holm([0.04, 0.01, float("nan"), 0.03]).tolist()
    [0.06, 0.03, nan, 0.06]
    """
    raw = np.asarray(chances, np.float64)
    order = np.argsort(raw, kind="stable")[: np.count_nonzero(~np.isnan(raw))]
    corrected = np.full(len(raw), np.nan)
    corrected[order] = np.maximum.accumulate(raw[order] * np.arange(len(order), 0, -1)).clip(max=1)
    return corrected
