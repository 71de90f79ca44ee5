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
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.special import ndtri, owens_t, stdtrit

from demur.metrics.binomial import mean
from demur.metrics.estimate import Estimate, Unit, counted
from demur.metrics.ranking import Floats
from demur.metrics.units import unit_codes

_LEVEL = 0.975
_EDGE = 1e-9
_NORMAL = float(ndtri(_LEVEL))

FEWEST = 10
"""With fewer units of either kind no interval is to be trusted, and none is given."""


def auroc_interval(
    uncertainty: ArrayLike, positive: ArrayLike, units: NDArray[Any] | None = None, weights: Floats | None = None
) -> Estimate:
    """AUROC with its 95 % interval, which stays inside [0, 1] and is there for a perfect ranking too.

    All θ with |θ̂ − θ| ≤ q·√V(θ), q of Student's t. `units` names each row's unit of independence; without it every row
    is one. With units, pairs within one are left out of the interval, not of the value. The ends are NaN, with a
    reason, where either kind has fewer than 10 units. Scores are taken to be smooth: a kind of error that looks exactly
    like right answers, rare enough not to have been seen, is in no interval. `weights` say for how many rows each
    stands.
    """
    return Kinds.of(positive, units, weights).ranked(uncertainty).area


def auroc_gain(
    uncertainty: ArrayLike, baseline: ArrayLike, positive: ArrayLike, units: NDArray[Any] | None = None
) -> Estimate:
    """AUROC of `uncertainty` minus that of `baseline` on the same rows, with the 95 % interval of the difference."""
    kinds = Kinds.of(positive, units)
    return kinds.ranked(uncertainty).gain(kinds.ranked(baseline))


def gain_influence(
    uncertainty: ArrayLike, baseline: ArrayLike, positive: ArrayLike, units: NDArray[Any] | None = None
) -> Floats:
    """What each unit, in sorted order, adds to the error of `auroc_gain`.

    The root of the sum of squares is the standard error, made larger as Student's t is wider than the normal
    distribution. Zero everywhere where a gain is undefined.
    """
    kinds = Kinds.of(positive, units)
    return kinds.ranked(uncertainty).gain_influence(kinds.ranked(baseline))


