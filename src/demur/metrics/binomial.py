"""Exact binomial tests and intervals for a share of images, grouped or not."""

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, betaincinv, ndtri, stdtrit

from demur.errors import InputError
from demur.metrics.estimate import Estimate
from demur.metrics.ranking import Floats, Value, ratio
from demur.metrics.unit_sums import UnitSums


def wilson(count: float, n: float, level: float = 0.95) -> Estimate:
    """The share `count / n` with its score interval; NaN with a reason for n = 0, which may be an effective number.

    Wilson (1927), "Probable inference, the law of succession, and statistical inference".

    >>> wilson(34, 2814).value
    0.012082444918265814
    """
    if n == 0:
        return Estimate.undefined("no images")
    share = count / n
    z = float(ndtri((1 + level) / 2))
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low = 0.0 if count == 0 else max(0.0, centre - half)
    high = 1.0 if count == n else min(1.0, centre + half)
    return Estimate(value=share, low=low, high=high, n=int(n))


def risk_upper_bound(errors: int, n: int, delta: float) -> float:
    """The largest risk that `errors` wrong among `n` leaves plausible: high when there are many errors or few images.

    One-sided: exceeded by the true risk with probability at most `delta`; 1 where all (or none) were seen wrong.
    Clopper & Pearson (1934), "The use of confidence or fiducial limits illustrated in the case of the binomial".
    """
    return 1.0 if errors >= n else float(betaincinv(errors + 1, n - errors, 1 - delta))


def risk_lower_bound(errors: int, n: int, delta: float) -> float:
    """The smallest risk that `errors` wrong among `n` leaves plausible: high when many of many answers are wrong.

    One-sided: undercut by the true risk with probability at most `delta`; 0 where none was seen wrong.
    Clopper & Pearson (1934), "The use of confidence or fiducial limits illustrated in the case of the binomial".
    """
    return 0.0 if errors == 0 else float(betaincinv(errors, n - errors + 1, delta))


def clopper_pearson(count: float, n: float, several: int = 1, level: float = 0.95) -> Estimate:
    """The share `count / n` with the exact interval that holds for `several` shares at once; NaN for n = 0.

    Each of `several` is given the level ᵏ√`level` (Šidák), so that with probability `level` all hold their truths,
    and the one that looks worst holds its own. `n` may be an effective number, and `count` its share.

    Clopper & Pearson (1934); Šidák (1967), "Rectangular confidence regions for the means of multivariate normal
    distributions"; Korn & Graubard (1998) for effective numbers.
    """
    if n == 0:
        return Estimate.undefined("no images")
    tail = (1 - level ** (1 / max(1, several))) / 2
    low = 0.0 if count <= 0 else float(betaincinv(count, n - count + 1, tail))
    high = 1.0 if count >= n else float(betaincinv(count + 1, n - count, 1 - tail))
    return Estimate(value=count / n, low=low, high=high, n=int(n))


def p_value(errors: int, n: int, risk: float) -> float:
    """The chance of at most `errors` wrong among `n` were the true risk `risk`: low when it must be smaller.

    The exact binomial tail; 1 for n = 0. At most δ exactly when `risk_upper_bound(errors, n, δ)` is at most `risk`.
    """
    return 1.0 if n == 0 else float(bdtr(errors, n, risk))


def sample_for(errors: int, risk: float, delta: float) -> int:
    """The smallest n at which `errors` wrong still show, at level `delta`, that the risk is at most `risk`.

    >>> [sample_for(errors, risk=0.01, delta=0.05) for errors in (0, 1, 2, 10)]
    [299, 473, 628, 1693]
    """
    check_levels(risk, delta)
    low, high = errors, max(2 * errors, 1)
    while p_value(errors, high, risk) > delta:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if p_value(errors, middle, risk) <= delta else (middle, high)
    return high


def labels_without_error(risk: float, delta: float) -> int:
    """The fewest answered and labelled images that can show a risk of at most `risk`: all of them must be right.

    >>> labels_without_error(risk=0.02, delta=0.05)
    149
    """
    return sample_for(0, risk, delta)


def power(n: int, risk: float, delta: float, true_risk: float) -> float:
    """The chance that `n` images show a risk of at most `risk` at level `delta`, if it truly is `true_risk`."""
    most = most_errors(n, risk, delta)
    return 0.0 if most < 0 else float(bdtr(most, n, true_risk))


def most_errors(n: int, risk: float, delta: float) -> int:
    """The most wrong among `n` that still show, at level `delta`, that the risk is at most `risk`; −1 if none do.

    >>> [most_errors(n, risk=0.01, delta=0.05) for n in (298, 299, 473)]
    [-1, 0, 1]
    """
    tails = bdtr(np.arange(math.ceil(n * risk) + 1), n, risk)
    return int(np.searchsorted(tails, delta, side="right")) - 1


