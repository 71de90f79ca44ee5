"""Policies turn scores into answers and abstentions: the protocol, one threshold, a rule over several signals."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from demur.errors import InputError, unknown
from demur.registry import named_as

Flags: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.float64]
Reasons: TypeAlias = NDArray[np.str_]
Scores: TypeAlias = Mapping[str, Floats]
"""Canonical signal name → one score per row, higher = more uncertainty."""


class Policy(Protocol):
    """Scores in, accept or abstain out: an answer is accepted iff its uncertainty is at most a threshold.

    A row whose score is NaN is never accepted.
    """

    @property
    def signals(self) -> tuple[str, ...]:
        """Canonical names of the signals it reads."""

    def accepts(self, scores: Scores) -> Flags:
        """Whether each row's answer may be given."""

    def reasons(self, scores: Scores) -> Reasons:
        """Why each row's answer is withheld: empty where it is given, else such as "low_confidence"."""


def column(scores: Scores, signal: str) -> Floats:
    """One signal's scores in float64; a missing one fails with the nearest known one."""
    if signal not in scores:
        raise unknown("signal", signal, scores)
    return np.asarray(scores[signal], np.float64)


def reason_for(signal: str) -> str:
    """The reason code of a signal above its threshold.

    >>> [reason_for(signal) for signal in ("msp", "entropy", "energy(temperature=2)")]
    ['low_confidence', 'high_entropy', 'high_energy']
    """
    falls = {"msp": "low_confidence", "margin": "low_margin", "max_logit": "low_max_logit"}
    name = signal.partition("(")[0]
    return falls.get(name, f"high_{name}")


def explain(uncertainty: Floats, threshold: float | Floats, signal: str) -> Reasons:
    """Reason codes of one signal against one threshold, or each row against its own."""
    above = np.where(uncertainty <= threshold, "", reason_for(signal))
    return np.where(np.isnan(uncertainty), "undefined_score", above)


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Answers iff the uncertainty of `signal` is at most `uncertainty`, in the signal's own unit."""

    signal: str = field(default="msp", metadata=named_as("signal"))
    uncertainty: float = 0.4

    def __post_init__(self) -> None:
        if not math.isfinite(self.uncertainty):
            raise InputError(
                f"`uncertainty` of a threshold on {self.signal!r} must be finite; got {self.uncertainty}. "
                "To answer always, write the largest float, demur.policies.ACCEPT_ALL."
            )

    @property
    def signals(self) -> tuple[str, ...]:
        """The one signal it reads."""
        return (self.signal,)

    @property
    def bounds(self) -> Mapping[str, float]:
        """The highest uncertainty of each signal at which an answer is given."""
        return {self.signal: self.uncertainty}

    def accepts(self, scores: Scores) -> Flags:
        """Uncertainty ≤ threshold."""
        return column(scores, self.signal) <= self.uncertainty

    def reasons(self, scores: Scores) -> Reasons:
        """Empty where accepted."""
        return explain(column(scores, self.signal), self.uncertainty, self.signal)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Withholds an answer iff confidence < `confidence` or entropy > `entropy` (nats), both strictly.

    Confidence is read as the uncertainty of `msp`, 1 − p_max, so the first half is "uncertainty > 1 − `confidence`" in
    float64. An uncertainty computed as −expm1(log p_max) keeps digits that p_max has lost, which only matters within
    rounding of a tie.
    """

    confidence: float = 0.6
    entropy: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.confidence <= 1:
            raise InputError(f"`confidence` must lie in [0, 1]; got {self.confidence}. Write 60 % as 0.6.")
        if math.isnan(self.entropy) or self.entropy < 0:
            raise InputError(f"`entropy` must be at least 0 nats; got {self.entropy}.")

    @property
    def signals(self) -> tuple[str, ...]:
        """The two signals it reads."""
        return ("msp", "entropy")

    @property
    def bounds(self) -> Mapping[str, float]:
        """The highest uncertainty of each signal at which an answer is given."""
        return {"msp": 1 - self.confidence, "entropy": self.entropy}

    def accepts(self, scores: Scores) -> Flags:
        """Sure enough and flat in neither sense."""
        return (column(scores, "msp") <= 1 - self.confidence) & (column(scores, "entropy") <= self.entropy)

    def reasons(self, scores: Scores) -> Reasons:
        """Empty where accepted; low confidence is named before high entropy."""
        first = explain(column(scores, "msp"), 1 - self.confidence, "msp")
        return np.where(first == "", explain(column(scores, "entropy"), self.entropy, "entropy"), first)


class OneThreshold:
    """What policies share that compare one signal with the threshold of their certificate."""

    signal: str
    certificate: Any

    @property
    def signals(self) -> tuple[str, ...]:
        """The one signal it reads."""
        return (self.signal,)

    @property
    def bounds(self) -> Mapping[str, float]:
        """The highest uncertainty of each signal at which an answer is given."""
        return {self.signal: self.certificate.threshold}

    def accepts(self, scores: Scores) -> Flags:
        """Uncertainty ≤ threshold."""
        return column(scores, self.signal) <= self.certificate.threshold

    def reasons(self, scores: Scores) -> Reasons:
        """Empty where accepted."""
        return explain(column(scores, self.signal), self.certificate.threshold, self.signal)
