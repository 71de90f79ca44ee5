"""Fast minimum-norm attack, L∞."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from demur.attacks.checks import check_positive, check_share, check_steps
from demur.attacks.walk import Needs, Norm, Seen, Walk
from demur.shapes import Images


@dataclass(frozen=True, kw_only=True)
class FMN:
    """Smallest L∞ perturbation: a ball that shrinks where the answer is wrong and grows where it is still right.

    Until a row is fooled its ball reaches a share γ past the boundary as a linear model would place it,
    ‖δ‖∞ + (1 + γ)·|margin|/‖∇‖₁ (without the γ a linear model is met exactly at its tie and never fooled); afterwards
    the ball changes by a share γ, annealed from `growth` to .001. Steps along ∇/‖∇‖₂ are annealed from `step` to
    step/100.

    Pintor et al. (2021), arXiv:2102.12827.
    """

    needs: ClassVar[Needs] = "gradient"
    norm: ClassVar[Norm] = "linf"
    restarts: ClassVar[int] = 1
    eps: ClassVar[None] = None
    loss: ClassVar[str] = "margin"
    sentence: ClassVar[str] = "{size} that flips the answer, searched in {steps} gradient steps"

    steps: int = 50
    step: float = 10.0
    growth: float = 0.05

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_positive("step", self.step)
        check_share("growth", self.growth)

    def start(self, walk: Walk, restart: int) -> Walk:  # noqa: ARG002 - starts at the image itself
        return walk.at(walk.x, radius=walk.eps, nearest=walk.eps)

    def advance(self, walk: Walk, seen: Seen) -> Walk:
        delta = walk.delta
        size, slope = _length(delta, torch.inf), _length(seen.gradient, 1).clamp(min=1e-12)
        nearest = torch.where(seen.fooled, torch.minimum(walk.nearest, size), walk.nearest)
        gamma = _cosine(self.growth, 0.001, seen.step, self.steps)
        shrunk = torch.minimum(walk.radius * (1 - gamma), nearest)
        grown = torch.where(nearest.isinf(), size - (1 + gamma) * seen.loss / slope, walk.radius * (1 + gamma))
        radius = torch.where(seen.fooled, shrunk, grown)
        stride = _cosine(self.step, self.step / 100, seen.step, self.steps) / _length(seen.gradient, 2).clamp(min=1e-12)
        moved = delta + _rows(stride) * seen.gradient
        x = (walk.origin + moved.clamp(-_rows(radius), _rows(radius))).clamp(0, 1)
        return walk.at(x, radius=radius, nearest=nearest)


def _length(rows: Images, order: float) -> Tensor:
    return torch.linalg.vector_norm(rows.flatten(1), ord=order, dim=1)


def _rows(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def _cosine(begin: float, end: float, step: Tensor, steps: int) -> Tensor:
    """Cosine annealing from `begin` at step 0 to `end` at the last step."""
    return end + (begin - end) * (1 + torch.cos(math.pi * step / steps)) / 2
