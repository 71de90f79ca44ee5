"""Auto-PGD, untargeted and targeted."""

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import torch

from demur.attacks.core.attack import Ascent
from demur.attacks.core.attack_state import AttackState, Needs, Norm, Output
from demur.attacks.core.harness import Stepwise
from demur.attacks.core.hyperparameters import check_count, check_eps, check_norm, check_steps
from demur.attacks.core.losses import check_loss
from demur.attacks.core.projections import per_row, project, random_point, steepest
from demur.shapes import Labels

_ALPHA = 0.75
"""Weight of the new step; the rest is momentum."""

_RHO = 0.75
"""Share of the steps since the last checkpoint that must have raised the loss."""


@dataclass(frozen=True, kw_only=True)
class APGD(Stepwise):
    """Projected gradient ascent with momentum whose step halves where the loss stops rising.

    It starts at a random point of the ball with steps of 2·eps. At checkpoints, ever closer to each other, a row halves
    its step and goes back to its best point if fewer than three in four of its steps since the last one raised the
    loss, or if neither the step nor the best loss has changed since then. There is no step size to choose. Rows that
    have not succeeded start again, `restarts` times in all.

    Croce & Hein (2020), arXiv:2003.01690.
    """

    needs: ClassVar[Needs] = "gradient"
    ascent: ClassVar[Ascent] = "many steps"
    random_start: ClassVar[bool] = True
    sentence: ClassVar[str] = "{size}, searched in {steps} gradient steps that adapt"

    eps: float
    norm: Norm = "linf"
    steps: int = 100
    restarts: int = 1
    loss: str = "cross_entropy"

    def __post_init__(self) -> None:
        check_norm(self.norm)
        check_eps(self.eps, self.norm)
        check_steps(self.steps)
        check_count("restarts", self.restarts)
        check_loss(self.loss)

    def start(self, state: AttackState, restart: int) -> AttackState:
        return apgd_start(state, self.norm, restart)

    def advance(self, state: AttackState, output: Output) -> AttackState:
        return apgd_step(state, output, self.norm, self.steps)


def apgd_start(state: AttackState, norm: Norm, restart: int) -> AttackState:
    """A random point of the ball, with nothing known of the loss yet."""
    x = random_point(state, norm, "start", restart)
    lowest = torch.full_like(state.eps, -torch.inf, dtype=torch.float64)
    return state.at(
        x,
        before=x,
        best=x,
        best_uphill=torch.zeros_like(x),
        best_loss=lowest,
        mark=lowest,
        last_loss=-lowest,
        rises=torch.zeros_like(state.y),
        halved=torch.zeros_like(state.y, dtype=torch.bool),
        stride=2 * state.eps,
    )


def apgd_step(state: AttackState, output: Output, norm: Norm, steps: int) -> AttackState:
    """One step of Auto-PGD; the loss may be any, towards a target or not."""
    uphill = steepest(output.gradient, norm, state.x)
    higher = output.loss > state.best_loss
    best = torch.where(per_row(higher), state.x, state.best)
    best_uphill = torch.where(per_row(higher), uphill, state.best_uphill)
    best_loss = torch.where(higher, output.loss, state.best_loss)
    rises = state.rises + (output.loss > state.last_loss)

    window = torch.tensor(_windows(steps), device=state.y.device)[output.step]
    due = window > 0
    halve = due & ((rises < _RHO * window) | (~state.halved & (best_loss <= state.mark)))
    stride = torch.where(halve, state.stride / 2, state.stride)
    here, uphill = torch.where(per_row(halve), best, state.x), torch.where(per_row(halve), best_uphill, uphill)

    ahead = project(here + per_row(stride) * uphill, state.origin, state.eps, norm)
    alpha = per_row(torch.where(output.step == 0, 1.0, _ALPHA).to(here.dtype))
    x = here + alpha * (ahead - here) + (1 - alpha) * (here - state.before)
    return state.at(
        project(x, state.origin, state.eps, norm),
        before=here,
        best=best,
        best_uphill=best_uphill,
        best_loss=best_loss,
        mark=torch.where(due | (output.step == 0), best_loss, state.mark),
        last_loss=torch.where(halve, best_loss, output.loss),
        rises=rises.masked_fill(due, 0),
        halved=torch.where(due, halve, state.halved),
        stride=stride,
    )


@cache
def _windows(steps: int) -> tuple[int, ...]:
    """For each step, how many lie between it and the last checkpoint; 0 where it is none.

    Checkpoints are at shares p₀ = 0, p₁ = .22, pⱼ₊₁ = pⱼ + max(pⱼ − pⱼ₋₁ − .03, .06) of the steps, rounded up.
    """
    found, last, percent, gap = [0] * (steps + 1), 0, 22, 22
    while percent <= 100:
        here = -(-percent * steps // 100)
        found[here] = here - last or found[here]
        last, gap = here, max(gap - 3, 6)
        percent += gap
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class APGDT(Stepwise):
    """Auto-PGD on the targeted difference of logits ratio, towards the likeliest wrong classes one after the other.

    The model's answer to the clean image ranks the classes; in an ensemble, its answer where the attack before came
    nearest. Any wrong answer is a success; rows that have none go on to the next class, `targets` of them or as many as
    there are. Where a row is to be taken for one class, it is the only one.

    Croce & Hein (2020), arXiv:2003.01690.
    """

    needs: ClassVar[Needs] = "gradient"
    loss: ClassVar[str] = "dlr"
    sentence: ClassVar[str] = "{size}, searched towards one class after the other, in {steps} gradient steps at most"

    eps: float
    norm: Norm = "linf"
    steps: int = 100
    targets: int = 9

    def __post_init__(self) -> None:
        check_norm(self.norm)
        check_eps(self.eps, self.norm)
        check_steps(self.steps)
        check_count("targets", self.targets)

    @property
    def restarts(self) -> int:
        """One for each target."""
        return self.targets

    def start(self, state: AttackState, restart: int) -> AttackState:
        goals, state = wrong_classes(state), apgd_start(state, self.norm, restart)
        last = goals.shape[1] - 1
        done = torch.full_like(state.done, restart > last)
        return state.at(state.x, target=goals[:, min(restart, last)], done=done)

    def advance(self, state: AttackState, output: Output) -> AttackState:
        return apgd_step(state, output, self.norm, self.steps)


def wrong_classes(state: AttackState) -> Labels:
    """The classes (rows, goals) to go towards, the likeliest first; the target class alone where there is one."""
    if state.target is not None:
        return state.target[:, None]
    wrong = state.logits.scatter(1, state.y[:, None], -torch.inf)
    return wrong.argsort(dim=1, descending=True, stable=True)[:, :-1]
