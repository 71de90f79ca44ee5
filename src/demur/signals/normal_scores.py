"""Numbers on any scale, put on that of a standard normal by their rank among known ones."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from demur.shapes import Scores

_KNOTS = 65
_TINY = 1e-290


@dataclass(frozen=True, eq=False)
class NormalScores:
    """A rising curve through knots: what lies at a quantile of the known numbers is put at that of a standard normal.

    A rising change of scale hardly matters to it. Equal knots share the mean of their places. Beyond the outermost
    knots the curve goes on at its mean slope, so order is kept there too.

    van der Waerden (1952), "Order tests for the two-sample problem and their power".
    """

    knots: NDArray[np.float64]
    places: NDArray[np.float64]

    @classmethod
    def of(cls, known: Scores) -> "NormalScores":
        """The curve for some numbers (rows) in float64."""
        reach = -ndtri(0.5 / len(known))
        places = np.linspace(-reach, reach, _KNOTS)
        at = np.quantile(_normal(known), ndtr(places), method="hazen")
        knots, which = np.unique(at, return_inverse=True)
        return cls(knots, np.bincount(which, places) / np.bincount(which))

    def __call__(self, numbers: Scores) -> Scores:
        """The places (rows) of numbers."""
        if len(self.knots) == 1:
            return torch.zeros_like(numbers)
        x = _normal(numbers)
        slope = (self.places[-1] - self.places[0]) / (self.knots[-1] - self.knots[0])
        beyond = x - x.clip(self.knots[0], self.knots[-1])
        return torch.from_numpy(np.interp(x, self.knots, self.places) + slope * beyond)


def _normal(numbers: Scores) -> NDArray[np.float64]:
    """Numbers so small that a slope between two of them would overflow count as 0."""
    x: NDArray[np.float64] = numbers.numpy(force=True)
    return np.where(np.abs(x) < _TINY, 0, x)
