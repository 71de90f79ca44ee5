"""Calibration: does a stated confidence match the share of right answers?"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax, ndtri, softmax, stdtrit

from demur.errors import InputError
from demur.metrics.binomial import mean, proportion
from demur.metrics.estimate import Estimate, Unit, counted
from demur.metrics.jackknife import FEWEST
from demur.metrics.ranking import Floats, Value, ratio


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """The answers with confidence in (low, high] (the first also has 0): `confidence` is their mean, NaN if none."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: Estimate


def reliability(
    confidence: ArrayLike, right: ArrayLike, bins: int = 15, groups: NDArray[Any] | None = None
) -> tuple[ReliabilityBin, ...]:
    """Confidence against accuracy in `bins` bins of equal width over [0, 1], the last one included.

    Guo et al. (2017), arXiv:1706.04599.
    """
    stated, correct = np.asarray(confidence, np.float64), np.asarray(right, bool)
    place, edges = _bins(stated, bins), np.linspace(0, 1, bins + 1)
    return tuple(
        ReliabilityBin(
            low=float(edges[index]),
            high=float(edges[index + 1]),
            n=int((inside := place == index).sum()),
            confidence=float(stated[inside].mean()) if inside.any() else float("nan"),
            accuracy=proportion(correct[inside], None if groups is None else groups[inside]),
        )
        for index in range(bins)
    )


def ece(confidence: ArrayLike, right: ArrayLike, weights: Floats | None = None, bins: int = 15) -> Value:
    """Expected calibration error, Σ_b (n_b/n)·|accuracy_b − confidence_b|: high when confidence misleads.

    `bins` of equal width over [0, 1], the last one included; biased upwards for few rows; NaN for no rows.
    Guo et al. (2017), arXiv:1706.04599.
    """
    stated, correct = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    rows = np.ones((1, len(stated))) if weights is None else np.atleast_2d(weights)
    surplus = np.zeros((len(stated), bins))
    surplus[np.arange(len(stated)), _bins(stated, bins)] = correct - stated
    error = ratio(np.abs(rows @ surplus).sum(axis=1), rows.sum(axis=1))
    return float(error[0]) if weights is None or weights.ndim == 1 else error


_SURE = 3.0
"""Beyond so many standard errors it is known whether the answers of a bin are too sure or not sure enough."""

_DRAWS = 2000


def ece_interval(
    confidence: ArrayLike, right: ArrayLike, groups: NDArray[Any] | None = None, bins: int = 15
) -> Estimate:
    """`ece` with its 95 % interval, which reaches 0 where confidence may well be right.

    Chance alone makes |accuracy − confidence| larger than it is, in every bin, so the value itself is too high and a
    bootstrap is so twice. From below, the value exceeds the truth by no more than the noise of the bins of whose sign
    one is sure, and by the absolute noise of the others; from above, by no less than the noise of all, signs as seen.
    The noise of bins is normal with the covariance of their sums over images, or groups.
    """
    stated, correct = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
    unit: Unit = "image" if groups is None else "group"
    codes = np.arange(len(stated)) if groups is None else np.unique(groups, return_inverse=True)[1]
    units = int(codes.max(initial=-1)) + 1
    if units < FEWEST:
        value = ece(stated, correct, bins=bins)
        reason = f"no 95 % interval from {counted(units, unit)}, only from {FEWEST}" if units else "no images"
        return Estimate(value=value, low=math.nan, high=math.nan, n=units, unit=unit, reason=reason)
    surplus, covariance = _bin_sums(stated, correct, codes, units, bins)
    return _ece_estimate(surplus, _bin_noise(covariance, units), units, unit)


def ece_of_sums(n: int, surplus: Floats, squares: Floats) -> Estimate:
    """As `ece_interval`, of independent rows of which only sums are known, by bin of the confidence.

    Args:
        n: how many rows there are.
        surplus: Σ (right − confidence) of each bin.
        squares: Σ (right − confidence)² of each bin.
    """
    share = surplus / max(1, n)
    if n < FEWEST:
        reason = f"no 95 % interval from {counted(n, 'image')}, only from {FEWEST}" if n else "no images"
        value = float(np.abs(share).sum()) if n else math.nan
        return Estimate(value=value, low=math.nan, high=math.nan, n=n, unit="image", reason=reason)
    covariance = (np.diag(squares) / n**2 - np.outer(share, share) / n) * n / (n - 1)
    return _ece_estimate(share, _bin_noise(covariance, n), n, "image")


