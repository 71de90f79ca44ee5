"""A fixed threshold on one signal."""

import math
from dataclasses import dataclass

from demur.errors import InputError
from demur.policies.policy import Flags, Reasons, Scores, column, explain


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Answers iff the uncertainty of `signal` is at most `uncertainty`, in the signal's own unit."""

    signal: str = "msp"
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

    def accepts(self, scores: Scores) -> Flags:
        """Uncertainty ≤ threshold."""
        return column(scores, self.signal) <= self.uncertainty

    def reasons(self, scores: Scores) -> Reasons:
        """Empty where accepted."""
        return explain(column(scores, self.signal), self.uncertainty, self.signal)
