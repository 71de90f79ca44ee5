"""Cumulative counts along a ranking by doubt: what every risk-coverage metric is made of."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from demur.errors import InputError

Floats: TypeAlias = NDArray[np.float64]
Value: TypeAlias = Any
"""What a metric returns: a float for no weights or weights (n,); an array (replicates,) for weights (replicates, n)."""


@dataclass(frozen=True)
class Steps:
    """Weighted counts of the rows accepted, and of the wrong among them, at each distinct score, surest first.

    Rows with equal scores are accepted together. A weight of k means the row seen k times. `accepted` and `wrong` have
    shape (replicates, distinct scores); `scores` holds the distinct scores, ascending.
    """

    scores: Floats
    accepted: Floats
    wrong: Floats
    single: bool

    @classmethod
    def of(cls, doubt: ArrayLike, wrong: ArrayLike, weights: Floats | None = None) -> "Steps":
        """Sort once, then add up."""
        score, error = np.asarray(doubt, np.float64), np.asarray(wrong, bool)
        _check(score, error)
        rows = np.ones((1, len(score))) if weights is None else np.atleast_2d(np.asarray(weights, np.float64))
        order = np.argsort(score, kind="stable")
        score, error, rows = score[order], error[order], rows[:, order]
        ends = np.flatnonzero(np.append(score[1:] != score[:-1], np.ones(min(1, len(score)), bool)))
        accepted, errors = np.cumsum(rows, axis=1), np.cumsum(rows * error, axis=1)
        if len(ends) < len(score):
            accepted, errors = accepted[:, ends], errors[:, ends]
        return cls(score[ends], accepted, errors, single=weights is None or np.ndim(weights) == 1)

    @property
    def total(self) -> Floats:
        """The weight of all rows, (replicates, 1)."""
        return self.accepted[:, -1:] if self.accepted.shape[1] else np.zeros((len(self.accepted), 1))

    @property
    def total_wrong(self) -> Floats:
        """The weight of all wrong rows, (replicates, 1)."""
        return self.wrong[:, -1:] if self.wrong.shape[1] else np.zeros((len(self.wrong), 1))

    def value(self, metric: Floats) -> Value:
        """One number per replicate, or the number itself where there is only one."""
        return float(metric[0]) if self.single else metric


def ratio(above: Floats, below: Floats) -> Floats:
    """`above / below`, NaN where `below` is 0."""
    return np.divide(above, below, out=np.full(np.broadcast(above, below).shape, np.nan), where=below != 0)


def before(cumulative: Floats) -> Floats:
    """The cumulative count just before each step."""
    return np.concatenate([np.zeros((len(cumulative), 1)), cumulative], axis=1)[:, :-1]


def nearest(ascending: Floats, wanted: Floats) -> NDArray[np.intp]:
    """The positions of the entries of `ascending` closest to `wanted`, the lower one on a tie."""
    right = np.searchsorted(ascending, wanted).clip(0, len(ascending) - 1)
    left = np.maximum(right - 1, 0)
    return np.where(wanted - ascending[left] <= ascending[right] - wanted, left, right)


def _check(score: Floats, wrong: NDArray[np.bool_]) -> None:
    if score.ndim != 1 or score.shape != wrong.shape:
        raise InputError(f"`doubt` and `wrong` must be one number per row; got shapes {score.shape} and {wrong.shape}.")
    undefined = int(np.isnan(score).sum())
    if undefined:
        raise InputError(
            f"`doubt` must be a number on every row; got NaN on {undefined} of {len(score)}. "
            "Leave out the rows whose score is undefined, and report how many there were."
        )
