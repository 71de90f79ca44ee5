"""The L2 attack of Carlini and Wagner."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from demur.attacks.core.attack_state import AttackState, Needs, Norm, Output
from demur.attacks.core.hyperparameters import check_above_zero, check_at_least_zero, check_count
from demur.attacks.core.projections import cosine, per_row
from demur.shapes import Flags, Images

_WITHIN = 0.99
"""Pixels at 0 and 1 begin at .005 and .995: closer, w is so large that they hardly move."""

_TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class CW:
    """Smallest L2 perturbation: descent on ‖δ‖² + c·max(κ − margin, 0), with the price c of a right answer searched.

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

    def start(self, walk: AttackState, restart: int) -> AttackState:  # noqa: ARG002 - starts at the image itself
        w, none = _free(walk.x), torch.zeros_like(walk.x)
        price, high = torch.full_like(walk.eps, self.price), torch.full_like(walk.eps, torch.inf)
        own = {"w": w, "first": none, "second": none, "price": price, "low": price * 0, "high": high}
        return walk.at(_pixels(w), won=torch.zeros_like(walk.done), **own)

    def advance(self, walk: AttackState, seen: Output) -> AttackState:
        k = seen.step % self.inner
        wins = seen.fooled & (seen.loss >= self.kappa)
        objective = 2 * walk.delta - per_row(walk.price * ~wins) * seen.gradient
        slope = objective * 2 * walk.x * (1 - walk.x)
        first, second = 0.9 * walk.first + 0.1 * slope, 0.999 * walk.second + 0.001 * slope.square()
        rate = cosine(self.step, self.step / 100, k, self.inner) * (1 - 0.999 ** (k + 1)).sqrt() / (1 - 0.9 ** (k + 1))
        w = walk.w - per_row(rate) * first / (second.sqrt() + _TINY)
        moved = walk.at(_pixels(w), w=w, first=first, second=second, won=walk.won | wins)
        over = (k == self.inner - 1) & (seen.step < self.steps - 1)
        return _next_round(moved, over) if over.any() else moved


def _next_round(walk: AttackState, over: Flags) -> AttackState:
    """Rows whose round is over begin again at the clean image with another price."""
    low, high = torch.where(walk.won, walk.low, walk.price), torch.where(walk.won, walk.price, walk.high)
    price = torch.where(high.isinf(), low * 10, torch.where(low == 0, high / 10, (low * high).sqrt()))
    begun = torch.where(per_row(over), _free(walk.origin), walk.w)
    going = per_row((~over).to(walk.x))
    return walk.at(
        _pixels(begun),
        w=begun,
        first=walk.first * going,
        second=walk.second * going,
        price=torch.where(over, price, walk.price),
        low=torch.where(over, low, walk.low),
        high=torch.where(over, high, walk.high),
        won=walk.won & ~over,
    )


def _pixels(w: Tensor) -> Images:
    return (1 + w.tanh()) / 2


def _free(x: Images) -> Tensor:
    """The w whose pixels are x, or as near to it as it begins."""
    return ((2 * x - 1) * _WITHIN).atanh()
