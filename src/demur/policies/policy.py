"""What every fitted policy can do."""

from collections.abc import Mapping
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from demur.errors import unknown

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


def explain(uncertainty: Floats, threshold: float, signal: str) -> Reasons:
    """Reason codes of one signal against one threshold."""
    above = np.where(uncertainty <= threshold, "", reason_for(signal))
    return np.where(np.isnan(uncertainty), "undefined_score", above)
