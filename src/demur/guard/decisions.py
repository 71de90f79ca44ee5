"""What a guard says of images: an answer or an abstention, and why."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.policies.policy import Flags, Floats, Reasons

UNREADABLE = "unreadable"
"""The reason code of an image that cannot be decoded, or has another size than the model reads."""

UNDEFINED = "undefined_answer"
"""The reason code of an image to which the model answers with numbers that are not finite."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One image's answer, or why there is none.

    Attributes:
        label: what the model would answer, the name of a class; None where the image could not be read.
        answer: the same where it may be given; None where the guard abstains.
        confidence: temperature-scaled probability of the label, from 0 to 1; NaN where there is none.
        scores: uncertainty by signal, higher = more uncertain.
        accepted: whether the answer may be given.
        reason: why it is withheld, a code such as "low_confidence"; empty where it is given.
        distances: bound minus score by signal; negative above the bound.
        near: whether another batch or machine may decide otherwise.
        detail: what is wrong with an image that could not be read; else empty.
    """

    label: str | None
    answer: str | None
    confidence: float
    scores: Mapping[str, float]
    accepted: bool
    reason: str
    distances: Mapping[str, float]
    near: bool
    detail: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Decisions:
    """The decisions about a batch; iterating gives one `Decision` per image, in order.

    Attributes:
        classes: the names that `predicted` counts.
        predicted: the model's answer, a position among the classes, (rows,); −1 where the image could not be read.
        confidence: temperature-scaled probability of that answer, (rows,); NaN where there is none.
        scores: uncertainty (rows,) by signal.
        accepted: whether each answer may be given, (rows,).
        reasons: why it is withheld, (rows,); empty where it is given.
        distances: bound minus score (rows,) by signal.
        near: whether another batch or machine may decide otherwise, (rows,).
        details: what is wrong with images that could not be read, (rows,); else empty.
        logits: the model's, divided by the temperature, (rows, classes); NaN where nothing is known of a row.
    """

    classes: tuple[str, ...]
    predicted: NDArray[np.int64]
    confidence: Floats
    scores: Mapping[str, Floats]
    accepted: Flags
    reasons: Reasons
    distances: Mapping[str, Floats]
    near: Flags
    details: tuple[str, ...]
    logits: Floats

    def __len__(self) -> int:
        return len(self.predicted)

    @property
    def labels(self) -> tuple[str | None, ...]:
        """What the model would answer to each image, whether or not it may."""
        return tuple(map(self._label, self.predicted.tolist()))

    def _label(self, place: int) -> str | None:
        return None if place < 0 else self.classes[place]

    @property
    def answers(self) -> tuple[str | None, ...]:
        """The answers that may be given; None where the guard abstains."""
        return tuple(label if given else None for label, given in zip(self.labels, self.accepted, strict=True))

    @property
    def probabilities(self) -> Floats:
        """Temperature-scaled softmax, (rows, classes); estimates, not the guarantee; NaN where nothing is known."""
        powers = np.exp(self.logits - self.logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def part(self, start: int, stop: int) -> "Decisions":
        """The decisions about some rows that follow each other."""
        rows = slice(start, stop)
        return replace(
            self,
            predicted=self.predicted[rows],
            confidence=self.confidence[rows],
            scores={name: scores[rows] for name, scores in self.scores.items()},
            accepted=self.accepted[rows],
            reasons=self.reasons[rows],
            distances={name: each[rows] for name, each in self.distances.items()},
            near=self.near[rows],
            details=self.details[rows],
            logits=self.logits[rows],
        )

    def withheld(self, rows: Flags, reason: str) -> "Decisions":
        """The same with nothing known of some rows, for a reason."""
        if not rows.any():
            return self
        return replace(
            self,
            predicted=np.where(rows, -1, self.predicted),
            confidence=np.where(rows, np.nan, self.confidence),
            scores={name: np.where(rows, np.nan, score) for name, score in self.scores.items()},
            accepted=self.accepted & ~rows,
            reasons=np.where(rows, reason, self.reasons),
            distances={name: np.where(rows, np.nan, each) for name, each in self.distances.items()},
            near=self.near & ~rows,
            logits=np.where(rows[:, None], np.nan, self.logits),
        )

    def abstaining(self, reason: str) -> "Decisions":
        """The same with every answer withheld, for a reason."""
        return replace(
            self, accepted=np.zeros(len(self), bool), reasons=np.full(len(self), reason), near=np.zeros(len(self), bool)
        )

    def __getitem__(self, row: int) -> Decision:
        label, accepted = self._label(int(self.predicted[row])), bool(self.accepted[row])
        return Decision(
            label=label,
            answer=label if accepted else None,
            confidence=float(self.confidence[row]),
            scores={name: float(scores[row]) for name, scores in self.scores.items()},
            accepted=accepted,
            reason=str(self.reasons[row]),
            distances={name: float(each[row]) for name, each in self.distances.items()},
            near=bool(self.near[row]),
            detail=self.details[row],
        )

    def __iter__(self) -> Iterator[Decision]:
        return (self[row] for row in range(len(self)))


def plain_decision(decision: Decision) -> dict[str, Any]:
    """A decision as JSON values; numbers that are not finite are null."""
    return {
        "label": decision.label,
        "answer": decision.answer,
        "confidence": _finite(decision.confidence),
        "scores": {name: _finite(score) for name, score in decision.scores.items()},
        "accepted": decision.accepted,
        "reason": decision.reason,
        "distances": {name: _finite(distance) for name, distance in decision.distances.items()},
        "near": decision.near,
        "detail": decision.detail,
    }


def _finite(number: float) -> float | None:
    return number if np.isfinite(number) else None
