"""Intervals of AUROC without resampling, for rows that may come in clusters.

Each row's placement is the share of the other kind that it is ranked right against. AUROC is their mean, and the
spread of the placements, summed within each unit of independence, gives its standard error. With few errors that spread
is too small and says nothing where the ranking is perfect; the interval therefore asks of each candidate how far from
it an AUROC may be seen (a score interval), by the variance of two normal distributions with that AUROC, or more where
the placements spread more.

DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44; Obuchowski (1997), Biometrics 53 (clusters); Wilson (1927) for
intervals of this kind; Hanley & McNeil (1982), Radiology 143, for the variance at a given AUROC.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import ndtri, owens_t, stdtrit

from demur.metrics.estimate import Estimate, Unit, counted
from demur.metrics.ranking import Floats

_LEVEL = 0.975
_EDGE = 1e-9
_NORMAL = float(ndtri(_LEVEL))

FEWEST = 10
"""With fewer units of either kind no interval is to be trusted, and none is given."""


def auroc_interval(uncertainty: ArrayLike, positive: ArrayLike, units: NDArray[Any] | None = None) -> Estimate:
    """AUROC with its 95 % interval, which stays inside [0, 1] and is there for a perfect ranking too.

    All θ with |θ̂ − θ| ≤ q·√V(θ), q of Student's t. `units` names each row's unit of independence; without it every row
    is one. With units, pairs within one are left out of the interval, not of the value. The ends are NaN, with a
    reason, where either kind has fewer than 10 units. Scores are taken to be smooth: a kind of error that looks exactly
    like right answers, rare enough not to have been seen, is in no interval.
    """
    flags = np.asarray(positive, bool)
    count, unit = _count(flags, units)
    if flags.all() or not flags.any():
        return Estimate.undefined("undefined here: all rows are of one kind", n=count, unit=unit)
    placements = _Placements.of(np.asarray(uncertainty, np.float64), flags, units)
    value, reason = placements.value, _too_few(flags, units, unit)
    if reason:
        return Estimate(value=value, low=math.nan, high=math.nan, n=count, unit=unit, reason=reason)
    low, high = _score_interval(placements)
    return Estimate(value=value, low=min(low, value), high=max(high, value), n=count, unit=unit)


def auroc_gain(
    uncertainty: ArrayLike, baseline: ArrayLike, positive: ArrayLike, units: NDArray[Any] | None = None
) -> Estimate:
    """AUROC of `uncertainty` minus that of `baseline` on the same rows, with the 95 % interval of the difference."""
    flags = np.asarray(positive, bool)
    count, unit = _count(flags, units)
    if flags.all() or not flags.any():
        return Estimate.undefined("undefined here: all rows are of one kind", n=count, unit=unit)
    ours, theirs = (_Placements.of(np.asarray(each, np.float64), flags, units) for each in (uncertainty, baseline))
    value, reason = ours.value - theirs.value, _too_few(flags, units, unit)
    if reason:
        return Estimate(value=value, low=math.nan, high=math.nan, n=count, unit=unit, reason=reason)
    half = ours.quantile * math.sqrt(ours.less(theirs).variance)
    return Estimate(value=value, low=value - half, high=value + half, n=count, unit=unit)


def gain_influence(
    uncertainty: ArrayLike, baseline: ArrayLike, positive: ArrayLike, units: NDArray[Any] | None = None
) -> Floats:
    """What each unit, in sorted order, adds to the error of `auroc_gain`.

    The root of the sum of squares is the standard error, made larger as Student's t is wider than the normal
    distribution. Zero everywhere where a gain is undefined.
    """
    flags = np.asarray(positive, bool)
    count, _ = _count(flags, units)
    if flags.all() or not flags.any():
        return np.zeros(count)
    ours, theirs = (_Placements.of(np.asarray(each, np.float64), flags, units) for each in (uncertainty, baseline))
    above, below = ours.less(theirs).scaled
    return (above + below) * (ours.quantile / _NORMAL)


@dataclass(frozen=True, eq=False)
class _Placements:
    """What each unit adds to the error of an AUROC, by its positive and by its negative rows.

    Attributes:
        value: AUROC, ties counted half.
        across: AUROC over pairs of different units.
        above: sums over the positive rows of each unit (units,), zero where it has none.
        below: likewise over the negative rows.
        counts: (2, units) positive and negative rows of each unit.
    """

    value: float
    across: float
    above: Floats
    below: Floats
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, uncertainty: Floats, positive: NDArray[np.bool_], units: NDArray[Any] | None) -> "_Placements":
        higher, lower = np.sort(uncertainty[positive]), np.sort(uncertainty[~positive])
        placement = np.empty(len(uncertainty))
        placement[positive] = _below(lower, uncertainty[positive])
        placement[~positive] = 1 - _below(higher, uncertainty[~positive])
        value = float(placement[positive].mean())
        codes = np.arange(len(positive)) if units is None else np.unique(units, return_inverse=True)[1]
        influence = (placement - value) / np.where(positive, len(higher), len(lower))
        kinds, size = (positive, ~positive), int(codes.max()) + 1
        above, below = (np.bincount(codes[kind], influence[kind], size).astype(np.float64) for kind in kinds)
        counts = np.stack([np.bincount(codes[kind], minlength=size) for kind in kinds])
        across = value if units is None else _across(value, uncertainty, positive, codes, counts)
        return cls(value, across, above, below, counts)

    @property
    def sizes(self) -> tuple[float, float]:
        """The effective number of units with positive rows and of those with negative ones."""
        rows = self.counts.astype(np.float64)
        first, second = rows.sum(axis=1) ** 2 / np.square(rows).sum(axis=1)
        return float(first), float(second)

    @property
    def quantile(self) -> float:
        """Of Student's t, by the smaller of the effective numbers."""
        return float(stdtrit(max(1.0, min(self.sizes) - 1), _LEVEL))

    @property
    def scaled(self) -> tuple[Floats, Floats]:
        """`above` and `below`, corrected for their number."""
        first, second = (math.sqrt(size / max(size - 1, 0.5)) for size in self.sizes)
        return self.above * first, self.below * second

    @property
    def variance(self) -> float:
        """Of the value, from the spread of the placements."""
        above, below = self.scaled
        return float(np.square(above + below).sum())

    def less(self, other: "_Placements") -> "_Placements":
        """Of the difference of two values on the same rows."""
        value, across = self.value - other.value, self.across - other.across
        return _Placements(value, across, self.above - other.above, self.below - other.below, self.counts)


