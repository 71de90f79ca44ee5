"""Risk-coverage curves."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from demur.metrics.ranking import Floats, Steps, nearest


@dataclass(frozen=True, eq=False)
class Curve:
    """Coverage and selective risk at each threshold: accept where doubt ≤ threshold. Three arrays of one length."""

    threshold: Floats
    coverage: Floats
    risk: Floats

    def __len__(self) -> int:
        return len(self.threshold)

    def thinned(self, points: int) -> "Curve":
        """At most `points` of the points, evenly spread over coverage, both ends kept."""
        if len(self) <= points:
            return self
        wanted = np.linspace(self.coverage[0], self.coverage[-1], points)
        keep = np.unique(nearest(self.coverage, wanted))
        return Curve(self.threshold[keep], self.coverage[keep], self.risk[keep])


def risk_coverage(doubt: ArrayLike, wrong: ArrayLike, points: int = 200) -> Curve:
    """The risk-coverage curve of a score, one point per distinct score, thinned to at most `points`."""
    steps = Steps.of(doubt, wrong)
    accepted, errors = steps.accepted[0], steps.wrong[0]
    return Curve(steps.scores, accepted / max(1, len(np.asarray(wrong))), errors / accepted).thinned(points)


def oracle(wrong: ArrayLike, points: int = 200) -> Curve:
    """The curve of a score that knows every error: risk 0 up to the accuracy. Thresholds are the coverage itself."""
    errors = np.sort(np.asarray(wrong, bool))
    return risk_coverage(np.arange(1, len(errors) + 1) / max(1, len(errors)), errors, points)


def random_risk(wrong: ArrayLike) -> float:
    """The risk of a score that knows nothing, at any coverage: the error rate; NaN for no rows."""
    errors = np.asarray(wrong, np.float64)
    return float(errors.mean()) if len(errors) else float("nan")
