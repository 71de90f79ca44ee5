"""Fast gradient method, basic iterative method, and the iterative method with momentum."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from demur.attacks.core.attack import Ascent
from demur.attacks.core.attack_state import AttackState, Needs, Norm, Output
from demur.attacks.core.harness import Stepwise
from demur.attacks.core.hyperparameters import check_above_zero, check_eps, check_norm, check_steps
from demur.attacks.core.losses import check_loss
from demur.attacks.core.projections import length, per_row, project, steepest


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


@dataclass(frozen=True, kw_only=True)
class MIFGSM(Stepwise):
    """Steepest ascent along a running sum of gradients of L1 length one, held inside a ball and the unit box.

    g ← decay·g + ∇/‖∇‖₁, then a step along sign g for L∞ and along g/‖g‖₂ for L2, times `step`, which is a fraction of
    the [0, 1] pixel range and defaults to eps/steps. It starts at the image itself. Its points carry over to other
    models better than those of steps without memory.

    Dong et al. (2018), arXiv:1710.06081.
    """

    needs: ClassVar[Needs] = "gradient"
    ascent: ClassVar[Ascent] = "many steps"
    restarts: ClassVar[int] = 1
    sentence: ClassVar[str] = "{size}, searched in {steps} gradient steps with momentum"

    eps: float
    norm: Norm = "linf"
    steps: int = 10
    step: float | None = None
    decay: float = 1.0
    loss: str = "cross_entropy"

    def __post_init__(self) -> None:
        check_norm(self.norm)
        check_eps(self.eps, self.norm)
        check_steps(self.steps)
        check_above_zero("step", self.step)
        check_above_zero("decay", self.decay)
        check_loss(self.loss)

    @property
    def path_length(self) -> float:
        """How far all steps lead, put end to end; a step that is left open leads far enough."""
        return float("inf") if self.step is None else self.step * self.steps

    def start(self, state: AttackState, restart: int) -> AttackState:  # noqa: ARG002 - starts at the image itself
        return state.at(state.x, velocity=torch.zeros_like(state.x))

    def advance(self, state: AttackState, output: Output) -> AttackState:
        size = length(output.gradient, "l1").clamp(min=torch.finfo(state.x.dtype).tiny)
        velocity = self.decay * state.velocity + output.gradient / per_row(size)
        stride = state.eps / self.steps if self.step is None else state.eps.new_full((len(state),), self.step)
        uphill = state.x + per_row(stride) * steepest(velocity, self.norm, state.x)
        return state.at(project(uphill, state.origin, state.eps, self.norm), velocity=velocity)
