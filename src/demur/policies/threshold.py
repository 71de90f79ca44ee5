"""A fixed threshold on one signal."""

import math
from dataclasses import dataclass

from demur.errors import InputError
from demur.policies.policy import Flags, Reasons, Scores, column, explain


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Answers iff the doubt of `signal` is at most `doubt`, in the signal's own unit."""

    signal: str = "msp"
    doubt: float = 0.4

    def __post_init__(self) -> None:
        if not math.isfinite(self.doubt):
            raise InputError(
                f"`doubt` of a threshold on {self.signal!r} must be finite; got {self.doubt}. "
                "To answer always, write the largest float, demur.policies.ACCEPT_ALL."
            )

    @property
    def signals(self) -> tuple[str, ...]:
        """The one signal it reads."""
        return (self.signal,)

    def accepts(self, scores: Scores) -> Flags:
        """Doubt ≤ threshold."""
        return column(scores, self.signal) <= self.doubt

    def reasons(self, scores: Scores) -> Reasons:
        """Empty where accepted."""
        return explain(column(scores, self.signal), self.doubt, self.signal)
