"""Calibration from sums that add up over any parts of the rows, where no rows can be held."""

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, softmax

from demur.metrics.binomial import wilson
from demur.metrics.calibration import ReliabilityBin, ece_of_sums, row_losses
from demur.metrics.estimate import Estimate
from demur.metrics.ranking import Floats

_BINS = 15
_SIDE = float(ndtri(0.975))


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
        return cls(*(np.zeros(_BINS) for _ in range(4)), *(np.zeros(2) for _ in range(2)))

    def plus(self, logits: ArrayLike, labels: ArrayLike) -> "CalibrationSums":
        """Some more rows, from their logits (rows, classes)."""
        scores, truth = np.asarray(logits, np.float64), np.asarray(labels, np.intp)
        sure = softmax(scores, axis=1).max(axis=1) if len(scores) else np.zeros(0)
        right = (scores.argmax(axis=1) == truth).astype(np.float64)
        surprise, distance = row_losses(scores, truth)
        place = np.digitize(sure, np.linspace(0, 1, _BINS + 1)[1:-1], right=True)
        more = (_by_bin(place, each) for each in (np.ones(len(sure)), right, sure, np.square(right - sure)))
        own = (np.array([each.sum(), np.square(each).sum()]) for each in (surprise, distance))
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
        edges = np.linspace(0, 1, _BINS + 1)
        return tuple(
            ReliabilityBin(
                low=float(edges[at]),
                high=float(edges[at + 1]),
                n=int(self.n[at]),
                confidence=float(self.confidence[at] / self.n[at]) if self.n[at] else math.nan,
                accuracy=wilson(int(self.right[at]), int(self.n[at])),
            )
            for at in range(_BINS)
        )


def _by_bin(place: NDArray[np.intp], values: Floats) -> Floats:
    return np.bincount(place, values, minlength=_BINS).astype(np.float64)


def _mean(sums: Floats, n: int) -> Estimate:
    """A mean with the interval of the normal distribution, which so many rows leave."""
    if not n:
        return Estimate.undefined("no images")
    value = float(sums[0] / n)
    half = _SIDE * math.sqrt(max(0.0, float(sums[1]) / n - value**2) / max(1, n - 1))
    return Estimate(value=value, low=value - half, high=value + half, n=n)
