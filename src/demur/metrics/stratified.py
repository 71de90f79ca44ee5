"""Shares and quantiles of rows of which some stand for more others than some: samples drawn by strata.

The value is the weighted one. Its variance is that of a share estimated in each stratum, to which comes what the sizes
of the strata would differ by in other images from the same source (double sampling: Cochran 1977, "Sampling
techniques", §12.2); so the interval is about that source, as that of rows drawn alike is. It is made by Clopper and
Pearson on the number of images drawn alike that would leave as much to chance (Korn & Graubard 1998, "Confidence
intervals for proportions with small expected number of positive counts estimated from survey data").
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from demur.metrics.binomial import clopper_pearson
from demur.metrics.estimate import Estimate, Unit, counted
from demur.metrics.quantiles import FEWEST, weighted_quantile
from demur.metrics.ranking import Floats
from demur.metrics.units import unit_codes

Flags: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Design:
    """How rows were drawn, one number per row each.

    Attributes:
        weights: for how many rows each stands, at least 1.
        strata: the stratum of each, by number.
        drawn: how many rows were drawn of that stratum; more than are here where the rows are some of those drawn.
    """

    weights: Floats
    strata: NDArray[np.int64]
    drawn: NDArray[np.int64]

    def only(self, chosen: NDArray[Any]) -> "Design":
        """That of some of the rows."""
        return Design(self.weights[chosen], self.strata[chosen], self.drawn[chosen])

    @property
    def is_alike(self) -> bool:
        """Whether all rows stand for equally many, as those of one stratum do."""
        return len(self.weights) == 0 or bool((self.weights == self.weights[0]).all())

    @property
    def size(self) -> float:
        """(Σw)²/Σw²: how many rows of equal weight leave as much to chance where strata do not differ (Kish 1965)."""
        return float(self.weights.sum() ** 2 / np.square(self.weights).sum())

    def variance(self, residuals: Floats, groups: NDArray[Any] | None = None) -> float:
        """Of a weighted mean, by what each row is off it.

        Rows drawn of a stratum and not here count as off by nothing, as they do for the share of some of the rows.
        With groups whole groups are what differs, and strata are not taken to make them more alike.
        """
        total = float(self.weights.sum())
        own = self.weights * residuals / total
        if groups is not None:
            codes = unit_codes(groups)[1]
            sums = np.bincount(codes, own)
            return float(np.square(sums).sum()) * len(sums) / max(1, len(sums) - 1)
        _, first, inverse = np.unique(self.strata, return_index=True, return_inverse=True)
        drawn, weight = self.drawn[first].astype(np.float64), self.weights[first]
        squares, sums = np.bincount(inverse, np.square(own)), np.bincount(inverse, own)
        several = np.maximum(drawn, 2.0)
        within = np.where(drawn > 1, several / (several - 1) * (squares - sums**2 / several), squares)
        return float((within + np.where(drawn > 1, sums**2 / (weight * drawn), 0.0)).sum())


def design_share(
    flags: ArrayLike, design: Design, groups: NDArray[Any] | None = None, several: int | None = None
) -> Estimate:
    """The share that is flagged of what the rows stand for, with its 95 % interval, for all of `several` at once.

    Args:
        flags: one per row.
        design: how the rows were drawn.
        groups: the unit of independence of each row.
        several: how many shares are read beside each other.
    """
    rows = np.asarray(flags, bool)
    unit: Unit = "image" if groups is None else "group"
    if not len(rows):
        return Estimate.undefined("no images", unit=unit)
    share, size = _share_and_size(rows, design, groups)
    found = clopper_pearson(share * size, size, several or 1)
    n = len(rows) if groups is None else len(unit_codes(groups)[0])
    return Estimate(value=share, low=min(found.low, share), high=max(found.high, share), n=n, unit=unit)


def _share_and_size(flags: Flags, design: Design, groups: NDArray[Any] | None) -> tuple[float, float]:
    """The weighted share, and the number of images drawn alike that would tell as much.

    Never more than Kish's: that strata differ could tell more, but a heavy stratum in which nothing was flagged by
    chance looks as if it had no spread at all, and the interval would miss the truth far too often.
    """
    share = float(design.weights @ flags / design.weights.sum())
    if flags.all() or not flags.any():  # no spread was seen, so nothing is known but the weights
        units = len(flags) if groups is None else len(unit_codes(groups)[0])
        return (1.0 if flags.all() else 0.0), min(design.size, units)
    variance = design.variance(flags.astype(np.float64) - share, groups)
    if not variance > 0:
        return share, design.size
    size = share * (1 - share) / variance
    units = len(flags) if groups is None else len(unit_codes(groups)[0])
    few = (stdtrit(max(len(flags) - 1, 1), 0.975) / stdtrit(max(units - 1, 1), 0.975)) ** 2
    return share, min(design.size, size * float(few))


def design_median(values: ArrayLike, design: Design, groups: NDArray[Any] | None = None) -> Estimate:
    """The weighted median with its 95 % interval: the values at the ends of the interval of the share below it.

    Values above a cap are given as +∞. Woodruff (1952), "Confidence intervals for medians and other position measures".
    """
    rows = np.asarray(values, np.float64)
    unit: Unit = "image" if groups is None else "group"
    units = len(rows) if groups is None else len(unit_codes(groups)[0])
    if not len(rows):
        return Estimate.undefined("no images", unit=unit)
    value = float(weighted_quantile(rows, 0.5, design.weights))
    if units < FEWEST:
        reason = f"no 95 % interval from {counted(units, unit)}, only from {FEWEST}"
        return Estimate(value=value, low=np.nan, high=np.nan, n=units, unit=unit, reason=reason)
    size = _share_and_size(rows <= value, design, groups)[1]
    ends = clopper_pearson(0.5 * size, size)
    low, high = (float(weighted_quantile(rows, share, design.weights)) for share in (ends.low, ends.high))
    return Estimate(value=value, low=min(low, value), high=max(high, value), n=units, unit=unit)
