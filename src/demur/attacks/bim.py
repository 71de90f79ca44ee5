"""Basic iterative method."""

from dataclasses import dataclass
from typing import ClassVar

from demur.attacks.core.attack import Ascent
from demur.attacks.core.attack_state import AttackState, Needs, Norm, Output
from demur.attacks.core.harness import Stepwise
from demur.attacks.core.hyperparameters import check_above_zero, check_eps, check_norm, check_steps
from demur.attacks.core.losses import check_loss
from demur.attacks.core.projections import per_row, project, steepest


@dataclass(frozen=True, kw_only=True)
class BIM(Stepwise):
    """Steepest ascent on the loss from the image itself, held inside a ball and the unit box.

    Each step is the sign of the gradient for L∞ and the gradient of length one for L2, times `step`, which is a
    fraction of the [0, 1] pixel range and defaults to 1.25·eps/steps: the paper takes a quarter more steps than lead
    straight to the edge of the ball. Nothing is left to chance, so there is one start.

    Kurakin et al. (2017), arXiv:1607.02533.
    """

    needs: ClassVar[Needs] = "gradient"
    ascent: ClassVar[Ascent] = "many steps"
    restarts: ClassVar[int] = 1
    sentence: ClassVar[str] = "{size}, searched in {steps} gradient steps from the image itself"

    eps: float
    norm: Norm = "linf"
    steps: int = 10
    step: float | None = None
    loss: str = "cross_entropy"

    def __post_init__(self) -> None:
        check_norm(self.norm)
        check_eps(self.eps, self.norm)
        check_steps(self.steps)
        check_above_zero("step", self.step)
        check_loss(self.loss)

    @property
    def path_length(self) -> float:
        """How far all steps lead, put end to end; a step that is left open leads far enough."""
        return float("inf") if self.step is None else self.step * self.steps

    def start(self, state: AttackState, restart: int) -> AttackState:  # noqa: ARG002 - starts at the image itself
        return state

    def advance(self, state: AttackState, output: Output) -> AttackState:
        stride = 1.25 * state.eps / self.steps if self.step is None else state.eps.new_full((len(state),), self.step)
        uphill = state.x + per_row(stride) * steepest(output.gradient, self.norm, state.x)
        return state.at(project(uphill, state.origin, state.eps, self.norm))
