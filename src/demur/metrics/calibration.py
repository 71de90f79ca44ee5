"""Calibration: does a stated confidence match the share of right answers?"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax, softmax

from demur.errors import InputError
from demur.metrics.binomial import mean, proportion
from demur.metrics.estimate import Estimate
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
    scores, truth = np.asarray(logits, np.float64), np.asarray(labels, np.intp)
    distance = softmax(scores, axis=1)
    distance[np.arange(len(truth)), truth] -= 1
    return mean((distance**2).sum(axis=1), weights)


def nll(logits: ArrayLike, labels: ArrayLike, weights: Floats | None = None) -> Value:
    """Mean −log p of the true class, in nats: high when the truth was thought unlikely.

    From logits (n, classes) by log-softmax in float64, so that saturated errors stay finite; NaN for no rows.
    """
    scores, truth = np.asarray(logits, np.float64), np.asarray(labels, np.intp)
    return mean(-log_softmax(scores, axis=1)[np.arange(len(truth)), truth], weights)