@dataclass(frozen=True, eq=False)
class Kinds:
    """Rows of two kinds and their units of independence, counted once for every score of the same rows.

    `codes` is the unit of each row by number, in the order of their names. `weights` say for how many rows each stands,
    None where all stand for equally many.
    """

    positive: NDArray[np.bool_]
    codes: NDArray[np.intp]
    unit: Unit
    weights: Floats | None = None

    @classmethod
    def of(cls, positive: ArrayLike, units: NDArray[Any] | None = None, weights: Floats | None = None) -> "Kinds":
        """From one flag and one unit per row; without units every row is one."""
        flags = np.asarray(positive, bool)
        if units is None:
            return cls(flags, np.arange(len(flags)), "image", weights)
        return cls(flags, unit_codes(units)[1], "group", weights)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Positive and negative rows of each unit, (2, units)."""
        size = int(self.codes.max(initial=-1)) + 1
        return np.stack([np.bincount(self.codes[kind], minlength=size) for kind in (self.positive, ~self.positive)])

    @cached_property
    def masses(self) -> NDArray[Any]:
        """What the positive and the negative rows of each unit stand for, (2, units)."""
        if self.weights is None:
            return self.counts
        size, own = self.size, self.weights
        return np.stack([np.bincount(self.codes[kind], own[kind], size) for kind in (self.positive, ~self.positive)])

    @cached_property
    def rows(self) -> tuple[float, float]:
        """Positive and negative rows; as many of equal weight as leave as much to chance (Kish 1965)."""
        if self.weights is None:
            positive, negative = self.counts.sum(axis=1)
            return positive, negative
        parts = (self.weights[self.positive], self.weights[~self.positive])
        positive, negative = (float(own.sum() ** 2 / np.square(own).sum()) for own in parts)
        return positive, negative

    @cached_property
    def reason(self) -> str | None:
        """Why there is no interval, if either kind has too few units."""
        fewest = int((self.counts > 0).sum(axis=1).min())
        if fewest >= FEWEST:
            return None
        return f"no interval: only {counted(fewest, self.unit)} of one kind, fewer than {FEWEST}"

    @cached_property
    def undefined(self) -> Estimate | None:
        """What is said where all rows are of one kind."""
        if self.positive.any() and not self.positive.all():
            return None
        return Estimate.undefined("undefined here: all rows are of one kind", n=self.size, unit=self.unit)

    @property
    def size(self) -> int:
        """How many units there are."""
        return self.counts.shape[1]

    def ranked(self, uncertainty: ArrayLike) -> "Ranking":
        """These rows by a score."""
        return Ranking(np.asarray(uncertainty, np.float64), self)


@dataclass(frozen=True, eq=False)
class Ranking:
    """Rows of two kinds by a score: its AUROC, and what it gains on another score of the same rows.

    Rows are sorted once for all of them.
    """

    uncertainty: Floats
    kinds: Kinds

    @cached_property
    def area(self) -> Estimate:
        """As `auroc_interval`."""
        if self.kinds.undefined is not None:
            return self.kinds.undefined
        value = self._placements.value
        if self.kinds.reason:
            return self._bare(value)
        low, high = score_interval(self._placements)
        return self._between(value, min(low, value), max(high, value))

    def gain(self, baseline: "Ranking") -> Estimate:
        """As `auroc_gain`; `baseline` is of the same rows."""
        if self.kinds.undefined is not None:
            return self.kinds.undefined
        ours, theirs = self._placements, baseline._placements  # noqa: SLF001 - its own
        value = ours.value - theirs.value
        if self.kinds.reason:
            return self._bare(value)
        half = ours.quantile * math.sqrt(ours.less(theirs).variance)
        return self._between(value, value - half, value + half)

    def gain_influence(self, baseline: "Ranking") -> Floats:
        """As `gain_influence`; `baseline` is of the same rows."""
        if self.kinds.undefined is not None:
            return np.zeros(self.kinds.size)
        ours = self._placements
        above, below = ours.less(baseline._placements).scaled  # noqa: SLF001 - its own
        return (above + below) * (ours.quantile / _NORMAL)

    @cached_property
    def _placements(self) -> "Placements":
        return Placements.of(self.uncertainty, self.kinds)

    def _between(self, value: float, low: float, high: float) -> Estimate:
        return Estimate(value=value, low=low, high=high, n=self.kinds.size, unit=self.kinds.unit)

    def _bare(self, value: float) -> Estimate:
        return replace(self._between(value, math.nan, math.nan), reason=self.kinds.reason)


@dataclass(frozen=True, eq=False)
class Placements:
    """What each unit adds to the error of an AUROC, by its positive and by its negative rows.

    Attributes:
        value: AUROC, ties counted half.
        across: AUROC over pairs of different units.
        above: sums over the positive rows of each unit (units,), zero where it has none.
        below: likewise over the negative rows.
        masses: (2, units) what the positive and negative rows of each unit stand for.
        rows: positive and negative rows, of equal weight.
    """

    value: float
    across: float
    above: Floats
    below: Floats
    masses: NDArray[Any]
    rows: tuple[float, float]

    @classmethod
    def of(cls, uncertainty: Floats, kinds: Kinds) -> "Placements":
        positive, codes = kinds.positive, kinds.codes
        placement = np.empty(len(uncertainty))
        placement[positive] = _below(*_of_kind(uncertainty, kinds, ~positive), uncertainty[positive])
        placement[~positive] = 1 - _below(*_of_kind(uncertainty, kinds, positive), uncertainty[~positive])
        value = float(mean(placement[positive], None if kinds.weights is None else kinds.weights[positive]))
        influence = _influence(placement - value, kinds)
        above, below = (
            np.bincount(codes[kind], influence[kind], kinds.size).astype(np.float64) for kind in (positive, ~positive)
        )
        across = value if kinds.unit == "image" else _across(value, uncertainty, kinds)
        return cls(value, across, above, below, kinds.masses, kinds.rows)

    @property
    def sizes(self) -> tuple[float, float]:
        """The effective number of units with positive rows and of those with negative ones."""
        rows = self.masses.astype(np.float64)
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

    def less(self, other: "Placements") -> "Placements":
        """Of the difference of two values on the same rows."""
        value, across = self.value - other.value, self.across - other.across
        return Placements(value, across, self.above - other.above, self.below - other.below, self.masses, self.rows)


def _across(value: float, uncertainty: Floats, kinds: Kinds) -> float:
    """AUROC over pairs of rows from different units; over all pairs where there are none."""
    masses = kinds.masses
    total, left_out = np.prod(masses.sum(axis=1)), (masses[0] * masses[1]).sum()
    if left_out in (0, total):
        return value
    return float((value * total - _pairs_within(uncertainty, kinds)) / (total - left_out))


def _pairs_within(uncertainty: Floats, kinds: Kinds) -> float:
    """How many pairs of a positive and a negative row of one unit are ranked right, ties counted half."""
    mixed = (kinds.counts.min(axis=0) > 0)[kinds.codes]
    codes, scores, negative = kinds.codes[mixed], uncertainty[mixed], ~kinds.positive[mixed]
    order = np.lexsort((scores, codes))
    codes, scores, negative = codes[order], scores[order], negative[order]
    own = np.ones(len(order), int) if kinds.weights is None else kinds.weights[mixed][order]
    new_unit = np.append(True, codes[1:] != codes[:-1])
    new_score = np.logical_or(new_unit, np.append(True, scores[1:] != scores[:-1]))
    lower = np.append(0, np.cumsum(own * negative))  # negative rows before each place, over all units
    starts, ends = np.flatnonzero(new_score), np.append(np.flatnonzero(new_score)[1:], len(codes))
    tie = np.cumsum(new_score) - 1
    before_unit = lower[np.flatnonzero(new_unit)][np.cumsum(new_unit) - 1]
    twice = lower[starts][tie] + lower[ends][tie] - 2 * before_unit
    return float((own * twice)[~negative].sum()) / 2


def score_interval(placements: Placements) -> tuple[float, float]:
    """All AUROCs from which the one seen is no further than the quantile times the standard error there."""
    seen, (rows, others) = placements.across, placements.rows
    usual = _binormal_variance(seen, rows, others)
    wider = max(1.0, placements.variance / usual) if usual > 0 else 1.0

    def excess(theta: float) -> float:
        spread = placements.quantile * math.sqrt(wider * _binormal_variance(theta, rows, others))
        return abs(seen - theta) - spread

    inside = min(max(seen, _EDGE), 1 - _EDGE)  # where the ranking is perfect, no spread is left at the value itself
    low = 0.0 if seen == 0 else float(brentq(excess, 0.0, inside))
    high = 1.0 if seen == 1 else float(brentq(excess, inside, 1.0))
    return low, high


def _binormal_variance(theta: float, rows: float, others: float) -> float:
    """Variance of an AUROC of `rows` against `others` whose scores are two normal distributions of one width."""
    if not 0 < theta < 1:
        return 0.0
    h = float(ndtri(theta))
    both = theta - 2 * float(owens_t(h, 1 / math.sqrt(3)))  # two of one kind are ranked right against one of the other
    return (theta * (1 - theta) + (rows + others - 2) * (both - theta**2)) / (rows * others)


def _influence(deviations: Floats, kinds: Kinds) -> Floats:
    """What each row adds to the error of the mean of its kind."""
    if kinds.weights is None:
        return deviations / np.where(kinds.positive, *kinds.counts.sum(axis=1))
    positive, negative = kinds.masses.sum(axis=1)
    return np.asarray(kinds.weights * deviations / np.where(kinds.positive, positive, negative))


def _of_kind(uncertainty: Floats, kinds: Kinds, chosen: NDArray[np.bool_]) -> tuple[Floats, Floats | None]:
    """The scores of some rows in their order, and what those up to each place stand for; None where that is counted."""
    if kinds.weights is None:
        return np.sort(uncertainty[chosen]), None
    order = np.argsort(uncertainty[chosen], kind="stable")
    return uncertainty[chosen][order], np.append(0.0, np.cumsum(kinds.weights[chosen][order]))


def _below(ascending: Floats, masses: Floats | None, values: Floats) -> Floats:
    """The share of `ascending` below each value, ties counted half."""
    strictly = np.searchsorted(ascending, values, side="left")
    at_most = np.searchsorted(ascending, values, side="right")
    if masses is not None:
        return np.asarray((masses[strictly] + masses[at_most]) / (2 * masses[-1]))
    return (strictly + at_most) / (2 * len(ascending))
