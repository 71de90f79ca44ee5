"""A threshold on either side: answers where the uncertainty of a signal is neither too high nor too low."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from demur.errors import InputError
from demur.policies.policy import Flags, Reasons, Scores, column, explain
from demur.registry import named_as


@dataclass(frozen=True, kw_only=True)
class Band:
    """Answers iff the uncertainty of `signal` lies from `low` to `high`, both in the signal's own unit.

    For a signal that tampering moves to either side, such as the activation entropy of a late layer.
    """

    low: float
    high: float
    signal: str = field(default="msp", metadata=named_as("signal"))

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise InputError(
                f"`low` and `high` of a band on {self.signal!r} must be finite, `low` at most `high`; got "
                f"{self.low} and {self.high}."
            )

    @property
    def signals(self) -> tuple[str, ...]:
        """The one signal it reads."""
        return (self.signal,)

    @property
    def bounds(self) -> Mapping[str, float]:
        """The highest uncertainty of each signal at which an answer is given."""
        return {self.signal: self.high}

    @property
    def floors(self) -> Mapping[str, float]:
        """The lowest uncertainty of each signal at which an answer is given."""
        return {self.signal: self.low}

    def accepts(self, scores: Scores) -> Flags:
        """Neither below nor above."""
        uncertainty = column(scores, self.signal)
        return (uncertainty >= self.low) & (uncertainty <= self.high)

    def reasons(self, scores: Scores) -> Reasons:
        """Empty where accepted."""
        uncertainty = column(scores, self.signal)
        above = explain(uncertainty, self.high, self.signal)
        return np.where(uncertainty < self.low, f"unusually_low_{self.signal.partition('(')[0]}", above)
