"""Decoupled direction and norm attack, L2."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from demur.attacks.core.attack_state import AttackState, Needs, Norm, Output
from demur.attacks.core.harness import Stepwise
from demur.attacks.core.hyperparameters import check_above_zero, check_grey_levels, check_share, check_steps
from demur.attacks.core.losses import check_loss
from demur.attacks.core.projections import cosine, per_row, unit


@dataclass(frozen=True, kw_only=True)
class DDN(Stepwise):
    """Minimal L2 perturbation: the gradient turns its direction, success and failure alone set its length.

    Each step shortens the radius by a share `gamma` where the answer is wrong and lengthens it where it is still right,
    from `init_norm` on; δ ← radius·(δ + α∇/‖∇‖)/‖δ + α∇/‖∇‖‖, with α annealed from 1 to .01. With `levels` the image is
    rounded to that many grey values after each step.

    Rony et al. (2019), arXiv:1811.09600.
    """

    needs: ClassVar[Needs] = "gradient"
    norm: ClassVar[Norm] = "l2"
    restarts: ClassVar[int] = 1
    eps: ClassVar[None] = None
    sentence: ClassVar[str] = "{size} that flips the answer, searched in {steps} gradient steps"

    steps: int = 100
    gamma: float = 0.05
    init_norm: float = 1.0
    levels: int | None = None
    loss: str = "cross_entropy"

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_share("gamma", self.gamma)
        check_above_zero("init_norm", self.init_norm)
        check_grey_levels(self.levels)
        check_loss(self.loss)

    def start(self, state: AttackState, restart: int) -> AttackState:  # noqa: ARG002 - starts at the image itself
        return state.at(state.x, radius=torch.full_like(state.eps, self.init_norm))

    def advance(self, state: AttackState, output: Output) -> AttackState:
        radius = state.radius * torch.where(output.fooled, 1 - self.gamma, 1 + self.gamma)
        stride = cosine(1.0, 0.01, output.step, self.steps)
        direction = unit(state.delta + per_row(stride) * unit(output.gradient))
        x = (state.origin + per_row(radius) * direction).clamp(0, 1)
        return state.at(
            x if self.levels is None else (x * (self.levels - 1)).round() / (self.levels - 1), radius=radius
        )
