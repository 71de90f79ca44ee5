"""Logistic regression on rank-normalised scores, and the folds it is held out by."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from torch import Tensor
from torch.nn.functional import softplus

from demur.evidence import Evidence
from demur.shapes import Flags, Labels, Scores

_STEPS = 100
_HALVINGS = 30


@dataclass(frozen=True, kw_only=True, eq=False)
class Logistic:
    """Log-odds of an event, intercept + Σ wᵢ·(sᵢ − mean)/scale, over columns of numbers in float64.

    Cox (1958), "The regression analysis of binary sequences".
    """

    means: Tensor
    scales: Tensor
    weights: Tensor
    intercept: float

    @classmethod
    def fit(cls, columns: Tensor, event: Flags, penalty: float) -> "Logistic":
        """The weights that minimise Σ log-loss + penalty/2·‖w‖², by Newton's method with halved steps.

        Args:
            columns: (rows, columns) in float64.
            event: which rows have it; some must and some must not.
            penalty: positive; the intercept carries none.
        """
        means, scales = columns.mean(dim=0), columns.std(dim=0, correction=0)
        scales = torch.where(scales > 0, scales, 1)
        x = torch.cat([(columns - means) / scales, columns.new_ones(len(columns), 1)], dim=1)
        y = event.to(x)
        penalties = torch.full_like(x[0], penalty)
        penalties[-1] = 0
        found = _minimum(x, y, penalties)
        return cls(means=means, scales=scales, weights=found[:-1], intercept=float(found[-1]))

    def __call__(self, columns: Tensor) -> Scores:
        """The log-odds of each row."""
        return ((columns - self.means) / self.scales * self.weights).sum(dim=1) + self.intercept


def _minimum(x: Tensor, y: Tensor, penalties: Tensor) -> Tensor:
    w = torch.zeros_like(penalties)
    for _ in range(_STEPS):
        p = (x @ w).sigmoid()
        downhill = x.T @ (y - p) - penalties * w
        curvature = (x * (p * (1 - p))[:, None]).T @ x + penalties.diag()
        step = torch.linalg.solve(curvature, downhill)
        before = _loss(x, y, penalties, w)
        for _ in range(_HALVINGS):
            if _loss(x, y, penalties, w + step) <= before:
                break
            step = step / 2
        w = w + step
        if step.abs().max() < 1e-10:
            break
    return w


def _loss(x: Tensor, y: Tensor, penalties: Tensor, w: Tensor) -> Tensor:
    z = x @ w
    return (softplus(z) - y * z).sum() + (penalties * w.square()).sum() / 2


_KNOTS = 65
_TINY = 1e-290


@dataclass(frozen=True, eq=False)
class NormalScores:
    """A rising curve through knots: a quantile of the reference numbers goes to that of a standard normal.

    A rising change of scale hardly matters to it. Equal knots share the mean of their places. Beyond the outermost
    knots the curve goes on at its mean slope, so order is kept there too.

    van der Waerden (1952), "Order tests for the two-sample problem and their power".
    """

    knots: NDArray[np.float64]
    places: NDArray[np.float64]

    @classmethod
    def of(cls, reference: Scores) -> "NormalScores":
        """The curve for some numbers (rows) in float64."""
        reach = -ndtri(0.5 / len(reference))
        places = np.linspace(-reach, reach, _KNOTS)
        at = np.quantile(_normal(reference), ndtr(places), method="hazen")
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

    def with_gradient(self, numbers: Scores) -> Scores:
        """The places with a gradient: the slope of the piece that each number lies on."""
        if len(self.knots) == 1:
            return torch.zeros_like(numbers)
        knots, places = torch.from_numpy(self.knots), torch.from_numpy(self.places)
        mean = (places[-1] - places[0]) / (knots[-1] - knots[0])
        slopes = torch.cat([mean[None], places.diff() / knots.diff(), mean[None]])
        at = numbers.detach()
        return self(at) + (numbers - at) * slopes[torch.searchsorted(knots, at.contiguous())]


def _normal(numbers: Scores) -> NDArray[np.float64]:
    """Numbers so small that a slope between two of them would overflow count as 0."""
    x: NDArray[np.float64] = numbers.numpy(force=True)
    return np.where(np.abs(x) < _TINY, 0, x)


@dataclass(frozen=True, eq=False)
class ReferenceFold:
    """Some rows of a reference, in its order."""

    reference: Iterable[Evidence]
    chosen: Flags

    def __iter__(self) -> Iterator[Evidence]:
        start = 0
        for evidence in self.reference:
            index = self.chosen[start : start + len(evidence)].nonzero()[:, 0]
            start += len(evidence)
            if len(index):
                yield evidence.rows(index)


def units_of(reference: Iterable[Evidence]) -> tuple[NDArray[np.str_], bool]:
    """The unit of independence of each row, its number where it has none, and whether any has."""
    groups = [
        group
        for evidence in reference
        for group in (evidence.groups if evidence.groups is not None else [None] * len(evidence))
    ]
    grouped = any(group is not None for group in groups)
    return np.array([f"row {row}" if group is None else group for row, group in enumerate(groups)]), grouped


def folds_of(units: NDArray[np.str_], count: int) -> Labels:
    """The fold of each row, from a hash of its unit: rows that belong together fall into one."""
    hashes = (hashlib.sha256(f"fold\x1f{unit}".encode()).digest() for unit in units)
    return torch.tensor([int.from_bytes(digest[:8]) % count for digest in hashes], dtype=torch.int64)
