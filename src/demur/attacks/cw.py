"""The L2 attack of Carlini and Wagner."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from demur.attacks.core.attack_state import AttackState, Needs, Norm, Output
from demur.attacks.core.harness import Stepwise
from demur.attacks.core.hyperparameters import check_above_zero, check_at_least_zero, check_count
from demur.attacks.core.projections import cosine, per_row
from demur.shapes import Flags, Images

_WITHIN = 0.99
"""Pixels at 0 and 1 begin at .005 and .995: closer, w is so large that they hardly move."""

_TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class CW(Stepwise):
    """Minimal L2 perturbation: descent on ‖δ‖² + c·max(κ − margin, 0), with the price c of a right answer searched.

    Pixels are (1 + tanh w)/2, so that no step leaves the unit box. Adam takes `inner` steps on w with a rate annealed
    from `step` to step/100, from the clean image; c grows tenfold while a row resists, falls tenfold while it does not,
    and is then halved in on geometrically, for `rounds` rounds. `kappa` is the margin by which to win.

    Carlini & Wagner (2017), arXiv:1608.04644.
    """

    needs: ClassVar[Needs] = "gradient"
    norm: ClassVar[Norm] = "l2"
    restarts: ClassVar[int] = 1
    eps: ClassVar[None] = None
    loss: ClassVar[str] = "margin"
    sentence: ClassVar[str] = "{size} that flips the answer, searched in {steps} gradient steps"

    rounds: int = 6
    inner: int = 100
    step: float = 0.1
    price: float = 1.0
    kappa: float = 0.0

    def __post_init__(self) -> None:
        check_count("rounds", self.rounds)
        check_count("inner", self.inner)
        check_above_zero("step", self.step)
        check_above_zero("price", self.price)
        check_at_least_zero("kappa", self.kappa)

    @property
    def steps(self) -> int:
        """All rounds together."""
        return self.rounds * self.inner

    def start(self, state: AttackState, restart: int) -> AttackState:  # noqa: ARG002 - starts at the image itself
        w, none = _free(state.x), torch.zeros_like(state.x)
        price, high = torch.full_like(state.eps, self.price), torch.full_like(state.eps, torch.inf)
        own = {"w": w, "first": none, "second": none, "price": price, "low": price * 0, "high": high}
        return state.at(_pixels(w), won=torch.zeros_like(state.done), **own)

    def advance(self, state: AttackState, output: Output) -> AttackState:
        k = output.step % self.inner
        wins = output.fooled & (output.loss >= self.kappa)
        objective = 2 * state.delta - per_row(state.price * ~wins) * output.gradient
        slope = objective * 2 * state.x * (1 - state.x)
        first, second = 0.9 * state.first + 0.1 * slope, 0.999 * state.second + 0.001 * slope.square()
        rate = cosine(self.step, self.step / 100, k, self.inner) * (1 - 0.999 ** (k + 1)).sqrt() / (1 - 0.9 ** (k + 1))
        w = state.w - per_row(rate) * first / (second.sqrt() + _TINY)
        moved = state.at(_pixels(w), w=w, first=first, second=second, won=state.won | wins)
        over = (k == self.inner - 1) & (output.step < self.steps - 1)
        return _next_round(moved, over) if over.any() else moved


def _next_round(state: AttackState, over: Flags) -> AttackState:
    """Rows whose round is over begin again at the clean image with another price."""
    low, high = torch.where(state.won, state.low, state.price), torch.where(state.won, state.price, state.high)
    price = torch.where(high.isinf(), low * 10, torch.where(low == 0, high / 10, (low * high).sqrt()))
    begun = torch.where(per_row(over), _free(state.origin), state.w)
    going = per_row((~over).to(state.x))
    return state.at(
        _pixels(begun),
        w=begun,
        first=state.first * going,
        second=state.second * going,
        price=torch.where(over, price, state.price),
        low=torch.where(over, low, state.low),
        high=torch.where(over, high, state.high),
        won=state.won & ~over,
    )


def _pixels(w: Tensor) -> Images:
    return (1 + w.tanh()) / 2


def _free(x: Images) -> Tensor:
    """The w whose pixels are x, or as near to it as it begins."""
    return ((2 * x - 1) * _WITHIN).atanh()
