"""What a policy that was fitted on tune rows does to them, in numbers and words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, get_args, runtime_checkable

from demur.errors import unknown
from demur.policies.policy import Policy, Scores

Flagged: TypeAlias = Literal["error", "attack", "shift"]
"""What is to be flagged: a wrong answer, an attacked image, a corrupted image."""

FEWEST = 10
"""Rows of each kind below which nothing is fitted."""

_KINDS: Mapping[str, tuple[str, str]] = {
    "error": ("right answers", "wrong answers"),
    "attack": ("clean images", "successfully attacked images"),
    "shift": ("clean images", "corrupted images"),
}


def check_purpose(purpose: str) -> None:
    """Refuse a purpose that is none."""
    if purpose not in get_args(Flagged):
        raise unknown("purpose", purpose, get_args(Flagged))


def flagged_kinds(purpose: Flagged) -> tuple[str, str]:
    """What is to be answered and what is to be flagged, in words."""
    return _KINDS[purpose]


@dataclass(frozen=True, kw_only=True)
class PolicyFit:
    """A policy that was fitted, and what it does to the rows it was fitted on.

    Attributes:
        policy: what decides.
        negatives: how many rows were to be answered.
        positives: how many were to be flagged.
        fpr: the share of the former that it flags.
        recall: the share of the latter; None where there are none.
        sentence: all of it in words.
    """

    policy: Policy
    negatives: int
    positives: int
    fpr: float
    recall: float | None
    sentence: str

    @classmethod
    def of(cls, policy: Policy, negative: Scores, positive: Scores, purpose: Flagged, how: str) -> "PolicyFit":
        """What a policy does to rows of both kinds; scores by the names of its signals."""
        many, few = (len(next(iter(scores.values()))) for scores in (negative, positive))
        alarms = float((~policy.accepts(negative)).mean())
        recall = float((~policy.accepts(positive)).mean()) if few else None
        kinds = _KINDS[purpose]
        caught = "" if recall is None else f" and {100 * recall:.3g} % of {few:,} {kinds[1]}"
        said = f"Fitted on tune images by {how}: it flags {100 * alarms:.3g} % of {many:,} {kinds[0]}{caught} there."
        return cls(
            policy=policy,
            negatives=many,
            positives=few,
            fpr=alarms,
            recall=recall,
            sentence=f"{said} Nothing is guaranteed.",
        )

    @property
    def facts(self) -> dict[str, Any]:
        """All but the policy, as plain JSON values."""
        return {key: value for key, value in vars(self).items() if key != "policy"}


@runtime_checkable
class TuneFitted(Protocol):
    """A policy that follows from tune rows alone, and guarantees nothing.

    Attributes:
        purpose: what is to be flagged.
        signals: what it reads.
        needs_positives: whether it must see rows that are to be flagged.
    """

    @property
    def purpose(self) -> Flagged: ...

    @property
    def signals(self) -> tuple[str, ...]: ...

    @property
    def needs_positives(self) -> bool: ...

    def fit(self, negative: Scores, positive: Scores) -> PolicyFit:
        """From scores of rows that are to be answered, and of those that are to be flagged."""
        ...
