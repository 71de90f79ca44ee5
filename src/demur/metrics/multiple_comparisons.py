"""Several tests or intervals that hold together."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

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


_CHUNK = 2**20


def critical_value(influence: Floats, *, level: float = 0.95, draws: int = 4000, seed: int = 0) -> float:
    """How many standard errors make intervals that hold all at once with probability `level`: high for many estimates.

    The quantile of the largest |z| of all estimates when nothing is there to find (max-T), found by weighing units with
    normal numbers. Estimates that go together cost little: two that are one give 1.96.

    Args:
        influence: (estimates, units), what each unit of independence adds to each estimate's error.
        level: the probability.
        draws: how often units are weighed.
        seed: of the weights.

    Westfall & Young (1993), "Resampling-based multiple testing"; Chernozhukov, Chetverikov & Kato (2013),
    arXiv:1212.6906.
    """
    spread = np.sqrt(np.square(influence).sum(axis=1, keepdims=True))
    moving = influence[spread[:, 0] > 0] / spread[spread[:, 0] > 0]
    least = float(norm.ppf((1 + level) / 2))
    if len(moving) < 2:
        return least
    generator, units = np.random.default_rng(seed), moving.shape[1]
    rows = max(1, _CHUNK // units)
    largest = [
        np.abs(generator.standard_normal((min(rows, draws - done), units)) @ moving.T).max(axis=1)
        for done in range(0, draws, rows)
    ]
    return max(least, float(np.quantile(np.concatenate(largest), level)))
