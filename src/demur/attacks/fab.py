"""Fast adaptive boundary search for the minimal perturbation, untargeted and targeted."""

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor

from demur.attacks.apgd import wrong_classes
from demur.attacks.core.attack_state import AttackState, Needs, Norm, Output
from demur.attacks.core.harness import Stepwise
from demur.attacks.core.hyperparameters import check_above_zero, check_count, check_norm, check_share, check_steps
from demur.attacks.core.projections import length, per_row, random_point, to_hyperplane
from demur.shapes import Images, Labels, Scores

_NORMS: tuple[Norm, ...] = ("linf", "l2", "l1")
_DUAL_ORDER = {"linf": 1.0, "l2": 2.0, "l1": torch.inf}

_CLEAR = 1e-4
"""Share of the image's largest logit aimed past a boundary, lest the steps shrink to nothing on it."""

_LAST = 3
"""Steps of the search on the line from the image to the nearest point that fooled."""

_TINY = 1e-12


@dataclass(frozen=True, kw_only=True)
class FAB(Stepwise):
    """Minimal perturbation: projections on the boundary of the linearised model, drawn towards the image.

    Of the `candidates` likeliest wrong classes it takes the boundary that is nearest in the linear model, and projects
    both the point x and the image x₀ on it, exactly and within the unit box: δ and δ₀. Then
    x ← (1 − α)(x + ηδ) + α(x₀ + ηδ₀) with α = ‖δ‖/(‖δ‖ + ‖δ₀‖), at most `bias`, and η = 1 + `overshoot`. A point that
    fools goes back to x₀ + β(x − x₀), β = `backward`, which is a step of its own. The last three steps narrow down
    where the answer turns on the line from x₀ to the nearest point that fooled. Later starts begin at random, at most
    half as far from the image as the boundary of its linear model.

    Croce & Hein (2020), arXiv:1907.02044.
    """

    needs: ClassVar[Needs] = "jacobian"
    random_start: ClassVar[bool] = True
    eps: ClassVar[None] = None
    loss: ClassVar[str] = "margin"
    sentence: ClassVar[str] = "{size} that flips the answer, by {steps} projections on the nearest boundary at most"

    norm: Norm = "linf"
    steps: int = 50
    restarts: int = 1
    candidates: int = 9
    bias: float = 0.1
    overshoot: float = 0.05
    backward: float = 0.9

    def __post_init__(self) -> None:
        _check(self)
        check_count("restarts", self.restarts)
        check_count("candidates", self.candidates)

    @property
    def passes_per_step(self) -> int:
        """One backward for each candidate; two for a target."""
        return 1 + max(self.candidates, 2)

    def start(self, state: AttackState, restart: int) -> AttackState:
        return _fab_start(state, wrong_classes(state)[:, : self.candidates], restart)

    def advance(self, state: AttackState, output: Output) -> AttackState:
        return _fab_step(self, state, output)


@dataclass(frozen=True, kw_only=True)
class FABT(Stepwise):
    """Minimal perturbation: `fab` on the boundary with one wrong class after the other, the likeliest first.

    One backward a step whatever the number of classes. Any wrong answer is a success; every row goes on to the next
    class, `targets` of them or as many as there are. Where a row is to be taken for one class, it is the only one, and
    a step costs two backwards.

    Croce & Hein (2020), arXiv:1907.02044; arXiv:2003.01690 for the targets.
    """

    needs: ClassVar[Needs] = "jacobian"
    eps: ClassVar[None] = None
    loss: ClassVar[str] = "margin"
    sentence: ClassVar[str] = (
        "{size} that flips the answer, by projections on the boundary with one class after the other, {steps} at most"
    )

    norm: Norm = "linf"
    steps: int = 50
    targets: int = 9
    bias: float = 0.1
    overshoot: float = 0.05
    backward: float = 0.9

    def __post_init__(self) -> None:
        _check(self)
        check_count("targets", self.targets)

    @property
    def restarts(self) -> int:
        """One for each target."""
        return self.targets

    def start(self, state: AttackState, restart: int) -> AttackState:
        goals = wrong_classes(state)
        last = goals.shape[1] - 1
        begun = _fab_start(state, goals[:, min(restart, last), None], 0)
        return begun.at(begun.x, done=torch.full_like(state.done, restart > last))

    def advance(self, state: AttackState, output: Output) -> AttackState:
        return _fab_step(self, state, output)


_Fab: TypeAlias = FAB | FABT


def _check(attack: _Fab) -> None:
    check_norm(attack.norm, _NORMS)
    check_steps(attack.steps)
    check_share("bias", attack.bias)
    check_above_zero("overshoot", attack.overshoot)
    check_share("backward", attack.backward)


