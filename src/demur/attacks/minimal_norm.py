"""Searches for the minimal perturbation of each image: Carlini and Wagner, DDN, DeepFool, fast minimum-norm."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from demur.attacks.core.attack_state import AttackState, Needs, Norm, Output
from demur.attacks.core.harness import Stepwise
from demur.attacks.core.hyperparameters import (
    check_above_zero,
    check_at_least_zero,
    check_count,
    check_grey_levels,
    check_norm,
    check_share,
    check_steps,
)
from demur.attacks.core.losses import check_loss
from demur.attacks.core.projections import cosine, inward, length, per_row, project, steepest, unit
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


@dataclass(frozen=True, kw_only=True)
class DDN(Stepwise):
    """Minimal L2 perturbation: the gradient turns its direction, success and failure alone set its length.

    Each step shortens the radius by a share `gamma` where the answer is wrong and lengthens it where it is still right,
    from `init_norm` on; δ ← radius·(δ + α∇/‖∇‖)/‖δ + α∇/‖∇‖‖, with α annealed from 1 to .01. With `levels` the image is
    rounded to that many grey values after each step.

    Rony et al. (2019), arXiv:1811.09600.
    """

    needs: ClassVar[Needs] = "gradient"
    norm: ClassVar[Norm] = "l2"
    restarts: ClassVar[int] = 1
    eps: ClassVar[None] = None
    sentence: ClassVar[str] = "{size} that flips the answer, searched in {steps} gradient steps"

    steps: int = 100
    gamma: float = 0.05
    init_norm: float = 1.0
    levels: int | None = None
    loss: str = "cross_entropy"

    def __post_init__(self) -> None:
        check_steps(self.steps)
        check_share("gamma", self.gamma)
        check_above_zero("init_norm", self.init_norm)
        check_grey_levels(self.levels)
        check_loss(self.loss)

    def start(self, state: AttackState, restart: int) -> AttackState:  # noqa: ARG002 - starts at the image itself
        return state.at(state.x, radius=torch.full_like(state.eps, self.init_norm))

    def advance(self, state: AttackState, output: Output) -> AttackState:
        radius = state.radius * torch.where(output.fooled, 1 - self.gamma, 1 + self.gamma)
        stride = cosine(1.0, 0.01, output.step, self.steps)
        direction = unit(state.delta + per_row(stride) * unit(output.gradient))
        x = (state.origin + per_row(radius) * direction).clamp(0, 1)
        return state.at(
            x if self.levels is None else (x * (self.levels - 1)).round() / (self.levels - 1), radius=radius
        )


_DUAL_ORDER = {"linf": 1.0, "l2": 2.0}

_CLEAR = 1e-4
"""Share of the image's largest logit aimed past a boundary, lest the steps shrink to nothing on it."""


@dataclass(frozen=True, kw_only=True)
class DeepFool(Stepwise):
    """Small perturbation: step after step to the nearest boundary of the linearised model, until the answer is wrong.

    Of the `candidates` likeliest wrong classes k it goes for the one with the smallest |z_k − z_y|/‖∇(z_k − z_y)‖*, in
    the dual norm; the sum of all steps is stretched by `overshoot` and clipped to the unit box. What of a gradient
    leads out of the box is left out. A row leaves as soon as it is fooled. A target class is the only candidate.

    Moosavi-Dezfooli et al. (2016), arXiv:1511.04599.
    """

    needs: ClassVar[Needs] = "jacobian"
    restarts: ClassVar[int] = 1
    eps: ClassVar[None] = None
    loss: ClassVar[str] = "margin"
    sentence: ClassVar[str] = "{size} that flips the answer, by at most {steps} linear approximations"

    norm: Norm = "l2"
    steps: int = 50
    candidates: int = 9
    overshoot: float = 0.02

    def __post_init__(self) -> None:
        check_norm(self.norm)
        check_steps(self.steps)
        check_count("candidates", self.candidates)
        check_above_zero("overshoot", self.overshoot)

    @property
    def passes_per_step(self) -> int:
        """One backward for each candidate."""
        return 1 + self.candidates

    def start(self, state: AttackState, restart: int) -> AttackState:  # noqa: ARG002 - starts at the image itself
        wrong = state.logits.scatter(1, state.y[:, None], -torch.inf)
        likely = wrong.topk(min(self.candidates, wrong.shape[1] - 1), dim=1).indices
        candidates = likely if state.target is None else state.target[:, None]
        return state.at(state.x, candidates=candidates, path=torch.zeros_like(state.x))

    def advance(self, state: AttackState, output: Output) -> AttackState:
        gap = output.logits.gather(1, state.candidates) - output.logits.gather(1, state.y[:, None])
        slopes = inward(output.jacobian, state.x[:, None])
        steep = torch.linalg.vector_norm(slopes.flatten(2), ord=_DUAL_ORDER[self.norm], dim=2).clamp(min=1e-12)
        clear = _CLEAR * state.logits.abs().amax(dim=1, keepdim=True)
        distance, nearest = ((gap.abs() + clear).nan_to_num() / steep).min(dim=1)
        slope = slopes[torch.arange(len(state)), nearest]
        path = state.path + per_row(distance) * steepest(slope, self.norm)
        x = (state.origin + (1 + self.overshoot) * path).clamp(0, 1)
        return state.at(torch.where(per_row(output.fooled), state.x, x), path=path, done=output.fooled)


