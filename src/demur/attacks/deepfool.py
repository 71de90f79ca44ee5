"""DeepFool."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from demur.attacks.core.attack_state import AttackState, Needs, Norm, Output
from demur.attacks.core.harness import Stepwise
from demur.attacks.core.hyperparameters import check_above_zero, check_count, check_norm, check_steps
from demur.attacks.core.projections import inward, per_row, steepest

_DUAL = {"linf": 1.0, "l2": 2.0}

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
        steep = torch.linalg.vector_norm(slopes.flatten(2), ord=_DUAL[self.norm], dim=2).clamp(min=1e-12)
        clear = _CLEAR * state.logits.abs().amax(dim=1, keepdim=True)
        distance, nearest = ((gap.abs() + clear).nan_to_num() / steep).min(dim=1)
        slope = slopes[torch.arange(len(state)), nearest]
        path = state.path + per_row(distance) * steepest(slope, self.norm)
        x = (state.origin + (1 + self.overshoot) * path).clamp(0, 1)
        return state.at(torch.where(per_row(output.fooled), state.x, x), path=path, done=output.fooled)
