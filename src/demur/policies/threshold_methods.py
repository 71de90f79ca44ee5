"""Where a threshold goes: each method reads the scores of two kinds of tune rows and gives one number.

What is flagged is above the threshold. Methods that count put it between neighbouring scores; a score that is NaN is
flagged by every threshold. Those that take moments or quantiles read the finite scores.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from demur.errors import InputError
from demur.policies.fixed_sequence import ThresholdGrid
from demur.policies.policy import Floats


@dataclass(frozen=True, eq=False)
class TuneScores:
    """Scores of tune rows that are to be answered (`negative`), and of those that are to be flagged (`positive`)."""

    negative: Floats
    positive: Floats

    @cached_property
    def thresholds(self) -> Floats:
        """Every threshold that tells some rows apart, ascending: from one that flags all to one that flags none."""
        everything = np.concatenate([self.negative, self.positive])
        lowest = np.min(everything, initial=np.inf, where=np.isfinite(everything))
        inner = ThresholdGrid.of(everything).thresholds
        return np.append(np.nextafter(lowest, -np.inf), inner) if math.isfinite(lowest) else inner

    @cached_property
    def fpr(self) -> Floats:
        """The share of negative rows that each of the thresholds flags."""
        return flagged(self.negative, self.thresholds)

    @cached_property
    def recalls(self) -> Floats:
        """The share of positive rows that each of the thresholds flags."""
        return flagged(self.positive, self.thresholds)

    @cached_property
    def coverages(self) -> Floats:
        """The share of all rows that each of the thresholds answers."""
        many, few = len(self.negative), len(self.positive)
        return 1 - (many * self.fpr + (few * self.recalls if few else 0)) / (many + few)


def flagged(scores: Floats, thresholds: Floats) -> Floats:
    """The share of scores above each threshold, NaN among them; NaN where there is no score."""
    if not len(scores):
        return np.full(np.shape(thresholds), np.nan)
    return 1 - np.searchsorted(np.sort(scores), thresholds, side="right") / len(scores)


def mean(scores: Floats) -> float:
    """Of the finite ones."""
    return float(_finite(scores).mean())


def _finite(scores: Floats) -> Floats:
    return scores[np.isfinite(scores)]


def _first(thresholds: Floats, usable: NDArray[np.bool_], what: str) -> float:
    if not usable.any():
        raise InputError(f"no threshold {what}: too many tune rows have no finite score. Choose another signal.")
    return float(thresholds[np.argmax(usable)])


_ROUNDING = 1e-12
"""Shares of counts are compared up to this."""


def mean_sigma(rows: TuneScores, level: float) -> float:
    """μ + k·σ of the negative rows, σ with n − 1."""
    scores = _finite(rows.negative)
    return float(scores.mean() + level * scores.std(ddof=1))


def percentile(rows: TuneScores, level: float) -> float:
    """The quantile of the negative rows at this share, between neighbouring scores linearly."""
    return float(np.quantile(_finite(rows.negative), level))


def target_fpr(rows: TuneScores, level: float) -> float:
    """The strictest that flags at most this share of the negative rows."""
    return _first(rows.thresholds, rows.fpr <= level + _ROUNDING, f"flags as few as {level:g}")


def target_coverage(rows: TuneScores, level: float) -> float:
    """The strictest that answers at least this share of all rows."""
    return _first(rows.thresholds, rows.coverages >= level - _ROUNDING, f"answers as many as {level:g}")


def target_recall(rows: TuneScores, level: float) -> float:
    """The laxest that flags at least this share of the positive rows."""
    return float(rows.thresholds[np.flatnonzero(rows.recalls >= level - _ROUNDING)[-1]])


def midpoint(rows: TuneScores, _level: float) -> float:
    """Half-way between the means of both kinds."""
    return (mean(rows.negative) + mean(rows.positive)) / 2


def youden(rows: TuneScores, _level: float) -> float:
    """The most recall − FPR, which is the least FPR + FNR; of several the laxest."""
    gains = rows.recalls - rows.fpr
    return float(rows.thresholds[np.flatnonzero(gains >= gains.max() - _ROUNDING)[-1]])


def balanced_recall(rows: TuneScores, _level: float) -> float:
    """The least difference of positive rows flagged and negative rows answered, as shares; then the larger shares."""
    kept = 1 - rows.fpr
    gap = np.abs(rows.recalls - kept)
    usable = np.flatnonzero(gap <= gap.min() + _ROUNDING)
    return float(rows.thresholds[usable[np.argmax((rows.recalls + kept)[usable])]])


@dataclass(frozen=True, kw_only=True)
class ThresholdMethod:
    """One way to place a threshold.

    Attributes:
        place: what does it.
        level: what it is told where nothing else is said; None where it is told nothing.
        needs_positives: whether it reads the rows that are to be flagged.
        is_share: whether its level is a share.
        tail: the share of rows beyond the threshold at a level, where that is a count of rows.
    """

    place: Callable[[TuneScores, float], float]
    level: float | None = None
    needs_positives: bool = False
    is_share: bool = True
    tail: Callable[[float], float] | None = None


def _upper(level: float) -> float:
    return 1 - level


METHODS: Mapping[str, ThresholdMethod] = {
    "balanced_recall": ThresholdMethod(place=balanced_recall, needs_positives=True),
    "least_fpr_fnr": ThresholdMethod(place=youden, needs_positives=True),
    "mean_sigma": ThresholdMethod(place=mean_sigma, level=2.0, is_share=False),
    "mean_sigma_two_sided": ThresholdMethod(place=mean_sigma, level=2.0, is_share=False),
    "midpoint": ThresholdMethod(place=midpoint, needs_positives=True),
    "percentile": ThresholdMethod(place=percentile, level=0.95, tail=_upper),
    "target_coverage": ThresholdMethod(place=target_coverage, level=0.9, tail=_upper),
    "target_fpr": ThresholdMethod(place=target_fpr, level=0.05, tail=float),
    "target_recall": ThresholdMethod(place=target_recall, level=0.9, needs_positives=True),
    "youden": ThresholdMethod(place=youden, needs_positives=True),
}

TWO_SIDED = "mean_sigma_two_sided"
