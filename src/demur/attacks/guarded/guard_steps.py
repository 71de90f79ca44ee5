"""The steps of attacks on a guard, which begin at a point that is given."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from demur.attacks.apgd import apgd_start, apgd_step
from demur.attacks.core.attack_state import AttackState, Needs, Norm, Output
from demur.attacks.core.harness import Stepwise
from demur.attacks.core.projections import per_row
from demur.attacks.square import Square


@dataclass(frozen=True, kw_only=True)
class GuardAscent(Stepwise):
    """Auto-PGD from a point that is given, with first steps of `stride`·eps; a row that succeeds stays where it is.

    Croce & Hein (2020), arXiv:2003.01690.
    """

    needs: ClassVar[Needs] = "gradient"
    restarts: ClassVar[int] = 1
    loss: ClassVar[str] = "margin"
    sentence: ClassVar[str] = "{size}, searched from points found before in {steps} gradient steps"

    eps: float
    norm: Norm = "linf"
    steps: int = 50
    stride: float = 0.5

    def start(self, state: AttackState, restart: int) -> AttackState:
        here = state.x
        return apgd_start(state, self.norm, restart).at(here, before=here, best=here, stride=self.stride * state.eps)

    def advance(self, state: AttackState, output: Output) -> AttackState:
        ahead = apgd_step(state, output, self.norm, self.steps)
        return ahead.at(torch.where(per_row(output.fooled), state.x, ahead.x), done=output.fooled)


@dataclass(frozen=True, kw_only=True)
class GuardSquares(Stepwise):
    """Square from a point that is given; a row that succeeds stays where it is.

    Andriushchenko et al. (2020), arXiv:1912.00049.
    """

    needs: ClassVar[Needs] = "loss"
    restarts: ClassVar[int] = 1
    loss: ClassVar[str] = "margin"
    sentence: ClassVar[str] = "{size}, searched from points found before in {steps} random squares"

    eps: float
    norm: Norm = "linf"
    steps: int = 200
    share: float = 0.3

    def start(self, state: AttackState, restart: int) -> AttackState:  # noqa: ARG002 - never restarted
        return state.at(state.x, best=state.x, highest=torch.full_like(state.eps, -torch.inf))

    def advance(self, state: AttackState, output: Output) -> AttackState:
        squares = Square(eps=self.eps, norm=self.norm, steps=self.steps, share=self.share)
        ahead = squares.advance(state, output)
        return ahead.at(torch.where(per_row(output.fooled), state.x, ahead.x), done=output.fooled)
