"""What other ways to ask a model about the same images would gain: accuracy and log-loss, corrected for their number.

Each way is compared with the first on the images that both were asked about. Intervals of accuracy hold for all ways at
once (Bonferroni), chances of log-losses are Holm's, and each comparison says what it could have seen.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from demur.metrics.binomial import effective_size
from demur.metrics.estimate import Estimate
from demur.metrics.jackknife import mean_interval
from demur.metrics.paired import holm, sign_effect
from demur.metrics.ranking import Floats
from demur.metrics.units import unit_codes

Flags: TypeAlias = NDArray[np.bool_]
Outcome: TypeAlias = Literal["fault", "likely fault", "better", "no better"]

GROSS = 0.05
"""Gain of accuracy from which on another way is taken for the right one."""

_LEVEL, _LUCK, _POWER = 0.95, 0.05, 0.8
_DRAWS, _AT_ONCE = 10_000, 2_000
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Answers:
    """Whether each of the first so many images was answered right (rows,), and its log-loss in nats (rows,)."""

    right: Flags
    losses: Floats

    @classmethod
    def of(cls, right: ArrayLike, losses: ArrayLike) -> "Answers":
        """From flags or numbers of any kind."""
        return cls(np.asarray(right, np.bool_), np.asarray(losses, np.float64))


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What a way gains over the first: positive where it is the better one.

    Attributes:
        accuracy: the difference of the shares right, with an interval that holds for all ways at once.
        loss: the mean by which the log-loss falls, in nats, with an interval of its own.
        p_value: of the log-losses, all ways considered.
        detectable: the smallest gain of accuracy that would have been told from none four times in five.
    """

    accuracy: Estimate
    loss: Estimate
    p_value: float
    detectable: float

    @property
    def outcome(self) -> Outcome:
        """A fault where the gain is surely gross, a likely one where it is gross and surely a gain."""
        if self.accuracy.low >= GROSS:
            return "fault"
        sure = self.p_value <= _LUCK and self.loss.value > 0
        if sure and self.accuracy.low > 0 and self.accuracy.value >= GROSS:
            return "likely fault"
        return "better" if sure else "no better"

    @property
    def is_gross(self) -> bool:
        """Whether it is a fault or a likely one."""
        return self.outcome in {"fault", "likely fault"}


def gains(first: Answers, ways: Sequence[Answers], groups: NDArray[Any] | None = None) -> list[Gain]:
    """What each way gains over the first; the images of a way are the first so many.

    Args:
        first: of all images.
        ways: each of as many images or fewer.
        groups: the unit of independence of each image; None for the images themselves.
    """
    chances = holm(sign_flip_test([first.losses[: len(way.losses)] - way.losses for way in ways], groups))
    z = float(ndtri(1 - (1 - _LEVEL) / (2 * max(1, len(ways)))))
    return [_gain(first, way, groups, z, float(chance)) for way, chance in zip(ways, chances, strict=True)]


def _gain(first: Answers, way: Answers, groups: NDArray[Any] | None, z: float, chance: float) -> Gain:
    rows = len(way.right)
    own = None if groups is None else groups[:rows]
    signs = way.right.astype(np.int64) - first.right[:rows]
    return Gain(
        accuracy=sign_effect(signs, own, z),
        loss=mean_interval(first.losses[:rows] - way.losses, own),
        p_value=chance,
        detectable=_detectable(signs, own, z),
    )


def _detectable(signs: NDArray[np.int64], groups: NDArray[Any] | None, z: float) -> float:
    """The gain δ at which δ / √(q/n) is z and what four times in five add; q is the share of images that differ.

    A gain cannot be larger than q: where it would be, q is as large as it.
    """
    n = float(len(signs)) if groups is None else effective_size(signs, groups)
    if n <= 0:
        return math.nan
    factor, differing = (z + float(ndtri(_POWER))) / math.sqrt(n), float(np.mean(signs != 0))
    return min(1.0, max(factor**2, factor * math.sqrt(differing)))


def sign_flip_test(found: Sequence[Floats], groups: NDArray[Any] | None = None) -> Floats:
    """The chance of each mean of differences were either sign of each unit's as likely: low where one prevails.

    Two-sided, by the same 10,000 draws for all; exact if what is measured first and second may be swapped. Fisher
    (1935), "The design of experiments"; Phipson & Smyth (2010), "Permutation p-values should never be zero".

    >>> sign_flip_test([np.ones(8), np.array([1.0, -1.0])]).round(2).tolist()
    [0.01, 1.0]
    """
    totals = [_by_unit(np.asarray(each, np.float64), groups) for each in found]
    if not totals:
        return np.empty(0)
    units = max(map(len, totals))
    sums = np.stack([np.pad(each, (0, units - len(each))) for each in totals])
    edge = np.abs(sums.sum(axis=1)) - _ROUNDING * np.abs(sums).sum(axis=1)
    draw, beyond = np.random.default_rng(0), np.zeros(len(sums))
    for _ in range(_DRAWS // _AT_ONCE):
        signs = 2.0 * draw.integers(0, 2, (_AT_ONCE, units), np.int8) - 1
        beyond += (np.abs(signs @ sums.T) >= edge).sum(axis=0)
    return np.asarray((beyond + 1) / (_DRAWS + 1), np.float64)


def _by_unit(rows: Floats, groups: NDArray[Any] | None) -> Floats:
    if groups is None:
        return rows
    return np.bincount(unit_codes(groups[: len(rows)])[1], weights=rows).astype(np.float64)
