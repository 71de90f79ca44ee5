"""That the share of images that go to a person rose by more than a tolerance, though it is known of so many alone."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr, betaincinv, ndtr

from demur.alarms.betting_process import Wealth
from demur.policies.policy import Floats

_DEVIATIONS = np.arange(-1, 6.6, 0.2)
"""Where the grid of reference shares stands: at these normal deviations above what was counted."""


def power_calibrator(p: ArrayLike) -> Floats:
    """An e-value from a p-value: the mean of κ·p^(κ−1) over κ from 0 to 1; high when the p-value is small.

    (1 − p + p·ln p) / (p·ln² p), and ½ at p = 1. Vovk & Wang (2021), "E-values: calibration, combination and
    applications", arXiv:1912.06116.

    >>> power_calibrator([1.0, 0.05, 0.001]).round(2).tolist()
    [0.5, 1.78, 20.79]
    """
    p = np.clip(np.asarray(p, np.float64), 1e-300, 1.0)
    near = p > 1 - 1e-4  # where numerator and denominator both vanish
    logs = np.log(np.where(near, 0.5, p))
    return np.where(near, 0.5 + (1 - p) / 6, (1 - p + np.where(near, 0.0, p * logs)) / (p * logs * logs))


@dataclass(frozen=True, eq=False)
class WorkloadTest:
    """An e-process of "the share is at most the reference's plus `tolerance`", whose reference is a finite count.

    For every share θ that the reference may have the product of two independent e-values holds: that of the count,
    against θ, and the wealth of bets on the stream against θ + tolerance. Their smallest product over θ is therefore
    at most the product at the true one, and so an e-process. θ runs over cells. The first factor is taken at a cell's
    lower end, where it is smallest; the bets are against its upper end, and so against all shares below. Past the
    last cells, which the count all but excludes, nothing is bet, so that evidence has a ceiling.

    Attributes:
        factors: (…, cells) e-values of the count at the lower end of each cell.
        wealth: bets against the upper end of each cell, plus the tolerance.
    """

    factors: Floats
    wealth: Wealth

    @classmethod
    def of(cls, images: int, abstained: ArrayLike, several: int, tolerance: float) -> "WorkloadTest":
        """Before the first unit of a stream, or of several with references of their own.

        Args:
            images: of the reference.
            abstained: how many of them went to a person, (…).
            several: from how many thresholds the images of the reference chose.
            tolerance: by how much the share may rise.
        """
        count = np.asarray(abstained, np.float64)[..., None]
        ends = lower_ends(images, count, several)
        factors = power_calibrator(np.minimum(1, several * bdtr(count, images, ends)))
        return cls(factors, Wealth.start(np.append(ends[..., 1:], np.ones_like(count), axis=-1) + tolerance))

    @property
    def evidence(self) -> Floats:
        """The e-process: high when more goes to a person; the smallest product over the cells, (…)."""
        return np.asarray((self.factors * self.wealth.total).min(axis=-1))

    def after(self, share: ArrayLike, weight: ArrayLike = 1.0) -> "WorkloadTest":
        """The test after one more unit, of which this share went to a person, (…): 0 or 1 for an image."""
        return replace(self, wealth=self.wealth.after(share, weight))


def lower_ends(images: int, count: Floats, several: int) -> Floats:
    """The lower ends of the cells that the share of a reference falls into, (…, cells); the first one is 0.

    Args:
        images: of the reference.
        count: how many of them went to a person, (…, 1).
        several: from how many thresholds the images of the reference chose.
    """
    short = np.minimum(count, images - 1)
    ends = betaincinv(short + 1, images - short, 1 - ndtr(-_DEVIATIONS) / several)
    return np.append(np.zeros_like(count), np.where(count < images, ends, 1.0), axis=-1)
