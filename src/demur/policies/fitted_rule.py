"""The rule of confidence and entropy, tuned on tune rows to a share of wrong answers flagged."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from demur.errors import InputError
from demur.policies.policy import Floats, Rule, Scores
from demur.policies.policy_fit import FEWEST, Flagged, PolicyFit, check_purpose, flagged_kinds


@dataclass(frozen=True, kw_only=True)
class FittedRule:
    """The rule "confidence too low or entropy too high", tuned to flag a share `recall` of the wrong tune answers.

    Both halves give way together: each by itself flags the same number of right tune answers, as few as it takes for
    the rule to reach the recall. Nothing is guaranteed.
    Chow (1970), "On optimum recognition error and reject tradeoff".
    """

    recall: float = 0.9
    purpose: Flagged = "error"

    def __post_init__(self) -> None:
        if not 0 < self.recall <= 1:
            raise InputError(f"`recall` must lie in (0, 1]; got {self.recall}. Write 90 % as 0.9.")
        check_purpose(self.purpose)

    @property
    def signals(self) -> tuple[str, ...]:
        """The two signals it reads."""
        return ("msp", "entropy")

    @property
    def needs_positives(self) -> bool:
        """It always does."""
        return True

    def fit(self, negative: Scores, positive: Scores) -> PolicyFit:
        """The rule of these tune rows, and what it does to them; scores of both signals.

        Raises:
            InputError: there are too few rows of a kind, or the recall cannot be reached.
        """
        for scores, kind in ((negative, 0), (positive, 1)):
            found = int(np.isfinite(np.sum([scores[name] for name in self.signals], axis=0)).sum())
            if found < FEWEST:
                raise InputError(
                    f"a rule tuned to a recall needs at least {FEWEST} {flagged_kinds(self.purpose)[kind]} of split "
                    f"tune with finite scores; there are {found}. Bring more images, or set the rule by hand."
                )
        ordered = {name: np.sort(negative[name][np.isfinite(negative[name])]) for name in self.signals}
        low, high = 0, min(map(len, ordered.values()))
        if not self._reaches(ordered, high, positive):
            raise InputError(f"no rule reaches a recall of {self.recall:g} on the tune images. Ask for less.")
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self._reaches(ordered, middle, positive) else (middle + 1, high)
        how = f"a recall of {self.recall:g}"
        return PolicyFit.of(_rule(ordered, low), negative, positive, self.purpose, how)

    def _reaches(self, ordered: Mapping[str, Floats], alarms: int, positive: Scores) -> bool:
        return float((~_rule(ordered, alarms).accepts(positive)).mean()) >= self.recall - 1e-12


def _rule(ordered: Mapping[str, Floats], alarms: int) -> Rule:
    """The rule each half of which flags about so many of the right answers."""
    msp, entropy = (_between(scores, alarms) for scores in ordered.values())
    return Rule(confidence=min(1.0, max(0.0, 1 - msp)), entropy=max(0.0, entropy))


def _between(ordered: Floats, above: int) -> float:
    """A number that so many of the scores lie above: half-way between two of them, or the largest of all."""
    place = len(ordered) - above
    if place == len(ordered):
        return float(ordered[-1])
    return float((ordered[place - 1] + ordered[place]) / 2) if place else float(np.nextafter(ordered[0], -np.inf))
