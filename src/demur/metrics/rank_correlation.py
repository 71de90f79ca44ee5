"""Rank correlation."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from demur.errors import InputError
from demur.metrics.estimate import Estimate, counted
from demur.metrics.jackknife import Jackknife
from demur.metrics.ranking import Floats, Value, ratio

_FEWEST = 10
"""With fewer images or groups the normal approximation is not to be trusted, and no interval is given."""

_Z = float(ndtri(0.975))
_MOST = 1 - 1e-12


def rank_correlation(x: ArrayLike, y: ArrayLike, weights: Floats | None = None) -> Value:
    """Spearman's ρ: 1 where both rank alike, 0 where neither tells of the other; NaN where all of one are equal.

    Equal values, +∞ among them, share their middle rank; a row of weight k is k rows.
    Spearman (1904), "The proof and measurement of association between two things".
    """
    rows = np.asarray(x, np.float64)
    own = np.ones((1, len(rows))) if weights is None else np.atleast_2d(weights)
    one, other = (_centred(np.asarray(values, np.float64), own) for values in (x, y))
    squares = [(own * ranks**2).sum(axis=1) for ranks in (one, other)]
    spread = np.sqrt(squares[0] * squares[1])
    found = np.clip(ratio((own * one * other).sum(axis=1), spread), -1, 1)
    return float(found[0]) if weights is None or weights.ndim == 1 else found


def spearman(x: ArrayLike, y: ArrayLike, groups: NDArray[Any] | None = None) -> Estimate:
    """Spearman's ρ with its 95 % interval: on Fisher's scale, by the jackknife over whole groups where there are.

    There is none of fewer than 10 images or groups, nor where the ranks agree perfectly.
    Bonett & Wright (2000), "Sample size requirements for estimating Pearson, Kendall and Spearman correlations".
    """
    one, other = np.asarray(x, np.float64), np.asarray(y, np.float64)
    _check(one, other)
    jackknife = Jackknife(len(one), groups)
    n, unit = jackknife.units, jackknife.unit
    value = rank_correlation(one, other) if n else math.nan
    if math.isnan(value):
        reason = "all values of one are equal" if n else "no images"
        return Estimate.undefined(reason, n=n, unit=unit)
    if n < _FEWEST or abs(value) > 1 - 1e-9:
        reason = "the ranks agree perfectly" if n >= _FEWEST else f"only {counted(n, unit)}, fewer than {_FEWEST}"
        return Estimate(value=value, low=math.nan, high=math.nan, n=n, unit=unit, reason=f"no interval: {reason}")
    if groups is not None:
        return _from_fisher(jackknife.estimate(_fisher, one, other))
    half = _Z * math.sqrt((1 + value**2 / 2) / (n - 3))
    low, high = (math.tanh(math.atanh(value) + end) for end in (-half, half))
    return Estimate(value=value, low=low, high=high, n=n)


def _fisher(x: Floats, y: Floats, weights: Floats | None = None) -> Value:
    """The rank correlation on Fisher's scale, where its spread hardly depends on it."""
    return np.arctanh(np.clip(rank_correlation(x, y, weights), -_MOST, _MOST))


def _from_fisher(found: Estimate) -> Estimate:
    value, low, high = (math.tanh(end) for end in (found.value, found.low, found.high))
    return replace(found, value=value, low=low, high=high)


def _centred(values: Floats, weights: Floats) -> Floats:
    """Each row's weighted middle rank minus the mean rank, (replicates, n)."""
    distinct, place = np.unique(values, return_inverse=True)
    if not len(distinct):
        return np.zeros(weights.shape)
    starts = np.searchsorted(values[order := np.argsort(values, kind="stable")], distinct)
    mass = np.add.reduceat(weights[:, order], starts, axis=1)
    middle = mass.cumsum(axis=1) - mass / 2
    return middle[:, place] - mass.sum(axis=1, keepdims=True) / 2


def _check(x: Floats, y: Floats) -> None:
    if x.ndim != 1 or x.shape != y.shape:
        raise InputError(f"`x` and `y` must be one number per row; got shapes {x.shape} and {y.shape}.")
    missing = int((np.isnan(x) | np.isnan(y)).sum())
    if missing:
        raise InputError(
            f"`x` and `y` must be numbers, +∞ above a cap; got NaN on {missing} of {len(x)} rows. Leave out the rows "
            "where one of them is undefined, and report how many there were."
        )
