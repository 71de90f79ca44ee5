"""The odds of an error, by one draw from the softmax or by its best guess."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from demur.errors import unknown
from demur.evidence import Evidence
from demur.shapes import Scores

_VARIANTS = ("alpha", "beta")


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """The odds that an answer drawn from the softmax is wrong: high when the probabilities are spread out.

    alpha: (1 − g)/g with g = Σₖ pₖ². beta: (1 − p₁)/p₁, the odds that the most likely answer is wrong. From 0 to
    classes − 1; sums of small probabilities stand in for 1 − g and 1 − p₁, so that confident images keep their order.

    Granese et al. (2021), arXiv:2106.02395.
    """

    unit: ClassVar[str] = "odds"

    variant: str = "alpha"

    def __post_init__(self) -> None:
        if self.variant not in _VARIANTS:
            raise unknown("variant of doctor", self.variant, _VARIANTS)

    def __call__(self, evidence: Evidence) -> Scores:
        z, _ = evidence.logits.double().sort(dim=1, descending=True)
        if self.variant == "beta":
            return torch.exp(z[:, 1:].logsumexp(dim=1) - z[:, 0])
        p = z.softmax(dim=1)
        first, others = p[:, 0], p[:, 1:]
        unlike = first * others.sum(dim=1) + (others * (1 - others)).sum(dim=1)
        return unlike / p.square().sum(dim=1)
