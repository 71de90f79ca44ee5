"""How the scores of a guard's tune images were spread: what a new score is seen against."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.policies.policy import Floats

SHARES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99, 0.999)
"""Shares of tune images below the bounds of the buckets of `/metrics`."""

BARS = 40

_SKEWED = 100
"""Bars are as wide on a logarithmic scale where the largest score is this many times one that few are below."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """The scores of one signal on tune images, finite ones, ascending, (rows,)."""

    scores: Floats

    @property
    def quantiles(self) -> tuple[float, ...]:
        """Ascending scores below which stated shares of the tune images lie, each once; empty where there were none."""
        if not len(self.scores):
            return ()
        return tuple(np.unique(np.quantile(self.scores, SHARES, method="inverted_cdf")).tolist())

    @property
    def histogram(self) -> dict[str, Any]:
        """Bars: ascending `edges`, one more than `counts`, and how many scores there are, `n`."""
        if not len(self.scores):
            return {"edges": [], "counts": [], "n": 0}
        counts, edges = np.histogram(self.scores, bins=self._edges)
        return {"edges": edges.tolist(), "counts": counts.tolist(), "n": len(self.scores)}

    @property
    def _edges(self) -> Floats:
        """Bounds of bars, equally far apart; by their ratio where most scores are tiny beside the largest.

        Then the first bar reaches down to the smallest score, however small.
        """
        low, high = float(np.quantile(self.scores, 0.01, method="inverted_cdf")), float(self.scores[-1])
        if not 0 < low * _SKEWED < high:
            return np.histogram_bin_edges(self.scores, BARS)
        edges = np.geomspace(low, high, BARS + 1)
        edges[0], edges[-1] = self.scores[0], high
        return edges


def calibrations(scores: Mapping[str, NDArray[np.float64]], signals: tuple[str, ...]) -> dict[str, Calibration]:
    """By signal, from the tune scores that a guard keeps."""
    kept = {name: np.asarray(scores.get(name, ()), np.float64) for name in signals}
    return {name: Calibration(np.sort(each[np.isfinite(each)])) for name, each in kept.items()}


class Tally:
    """A cumulative histogram of the scores that were asked about, in buckets of calibration quantiles."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self._counts = np.zeros(len(bounds) + 1, np.int64)
        self._sum = 0.0

    def add(self, scores: Floats) -> None:
        """Count finite scores; a score at a bound is below it."""
        finite = scores[np.isfinite(scores)]
        places = np.searchsorted(self.bounds, finite, side="left")
        self._counts += np.bincount(places, minlength=len(self._counts))
        self._sum += float(finite.sum())

    @property
    def buckets(self) -> list[tuple[str, float]]:
        """(bound, how many scores are at most that), the last bound infinite."""
        names = [*(f"{bound:.6g}" for bound in self.bounds), "+Inf"]
        return list(zip(names, np.cumsum(self._counts).astype(float).tolist(), strict=True))

    @property
    def sum(self) -> float:
        """The sum of the scores."""
        return self._sum
