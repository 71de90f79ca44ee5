"""Two measurements of the same images; how far two labellers agree; several tests or intervals that hold together."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, ndtri
from scipy.stats import norm

from demur.errors import InputError
from demur.metrics.binomial import effective_size
from demur.metrics.estimate import Estimate, Unit
from demur.metrics.jackknife import Jackknife
from demur.metrics.quantiles import median
from demur.metrics.ranking import Floats, Value, ratio


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


def critical_value(influence: Floats, *, level: float = 0.95, draws: int = 40_000, seed: int = 0) -> float:
    """How many standard errors make intervals that hold all at once with probability `level`: high for many estimates.

    The quantile of the largest |z| of all estimates when nothing is there to find (max-T), found by weighing units with
    normal numbers. Estimates that go together cost little: two that are one give 1.96. The sums of units so weighed are
    normal, with the covariance of the estimates' errors: they are drawn as such, however many units there are.

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
    _, upper = np.linalg.qr(moving.T)  # upperᵀ·upper is the covariance
    root = upper * np.where(np.diag(upper) < 0, -1.0, 1.0)[:, None]
    z = np.random.default_rng(seed).standard_normal((draws, len(root))) @ root
    return max(least, float(np.quantile(np.abs(z).max(axis=1), level)))


_Z = float(ndtri(0.975))


@dataclass(frozen=True, kw_only=True)
class Paired:
    """On how many images the first of two measurements is the `smaller`, the `larger`, or neither, a tie.

    `p_value` is the sign test's, `effect` the share smaller minus the share larger, `difference` the median of second −
    first, which may be infinite.
    """

    n: int
    smaller: int
    larger: int
    ties: int
    p_value: float
    effect: Estimate
    difference: Estimate


def paired(first: ArrayLike, second: ArrayLike, groups: NDArray[Any] | None = None) -> Paired:
    """The two measurements compared: `effect` and `difference` are high where the first is mostly the smaller."""
    found = differences(first, second)
    smaller, larger = int((found > 0).sum()), int((found < 0).sum())
    return Paired(
        n=len(found),
        smaller=smaller,
        larger=larger,
        ties=len(found) - smaller - larger,
        p_value=sign_test(found, groups),
        effect=sign_effect(found, groups),
        difference=median(found, groups),
    )


def mcnemar(first: ArrayLike, second: ArrayLike, groups: NDArray[Any] | None = None) -> Paired:
    """Two models' right answers compared: `smaller` counts images that only the second has right, `larger` the first.

    `p_value` is McNemar's exact one and `effect` the difference of the accuracies, second − first. McNemar (1947),
    "Note on the sampling error of the difference between correlated proportions or percentages".
    """
    return paired(np.asarray(first, bool), np.asarray(second, bool), groups)


def differences(first: ArrayLike, second: ArrayLike) -> Floats:
    """Second − first, where +∞ stands for a value above the cap: high where the first is the smaller."""
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.ndim != 1 or one.shape != other.shape:
        raise InputError(f"both measurements must be one number per image; got shapes {one.shape} and {other.shape}.")
    missing = int((np.isnan(one) | np.isnan(other)).sum())
    if missing:
        raise InputError(
            f"both measurements must be numbers, +∞ above the cap; got NaN on {missing} of {len(one)} images. Leave "
            "out the images that were not measured twice, and report how many there were."
        )
    return np.subtract(other, one, out=np.zeros(len(one)), where=one != other)


def sign_test(found: ArrayLike, groups: NDArray[Any] | None = None) -> float:
    """The chance of signs of differences as uneven as these were either sign as likely: low when one prevails.

    Two-sided and exact; ties say nothing and are left out, and without any other difference it is 1. With groups the
    signs of a whole group are turned together, which is exact if what is measured first and second may be swapped
    within a group; of single images this is the same test. Dixon & Mood (1946), "The statistical sign test".
    """
    signs = np.sign(np.asarray(found, np.float64)).astype(np.int64)
    if groups is not None:
        return _turned(np.bincount(np.unique(groups, return_inverse=True)[1], signs).astype(np.int64))
    smaller, larger = int((signs > 0).sum()), int((signs < 0).sum())
    return min(1.0, 2 * float(bdtr(min(smaller, larger), smaller + larger, 0.5))) if smaller + larger else 1.0


