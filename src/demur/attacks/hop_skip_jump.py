"""HopSkipJump: the minimal perturbation as somebody finds it who sees which class is answered and nothing else."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor

from demur.attacks.core.attack_state import AttackState, Needs, Norm, Output
from demur.attacks.core.harness import Stepwise
from demur.attacks.core.hyperparameters import check_count, check_norm, check_steps
from demur.attacks.core.projections import gaussian_noise, length, per_row, steepest, unit
from demur.shapes import Images, Scores

Move: TypeAlias = Callable[[AttackState], AttackState]

_DRAWS = 50
"""Images of noise that are tried until one is answered wrong."""

_NEAR = 0.1
"""Length of a probe as a share of the way from the image to the boundary."""

_SHORTEST = 1e-4
"""Length of a leap as a share of that way below which a direction is given up."""

_SEARCH, _HALVE, _PROBE, _LEAP = range(4)


@dataclass(frozen=True, kw_only=True)
class HopSkipJump(Stepwise):
    """Minimal perturbation by the class that is answered alone: along the boundary, towards the image.

    From noise that is answered wrong a row is halved in on the boundary. There `probes`·√t small changes at random,
    in round t, say by which class they are given where the boundary faces: their mean, each counted for or against,
    is a direction. Along it a leap of 1/√t of the distance, halved until it is answered wrong, and back to the
    boundary. `steps` is how many questions a row may ask in all. A row whose noise is never answered wrong stands.

    Chen et al. (2020), arXiv:1904.02144.
    """

    needs: ClassVar[Needs] = "loss"
    restarts: ClassVar[int] = 1
    eps: ClassVar[None] = None
    label_only: ClassVar[bool] = True
    loss: ClassVar[str] = "margin"
    sentence: ClassVar[str] = "{size} that flips the answer, searched by the answered class alone in {steps} questions"

    norm: Norm = "linf"
    steps: int = 1000
    probes: int = 20

    def __post_init__(self) -> None:
        check_norm(self.norm)
        check_steps(self.steps)
        check_count("probes", self.probes)

    def start(self, state: AttackState, restart: int) -> AttackState:  # noqa: ARG002 - never restarted
        none, zero, count = torch.zeros_like(state.x), torch.zeros_like(state.eps), torch.zeros_like(state.y)
        images = {"far": state.x, "leaning": none, "drift": none}
        scalars = {"low": zero, "high": zero, "stride": zero, "balance": zero, "fooled": state.done}
        state = state.at(state.x, **images, **scalars, question=count, phase=count, turn=count, asked=count)
        return self._draw(state)

    def advance(self, state: AttackState, output: Output) -> AttackState:
        state = state.at(state.x, question=output.step + 1, fooled=output.fooled)
        return _each(state, state.phase, (self._search, self._halve, self._probe, self._leap))

    def _search(self, state: AttackState) -> AttackState:
        """Noise was asked about."""
        return _each(state, state.fooled, (self._draw, self._approach))

    def _halve(self, state: AttackState) -> AttackState:
        """The middle of the way from right to wrong was asked about."""
        middle = (state.low + state.high) / 2
        low, high = torch.where(state.fooled, state.low, middle), torch.where(state.fooled, middle, state.high)
        met = high - low <= _NEAR / math.sqrt(state.x[0].numel())
        return _each(state.at(state.x, low=low, high=high), met, (self._go_between, self._settle))

    def _probe(self, state: AttackState) -> AttackState:
        """A small change at random was asked about."""
        change, vote = state.x - state.far, torch.where(state.fooled, 1.0, -1.0).to(state.eps)
        leaning, drift = state.leaning + per_row(vote) * change, state.drift + change
        state = state.at(state.x, leaning=leaning, drift=drift, balance=state.balance + vote, asked=state.asked + 1)
        return _each(state, state.asked >= self.probes * state.turn.sqrt(), (self._stray, self._aim))

    def _leap(self, state: AttackState) -> AttackState:
        """A leap was asked about."""
        return _each(state, state.fooled, (self._shorten, self._approach))

    def _draw(self, state: AttackState) -> AttackState:
        """To other noise."""
        return state.at(_tiled_noise(state), done=state.question >= _DRAWS)

    def _approach(self, state: AttackState) -> AttackState:
        """From a wrong answer, half the way back to the image."""
        low = torch.zeros_like(state.low)
        phase = torch.full_like(state.phase, _HALVE)
        return self._go_between(state.at(state.x, far=state.x, low=low, high=low + 1, phase=phase))

    def _go_between(self, state: AttackState) -> AttackState:
        """To the middle of the way."""
        return state.at(self._part_of_the_way(state, (state.low + state.high) / 2))

    def _settle(self, state: AttackState) -> AttackState:
        """At the boundary, on its far side, a round begins."""
        return self._begin(state.at(state.x, far=self._part_of_the_way(state, state.high)))

    def _begin(self, state: AttackState) -> AttackState:
        none, zero = torch.zeros_like(state.x), torch.zeros_like(state.balance)
        own = {"leaning": none, "drift": none, "balance": zero, "asked": torch.zeros_like(state.asked)}
        return self._stray(state.at(state.x, turn=state.turn + 1, phase=torch.full_like(state.phase, _PROBE), **own))

    def _stray(self, state: AttackState) -> AttackState:
        """A little away from the boundary, anywhere."""
        away = per_row(_NEAR * length(state.far - state.origin, "l2"))
        return state.at((state.far + away * unit(gaussian_noise(state, "probe", state.question))).clamp(0, 1))

    def _aim(self, state: AttackState) -> AttackState:
        """Away from the boundary, where it faces."""
        stride = length(state.far - state.origin, self.norm) / state.turn.sqrt()
        return self._go(state.at(state.x, stride=stride, phase=torch.full_like(state.phase, _LEAP)))

    def _shorten(self, state: AttackState) -> AttackState:
        """Half as far; where that is nothing any more, a round of more probes at the same place."""
        state = state.at(state.x, stride=state.stride / 2)
        least = _SHORTEST * length(state.far - state.origin, self.norm)
        return _each(state, state.stride < least, (self._go, self._begin))

    def _go(self, state: AttackState) -> AttackState:
        """Along the mean of what spoke for the wrong answer, less what spoke against it."""
        mean = state.balance / state.asked.to(state.balance)
        one_sided = per_row(mean.abs() == 1)
        facing = torch.where(one_sided, state.leaning, state.leaning - per_row(mean) * state.drift)
        return state.at((state.far + per_row(state.stride) * steepest(facing, self.norm, state.far)).clamp(0, 1))

    def _part_of_the_way(self, state: AttackState, share: Scores) -> Images:
        """Between the image and a point answered wrong: on the line for L2, no pixel further than a share for L∞."""
        way = state.far - state.origin
        if self.norm == "l2":
            return state.origin + per_row(share) * way
        most = per_row(share * length(way, "linf"))
        return state.origin + way.clamp(-most, most)


def _each(state: AttackState, which: Tensor, moves: Sequence[Move]) -> AttackState:
    """Every row by the move of its number."""
    places = [(which == number).nonzero().squeeze(1) for number in range(len(moves))]
    if not len(state):
        return state
    parts = [move(state.rows(rows)) for move, rows in zip(moves, places, strict=True) if len(rows)]
    return reduce(AttackState.join, parts).rows(torch.cat(places).argsort())


def _tiled_noise(state: AttackState) -> Images:
    """Tiles of a colour at random, of one pixel for a first question, then of 2, 4 and so on, up to one colour.

    Then the same in half and in a quarter of the contrast, round mid-grey, and again.
    """
    height, width = state.x.shape[2:]
    sizes = math.ceil(math.log2(max(height, width, 2))) + 1
    side, contrast = 2 ** (state.question % sizes), 0.5 ** (state.question // sizes % 3)
    drawn = state.uniform("start", state.x, state.question)
    noise = (0.5 + per_row(contrast.to(drawn)) * (drawn - 0.5)).permute(0, 2, 3, 1)
    down, across = (torch.arange(size, device=side.device) // side[:, None] for size in (height, width))
    rows = torch.arange(len(state), device=side.device)[:, None, None]
    return noise[rows, down[:, :, None], across[:, None, :]].permute(0, 3, 1, 2).contiguous()
