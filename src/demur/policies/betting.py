"""Testing a risk by betting: e-values of the payoffs of units, whose images may be many, grouped or weighted."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from demur.policies.policy import Flags, Floats

FRACTIONS = (0.3, 0.6, 1.0)
"""The bets, as shares of the largest one that no outcome can turn into a debt; their e-values are averaged."""

_RUIN = 1e-12
_HALVINGS = 40


@dataclass(frozen=True, eq=False)
class Stakes:
    """What rows win or lose for their unit: `share`·(`risk` − wrong) each, from the threshold on that answers them.

    Attributes:
        ends: (rows,) the smallest threshold at which a row counts.
        wrong: (rows,) whether its answer is wrong.
        units: (rows,) the number of its unit, 0 … count − 1; units are independent of one another.
        shares: (rows,) its share of the unit, not negative; those of one unit sum to at most 1.
        count: how many units there are.
    """

    ends: Floats
    wrong: Flags
    units: NDArray[np.intp]
    shares: Floats
    count: int

    def log_e_values(self, thresholds: Floats, risk: float) -> Floats:
        """The logarithm of the e-value against "the share of wrong answers is above `risk`", per ascending threshold.

        Each unit multiplies the wealth of a bet c by 1 + c·Σ share·(risk − wrong) / (1 − risk), which is never negative
        and in expectation at most 1 while the hypothesis holds; e is the mean wealth of the three bets.
        Waudby-Smith & Ramdas (2024), arXiv:2010.09686.
        """
        steps = np.searchsorted(thresholds, self.ends, side="left")
        inside = steps < len(thresholds)
        places, rows = np.unique(self.units[inside] * len(thresholds) + steps[inside], return_inverse=True)
        pay = (self.shares * (risk - self.wrong))[inside] / (1 - risk)
        moves = np.bincount(rows, weights=pay, minlength=len(places)).astype(np.float64)
        unit, step = np.divmod(places, len(thresholds))
        first = np.append(True, unit[1:] != unit[:-1]) if len(unit) else np.zeros(0, bool)
        payoff = _within(moves, first)
        return _mean_wealth([self._log_wealth(c * payoff, first, step, len(thresholds)) for c in FRACTIONS])

    def _log_wealth(self, payoff: Floats, first: Flags, step: NDArray[Any], steps: int) -> Floats:
        """The logarithm of one bet's wealth at each step, −∞ from ruin of a unit until more of its rows undo it."""
        ruin = payoff <= _RUIN - 1
        logs = np.log1p(np.where(ruin, 0.0, payoff))
        gains = np.cumsum(np.bincount(step, weights=_changes(logs, first), minlength=steps))
        ruins = np.cumsum(np.bincount(step, weights=_changes(ruin.astype(float), first), minlength=steps))
        return np.where(ruins > 0.5, -np.inf, gains)

    def sums(self, threshold: float) -> tuple[Floats, Floats]:
        """The answered and the wrong share of each unit at a threshold, both (count,)."""
        counted = self.ends <= threshold
        return self._sum(counted), self._sum(counted & self.wrong)

    def _sum(self, rows: Flags) -> Floats:
        found = np.bincount(self.units[rows], weights=self.shares[rows], minlength=self.count)
        return found.astype(np.float64)

    def bound(self, threshold: float, level: float) -> float:
        """The largest risk that is not rejected at `level`; one-sided, 1 where nothing is answered.

        Wealth grows with the risk it is tested against, so that bisection finds it.
        """
        answered, lost = self.sums(threshold)
        low, high = 0.0, 1.0
        for _ in range(_HALVINGS):
            risk = (low + high) / 2
            payoff = (risk * answered - lost) / (1 - risk)
            wealth = [_log_product(c * payoff) for c in FRACTIONS]
            passes = float(_mean_wealth(wealth)) >= -math.log(level)
            low, high = (low, risk) if passes else (risk, high)
        return high

    @cached_property
    def size(self) -> float:
        """The number of units that would weigh as much if each were at its most: the sum of the shares."""
        return float(self.shares.sum())


def _within(moves: Floats, first: Flags) -> Floats:
    """Running sums that start anew at each `first`."""
    total = np.cumsum(moves)
    begun = np.flatnonzero(first)
    before = (total - moves)[begun]
    return total - np.repeat(before, np.diff(np.append(begun, len(moves))))


def _changes(values: Floats, first: Flags) -> Floats:
    """By how much each differs from the one before it, or from 0 where it is `first`."""
    return values - np.where(first, 0.0, np.append(0.0, values[:-1]))


def _log_product(payoff: Floats) -> Floats:
    return np.asarray(-np.inf if (payoff <= _RUIN - 1).any() else np.log1p(payoff).sum())


def _mean_wealth(logs: list[Floats]) -> Floats:
    return np.asarray(logsumexp(np.stack(logs), axis=0) - math.log(len(logs)), np.float64)
