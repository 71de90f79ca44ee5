"""Fast gradient method."""

from dataclasses import dataclass
from typing import ClassVar

from demur.attacks.core.attack import Ascent
from demur.attacks.core.attack_state import AttackState, Needs, Norm, Output
from demur.attacks.core.harness import Stepwise
from demur.attacks.core.hyperparameters import check_eps, check_norm
from demur.attacks.core.losses import check_loss
from demur.attacks.core.projections import per_row, project, steepest


@dataclass(frozen=True, kw_only=True)
class FGSM(Stepwise):
    """One step of length eps along the steepest direction of the loss, clipped to the unit box.

    For L∞ that is the sign of the gradient; for L2, `norm='l2'`, the gradient itself.

    Goodfellow et al. (2015), arXiv:1412.6572.
    """

    needs: ClassVar[Needs] = "gradient"
    ascent: ClassVar[Ascent] = "one step"
    steps: ClassVar[int] = 1
    restarts: ClassVar[int] = 1
    sentence: ClassVar[str] = "{size} in one step along the gradient"

    eps: float
    norm: Norm = "linf"
    loss: str = "cross_entropy"

    def __post_init__(self) -> None:
        check_norm(self.norm)
        check_eps(self.eps, self.norm)
        check_loss(self.loss)

    def start(self, state: AttackState, restart: int) -> AttackState:  # noqa: ARG002 - starts at the image itself
        return state

    def advance(self, state: AttackState, output: Output) -> AttackState:
        uphill = state.x + per_row(state.eps) * steepest(output.gradient, self.norm, state.x)
        return state.at(project(uphill, state.origin, state.eps, self.norm))