_DUAL: dict[Norm, Norm] = {"linf": "l1", "l2": "l2"}
_STEP: dict[Norm, float] = {"linf": 10.0, "l2": 1.0}


@dataclass(frozen=True, kw_only=True)
class FMN(Stepwise):
    """Minimal perturbation: a ball that shrinks where the answer is wrong and grows where it is still right.

    Until a row is fooled its ball reaches a share γ past the boundary as a linear model would place it,
    ‖δ‖ + (1 + γ)·|margin|/‖∇‖* in the dual norm (without the γ a linear model is met exactly at its tie and never
    fooled), and grows by a share γ at least, lest a model that is not linear promise too much; afterwards the ball
    changes by a share γ, annealed from `growth` to .001. Steps along ∇/‖∇‖₂ are annealed from `step`, by default 10 for
    L∞ and 1 for L2, to step/100, and none is longer than the ball is wide: on CIFAR nets that finds changes 8 % smaller
    than the paper's fixed steps. A row whose gradient is zero stays where it is. For L2 the parts of ∇ that lead out of
    the unit box are left out: clipping takes away what they gain.

    Pintor et al. (2021), arXiv:2102.12827.
    """

    needs: ClassVar[Needs] = "gradient"
    restarts: ClassVar[int] = 1
    eps: ClassVar[None] = None
    loss: ClassVar[str] = "margin"
    sentence: ClassVar[str] = "{size} that flips the answer, searched in {steps} gradient steps"

    norm: Norm = "linf"
    steps: int = 50
    step: float | None = None
    growth: float = 0.05

    def __post_init__(self) -> None:
        check_norm(self.norm)
        check_steps(self.steps)
        check_above_zero("step", self.step)
        check_share("growth", self.growth)

    def start(self, state: AttackState, restart: int) -> AttackState:  # noqa: ARG002 - starts at the image itself
        return state.at(state.x, radius=torch.zeros_like(state.eps), nearest=torch.full_like(state.eps, torch.inf))

    def advance(self, state: AttackState, output: Output) -> AttackState:
        gradient = inward(output.gradient, state.x) if self.norm == "l2" else output.gradient
        size, slope = length(state.delta, self.norm), length(gradient, _DUAL[self.norm]).clamp(min=1e-12)
        nearest = torch.where(output.fooled, torch.minimum(state.nearest, size), state.nearest)
        gamma = cosine(self.growth, 0.001, output.step, self.steps)
        wider = state.radius * (1 + gamma)
        beyond = size + (1 + gamma) * output.loss.abs().nan_to_num() / slope
        grown = torch.where(nearest.isinf(), torch.maximum(beyond, wider), wider)
        radius = torch.where(output.fooled, torch.minimum(state.radius * (1 - gamma), nearest), grown)
        across = 2 * radius * (state.x[0].numel() ** 0.5 if self.norm == "linf" else 1.0)
        stride = across.clamp(max=self.step or _STEP[self.norm]) * cosine(1.0, 0.01, output.step, self.steps)
        x = project(state.x + per_row(stride) * unit(gradient), state.origin, radius, self.norm)
        return state.at(x, radius=radius, nearest=nearest)
