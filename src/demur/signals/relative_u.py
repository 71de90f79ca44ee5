"""How much a softmax mixes what errors mix."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from demur.errors import InputError
from demur.evidence import Evidence
from demur.shapes import Labels, Logits, Scores
from demur.signals import Needs


@dataclass(frozen=True, kw_only=True)
class RelativeU:
    """How far the softmax mixes classes that it mixes in errors: high when the mixture is one that errors show.

    pᵀDp, with D ∝ max(0, λ·E[ppᵀ | wrong] − (1 − λ)·E[ppᵀ | right]) off the diagonal, learned from reference images,
    and p the softmax of z / T. With two classes it ranks as maximum softmax probability does.

    Gomes et al. (2024), arXiv:2306.01710.
    """

    unit: ClassVar[str] = "relative uncertainty"
    needs: ClassVar[Needs] = Needs()

    balance: float = 0.5
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.balance <= 1:
            raise InputError(f"relative_u: `balance`, the λ of errors, must lie in (0, 1]; got {self.balance}.")
        if not 0 < self.temperature < math.inf:
            raise InputError(f"relative_u: `temperature` must be positive and finite; got {self.temperature}.")

    def fit(self, reference: Iterable[Evidence], labels: Labels) -> "FittedRelativeU":
        logits = torch.cat([evidence.logits.detach() for evidence in reference])
        wrong = logits.argmax(dim=1) != labels
        if wrong.all() or not wrong.any():
            raise InputError(
                f"it learns what errors mix that right answers do not; of {len(labels)} reference images "
                f"{int(wrong.sum())} are wrong. Bring images of both kinds, or use entropy."
            )
        p = _softmax(logits, self.temperature)
        mixed = self.balance * _pairs(p[wrong]) - (1 - self.balance) * _pairs(p[~wrong])
        apart = mixed.clamp(min=0).fill_diagonal_(0)
        length = apart.norm()
        return FittedRelativeU(apart=apart / length if length > 0 else apart, temperature=self.temperature)


@dataclass(frozen=True, eq=False)
class FittedRelativeU:
    """How telling it is that two classes are mixed (classes, classes), of Frobenius norm 1."""

    unit: ClassVar[str] = RelativeU.unit

    apart: Tensor
    temperature: float

    def __call__(self, evidence: Evidence) -> Scores:
        p = _softmax(evidence.logits, self.temperature)
        return torch.einsum("rj,jk,rk->r", p, self.apart, p)


def _softmax(logits: Logits, temperature: float) -> Tensor:
    return (logits.double() / temperature).softmax(dim=1)


def _pairs(p: Tensor) -> Tensor:
    """The mean of ppᵀ."""
    return p.T @ p / len(p)