def _fab_start(state: AttackState, candidates: Labels, restart: int) -> AttackState:
    """On the image itself, where no point has fooled yet; a later start moves away in its first step."""
    return state.at(
        state.x,
        candidates=candidates if state.target is None else torch.stack([state.target, state.y], dim=1),
        restart=torch.full_like(state.y, restart),
        best=state.x,
        best_loss=torch.full_like(state.eps, torch.nan),
        nearest=torch.full_like(state.eps, torch.inf),
        right=torch.zeros_like(state.eps),
        right_loss=torch.full_like(state.eps, torch.nan),
    )


def _fab_step(attack: _Fab, state: AttackState, output: Output) -> AttackState:
    """Where each row goes next: back, on by projections, to a random start, or along the line of the last search."""
    size = length(state.delta, attack.norm)
    searching = (output.step > attack.steps - _LAST) & state.nearest.isfinite()
    nearer = output.fooled & (size < state.nearest)
    best, nearest = torch.where(per_row(nearer), state.x, state.best), torch.where(nearer, size, state.nearest)
    best_loss = torch.where(nearer, output.loss, state.best_loss)
    still = (output.step == 0) | (searching & ~output.fooled)
    right, right_loss = torch.where(still, size, state.right), torch.where(still, output.loss, state.right_loss)

    x = torch.where(
        per_row(output.fooled), state.origin + attack.backward * state.delta, _onward(attack, state, output)
    )
    share = (_clear(state) - right_loss) / (best_loss - right_loss)
    turn = right + (nearest - right) * share.nan_to_num(0.5).clamp(0.05, 0.95)
    along = state.origin + per_row(turn / nearest.clamp(min=_TINY)).nan_to_num(0.0) * (best - state.origin)
    last = (output.step >= attack.steps - _LAST) & nearest.isfinite()
    x = torch.where(per_row(last), along.clamp(0, 1), x)
    following = {"best": best, "best_loss": best_loss, "nearest": nearest, "right": right, "right_loss": right_loss}
    return state.at(x, candidates=_candidates(state, output), **following)


def _candidates(state: AttackState, output: Output) -> Labels:
    """The classes to go to next; a target must pass the likeliest other class, whichever that is now."""
    if state.target is None:
        return state.candidates
    rival = output.logits.scatter(1, state.target[:, None], -torch.inf).argmax(dim=1)
    return torch.stack([state.target, rival], dim=1)


def _onward(attack: _Fab, state: AttackState, output: Output) -> Images:
    """The biased step to the nearest boundary of the linear model, or the random point where a later start begins."""
    slope, gap, distance = _boundary(state, output, attack.norm)
    here = to_hyperplane(state.x, slope, gap, attack.norm)
    home = to_hyperplane(state.origin, slope, gap - (slope * state.delta).flatten(1).sum(dim=1), attack.norm)
    near, far = length(here, attack.norm), length(home, attack.norm)
    alpha = per_row((near / (near + far).clamp(min=_TINY)).clamp(max=attack.bias))
    eta = 1 + attack.overshoot
    x = ((1 - alpha) * (state.x + eta * here) + alpha * (state.origin + eta * home)).clamp(0, 1)
    away = (output.step == 0) & (state.restart > 0)
    if not away.any():
        return x
    begun = random_point(state.at(state.x, eps=distance / 2), attack.norm, "start", state.restart)
    return torch.where(per_row(away), begun, x)


def _boundary(state: AttackState, output: Output, norm: Norm) -> tuple[Tensor, Scores, Scores]:
    """Slope, gap and distance of the boundary that is nearest in the linear model, without the walls of the box.

    Where there is a target it is that of the target with its rival, the second of the two candidates.
    """
    gaps, slopes = (
        output.logits.gather(1, state.candidates) - output.logits.gather(1, state.y[:, None]),
        output.jacobian,
    )
    if state.target is not None:
        gaps, slopes = gaps[:, :1] - gaps[:, 1:], slopes[:, :1] - slopes[:, 1:]
    gaps = (gaps - _clear(state)[:, None]).nan_to_num()
    steep = torch.linalg.vector_norm(slopes.flatten(2), ord=_DUAL_ORDER[norm], dim=2)
    distance, nearest = (gaps.abs() / steep.clamp(min=_TINY)).min(dim=1)
    rows = torch.arange(len(state), device=nearest.device)
    return slopes[rows, nearest], gaps[rows, nearest], distance.to(state.eps)


def _clear(state: AttackState) -> Scores:
    """By how much past the boundary to aim."""
    return _CLEAR * state.logits.abs().amax(dim=1)
