"""Signals read off the logits of one forward pass: maximum softmax probability and its kin, entropy, energy."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, inf

from demur.errors import InputError, unknown
from demur.evidence import Evidence
from demur.shapes import Labels, Scores


def missing(z: Tensor, answer: Labels) -> Scores:
    """One minus the probability of each row's `answer`, for logits (rows, classes) in float64.

    The sum over the other classes, which does not round to 0 where one minus the probability would.
    """
    own = z.gather(1, answer[:, None])
    others = z.scatter(1, answer[:, None], -inf).logsumexp(dim=1)
    return (others - own[:, 0]).sigmoid()


def softmax_entropy(log_p: Tensor) -> Tensor:
    """−Σ p ln p over the last axis, of log-probabilities that may be −∞."""
    p = log_p.exp()
    return -(p * log_p.clamp(min=-1e300)).sum(dim=-1)


@dataclass(frozen=True, kw_only=True)
class MSP:
    """One minus the largest softmax probability: high when the classifier is unsure of its answer.

    With z₁ the largest logit, 1 − p₁ = σ(log Σ_{k≠1} exp zₖ − z₁), which keeps the order of confident images where
    1 − max p would round to 0. Where z₁ leads by more than 745 it is 0 all the same, the end of doubles.

    Hendrycks & Gimpel (2017), arXiv:1610.02136.
    """

    unit: ClassVar[str] = "probability"

    def __call__(self, evidence: Evidence) -> Scores:
        z, _ = evidence.logits.double().sort(dim=1, descending=True)
        return (z[:, 1:].logsumexp(dim=1) - z[:, 0]).sigmoid()


@dataclass(frozen=True, kw_only=True)
class Margin:
    """One minus the gap between the two largest probabilities: high when a second class is nearly as likely.

    1 − (p₁ − p₂), from 0 to 1, computed as (1 − p₁) + p₂ so that confident images keep their order.

    Scheffer et al. (2001), "Active hidden Markov models for information extraction".
    """

    unit: ClassVar[str] = "probability"

    def __call__(self, evidence: Evidence) -> Scores:
        z, _ = evidence.logits.double().sort(dim=1, descending=True)
        rest = (z[:, 1:].logsumexp(dim=1) - z[:, 0]).sigmoid()
        second = torch.exp(z[:, 1] - z.logsumexp(dim=1))
        return rest + second


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


@dataclass(frozen=True, kw_only=True)
class Entropy:
    """Entropy of the softmax probabilities: high when they are spread over several classes.

    −Σₖ pₖ ln pₖ, from 0 to ln(classes).

    Shannon (1948), "A mathematical theory of communication".
    """

    unit: ClassVar[str] = "nats"

    def __call__(self, evidence: Evidence) -> Scores:
        log_p = evidence.logits.double().log_softmax(dim=1)
        return -(log_p.exp() * log_p).sum(dim=1)


@dataclass(frozen=True, kw_only=True)
class MaxLogit:
    """The largest logit with its sign turned: high when no class is strongly claimed.

    Hendrycks et al. (2022), arXiv:1911.11132.
    """

    unit: ClassVar[str] = "logits"

    def __call__(self, evidence: Evidence) -> Scores:
        return -evidence.logits.double().amax(dim=1)


@dataclass(frozen=True, kw_only=True)
class Energy:
    """Free energy of the logits: high when no class claims the image.

    −T·log Σₖ exp(zₖ/T).

    Liu et al. (2020), arXiv:2010.03759.
    """

    unit: ClassVar[str] = "logits"

    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise InputError(f"energy: `temperature` must be positive and finite; got {self.temperature}.")

    def __call__(self, evidence: Evidence) -> Scores:
        return -self.temperature * (evidence.logits.double() / self.temperature).logsumexp(dim=1)
