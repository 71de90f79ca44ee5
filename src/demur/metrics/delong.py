"""Intervals of AUROC without resampling, for rows that may come in clusters.

Each row's placement is the share of the other kind that it is ranked right against. AUROC is their mean, and the
spread of the placements, summed within each unit of independence, gives its standard error.

DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44; Obuchowski (1997), Biometrics 53 (clusters).
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit
from scipy.stats import norm

from demur.metrics.estimate import Estimate, Unit, counted
from demur.metrics.ranking import Floats

_Z = float(norm.ppf(0.975))

FEWEST = 10
"""With fewer units of either kind the normal approximation is not to be trusted, and no interval is given."""


def auroc_interval(uncertainty: ArrayLike, positive: ArrayLike, units: NDArray[Any] | None = None) -> Estimate:
    """AUROC with its 95 % interval, computed on the logit scale so that it stays inside [0, 1].

    `units` names each row's unit of independence; without it every row is one. The ends are NaN, with a reason, where
    either kind has fewer than 10 units or the ranking is perfect: the spread seen then says next to nothing.
    """
    flags = np.asarray(positive, bool)
    count, unit = _count(flags, units)
    if flags.all() or not flags.any():
        return Estimate.undefined("undefined here: all rows are of one kind", n=count, unit=unit)
    value, influence = _auroc(np.asarray(uncertainty, np.float64), flags)
    error = _standard_error(influence, units)
    reason = _too_few(flags, units, unit) or (None if 0 < value < 1 else "no interval: the ranking is perfect here")
    if reason:
        return Estimate(value=value, low=math.nan, high=math.nan, n=count, unit=unit, reason=reason)
    half = _Z * error / (value * (1 - value))
    low, high = expit(logit(value) - half), expit(logit(value) + half)
    return Estimate(value=value, low=float(low), high=float(high), n=count, unit=unit)


def auroc_gain(
    uncertainty: ArrayLike, baseline: ArrayLike, positive: ArrayLike, units: NDArray[Any] | None = None
) -> Estimate:
    """AUROC of `uncertainty` minus that of `baseline` on the same rows, with the 95 % interval of the difference."""
    flags = np.asarray(positive, bool)
    count, unit = _count(flags, units)
    if flags.all() or not flags.any():
        return Estimate.undefined("undefined here: all rows are of one kind", n=count, unit=unit)
    ours, our_influence = _auroc(np.asarray(uncertainty, np.float64), flags)
    theirs, their_influence = _auroc(np.asarray(baseline, np.float64), flags)
    half = _Z * _standard_error(our_influence - their_influence, units)
    value, reason = ours - theirs, _too_few(flags, units, unit)
    if reason:
        return Estimate(value=value, low=math.nan, high=math.nan, n=count, unit=unit, reason=reason)
    return Estimate(value=value, low=value - half, high=value + half, n=count, unit=unit)


def gain_influence(
    uncertainty: ArrayLike, baseline: ArrayLike, positive: ArrayLike, units: NDArray[Any] | None = None
) -> Floats:
    """What each unit, in sorted order, adds to the error of `auroc_gain`.

    The root of the sum of squares is the standard error. Zero everywhere where a gain is undefined.
    """
    flags = np.asarray(positive, bool)
    count, _ = _count(flags, units)
    if flags.all() or not flags.any():
        return np.zeros(count)
    _, ours = _auroc(np.asarray(uncertainty, np.float64), flags)
    _, theirs = _auroc(np.asarray(baseline, np.float64), flags)
    return _by_unit(ours - theirs, units) * float(np.sqrt(count / max(1, count - 1)))


def _auroc(uncertainty: Floats, positive: NDArray[np.bool_]) -> tuple[float, Floats]:
    """AUROC and each row's share in its error."""
    above, below = np.sort(uncertainty[positive]), np.sort(uncertainty[~positive])
    placement = np.empty(len(uncertainty))
    placement[positive] = _below(below, uncertainty[positive])
    placement[~positive] = 1 - _below(above, uncertainty[~positive])
    value = float(placement[positive].mean())
    return value, (placement - value) / np.where(positive, len(above), len(below))


def _below(ascending: Floats, values: Floats) -> Floats:
    """The share of `ascending` below each value, ties counted half."""
    strictly = np.searchsorted(ascending, values, side="left")
    at_most = np.searchsorted(ascending, values, side="right")
    return (strictly + at_most) / (2 * len(ascending))


def _standard_error(influence: Floats, units: NDArray[Any] | None) -> float:
    sums = _by_unit(influence, units)
    count = len(sums)
    return float(np.sqrt(count / max(1, count - 1) * np.square(sums).sum()))


def _by_unit(influence: Floats, units: NDArray[Any] | None) -> Floats:
    if units is None:
        return influence
    return np.bincount(np.unique(units, return_inverse=True)[1], influence).astype(np.float64)


def _too_few(flags: NDArray[np.bool_], units: NDArray[Any] | None, unit: Unit) -> str | None:
    """Why there is no interval, if either kind has too few units."""
    fewest = min(_count(flags[kind], None if units is None else units[kind])[0] for kind in (flags, ~flags))
    if fewest >= FEWEST:
        return None
    return f"no interval: only {counted(fewest, unit)} of one kind, fewer than {FEWEST}"


def _count(flags: NDArray[np.bool_], units: NDArray[Any] | None) -> tuple[int, Unit]:
    return (len(flags), "image") if units is None else (len(np.unique(units)), "group")
