"""Whether scores come in an order that chance would bring: a conformal test martingale, information beside alarms."""

import math
import struct
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from demur.policies.policy import Floats

CODES = 1 << 16
"""Into how many classes scores fall: by the leading 16 bits of a single-precision number, whatever the data are."""

JUMP = 0.01
_BETS = np.array([-1.0, 0.0, 1.0])
_SIGN = 0x80000000


def codes_of(scores: ArrayLike) -> NDArray[np.int64]:
    """Classes of scores (rows,), in their order; a score that is not a number stands above all.

    >>> codes_of([-1.0, 0.25, 0.26, float("nan")]).tolist()
    [16511, 48768, 48773, 65535]
    """
    with np.errstate(over="ignore"):
        bits = np.asarray(scores, np.float64).astype(np.float32) + np.float32(0)  # which is what -0 is, too
    raw = bits.view(np.uint32).astype(np.int64)
    ordered = np.where(raw & _SIGN, 0xFFFFFFFF - raw, raw | _SIGN) >> 16
    return np.where(np.isnan(bits), CODES - 1, ordered)


def code_of(score: float) -> int:
    """The class of one score, as `codes_of` has it, in a tenth of its time."""
    if math.isnan(score):
        return CODES - 1
    try:
        (raw,) = struct.unpack("<I", struct.pack("<f", score))
    except OverflowError:  # numpy rounds it to infinity
        raw = 0xFF800000 if score < 0 else 0x7F800000
    raw = 0 if raw == _SIGN else raw  # -0 is 0
    return (0xFFFFFFFF - raw if raw & _SIGN else raw | _SIGN) >> 16


class RankedBag:
    """A bag of scores, by class, that tells how many lie above and at another; both in 16 steps (a Fenwick tree)."""

    def __init__(self, counts: NDArray[np.int64]) -> None:
        self._counts = counts.tolist()
        self._size = int(counts.sum())
        tree = np.append(0, counts)
        for width in (1 << level for level in range(16)):
            tree[2 * width :: 2 * width] += tree[width : -1 : 2 * width]
        self._tree = tree.tolist()

    @classmethod
    def of(cls, scores: ArrayLike) -> "RankedBag":
        """The bag of scores (rows,)."""
        return cls(np.bincount(codes_of(scores), minlength=CODES))

    def __len__(self) -> int:
        return self._size

    def add(self, code: int) -> None:
        """Put one more score in."""
        self._counts[code] += 1
        self._size += 1
        place = code + 1
        while place <= CODES:
            self._tree[place] += 1
            place += place & -place

    def above(self, code: int) -> int:
        """How many of the bag lie above a class."""
        below, place = 0, code + 1
        while place:
            below += self._tree[place]
            place &= place - 1
        return self._size - below

    def alike(self, code: int) -> int:
        """How many of the bag are of a class."""
        return self._counts[code]

    def p_value(self, code: int, dice: float) -> float:
        """Put a score in and say which share of the bag lies above it; `dice` from 0 to 1 decide among its like.

        As long as bag and scores are exchangeable these are independent and uniform, whatever the scores' law.
        Vovk, Nouretdinov & Gammerman (2003), "Testing exchangeability on-line".
        """
        self.add(code)
        return (self.above(code) + dice * self.alike(code)) / self._size


@dataclass(frozen=True, eq=False)
class SimpleJumper:
    """What a bettor has made of p-values, who bets on small or large ones and now and then changes sides.

    Vovk et al. (2021), "Retrain or not retrain: conformal test martingales for change-point detection",
    arXiv:2102.10439. `parts` (3,): what is bet on large ones, on none and on small ones.
    """

    parts: Floats

    @classmethod
    def start(cls) -> "SimpleJumper":
        """A stake of 1, a third of it on each side."""
        return cls(np.full(3, 1 / 3))

    @property
    def total(self) -> float:
        """The value of the martingale."""
        return float(self.parts.sum())

    def after(self, p: float) -> "SimpleJumper":
        """Its bets after one more p-value."""
        shared = (1 - JUMP) * self.parts + JUMP * self.total / 3
        return replace(self, parts=np.minimum(shared * (1 - _BETS * (p - 0.5)), 1e200))
