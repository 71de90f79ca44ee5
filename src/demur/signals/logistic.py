"""Logistic regression, small enough to be kept as a handful of numbers."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from demur.shapes import Flags, Scores

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
        shrunk = torch.full_like(x[0], penalty)
        shrunk[-1] = 0
        found = _minimum(x, y, shrunk)
        return cls(means=means, scales=scales, weights=found[:-1], intercept=float(found[-1]))

    def __call__(self, columns: Tensor) -> Scores:
        """The log-odds of each row."""
        return ((columns - self.means) / self.scales * self.weights).sum(dim=1) + self.intercept


def _minimum(x: Tensor, y: Tensor, shrunk: Tensor) -> Tensor:
    w = torch.zeros_like(shrunk)
    for _ in range(_STEPS):
        p = (x @ w).sigmoid()
        downhill = x.T @ (y - p) - shrunk * w
        curvature = (x * (p * (1 - p))[:, None]).T @ x + shrunk.diag()
        step = torch.linalg.solve(curvature, downhill)
        before = _loss(x, y, shrunk, w)
        for _ in range(_HALVINGS):
            if _loss(x, y, shrunk, w + step) <= before:
                break
            step = step / 2
        w = w + step
        if step.abs().max() < 1e-10:
            break
    return w


def _loss(x: Tensor, y: Tensor, shrunk: Tensor, w: Tensor) -> Tensor:
    z = x @ w
    return (softplus(z) - y * z).sum() + (shrunk * w.square()).sum() / 2