@cache
def power_start(risk: float, delta: float, power: float = 0.9, true_share: float = 0.25) -> int:
    """The smallest n that passes with probability `power` if the true risk is `true_share` of `risk`.

    Looks at no label. For each number of errors, the smallest n that tolerates it is also the likeliest to pass.

    >>> power_start(risk=0.02, delta=0.05)
    456
    """
    errors = 0
    while True:
        n = sample_for(errors, risk, delta)
        if bdtr(errors, n, risk * true_share) >= power:
            return n
        errors += 1


def check_levels(risk: float, delta: float) -> None:
    """Refuse a target risk or an error level that is not a share strictly between 0 and 1."""
    for name, value in (("risk", risk), ("delta", delta)):
        if not 0 < value < 1:
            raise InputError(f"`{name}` must lie strictly between 0 and 1; got {value}. Write 2 % as 0.02.")


def effective_size(values: ArrayLike, groups: NDArray[Any]) -> float:
    """The number of independent images that would leave as much to chance: high when images of a group differ.

    n over the design effect of the mean of flags or signs, from the spread of whole groups about it, corrected for few
    groups by Student's t; never more than n. Where all images agree it is the number of groups, for nothing is known of
    the design. Korn & Graubard (1998), "Confidence intervals for proportions with small expected number of positive
    counts estimated from survey data".
    """
    return UnitSums.of(values, groups).effective_size


def mean(values: ArrayLike, weights: Floats | None = None) -> Value:
    """The weighted mean of the rows; NaN where they weigh nothing."""
    rows = np.asarray(values, np.float64)
    if weights is None:
        return float(rows.mean()) if len(rows) else float("nan")
    average = ratio(np.asarray(weights @ rows), np.asarray(weights.sum(axis=-1)))
    return float(average) if weights.ndim == 1 else average


def weighted_share(flags: ArrayLike, weights: ArrayLike, groups: NDArray[Any] | None = None) -> Estimate:
    """The share of the weight that is flagged, with Wilson's interval on the effective number of images.

    That is (Σw)²/Σw² (Kish 1965, "Survey sampling"); with groups as many as leave as much to chance as whole groups do,
    and no more.
    """
    rows, own = np.asarray(flags, bool), np.asarray(weights, np.float64)
    if not own.sum() > 0:
        return Estimate.undefined("no images", unit="image" if groups is None else "group")
    share, size = float(own @ rows / own.sum()), float(own.sum() ** 2 / (own @ own))
    if groups is not None:
        codes = np.unique(groups, return_inverse=True)[1]
        sums, held = np.bincount(codes, own * (rows - share)), np.bincount(codes, own)
        units = float(held.sum() ** 2 / (held @ held))
        variance = float(sums @ sums) / own.sum() ** 2 * units / max(units - 1, 1.0)
        few = (stdtrit(max(size - 1, 1), 0.975) / stdtrit(max(units - 1, 1), 0.975)) ** 2
        size = min(size, float(few) * share * (1 - share) / variance) if variance > 0 else min(size, units)
    found = wilson(share * size, size)
    n = len(rows) if groups is None else len(np.unique(groups))
    return Estimate(value=share, low=found.low, high=found.high, n=n, unit="image" if groups is None else "group")


def proportion(flags: ArrayLike, groups: NDArray[Any] | None = None, several: int | None = None) -> Estimate:
    """The share of true flags with Wilson's interval, on the effective number of images where `groups` is given.

    A bootstrap over whole groups is too narrow with few of them: with 8 groups it held the truth 88 times in 100.
    Where it is read beside others, `several` is their number, and the interval is Clopper and Pearson's that holds for
    all at once.
    """
    rows = np.asarray(flags, bool)
    if groups is not None:
        return proportion_of(UnitSums.of(rows, groups), several)
    return _interval(several)(int(rows.sum()), len(rows))


def proportion_of(sums: UnitSums, several: int | None = None) -> Estimate:
    """As `proportion`, of rows in groups of which only sums are known."""
    if not sums.n:
        return Estimate.undefined("no images", unit="group")
    share, effective = sums.total / sums.n, sums.effective_size
    found = _interval(several)(share * effective, effective)
    return Estimate(value=share, low=found.low, high=found.high, n=sums.units, unit="group")


def _interval(several: int | None) -> Callable[[float, float], Estimate]:
    return wilson if several is None else partial(clopper_pearson, several=several)