def sign_effect(found: ArrayLike, groups: NDArray[Any] | None = None, z: float = _Z) -> Estimate:
    """The share of positive differences minus that of negative ones, with its interval: high when most are positive.

    Ties count as neither. With groups the interval is taken at n over the design effect; it is `z` standard errors to
    either side, by default those of 95 %. Bonett & Price (2012), "Adjusted Wald confidence interval for a difference of
    binomial proportions based on paired data".
    """
    signs = np.sign(np.asarray(found, np.float64))
    unit: Unit = "image" if groups is None else "group"
    n = len(signs if groups is None else np.unique(groups))
    if not len(signs):
        return Estimate.undefined("no images", unit=unit)
    size = float(n) if groups is None else effective_size(signs, groups)
    positive, negative = (size * float(np.mean(signs == sign)) for sign in (1, -1))
    up, down = (positive + 1) / (size + 2), (negative + 1) / (size + 2)
    half = z * math.sqrt((up + down - (up - down) ** 2) / (size + 2))
    value, centre = float(signs.mean()), up - down
    low, high = max(-1.0, min(value, centre - half)), min(1.0, max(value, centre + half))
    return Estimate(value=value, low=low, high=high, n=n, unit=unit)


def _turned(sums: NDArray[np.int64]) -> float:
    """The chance that ±s₁ ± s₂ … is as far from 0 as Σ s, were every sign a fair coin: the whole law, added up."""
    law, size = np.ones(1), 0
    for step in np.abs(sums[sums != 0]):
        further = np.zeros(len(law) + 2 * step)
        further[: len(law)] += law / 2
        further[2 * step :] += law / 2
        law, size = further, size + int(step)
    places = np.abs(np.arange(-size, size + 1))
    return min(1.0, float(law[places >= abs(int(sums.sum()))].sum()))


def kappa(first: ArrayLike, second: ArrayLike, weights: Floats | None = None) -> Value:
    """(pₒ − pₑ) / (1 − pₑ): 1 for the same labels, 0 for agreement by chance; NaN where one class is all there is.

    pₒ is the share of equal labels, pₑ what it would be if each labeller kept their shares of classes and guessed.
    Cohen (1960), "A coefficient of agreement for nominal scales".

    >>> kappa([0, 0, 1, 1], [0, 0, 1, 0])
    0.5
    """
    one, other = np.asarray(first), np.asarray(second)
    own = np.ones((1, len(one))) if weights is None else np.atleast_2d(weights)
    total = own.sum(axis=1)
    observed = ratio(own @ (one == other), total)
    size = int(max(one.max(initial=0), other.max(initial=0))) + 1
    expected = (_shares(one, own, size) * _shares(other, own, size)).sum(axis=1)
    found = ratio(observed - expected, 1 - expected)
    return float(found[0]) if weights is None or weights.ndim == 1 else found


def kappa_interval(first: ArrayLike, second: ArrayLike, groups: NDArray[Any] | None = None) -> Estimate:
    """`kappa` with its 95 % interval by the jackknife; none where the labellers never disagree."""
    found = Jackknife(len(np.asarray(first)), groups).estimate(kappa, first, second)
    return replace(found, low=max(-1.0, found.low), high=min(1.0, found.high))


def _shares(labels: NDArray[Any], weights: Floats, size: int) -> Floats:
    """The weighted share of each class, (replicates, classes)."""
    counts = weights @ np.eye(size)[labels]
    return ratio(counts, weights.sum(axis=1, keepdims=True))
