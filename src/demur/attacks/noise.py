"""Points of the ball at random."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from demur.attacks.core.attack_state import AttackState, Needs, Norm, Output
from demur.attacks.core.harness import Stepwise
from demur.attacks.core.hyperparameters import check_eps, check_norm, check_steps
from demur.attacks.core.projections import gaussian_noise, per_row, unit
from demur.shapes import Images


@dataclass(frozen=True, kw_only=True)
class Noise(Stepwise):
    """Points of the ball drawn at random, `steps` + 1 of them, by turns anywhere in it and at its extremes.

    A point anywhere is uniform in the ball: inside, where only a model that is not smooth is fooled. A point at the
    extremes has every pixel at ±eps for L∞ and length eps for L2: for L∞ it lies √3 times as far away, and a model that
    is nearly linear inside the ball is fooled there first. All are then clipped to the unit box. Where noise fools a
    model and an attack with gradients does not, the gradients mislead.

    Carlini et al. (2019), arXiv:1902.06705.
    """

    needs: ClassVar[Needs] = "loss"
    control: ClassVar[bool] = True
    restarts: ClassVar[int] = 1
    loss: ClassVar[str] = "margin"
    sentence: ClassVar[str] = "{size}, drawn at random and then {steps} times more"

    eps: float
    norm: Norm = "linf"
    steps: int = 100

    def __post_init__(self) -> None:
        check_norm(self.norm)
        check_eps(self.eps, self.norm)
        check_steps(self.steps)

    def start(self, state: AttackState, restart: int) -> AttackState:  # noqa: ARG002 - never restarted
        return state.at(self._drawn(state, torch.zeros_like(state.y)))

    def advance(self, state: AttackState, output: Output) -> AttackState:
        return state.at(self._drawn(state, output.step + 1))

    def _drawn(self, state: AttackState, turn: Tensor) -> Images:
        delta = _in_cube(state, turn) if self.norm == "linf" else _in_sphere(state, turn)
        return (state.origin + per_row(state.eps) * delta).clamp(0, 1)


def _in_cube(state: AttackState, turn: Tensor) -> Images:
    """A point of the cube [−1, 1]ⁿ: uniform at even turns, a corner at odd ones."""
    share = state.uniform("noise", state.x, turn)
    corner = (share >= 0.5).to(share)
    return 2 * torch.where(per_row(turn % 2 == 0), share, corner) - 1


def _in_sphere(state: AttackState, turn: Tensor) -> Images:
    """A point of the unit ball: uniform at even turns, of length one at odd ones."""
    radius = state.uniform("noise radius", state.eps, turn) ** (1 / math.prod(state.x.shape[1:]))
    return per_row(torch.where(turn % 2 == 0, radius, 1.0)) * unit(gaussian_noise(state, "noise", turn))