def _across(
    value: float,
    uncertainty: Floats,
    positive: NDArray[np.bool_],
    codes: NDArray[np.intp],
    counts: NDArray[np.int64],
) -> float:
    """AUROC over pairs of rows from different units; over all pairs where there are none."""
    inside = 0.0
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(counts.sum(axis=0))
    for unit in np.flatnonzero(counts.all(axis=0)):
        rows = order[ends[unit] - counts[:, unit].sum() : ends[unit]]
        scores, flags = uncertainty[rows], positive[rows]
        inside += float(_below(np.sort(scores[~flags]), scores[flags]).sum()) * counts[1, unit]
    total, left_out = np.prod(counts.sum(axis=1)), (counts[0] * counts[1]).sum()
    return value if left_out == total else float((value * total - inside) / (total - left_out))


def _score_interval(placements: _Placements) -> tuple[float, float]:
    """All AUROCs from which the one seen is no further than the quantile times the standard error there."""
    seen, (rows, others) = placements.across, placements.counts.sum(axis=1)
    usual = _binormal_variance(seen, rows, others)
    wider = max(1.0, placements.variance / usual) if usual > 0 else 1.0

    def excess(theta: float) -> float:
        spread = placements.quantile * math.sqrt(wider * _binormal_variance(theta, rows, others))
        return abs(seen - theta) - spread

    inside = min(max(seen, _EDGE), 1 - _EDGE)  # where the ranking is perfect, no spread is left at the value itself
    low = 0.0 if seen == 0 else float(brentq(excess, 0.0, inside))
    high = 1.0 if seen == 1 else float(brentq(excess, inside, 1.0))
    return low, high


def _binormal_variance(theta: float, rows: int, others: int) -> float:
    """Variance of an AUROC of `rows` against `others` whose scores are two normal distributions of one width."""
    if not 0 < theta < 1:
        return 0.0
    h = float(ndtri(theta))
    both = theta - 2 * float(owens_t(h, 1 / math.sqrt(3)))  # two of one kind are ranked right against one of the other
    return (theta * (1 - theta) + (rows + others - 2) * (both - theta**2)) / (rows * others)


def _below(ascending: Floats, values: Floats) -> Floats:
    """The share of `ascending` below each value, ties counted half."""
    strictly = np.searchsorted(ascending, values, side="left")
    at_most = np.searchsorted(ascending, values, side="right")
    return (strictly + at_most) / (2 * len(ascending))


def _too_few(flags: NDArray[np.bool_], units: NDArray[Any] | None, unit: Unit) -> str | None:
    """Why there is no interval, if either kind has too few units."""
    fewest = min(_count(flags[kind], None if units is None else units[kind])[0] for kind in (flags, ~flags))
    if fewest >= FEWEST:
        return None
    return f"no interval: only {counted(fewest, unit)} of one kind, fewer than {FEWEST}"


def _count(flags: NDArray[np.bool_], units: NDArray[Any] | None) -> tuple[int, Unit]:
    return (len(flags), "image") if units is None else (len(np.unique(units)), "group")
