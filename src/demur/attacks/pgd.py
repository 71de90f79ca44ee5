"""Projected gradient descent."""

from dataclasses import dataclass
from typing import ClassVar

from demur.attacks.core.attack import Ascent
from demur.attacks.core.attack_state import AttackState, Needs, Norm, Output
from demur.attacks.core.harness import Stepwise
from demur.attacks.core.hyperparameters import check_above_zero, check_count, check_eps, check_norm, check_steps
from demur.attacks.core.losses import check_loss
from demur.attacks.core.projections import per_row, project, random_point, steepest


@dataclass(frozen=True, kw_only=True)
class PGD(Stepwise):
    """Steepest ascent on the loss, held inside a ball and the unit box, from a random start in it.

    Each step is the sign of the gradient for L∞ and the gradient of length one for L2, times `step`, which is a
    fraction of the [0, 1] pixel range and defaults to 2.5·eps/steps. Rows that have not succeeded start again,
    `restarts` times in all.

    Madry et al. (2018), arXiv:1706.06083.
    """

    needs: ClassVar[Needs] = "gradient"
    ascent: ClassVar[Ascent] = "many steps"
    random_start: ClassVar[bool] = True
    nested: ClassVar[bool] = True
    sentence: ClassVar[str] = "{size}, searched in {steps} gradient steps"

    eps: float
    norm: Norm = "linf"
    steps: int = 40
    step: float | None = None
    restarts: int = 1
    loss: str = "cross_entropy"

    def __post_init__(self) -> None:
        check_norm(self.norm)
        check_eps(self.eps, self.norm)
        check_steps(self.steps)
        check_count("restarts", self.restarts)
        check_above_zero("step", self.step)
        check_loss(self.loss)

    @property
    def path_length(self) -> float:
        """How far all steps lead, put end to end; a step that is left open leads far enough."""
        return float("inf") if self.step is None else self.step * self.steps

    def start(self, state: AttackState, restart: int) -> AttackState:
        return state.at(random_point(state, self.norm, "start", restart))

    def advance(self, state: AttackState, output: Output) -> AttackState:
        stride = 2.5 * state.eps / self.steps if self.step is None else state.eps.new_full((len(state),), self.step)
        uphill = state.x + per_row(stride) * steepest(output.gradient, self.norm, state.x)
        return state.at(project(uphill, state.origin, state.eps, self.norm))