def ece_of_unit_sums(surplus: Floats, covariance: Floats, units: int) -> Estimate:
    """As `ece_interval`, of rows in groups of which only sums are known.

    Args:
        surplus: Σ (right − confidence) of each bin, over the number of rows.
        covariance: of that over groups.
        units: how many groups there are.
    """
    if units < FEWEST:
        reason = f"no 95 % interval from {counted(units, 'group')}, only from {FEWEST}" if units else "no images"
        value = float(np.abs(surplus).sum()) if units else math.nan
        return Estimate(value=value, low=math.nan, high=math.nan, n=units, unit="group", reason=reason)
    return _ece_estimate(surplus, _bin_noise(covariance, units), units, "group")


def _ece_estimate(surplus: Floats, noise: Floats, units: int, unit: Unit) -> Estimate:
    signs, value = np.sign(surplus), float(np.abs(surplus).sum())
    sure = np.abs(surplus) > _SURE * noise.std(axis=0)
    excess = (noise * signs)[:, sure].sum(axis=1) + np.abs(noise[:, ~sure]).sum(axis=1)
    low, high = value - np.quantile(excess, 0.975), value + np.quantile(noise @ signs, 0.975)
    return Estimate(value=value, low=float(max(0.0, low)), high=float(min(1.0, high)), n=units, unit=unit)


def _bin_sums(stated: Floats, correct: Floats, codes: NDArray[np.intp], units: int, bins: int) -> tuple[Floats, Floats]:
    """What each bin adds to the error, with its sign, and the covariance of that over units."""
    place, n = _bins(stated, bins), len(stated)
    sums = np.bincount(codes * bins + place, correct - stated, minlength=units * bins).reshape(units, bins) / n
    surplus = sums.sum(axis=0)
    off = sums - np.outer(np.bincount(codes, minlength=units) / n, surplus)
    return surplus, off.T @ off * units / (units - 1)


def _bin_noise(covariance: Floats, units: int) -> Floats:
    """2,000 draws of the noise in each bin, wide as few units ask for."""
    wider = float(stdtrit(units - 1, 0.975) / ndtri(0.975))
    value, axes = np.linalg.eigh(covariance)
    draws = np.random.default_rng(0).standard_normal((_DRAWS, len(covariance)))
    return wider * (draws * np.sqrt(np.maximum(value, 0.0))) @ axes.T


def _bins(confidence: Floats, bins: int) -> NDArray[np.intp]:
    outside = confidence[~((confidence >= 0) & (confidence <= 1))]
    if len(outside):
        raise InputError(
            f"a confidence must lie in [0, 1]; got {outside[0]} ({len(outside)} rows). "
            "Calibration is defined for probabilities only, not for scores such as energy."
        )
    return np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1], right=True)


def brier(logits: ArrayLike, labels: ArrayLike, weights: Floats | None = None) -> Value:
    """Mean squared distance ‖p − e_y‖² of the probabilities to the truth, 0 to 2: high when sure and wrong.

    From logits (n, classes) by softmax in float64; NaN for no rows.
    Brier (1950), "Verification of forecasts expressed in terms of probability".
    """
    return mean(row_losses(logits, labels)[1], weights)


def nll(logits: ArrayLike, labels: ArrayLike, weights: Floats | None = None) -> Value:
    """Mean −log p of the true class, in nats: high when the truth was thought unlikely.

    From logits (n, classes) by log-softmax in float64, so that saturated errors stay finite; NaN for no rows.
    """
    return mean(row_losses(logits, labels)[0], weights)


_NUMBERS = 2**20
"""How many logits are turned into probabilities at a time."""


def row_losses(logits: ArrayLike, labels: ArrayLike) -> tuple[Floats, Floats]:
    """The −log p of the true class and the squared distance ‖p − e_y‖² of each row, both (n,).

    Worked out once, they are all that resampling or leaving out rows needs.
    """
    scores, truth = np.asarray(logits), np.asarray(labels, np.intp)
    surprise, distance = np.empty(len(truth)), np.empty(len(truth))
    step = max(1, _NUMBERS // max(1, scores.shape[-1]))
    for start in range(0, len(truth), step):
        part = slice(start, start + step)
        log_p, own = log_softmax(scores[part].astype(np.float64), axis=1), truth[part]
        rows = np.arange(len(own))
        surprise[part] = -log_p[rows, own]
        p = softmax(scores[part].astype(np.float64), axis=1)
        p[rows, own] -= 1
        distance[part] = (p**2).sum(axis=1)
    return surprise, distance
