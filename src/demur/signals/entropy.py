"""Entropy of the softmax."""

from dataclasses import dataclass
from typing import ClassVar

from demur.evidence import Evidence
from demur.shapes import Scores


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
