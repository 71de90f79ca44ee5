"""Bets against "the expected share is at most q", unit after unit: wealth that grows only where the share is higher."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from demur.policies.policy import Floats

ODDS = np.array([1.3, 1.8, 2.5, 6.0])
"""By how much the odds of q are multiplied in the alternatives that fixed bets are best for."""

PARTS = np.array([0.3, 0.35, 0.25, 0.1])
"""Which part of the stake each fixed bet has."""

FIXED, AT_ONCE = 0.7, 0.8
"""The part of the stake that goes to fixed bets, and the part of that which is bet from the first unit on."""

MEMORY = 300.0
"""Units by which the adaptive bettor forgets."""

CAUTION = 0.1
"""The weight of q in its estimate, in memories."""

_LATER, _SPREAD = 0.6, 500.0
_KEEP = 1 - 1 / MEMORY
_MOST, _LARGEST = 0.9, 1e200


def waiting(units: float) -> float:
    """The part of what is bet later that is not yet bet after some units.

    Its tail is heavy, so that after any quiet stretch something is left for a bet that begins now.
    """
    return float((1 + units / _SPREAD) ** -_LATER)


def _fresh(units: ArrayLike) -> Floats:
    """The part of the stake that is bet for the first time after some units, of what is bet later."""
    before = np.maximum(np.asarray(units, np.float64), 1)
    part = (1 + (before - 1) / _SPREAD) ** -_LATER - (1 + before / _SPREAD) ** -_LATER
    return np.where(np.asarray(units) > 0, FIXED * (1 - AT_ONCE) * part, 0.0)


@dataclass(frozen=True, eq=False)
class Bets:
    """What bets against some nulls have fixed for all times.

    Attributes:
        nulls: the shares q, (…, nulls); nothing is bet against 1 and more.
        variance: q·(1 − q), (…, nulls).
        fixed: the λ of the fixed bets, (…, nulls, alternatives).
        most: the largest λ of an adaptive bet, (…, nulls).
    """

    nulls: Floats
    variance: Floats
    fixed: Floats
    most: Floats

    @classmethod
    def against(cls, nulls: ArrayLike) -> "Bets":
        """The bets against each of these shares, (…, nulls)."""
        shares = np.atleast_1d(np.asarray(nulls, np.float64))
        q, possible = np.clip(shares, 1e-9, 1 - 1e-9), shares < 1
        odds = ODDS * (q / (1 - q))[..., None]
        fixed = (odds / (1 + odds) - q[..., None]) / (q * (1 - q))[..., None]
        return cls(
            nulls=shares,
            variance=q * (1 - q),
            fixed=np.where(possible[..., None], fixed, 0.0),
            most=np.where(possible, _MOST / q, 0.0),
        )


@dataclass(frozen=True, eq=False)
class Wealth:
    """What bettors have made of a stake of 1, who bet against each null alone that a unit's expected share is above it.

    A unit's share x and its weight w lie in [0, 1]. Each bettor multiplies by 1 + λw(x − q), which is in expectation
    at most 1 while that of w(x − q), given all units before, is at most 0: with w = 1, while the mean of x is at most
    q; with w in proportion to a unit's images, while the share of all images is. λ ≥ 0 is fixed before both are seen.
    Two kinds of bettors share the stake. Those with a *fixed* λ, the best against one alternative, begin at the first
    unit, or at a later one with a part of the stake that was fixed beforehand. An *adaptive* one estimates the share of
    late and bets only while that is above q, so that it loses little in a quiet stretch. The total is a nonnegative
    supermartingale: the probability that it ever reaches 1/α is at most α (Ville 1939). Waudby-Smith & Ramdas (2024),
    arXiv:2010.09686.

    Attributes:
        bets: the nulls and what is bet against them.
        fixed: (…, nulls, alternatives).
        adaptive: (…, nulls).
        recent: forgetful sums of w·x, w and w², (…, 3).
        units: how many there were.
    """

    bets: Bets
    fixed: Floats
    adaptive: Floats
    recent: Floats
    units: int = 0

    @classmethod
    def start(cls, nulls: ArrayLike) -> "Wealth":
        """The stake of 1 against each null, (nulls,), or each of several parallel streams, (…, nulls)."""
        bets = Bets.against(nulls)
        shape = bets.nulls.shape
        fixed = np.broadcast_to(FIXED * AT_ONCE * PARTS, (*shape, len(PARTS)))
        return cls(bets, fixed, np.full(shape, 1 - FIXED), np.zeros((*shape[:-1], 3)))

    @property
    def total(self) -> Floats:
        """The e-process against each null, (…, nulls)."""
        return self.fixed.sum(axis=-1) + self.adaptive + FIXED * (1 - AT_ONCE) * waiting(max(0, self.units - 1))

    def after(self, share: ArrayLike, weight: ArrayLike = 1.0) -> "Wealth":
        """The wealth after one more unit of each stream, with this share and weight, (…)."""
        x, w = (np.asarray(each, np.float64)[..., None] for each in (share, weight))
        surplus = w * (x - self.bets.nulls)
        fresh = _fresh(self.units)
        fixed = (self.fixed + fresh * PARTS) * (1 + self.bets.fixed * surplus[..., None])
        adaptive = self.adaptive * (1 + self._leaning() * surplus)
        return replace(
            self,
            fixed=np.minimum(fixed, _LARGEST),  # less wealth than there is keeps what was said of it
            adaptive=np.minimum(adaptive, _LARGEST),
            recent=self.recent * _KEEP + np.concatenate(np.broadcast_arrays(w * x, w, w * w), axis=-1),
            units=self.units + 1,
        )

    def _leaning(self) -> Floats:
        """The adaptive λ, (…, nulls): 0 while the share of late is at most q."""
        if not self.units:
            return np.zeros_like(self.adaptive)
        caution = 1 + CAUTION * MEMORY / (MEMORY * (1 - _KEEP**self.units))
        excess, mass, squares = (self.recent[..., k, None] for k in range(3))
        lean = (excess - mass * self.bets.nulls) / (np.maximum(squares, 1e-12) * caution)
        return np.clip(lean / self.bets.variance, 0.0, self.bets.most)

    def least_after(self, shares: Floats, weights: Floats) -> float:
        """What fixed bets against the first null, of one stream, have after these units at least, (units,).

        Their factors grow with the share, so that this bounds the wealth from below where some shares are higher: one
        that is not known yet is taken as 0.
        """
        if not len(shares):
            return float(self.total[0])
        factors = 1 + self.bets.fixed[0] * (weights * (shares - self.bets.nulls[0]))[:, None]
        gains = np.exp(np.minimum(np.cumsum(np.log(factors)[::-1], axis=0)[::-1], 460.0))  # from each unit to the last
        steps = np.arange(self.units, self.units + len(shares))
        found = (self.fixed[0] * gains[0]).sum() + (_fresh(steps)[:, None] * PARTS * gains).sum()
        return float(min(found, _LARGEST) + FIXED * (1 - AT_ONCE) * waiting(int(steps[-1])))
