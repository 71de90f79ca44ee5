"""The rule of two numbers: confidence and entropy."""

import math
from dataclasses import dataclass

import numpy as np

from demur.errors import InputError
from demur.policies.policy import Flags, Reasons, Scores, column, explain


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

    def accepts(self, scores: Scores) -> Flags:
        """Sure enough and flat in neither sense."""
        return (column(scores, "msp") <= 1 - self.confidence) & (column(scores, "entropy") <= self.entropy)

    def reasons(self, scores: Scores) -> Reasons:
        """Empty where accepted; low confidence is named before high entropy."""
        first = explain(column(scores, "msp"), 1 - self.confidence, "msp")
        return np.where(first == "", explain(column(scores, "entropy"), self.entropy, "entropy"), first)
