"""Quantiles of values that may be cut off."""

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom

from demur.errors import InputError
from demur.metrics.binomial import clopper_pearson, effective_size
from demur.metrics.estimate import Estimate, Unit, counted
from demur.metrics.ranking import Floats, Value

_TAIL = 0.05


def weighted_quantile(values: ArrayLike, share: float, weights: Floats | None = None) -> Value:
    """The smallest value with at least `share` of the weight at or below it; +∞ stands for values above a cap."""
    rows = np.asarray(values, np.float64)
    order = np.argsort(rows, kind="stable")
    mass = np.atleast_2d(np.ones(len(rows)) if weights is None else weights)[:, order].cumsum(axis=1)
    place = (mass < mass[:, -1:] * share).sum(axis=1)
    found = rows[order][np.minimum(place, len(rows) - 1)]
    return float(found[0]) if weights is None or weights.ndim == 1 else found


def weighted_median(values: ArrayLike, weights: Floats | None = None) -> Value:
    """The smallest value with at least half of the weight at or below it; +∞ stands for values above a cap."""
    return weighted_quantile(values, 0.5, weights)


def median(values: ArrayLike, groups: NDArray[Any] | None = None) -> Estimate:
    """The median with its 95 % interval from order statistics, exact without groups: `quantile` at ½."""
    return quantile(values, 0.5, groups)


def quantile(values: ArrayLike, share: float, groups: NDArray[Any] | None = None) -> Estimate:
    """A quantile with its 95 % interval from order statistics, exact without groups: high for large values.

    Values above a cap are given as +∞; a quantile or end among them is infinite. Below `fewest(share)` values there is
    no 95 % interval, and none is given of as few groups. With groups its ends are the values at the ends of the
    interval of the share below it, on the effective number of images (Woodruff 1952, "Confidence intervals for medians
    and other position measures"). David & Nagaraja (2003), "Order statistics", §7.1.

    Args:
        values: one number per image, none of them NaN.
        share: of the values at or below the quantile, between 0 and 1.
        groups: the unit of independence of each value.
    """
    rows = _checked(values, share)
    unit: Unit = "image" if groups is None else "group"
    units, least = len(rows) if groups is None else len(np.unique(groups)), fewest(share)
    if not len(rows):
        return Estimate.undefined("no images", unit=unit)
    value = float(weighted_quantile(rows, share))
    if units < least:
        reason = f"no 95 % interval from {counted(units, unit)}, only from {least}"
        return Estimate(value=value, low=np.nan, high=np.nan, n=units, unit=unit, reason=reason)
    ordered = np.sort(rows)
    ranks = order_ranks(units, share) if groups is None else _group_ranks(rows <= value, groups, share)
    low, high = (float(ordered[rank - 1]) for rank in ranks)
    return Estimate(value=value, low=low, high=high, n=units, unit=unit)


@cache
def fewest(share: float) -> int:
    """The fewest values from which a quantile has any 95 % interval: between the smallest and the largest of them.

    >>> [fewest(share) for share in (0.25, 0.5, 0.75)]
    [11, 6, 11]
    """
    n = 1
    while share**n + (1 - share) ** n > _TAIL:
        n += 1
    return n


@cache
def order_ranks(n: int, share: float) -> tuple[int, int]:
    """Which of `n` ordered values, counted from 1, are the ends of a quantile's exact 95 % interval.

    Each tail gives up at most 2.5 %; where one of them has not even the first or the last value to give up, the other
    may give up what is left of the 5 %. Only for n of at least `fewest(share)`.

    >>> order_ranks(100, 0.5)
    (40, 61)
    """
    low, high = int(binom.ppf(_TAIL / 2, n, share)), int(binom.ppf(1 - _TAIL / 2, n, share)) + 1
    if low < 1:
        low = 1
        high = int(binom.ppf(1 - (_TAIL - binom.cdf(0, n, share)), n, share)) + 1
    if high > n:
        low, high = int(binom.ppf(_TAIL - binom.sf(n - 1, n, share), n, share)), n
    return max(low, 1), min(high, n)


def _group_ranks(below: NDArray[np.bool_], groups: NDArray[Any], share: float) -> tuple[int, int]:
    """The same for values that come in groups."""
    n, size = len(below), effective_size(below, groups)
    found = clopper_pearson(share * size, size)
    return max(1, math.floor(found.low * n)), min(n, math.ceil(found.high * n))


FEWEST = fewest(0.5)
"""The fewest values of which a median has an interval."""


def _checked(values: ArrayLike, share: float) -> Floats:
    rows = np.asarray(values, np.float64)
    if not 0 < share < 1:
        raise InputError(f"`share` must lie strictly between 0 and 1; got {share}. The median is 0.5.")
    missing = int(np.isnan(rows).sum())
    if missing:
        raise InputError(
            f"`values` must be numbers, +∞ where they were cut off; got NaN on {missing} of {len(rows)}. Leave out the "
            "rows whose value is undefined, and report how many there were."
        )
    return rows
