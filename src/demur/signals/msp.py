"""Maximum softmax probability, the baseline of every signal."""

from dataclasses import dataclass
from typing import ClassVar

from demur.evidence import Evidence
from demur.shapes import Scores


@dataclass(frozen=True, kw_only=True)
class MSP:
    """One minus the largest softmax probability: high when the classifier is unsure of its answer.

    With z₁ the largest logit, 1 − p₁ = σ(log Σ_{k≠1} exp zₖ − z₁), which keeps the order of confident images where
    1 − max p would round to 0.

    Hendrycks & Gimpel (2017), arXiv:1610.02136.
    """

    unit: ClassVar[str] = "probability"

    def __call__(self, evidence: Evidence) -> Scores:
        z, _ = evidence.logits.double().sort(dim=1, descending=True)
        return (z[:, 1:].logsumexp(dim=1) - z[:, 0]).sigmoid()
