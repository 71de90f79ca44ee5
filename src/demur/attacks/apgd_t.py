"""Auto-PGD towards one class after the other."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from demur.attacks.apgd import apgd_start, apgd_step
from demur.attacks.core.attack_state import AttackState, Needs, Norm, Output
from demur.attacks.core.harness import Stepwise
from demur.attacks.core.hyperparameters import check_count, check_eps, check_norm, check_steps
from demur.shapes import Labels


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
        goals, state = _goals(state), apgd_start(state, self.norm, restart)
        last = goals.shape[1] - 1
        done = torch.full_like(state.done, restart > last)
        return state.at(state.x, target=goals[:, min(restart, last)], done=done)

    def advance(self, state: AttackState, output: Output) -> AttackState:
        return apgd_step(state, output, self.norm, self.steps)


def _goals(state: AttackState) -> Labels:
    """The classes (rows, goals) to climb towards, the likeliest first."""
    if state.target is not None:
        return state.target[:, None]
    wrong = state.logits.scatter(1, state.y[:, None], -torch.inf)
    return wrong.argsort(dim=1, descending=True, stable=True)[:, :-1]
