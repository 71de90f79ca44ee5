"""Where a threshold may stand: in the middle of a gap between scores."""

import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from demur.metrics.ranking import Floats, nearest

ACCEPT_ALL = sys.float_info.max
"""The threshold of full coverage: every finite doubt is accepted. Finite itself, so that it survives JSON."""

ABSOLUTE = 1e-4
RELATIVE = 1e-3


@dataclass(frozen=True, eq=False)
class Gaps:
    """Usable thresholds, ascending, with the share of the scores at or below each; the last one accepts everything.

    The same image scores a few last bits differently in another batch, so a threshold set at a score decides that image
    by chance. A threshold is the midpoint of a gap between neighbouring scores that is at least 1e-4 wide, or at least
    1e-3 of the larger end where both ends have one sign. The second door matters: the doubts of a saturated network are
    far below 1e-4, where their error is relative too, and an absolute gap alone would forbid every strict threshold.
    """

    thresholds: Floats
    coverages: Floats

    @classmethod
    def of(cls, scores: ArrayLike) -> "Gaps":
        """The usable thresholds of a sample of scores."""
        ordered = np.sort(np.asarray(scores, np.float64))
        ordered = ordered[np.isfinite(ordered)]
        low, high = ordered[:-1], ordered[1:]
        gap = high - low
        relative = (gap >= RELATIVE * np.maximum(np.abs(low), np.abs(high))) & (np.sign(low) * np.sign(high) > 0)
        middle = low + gap / 2
        usable = np.flatnonzero(((gap >= ABSOLUTE) | relative) & (low < middle) & (middle < high))
        return cls(
            thresholds=np.append(middle[usable], ACCEPT_ALL),
            coverages=np.append((usable + 1) / max(1, np.size(scores)), 1.0),
        )

    def near(self, coverages: ArrayLike) -> Floats:
        """The usable threshold whose coverage is closest to each of `coverages`, the lower one on a tie."""
        return self.thresholds[nearest(self.coverages, np.asarray(coverages, np.float64))]


def threshold_near(scores: ArrayLike, coverage: float) -> float:
    """The usable threshold that accepts about `coverage` of `scores`."""
    return float(Gaps.of(scores).near(coverage))
