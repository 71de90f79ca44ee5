"""Calibration from sums that add up over any parts of the rows, where no rows can be held."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, softmax

from demur.metrics.binomial import wilson
from demur.metrics.calibration import ReliabilityBin, ece_of_sums, row_losses
from demur.metrics.estimate import Estimate
from demur.metrics.ranking import Floats

BINS = 15
"""Of the confidence, of equal width over [0, 1], the last one included."""

_SIDE = float(ndtri(0.975))


@dataclass(frozen=True, eq=False)
class CalibrationRows:
    """What calibration is made of, one number per row: bin of the confidence, right or not, confidence and losses."""

    place: NDArray[np.intp]
    right: Floats
    confidence: Floats
    surprise: Floats
    distance: Floats

    @classmethod
    def of(cls, logits: ArrayLike, labels: ArrayLike) -> "CalibrationRows":
        """From logits (rows, classes)."""
        scores, truth = np.asarray(logits, np.float64), np.asarray(labels, np.intp)
        sure = softmax(scores, axis=1).max(axis=1) if len(scores) else np.zeros(0)
        right = (scores.argmax(axis=1) == truth).astype(np.float64)
        place = np.digitize(sure, np.linspace(0, 1, BINS + 1)[1:-1], right=True)
        return cls(place, right, sure, *row_losses(scores, truth))


@dataclass(frozen=True, eq=False)
class CalibrationSums:
    """Sums of independent rows, by bin of the confidence: 15 of equal width over [0, 1], the last one included.

    Attributes:
        n, right, confidence: rows, right answers and confidences of each bin (15,).
        squares: of right less confidence.
        surprise: Σ −log p of the true class, and Σ of its square (2,).
        distance: the same of the squared distance of the probabilities to the truth.
    """

    n: Floats
    right: Floats
    confidence: Floats
    squares: Floats
    surprise: Floats
    distance: Floats

    @classmethod
    def empty(cls) -> "CalibrationSums":
        """Of no rows."""
        return cls(*(np.zeros(BINS) for _ in range(4)), *(np.zeros(2) for _ in range(2)))

    def plus(self, logits: ArrayLike, labels: ArrayLike) -> "CalibrationSums":
        """Some more rows, from their logits (rows, classes)."""
        rows = CalibrationRows.of(logits, labels)
        off = np.square(rows.right - rows.confidence)
        numbers = (np.ones(len(off)), rows.right, rows.confidence, off)
        more = (np.bincount(rows.place, each, minlength=BINS).astype(np.float64) for each in numbers)
        own = (np.array([each.sum(), np.square(each).sum()]) for each in (rows.surprise, rows.distance))
        return CalibrationSums(*(a + b for a, b in zip(self.arrays.values(), (*more, *own), strict=True)))

    @property
    def arrays(self) -> dict[str, Floats]:
        """The sums by name."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @property
    def ece(self) -> Estimate:
        """As `ece_interval`."""
        return ece_of_sums(int(self.n.sum()), self.right - self.confidence, self.squares)

    @property
    def nll(self) -> Estimate:
        """The mean of −log p of the true class, in nats."""
        return _mean(self.surprise, int(self.n.sum()))

    @property
    def brier(self) -> Estimate:
        """The mean squared distance of the probabilities to the truth."""
        return _mean(self.distance, int(self.n.sum()))

    @property
    def reliability(self) -> tuple[ReliabilityBin, ...]:
        """Confidence against accuracy, bin by bin."""
        accuracies = [wilson(int(right), int(n)) for right, n in zip(self.right, self.n, strict=True)]
        return reliability_of(self.n, self.confidence, accuracies)


def reliability_of(n: Floats, confidence: Floats, accuracies: Sequence[Estimate]) -> tuple[ReliabilityBin, ...]:
    """The bins, from how many rows each has and the sum of their confidences."""
    edges = np.linspace(0, 1, BINS + 1)
    return tuple(
        ReliabilityBin(
            low=float(edges[at]),
            high=float(edges[at + 1]),
            n=int(n[at]),
            confidence=float(confidence[at] / n[at]) if n[at] else math.nan,
            accuracy=accuracies[at],
        )
        for at in range(BINS)
    )


def _mean(sums: Floats, n: int) -> Estimate:
    """A mean with the interval of the normal distribution, which so many rows leave."""
    if not n:
        return Estimate.undefined("no images")
    value = float(sums[0] / n)
    half = _SIDE * math.sqrt(max(0.0, float(sums[1]) / n - value**2) / max(1, n - 1))
    return Estimate(value=value, low=value - half, high=value + half, n=n)
